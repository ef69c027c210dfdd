//! `transom plugin status`, `grants` and `reload`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct PluginStatus {
    /// The plugin's name [default: all]
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PluginGrants {
    /// A plugin of the daemon, or without one: a component, or a folder with a plugin.toml [default: all of the daemon]
    #[arg(value_name = "NAME|FILE.wasm|DIR")]
    pub(crate) plugin: Option<String>,
    /// The daemon's configuration that a component's powers are looked up in [default: /etc/transom/config.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}
