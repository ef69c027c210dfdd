//! A process killed at every named point of an ingest, and what the next one finds.
//!
//! A kill keeps what the kernel has; what a power cut takes besides is the business of the order of syncs, which
//! `ingest::a_commit_passes_its_steps_in_order` checks.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use transom_content::{Error, IngestOptions, Reason, Step, Store};

use crate::helpers::{blobs, get, noise, open, put, sha256, statuses};

const ROOT: &str = "TRANSOM_CONTENT_CRASH_ROOT";
const STEP: &str = "TRANSOM_CONTENT_CRASH_STEP";
const DEED: &str = "TRANSOM_CONTENT_CRASH_DEED";
const HALF: usize = 100_000;
const SMALL: usize = 5_000;

fn bytes() -> Vec<u8> {
    noise(1, 2 * HALF)
}

/// Runs in a process of its own: does the deed, and is killed when it comes to the step.
#[test]
#[ignore = "the process that the tests of this file kill"]
fn child() {
    let variable = |name| std::env::var(name).unwrap();
    let (step, root) = (variable(STEP), variable(ROOT));
    let observer = Arc::new(move |reached: Step| {
        if format!("{reached:?}") == step {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        }
    });
    let store = match variable(DEED).as_str() {
        "small" => Store::open_alone_observed(root, observer).unwrap(),
        _ => Store::open_observed(root, observer).unwrap(),
    };
    let bytes = bytes();
    match variable(DEED).as_str() {
        "commit" => drop(put(&store, "r", &bytes)),
        "close" => {
            let mut writer = open(&store, "r");
            writer.write(&bytes[..HALF]).unwrap();
            writer.close().unwrap();
        }
        "small" => drop(put(&store, "r", &bytes[..SMALL])),
        "abort" => store.abort("r").unwrap(),
        deed => panic!("unknown deed {deed}"),
    }
}

/// Has a child do the deed up to the step; the store as the next process finds it.
fn crash(root: &Path, deed: &str, step: Step) -> Store {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--ignored"])
        .env(ROOT, root)
        .env(DEED, deed)
        .env(STEP, format!("{step:?}"))
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.signal(), Some(9), "{deed} did not come to {step:?}");
    Store::open(root).unwrap()
}

/// Whatever happened: blobs are whole, and doing it again succeeds and leaves nothing behind.
fn check_recovery(store: &Store) {
    assert!(store.verify_all().unwrap().first_bad().unwrap().is_none());
    let bytes = bytes();
    let options = IngestOptions {
        total: None,
        expected: Some(sha256(&bytes)),
    };
    match store.ingest("r", options) {
        Ok(mut writer) => {
            let at = usize::try_from(writer.offset()).unwrap();
            assert_eq!(writer.digest(), sha256(&bytes[..at]));
            writer.write(&bytes[at..]).unwrap();
            writer.commit(Some(bytes.len() as u64), None).unwrap();
        }
        Err(Error::AlreadyExists { .. }) => {}
        Err(e) => panic!("{e}"),
    }
    assert_eq!(get(store, &sha256(&bytes)), bytes);
    store.sweep(Duration::ZERO).unwrap();
    assert_eq!(std::fs::read_dir(store.root().join("ingest")).unwrap().count(), 0);
    assert!(store.sweep(Duration::ZERO).unwrap().found.is_empty());
}

#[test]
fn before_the_ingest_is_ready_there_is_garbage() {
    for step in [Step::FolderOpened, Step::FolderMade] {
        let dir = tempfile::tempdir().unwrap();
        let store = crash(dir.path(), "commit", step);
        assert!(statuses(&store).is_empty() && blobs(&store).is_empty());
        let report = store.sweep(Duration::ZERO).unwrap();
        assert_eq!((report.removed, report.resumable), (1, 0));
        assert_eq!(report.found[0].reason, Reason::NoRef);
        check_recovery(&store);
    }
}

