//! Whether records and blobs fit together, and what can be repaired.
//!
//! For a store that nobody else uses: the daemon must not run. Read in this order: this file (what is looked for), `records`
//! (every key and record), `disk` (blobs and ingests against them), `snapshots` (what snapshotters have), `repair`, `report` (what
//! was found).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use transom_content::Store;

use crate::Error;
use crate::kv::Kv;
use crate::snapshots::Snapshotter;

mod disk;
mod records;
mod repair;
mod report;
mod snapshots;

pub use report::{Action, Counts, Finding, Problem, Report};

use records::Records;

/// Told `(bytes hashed, bytes to hash)`; called from a thread that may block.
pub type Progress = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// What is to be looked at, and whether to change anything.
#[derive(Clone)]
pub struct Options {
    /// Hash every blob. Without it only those are hashed whose size is not the recorded one.
    pub verify: bool,
    /// Repair what can be repaired.
    pub repair: bool,
    /// How long ago blobs and ingests without a record must have been changed to be removed. For a root that containerd
    /// does not use as well, nothing speaks against zero.
    pub margin: Duration,
    /// The snapshotters whose snapshots are compared with their records. Without them only the records are looked at.
    pub snapshotters: Vec<Arc<dyn Snapshotter>>,
    /// Who wants to know how far it is.
    pub progress: Option<Progress>,
}

impl Default for Options {
    /// Looks at everything but the bytes of blobs, and changes nothing.
    fn default() -> Self {
        Options {
            verify: false,
            repair: false,
            margin: Duration::from_secs(3600),
            snapshotters: Vec::new(),
            progress: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("verify", &self.verify)
            .field("repair", &self.repair)
            .field("margin", &self.margin)
            .field("snapshotters", &self.snapshotters)
            .finish_non_exhaustive()
    }
}

/// Looks at every record and every blob. What it finds is in the report; an error means that it could not look, or could
/// not write.
///
/// Blobs and ingests without a record are only removed if the store has a version record: without it, the metadata may be
/// somewhere else.
///
/// # Errors
/// [`Error::Record`] if the metadata has a version that this program does not know, [`Error::Kv`], [`Error::Content`],
/// [`Error::Snapshot`].
pub async fn check(kv: &Arc<dyn Kv>, blobs: &Store, options: &Options) -> Result<Report, Error> {
    let mut found = Vec::new();
    let records = Records::read(&**kv, &mut found).await?;
    let disk = disk::check(blobs, &records, options).await?;
    found.extend(disk.found);
    for snapshotter in &options.snapshotters {
        snapshots::check(snapshotter, &records, &mut found).await?;
    }
    let mut report = Report {
        counts: Counts {
            blobs: disk.blobs,
            bytes: disk.bytes,
            hashed: disk.hashed,
            ..records.counts
        },
        ..Report::default()
    };
    if options.repair {
        repair::all(kv, blobs, records.versioned, options, found, &mut report).await?;
    } else {
        for found in found {
            report.note(found.problem, Action::None);
        }
    }
    let (blobs, margin) = (blobs.clone(), options.repair.then_some(options.margin));
    let leftovers = move || match margin {
        Some(margin) => blobs.sweep(margin),
        None => blobs.survey(),
    };
    report.leftovers = crate::metadata::joined(tokio::task::spawn_blocking(leftovers).await)?;
    Ok(report)
}
