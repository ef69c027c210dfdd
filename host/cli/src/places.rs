//! Default folders: the system's for root, the XDG ones for everybody else.

use std::env;
use std::path::PathBuf;

/// Where content is kept: `/var/lib/transom`, or `$XDG_DATA_HOME/transom`.
pub(crate) fn root() -> Option<PathBuf> {
    place("/var/lib/transom", "XDG_DATA_HOME", ".local/share")
}

/// Where `transomd` listens if nobody says otherwise.
pub(crate) fn socket() -> Option<PathBuf> {
    const NAME: &str = "transom.sock";
    if is_root() {
        return Some(PathBuf::from("/run/transom").join(NAME));
    }
    match absolute("XDG_RUNTIME_DIR") {
        Some(folder) => Some(folder.join("transom").join(NAME)),
        None => Some(root()?.join("run").join(NAME)),
    }
}

/// Where compiled plugins are kept: below `/var/cache/transom`, or `$XDG_CACHE_HOME/transom`.
pub(crate) fn compiled() -> Option<PathBuf> {
    Some(place("/var/cache/transom", "XDG_CACHE_HOME", ".cache")?.join("compiled"))
}

/// Whom this machine, or this user, trusts with plugins: `/etc/transom/trust.toml`, or `$XDG_CONFIG_HOME/transom/trust.toml`.
pub(crate) fn trust() -> Option<PathBuf> {
    Some(place("/etc/transom", "XDG_CONFIG_HOME", ".config")?.join("trust.toml"))
}

/// Where plugins are installed, and storage drivers that are plugins are found: `plugins` in the folder of [`root`].
pub(crate) fn plugins() -> Option<PathBuf> {
    Some(root()?.join("plugins"))
}

/// Where a stream is kept while it is read: `$TMPDIR`, or `/var/tmp`, which is a disk where `/tmp` may be memory.
pub(crate) fn temporary() -> PathBuf {
    env::var_os("TMPDIR")
        .filter(|value| !value.is_empty())
        .map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from)
}

fn place(system: &str, variable: &str, below_home: &str) -> Option<PathBuf> {
    if is_root() {
        return Some(system.into());
    }
    let base = absolute(variable).or_else(|| Some(absolute("HOME")?.join(below_home)))?;
    Some(base.join("transom"))
}

fn absolute(variable: &str) -> Option<PathBuf> {
    env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}

/// Whether this process may give files to others.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
