//! What is kept was changed: by whom does not matter.

use bytes::Bytes;
use serde_json::{Value, json};
use transom_storage::{Condition, Error, Memory, StorageDriver, WriteMode};

use crate::support::{KEY, OTHER_KEY, compressed, encrypted, factory, noise, open, path, put, read};

/// Bytes of a header and of a whole chunk, as encrypt keeps them.
const HEADER: usize = 80;
const CHUNK: usize = 65536 + 28;

async fn kept(memory: &Memory, at: &str) -> Vec<u8> {
    memory.get(&path(at), u64::MAX).await.unwrap().to_vec()
}

/// What is wrong with content of which `kept` is kept.
async fn damage(driver: &dyn StorageDriver, memory: &Memory, kept: Vec<u8>) -> String {
    memory
        .put(&path("/damaged"), kept.into(), Condition::Always)
        .await
        .unwrap();
    match read(driver, "/damaged").await {
        Err(Error::Damaged { path, reason, .. }) => {
            assert_eq!(path.as_str(), "/damaged");
            reason
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_change_of_encrypted_content_is_noticed_and_named() {
    let Some((factory, memory)) = factory(&["encrypt"]) else {
        return;
    };
    let driver = open(&factory, &encrypted(&json!({ "driver": "same" }))).unwrap();
    let content = noise(1, 3 * 65536 + 1000);
    put(&*driver, "/whole", &content).await;
    let whole = kept(&memory, "/whole").await;
    assert_eq!(whole.len(), HEADER + 3 * CHUNK + 1000 + 28);
    assert!(
        !whole
            .windows(64)
            .any(|window| content.windows(64).next() == Some(window))
    );
    let chunk = |number: usize| HEADER + number * CHUNK..HEADER + (number + 1) * CHUNK;

    let mut flipped = whole.clone();
    flipped[HEADER + CHUNK + 100] ^= 1;
    assert_eq!(
        damage(&*driver, &memory, flipped).await,
        "chunk 1 is not what was encrypted"
    );
    let mut swapped = whole.clone();
    swapped[chunk(0)].copy_from_slice(&whole[chunk(2)]);
    swapped[chunk(2)].copy_from_slice(&whole[chunk(0)]);
    assert_eq!(
        damage(&*driver, &memory, swapped).await,
        "chunk 2 stands where chunk 0 belongs"
    );
    let cut = whole[..HEADER + 2 * CHUNK].to_vec();
    assert_eq!(
        damage(&*driver, &memory, cut).await,
        "it was cut off after chunk 1"
    );
    let cut = whole[..HEADER + CHUNK + 500].to_vec();
    assert_eq!(
        damage(&*driver, &memory, cut).await,
        "chunk 1 is not what was encrypted"
    );
    let cut = whole[..HEADER + 10].to_vec();
    assert!(
        damage(&*driver, &memory, cut)
            .await
            .contains("it was cut, or is another's")
    );
    let longer = [&whole[..], &whole[chunk(1)]].concat();
    assert!(
        damage(&*driver, &memory, longer)
            .await
            .contains("is not what was encrypted")
    );
    put(&*driver, "/other", &noise(2, 100_000)).await;
    let other = kept(&memory, "/other").await;
    let mixed = [&whole[..HEADER + CHUNK], &other[HEADER + CHUNK..]].concat();
    assert_eq!(
        damage(&*driver, &memory, mixed).await,
        "chunk 1 is not what was encrypted"
    );
    let mut foreign = whole.clone();
    foreign[0] = b'x';
    assert_eq!(
        damage(&*driver, &memory, foreign).await,
        "it was not encrypted by this driver"
    );
    // And nothing else is affected.
    assert_eq!(read(&*driver, "/whole").await.unwrap(), content);
}

#[tokio::test]
async fn a_wrong_key_is_denied_and_an_old_one_still_decrypts() {
    let Some((factory, _)) = factory(&["encrypt"]) else {
        return;
    };
    let with = |keys: Value| {
        let mut table = encrypted(&json!({ "driver": "same" }));
        table["masterkeys"] = keys;
        open(&factory, &table).unwrap()
    };
    put(&*with(json!(KEY)), "/content", b"hello").await;
    match read(&*with(json!(OTHER_KEY)), "/content").await {
        Err(Error::Denied { reason, .. }) => assert!(reason.contains("masterkeys"), "{reason}"),
        other => panic!("{other:?}"),
    }
    let both = with(json!([OTHER_KEY, KEY]));
    assert_eq!(read(&*both, "/content").await.unwrap(), "hello");
    put(&*both, "/content", b"new").await;
    assert_eq!(read(&*with(json!(OTHER_KEY)), "/content").await.unwrap(), "new");
}

#[tokio::test]
async fn a_repository_has_keys_of_its_own() {
    let Some((factory, memory)) = factory(&["encrypt"]) else {
        return;
    };
    let driver = open(&factory, &encrypted(&json!({ "driver": "same" }))).unwrap();
    let link = |name: &str| format!("/docker/registry/v2/repositories/{name}/_manifests/tags/1/current/link");
    let (one, other) = (link("one"), link("other"));
    put(&*driver, &one, b"sha256:1").await;
    // Moved behind the driver's back it is not taken for the other repository's.
    memory.rename(&path(&one), &path(&other)).await.unwrap();
    match read(&*driver, &other).await {
        Err(Error::Damaged { reason, .. }) => {
            assert!(reason.ends_with("for another repository than other"), "{reason}");
        }
        moved => panic!("{moved:?}"),
    }
    // By the driver it can be moved.
    memory.rename(&path(&other), &path(&one)).await.unwrap();
    driver.rename(&path(&one), &path(&other)).await.unwrap();
    assert_eq!(read(&*driver, &other).await.unwrap(), "sha256:1");
    // What one repository uploads becomes a blob of all, without another look at its bytes.
    let upload = path("/docker/registry/v2/repositories/one/_uploads/1/data");
    let blob = path("/docker/registry/v2/blobs/sha256/ab/abc/data");
    let mut writer = driver.writer(&upload, WriteMode::Create).await.unwrap();
    writer.write(Bytes::from_static(b"layer")).await.unwrap();
    writer.close().await.unwrap();
    let writer = driver.writer(&upload, WriteMode::Append).await.unwrap();
    writer.commit_to(&blob).await.unwrap();
    assert_eq!(read(&*driver, blob.as_str()).await.unwrap(), "layer");
    // And an upload to a path of another repository is encrypted for that one.
    for pieces in [1, 2] {
        let mut mode = WriteMode::Create;
        for _ in 0..pieces {
            let mut writer = driver.writer(&upload, mode).await.unwrap();
            writer.write(Bytes::from_static(b"layer")).await.unwrap();
            writer.close().await.unwrap();
            mode = WriteMode::Append;
        }
        let writer = driver.writer(&upload, mode).await.unwrap();
        writer.commit_to(&path(&other)).await.unwrap();
        assert_eq!(read(&*driver, &other).await.unwrap(), "layer".repeat(pieces));
    }
}

#[tokio::test]
async fn compressed_content_is_zstd_and_damage_is_noticed() {
    let Some((factory, memory)) = factory(&["compress"]) else {
        return;
    };
    let driver = open(&factory, &compressed(&json!({ "driver": "same" }))).unwrap();
    let content: Vec<u8> = (0..200_000u32)
        .flat_map(|number| number.to_string().into_bytes())
        .collect();
    put(&*driver, "/whole", &content).await;
    let whole = kept(&memory, "/whole").await;
    assert!(
        whole.len() < content.len() / 2,
        "{} of {}",
        whole.len(),
        content.len()
    );
    // Anybody's decoder reads it.
    assert_eq!(zstd::decode_all(&whole[..]).unwrap(), content);
    assert_eq!(
        driver.stat(&path("/whole")).await.unwrap().size(),
        content.len() as u64
    );

    let mut flipped = whole.clone();
    flipped[1000] ^= 1;
    assert!(damage(&*driver, &memory, flipped).await.contains("a frame of it"));
    let cut = whole[..whole.len() - 100].to_vec();
    assert!(
        damage(&*driver, &memory, cut)
            .await
            .contains("no table of frames")
    );
    let mut shorter = whole.clone();
    shorter.drain(..500);
    assert!(
        damage(&*driver, &memory, shorter)
            .await
            .contains("do not fit together")
    );
    assert_eq!(read(&*driver, "/whole").await.unwrap(), content);
}
