//! `transom driver`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Driver {
    /// List storage drivers, or show what can be configured of some.
    #[command(visible_alias = "list")]
    Ls(DriverList),
    /// Hold a driver to everything that storage drivers promise, on the store that is configured.
    /// It works in a folder of its own there, and removes it.
    Check(DriverCheck),
}

#[derive(Debug, Args)]
pub(crate) struct DriverList {
    /// Show the parameters of these.
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) plugins: DriverPlugins,
}

/// Storage drivers that are plugins; for a registry also label filters, which policies are written for.
#[derive(Debug, Args)]
pub(crate) struct DriverPlugins {
    /// Load a storage driver: a folder with a plugin.toml, a component, a folder of such folders, or one in which plugins are
    /// installed. Those in /var/lib/transom/plugins, or for a user in ~/.local/share/transom/plugins, are known anyway.
    #[arg(long = "plugin", value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DriverCheck {
    /// The driver.
    #[arg(value_name = "NAME", required_unless_present = "config")]
    pub(crate) name: Option<String>,
    /// Set a parameter; the value is a TOML value or a plain text. A driver that others stand on is inner={…}
    #[arg(long = "param", value_name = "KEY=VALUE")]
    pub(crate) parameters: Vec<String>,
    /// Take the driver and its parameters from a TOML file: the driver's table alone.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The folder of the store to work in, which must be unused.
    #[arg(long, value_name = "PATH", default_value = "/transom-conformance")]
    pub(crate) folder: String,
    /// Do with hundreds of objects and small uploads what is else done with ten thousand and large ones.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only this case; can be repeated.
    #[arg(long = "case", value_name = "CASE")]
    pub(crate) cases: Vec<String>,
    #[command(flatten)]
    pub(crate) plugins: DriverPlugins,
}
