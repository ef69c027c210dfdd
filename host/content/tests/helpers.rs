//! What the tests share.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use transom_content::{Error, Info, IngestOptions, Status, Step, Store};
use transom_oci::{Algorithm, Digest};

/// A store in a folder that goes with it.
pub(crate) fn store() -> (Store, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Store::open(dir.path().join("content")).unwrap(), dir)
}

/// A store whose steps are written down.
pub(crate) fn observed_store() -> (Store, TempDir, Arc<Mutex<Vec<Step>>>) {
    let dir = tempfile::tempdir().unwrap();
    let steps = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&steps);
    let observer = Arc::new(move |step| sink.lock().unwrap().push(step));
    (
        Store::open_observed(dir.path().join("content"), observer).unwrap(),
        dir,
        steps,
    )
}

/// Bytes that differ from place to place and from seed to seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

pub(crate) fn open(store: &Store, reference: &str) -> transom_content::Writer {
    store.ingest(reference, IngestOptions::default()).unwrap()
}

/// Ingests and commits in one go.
pub(crate) fn put(store: &Store, reference: &str, bytes: &[u8]) -> Result<Info, Error> {
    let mut writer = store.ingest(reference, IngestOptions::default())?;
    writer.write(bytes)?;
    writer.commit(Some(bytes.len() as u64), Some(&sha256(bytes)))
}

pub(crate) fn get(store: &Store, digest: &Digest) -> Vec<u8> {
    let mut bytes = Vec::new();
    store
        .reader(digest)
        .unwrap()
        .verifying()
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

pub(crate) fn statuses(store: &Store) -> BTreeMap<String, Status> {
    let all = store.statuses(|_| true).unwrap();
    all.map(|status| status.unwrap())
        .map(|status| (status.reference.clone(), status))
        .collect()
}

pub(crate) fn blobs(store: &Store) -> BTreeMap<Digest, u64> {
    store
        .walk()
        .unwrap()
        .map(|info| info.unwrap())
        .map(|info| (info.digest, info.size))
        .collect()
}

/// Every path below `root` with its kind and mode, such as `d755 blobs`.
pub(crate) fn tree(root: &Path) -> Vec<String> {
    fn visit(root: &Path, at: &Path, lines: &mut Vec<String>) {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let found = path.symlink_metadata().unwrap();
            let kind = if found.is_dir() { 'd' } else { '-' };
            let name = path.strip_prefix(root).unwrap().display();
            lines.push(format!("{name} {kind}{:o}", found.mode() & 0o7777));
            if found.is_dir() {
                visit(root, &path, lines);
            }
        }
    }
    let mut lines = Vec::new();
    visit(root, root, &mut lines);
    lines.sort();
    lines
}

/// The folder of a ref.
pub(crate) fn folder(store: &Store, reference: &str) -> std::path::PathBuf {
    store
        .root()
        .join("ingest")
        .join(sha256(reference.as_bytes()).hex())
}
