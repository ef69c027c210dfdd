//! Opening, offsets, algorithms, locks, aborts, full disks: what the suite does not ask for.

use std::os::unix::fs::PermissionsExt;

use transom_content::{Error, IngestOptions, Step, Store, limits};
use transom_oci::{Algorithm, Digest};

use crate::helpers::{blobs, folder, get, noise, observed_store, open, put, sha256, statuses, store};

#[test]
fn writes_must_be_at_the_offset() {
    let (store, _dir) = store();
    let mut writer = open(&store, "r");
    let error = writer.write_at(5, b"x").unwrap_err();
    assert_eq!(error.to_string(), "write @5 must occur at current offset 0");
    writer.write_at(0, b"abc").unwrap();
    assert!(matches!(
        writer.write_at(0, b"x"),
        Err(Error::OutOfRange {
            offset: 0,
            current: 3
        })
    ));
    assert!(matches!(
        writer.write_at(2, b"x"),
        Err(Error::OutOfRange {
            offset: 2,
            current: 3
        })
    ));
    writer.write_at(3, b"def").unwrap();
    assert_eq!(writer.commit(None, None).unwrap().digest, sha256(b"abcdef"));
}

#[test]
fn a_ref_has_one_writer() {
    let (store, dir) = store();
    let mut writer = open(&store, "r");
    let error = store.ingest("r", IngestOptions::default()).unwrap_err();
    assert!(matches!(&error, Error::Locked { since: Some(_), .. }));
    let text = error.to_string();
    assert!(
        text.starts_with("ref r locked for ") && text.contains("s (since 20") && text.ends_with("Z)"),
        "{text}"
    );

    // Another store on the same folder stands for another process: the lock on the folder is the same.
    let beside = Store::open(dir.path().join("content")).unwrap();
    let error = beside.ingest("r", IngestOptions::default()).unwrap_err();
    assert!(matches!(&error, Error::Locked { since: None, .. }));
    assert_eq!(error.to_string(), "ref r locked by another process");
    open(&beside, "another").close().unwrap();

    writer.write(b"abc").unwrap();
    drop(writer);
    let writer = open(&beside, "r");
    assert_eq!(writer.offset(), 3);
    assert!(matches!(
        store.ingest("r", IngestOptions::default()),
        Err(Error::Locked { since: None, .. })
    ));
}

#[test]
fn refs_are_any_text_up_to_the_limit() {
    let (store, _dir) = store();
    for reference in [
        "default/1/layer-sha256:abc",
        "../../etc/passwd",
        "a\nb\0c",
        "ünï",
        &"x".repeat(limits::REF_BYTES),
    ] {
        put(&store, reference, reference.as_bytes()).unwrap();
        let mut writer = open(&store, reference);
        writer.write(b"y").unwrap();
        writer.close().unwrap();
        assert_eq!(store.status(reference).unwrap().offset, 1);
        store.abort(reference).unwrap();
    }
    for reference in ["", &"x".repeat(limits::REF_BYTES + 1)] {
        let error = store.ingest(reference, IngestOptions::default()).unwrap_err();
        assert!(matches!(error, Error::BadRef { length } if length == reference.len()));
    }
    assert!(statuses(&store).is_empty());
}

#[test]
fn the_digest_chooses_the_algorithm() {
    let (store, _dir) = store();
    let bytes = noise(1, 3_000_000);
    for algorithm in Algorithm::ALL {
        let expected = Digest::of(algorithm, &bytes);
        // Known at the opening: hashed on the way, also across a resume.
        let options = IngestOptions {
            total: None,
            expected: Some(expected.clone()),
        };
        let mut writer = store.ingest("a", options.clone()).unwrap();
        writer.write(&bytes[..1_000_000]).unwrap();
        writer.close().unwrap();
        let mut writer = store.ingest("a", options).unwrap();
        assert_eq!(writer.digest(), Digest::of(algorithm, &bytes[..1_000_000]));
        writer.write(&bytes[1_000_000..]).unwrap();
        assert_eq!(writer.commit(None, None).unwrap().digest, expected);
        assert_eq!(get(&store, &expected), bytes);
        store.delete(&expected).unwrap();
        // Known at the commit only: hashed again.
        let mut writer = open(&store, "b");
        writer.write(&bytes).unwrap();
        let wrong = Digest::of(algorithm, b"wrong");
        assert!(
            matches!(writer.commit(None, Some(&wrong)), Err(Error::DigestMismatch { actual, .. }) if actual == expected)
        );
        assert_eq!(writer.commit(None, Some(&expected)).unwrap().digest, expected);
    }
    assert_eq!(blobs(&store).len(), 3);
}

