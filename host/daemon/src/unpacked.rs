//! Where layers are unpacked before anybody asks: on the file system of the snapshots of overlayfs, to which they are moved.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use transom_diff::{Ahead, LiveSettings};

use crate::config::{Config, Snapshotter};
use crate::places;

/// How often it is looked for what nobody wanted.
const TIDY: Duration = Duration::from_secs(60);

/// Begins with it, if the configuration says so and it can be done. Blocks.
pub(crate) fn open(config: &Config, settings: LiveSettings) -> Option<Ahead> {
    let (root, snapshots) = (&config.root, &config.snapshots);
    if !config.diff.ahead || !snapshots.enabled.contains(&Snapshotter::Overlayfs) {
        return None;
    }
    let chosen = snapshots.overlayfs_root.as_ref();
    if chosen.is_some_and(|chosen| device(chosen) != device(root)) {
        tracing::info!("layers are not unpacked before a client asks: snapshots are on another file system");
        return None;
    }
    Ahead::open(&places::ahead(root), settings).unwrap_or_else(|error| {
        tracing::warn!(%error, "layers are not unpacked before a client asks");
        None
    })
}

/// The file system of a folder that may not be there yet.
fn device(folder: &Path) -> Option<u64> {
    let mut found = folder
        .ancestors()
        .filter_map(|folder| std::fs::metadata(folder).ok());
    found.next().map(|found| found.dev())
}

/// Throws away now and then what nobody wanted, as long as the daemon runs.
pub(crate) fn tidy(ahead: Ahead) {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(TIDY).await;
            ahead.tidy();
        }
    });
}
