//! What a sweep keeps and what it removes.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use transom_content::{Action, Reason, Store, SweepReport};

use crate::helpers::{blobs, folder, get, open, put, sha256, store, tree};

fn sweep(store: &Store) -> SweepReport {
    store.sweep(Duration::ZERO).unwrap()
}

/// What was found, by the end of its path.
fn found<'a>(report: &'a SweepReport, end: &Path) -> (&'a Reason, &'a Action) {
    let found = report
        .found
        .iter()
        .find(|found| end.ends_with(&found.path))
        .unwrap();
    (&found.reason, &found.action)
}

#[test]
fn resumable_ingests_are_kept() {
    let (store, _dir) = store();
    put(&store, "blob", b"blob").unwrap();
    let mut writer = open(&store, "left");
    writer.write(b"left").unwrap();
    writer.close().unwrap();
    let mut writer = open(&store, "open");
    let report = sweep(&store);
    assert_eq!(
        (report.resumable, report.removed, report.kept, report.sealed),
        (2, 0, 0, 0)
    );
    assert!(report.found.is_empty());
    writer.write(b"open").unwrap();
    writer.commit(None, None).unwrap();
    assert_eq!(open(&store, "left").offset(), 4);
}

#[test]
fn garbage_is_removed() {
    let (store, _dir) = store();
    let prepare = |reference: &str| {
        let mut writer = open(&store, reference);
        writer.write(b"12345").unwrap();
        writer.close().unwrap();
        folder(&store, reference)
    };
    let no_ref = prepare("no ref");
    std::fs::remove_file(no_ref.join("ref")).unwrap();
    let empty_ref = prepare("empty ref");
    std::fs::write(empty_ref.join("ref"), b"").unwrap();
    let binary_ref = prepare("binary ref");
    std::fs::write(binary_ref.join("ref"), b"\xff").unwrap();
    let long_ref = prepare("long ref");
    std::fs::write(long_ref.join("ref"), "x".repeat(100_000)).unwrap();
    let misnamed = prepare("misnamed");
    std::fs::write(misnamed.join("ref"), b"other").unwrap();
    let no_data = prepare("no data");
    std::fs::remove_file(no_data.join("data")).unwrap();
    let aside = store
        .root()
        .join(format!("ingest/{}.aborted-1-2-3", sha256(b"aside").hex()));
    std::fs::rename(prepare("aside"), &aside).unwrap();
    let nested = prepare("nested");
    std::fs::remove_file(nested.join("ref")).unwrap();
    std::fs::create_dir(nested.join("folder")).unwrap();
    prepare("good");

    // Young ones are kept on request.
    let report = store.sweep(Duration::from_secs(3600)).unwrap();
    assert_eq!((report.resumable, report.removed, report.kept), (1, 0, 8));
    assert!(
        report
            .found
            .iter()
            .all(|found| matches!(found.action, Action::TooYoung))
    );

    let report = sweep(&store);
    assert_eq!((report.resumable, report.removed, report.kept), (1, 8, 0));
    assert_eq!(report.bytes_freed, 6 * 5);
    let misnamed_as = Reason::Misnamed {
        reference: "other".to_owned(),
    };
    let expected = [
        (&no_ref, Reason::NoRef),
        (&empty_ref, Reason::UnreadableRef),
        (&binary_ref, Reason::UnreadableRef),
        (&long_ref, Reason::UnreadableRef),
        (&misnamed, misnamed_as),
        (&no_data, Reason::NoData),
        (&aside, Reason::Aborted),
        (&nested, Reason::NoRef),
    ];
    for (path, reason) in expected {
        assert!(
            matches!(found(&report, path), (found, Action::Removed) if *found == reason),
            "{reason:?}"
        );
        assert!(!path.exists());
    }
    assert_eq!(open(&store, "good").offset(), 5);
    assert!(sweep(&store).found.is_empty());
}

