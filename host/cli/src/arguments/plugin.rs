//! `transom plugin new`, `build`, `test`, `run` and `bench`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::show::parse_size;

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

/// A processor and what it is told of the layer.
#[derive(Debug, Args)]
pub(crate) struct PluginJob {
    /// A component, a folder with a plugin.toml, or the folder of a plugin's source.
    #[arg(value_name = "FILE.wasm|DIR")]
    pub(crate) plugin: PathBuf,
    /// The media type of the input [default: the first that the plugin accepts]
    #[arg(long, value_name = "TYPE")]
    pub(crate) media_type: Option<String>,
    /// Set a configuration key; the value is a TOML value or a plain text.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) config: Vec<String>,
    /// An annotation of the layer that the plugin is told.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) annotation: Vec<String>,
    /// Hand a file to the plugin as its payload, typed by a URL.
    #[arg(long, value_name = "TYPE_URL=FILE")]
    pub(crate) payload: Option<String>,
    /// Let a plugin that decrypts use a private key: a file with one, or a folder of such files.
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) decryption_key: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PluginRun {
    #[command(flatten)]
    pub(crate) job: PluginJob,
    /// Run it again on the same input whenever the component changes; of a plugin's source, build it first.
    #[arg(long)]
    pub(crate) watch: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PluginBench {
    #[command(flatten)]
    pub(crate) job: PluginJob,
    /// The layer to run it on [default: a tar that is made up, for a plugin that takes one]
    #[arg(long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,
    /// Bytes of the tar that is made up.
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "64M", conflicts_with = "input")]
    pub(crate) size: u64,
    /// Bytes that the plugin is given at a time.
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "64K")]
    pub(crate) chunk: u64,
    /// How often it runs; the run that took the least CPU time counts.
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
}
