//! Small ingests of a store that is alone: in memory until their commit.

use std::sync::{Arc, Mutex};

use transom_content::{Error, IngestOptions, Step, Store, limits};
use transom_oci::Algorithm;

use crate::helpers::{blobs, folder, get, noise, open, put, sha256, statuses, tree};

fn alone() -> (Store, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Store::open_alone(dir.path().join("content")).unwrap(), dir)
}

#[test]
fn a_small_blob_never_has_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let steps = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&steps);
    let observer = Arc::new(move |step| sink.lock().unwrap().push(step));
    let store = Store::open_alone_observed(dir.path().join("content"), observer).unwrap();
    let bytes = noise(1, limits::MEMORY_BYTES);
    let mut writer = open(&store, "r");
    bytes
        .chunks(10_000)
        .for_each(|piece| writer.write(piece).unwrap());
    assert!(writer.partial().unwrap().is_none());
    assert_eq!(statuses(&store)["r"], writer.status());
    let info = writer.commit(None, None).unwrap();
    assert_eq!(info, store.info(&sha256(&bytes)).unwrap());
    assert_eq!(get(&store, &info.digest), bytes);
    assert_eq!(
        *steps.lock().unwrap(),
        [
            Step::DataWritten,
            Step::DataSynced,
            Step::Checked,
            Step::Renamed,
            Step::NameSynced,
        ]
    );
    let hex = info.digest.hex().to_owned();
    let blob = format!("blobs/sha256/{hex} -444");
    assert_eq!(
        tree(store.root()),
        ["blobs d755", "blobs/sha256 d755", blob.as_str()]
    );
    assert!(statuses(&store).is_empty());
    assert!(matches!(writer.write(b"more"), Err(Error::Closed { .. })));
}

#[test]
fn it_goes_to_its_folder_when_it_grows_and_when_it_is_closed() {
    let (store, _dir) = alone();
    let bytes = noise(2, limits::MEMORY_BYTES + 1);
    let (first, last) = bytes.split_at(limits::MEMORY_BYTES);
    let mut writer = open(&store, "grows");
    writer.write(first).unwrap();
    assert!(!folder(&store, "grows").exists());
    let started = writer.status().started;
    writer.write(last).unwrap();
    assert_eq!(
        std::fs::read(folder(&store, "grows").join("data")).unwrap(),
        bytes
    );
    assert_eq!(store.status("grows").unwrap().started, started);
    assert!(writer.partial().unwrap().is_some());
    writer.commit(None, Some(&sha256(&bytes))).unwrap();

    let mut writer = open(&store, "closed");
    writer.write(b"half").unwrap();
    let before = writer.status();
    writer.close().unwrap();
    let status = store.status("closed").unwrap();
    assert_eq!((status.offset, status.started), (4, before.started));
    // Another process goes on with it.
    let beside = Store::open(store.root()).unwrap();
    assert_eq!(open(&beside, "closed").offset(), 4);
    // So does this one, in the folder.
    let mut writer = open(&store, "closed");
    assert_eq!((writer.offset(), writer.status().updated), (4, before.updated));
    writer.write(b" and half").unwrap();
    assert_eq!(writer.commit(None, None).unwrap().size, 13);
}

#[test]
fn a_long_one_begins_in_its_folder() {
    let (store, _dir) = alone();
    let options = IngestOptions {
        total: Some(limits::MEMORY_BYTES as u64 + 1),
        expected: None,
    };
    let writer = store.ingest("long", options).unwrap();
    assert!(folder(&store, "long").exists());
    assert!(!writer.takes_at_once(1));
}

#[test]
fn checks_that_fail_keep_the_bytes() {
    let (store, _dir) = alone();
    let mut writer = open(&store, "r");
    writer.write(b"hello").unwrap();
    assert!(matches!(
        writer.commit(Some(4), None),
        Err(Error::SizeMismatch { actual: 5, .. })
    ));
    let other = sha256(b"other");
    assert!(matches!(
        writer.commit(None, Some(&other)),
        Err(Error::DigestMismatch { .. })
    ));
    assert!(blobs(&store).is_empty());
    // Under the digest of another algorithm than the one that ran.
    let sha512 = transom_oci::Digest::of(Algorithm::Sha512, b"hello");
    assert_eq!(writer.commit(Some(5), Some(&sha512)).unwrap().digest, sha512);
}

#[test]
fn what_is_there_already_is_told_and_what_is_not_whole_is_replaced() {
    let (store, _dir) = alone();
    let digest = put(&store, "a", b"hello").unwrap().digest;
    assert!(matches!(
        put(&store, "b", b"hello"),
        Err(Error::AlreadyExists { .. })
    ));
    assert!(statuses(&store).is_empty());
    let path = store.blob_path(&digest);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, b"").unwrap();
    put(&store, "c", b"hello").unwrap();
    assert_eq!(get(&store, &digest), b"hello");
}

#[test]
fn an_abort_ends_it() {
    let (store, _dir) = alone();
    let mut writer = open(&store, "r");
    writer.write(b"hello").unwrap();
    assert!(matches!(store.abort_unused("r"), Err(Error::Locked { .. })));
    store.abort("r").unwrap();
    assert!(matches!(store.abort("r"), Err(Error::RefNotFound { .. })));
    assert!(matches!(writer.write(b"more"), Err(Error::Aborted { .. })));
    assert!(matches!(writer.commit(None, None), Err(Error::Aborted { .. })));
    assert!(matches!(store.status("r"), Err(Error::RefNotFound { .. })));
    drop(writer);
    assert_eq!(open(&store, "r").offset(), 0);
}
