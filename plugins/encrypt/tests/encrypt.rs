//! The encrypt plugin, natively: a store in memory, and keys of the test's own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};

use plugin_encrypt::{CHUNK, Encrypt, HEADER, MORE};
use transom_sdk::storage::{Condition, Kind, StorageError, Store, WriteMode};
use transom_sdk::testing::{MemoryStore, TestHost};

fn driver(store: &MemoryStore) -> Encrypt {
    TestHost::new().inner(store.clone()).open().unwrap()
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 % 251) as u8).collect()
}

fn read(driver: &Encrypt, path: &str, offset: u64) -> Result<Vec<u8>, StorageError> {
    let mut bytes = Vec::new();
    driver.read(path, offset)?.body.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn size(driver: &Encrypt, path: &str) -> u64 {
    match driver.stat(path).unwrap().kind {
        Kind::File(file) => file.size,
        Kind::Folder => panic!("{path} is a folder"),
    }
}

#[test]
fn content_of_every_size_comes_back_from_every_offset() {
    let store = MemoryStore::new();
    let driver = driver(&store);
    for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 17] {
        let content = content(length);
        driver.put("/a", &content, Condition::Always).unwrap();
        let chunks = length.div_ceil(CHUNK).max(1);
        assert_eq!(store.kept("/a").unwrap().len(), HEADER + length + chunks * MORE);
        assert_eq!(size(&driver, "/a"), length as u64);
        for offset in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, length] {
            if offset <= length {
                assert_eq!(
                    read(&driver, "/a", offset as u64).unwrap(),
                    content[offset..],
                    "{length} from {offset}"
                );
            }
        }
        assert_eq!(
            read(&driver, "/a", length as u64 + 1).unwrap_err(),
            StorageError::InvalidOffset(length as u64)
        );
    }
}

#[test]
fn uploads_are_whole_pieces_until_they_are_committed() {
    let store = MemoryStore::new();
    let driver = driver(&store);
    let content = content(2 * CHUNK + 100);
    let mut mode = WriteMode::Create;
    for piece in content.chunks(CHUNK - 7) {
        let mut writer = driver.writer("/x/a", mode).unwrap();
        writer.write_all(piece).unwrap();
        writer.close().unwrap();
        mode = WriteMode::Append;
    }
    assert_eq!(store.paths()[0], "/x/.transom-encrypt/a/piece-00000000");
    assert_eq!(driver.stat("/x/a").unwrap_err(), StorageError::NotFound);
    assert!(driver.children("/x").unwrap().next().unwrap().is_none());
    assert!(matches!(
        driver.get("/x/.transom-encrypt/a/piece-00000000", 10),
        Err(StorageError::InvalidPath(_))
    ));
    let writer = driver.writer("/x/a", WriteMode::Append).unwrap();
    assert_eq!(writer.size(), content.len() as u64);
    writer.commit_to("/y/b").unwrap();
    assert_eq!(read(&driver, "/y/b", 0).unwrap(), content);
    assert_eq!(store.paths(), ["/y/b"]);
}

#[test]
fn one_piece_is_moved_and_not_written_again() {
    let store = MemoryStore::new();
    let driver = driver(&store);
    let mut writer = driver.writer("/a", WriteMode::Create).unwrap();
    writer.write_all(b"hello").unwrap();
    writer.close().unwrap();
    let piece = store.kept("/.transom-encrypt/a/piece-00000000").unwrap();
    driver.writer("/a", WriteMode::Append).unwrap().commit().unwrap();
    assert_eq!(store.kept("/a").unwrap(), piece);
}

#[test]
fn content_of_another_version_is_told_apart_from_damage() {
    let store = MemoryStore::new();
    let driver = driver(&store);
    driver.put("/a", b"hello", Condition::Always).unwrap();
    let mut kept = store.kept("/a").unwrap();
    kept[7] = 2;
    store.keep("/a", &kept);
    let error = read(&driver, "/a", 0).unwrap_err();
    assert!(
        matches!(&error, StorageError::Unsupported(what) if what.contains("version 2")),
        "{error}"
    );
    store.keep("/a", b"somebody else's, and long enough to be content of this driver's, at least by its size, all of it, yes");
    assert!(matches!(read(&driver, "/a", 0), Err(StorageError::Damaged(_))));
}

#[test]
fn without_a_master_key_nothing_is_read_or_written() {
    let store = MemoryStore::new();
    driver(&store).put("/a", b"hello", Condition::Always).unwrap();
    let other: Encrypt = TestHost::new().inner(store.clone()).masters(&[2]).open().unwrap();
    assert!(matches!(read(&other, "/a", 0), Err(StorageError::Denied(_))));
    let rotated: Encrypt = TestHost::new()
        .inner(store.clone())
        .masters(&[2, 1])
        .open()
        .unwrap();
    assert_eq!(read(&rotated, "/a", 0).unwrap(), b"hello");
    let none: Encrypt = TestHost::new().inner(store).masters(&[]).open().unwrap();
    assert!(matches!(
        none.put("/b", b"x", Condition::Always),
        Err(StorageError::Denied(_))
    ));
}

#[test]
fn what_the_store_below_refuses_is_refused() {
    let driver = driver(&MemoryStore::new());
    driver.put("/a/b", b"x", Condition::Always).unwrap();
    assert_eq!(
        driver.put("/a", b"x", Condition::Always).unwrap_err(),
        StorageError::IsFolder
    );
    assert_eq!(
        driver.put("/a/b/c", b"x", Condition::Always).unwrap_err(),
        StorageError::NotFolder
    );
    assert_eq!(
        driver.put("/a/b", b"x", Condition::Absent).unwrap_err(),
        StorageError::AlreadyExists
    );
    assert_eq!(
        driver.writer("/a", WriteMode::Create).err(),
        Some(StorageError::IsFolder)
    );
    let _open = driver.writer("/a/b", WriteMode::Create).unwrap();
    assert_eq!(
        driver.writer("/a/b", WriteMode::Create).err(),
        Some(StorageError::Busy)
    );
    assert_eq!(driver.delete("/nothing").unwrap_err(), StorageError::NotFound);
}
