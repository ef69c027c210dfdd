//! Versions of a store: what is new, what is old, what is too new, and what is cut short.

use std::sync::Arc;

use bytes::Bytes;
use transom_meta::kv::memory::Memory;
use transom_meta::kv::{Kv, Pair, Range, Write};
use transom_meta::migration::{self, STEPS, Step};
use transom_meta::{Class, Error, Metadata, Options};

use crate::kv::{commit, put};
use crate::records::{caller, image, metadata_on};

/// The record of a version: the record's own version, then field 1.
fn version(version: u8) -> [u8; 3] {
    [1, 8, version]
}

/// From 1 to 2: image records get a letter more. From 2 to 3: they move to other keys.
const TWO: &[Step] = &[
    Step {
        name: "add a letter",
        change: add_a_letter,
    },
    Step {
        name: "move images",
        change: move_images,
    },
];

fn add_a_letter(pair: &Pair) -> Result<Vec<Write>, String> {
    if !pair.key.starts_with(b"i/") || pair.value.ends_with(b"!") {
        return Ok(Vec::new());
    }
    if &pair.value[..] == b"bad" {
        return Err("it is bad".to_owned());
    }
    Ok(vec![put(&pair.key, [&pair.value[..], b"!"].concat())])
}

fn move_images(pair: &Pair) -> Result<Vec<Write>, String> {
    let Some(name) = pair.key.strip_prefix(b"i/") else {
        return Ok(Vec::new());
    };
    let key = pair.key.clone();
    Ok(vec![
        put([b"j/", name].concat(), &pair.value),
        Write::Delete { key },
    ])
}

/// A store of version 1 with images, more than are read at a time, and something else.
async fn old() -> Memory {
    let kv = Memory::new();
    let images = (0..1200).map(|number| put(format!("i/testing/{number:04}"), format!("{number}")));
    let others = [put("v", version(1)), put("n/testing", "x")];
    commit(&kv, [], images.chain(others).collect::<Vec<_>>()).await;
    kv
}

async fn all(kv: &dyn Kv) -> Vec<Pair> {
    kv.range(&Range::prefix(""), usize::MAX).await.unwrap()
}

async fn assert_migrated(kv: &dyn Kv) {
    let pair = |key: String, value: String| Pair {
        key: key.into(),
        value: value.into(),
    };
    let images = (0..1200).map(|number| pair(format!("j/testing/{number:04}"), format!("{number}!")));
    let mut wanted: Vec<_> = images.collect();
    wanted.push(pair("n/testing".to_owned(), "x".to_owned()));
    wanted.push(Pair {
        key: Bytes::from_static(b"v"),
        value: Bytes::copy_from_slice(&version(3)),
    });
    assert_eq!(all(kv).await, wanted);
}

#[tokio::test]
async fn an_old_store_goes_through_every_step_once() {
    let kv = old().await;
    assert_eq!(migration::run(&kv, TWO).await.unwrap(), 2);
    assert_migrated(&kv).await;
    assert_eq!(migration::run(&kv, TWO).await.unwrap(), 0);
    assert_migrated(&kv).await;
}

#[tokio::test]
async fn a_store_between_goes_through_the_rest() {
    let kv = old().await;
    assert_eq!(migration::run(&kv, &TWO[..1]).await.unwrap(), 1);
    assert_eq!(kv.get(b"v").await.unwrap().unwrap(), version(2)[..]);
    assert_eq!(migration::run(&kv, TWO).await.unwrap(), 1);
    assert_migrated(&kv).await;
}

#[tokio::test]
async fn a_step_that_was_cut_short_begins_again() {
    let kv = old().await;
    let bad = "i/testing/0900";
    commit(&kv, [], [put(bad, "bad")]).await;
    let error = migration::run(&kv, TWO).await.unwrap_err();
    assert_eq!(error.class(), Class::DataLoss);
    let text = error.to_string();
    assert!(
        text.contains(bad) && text.contains("add a letter: it is bad"),
        "{text}"
    );
    // Half of it is done, and the version does not say that it was.
    assert_eq!(kv.get(b"i/testing/0000").await.unwrap().unwrap(), "0!");
    assert_eq!(kv.get(b"i/testing/1100").await.unwrap().unwrap(), "1100");
    assert_eq!(kv.get(b"v").await.unwrap().unwrap(), version(1)[..]);

    commit(&kv, [], [put(bad, "900")]).await;
    assert_eq!(migration::run(&kv, TWO).await.unwrap(), 2);
    assert_migrated(&kv).await;
}

#[tokio::test]
async fn a_new_store_gets_the_newest_version() {
    let kv = Memory::new();
    assert_eq!(migration::run(&kv, TWO).await.unwrap(), 0);
    assert_eq!(all(&kv).await.len(), 1);
    assert_eq!(kv.get(b"v").await.unwrap().unwrap(), version(3)[..]);
}

#[tokio::test]
async fn a_version_that_is_not_known_is_refused_and_left_alone() {
    for unknown in [0, 4, 100] {
        let kv = old().await;
        commit(&kv, [], [put("v", version(unknown))]).await;
        let before = all(&kv).await;
        let error = migration::run(&kv, TWO).await.unwrap_err();
        let wanted = format!("the metadata has version {unknown}, and this program knows versions 1 to 3");
        assert!(error.to_string().contains(&wanted), "{error}");
        assert_eq!(error.class(), Class::DataLoss);
        assert_eq!(all(&kv).await, before);
    }
}

#[tokio::test]
async fn records_without_a_version_are_not_taken_for_a_new_store() {
    let kv = Memory::new();
    commit(&kv, [], [put("i/testing/a", "x")]).await;
    let error = migration::run(&kv, TWO).await.unwrap_err();
    assert!(
        error.to_string().contains("holds records, but no version"),
        "{error}"
    );
    assert_eq!(all(&kv).await.len(), 1);
}

#[tokio::test]
async fn opening_metadata_migrates_it_and_refuses_a_newer_one() {
    let kv = Arc::new(Memory::new());
    let (metadata, dir) = metadata_on(kv.clone()).await;
    metadata.create_image(&caller(), image("a"), None).await.unwrap();
    let current = u8::try_from(STEPS.len() + 1).unwrap();
    assert_eq!(kv.get(b"v").await.unwrap().unwrap(), version(current)[..]);
    let (again, _dir) = metadata_on(kv.clone()).await;
    again.image(&caller(), "a").await.unwrap();

    commit(&*kv, [], [put("v", version(current + 1))]).await;
    let blobs = transom_content::Store::open(dir.path().join("again")).unwrap();
    let error = Metadata::open(kv, blobs, Options::default()).await.unwrap_err();
    assert!(
        matches!(&error, Error::Record { key, .. } if key == "v"),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("use the program that wrote it, or a newer one"),
        "{error}"
    );
}
