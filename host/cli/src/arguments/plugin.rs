//! `transom plugin new`, `build` and `test`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct PluginNew {
    /// The plugin's name: lower-case letters, digits and `-`.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The folder to make [default: NAME, here]
    #[arg(value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
    /// What it is for.
    #[arg(long, value_name = "KIND", default_value = "processor")]
    pub(crate) kind: TemplateKind,
    /// The language that it is written in.
    #[arg(long, value_name = "LANGUAGE", default_value = "rust")]
    pub(crate) lang: Language,
    /// The folder of transom-sdk (sdk/rust of Transom's source) [default: the released one of this version]
    #[arg(long, value_name = "DIR")]
    pub(crate) sdk: Option<PathBuf>,
}

/// What a new plugin is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TemplateKind {
    /// The bytes of layers: decompressors, decryptors, scanners.
    Processor,
    /// Where a registry keeps its bytes.
    Storage,
    /// Which records a list shows.
    Filter,
}

impl TemplateKind {
    /// As it is typed.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            TemplateKind::Processor => "processor",
            TemplateKind::Storage => "storage",
            TemplateKind::Filter => "filter",
        }
    }
}

/// A language of plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// Rust, by transom-sdk.
    Rust,
    /// C, by clang.
    C,
    /// JavaScript, by componentize-qjs.
    Js,
    /// Python, by componentize-py.
    Python,
}

#[derive(Debug, Args)]
pub(crate) struct PluginBuild {
    /// The folder of the plugin's source, with a plugin.toml.
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) folder: PathBuf,
    /// Where the component and its plugin.toml go [default: DIR/target/plugin/NAME]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PluginTest {
    /// The folder of the plugin's source, with the folder cases/.
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) folder: PathBuf,
    /// The plugin [default: what `transom plugin build` has made in DIR]
    #[arg(long, value_name = "FILE.wasm|DIR")]
    pub(crate) plugin: Option<PathBuf>,
}
