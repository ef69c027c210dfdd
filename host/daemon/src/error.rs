//! Why the daemon cannot start or go on.

use std::io;
use std::path::{Path, PathBuf};

use crate::plugins::Trouble;

/// Why the daemon cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// Another daemon has the root.
    #[error("{} is in use by another transomd{}; stop it, or choose another --root", root.display(), of(*pid))]
    Held {
        /// The root.
        root: PathBuf,
        /// The other one's process, if it could be read.
        pid: Option<u32>,
    },
    /// Somebody answers on the socket already.
    #[error("{} is served by another process{}; stop it, or choose another --address", path.display(), of(*pid))]
    Served {
        /// The socket.
        path: PathBuf,
        /// The other one's process, if the system says.
        pid: Option<u32>,
    },
    /// The root was used in the other way.
    #[error(
        "{} {}: everything in it would be garbage to {}; choose another --root",
        root.display(), if *proxied { "belongs to a containerd (--proxy-backend)" } else { "has records of its own" },
        if *proxied { "a daemon with records of its own" } else { "a containerd in front (--proxy-backend)" }
    )]
    OtherUse {
        /// The root.
        root: PathBuf,
        /// Whether it was used behind a containerd until now.
        proxied: bool,
    },
    /// Something that is not a socket is where the socket should be.
    #[error("{} is there and is not a socket; remove it, or choose another --address", path.display())]
    NotASocket {
        /// What is there.
        path: PathBuf,
    },
    /// Input or output.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The listener of the metrics.
    #[error("cannot serve metrics on {address}: {source}")]
    Metrics {
        /// Where.
        address: std::net::SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The sender of traces.
    #[error("cannot send traces to {endpoint}: {source}")]
    Traces {
        /// Where to.
        endpoint: String,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A policy for images that may be pulled.
    #[error(
        "the policy {name:?} cannot be asked: {source}; see [verifiers.policies], [admission.policies] and [filters] in the configuration"
    )]
    Policy {
        /// Its name.
        name: String,
        /// What is wrong with its expression or plugin.
        source: transom_meta::filter::FilterError,
    },
    /// The plugins: the policy for them, or the list of those that are installed.
    #[error("plugins: {0}; see [plugins] in the configuration")]
    Plugins(#[source] Trouble),
    /// Policies are wanted where there are no images.
    #[error(
        "admission: a daemon behind a containerd (--proxy-backend) has no images, and nobody would ask the policies; leave them out"
    )]
    NoAdmission,
    /// The registry.
    #[error("registry: {0}")]
    Registry(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Images are to be read where there are none.
    #[error(
        "registry.namespaces: a daemon behind a containerd (--proxy-backend) has no images; leave it out"
    )]
    NoImages,
    /// The driver that is to keep the blobs.
    #[error("content.driver: {0}")]
    ContentDriver(String),
    /// The blobs' store.
    #[error(transparent)]
    Content(#[from] transom_content::Error),
    /// Metadata.
    #[error(transparent)]
    Meta(#[from] transom_meta::Error),
    /// The folder for temporary mounts.
    #[error(transparent)]
    Mounts(#[from] transom_sys::mount::MountError),
    /// No connection can be accepted any more.
    #[error("the server stopped: {0}")]
    Server(#[source] std::io::Error),
}

impl Failure {
    /// What is in the way of the plugins is a failure at the start.
    pub(crate) fn of_plugins(trouble: Trouble) -> Failure {
        match trouble {
            Trouble::Policy { name, source } => Failure::Policy { name, source },
            other => Failure::Plugins(other),
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Failure {
        Failure::Io {
            action,
            path: path.to_path_buf(),
            source,
        }
    }
}

fn of(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}
