//! The snapshotters: opened as the configuration says, with what can be told of them.

use std::sync::Arc;

use transom_meta::Metadata;
use transom_meta::kv::Kv;
use transom_meta::snapshots::{SnapshotError, Snapshotter};
use transom_snapshot::{Local, Place, snapshotter_root};

use crate::config::{Config, Snapshotter as Kind};
use crate::parts::Part;
use crate::status;

/// The snapshotters that work, and all that were asked for, also those that do not work.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Those that work.
    pub working: Vec<Arc<dyn Snapshotter>>,
    /// For the introspection service.
    pub parts: Vec<Part>,
}

/// Opens the snapshotters of the configuration, with their records in `kv`. One that does not work is logged, and listed with its
/// error.
pub async fn load(config: &Config, kv: &Arc<dyn Kv>) -> Loaded {
    let mut loaded = Loaded::default();
    for kind in Kind::ALL {
        if !config.snapshots.enabled.contains(&kind) {
            continue;
        }
        match open(config, kv, kind).await {
            Ok(snapshotter) => loaded.add(Arc::new(snapshotter)),
            Err(error) => loaded.refuse(kind, &error),
        }
    }
    loaded
}

/// Lets namespaces use them.
///
/// # Errors
/// As [`Metadata::add_snapshotter`].
pub async fn add(metadata: &Metadata, loaded: &Loaded) -> Result<(), transom_meta::Error> {
    for snapshotter in &loaded.working {
        metadata.add_snapshotter(Arc::clone(snapshotter)).await?;
    }
    Ok(())
}

/// Removes what a crash left in snapshotters whose collector is another program's, beside the first requests.
pub fn tidy(loaded: &Loaded) {
    for snapshotter in loaded.working.clone() {
        tokio::spawn(async move {
            if let Err(error) = snapshotter.cleanup().await {
                let snapshotter = snapshotter.name();
                tracing::warn!(snapshotter, %error, "could not remove what a crash left");
            }
        });
    }
}

async fn open(config: &Config, kv: &Arc<dyn Kv>, kind: Kind) -> Result<Local, SnapshotError> {
    let snapshots = &config.snapshots;
    let chosen = match kind {
        Kind::Overlayfs => &snapshots.overlayfs_root,
        Kind::Native => &snapshots.native_root,
    };
    let usual = || snapshotter_root(&config.root, kind.name());
    let mut place = Place::new(Arc::clone(kv), chosen.clone().unwrap_or_else(usual));
    place.sync = snapshots.sync;
    match kind {
        Kind::Overlayfs => Local::overlayfs(place, snapshots.overlayfs.clone()).await,
        Kind::Native => Local::native(place, snapshots.native).await,
    }
}

impl Loaded {
    fn add(&mut self, snapshotter: Arc<dyn Snapshotter>) {
        let mut part = Part::new("snapshotter", snapshotter.name()).here();
        for capability in snapshotter.capabilities() {
            part = part.can(&capability);
        }
        if let Some(root) = snapshotter.root() {
            part = part.exports("root", root.display().to_string());
        }
        self.parts.push(part);
        self.working.push(snapshotter);
    }

    fn refuse(&mut self, kind: Kind, error: &SnapshotError) {
        tracing::warn!(snapshotter = kind.name(), %error, "a snapshotter cannot be used");
        let status = status::said(error.class(), error.to_string());
        self.parts
            .push(Part::new("snapshotter", kind.name()).here().failed(&status));
    }
}
