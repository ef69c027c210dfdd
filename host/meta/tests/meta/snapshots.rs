//! Snapshots: the rules of containerd's metadata, case by case.

use std::sync::Arc;
use std::time::SystemTime;

use tempfile::TempDir;
use transom_meta::events::Event;
use transom_meta::filter::{Filters, Plugins};
use transom_meta::snapshots::{Kind, Snapshots, Usage};
use transom_meta::{Caller, Class, Labels, Metadata};

use crate::records::{caller, keys, labels, metadata, namespace, refused, subscribe, texts, until};
use crate::snapshotter::{Fake, mount};

/// Metadata with a snapshotter, which is called `fake`.
pub(crate) async fn stage() -> (Metadata, Arc<Fake>, Snapshots, TempDir) {
    let (metadata, dir) = metadata().await;
    let fake = Arc::new(Fake::new("fake"));
    metadata.add_snapshotter(fake.clone()).await.unwrap();
    let snapshots = metadata.snapshots("fake").unwrap();
    (metadata, fake, snapshots, dir)
}

pub(crate) async fn committed(snapshots: &Snapshots, caller: &Caller, name: &str, parent: &str, of: Labels) {
    let key = format!("making {name}");
    snapshots
        .prepare(caller, &key, parent, Labels::new())
        .await
        .unwrap();
    snapshots.commit(caller, name, &key, "", of).await.unwrap();
}

pub(crate) async fn listed(snapshots: &Snapshots, caller: &Caller, filters: &[String]) -> Vec<String> {
    let filters = Arc::new(Filters::compile(filters, &Plugins::default()).unwrap());
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = snapshots
            .list_page(caller, &filters, after.as_deref())
            .await
            .unwrap();
        found.extend(page.into_iter().map(|info| info.name));
        if next.is_none() {
            return found;
        }
        after = next;
    }
}

#[tokio::test]
async fn a_snapshot_from_its_first_to_its_last_day() {
    let (_metadata, fake, snapshots, _dir) = stage().await;
    let who = caller();
    let start = SystemTime::now();
    let mounts = snapshots
        .prepare(&who, "a/b", "", labels([("k", "v"), ("empty", "")]))
        .await
        .unwrap();
    let [backend] = &fake.keys()[..] else {
        panic!("{:?}", fake.keys())
    };
    assert!(
        backend.starts_with("testing/") && backend.ends_with("/a/b"),
        "{backend}"
    );
    assert_eq!(mounts, [mount(backend)]);
    assert_eq!(snapshots.mounts(&who, "a/b").await.unwrap(), mounts);
    let info = snapshots.stat(&who, "a/b").await.unwrap();
    assert_eq!((info.kind, &*info.name, &*info.parent), (Kind::Active, "a/b", ""));
    assert_eq!(info.labels, labels([("k", "v")]));
    assert!(info.created >= start && info.created == info.updated);
    let usage = snapshots.usage(&who, "a/b").await.unwrap();
    assert_eq!(
        usage,
        Usage {
            size: 4096,
            inodes: 1
        }
    );

    snapshots
        .commit(&who, "base", "a/b", "", labels([("new", "label")]))
        .await
        .unwrap();
    let base = snapshots.stat(&who, "base").await.unwrap();
    assert_eq!(
        (base.kind, &base.labels),
        (Kind::Committed, &labels([("new", "label")]))
    );
    assert!(base.created >= info.created && base.created == base.updated);
    assert_eq!(
        fake.keys(),
        [backend.replace("a/b", "base")],
        "it keeps its number"
    );

    snapshots
        .prepare(&who, "active", "base", Labels::new())
        .await
        .unwrap();
    snapshots.view(&who, "view", "base", Labels::new()).await.unwrap();
    let view = snapshots.stat(&who, "view").await.unwrap();
    assert_eq!((view.kind, &*view.parent), (Kind::View, "base"));
    assert_eq!(snapshots.mounts(&who, "view").await.unwrap().len(), 1);
    assert_eq!(listed(&snapshots, &who, &[]).await, ["active", "base", "view"]);
    for key in ["view", "active", "base"] {
        snapshots.remove(&who, key).await.unwrap();
    }
    assert_eq!(listed(&snapshots, &who, &[]).await, [""; 0]);
    // A key may be used again before its files have gone.
    snapshots
        .prepare(&who, "active", "", Labels::new())
        .await
        .unwrap();
    assert_eq!(fake.names(), ["active", "active", "base", "view"]);
}

