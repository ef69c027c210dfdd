//! What the system says, as meanings.

use std::io;
use std::path::Path;

use transom_meta::snapshots::SnapshotError;
use transom_sys::Errno;

/// What was tried with a path, and why it failed.
pub(crate) fn io(what: &'static str, path: &Path, error: impl Into<io::Error>) -> SnapshotError {
    let error = error.into();
    let is = |errno: Errno| error.raw_os_error() == Some(errno.raw_os_error());
    let path = path.display().to_string();
    if is(Errno::NOSPC) || is(Errno::DQUOT) {
        return SnapshotError::NoSpace { path };
    }
    let error = if is(Errno::BUSY) {
        let reason = "something is mounted there; unmount it, and the next clean-up removes it";
        io::Error::new(io::ErrorKind::ResourceBusy, reason)
    } else if what == "remove" && is(Errno::PERM) {
        let reason = "it is immutable, or not ours; `lsattr` shows why, `chattr -i -a` makes it removable";
        io::Error::new(io::ErrorKind::PermissionDenied, reason)
    } else {
        error
    };
    SnapshotError::Io { what, path, error }
}

/// An error of the records.
pub(crate) fn records(error: impl Into<transom_meta::Error>) -> SnapshotError {
    SnapshotError::Records(Box::new(error.into()))
}
