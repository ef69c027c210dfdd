//! What can be typed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use transomd::config::{Config, LogFormat, LogLevel};
use transomd::places::Places;

/// Serves content, images, leases and namespaces over containerd's API.
#[derive(Clone, Debug, Parser)]
#[command(name = "transomd", version, max_term_width = 100)]
pub(crate) struct Arguments {
    /// The configuration file [default: /etc/transom/config.toml, or ~/.config/transom/config.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where everything that lasts is kept
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Where what is of this run only is kept
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The socket
    #[arg(long, value_name = "SOCK")]
    address: Option<PathBuf>,
    /// Serve as the content store of a containerd, and nothing else
    #[arg(long)]
    proxy_backend: bool,
    /// Where Prometheus metrics are served over HTTP
    #[arg(long, value_name = "IP:PORT")]
    metrics_address: Option<SocketAddr>,
    /// Where a registry is served over HTTP
    #[arg(long, value_name = "IP:PORT")]
    registry_listen: Option<SocketAddr>,
    /// The least level that is logged
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<LogLevel>,
    /// How a line of the log is written
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    #[command(subcommand)]
    pub(crate) action: Option<Action>,
}

/// What to do instead of serving.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Action {
    /// The configuration file
    #[command(subcommand)]
    Config(ConfigAction),
}

/// What to do with the configuration file.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ConfigAction {
    /// Print a commented file with all defaults
    Default,
    /// Name every mistake in a file, with its line
    Check {
        /// The file; without it, the one that the daemon reads
        file: Option<PathBuf>,
    },
}

impl Arguments {
    /// The file over the defaults, and the flags over the file.
    pub(crate) fn config(&self, places: &Places) -> Result<Config, String> {
        let mut config = match &self.config {
            Some(file) => read(file, places)?,
            None if places.config.exists() => read(&places.config, places)?,
            None => Config::defaults(places),
        };
        let absolute =
            |path: &PathBuf| std::path::absolute(path).map_err(|e| format!("{}: {e}", path.display()));
        if let Some(root) = &self.root {
            config.root = absolute(root)?;
        }
        if let Some(state) = &self.state {
            config.state = absolute(state)?;
        }
        if let Some(address) = &self.address {
            config.address = Some(absolute(address)?);
        }
        config.proxy_backend |= self.proxy_backend;
        config.metrics = self.metrics_address.or(config.metrics);
        if let Some(address) = self.registry_listen {
            config.registry = Some(config.registry.take().unwrap_or_default().at(address));
        }
        config.log.level = self.log_level.unwrap_or(config.log.level);
        config.log.format = self.log_format.unwrap_or(config.log.format);
        Ok(config)
    }
}

/// Reads a file.
pub(crate) fn read(file: &Path, places: &Places) -> Result<Config, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("cannot read {}: {e}", file.display()))?;
    Config::parse(&text, places).map_err(|mistakes| format!("mistakes in {}:\n{mistakes}", file.display()))
}