#[tokio::test]
async fn the_snapshotter_is_told_of_its_labels_only() {
    let (_metadata, fake, snapshots, _dir) = stage().await;
    let who = caller();
    let its = [
        ("containerd.io/snapshot.ref", "chain"),
        ("containerd.io/snapshot/cri.x", "y"),
    ];
    let mut all = labels(its);
    all.append(&mut labels([
        ("k", "v"),
        ("containerd.io/snapshots", "no"),
        ("containerd.io/gc.root", "1"),
    ]));
    snapshots.prepare(&who, "a", "", all.clone()).await.unwrap();
    let backend = fake.keys().remove(0);
    assert_eq!(fake.get(&backend).labels, labels(its));
    assert_eq!(snapshots.stat(&who, "a").await.unwrap().labels, all);

    let one = texts(["labels.k", "labels.gone"]);
    snapshots
        .update(&who, "a", labels([("k", "w"), ("other", "x")]), &one)
        .await
        .unwrap();
    assert_eq!(
        fake.updates.load(std::sync::atomic::Ordering::Relaxed),
        0,
        "nothing of its own changed"
    );
    all.insert("k".to_owned(), "w".to_owned());
    let info = snapshots.stat(&who, "a").await.unwrap();
    assert_eq!(info.labels, all);
    assert!(info.updated > info.created);
    let one = texts(["labels.containerd.io/snapshot/cri.x"]);
    snapshots.update(&who, "a", Labels::new(), &one).await.unwrap();
    assert_eq!(fake.get(&backend).labels, labels([its[0]]));
    let whole = labels([("containerd.io/snapshot/new", "1"), ("l", "m")]);
    for paths in [texts([]), texts(["labels"])] {
        let info = snapshots.update(&who, "a", whole.clone(), &paths).await.unwrap();
        assert_eq!(info.labels, whole);
        assert_eq!(
            fake.get(&backend).labels,
            labels([("containerd.io/snapshot/new", "1")])
        );
    }
    snapshots
        .commit(&who, "b", "a", "", labels([its[0], ("c", "d")]))
        .await
        .unwrap();
    assert_eq!(fake.get(&fake.keys()[0]).labels, labels([its[0]]));
    assert_eq!(
        snapshots.stat(&who, "b").await.unwrap().labels,
        labels([its[0], ("c", "d")])
    );
}

#[tokio::test]
async fn leases_keep_what_is_made_committed_and_found() {
    let (metadata, _fake, snapshots, _dir) = stage().await;
    let ns = namespace("testing");
    metadata.create_lease(&ns, "L", Labels::new()).await.unwrap();
    let who = caller().with_lease("L");
    let kept = || async {
        let found = metadata.resources(&ns, "L").await.unwrap();
        assert!(found.iter().all(|resource| resource.kind == "snapshots/fake"));
        found.into_iter().map(|resource| resource.id).collect::<Vec<_>>()
    };
    snapshots.prepare(&who, "a", "", Labels::new()).await.unwrap();
    assert_eq!(kept().await, ["a"]);
    snapshots
        .commit(&who, "base", "a", "", Labels::new())
        .await
        .unwrap();
    assert_eq!(kept().await, ["base"]);
    snapshots.view(&who, "v", "base", Labels::new()).await.unwrap();
    assert_eq!(kept().await, ["base", "v"]);
    snapshots.remove(&who, "v").await.unwrap();
    assert_eq!(kept().await, ["base"]);
    committed(&snapshots, &caller(), "chain", "", Labels::new()).await;
    let target = labels([("containerd.io/snapshot.ref", "chain")]);
    let found = refused(snapshots.prepare(&who, "x", "", target).await);
    assert_eq!(
        found,
        (Class::AlreadyExists, "target snapshot \"chain\"".to_owned())
    );
    assert_eq!(kept().await, ["base", "chain"]);
    committed(&snapshots, &caller(), "twin", "", Labels::new()).await;
    snapshots.prepare(&who, "late", "", Labels::new()).await.unwrap();
    let found = refused(snapshots.commit(&who, "twin", "late", "", Labels::new()).await);
    assert_eq!(found.0, Class::AlreadyExists);
    assert_eq!(kept().await, ["base", "chain", "late", "twin"]);
    snapshots.mounts(&who, "late").await.unwrap();
}

