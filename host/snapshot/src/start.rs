//! What a crash or a power cut left, as it is found when a snapshotter is opened.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use transom_meta::snapshots::{Kind, SnapshotError};

use crate::driver::Wanted;
use crate::folders::Listing;
use crate::limits;
use crate::local::{Inner, unusable};
use crate::records::SnapshotRecord;

/// What was found. The lists have at most [`limits::FOUND`] entries each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Snapshots that are recorded.
    pub snapshots: u64,
    /// Folders without a record; [`cleanup`](transom_meta::snapshots::Snapshotter::cleanup) removes them.
    pub garbage: Vec<String>,
    /// Views and active snapshots whose folder a power cut took, and which was made again.
    pub remade: Vec<String>,
    /// Committed snapshots without a folder: somebody has removed it. They are kept, and cannot be used.
    pub missing: Vec<String>,
    /// Names that no snapshotter gives; they are left alone.
    pub foreign: Vec<String>,
}

/// containerd's own metadata, which this program does not read.
const CONTAINERD: &str = "metadata.db";

/// Compares folders and records. Nothing is removed by this.
pub(crate) async fn look(inner: &Arc<Inner>) -> Result<Found, SnapshotError> {
    let listing = inner.blocking(|inner| inner.folders.list()).await?;
    check_owner(inner, &listing).await?;
    let mut found = Found {
        foreign: listing.foreign.clone(),
        ..Found::default()
    };
    found.foreign.truncate(limits::FOUND);
    let known = compare(inner, &listing, &mut found).await?;
    let nameless = listing.ids.iter().filter(|id| !known.contains(id));
    let garbage = nameless.map(u64::to_string).chain(listing.temporary);
    for name in garbage {
        if found.garbage.len() < limits::FOUND {
            found.garbage.push(name.clone());
        }
        inner.folders.abandon(name);
    }
    tell(inner.folders.root(), &found);
    Ok(found)
}

/// Refuses a folder whose snapshots are not those of this metadata: all of them would be garbage.
async fn check_owner(inner: &Inner, listing: &Listing) -> Result<(), SnapshotError> {
    let root = inner.folders.root();
    let refuse = |reason: &str| Err(unusable(inner.driver.name(), root, reason.to_owned()));
    if root.join(CONTAINERD).exists() {
        return refuse("it holds containerd's snapshots (metadata.db); choose another root");
    }
    let next = inner.records.next_id().await?.unwrap_or(0);
    if listing.ids.last().is_some_and(|last| *last >= next) {
        return refuse(
            "it holds snapshots that the metadata knows nothing of; choose another root, bring the metadata back, or remove the folder `snapshots` in it",
        );
    }
    Ok(())
}

/// Reads all records; the ids that they have.
async fn compare(
    inner: &Arc<Inner>,
    listing: &Listing,
    found: &mut Found,
) -> Result<HashSet<u64>, SnapshotError> {
    let mut known = HashSet::new();
    let mut after: Option<String> = None;
    loop {
        let page = inner
            .records
            .page(after.as_deref(), transom_meta::limits::PAGE)
            .await?;
        let Some((last, _)) = page.last() else {
            return Ok(known);
        };
        after = Some(last.clone());
        for (key, record) in page {
            found.snapshots += 1;
            known.insert(record.id);
            let has_folder = inner.driver.has_folder(record.kind(), !record.below.is_empty());
            if has_folder && !listing.ids.contains(&record.id) {
                restore(inner, key, &record, found).await;
            }
        }
    }
}

/// A snapshot without a folder. What others wrote into an active one was promised to nobody, so an empty one will do.
async fn restore(inner: &Arc<Inner>, key: String, record: &SnapshotRecord, found: &mut Found) {
    let list = if record.kind() == Kind::Committed {
        &mut found.missing
    } else {
        let wanted = Wanted {
            parent: record.below.first().copied(),
            labels: record.labels.clone(),
        };
        match inner.fill(record.id, wanted).await {
            Ok(()) => &mut found.remade,
            Err(error) => {
                tracing::warn!(snapshot = key, %error, "cannot make the folder of a snapshot again");
                &mut found.missing
            }
        }
    };
    if list.len() < limits::FOUND {
        list.push(key);
    }
}

fn tell(root: &Path, found: &Found) {
    let root = root.display();
    if !found.garbage.is_empty() || !found.remade.is_empty() {
        let (garbage, remade) = (found.garbage.len(), found.remade.len());
        tracing::info!(%root, garbage, remade, "found what a crash left of snapshots");
    }
    if !found.missing.is_empty() {
        tracing::warn!(%root, snapshots = ?found.missing, "the folders of snapshots are missing");
    }
    if !found.foreign.is_empty() {
        tracing::warn!(%root, names = ?found.foreign, "there is something among the snapshots that is none");
    }
}