#[test]
fn what_the_options_expect_is_checked_by_a_bare_commit() {
    let (store, _dir) = store();
    let options = IngestOptions {
        total: Some(4),
        expected: Some(sha256(b"data")),
    };
    let mut writer = store.ingest("r", options).unwrap();
    writer.write(b"dat").unwrap();
    assert!(matches!(
        writer.commit(None, None),
        Err(Error::SizeMismatch {
            actual: 3,
            expected: 4,
            ..
        })
    ));
    writer.write(b"A").unwrap();
    assert!(matches!(
        writer.commit(None, None),
        Err(Error::DigestMismatch { .. })
    ));
    // The newest word wins.
    assert_eq!(
        writer.commit(None, Some(&sha256(b"datA"))).unwrap().digest,
        sha256(b"datA")
    );
}

#[test]
fn another_total_starts_over() {
    let (store, _dir) = store();
    let with = |total| IngestOptions {
        total,
        expected: None,
    };
    let reopen = |total| store.ingest("r", with(total)).unwrap();
    let mut writer = reopen(Some(10));
    writer.write(b"12345").unwrap();
    let started = writer.status().started;
    drop(writer);
    // The same and none go on; none keeps what was written down.
    assert_eq!(reopen(Some(10)).status().offset, 5);
    let status = reopen(None).status();
    assert_eq!(
        (status.offset, status.total, status.started),
        (5, Some(10), started)
    );
    assert_eq!(store.status("r").unwrap().total, Some(10));
    // Another one starts over, and the data is really gone.
    let status = reopen(Some(11)).status();
    assert_eq!((status.offset, status.total), (0, Some(11)));
    assert_eq!(
        std::fs::metadata(folder(&store, "r").join("data")).unwrap().len(),
        0
    );
    assert_eq!(store.status("r").unwrap().total, Some(11));
    // One that comes later is written down.
    drop(open(&store, "s"));
    assert_eq!(store.ingest("s", with(Some(7))).unwrap().status().total, Some(7));
    assert_eq!(
        std::fs::read_to_string(folder(&store, "s").join("total")).unwrap(),
        "7"
    );
}

#[test]
fn damaged_metadata_does_not_lose_data() {
    let (store, _dir) = store();
    for damage in ["", "yesterday"] {
        let mut writer = open(&store, "r");
        writer.truncate(0).unwrap();
        writer.write(b"12345").unwrap();
        writer.close().unwrap();
        for name in ["startedat", "updatedat", "total"] {
            std::fs::write(folder(&store, "r").join(name), damage).unwrap();
        }
        let status = store.status("r").unwrap();
        assert_eq!((status.offset, status.total), (5, None));
        let writer = open(&store, "r");
        assert_eq!((writer.offset(), writer.digest()), (5, sha256(b"12345")));
    }
    // A ref that is not this one means that the data may be anybody's.
    std::fs::write(folder(&store, "r").join("ref"), "q").unwrap();
    assert!(matches!(store.status("r"), Err(Error::RefNotFound { .. })));
    assert_eq!(open(&store, "r").offset(), 0);
    assert_eq!(store.status("r").unwrap().reference, "r");
}

#[test]
fn a_resume_trusts_the_file_only() {
    let (store, _dir) = store();
    let options = IngestOptions {
        total: Some(5),
        expected: None,
    };
    let mut writer = store.ingest("r", options.clone()).unwrap();
    writer.write(b"12345").unwrap();
    writer.close().unwrap();
    // What a power cut leaves of data that was not synced.
    std::fs::write(folder(&store, "r").join("data"), b"").unwrap();
    let mut writer = store.ingest("r", options).unwrap();
    assert_eq!((writer.offset(), writer.digest()), (0, sha256(b"")));
    assert!(matches!(
        writer.commit(None, None),
        Err(Error::SizeMismatch { actual: 0, .. })
    ));
    // Somebody else appends behind the writer's back: the commit hashes what is there.
    writer.write(b"123").unwrap();
    std::fs::write(folder(&store, "r").join("data"), b"abcde").unwrap();
    assert_eq!(writer.commit(None, None).unwrap().digest, sha256(b"abcde"));
    assert!(store.verify_all().unwrap().first_bad().unwrap().is_none());
}

#[test]
fn a_blob_emptied_by_a_power_cut_is_replaced() {
    let (store, _dir) = store();
    put(&store, "r", b"data").unwrap();
    let damage = || {
        let path = store.blob_path(&sha256(b"data"));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        std::fs::write(path, b"").unwrap();
    };
    damage();
    put(&store, "r", b"data").unwrap();
    assert_eq!(get(&store, &sha256(b"data")), b"data");
    damage();
    let options = IngestOptions {
        total: None,
        expected: Some(sha256(b"data")),
    };
    let mut writer = store.ingest("r", options).unwrap();
    writer.write(b"data").unwrap();
    writer.commit(None, None).unwrap();
    assert_eq!(get(&store, &sha256(b"data")), b"data");
}

