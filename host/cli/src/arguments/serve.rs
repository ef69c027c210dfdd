//! `transom registry serve`, `gc`, `reindex`, `check`, `policy` and `import-config`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use transom_registry::settings::Period;

use super::DriverPlugins;

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
    #[command(flatten)]
    pub(crate) plugins: DriverPlugins,
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
    #[command(flatten)]
    pub(crate) plugins: DriverPlugins,
}

#[derive(Debug, Args)]
pub(crate) struct RegistryReindex {
    /// The configuration of the registry; what is said here wins over it.
    #[arg(long, value_name = "FILE", required_unless_present = "storage")]
    pub(crate) config: Option<PathBuf>,
    /// The folder that everything is kept in.
    #[arg(long, value_name = "DIR")]
    pub(crate) storage: Option<PathBuf>,
    /// Only compare the index with the storage: exit code 4 says that a list would be wrong.
    #[arg(long)]
    pub(crate) check: bool,
    #[command(flatten)]
    pub(crate) plugins: DriverPlugins,
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

#[derive(Debug, Subcommand)]
pub(crate) enum RegistryPolicy {
    /// Read a policy, and perhaps ask it a question: exit code 5 says that it refuses.
    Check(PolicyCheck),
}

#[derive(Debug, Args)]
pub(crate) struct PolicyCheck {
    /// The file.
    #[arg(value_name = "FILE")]
    pub(crate) policy: PathBuf,
    /// Who asks: a user, `certificate:NAME`, or `anonymous`.
    #[arg(
        long = "as",
        value_name = "USER",
        default_value = "anonymous",
        requires = "action"
    )]
    pub(crate) who: String,
    /// What is to be done: pull, push, delete, catalog, admin.
    #[arg(value_name = "ACTION")]
    pub(crate) action: Option<String>,
    /// To which repository.
    #[arg(value_name = "REPOSITORY", requires = "action")]
    pub(crate) repository: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RegistryImport {
    /// docker-registry's file; without one, variables only.
    #[arg(value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// A variable that wins over the file and over this command's own environment; may be repeated.
    #[arg(long = "variable", value_name = "REGISTRY_NAME=VALUE", value_parser = variable)]
    pub(crate) variables: Vec<(String, String)>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if name.starts_with("REGISTRY_") => Ok((name.to_owned(), value.to_owned())),
        _ => Err("it must be REGISTRY_NAME=VALUE".to_owned()),
    }
}
