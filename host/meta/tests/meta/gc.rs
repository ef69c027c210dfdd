//! Garbage collection: containerd's cases of its graph, then runs that are shared, events and the content store.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tempfile::TempDir;
use transom_content::{Store, timestamp};
use transom_meta::events::Event;
use transom_meta::images::{NewImage, Target};
use transom_meta::kv::memory::Memory;
use transom_meta::leases::{CONTENT, IMAGES, INGESTS};
use transom_meta::{Labels, Metadata, Node, Options};
use transom_oci::Digest;

use crate::content::put;
use crate::gc_part::Fake;
use crate::records::{caller, digest, keys, namespace, refused, subscribe, until};

/// Metadata whose content has this grace, with a part that has snapshots.
pub(crate) async fn stage(grace: Duration) -> (Metadata, Arc<Fake>, TempDir) {
    let (metadata, dir) = graced(grace).await;
    let fake = Arc::new(Fake::default());
    metadata.register(fake.clone());
    (metadata, fake, dir)
}

pub(crate) async fn graced(grace: Duration) -> (Metadata, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Store::open(dir.path().join("content")).unwrap();
    let options = Options {
        grace,
        ..Options::default()
    };
    let metadata = Metadata::open(Arc::new(Memory::new()), blobs, options)
        .await
        .unwrap();
    (metadata, dir)
}

/// A time so many hours from now, as labels have it.
pub(crate) fn hours(hours: i64) -> String {
    let by = Duration::from_secs(3600 * hours.unsigned_abs());
    let now = SystemTime::now();
    timestamp::format(if hours < 0 { now - by } else { now + by })
}

