//! What containerd's content test-suite demands of a store, by the names of its tests. Labels and namespaces are not this
//! layer's.

use std::io::Read;
use std::time::SystemTime;

use transom_content::{Error, IngestOptions, Status, Store, Writer};
use transom_oci::{Algorithm, Digest};

use crate::helpers::{blobs, get, noise, open, put, sha256, statuses, store};

/// The writer's own view and the listing's are the same, and lie between the given times.
fn check_status(
    store: &Store,
    writer: &Writer,
    bytes: &[u8],
    started: [SystemTime; 2],
    updated: [SystemTime; 2],
) {
    let status = writer.status();
    assert_eq!(status.offset, bytes.len() as u64);
    assert_eq!(writer.digest(), sha256(bytes));
    assert!(
        started[0] <= status.started && status.started <= started[1],
        "{status:?}"
    );
    assert!(
        updated[0] <= status.updated && status.updated <= updated[1],
        "{status:?}"
    );
    assert_eq!(store.status(&status.reference).unwrap(), status);
}

#[test]
fn writer() {
    let (store, _dir) = store();
    let contents: Vec<_> = (0..4)
        .map(|seed| noise(seed, 20_000 + usize::try_from(seed).unwrap()))
        .collect();
    for (n, bytes) in contents.iter().enumerate() {
        let mut writer = open(&store, &format!("c{n}"));
        bytes.chunks(32).for_each(|piece| writer.write(piece).unwrap());
        let committed = writer
            .commit(Some(bytes.len() as u64), Some(&sha256(bytes)))
            .unwrap();
        assert_eq!(committed, store.info(&sha256(bytes)).unwrap());
    }
    assert!(statuses(&store).is_empty());
    for bytes in &contents {
        assert_eq!(get(&store, &sha256(bytes)), *bytes);
    }
}

#[test]
fn update_status() {
    let (store, _dir) = store();
    let bytes = noise(1, 250);
    let before = SystemTime::now();
    let mut writer = open(&store, "update");
    let opened = SystemTime::now();
    check_status(&store, &writer, b"", [before, opened], [before, opened]);
    for (from, to) in [(0, 100), (100, 220), (220, 250)] {
        let start = SystemTime::now();
        writer.write(&bytes[from..to]).unwrap();
        check_status(
            &store,
            &writer,
            &bytes[..to],
            [before, opened],
            [start, SystemTime::now()],
        );
    }
    writer.commit(Some(250), Some(&sha256(&bytes))).unwrap();
    assert!(matches!(store.status("update"), Err(Error::RefNotFound { reference }) if reference == "update"));
    let info = store.info(&sha256(&bytes)).unwrap();
    assert_eq!(info.size, 250);
    assert!(info.created <= SystemTime::now() && info.updated <= SystemTime::now());
}

#[test]
fn commit_exists() {
    let (store, _dir) = store();
    let bytes = noise(2, 250);
    put(&store, "first", &bytes).unwrap();
    // Found at the commit: the ingest is gone afterwards.
    let error = put(&store, "second", &bytes).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("content {}: already exists", sha256(&bytes))
    );
    assert!(statuses(&store).is_empty());
    // Found at the opening.
    let options = IngestOptions {
        total: Some(250),
        expected: Some(sha256(&bytes)),
    };
    assert!(matches!(
        store.ingest("third", options),
        Err(Error::AlreadyExists { .. })
    ));
    assert!(statuses(&store).is_empty());
    assert_eq!(get(&store, &sha256(&bytes)), bytes);
}

/// Writes some of it, leaves, comes back, writes the rest.
fn resume(limit: impl Fn(usize) -> usize) {
    let (store, _dir) = store();
    for size in [500, 5_000, 50_000] {
        let reference = format!("resume-{size}");
        let bytes = noise(size as u64, size);
        let options = IngestOptions {
            total: Some(size as u64),
            expected: Some(sha256(&bytes)),
        };
        let at = limit(size);
        let mut writer = store.ingest(&reference, options.clone()).unwrap();
        writer.write(&bytes[..at]).unwrap();
        let left = writer.status();
        writer.close().unwrap();

        let between = store.status(&reference).unwrap();
        assert_eq!(
            between,
            Status {
                expected: None,
                ..left.clone()
            }
        );
        let mut told = Vec::new();
        let mut writer = store
            .ingest_watched(&reference, options, |done, all| told.push((done, all)))
            .unwrap();
        // To the nanosecond, both times.
        assert_eq!(writer.status(), left);
        assert_eq!(writer.digest(), sha256(&bytes[..at]));
        assert_eq!(
            told,
            if at == 0 {
                vec![]
            } else {
                vec![(at as u64, at as u64)]
            }
        );
        writer.write_at(at as u64, &bytes[at..]).unwrap();
        writer.commit(None, None).unwrap();
        assert_eq!(get(&store, &sha256(&bytes)), bytes);
    }
}

#[test]
fn resume_zero() {
    resume(|_| 0);
}

#[test]
fn resume_ten() {
    resume(|size| size / 10);
}

#[test]
fn resume_half() {
    resume(|size| size / 2);
}