#[tokio::test]
async fn what_a_snapshotter_has_by_itself_is_adopted() {
    let (metadata, fake, snapshots, _dir) = stage().await;
    let ns = namespace("testing");
    metadata.create_lease(&ns, "L", Labels::new()).await.unwrap();
    let who = caller().with_lease("L");
    fake.remote
        .lock()
        .unwrap()
        .extend(["one".to_owned(), "two".to_owned()]);
    let target = |name| labels([("containerd.io/snapshot.ref", name), ("mine", "1")]);
    let found = refused(snapshots.prepare(&who, "x", "", target("one")).await);
    assert_eq!(
        found,
        (
            Class::AlreadyExists,
            "target snapshot \"one\" from snapshotter".to_owned()
        )
    );
    let one = snapshots.stat(&who, "one").await.unwrap();
    assert_eq!((one.kind, &*one.parent), (Kind::Committed, ""));
    assert_eq!(one.labels["containerd.io/snapshot/remote"], "yes");
    assert_eq!(one.labels["mine"], "1");
    let found = refused(snapshots.prepare(&who, "x", "one", target("two")).await);
    assert_eq!(found.0, Class::AlreadyExists);
    assert_eq!(snapshots.stat(&who, "two").await.unwrap().parent, "one");
    assert_eq!(listed(&snapshots, &who, &[]).await, ["one", "two"]);
    assert_eq!(metadata.resources(&ns, "L").await.unwrap().len(), 2);
    // Another namespace is given the same one, and neither loses it with the other.
    let other = Caller::new(namespace("other"));
    refused(snapshots.prepare(&other, "x", "", target("one")).await);
    snapshots.remove(&other, "one").await.unwrap();
    metadata.collect().await.unwrap();
    assert_eq!(fake.keys(), ["remote/0/one", "remote/0/two"]);
    snapshots.usage(&who, "one").await.unwrap();
    // It says so, but has it on another parent.
    committed(&snapshots, &caller(), "base", "", Labels::new()).await;
    let found = refused(snapshots.prepare(&other, "y", "", target("two")).await);
    assert_eq!(
        found,
        (Class::NotFound, "target snapshot \"two\" in backend".to_owned())
    );
    assert_eq!(listed(&snapshots, &other, &[]).await, [""; 0]);
}

#[tokio::test]
async fn a_snapshot_without_a_parent_is_put_onto_one() {
    let (_metadata, fake, snapshots, _dir) = stage().await;
    let who = caller();
    committed(&snapshots, &who, "base", "", Labels::new()).await;
    snapshots.prepare(&who, "a", "", Labels::new()).await.unwrap();
    snapshots.prepare(&who, "b", "base", Labels::new()).await.unwrap();
    let found = refused(snapshots.commit(&who, "x", "a", "none", Labels::new()).await);
    assert_eq!(
        found,
        (Class::NotFound, "parent snapshot none does not exist".to_owned())
    );
    let found = refused(snapshots.commit(&who, "x", "a", "b", Labels::new()).await);
    assert_eq!(found.0, Class::InvalidArgument);
    snapshots
        .commit(&who, "on a", "a", "base", Labels::new())
        .await
        .unwrap();
    snapshots
        .commit(&who, "on b", "b", "base", Labels::new())
        .await
        .unwrap();
    for name in ["on a", "on b"] {
        assert_eq!(snapshots.stat(&who, name).await.unwrap().parent, "base");
        let keys = fake.keys();
        let backend = keys.iter().find(|key| key.ends_with(name)).unwrap();
        assert!(fake.get(backend).parent.ends_with("/base"));
    }
    assert_eq!(
        refused(snapshots.remove(&who, "base").await).0,
        Class::FailedPrecondition
    );
    for name in ["on a", "on b", "base"] {
        snapshots.remove(&who, name).await.unwrap();
    }
}