pub(crate) fn gc(pairs: &[(&str, &str)]) -> Labels {
    let owned = |(key, value): &(&str, &str)| (format!("containerd.io/gc.{key}"), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

async fn content(metadata: &Metadata, text: &str, labels: Labels) -> String {
    let made = put(metadata, &caller(), text, labels).await.unwrap();
    made.digest.to_string()
}

pub(crate) async fn image(metadata: &Metadata, name: &str, target: &Digest, labels: Labels) {
    let new = NewImage {
        name: name.to_owned(),
        labels,
        target: Some(Target {
            media_type: "t/y".to_owned(),
            digest: target.to_string(),
            size: 1,
            annotations: Labels::new(),
        }),
    };
    metadata.create_image(&caller(), new, None).await.unwrap();
}

/// The texts of the content that is there, by record; holders and blobs must say the same.
async fn left(metadata: &Metadata, texts: &[&str]) -> BTreeSet<String> {
    let keys = keys(metadata).await;
    let mut blobs: BTreeSet<Digest> = metadata
        .blobs()
        .walk()
        .unwrap()
        .map(|info| info.unwrap().digest)
        .collect();
    let mut left = BTreeSet::new();
    for text in texts {
        let digest = digest(text);
        let there = keys.contains(&format!("c/testing/{digest}"));
        assert_eq!(keys.contains(&format!("b/{digest}/testing")), there, "{text}");
        assert_eq!(blobs.remove(&digest), there, "{text}");
        if there {
            left.insert((*text).to_owned());
        }
    }
    assert_eq!(blobs, BTreeSet::new(), "blobs without a record");
    left
}

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test]
async fn roots_are_images_leases_ingests_and_labels() {
    let (metadata, fake, _dir) = stage(Duration::ZERO).await;
    let ns = namespace("testing");
    let texts = [
        "rooted",
        "target",
        "leased",
        "flat",
        "expired",
        "late",
        "kept by image",
        "nothing",
        "empty root",
    ];
    let (past, future) = (hours(-1), hours(1));
    for text in [
        "target",
        "leased",
        "flat",
        "expired",
        "late",
        "kept by image",
        "nothing",
    ] {
        content(&metadata, text, Labels::new()).await;
    }
    content(&metadata, "rooted", gc(&[("root", "x")])).await;
    content(&metadata, "empty root", gc(&[("root", "")])).await;
    image(&metadata, "plain", &digest("target"), Labels::new()).await;
    image(&metadata, "expired", &digest("expired"), gc(&[("expire", &past)])).await;
    image(&metadata, "late", &digest("late"), gc(&[("expire", &future)])).await;
    image(
        &metadata,
        "leased",
        &digest("kept by image"),
        gc(&[("expire", &past)]),
    )
    .await;
    for (id, of) in [
        ("plain", gc(&[])),
        ("flat", gc(&[("flat", "")])),
        ("gone", gc(&[("expire", &past)])),
        ("unreadable", gc(&[("expire", "tomorrow")])),
    ] {
        metadata.create_lease(&ns, id, of).await.unwrap();
    }
    for (lease, kind, id) in [
        ("plain", CONTENT, digest("leased").to_string()),
        ("flat", CONTENT, digest("flat").to_string()),
        ("gone", CONTENT, digest("nothing").to_string()),
        ("unreadable", IMAGES, "leased".to_owned()),
        ("plain", "snapshots/fake", "leased".to_owned()),
    ] {
        metadata.add_resource(&ns, lease, kind, &id).await.unwrap();
    }
    for (name, of) in [
        ("leased", gc(&[])),
        ("rooted", gc(&[("root", "1")])),
        ("not", gc(&[])),
    ] {
        fake.add(name, None, of);
    }
    let stats = metadata.collect().await.unwrap();
    let wanted = ["rooted", "target", "leased", "flat", "late", "kept by image"];
    assert_eq!(left(&metadata, &texts).await, set(&wanted));
    assert_eq!(fake.names(), ["leased", "rooted"]);
    let mut found = keys(&metadata).await;
    found.retain(|key| {
        key.starts_with("i/") || key.starts_with("l/") || key.starts_with("r/testing/0004gone")
    });
    let wanted = [
        "i/testing/late",
        "i/testing/leased",
        "i/testing/plain",
        "l/testing/flat",
        "l/testing/plain",
        "l/testing/unreadable",
    ];
    assert_eq!(found, wanted);
    let removed = stats.removed;
    assert_eq!((removed.images, removed.content, removed.leases), (1, 3, 1));
    assert_eq!((removed.snapshots, removed.blobs, removed.ingests), (1, 3, 0));
    assert_eq!(stats.bytes, "expirednothingempty root".len() as u64);
    assert_eq!(metadata.last_collection(), Some(stats));
    let again = metadata.collect().await.unwrap();
    assert_eq!(again.removed, transom_meta::gc::Removed::default());
}

#[tokio::test]
async fn labels_refer_forwards_and_backwards_and_on_conditions() {
    let (metadata, fake, _dir) = stage(Duration::ZERO).await;
    let (recent, old) = (hours(-1), hours(-48));
    let layer = content(&metadata, "layer", gc(&[])).await;
    let config = content(&metadata, "config", gc(&[("ref.snapshot.fake", "top")])).await;
    content(&metadata, "ignored", gc(&[])).await;
    let of = gc(&[
        ("ref.content.l.0", &layer),
        ("ref.content/config", &config),
        ("ref.contentx", digest("ignored").as_str()),
        ("ref.image/other", "named"),
        ("cond.snapshot.fake/a", "usedat<24h|used"),
        ("cond.snapshot.fake/b", "usedat<24h|unused"),
        ("cond.snapshot.fake/c", "usedat<24h|unknown"),
        ("cond.snapshot.fake/d", "usedat<1m,usedat>24h|second"),
    ]);
    content(&metadata, "manifest", of).await;
    content(&metadata, "named target", gc(&[])).await;
    content(&metadata, "of layer", gc(&[("bref.content", &layer)])).await;
    content(&metadata, "of image", gc(&[("bref.image.x", "root")])).await;
    content(&metadata, "of snapshot", gc(&[("bref.snapshot.fake/x", "base")])).await;
    content(&metadata, "of nothing", gc(&[("bref.image", "missing")])).await;
    content(&metadata, "of container", gc(&[("bref.container", "c")])).await;
    image(&metadata, "root", &digest("manifest"), gc(&[])).await;
    image(
        &metadata,
        "named",
        &digest("named target"),
        gc(&[("expire", &old)]),
    )
    .await;
    image(
        &metadata,
        "backed",
        &digest("ignored"),
        gc(&[("expire", &old), ("bref.image", "missing")]),
    )
    .await;
    fake.add("base", None, gc(&[]));
    fake.add("top", Some("base"), gc(&[]));
    for (name, time) in [("used", &recent), ("unused", &old), ("second", &old)] {
        fake.add(name, None, gc(&[("cond.value-usedat", time)]));
    }
    fake.add("unknown", None, gc(&[]));
    metadata.collect().await.unwrap();
    let texts = [
        "layer",
        "config",
        "ignored",
        "manifest",
        "named target",
        "of layer",
        "of image",
        "of snapshot",
        "of nothing",
        "of container",
    ];
    let wanted = [
        "layer",
        "config",
        "manifest",
        "named target",
        "of layer",
        "of image",
        "of snapshot",
    ];
    assert_eq!(left(&metadata, &texts).await, set(&wanted));
    assert_eq!(fake.names(), ["base", "second", "top", "used"]);
    metadata.delete_image(&caller(), "root", None).await.unwrap();
    metadata.collect().await.unwrap();
    assert_eq!(left(&metadata, &texts).await, set(&[]));
    assert_eq!(fake.names(), [""; 0]);
}

#[tokio::test]
async fn a_flat_lease_keeps_no_more_than_parts() {
    let (metadata, fake, _dir) = stage(Duration::ZERO).await;
    let ns = namespace("testing");
    let layer = content(&metadata, "layer", gc(&[])).await;
    content(&metadata, "manifest", gc(&[("ref.content.l.0", &layer)])).await;
    content(&metadata, "target", gc(&[("ref.content.l.0", &layer)])).await;
    image(
        &metadata,
        "i",
        &digest("target"),
        gc(&[("expire", &hours(-1)), ("ref.content", &layer)]),
    )
    .await;
    fake.add("base", None, gc(&[("ref.content", &layer)]));
    fake.add("top", Some("base"), gc(&[("ref.content", &layer)]));
    metadata
        .create_lease(&ns, "flat", gc(&[("flat", "x")]))
        .await
        .unwrap();
    for (kind, id) in [
        (CONTENT, digest("manifest").to_string()),
        (IMAGES, "i".to_owned()),
        ("snapshots/fake", "top".to_owned()),
    ] {
        metadata.add_resource(&ns, "flat", kind, &id).await.unwrap();
    }
    metadata.collect().await.unwrap();
    assert_eq!(
        left(&metadata, &["layer", "manifest", "target"]).await,
        set(&["manifest", "target"])
    );
    assert_eq!(fake.names(), ["base", "top"]);
    metadata.image(&caller(), "i").await.unwrap();
}

#[tokio::test]
async fn what_was_never_referenced_waits_and_what_was_goes_at_once() {
    let (metadata, _fake, _dir) = stage(Duration::from_secs(3600)).await;
    let ns = namespace("testing");
    let texts = ["new", "layer", "manifest", "leased"];
    content(&metadata, "new", gc(&[])).await;
    let layer = content(&metadata, "layer", gc(&[])).await;
    content(&metadata, "manifest", gc(&[("ref.content", &layer)])).await;
    let leased = content(&metadata, "leased", gc(&[])).await;
    metadata
        .create_lease(&ns, "l", gc(&[("expire", &hours(-1))]))
        .await
        .unwrap();
    metadata.add_resource(&ns, "l", CONTENT, &leased).await.unwrap();
    image(&metadata, "i", &digest("manifest"), gc(&[])).await;
    metadata.collect().await.unwrap();
    assert_eq!(left(&metadata, &texts).await, set(&["new", "layer", "manifest"]));
    metadata.delete_image(&caller(), "i", None).await.unwrap();
    metadata.collect().await.unwrap();
    assert_eq!(left(&metadata, &texts).await, set(&["new"]));
}

#[tokio::test]
async fn a_grace_that_is_over_keeps_nothing() {
    let (metadata, _fake, _dir) = stage(Duration::from_nanos(1)).await;
    content(&metadata, "kept", gc(&[("ref.content", digest("x").as_str())])).await;
    content(&metadata, "not", gc(&[])).await;
    image(&metadata, "i", &digest("kept"), gc(&[])).await;
    metadata.collect().await.unwrap();
    assert_eq!(left(&metadata, &["kept", "not"]).await, set(&["kept"]));
    let graces = keys(&metadata)
        .await
        .into_iter()
        .filter(|key| key.starts_with("y/"));
    assert_eq!(graces.count(), 0);
}

#[tokio::test]
async fn ingests_go_with_their_lease_and_leave_nothing() {
    let (metadata, _fake, _dir) = stage(Duration::ZERO).await;
    let ns = namespace("testing");
    metadata.create_lease(&ns, "l", gc(&[])).await.unwrap();
    let leased = caller().with_lease("l");
    let mut kept = Vec::new();
    for (who, reference) in [(&leased, "leased"), (&caller(), "free"), (&leased, "open")] {
        let mut writer = metadata.ingest(who, reference, None, None).await.unwrap();
        writer.write(Bytes::from_static(b"some bytes")).await.unwrap();
        if reference == "open" {
            kept.push(writer);
        } else {
            writer.close().await.unwrap();
        }
    }
    metadata.collect().await.unwrap();
    assert_eq!(metadata.ingest_statuses(&caller(), &[]).await.unwrap().len(), 3);
    metadata.delete_lease(&ns, "l").await.unwrap();
    let stats = metadata.collect().await.unwrap();
    assert_eq!(
        (stats.removed.ingests, stats.removed.uploads, stats.bytes),
        (2, 1, 10)
    );
    let listed = metadata.ingest_statuses(&caller(), &[]).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].reference, "free");
    // The writer that has it open has its bytes until it ends; then they go, too.
    assert_eq!(metadata.blobs().statuses(|_| true).unwrap().count(), 2);
    for writer in kept {
        writer.close().await.unwrap();
    }
    let stats = metadata.collect().await.unwrap();
    assert_eq!(stats.removed.uploads, 1);
    assert_eq!(metadata.blobs().statuses(|_| true).unwrap().count(), 1);
    metadata.create_lease(&ns, "m", gc(&[])).await.unwrap();
    metadata.add_resource(&ns, "m", INGESTS, "free").await.unwrap();
}

