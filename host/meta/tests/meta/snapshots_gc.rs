//! Snapshots and the collector: what is kept, what goes, and what a crash leaves between records and files.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use transom_content::Store;
use transom_meta::events::Event;
use transom_meta::kv::Kv;
use transom_meta::kv::memory::Memory;
use transom_meta::snapshots::{Kind, Snapshots, Snapshotter};
use transom_meta::{Caller, Class, Error, Labels, Metadata, Options};

use crate::content::put;
use crate::gc::{gc, image};
use crate::records::{caller, digest, keys, labels, namespace, refused, subscribe, until};
use crate::snapshots::{committed, listed, stage};
use crate::snapshotter::Fake;

#[tokio::test]
async fn what_nothing_keeps_goes_from_its_leaves_on() {
    let (metadata, fake, snapshots, _dir) = stage().await;
    let who = caller();
    metadata
        .create_lease(&who.namespace, "L", Labels::new())
        .await
        .unwrap();
    let leased = who.clone().with_lease("L");
    committed(&snapshots, &who, "base", "", Labels::new()).await;
    committed(&snapshots, &who, "middle", "base", Labels::new()).await;
    committed(&snapshots, &who, "top", "middle", Labels::new()).await;
    committed(&snapshots, &who, "rooted", "base", gc(&[("root", "1")])).await;
    snapshots
        .view(&leased, "leased", "middle", Labels::new())
        .await
        .unwrap();
    let mut events = subscribe(&metadata, []);
    let stats = metadata.collect().await.unwrap();
    assert_eq!(stats.removed.snapshots, 1);
    assert_eq!(fake.names(), ["base", "leased", "middle", "rooted"]);
    metadata.delete_lease(&who.namespace, "L").await.unwrap();
    let stats = metadata.collect().await.unwrap();
    assert_eq!(stats.removed.snapshots, 2);
    assert_eq!(fake.names(), ["base", "rooted"]);
    snapshots
        .update(&who, "rooted", Labels::new(), &[])
        .await
        .unwrap();
    metadata.collect().await.unwrap();
    assert_eq!(fake.names(), [""; 0]);
    assert!(
        keys(&metadata)
            .await
            .iter()
            .all(|key| !key.starts_with("s/") && !key.starts_with("k/"))
    );
    metadata
        .create_namespace(&namespace("end"), Labels::new())
        .await
        .unwrap();
    let removed: Vec<String> = until(&mut events, "/namespaces/create")
        .await
        .iter()
        .map(|envelope| match &envelope.event {
            Event::SnapshotRemove { key, .. } => key.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(removed, ["top", "leased", "middle", "rooted", "base"]);
}

#[tokio::test]
async fn images_and_content_keep_snapshots_and_these_keep_content() {
    let (metadata, fake, snapshots, _dir) = stage().await;
    let who = caller();
    committed(&snapshots, &who, "base", "", Labels::new()).await;
    // What an image has let go of has no grace, and neither has what a snapshot below it names.
    let of_top = gc(&[("ref.content", digest("kept").as_str()), ("bref.image", "other")]);
    committed(&snapshots, &who, "top", "base", of_top).await;
    committed(&snapshots, &who, "back", "", gc(&[("bref.image", "image")])).await;
    for (text, of) in [
        ("config", gc(&[("ref.snapshot.fake", "top")])),
        ("kept", Labels::new()),
    ] {
        put(&metadata, &who, text, of).await.unwrap();
    }
    image(&metadata, "image", &digest("config"), Labels::new()).await;
    metadata.collect().await.unwrap();
    assert_eq!(fake.names(), ["back", "base", "top"]);
    metadata.delete_image(&who, "image", None).await.unwrap();
    metadata.collect().await.unwrap();
    assert_eq!(fake.names(), [""; 0]);
    let left = keys(&metadata).await;
    assert_eq!(
        left,
        ["n/testing", "q", "v"],
        "what they referred to had no grace left"
    );
}

#[tokio::test]
async fn a_snapshot_that_is_just_being_made_is_left_alone_with_its_parent() {
    let (metadata, fake, snapshots, _dir) = stage().await;
    let who = caller();
    committed(&snapshots, &who, "parent", "", Labels::new()).await;
    fake.stops.store(true, Ordering::SeqCst);
    let making = tokio::spawn({
        let (snapshots, who) = (snapshots.clone(), who.clone());
        async move {
            snapshots
                .prepare(&who, "new", "parent", gc(&[("root", "1")]))
                .await
        }
    });
    fake.until_stopped().await;
    for _ in 0..2 {
        metadata.collect().await.unwrap();
        assert_eq!(
            fake.names(),
            ["new", "parent"],
            "files without a record, and a record that nothing keeps"
        );
    }
    fake.release(1);
    making.await.unwrap().unwrap();
    metadata.collect().await.unwrap();
    assert_eq!(listed(&snapshots, &who, &[]).await, ["new", "parent"]);
}

#[tokio::test]
async fn a_commit_under_way_is_left_alone() {
    let (metadata, fake, snapshots, _dir) = stage().await;
    let who = caller();
    committed(&snapshots, &who, "parent", "", Labels::new()).await;
    snapshots
        .prepare(&who, "active", "", Labels::new())
        .await
        .unwrap();
    fake.stops.store(true, Ordering::SeqCst);
    let committing = tokio::spawn({
        let (snapshots, who) = (snapshots.clone(), who.clone());
        let of = gc(&[("root", "1")]);
        async move { snapshots.commit(&who, "done", "active", "parent", of).await }
    });
    fake.until_stopped().await;
    metadata.collect().await.unwrap();
    assert_eq!(fake.names(), ["done", "parent"]);
    assert_eq!(snapshots.stat(&who, "active").await.unwrap().kind, Kind::Active);
    fake.release(1);
    committing.await.unwrap().unwrap();
    metadata.collect().await.unwrap();
    assert_eq!(listed(&snapshots, &who, &[]).await, ["done", "parent"]);
    assert_eq!(
        snapshots.stat(&who, "done").await.unwrap().labels,
        gc(&[("root", "1")])
    );
}

#[tokio::test]
async fn a_request_whose_client_hangs_up_comes_to_its_end() {
    let (metadata, fake, snapshots, _dir) = stage().await;
    let who = caller();
    fake.stops.store(true, Ordering::SeqCst);
    let making = tokio::spawn({
        let (snapshots, who) = (snapshots.clone(), who.clone());
        async move { snapshots.prepare(&who, "new", "", gc(&[("root", "1")])).await }
    });
    fake.until_stopped().await;
    making.abort();
    making.await.unwrap_err();
    fake.release(1);
    // The same key is claimed until the first one has ended.
    let found = refused(snapshots.prepare(&who, "new", "", Labels::new()).await);
    assert_eq!(found.0, Class::AlreadyExists);
    metadata.collect().await.unwrap();
    assert_eq!(fake.names(), ["new"]);
}

#[tokio::test]
async fn a_snapshotter_that_cannot_remove_is_asked_again() {
    let (metadata, fake, snapshots, _dir) = stage().await;
    let who = caller();
    snapshots.prepare(&who, "a", "", Labels::new()).await.unwrap();
    fake.busy.store(true, Ordering::Relaxed);
    snapshots.remove(&who, "a").await.unwrap();
    metadata.collect().await.unwrap();
    assert_eq!(fake.names(), ["a"]);
    fake.busy.store(false, Ordering::Relaxed);
    metadata.collect().await.unwrap();
    assert_eq!(fake.names(), [""; 0]);
    let cleanups = fake.cleanups.load(Ordering::Relaxed);
    metadata.collect().await.unwrap();
    assert_eq!(
        fake.cleanups.load(Ordering::Relaxed),
        cleanups,
        "there is nothing to do"
    );
}

/// Metadata as it is after a crash: the records and the snapshotter are what they were.
async fn reopened(kv: &Arc<dyn Kv>, fake: &Arc<Fake>) -> (Metadata, Snapshots, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Store::open(dir.path().join("content")).unwrap();
    let metadata = Metadata::open(Arc::clone(kv), blobs, Options::default())
        .await
        .unwrap();
    metadata.add_snapshotter(fake.clone()).await.unwrap();
    let snapshots = metadata.snapshots("fake").unwrap();
    (metadata, snapshots, dir)
}

#[tokio::test]
async fn a_crash_between_files_and_record_loses_and_leaks_nothing() {
    let kv: Arc<dyn Kv> = Arc::new(Memory::new());
    let fake = Arc::new(Fake::new("fake"));
    let who = caller();
    let (metadata, snapshots, _dir) = reopened(&kv, &fake).await;
    metadata
        .create_lease(&who.namespace, "L", Labels::new())
        .await
        .unwrap();
    let leased = who.clone().with_lease("L");
    committed(&snapshots, &leased, "base", "", Labels::new()).await;
    let root = labels([("containerd.io/gc.root", "1"), ("k", "v")]);
    snapshots
        .prepare(&who, "rooted", "base", root.clone())
        .await
        .unwrap();
    snapshots
        .prepare(&leased, "leased", "", Labels::new())
        .await
        .unwrap();
    let key = |name: &str| fake.keys().into_iter().find(|key| key.ends_with(name)).unwrap();
    // As the snapshotter does it before the record is written: of Commit twice, once with a new parent; of Prepare; and what
    // Remove leaves.
    let its = labels([("containerd.io/snapshot/x", "y")]);
    let (rooted, leased_key, base) = (key("/rooted"), key("/leased"), key("/base"));
    fake.commit(&rooted.replace("/rooted", "/done"), &rooted, "", its)
        .await
        .unwrap();
    let late = leased_key.replace("/leased", "/late");
    fake.commit(&late, &leased_key, &base, Labels::new())
        .await
        .unwrap();
    fake.prepare("testing/900/never", &base, Labels::new())
        .await
        .unwrap();
    drop((metadata, snapshots));

    let (metadata, snapshots, _dir) = reopened(&kv, &fake).await;
    let done = snapshots.stat(&who, "done").await.unwrap();
    assert_eq!((done.kind, &*done.parent), (Kind::Committed, "base"));
    assert_eq!(
        (&*done.labels["k"], &*done.labels["containerd.io/snapshot/x"]),
        ("v", "y")
    );
    assert_eq!(snapshots.stat(&who, "late").await.unwrap().parent, "base");
    for gone in ["rooted", "leased"] {
        assert_eq!(refused(snapshots.stat(&who, gone).await).0, Class::NotFound);
    }
    metadata.collect().await.unwrap();
    assert_eq!(fake.names(), ["base", "done", "late"]);
    assert_eq!(
        refused(snapshots.remove(&who, "base").await).0,
        Class::FailedPrecondition
    );
    metadata.delete_lease(&who.namespace, "L").await.unwrap();
    metadata.collect().await.unwrap();
    assert_eq!(fake.names(), ["base", "done"]);
}

/// Prepares, commits and removes at random; every error must be one that another request explains.
async fn stir(snapshots: Snapshots, number: usize) {
    let who = Caller::new(namespace(if number.is_multiple_of(2) { "one" } else { "two" }));
    let explained = |done: Result<(), Error>| {
        if let Err(error) = done {
            let class = error.class();
            let known = [Class::NotFound, Class::AlreadyExists, Class::FailedPrecondition];
            assert!(known.contains(&class), "{error}");
        }
    };
    for round in 0..30 {
        let name = format!("s{}", (number + round) % 4);
        let key = format!("a{}", (number * 7 + round) % 3);
        match (number + round * 5) % 7 {
            0 | 1 => explained(
                snapshots
                    .prepare(&who, &key, "", gc(&[("root", "1")]))
                    .await
                    .map(drop),
            ),
            2 => explained(
                snapshots
                    .prepare(&who, &key, &name, Labels::new())
                    .await
                    .map(drop),
            ),
            3 | 4 => explained(snapshots.commit(&who, &name, &key, "", Labels::new()).await),
            5 => explained(snapshots.remove(&who, &name).await),
            _ => explained(snapshots.remove(&who, &key).await),
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn records_and_files_fit_together_whatever_happens_at_once() {
    for _ in 0..10 {
        let (metadata, fake, snapshots, _dir) = stage().await;
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..16 {
            tasks.spawn(stir(snapshots.clone(), number));
        }
        let collecting = metadata.clone();
        tasks.spawn(async move {
            for _ in 0..10 {
                collecting.collect().await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        tasks.join_all().await;
        snapshots.cleanup().await.unwrap();
        let mut recorded = 0;
        for name in ["one", "two"] {
            let who = Caller::new(namespace(name));
            for key in listed(&snapshots, &who, &[]).await {
                let info = snapshots.stat(&who, &key).await.unwrap();
                snapshots.usage(&who, &key).await.expect("its files are there");
                if !info.parent.is_empty() {
                    snapshots
                        .stat(&who, &info.parent)
                        .await
                        .expect("its parent is there");
                }
                recorded += 1;
            }
        }
        assert_eq!(fake.keys().len(), recorded, "nothing is leaked");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_one_makes_commits_and_removes_it() {
    let (metadata, fake, snapshots, _dir) = stage().await;
    let who = caller();
    let one = |results: Vec<Result<(), Error>>, class: Class| {
        assert_eq!(
            results.iter().filter(|result| result.is_ok()).count(),
            1,
            "{results:?}"
        );
        let mut errors = results.iter().flat_map(|result| result.as_ref().err());
        assert!(errors.all(|error| error.class() == class), "{results:?}");
    };
    for round in 0..10 {
        let (name, mut tasks) = (format!("s{round}"), tokio::task::JoinSet::new());
        for _ in 0..16 {
            let (snapshots, who) = (snapshots.clone(), who.clone());
            tasks.spawn(async move { snapshots.prepare(&who, "a", "", Labels::new()).await.map(drop) });
        }
        one(tasks.join_all().await, Class::AlreadyExists);
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..16 {
            let key = format!("b{number}");
            snapshots.prepare(&who, &key, "", Labels::new()).await.unwrap();
            let (snapshots, who, name) = (snapshots.clone(), who.clone(), name.clone());
            tasks.spawn(async move { snapshots.commit(&who, &name, &key, "", Labels::new()).await });
        }
        one(tasks.join_all().await, Class::AlreadyExists);
        // Those that lost are as they were.
        let mut left = 0;
        for number in 0..16 {
            left += usize::from(snapshots.mounts(&who, &format!("b{number}")).await.is_ok());
        }
        assert_eq!(left, 15);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let (snapshots, who) = (snapshots.clone(), who.clone());
            tasks.spawn(async move { snapshots.remove(&who, "a").await });
        }
        one(tasks.join_all().await, Class::NotFound);
        for key in listed(&snapshots, &who, &[]).await {
            snapshots.remove(&who, &key).await.unwrap();
        }
    }
    metadata.collect().await.unwrap();
    assert_eq!(fake.keys(), [""; 0]);
}
