//! The names on disk. See `docs/formats/content.md`.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use transom_oci::{Algorithm, Digest};

pub(crate) const BLOBS: &str = "blobs";
pub(crate) const INGEST: &str = "ingest";
pub(crate) const DAMAGED: &str = "damaged";

pub(crate) const REF: &str = "ref";
pub(crate) const DATA: &str = "data";
pub(crate) const STARTED: &str = "startedat";
pub(crate) const UPDATED: &str = "updatedat";
pub(crate) const TOTAL: &str = "total";
/// Appended to a file's name while it is written.
pub(crate) const TEMPORARY: &str = ".tmp";
/// Between an ingest folder's name and a unique number, once it is on its way out.
const ASIDE: &str = ".aborted-";

/// Where the store of a daemon whose root is `daemon_root` lives: containerd's `io.containerd.content.v1.content`.
#[must_use]
pub fn content_root(daemon_root: impl AsRef<Path>) -> PathBuf {
    daemon_root.as_ref().join("io.containerd.content.v1.content")
}

/// The folder name of an ingest: the sha256 of its ref.
pub(crate) fn ingest_name(reference: &str) -> String {
    Digest::of(Algorithm::Sha256, reference.as_bytes())
        .hex()
        .to_owned()
}

/// Whether a folder may have been named by [`ingest_name`].
pub(crate) fn is_ingest_name(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// A name that no open finds and every sweep removes, unique on this machine while it runs.
pub(crate) fn aside_name(name: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
    format!("{name}{ASIDE}{}-{count}-{now}", std::process::id())
}

/// Whether [`aside_name`] made this name.
pub(crate) fn is_aside_name(name: &str) -> bool {
    name.split_once(ASIDE)
        .is_some_and(|(front, _)| is_ingest_name(front))
}

/// Makes a folder (0755 less the umask) with its parents; no error if it is there.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(path)
}

/// Brings a folder's entries to the disk.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
