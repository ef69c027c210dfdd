//! A check of snapshots: records against each other, and against what the snapshotter has.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use transom_meta::fsck::{Options, Report, check};
use transom_meta::kv::{Durability, Transaction, Write};
use transom_meta::snapshots::Snapshotter;
use transom_meta::{Labels, Metadata};

use crate::gc::gc;
use crate::records::{caller, keys};
use crate::snapshots::{committed, listed, stage};
use crate::snapshotter::Fake;

async fn look(metadata: &Metadata, fake: &Arc<Fake>, repair: bool, margin: Duration) -> Report {
    let options = Options {
        repair,
        margin,
        snapshotters: vec![fake.clone()],
        ..Options::default()
    };
    check(metadata.kv(), metadata.blobs(), &options).await.unwrap()
}

fn kinds(report: &Report) -> Vec<(&'static str, u64)> {
    report.problems.clone().into_iter().collect()
}

async fn write(metadata: &Metadata, write: Write) {
    let transaction = Transaction {
        conditions: Vec::new(),
        writes: vec![write],
        durability: Durability::Durable,
    };
    metadata.kv().commit(transaction).await.unwrap();
}

fn delete(key: &'static str) -> Write {
    Write::Delete {
        key: Bytes::from_static(key.as_bytes()),
    }
}

#[tokio::test]
async fn leaks_and_losses_are_found_and_repaired() {
    let (metadata, fake, snapshots, _dir) = stage().await;
    let who = caller();
    committed(&snapshots, &who, "base", "", gc(&[("root", "1")])).await;
    for key in ["a", "b", "c"] {
        snapshots.prepare(&who, key, "base", Labels::new()).await.unwrap();
    }
    let clean = look(&metadata, &fake, true, Duration::ZERO).await;
    assert!(clean.is_clean() && clean.problems.is_empty(), "{clean:?}");
    assert_eq!(clean.counts.snapshots, 4);

    let key = |name: &str| fake.keys().into_iter().find(|key| key.ends_with(name)).unwrap();
    fake.remove(&key("/a")).await.unwrap();
    write(&metadata, delete("k/testing/fake/0004base/b")).await;
    write(&metadata, delete("s/testing/fake/c")).await;
    let base = key("/base");
    fake.prepare("testing/800/leaked", &base, Labels::new())
        .await
        .unwrap();
    fake.commit("testing/800/layer", "testing/800/leaked", "", Labels::new())
        .await
        .unwrap();
    fake.prepare("testing/801/on it", "testing/800/layer", Labels::new())
        .await
        .unwrap();
    let wanted = [
        ("dangling-record", 1),
        ("missing-files", 1),
        ("no-child", 1),
        ("orphan-snapshot", 3),
    ];
    let found = look(&metadata, &fake, false, Duration::ZERO).await;
    assert_eq!((kinds(&found), found.left), (wanted.into(), 6));
    let young = look(&metadata, &fake, true, Duration::from_secs(3600)).await;
    assert_eq!((kinds(&young), young.repaired, young.left), (wanted.into(), 3, 3));
    let repaired = look(&metadata, &fake, true, Duration::ZERO).await;
    assert_eq!(
        (kinds(&repaired), repaired.left),
        (vec![("orphan-snapshot", 3)], 0)
    );
    let again = look(&metadata, &fake, false, Duration::ZERO).await;
    assert!(again.is_clean() && again.problems.is_empty(), "{again:?}");
    assert_eq!(fake.names(), ["b", "base"]);
    assert_eq!(listed(&snapshots, &who, &[]).await, ["b", "base"]);
    assert!(
        keys(&metadata)
            .await
            .contains(&"k/testing/fake/0004base/b".to_owned())
    );
}

#[tokio::test]
async fn a_commit_that_was_cut_off_is_left_to_the_daemon() {
    let (metadata, fake, snapshots, _dir) = stage().await;
    let who = caller();
    snapshots
        .prepare(&who, "active", "", gc(&[("root", "1")]))
        .await
        .unwrap();
    let active = fake.keys().remove(0);
    let done = active.replace("/active", "/done");
    fake.commit(&done, &active, "", Labels::new()).await.unwrap();
    let found = look(&metadata, &fake, true, Duration::ZERO).await;
    assert_eq!((kinds(&found), found.left), (vec![("missing-files", 1)], 1));
    assert_eq!(fake.names(), ["done"]);
    metadata.add_snapshotter(fake.clone()).await.unwrap();
    assert_eq!(
        listed(&metadata.snapshots("fake").unwrap(), &who, &[]).await,
        ["done"]
    );
    assert!(look(&metadata, &fake, false, Duration::ZERO).await.is_clean());
}