#[test]
fn abort_takes_the_data_from_its_writer() {
    let (store, dir) = store();
    assert_eq!(
        store.abort("zz").unwrap_err().to_string(),
        "reference zz: not found"
    );
    let mut writer = open(&store, "r");
    writer.write(b"abc").unwrap();
    store.abort("r").unwrap();
    assert!(matches!(store.abort("r"), Err(Error::RefNotFound { .. })));
    // The ref is free at once; what the old writer does cannot touch the new one's data.
    let mut fresh = open(&store, "r");
    fresh.write(b"fresh").unwrap();
    for error in [
        writer.write(b"x").unwrap_err(),
        writer.commit(None, None).unwrap_err(),
        writer.truncate(0).unwrap_err(),
    ] {
        assert!(matches!(&error, Error::Aborted { reference } if reference == "r"));
        assert_eq!(
            error.to_string(),
            "ref r was aborted while it was being written; open it again to start over"
        );
    }
    assert!(matches!(writer.close(), Err(Error::Aborted { .. })));
    // Nor does its end give the ref free that the new one has.
    let error = store.ingest("r", IngestOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Locked { since: Some(_), .. }));
    assert_eq!(store.status("r").unwrap().offset, 5);

    // From another process.
    let beside = Store::open(dir.path().join("content")).unwrap();
    beside.abort("r").unwrap();
    assert!(matches!(fresh.commit(None, None), Err(Error::Aborted { .. })));
    assert!(matches!(fresh.close(), Err(Error::Aborted { .. })));
    assert!(blobs(&store).is_empty() && statuses(&store).is_empty());
    assert_eq!(std::fs::read_dir(store.root().join("ingest")).unwrap().count(), 0);
}

#[test]
fn a_commit_passes_its_steps_in_order() {
    let (store, _dir, steps) = observed_store();
    let commit = [
        Step::DataSynced,
        Step::Checked,
        Step::Renamed,
        Step::NameSynced,
        Step::TimesSet,
        Step::IngestRemoved,
        Step::Sealed,
    ];
    let take = || std::mem::take(&mut *steps.lock().unwrap());
    put(&store, "r", b"abc").unwrap();
    assert_eq!(
        take(),
        [
            &[
                Step::FolderOpened,
                Step::FolderMade,
                Step::IngestReady,
                Step::DataWritten
            ],
            &commit[..]
        ]
        .concat()
    );
    // Also the loser waits until the name is on the disk.
    put(&store, "r", b"abc").unwrap_err();
    assert_eq!(
        take()[4..],
        [
            Step::DataSynced,
            Step::Checked,
            Step::NameSynced,
            Step::IngestRemoved
        ]
    );
    let mut writer = open(&store, "r");
    writer.write(b"abcd").unwrap();
    writer.close().unwrap();
    assert_eq!(
        take(),
        [
            Step::FolderOpened,
            Step::FolderMade,
            Step::IngestReady,
            Step::DataWritten,
            Step::CloseSynced
        ]
    );
    store.abort("r").unwrap();
    assert_eq!(take(), [Step::SetAside]);
}

#[test]
fn nothing_is_made_before_it_is_needed() {
    let (store, dir) = store();
    assert!(blobs(&store).is_empty() && statuses(&store).is_empty());
    assert!(matches!(store.reader(&sha256(b"")), Err(Error::NotFound { .. })));
    assert!(matches!(store.status("r"), Err(Error::RefNotFound { .. })));
    assert_eq!(store.sweep(std::time::Duration::ZERO).unwrap().found.len(), 0);
    assert!(!store.root().exists());
    // A file where the store should be.
    let file = dir.path().join("file");
    std::fs::write(&file, b"").unwrap();
    assert!(matches!(Store::open(&file), Err(Error::Io { .. })));
}

/// A write that the file system refuses half-way: the bytes that went in are counted, and the writer goes on. `/dev/full`
/// cannot stand in for the data file, so this takes a file system of a few pages.
#[test]
fn a_full_disk_keeps_what_went_in() {
    let dir = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
        .arg(dir.path())
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        transom_tests::skip("mounting a small tmpfs needs root");
        return;
    }
    let unmount = || {
        std::process::Command::new("umount")
            .arg(dir.path())
            .status()
            .unwrap()
    };
    let result = std::panic::catch_unwind(|| fill(&Store::open(dir.path().join("content")).unwrap()));
    assert!(unmount().success());
    result.unwrap();
}

fn fill(store: &Store) {
    put(store, "ballast", &noise(8, 100_000)).unwrap();
    let bytes = noise(9, 200_000);
    let mut writer = open(store, "r");
    let error = writer.write(&bytes).unwrap_err();
    assert!(matches!(error, Error::NoSpace { .. }), "{error:?}");
    let at = writer.offset();
    assert!(0 < at && at < 200_000, "{at}");
    assert_eq!(writer.digest(), sha256(&bytes[..usize::try_from(at).unwrap()]));
    store.delete(&sha256(&noise(8, 100_000))).unwrap();
    writer
        .write_at(at, &bytes[usize::try_from(at).unwrap()..])
        .unwrap();
    assert_eq!(writer.commit(None, None).unwrap().digest, sha256(&bytes));
    assert_eq!(get(store, &sha256(&bytes)), bytes);
}
