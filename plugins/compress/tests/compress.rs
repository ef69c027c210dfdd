//! The compress plugin, natively: a store in memory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};

use plugin_compress::{Compress, FRAME};
use transom_sdk::storage::{Condition, Kind, StorageError, Store, WriteMode};
use transom_sdk::testing::{MemoryStore, TestHost};

fn driver(store: &MemoryStore) -> Compress {
    TestHost::new().inner(store.clone()).open().unwrap()
}

/// Something that can be compressed.
fn text(length: usize) -> Vec<u8> {
    let words =
        (0u32..).flat_map(|number| format!("line {}\n", u64::from(number).pow(2) % 1009).into_bytes());
    words.take(length).collect()
}

/// Something that cannot.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let byte = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(byte).collect()
}

fn read(driver: &Compress, path: &str, offset: u64) -> Result<Vec<u8>, StorageError> {
    let mut bytes = Vec::new();
    driver.read(path, offset)?.body.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[test]
fn content_of_every_size_comes_back_from_every_offset() {
    let store = MemoryStore::new();
    let driver = driver(&store);
    for length in [0, 1, 1000, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME + 17] {
        for content in [text(length), noise(length)] {
            driver.put("/a", &content, Condition::Always).unwrap();
            let Kind::File(file) = driver.stat("/a").unwrap().kind else {
                panic!("a folder")
            };
            assert_eq!(file.size, length as u64);
            for offset in [0, 1, FRAME - 1, FRAME, FRAME + 1, 2 * FRAME, length] {
                if offset <= length {
                    let found = read(&driver, "/a", offset as u64).unwrap();
                    assert!(found == content[offset..], "{length} from {offset}");
                }
            }
        }
    }
}

#[test]
fn text_gets_small_and_noise_hardly_larger() {
    let store = MemoryStore::new();
    let driver = driver(&store);
    driver.put("/text", &text(1 << 20), Condition::Always).unwrap();
    let kept = store.kept("/text").unwrap().len();
    assert!(kept < 400_000, "{kept}");
    driver.put("/noise", &noise(1 << 20), Condition::Always).unwrap();
    let kept = store.kept("/noise").unwrap().len();
    assert!(kept < (1 << 20) + 1000, "{kept}");
}

#[test]
fn uploads_in_pieces_become_one() {
    let store = MemoryStore::new();
    let driver = driver(&store);
    let content = text(2 * FRAME + 100);
    let mut mode = WriteMode::Create;
    for piece in content.chunks(FRAME - 7) {
        let mut writer = driver.writer("/a", mode).unwrap();
        writer.write_all(piece).unwrap();
        writer.close().unwrap();
        mode = WriteMode::Append;
    }
    let mut writer = driver.writer("/a", mode).unwrap();
    assert_eq!(writer.size(), content.len() as u64);
    writer.write_all(b"end").unwrap();
    writer.commit().unwrap();
    assert!(read(&driver, "/a", 0).unwrap() == [&content[..], b"end"].concat());
    assert_eq!(store.paths(), ["/a"]);
}

#[test]
fn what_was_not_compressed_is_damaged_and_does_not_hide_the_rest() {
    let store = MemoryStore::new();
    let driver = driver(&store);
    driver.put("/folder/a", b"hello", Condition::Always).unwrap();
    store.keep("/folder/b", b"somebody else's");
    assert!(matches!(
        read(&driver, "/folder/b", 0),
        Err(StorageError::Damaged(_))
    ));
    assert!(matches!(driver.stat("/folder/b"), Err(StorageError::Damaged(_))));
    assert_eq!(read(&driver, "/folder/a", 0).unwrap(), b"hello");
    let mut entries = driver.children("/folder").unwrap();
    let mut names = Vec::new();
    while let Some(entry) = entries.next().unwrap() {
        names.push(entry.path);
    }
    assert_eq!(names, ["/folder/a", "/folder/b"]);
}
