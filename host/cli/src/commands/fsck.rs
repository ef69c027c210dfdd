//! `transom fsck`: whether the records, the blobs and the snapshots of a daemon that does not run fit together.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use transom_content::Store;
use transom_meta::fsck::{self, Options, Report};
use transom_meta::kv::{self, Kind as Stored, Kv, KvError};
use transom_meta::snapshots::{SnapshotError, Snapshotter};
use transom_snapshot::{
    Features, Local, NativeOptions, OverlayOptions, Place as Snapshots, snapshotter_root,
};

use super::{print, print_json};
use crate::arguments::{Fsck, Place, Progress};
use crate::failure::{Failure, Kind};
use crate::places;
use crate::progress::Bars;
use crate::show::{count, printable, size};

/// The folder of the metadata in a daemon's root.
const METADATA: &str = "io.transom.metadata.v1";
/// The snapshotters, whose folders are named after them.
const OVERLAYFS: &str = "overlayfs";
const NATIVE: &str = "native";

pub(crate) fn run(command: &Fsck, place: &Place, json: bool) -> Result<(), Failure> {
    let root = place.root.clone().or_else(places::root);
    let root = root.ok_or_else(|| Failure::usage("say which root to look at: --root DIR"))?;
    let report = check(&root, command)?;
    if json {
        print_json(&document(&report))?;
    } else {
        print(&text(&report, command))?;
    }
    if report.is_clean() {
        return Ok(());
    }
    let left = match report.left {
        1 => format!("1 problem is left in {}", root.display()),
        left => format!("{} problems are left in {}", count(left), root.display()),
    };
    let failure = Failure::new(Kind::Damaged, left);
    Err(if command.repair {
        failure
    } else {
        failure.advise("--repair mends what can be mended")
    })
}

fn check(root: &Path, command: &Fsck) -> Result<Report, Failure> {
    let folder = root.join(METADATA);
    if !folder.is_dir() {
        let text = format!(
            "there is no metadata in {}: it is not the root of a daemon",
            root.display()
        );
        let failure = Failure::new(Kind::NotFound, text);
        return Err(failure.advise("for a content store alone there is `transom content ls --verify`"));
    }
    let kv = open(&folder).map_err(|error| kv_failure(&error))?;
    let blobs = Store::open(transom_content::content_root(root))?;
    let hashed = Arc::new(AtomicU64::new(0));
    let options = Options {
        verify: command.verify,
        repair: command.repair,
        progress: Some(Arc::new({
            let hashed = Arc::clone(&hashed);
            move |bytes, _| hashed.store(bytes, Ordering::Relaxed)
        })),
        ..Options::default()
    };
    let bar = command
        .verify
        .then(|| Bars::new(Progress::Auto).follow("hashed", None, &hashed));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| Failure::io("cannot start the check", &error))?;
    let checked = runtime.block_on(async {
        let snapshotters = snapshotters(root, &kv).await;
        let options = Options {
            snapshotters: snapshotters.map_err(|error| Failure::new(Kind::Other, error.to_string()))?,
            ..options
        };
        let checked = fsck::check(&kv, &blobs, &options).await;
        checked.map_err(|error| Failure::new(Kind::Other, error.to_string()))
    });
    drop(bar);
    checked
}

/// Those that have their folder in the root; where a configuration puts them elsewhere, only their records are looked at.
async fn snapshotters(root: &Path, kv: &Arc<dyn Kv>) -> Result<Vec<Arc<dyn Snapshotter>>, SnapshotError> {
    let place = |name| Snapshots::new(Arc::clone(kv), snapshotter_root(root, name));
    let mut found: Vec<Arc<dyn Snapshotter>> = Vec::new();
    if snapshotter_root(root, OVERLAYFS).is_dir() {
        // Nothing is mounted, so that it does not matter what the kernel can do.
        let options = OverlayOptions {
            features: Some(Features::default()),
            ..OverlayOptions::default()
        };
        found.push(Arc::new(Local::overlayfs(place(OVERLAYFS), options).await?));
    }
    if snapshotter_root(root, NATIVE).is_dir() {
        found.push(Arc::new(
            Local::native(place(NATIVE), NativeOptions::default()).await?,
        ));
    }
    Ok(found)
}

/// The store of whichever kind there is.
fn open(folder: &Path) -> Result<Arc<dyn Kv>, KvError> {
    match kv::open(Stored::default(), folder) {
        Err(KvError::OtherKind { found, .. }) => kv::open(found, folder),
        opened => opened,
    }
}

fn kv_failure(error: &KvError) -> Failure {
    let kind = match error {
        KvError::InUse { .. } => Kind::Unavailable,
        KvError::Damaged { .. } => Kind::Damaged,
        KvError::NoSpace => Kind::NoSpace,
        _ => Kind::Other,
    };
    Failure::new(kind, error.to_string())
}

fn document(report: &Report) -> Value {
    let counts = &report.counts;
    let findings = report.findings.iter().map(|finding| {
        json!({
            "kind": finding.problem.kind(),
            "problem": finding.problem.to_string(),
            "action": finding.action.to_string(),
            "repaired": finding.action.repaired(),
        })
    });
    json!({
        "clean": report.is_clean(),
        "counts": {
            "records": counts.records,
            "namespaces": counts.namespaces,
            "images": counts.images,
            "content": counts.content,
            "ingests": counts.ingests,
            "leases": counts.leases,
            "blobs": counts.blobs,
            "bytes": counts.bytes,
            "hashed": counts.hashed,
        },
        "problems": report.problems,
        "repaired": report.repaired,
        "left": report.left,
        "findings": findings.collect::<Vec<_>>(),
        "leftovers": { "removed": report.leftovers.removed, "kept": report.leftovers.kept },
    })
}

fn text(report: &Report, command: &Fsck) -> String {
    let counts = &report.counts;
    let mut lines = vec![format!(
        "{} records, {} images, {} blobs ({}), {} of them hashed",
        count(counts.records),
        count(counts.images),
        count(counts.blobs),
        size(counts.bytes),
        count(counts.hashed)
    )];
    for finding in &report.findings {
        let problem = printable(&finding.problem.to_string());
        lines.push(format!("{problem} ({})", finding.action));
    }
    let listed = report.findings.len() as u64;
    let all: u64 = report.problems.values().sum();
    if all > listed {
        lines.push(format!("and {} more", count(all - listed)));
    }
    if all == 0 {
        lines.push("no problems".to_owned());
    } else {
        lines.push(format!(
            "{} repaired, {} left",
            count(report.repaired),
            count(report.left)
        ));
    }
    if !command.verify && counts.blobs > counts.hashed {
        lines.push("blobs were not read; --verify hashes them".to_owned());
    }
    lines.join("\n") + "\n"
}