#[test]
fn resume_ninety() {
    resume(|size| size * 9 / 10);
}

#[test]
fn resume_all() {
    resume(|size| size);
}

#[test]
fn resume_truncate() {
    let (store, _dir) = store();
    let bytes = noise(3, 5_000);
    let mut writer = open(&store, "truncate");
    writer.write(b"something else").unwrap();
    writer.close().unwrap();
    let mut writer = open(&store, "truncate");
    assert_eq!(writer.offset(), 14);
    writer.truncate(0).unwrap();
    assert_eq!(
        (writer.offset(), store.status("truncate").unwrap().offset),
        (0, 0)
    );
    assert_eq!(
        writer.truncate(3).unwrap_err().to_string(),
        "cannot truncate to 3 bytes: only 0 is supported"
    );
    writer.write(&bytes).unwrap();
    writer.commit(Some(5_000), Some(&sha256(&bytes))).unwrap();
    assert_eq!(get(&store, &sha256(&bytes)), bytes);
}

#[test]
fn resume_discard() {
    let (store, _dir) = store();
    let bytes = noise(4, 5_000);
    let mut writer = open(&store, "discard");
    writer.write(&bytes[..1_000]).unwrap();
    writer.close().unwrap();
    // What is there already is read and thrown away by the copier, which then writes the rest.
    let mut source = &bytes[..];
    let mut writer = open(&store, "discard");
    std::io::copy(&mut source.by_ref().take(writer.offset()), &mut std::io::sink()).unwrap();
    std::io::copy(&mut source, &mut writer).unwrap();
    writer.commit(Some(5_000), Some(&sha256(&bytes))).unwrap();
    assert_eq!(get(&store, &sha256(&bytes)), bytes);
}

#[test]
fn small_blob() {
    let (store, _dir) = store();
    let mut writer = open(&store, "small");
    writer.write(b"x").unwrap();
    // Neither size nor digest given.
    assert_eq!(writer.commit(None, None).unwrap().digest, sha256(b"x"));
    let blob = store.reader(&sha256(b"x")).unwrap();
    assert_eq!(blob.size(), 1);
    let mut buffer = [0; 10];
    assert_eq!(blob.read_at(&mut buffer, 0).unwrap(), 1);
    assert_eq!(blob.read_at(&mut buffer, 1).unwrap(), 0);
    assert_eq!(blob.read_at(&mut buffer, 100).unwrap(), 0);
}

#[test]
fn empty_blob() {
    let (store, _dir) = store();
    for algorithm in Algorithm::ALL {
        let expected = Digest::of(algorithm, b"");
        let mut writer = open(&store, "empty");
        assert_eq!(writer.commit(Some(0), Some(&expected)).unwrap().size, 0);
        assert_eq!(get(&store, &expected), b"");
    }
    assert_eq!(blobs(&store).len(), 3);
    assert!(store.verify_all().unwrap().first_bad().unwrap().is_none());
}

#[test]
fn large_blob() {
    let (store, _dir) = store();
    let bytes = noise(5, 32 << 20);
    put(&store, "large", &bytes).unwrap();
    assert_eq!(store.info(&sha256(&bytes)).unwrap().size, 32 << 20);
    assert_eq!(get(&store, &sha256(&bytes)).len(), 32 << 20);
}

#[test]
fn commit_error_state() {
    let (store, _dir) = store();
    let (bytes, other) = (noise(6, 256), sha256(&noise(7, 256)));
    let digest = sha256(&bytes);
    let mut writer = open(&store, "r6");
    writer.write(&bytes).unwrap();

    let error = writer.commit(Some(256), Some(&other)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("unexpected commit digest {digest}, expected {other}")
    );
    let error = writer.commit(Some(99), Some(&digest)).unwrap_err();
    assert_eq!(error.to_string(), "\"r6\" failed size validation: 256 != 99");
    // The size is looked at first.
    assert!(matches!(
        writer.commit(Some(99), Some(&other)),
        Err(Error::SizeMismatch { .. })
    ));
    assert!(matches!(
        writer.commit(Some(0), None),
        Err(Error::SizeMismatch { .. })
    ));
    assert_eq!(writer.status().offset, 256);
    writer.close().unwrap();

    // Kept for another try, also by another writer.
    let mut writer = open(&store, "r6");
    assert_eq!(writer.offset(), 256);
    assert!(matches!(
        writer.commit(Some(1), None),
        Err(Error::SizeMismatch {
            actual: 256,
            expected: 1,
            ..
        })
    ));
    writer.commit(Some(256), Some(&digest)).unwrap();
    assert_eq!(
        writer.write(b"x").unwrap_err().to_string(),
        "writer of ref r6 is closed; open the ref again"
    );
    assert!(matches!(writer.commit(None, None), Err(Error::Closed { .. })));
    assert!(matches!(writer.truncate(0), Err(Error::Closed { .. })));
    assert!(matches!(writer.close(), Err(Error::Closed { .. })));
    assert!(matches!(store.abort("r6"), Err(Error::RefNotFound { .. })));
    assert_eq!(get(&store, &digest), bytes);
}