#[tokio::test]
async fn a_blob_stays_as_long_as_one_namespace_has_it() {
    let (metadata, _fake, _dir) = stage(Duration::ZERO).await;
    let other = transom_meta::Caller::new(namespace("other"));
    put(&metadata, &other, "shared", gc(&[("root", "1")]))
        .await
        .unwrap();
    content(&metadata, "shared", gc(&[])).await;
    let stats = metadata.collect().await.unwrap();
    assert_eq!((stats.removed.content, stats.removed.blobs), (1, 0));
    metadata.content_reader(&other, &digest("shared")).await.unwrap();
    metadata.content_delete(&other, &digest("shared")).await.unwrap();
    let stats = metadata.collect().await.unwrap();
    assert_eq!((stats.removed.content, stats.removed.blobs), (0, 1));
    assert_eq!(left(&metadata, &[]).await, set(&[]));
}

#[tokio::test]
async fn a_shared_ingest_keeps_the_blob_it_waits_for() {
    let (metadata, _fake, _dir) = stage(Duration::ZERO).await;
    let other = transom_meta::Caller::new(namespace("other"));
    content(&metadata, "shared", gc(&[])).await;
    let expected = digest("shared");
    let mut writer = metadata
        .ingest(&other, "r", Some(6), Some(&expected))
        .await
        .unwrap();
    let stats = metadata.collect().await.unwrap();
    assert_eq!((stats.removed.content, stats.removed.blobs), (1, 0));
    writer
        .commit(None, Some(&expected), gc(&[("root", "1")]))
        .await
        .unwrap();
    metadata.collect().await.unwrap();
    let blob = metadata.content_reader(&other, &expected).await.unwrap();
    assert_eq!(blob.size(), 6);
}

