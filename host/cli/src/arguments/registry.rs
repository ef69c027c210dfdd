//! `transom registry`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use transom_registry::settings::Period;

#[derive(Debug, Subcommand)]
pub(crate) enum Registry {
    /// Serve a registry until interrupted.
    Serve(Box<RegistryServe>),
    /// Collect garbage, also while registries serve the same store: blobs that no manifest needs, and, if that is wanted,
    /// manifests that no tag leads to.
    Gc(RegistryGc),
    /// Read a configuration file and say what is wrong with it.
    Check(RegistryCheck),
}

#[derive(Debug, Args)]
pub(crate) struct RegistryServe {
    /// The configuration, as docs/guides/registry.md describes it; what is said here wins over it.
    #[arg(long, value_name = "FILE", required_unless_present = "storage")]
    pub(crate) config: Option<PathBuf>,
    /// Keep everything in this folder, which may be a docker-registry's.
    #[arg(long, value_name = "DIR")]
    pub(crate) storage: Option<PathBuf>,
    /// The address and port [default: 127.0.0.1:5000]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// The address and port of metrics, health and read-only mode, for operators only.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// The certificate chain (PEM) for TLS.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_certificate: Option<PathBuf>,
    /// Its key (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Begin with nothing that can be changed.
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Let clients delete nothing.
    #[arg(long)]
    pub(crate) no_delete: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RegistryGc {
    /// The configuration of the registry; what is said here wins over it.
    #[arg(long, value_name = "FILE", required_unless_present = "storage")]
    pub(crate) config: Option<PathBuf>,
    /// The folder that everything is kept in.
    #[arg(long, value_name = "DIR")]
    pub(crate) storage: Option<PathBuf>,
    /// Only say what would be deleted.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Delete manifests that no tag leads to when they are so old, such as 720h; 0s for never.
    #[arg(long, value_name = "TIME", value_parser = period)]
    pub(crate) untagged_after: Option<Period>,
}

fn period(text: &str) -> Result<Period, &'static str> {
    Period::parse(text).ok_or("a time is written as 90s, 30m or 720h")
}

#[derive(Debug, Args)]
pub(crate) struct RegistryCheck {
    /// The file.
    #[arg(value_name = "FILE")]
    pub(crate) config: PathBuf,
}
