//! `transom plugin package`, `push`, `pull`, `sign`, `verify`, `install`, `remove`, `rollback` and `list`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::Registries;

/// What an artifact may be named as.
const SOURCE: &str = "HOST/NAME[:TAG][@DIGEST]|oci:FOLDER[:NAME]|FILE.wasm|DIR";

#[derive(Debug, Args)]
pub(crate) struct PluginPackage {
    /// The plugin: a folder with a plugin.toml, or a component.
    #[arg(value_name = "FILE.wasm|DIR")]
    pub(crate) plugin: PathBuf,
    /// Where it goes: a file, which has all of it, or oci:FOLDER[:NAME], an OCI layout [default: NAME.wasm, here]
    #[arg(value_name = "FILE.wasm|oci:FOLDER[:NAME]")]
    pub(crate) out: Option<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct PluginPush {
    /// The plugin. It is packaged if it is not yet.
    #[arg(value_name = "FILE.wasm|DIR|oci:FOLDER[:NAME]")]
    pub(crate) source: OsString,
    /// Where to; without a tag, under its version.
    #[arg(value_name = "HOST/NAME[:TAG]")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) registries: Registries,
}

#[derive(Debug, Args)]
pub(crate) struct PluginPull {
    /// The plugin; without a tag, its newest version that runs here.
    #[arg(value_name = "HOST/NAME[:TAG][@DIGEST]")]
    pub(crate) name: String,
    /// Where it goes: a file, a folder (the component and its plugin.toml), or oci:FOLDER[:NAME] [default: NAME.wasm, here]
    #[arg(value_name = "FILE.wasm|DIR|oci:FOLDER[:NAME]")]
    pub(crate) out: Option<OsString>,
    #[command(flatten)]
    pub(crate) wanted: Wanted,
    #[command(flatten)]
    pub(crate) registries: Registries,
}

/// Which versions of a plugin are wanted.
#[derive(Debug, Args)]
pub(crate) struct Wanted {
    /// Of a name without a tag: the newest version in this range, such as ^1.2, that runs here [default: *]
    #[arg(long, value_name = "RANGE")]
    pub(crate) range: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PluginSign {
    /// The artifact. Its signatures are kept beside it, under the tag that cosign gives them.
    #[arg(value_name = "HOST/NAME[:TAG][@DIGEST]|oci:FOLDER[:NAME]")]
    pub(crate) artifact: OsString,
    /// The private key: a file with a key of P-256, PEM or DER, without a passphrase.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    #[command(flatten)]
    pub(crate) registries: Registries,
}

#[derive(Debug, Args)]
pub(crate) struct PluginVerify {
    /// The artifact.
    #[arg(value_name = "HOST/NAME[:TAG][@DIGEST]|oci:FOLDER[:NAME]")]
    pub(crate) artifact: OsString,
    /// A public key that is trusted with every plugin: a file with PEM; can be repeated [default: those of the policy]
    #[arg(long, value_name = "FILE", conflicts_with = "trust")]
    pub(crate) key: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) trust: Trusted,
    #[command(flatten)]
    pub(crate) registries: Registries,
}

/// Whom the operator trusts.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Trusted {
    /// The policy: who must have signed plugins, and with which keys
    /// [default: /etc/transom/trust.toml as root, else below $XDG_CONFIG_HOME; none if it is not there]
    #[arg(long, value_name = "FILE")]
    pub(crate) trust: Option<PathBuf>,
}

/// Where plugins are installed.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct PluginFolder {
    /// Work on the plugins that are installed in this folder, without a daemon
    /// [default: a daemon's if one listens, else /var/lib/transom/plugins as root, else below $XDG_DATA_HOME]
    #[arg(long, value_name = "DIR")]
    pub(crate) plugins: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PluginInstall {
    /// What to install. A name in a registry without a tag means its newest version that runs here.
    #[arg(value_name = SOURCE, required_unless_present = "lock")]
    pub(crate) sources: Vec<OsString>,
    #[command(flatten)]
    pub(crate) wanted: Wanted,
    /// Install what a lock file (plugins.lock) lists, by its digests; can be added to other sources.
    #[arg(long, value_name = "FILE")]
    pub(crate) lock: Option<PathBuf>,
    /// Take other bytes for a version that is installed.
    #[arg(long)]
    pub(crate) replace: bool,
    #[command(flatten)]
    pub(crate) folder: PluginFolder,
    #[command(flatten)]
    pub(crate) trust: Trusted,
    #[command(flatten)]
    pub(crate) registries: Registries,
}

#[derive(Debug, Args)]
pub(crate) struct PluginNames {
    /// The plugins.
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) folder: PluginFolder,
}

#[derive(Debug, Args)]
pub(crate) struct PluginInstalled {
    #[command(flatten)]
    pub(crate) folder: PluginFolder,
}
