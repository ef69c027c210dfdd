//! Where layers are unpacked before anybody asks: on the file system of the snapshots of overlayfs, to which they are moved.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use transom_diff::{Ahead, LiveSettings};

use crate::config::{Config, Snapshotter};
use crate::places;

/// How often it is looked for what nobody wanted.
const TIDY: Duration = Duration::from_secs(60);

/// Begins with it, if the configuration says so and it can be done.
pub(crate) async fn open(config: &Config, settings: LiveSettings) -> Option<Ahead> {
    let snapshots = &config.snapshots;
    if !config.diff.ahead || !snapshots.enabled.contains(&Snapshotter::Overlayfs) {
        return None;
    }
    let (root, chosen) = (config.root.clone(), snapshots.overlayfs_root.clone());
    let open = move || {
        if chosen.is_some_and(|chosen| device(&chosen) != device(&root)) {
            tracing::info!(
                "layers are not unpacked before a client asks: snapshots are on another file system"
            );
            return Ok(None);
        }
        Ahead::open(&places::ahead(&root), settings)
    };
    let opened = tokio::task::spawn_blocking(open).await;
    let opened = opened.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    let ahead = opened.unwrap_or_else(|error| {
        tracing::warn!(%error, "layers are not unpacked before a client asks");
        None
    })?;
    tidy(ahead.clone());
    Some(ahead)
}

/// The file system of a folder that may not be there yet.
fn device(folder: &Path) -> Option<u64> {
    let mut found = folder
        .ancestors()
        .filter_map(|folder| std::fs::metadata(folder).ok());
    found.next().map(|found| found.dev())
}

/// Throws away now and then what nobody wanted, as long as the daemon runs.
fn tidy(ahead: Ahead) {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(TIDY).await;
            ahead.tidy();
        }
    });
}