#[tokio::test]
async fn events_say_what_happened_but_not_of_views() {
    let (metadata, _fake, snapshots, _dir) = stage().await;
    let mut events = subscribe(&metadata, []);
    let who = caller();
    committed(&snapshots, &who, "base", "", Labels::new()).await;
    snapshots.view(&who, "v", "base", Labels::new()).await.unwrap();
    snapshots.prepare(&who, "a", "base", Labels::new()).await.unwrap();
    snapshots
        .update(&who, "a", labels([("k", "v")]), &[])
        .await
        .unwrap();
    snapshots.remove(&who, "a").await.unwrap();
    refused(snapshots.remove(&who, "base").await);
    metadata
        .create_namespace(&namespace("end"), Labels::new())
        .await
        .unwrap();
    let found = until(&mut events, "/namespaces/create").await;
    let fake = || "fake".to_owned();
    let prepare = |key: &str, parent: &str| Event::SnapshotPrepare {
        key: key.to_owned(),
        parent: parent.to_owned(),
        snapshotter: fake(),
    };
    let wanted = [
        prepare("making base", ""),
        Event::SnapshotCommit {
            key: "making base".to_owned(),
            name: "base".to_owned(),
            snapshotter: fake(),
        },
        prepare("a", "base"),
        Event::SnapshotRemove {
            key: "a".to_owned(),
            snapshotter: fake(),
        },
    ];
    let found: Vec<Event> = found.iter().map(|envelope| envelope.event.clone()).collect();
    assert_eq!(found, wanted);
}

#[tokio::test]
async fn lists_are_filtered_and_come_in_pages() {
    let (_metadata, _fake, snapshots, _dir) = stage().await;
    let who = caller();
    committed(&snapshots, &who, "base", "", labels([("tier", "gold")])).await;
    snapshots
        .prepare(&who, "active", "base", labels([("tier", "iron")]))
        .await
        .unwrap();
    snapshots.view(&who, "view", "base", Labels::new()).await.unwrap();
    for (filters, wanted) in [
        (texts(["kind==committed"]), &["base"][..]),
        (texts(["kind==active"]), &["active"]),
        (texts(["kind==view", "name==base"]), &["base", "view"]),
        (texts(["parent==base"]), &["active", "view"]),
        (texts(["parent==\"\""]), &["base"]),
        (texts(["labels.tier"]), &["active", "base"]),
        (texts(["labels.tier==gold,kind!=view"]), &["base"]),
        (texts(["name~=^.i"]), &["view"]),
        (texts(["other"]), &[]),
    ] {
        assert_eq!(listed(&snapshots, &who, &filters).await, wanted, "{filters:?}");
    }
    for number in 0..1200 {
        snapshots
            .prepare(&who, &format!("n{number:04}"), "", Labels::new())
            .await
            .unwrap();
    }
    let all = listed(&snapshots, &who, &[]).await;
    assert_eq!(all.len(), 1203);
    assert!(all.is_sorted());
    assert_eq!(listed(&snapshots, &who, &texts(["name==n1199"])).await, ["n1199"]);
}

#[tokio::test]
async fn namespaces_are_apart_and_go_only_when_they_are_empty() {
    let (metadata, fake, snapshots, _dir) = stage().await;
    let (one, two) = (caller(), Caller::new(namespace("two")));
    for who in [&one, &two] {
        committed(&snapshots, who, "base", "", Labels::new()).await;
        snapshots.prepare(who, "a", "base", Labels::new()).await.unwrap();
    }
    assert_eq!(fake.keys().len(), 4);
    let found = refused(metadata.delete_namespace(&two.namespace).await);
    let text = "namespace \"two\" must be empty, but it still has snapshots on \"fake\" snapshotter";
    assert_eq!(found, (Class::FailedPrecondition, text.to_owned()));
    for key in ["a", "base"] {
        snapshots.remove(&two, key).await.unwrap();
    }
    metadata.delete_namespace(&two.namespace).await.unwrap();
    assert_eq!(listed(&snapshots, &one, &[]).await, ["a", "base"]);
    let left = keys(&metadata).await;
    assert!(left.iter().all(|key| !key.contains("/two")), "{left:?}");
    for key in ["a", "base"] {
        snapshots.remove(&one, key).await.unwrap();
    }
    let left = keys(&metadata).await;
    assert_eq!(left, ["n/testing", "q", "v"]);
}
