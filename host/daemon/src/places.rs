//! Default places: the system's for root, the XDG ones for everybody else.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The socket's name in the state folder.
pub const SOCKET: &str = "transom.sock";

/// Where things are if nobody says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The configuration file.
    pub config: PathBuf,
    /// What lasts.
    pub root: PathBuf,
    /// What is of one run.
    pub state: PathBuf,
}

impl Places {
    /// The places of a system service.
    #[must_use]
    pub fn system() -> Places {
        Places {
            config: "/etc/transom/config.toml".into(),
            root: "/var/lib/transom".into(),
            state: "/run/transom".into(),
        }
    }

    /// The places of a user, from environment variables. `None` if neither the XDG variables nor `HOME` say where.
    pub fn of_user(variable: impl Fn(&str) -> Option<OsString>) -> Option<Places> {
        let absolute = |name: &str| {
            variable(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let home = absolute("HOME");
        let below = |name: &str, rest: &str| absolute(name).or_else(|| Some(home.as_ref()?.join(rest)));
        let root = below("XDG_DATA_HOME", ".local/share")?.join("transom");
        let state = match absolute("XDG_RUNTIME_DIR") {
            Some(folder) => folder.join("transom"),
            None => root.join("run"),
        };
        Some(Places {
            config: below("XDG_CONFIG_HOME", ".config")?.join("transom/config.toml"),
            root,
            state,
        })
    }
}

/// Where the records are kept in a root.
#[must_use]
pub fn metadata(root: &Path) -> PathBuf {
    root.join("io.transom.metadata.v1")
}

/// Where things are mounted for a while in a root.
#[must_use]
pub fn mounts(root: &Path) -> PathBuf {
    root.join("tmpmounts")
}

/// Where layers are unpacked before anybody asks, in a root.
#[must_use]
pub fn ahead(root: &Path) -> PathBuf {
    root.join("io.transom.ahead.v1")
}

/// Where the records of snapshots are kept that a containerd has names for. Not with those of a daemon of its own: to that one
/// everything that a containerd has would be garbage.
#[must_use]
pub fn proxy_metadata(root: &Path) -> PathBuf {
    root.join("io.transom.proxy.v1")
}

/// Whether a root was used by a daemon of its own (`false`), or behind a containerd (`true`), and never in the way that is asked
/// for now: each collects what the other has as garbage.
#[must_use]
pub fn used_otherwise(root: &Path, proxied: bool) -> bool {
    let (ours, other) = if proxied {
        (proxy_metadata(root), metadata(root))
    } else {
        (metadata(root), proxy_metadata(root))
    };
    other.exists() && !ours.exists()
}

/// Where the registry keeps its files in a root, if nobody says otherwise.
#[must_use]
pub fn registry(root: &Path) -> PathBuf {
    root.join("io.transom.registry.v1")
}

/// The list of installed plugins in a root.
#[must_use]
pub fn installed(root: &Path) -> PathBuf {
    root.join("io.transom.plugins.v1").join("installed.json")
}

/// Where the compiled code of plugins is kept in a root.
#[must_use]
pub fn compiled(root: &Path) -> PathBuf {
    root.join("io.transom.plugins.v1").join("compiled")
}