#[tokio::test]
async fn images_that_expire_are_told_and_content_is_not() {
    let (metadata, _fake, _dir) = stage(Duration::ZERO).await;
    content(&metadata, "x", gc(&[])).await;
    image(&metadata, "i", &digest("x"), gc(&[("expire", &hours(-1))])).await;
    let mut events = subscribe(&metadata, []);
    metadata.collect().await.unwrap();
    metadata
        .create_namespace(&namespace("end"), Labels::new())
        .await
        .unwrap();
    let events = until(&mut events, "/namespaces/create").await;
    let told: Vec<_> = events
        .iter()
        .map(|event| (event.topic.as_str(), &event.event))
        .collect();
    let deleted = Event::ImageDelete { name: "i".to_owned() };
    assert_eq!(told, [("/images/delete", &deleted)]);
}

#[tokio::test]
async fn a_lease_with_more_resources_than_a_step_goes_as_a_whole() {
    let (metadata, _fake, _dir) = stage(Duration::ZERO).await;
    let ns = namespace("testing");
    metadata
        .create_lease(&ns, "l", gc(&[("expire", &hours(-1))]))
        .await
        .unwrap();
    for count in 0..1000 {
        metadata
            .add_resource(&ns, "l", IMAGES, &format!("i{count}"))
            .await
            .unwrap();
    }
    let stats = metadata.collect().await.unwrap();
    assert_eq!(stats.removed.leases, 1);
    assert!(stats.pauses > 2, "in one step");
    assert_eq!(keys(&metadata).await, ["n/testing", "v"]);
}

