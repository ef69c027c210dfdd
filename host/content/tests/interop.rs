//! The bytes on disk: what we write is what containerd writes, and we take up what it wrote.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, UNIX_EPOCH};

use transom_content::{IngestOptions, Store, content_root, timestamp};
use transom_oci::{Algorithm, Digest};

use crate::helpers::{folder, get, noise, open, put, sha256, statuses, store, tree};

/// What the process's umask leaves of a mode.
fn masked(mode: u32) -> u32 {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("probe");
    std::fs::DirBuilder::new().create(&path).unwrap();
    mode & path.metadata().unwrap().mode()
}

#[test]
fn the_tree_on_disk() {
    let (store, _dir) = store();
    put(&store, "blob", b"hello").unwrap();
    let mut writer = open(&store, "blob");
    writer.write(b"hello").unwrap();
    writer
        .commit(None, Some(&Digest::of(Algorithm::Sha512, b"hello")))
        .unwrap();
    let options = IngestOptions {
        total: Some(10),
        expected: None,
    };
    let mut writer = store.ingest("default/1/layer", options).unwrap();
    writer.write(b"12345").unwrap();
    let status = writer.status();
    writer.close().unwrap();

    let (dir, file, blob) = (masked(0o755), masked(0o644), masked(0o644) & !0o333);
    let ingest = format!("ingest/{}", sha256(b"default/1/layer").hex());
    let mut expected = vec![
        format!("blobs d{dir:o}"),
        format!("blobs/sha256 d{dir:o}"),
        format!("blobs/sha256/2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824 -{blob:o}"),
        format!("blobs/sha512 d{dir:o}"),
        format!(
            "blobs/sha512/9b71d224bd62f3785d96d46ad3ea3d73319bfbc2890caadae2dff72519673ca72323c3d99ba5c11d7c7acc6e14b8c5da0c4663475c2e5c3adef46f73bcdec043 -{blob:o}"
        ),
        format!("ingest d{dir:o}"),
        format!("{ingest} d{dir:o}"),
        format!("{ingest}/data -{file:o}"),
        format!("{ingest}/ref -{file:o}"),
        format!("{ingest}/startedat -{file:o}"),
        format!("{ingest}/total -{file:o}"),
        format!("{ingest}/updatedat -{file:o}"),
    ];
    expected.sort();
    assert_eq!(tree(store.root()), expected);

    let read = |name: &str| std::fs::read_to_string(store.root().join(&ingest).join(name)).unwrap();
    assert_eq!(read("data"), "12345");
    assert_eq!(read("ref"), "default/1/layer");
    assert_eq!(read("total"), "10");
    assert_eq!(read("startedat"), timestamp::format(status.started));
    assert_eq!(read("updatedat"), timestamp::format(status.updated));
}

/// A folder as containerd leaves it, with its local time; from there on the store goes on where containerd stopped.
#[test]
fn an_ingest_that_containerd_left() {
    let dir = tempfile::tempdir().unwrap();
    let root = content_root(dir.path());
    assert!(root.ends_with("io.containerd.content.v1.content"));
    let store = Store::open(&root).unwrap();
    let bytes = noise(1, 50_000);
    let path = folder(&store, "default/7/layer-sha256:abc");
    std::fs::create_dir_all(&path).unwrap();
    std::fs::set_permissions(root.join("ingest"), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::write(path.join("data"), &bytes[..20_000]).unwrap();
    std::fs::write(path.join("ref"), "default/7/layer-sha256:abc").unwrap();
    std::fs::write(path.join("startedat"), "2006-01-02T15:04:05.123456789-07:00").unwrap();
    std::fs::write(path.join("updatedat"), "2106-02-07T08:00:00.5+02:00").unwrap();
    std::fs::write(path.join("total"), "50000").unwrap();

    let status = &statuses(&store)["default/7/layer-sha256:abc"];
    assert_eq!((status.offset, status.total), (20_000, Some(50_000)));
    assert_eq!(
        status.started,
        UNIX_EPOCH + Duration::new(1_136_239_445, 123_456_789)
    );
    assert_eq!(
        status.updated,
        timestamp::parse("2106-02-07T06:00:00.5Z").unwrap()
    );
    let options = IngestOptions {
        total: Some(50_000),
        expected: Some(sha256(&bytes)),
    };
    let mut writer = store.ingest("default/7/layer-sha256:abc", options).unwrap();
    assert_eq!(writer.status().started, status.started);
    writer.write_at(20_000, &bytes[20_000..]).unwrap();
    writer.commit(None, None).unwrap();
    assert_eq!(get(&store, &sha256(&bytes)), bytes);
    assert_eq!(std::fs::read_dir(root.join("ingest")).unwrap().count(), 0);
}

/// The times that a blob's info is made of.
#[test]
fn a_blob_has_the_time_of_its_commit() {
    let (store, _dir) = store();
    let mut writer = open(&store, "r");
    writer.write(b"x").unwrap();
    let data = folder(&store, "r").join("data");
    let old = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    std::fs::File::options()
        .write(true)
        .open(&data)
        .unwrap()
        .set_modified(old)
        .unwrap();
    let info = writer.commit(None, None).unwrap();
    let age = |time: std::time::SystemTime| time.elapsed().unwrap_or_default();
    assert!(age(info.created) < Duration::from_secs(60) && age(info.updated) < Duration::from_secs(60));
    let found = std::fs::metadata(store.blob_path(&info.digest)).unwrap();
    assert_eq!(
        (found.modified().unwrap(), found.accessed().unwrap()),
        (info.created, info.updated)
    );
}
