//! A process killed at every named point of every call, and what the next one finds.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use transom_meta::kv::{self, Kind as Engine, Kv};
use transom_meta::names::Labels;
use transom_meta::snapshots::{Kind, Snapshotter as _};
use transom_snapshot::{Local, Observer, Step};

use crate::helpers::{Which, folders, list, own_files, read, run, write};

const ROOT: &str = "TRANSOM_SNAPSHOT_CRASH_ROOT";
const STEP: &str = "TRANSOM_SNAPSHOT_CRASH_STEP";
const DEED: &str = "TRANSOM_SNAPSHOT_CRASH_DEED";
const WHICH: &str = "TRANSOM_SNAPSHOT_CRASH_WHICH";

fn store(root: &Path) -> Arc<dyn Kv> {
    kv::open(Engine::from_str("redb").unwrap(), &root.join("meta")).unwrap()
}

fn which(name: &str) -> Which {
    let named = |which: &Which| format!("{which:?}") == name;
    Which::BOTH.into_iter().find(named).unwrap()
}

/// Runs in a process of its own: makes a base, then does the deed, and is killed when it comes to the step.
#[test]
#[ignore = "the process that the tests of this file kill"]
fn child() {
    let variable = |name| std::env::var(name).unwrap();
    let (root, deed) = (variable(ROOT), variable(DEED));
    let (step, which) = (variable(STEP), which(&variable(WHICH)));
    run(async || {
        let root = Path::new(&root);
        let armed = Arc::new(AtomicBool::new(false));
        let observer: Observer = {
            let armed = Arc::clone(&armed);
            Arc::new(move |reached| {
                if armed.load(Ordering::SeqCst) && format!("{reached:?}") == step {
                    let own = rustix::process::getpid();
                    rustix::process::kill_process(own, rustix::process::Signal::KILL).unwrap();
                }
            })
        };
        let local = which
            .open(&store(root), &root.join("root"), Some(observer))
            .await
            .unwrap();
        let mounts = local.prepare("k", "", Labels::new()).await.unwrap();
        write(&own_files(&mounts).join("base"), "base");
        local.commit("base", "k", "", Labels::new()).await.unwrap();
        let mounts = local.prepare("k", "base", Labels::new()).await.unwrap();
        write(&own_files(&mounts).join("top"), "top");
        armed.store(true, Ordering::SeqCst);
        match deed.as_str() {
            "prepare" => drop(local.prepare("new", "base", Labels::new()).await.unwrap()),
            "commit" => local.commit("new", "k", "", Labels::new()).await.unwrap(),
            "remove" => local.remove("k").await.unwrap(),
            deed => panic!("unknown deed {deed}"),
        }
    });
}

/// Has a child do the deed up to the step.
fn crash(root: &Path, which: Which, deed: &str, step: Step) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--ignored"])
        .env(ROOT, root)
        .env(DEED, deed)
        .env(STEP, format!("{step:?}"))
        .env(WHICH, format!("{which:?}"))
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.signal(), Some(9), "{deed} did not come to {step:?}");
}

/// Whatever happened: each snapshot has its folder and each folder its snapshot, and the base is as it was.
async fn check(root: &Path, which: Which) -> Local {
    let root = root.join("root");
    let kv = store(root.parent().unwrap());
    let local = which.open(&kv, &root, None).await.unwrap();
    let found = local.found().clone();
    assert!(found.remade.is_empty() && found.missing.is_empty(), "{found:?}");
    local.cleanup().await.unwrap();
    assert_eq!(folders(&root).len(), list(&local).await.len());
    let view = local.view("check", "base", Labels::new()).await.unwrap();
    assert_eq!(read(&Path::new(&view[0].source).join("base")), "base");
    local.remove("check").await.unwrap();
    local
}

/// The snapshots that there are, by their names.
async fn names(local: &Local) -> Vec<(String, Kind)> {
    let all = list(local).await;
    all.into_iter().map(|info| (info.name, info.kind)).collect()
}

/// Kills the deed at each step, for both snapshotters; what the next process finds must be `before` up to a step, and
/// `after` from that step on.
fn killed(deed: &str, steps: &[Step], decisive: Step, before: &[(&str, Kind)], after: &[(&str, Kind)]) {
    let owned = |snapshots: &[(&str, Kind)]| -> Vec<(String, Kind)> {
        let owned = snapshots.iter().map(|(name, kind)| ((*name).to_owned(), *kind));
        owned.collect()
    };
    for which in Which::BOTH {
        for step in steps {
            let dir = tempfile::tempdir().unwrap();
            crash(dir.path(), which, deed, *step);
            run(async || {
                let local = check(dir.path(), which).await;
                let expected = if *step < decisive { before } else { after };
                assert_eq!(
                    names(&local).await,
                    owned(expected),
                    "{which:?}, {deed} at {step:?}"
                );
                for key in ["k", "new"] {
                    if let Ok(mounts) = local.mounts(key).await
                        && key == "k"
                    {
                        assert_eq!(read(&own_files(&mounts).join("top")), "top");
                    }
                    // Doing it again, or undoing it, works.
                    let _ = local.remove(key).await;
                }
                local.remove("base").await.unwrap();
                assert!(folders(&dir.path().join("root")).is_empty());
            });
        }
    }
}

const BASE: (&str, Kind) = ("base", Kind::Committed);
const ACTIVE: (&str, Kind) = ("k", Kind::Active);

#[test]
fn prepare() {
    killed(
        "prepare",
        &[
            Step::FolderMade,
            Step::FolderFilled,
            Step::FolderNamed,
            Step::Recorded,
        ],
        Step::Recorded,
        &[BASE, ACTIVE],
        &[BASE, ACTIVE, ("new", Kind::Active)],
    );
}

#[test]
fn commit() {
    killed(
        "commit",
        &[Step::Measured, Step::Synced, Step::Committed],
        Step::Committed,
        &[BASE, ACTIVE],
        &[BASE, ("new", Kind::Committed)],
    );
}

#[test]
fn remove() {
    killed(
        "remove",
        &[Step::Forgotten, Step::FolderRemoved],
        Step::Forgotten,
        &[BASE, ACTIVE],
        &[BASE],
    );
}

#[test]
fn every_step_is_tried() {
    let tried = [
        Step::FolderMade,
        Step::FolderFilled,
        Step::FolderNamed,
        Step::Recorded,
        Step::Measured,
        Step::Synced,
        Step::Committed,
        Step::Forgotten,
        Step::FolderRemoved,
    ];
    assert_eq!(tried, Step::ALL);
}
