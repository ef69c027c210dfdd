//! What only the memory driver promises: its limit.

use bytes::Bytes;
use transom_storage::{Condition, Error, Memory, StorageDriver, StoragePath, WriteMode};

fn path(text: &str) -> StoragePath {
    StoragePath::new(text).unwrap()
}

async fn put(memory: &Memory, at: &str, length: usize) -> Result<(), Error> {
    memory
        .put(&path(at), Bytes::from(vec![1; length]), Condition::Always)
        .await
}

#[tokio::test]
async fn the_limit_counts_content_uploads_and_paths() {
    let memory = Memory::new(1000);
    put(&memory, "/a", 498).await.unwrap();
    assert_eq!(memory.used(), 500);
    assert!(matches!(
        put(&memory, "/b", 499).await,
        Err(Error::NoSpace { .. })
    ));
    let mut writer = memory.writer(&path("/b"), WriteMode::Create).await.unwrap();
    writer.write(Bytes::from(vec![2; 400])).await.unwrap();
    assert_eq!(memory.used(), 902);
    assert!(matches!(
        writer.write(Bytes::from(vec![2; 99])).await,
        Err(Error::NoSpace { .. })
    ));
    assert_eq!(writer.size(), 400);
    writer.commit().await.unwrap();
    assert_eq!(memory.used(), 902);
    memory.rename(&path("/b"), &path("/a")).await.unwrap();
    assert_eq!(memory.used(), 402);
    memory.delete(&path("/a")).await.unwrap();
    assert_eq!(memory.used(), 0);
}

#[tokio::test]
async fn whatever_becomes_of_an_upload_its_bytes_come_back() {
    let memory = Memory::new(10_000);
    let at = path("/folder/a");
    for end in [
        "cancel",
        "close and cancel",
        "close and create",
        "drop and delete",
        "delete",
        "commit",
    ] {
        let mut writer = memory.writer(&at, WriteMode::Create).await.unwrap();
        writer.write(Bytes::from(vec![1; 1000])).await.unwrap();
        match end {
            "cancel" => writer.cancel().await.unwrap(),
            "close and cancel" => {
                writer.close().await.unwrap();
                memory
                    .writer(&at, WriteMode::Append)
                    .await
                    .unwrap()
                    .cancel()
                    .await
                    .unwrap();
            }
            "close and create" => {
                writer.close().await.unwrap();
                memory
                    .writer(&at, WriteMode::Create)
                    .await
                    .unwrap()
                    .cancel()
                    .await
                    .unwrap();
            }
            "drop and delete" => {
                drop(writer);
                memory.delete(&path("/folder")).await.unwrap();
            }
            "delete" => {
                memory.delete(&at).await.unwrap();
                let more = writer.write(Bytes::from_static(b"x")).await;
                assert!(more.unwrap_err().is_not_found());
                assert!(writer.commit().await.unwrap_err().is_not_found());
            }
            _ => {
                writer.commit().await.unwrap();
                memory.delete(&at).await.unwrap();
            }
        }
        assert_eq!(memory.used(), 0, "{end}");
    }
}

#[tokio::test]
async fn a_small_piece_does_not_keep_a_large_buffer() {
    let memory = Memory::new(10_000);
    let large = Bytes::from(vec![1; 1 << 20]);
    memory
        .put(&path("/a"), large.slice(..10), Condition::Always)
        .await
        .unwrap();
    // Nobody else holds the buffer: the memory has a copy of its ten bytes.
    assert!(large.is_unique());
}