#[test]
fn what_is_in_use_or_not_ours_stays() {
    let (store, dir) = store();
    let beside = Store::open(dir.path().join("content")).unwrap();
    let writer = open(&beside, "used");
    let used = folder(&store, "used");
    std::fs::remove_file(used.join("ref")).unwrap();
    std::fs::create_dir(store.root().join("ingest/foreign")).unwrap();
    std::fs::write(store.root().join("ingest/notes.txt"), b"").unwrap();
    let report = sweep(&store);
    assert_eq!((report.resumable, report.removed, report.kept), (1, 0, 2));
    assert!(
        report
            .found
            .iter()
            .all(|found| found.reason == Reason::Foreign && matches!(found.action, Action::Left))
    );
    assert!(used.join("data").exists());
    drop(writer);
    assert_eq!(sweep(&store).removed, 1);
    assert!(store.root().join("ingest/foreign").exists() && store.root().join("ingest/notes.txt").exists());
}

#[test]
fn half_written_metadata_goes_and_data_stays() {
    let (store, _dir) = store();
    let mut writer = open(&store, "r");
    writer.write(b"12345").unwrap();
    let temporary = folder(&store, "r").join("updatedat.tmp");
    std::fs::write(&temporary, b"2026-").unwrap();
    let report = sweep(&store);
    assert!(matches!(
        found(&report, &temporary),
        (Reason::Temporary, Action::InUse)
    ));
    // A close overwrites it; lay it down again.
    writer.close().unwrap();
    assert!(!temporary.exists());
    std::fs::write(&temporary, b"2026-").unwrap();
    let report = sweep(&store);
    assert!(matches!(
        found(&report, &temporary),
        (Reason::Temporary, Action::Removed)
    ));
    assert_eq!((report.resumable, report.removed), (1, 1));
    assert!(!temporary.exists());
    assert_eq!(open(&store, "r").offset(), 5);
}

#[test]
fn blobs_are_sealed_and_empty_ones_named() {
    let (store, _dir) = store();
    let one = put(&store, "r", b"one").unwrap().digest;
    let two = put(&store, "r", b"two").unwrap().digest;
    put(&store, "r", b"").unwrap();
    std::fs::set_permissions(store.blob_path(&one), PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::set_permissions(store.blob_path(&two), PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::write(store.blob_path(&two), b"").unwrap();
    std::fs::set_permissions(store.blob_path(&two), PermissionsExt::from_mode(0o444)).unwrap();
    let report = sweep(&store);
    assert!(matches!(
        found(&report, &store.blob_path(&one)),
        (Reason::Writable, Action::Sealed)
    ));
    assert!(matches!(
        found(&report, &store.blob_path(&two)),
        (Reason::EmptyBlob, Action::Left)
    ));
    assert_eq!((report.sealed, report.kept), (1, 1));
    let mode = std::fs::metadata(store.blob_path(&one))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o444);
    assert_eq!(get(&store, &one), b"one");
    assert_eq!(blobs(&store).len(), 3);
}

#[test]
fn a_survey_finds_the_same_and_changes_nothing() {
    let (store, _dir) = store();
    put(&store, "blob", b"blob").unwrap();
    let path = store.blob_path(&sha256(b"blob"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    open(&store, "left").close().unwrap();
    std::fs::remove_file(folder(&store, "left").join("ref")).unwrap();
    let before = tree(store.root());
    let survey = store.survey().unwrap();
    assert_eq!((survey.removed, survey.sealed, survey.kept), (0, 0, 2));
    assert!(
        survey
            .found
            .iter()
            .all(|found| matches!(found.action, Action::Left))
    );
    assert_eq!(tree(store.root()), before);

    let report = sweep(&store);
    assert_eq!((report.removed, report.sealed, report.kept), (1, 1, 0));
    let reasons = |report: &SweepReport| {
        let found = report.found.iter();
        found.map(|found| found.reason.clone()).collect::<Vec<_>>()
    };
    assert_eq!(reasons(&survey), reasons(&report));
}

#[test]
fn a_damaged_blob_is_set_aside_where_nothing_finds_it() {
    let (store, _dir) = store();
    for _ in 0..2 {
        put(&store, "blob", b"blob").unwrap();
        let aside = store.set_aside(&sha256(b"blob")).unwrap();
        assert_eq!(std::fs::read(aside).unwrap(), b"blob");
        assert!(blobs(&store).is_empty());
        assert!(store.set_aside(&sha256(b"blob")).is_err());
    }
    assert!(store.survey().unwrap().found.is_empty());
}