#[tokio::test]
async fn those_who_wait_share_a_run_that_begins_after_they_asked() {
    let (metadata, _fake, _dir) = stage(Duration::ZERO).await;
    let mut asked = Vec::new();
    for _ in 0..10 {
        let metadata = metadata.clone();
        asked.push(tokio::spawn(async move { metadata.collect().await.unwrap() }));
    }
    let mut began = BTreeSet::new();
    for asked in asked {
        began.insert(asked.await.unwrap().started);
    }
    assert!(began.len() <= 2, "{} runs", began.len());
    let last = metadata.collections().runs;
    metadata.collect().await.unwrap();
    assert_eq!(metadata.collections().runs, last + 1);
}

#[tokio::test]
async fn a_run_that_fails_removes_nothing_more_and_the_next_one_does() {
    let (metadata, fake, _dir) = stage(Duration::ZERO).await;
    content(&metadata, "x", gc(&[])).await;
    fake.fail(true);
    let (class, text) = refused(metadata.collect().await);
    assert_eq!(class, transom_meta::Class::Unknown);
    assert_eq!(text, "gc failed: the fake part is broken");
    assert_eq!(left(&metadata, &["x"]).await, set(&["x"]));
    assert_eq!(metadata.last_collection(), None);
    fake.fail(false);
    metadata.collect().await.unwrap();
    assert_eq!(left(&metadata, &["x"]).await, set(&[]));
}

#[tokio::test]
async fn parts_may_have_objects_that_live_with_a_lease() {
    let (metadata, fake, _dir) = stage(Duration::ZERO).await;
    let ns = namespace("testing");
    metadata.create_lease(&ns, "l", gc(&[])).await.unwrap();
    fake.lease("with", "l");
    fake.lease("without", "missing");
    let stream = Node::Other(ns.clone(), "stream", "s".to_owned());
    fake.insert(transom_meta::gc::Object::new(stream));
    metadata.collect().await.unwrap();
    assert_eq!(fake.names(), ["with"]);
    assert_eq!(metadata.last_collection().unwrap().removed.others, 1);
    metadata.delete_lease(&ns, "l").await.unwrap();
    metadata.collect().await.unwrap();
    assert_eq!(fake.names(), [""; 0]);
    assert_eq!(fake.cleanups(), 2);
}