#[test]
fn until_the_rename_the_ingest_is_resumable_and_no_blob_is_seen() {
    for step in [
        Step::IngestReady,
        Step::DataWritten,
        Step::DataSynced,
        Step::Checked,
    ] {
        let dir = tempfile::tempdir().unwrap();
        let store = crash(dir.path(), "commit", step);
        assert!(blobs(&store).is_empty());
        let offset = if step == Step::IngestReady {
            0
        } else {
            2 * HALF as u64
        };
        assert_eq!(statuses(&store)["r"].offset, offset, "{step:?}");
        // A sweep does not touch it.
        let report = store.sweep(Duration::ZERO).unwrap();
        assert_eq!((report.removed, report.resumable), (0, 1), "{step:?}");
        assert_eq!(statuses(&store)["r"].offset, offset);
        check_recovery(&store);
    }
}

#[test]
fn from_the_rename_on_the_blob_is_there() {
    for step in [
        Step::Renamed,
        Step::NameSynced,
        Step::TimesSet,
        Step::IngestRemoved,
        Step::Sealed,
    ] {
        let dir = tempfile::tempdir().unwrap();
        let store = crash(dir.path(), "commit", step);
        assert_eq!(get(&store, &sha256(&bytes())), bytes(), "{step:?}");
        assert!(statuses(&store).is_empty());
        let report = store.sweep(Duration::ZERO).unwrap();
        let (removed, sealed) = (
            u64::from(step < Step::IngestRemoved),
            u64::from(step < Step::Sealed),
        );
        assert_eq!(
            (report.removed, report.sealed, report.resumable),
            (removed, sealed, 0),
            "{step:?}"
        );
        assert!(
            report
                .found
                .iter()
                .all(|found| matches!(found.reason, Reason::NoData | Reason::Writable))
        );
        check_recovery(&store);
    }
}

/// The folder that a finished commit left is not in the way of the next writer either.
#[test]
fn a_ref_is_usable_without_a_sweep() {
    for step in [Step::FolderMade, Step::Renamed, Step::TimesSet] {
        let dir = tempfile::tempdir().unwrap();
        let store = crash(dir.path(), "commit", step);
        let mut writer = open(&store, "r");
        assert_eq!(writer.offset(), 0);
        writer.write(b"other").unwrap();
        writer.commit(Some(5), Some(&sha256(b"other"))).unwrap();
        check_recovery(&store);
    }
}

#[test]
fn a_close_that_is_cut_off_keeps_the_data() {
    let dir = tempfile::tempdir().unwrap();
    let store = crash(dir.path(), "close", Step::CloseSynced);
    assert_eq!(statuses(&store)["r"].offset, HALF as u64);
    check_recovery(&store);
}

#[test]
fn an_abort_that_is_cut_off_is_an_abort() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(&Store::open(dir.path()).unwrap(), "r");
    writer.write(b"abc").unwrap();
    writer.close().unwrap();
    let store = crash(dir.path(), "abort", Step::SetAside);
    assert!(statuses(&store).is_empty());
    assert!(matches!(store.abort("r"), Err(Error::RefNotFound { .. })));
    assert_eq!(open(&store, "r").offset(), 0);
    let report = store.sweep(Duration::ZERO).unwrap();
    assert_eq!(report.found[0].reason, Reason::Aborted);
    check_recovery(&store);
}

#[test]
fn a_small_ingest_in_memory_is_a_whole_blob_or_nothing() {
    let bytes = &bytes()[..SMALL];
    for step in [
        Step::DataWritten,
        Step::DataSynced,
        Step::Checked,
        Step::Renamed,
        Step::NameSynced,
    ] {
        let dir = tempfile::tempdir().unwrap();
        let store = crash(dir.path(), "small", step);
        assert!(statuses(&store).is_empty());
        assert_eq!(
            blobs(&store).len(),
            usize::from(step >= Step::Renamed),
            "{step:?}"
        );
        assert!(store.sweep(Duration::ZERO).unwrap().found.is_empty());
        match put(&store, "r", bytes) {
            Ok(_) => assert!(step < Step::Renamed),
            Err(Error::AlreadyExists { .. }) => assert!(step >= Step::Renamed),
            Err(e) => panic!("{e}"),
        }
        assert_eq!(get(&store, &sha256(bytes)), bytes);
    }
}
