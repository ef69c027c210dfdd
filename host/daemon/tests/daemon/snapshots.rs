//! The snapshots service: on behalf of namespaces, and straight for a containerd.

use tonic::Code;
use tonic::transport::Channel;
use transom_api::introspection::PluginsRequest;
use transom_api::introspection::introspection_client::IntrospectionClient;
use transom_api::snapshots as api;
use transom_api::snapshots::snapshots_client::SnapshotsClient;
use transom_meta::Labels;
use transomd::config::Snapshotter;

use crate::rig::{Rig, here, of, refused};

/// The one that works for everybody.
const NATIVE: &str = "native";

fn client(rig: &Rig) -> SnapshotsClient<Channel> {
    SnapshotsClient::new(rig.channel.clone())
}

/// The collector begins with the daemon.
fn kept() -> Labels {
    [("containerd.io/gc.root".to_owned(), "1".to_owned())].into()
}

fn prepare(snapshotter: &str, key: &str, parent: &str) -> api::PrepareSnapshotRequest {
    api::PrepareSnapshotRequest {
        snapshotter: snapshotter.to_owned(),
        key: key.to_owned(),
        parent: parent.to_owned(),
        labels: kept(),
    }
}

fn commit(snapshotter: &str, name: &str, key: &str) -> api::CommitSnapshotRequest {
    api::CommitSnapshotRequest {
        snapshotter: snapshotter.to_owned(),
        name: name.to_owned(),
        key: key.to_owned(),
        labels: kept(),
        ..api::CommitSnapshotRequest::default()
    }
}

fn stat(snapshotter: &str, key: &str) -> api::StatSnapshotRequest {
    api::StatSnapshotRequest {
        snapshotter: snapshotter.to_owned(),
        key: key.to_owned(),
    }
}

fn list(snapshotter: &str, filters: &[&str]) -> api::ListSnapshotsRequest {
    api::ListSnapshotsRequest {
        snapshotter: snapshotter.to_owned(),
        filters: filters.iter().map(|filter| (*filter).to_owned()).collect(),
    }
}

#[tokio::test]
async fn a_snapshot_and_its_messages() {
    let rig = Rig::start().await;
    let mut client = client(&rig);
    let mounts = client
        .prepare(here(prepare(NATIVE, "a", "")))
        .await
        .expect("made")
        .into_inner()
        .mounts;
    let folder = rig
        .folder
        .path()
        .join("root/io.containerd.snapshotter.v1.native/snapshots/");
    assert_eq!((mounts.len(), &*mounts[0].r#type), (1, "bind"));
    assert!(
        mounts[0].source.starts_with(&*folder.to_string_lossy()),
        "{mounts:?}"
    );
    assert_eq!(mounts[0].options, ["rw", "rbind"]);
    let asked = api::MountsRequest {
        snapshotter: NATIVE.to_owned(),
        key: "a".to_owned(),
    };
    assert_eq!(
        client
            .mounts(here(asked))
            .await
            .expect("active")
            .into_inner()
            .mounts,
        mounts
    );
    client
        .commit(here(commit(NATIVE, "base", "a")))
        .await
        .expect("committed");
    let info = client
        .stat(here(stat(NATIVE, "base")))
        .await
        .expect("it is there")
        .into_inner()
        .info;
    let info = info.expect("an answer has one");
    assert_eq!(
        (info.kind(), &*info.name, &*info.parent),
        (api::Kind::Committed, "base", "")
    );
    assert!(info.created_at.is_some() && info.updated_at == info.created_at);
    let usage = api::UsageRequest {
        snapshotter: NATIVE.to_owned(),
        key: "base".to_owned(),
    };
    assert_eq!(
        client
            .usage(here(usage))
            .await
            .expect("it is there")
            .into_inner()
            .inodes,
        1
    );
    let cleanup = api::CleanupRequest {
        snapshotter: NATIVE.to_owned(),
    };
    client.cleanup(here(cleanup)).await.expect("cleaned up");
    let elsewhere = client.stat(of("other", stat(NATIVE, "base"))).await;
    let missing = (
        Code::NotFound,
        "snapshot base does not exist: not found".to_owned(),
    );
    assert_eq!(refused(elsewhere), missing);
}

#[tokio::test]
async fn lists_come_in_messages_of_a_hundred() {
    let rig = Rig::start().await;
    let mut client = client(&rig);
    for number in 0..250 {
        let made = client
            .prepare(here(prepare(NATIVE, &format!("n{number:03}"), "")))
            .await;
        made.expect("made");
    }
    let mut pages = client
        .list(here(list(NATIVE, &["kind==active"])))
        .await
        .expect("a list")
        .into_inner();
    let mut sizes = Vec::new();
    while let Some(page) = pages.message().await.expect("a page") {
        sizes.push(page.info.len());
    }
    assert_eq!(sizes, [100, 100, 50]);
}

#[tokio::test]
async fn codes_and_texts() {
    let rig = Rig::start().await;
    let mut client = client(&rig);
    client
        .prepare(here(prepare(NATIVE, "a", "")))
        .await
        .expect("made");
    let no_info = api::UpdateSnapshotRequest {
        snapshotter: NATIVE.to_owned(),
        ..api::UpdateSnapshotRequest::default()
    };
    let cases = [
        (
            refused(client.stat(here(stat("", "a"))).await),
            Code::InvalidArgument,
            "snapshotter argument missing: invalid argument",
        ),
        (
            refused(client.stat(here(stat("foo", "a"))).await),
            Code::InvalidArgument,
            "snapshotter not loaded: foo: invalid argument",
        ),
        (
            refused(client.stat(stat(NATIVE, "a")).await),
            Code::FailedPrecondition,
            "namespace is required: failed precondition",
        ),
        (
            refused(client.prepare(here(prepare(NATIVE, "a", ""))).await),
            Code::AlreadyExists,
            "snapshot \"a\": already exists",
        ),
        (
            refused(client.prepare(here(prepare(NATIVE, "b", "nop"))).await),
            Code::NotFound,
            "parent snapshot nop does not exist: not found",
        ),
        (
            refused(client.prepare(here(prepare(NATIVE, "b", "a"))).await),
            Code::InvalidArgument,
            "parent \"a\" is not committed snapshot: invalid argument",
        ),
        (
            refused(client.commit(here(commit(NATIVE, "b", "nop"))).await),
            Code::NotFound,
            "snapshot nop does not exist: not found",
        ),
        (
            refused(client.update(here(no_info)).await),
            Code::InvalidArgument,
            "info is required: invalid argument",
        ),
        // Where containerd says UNKNOWN.
        (
            refused(client.list(list(NATIVE, &[])).await),
            Code::FailedPrecondition,
            "namespace is required: failed precondition",
        ),
    ];
    for (found, code, text) in cases {
        assert_eq!(found, (code, text.to_owned()));
    }
    let (code, _) = refused(client.list(here(list(NATIVE, &["a = b"]))).await);
    assert_eq!(code, Code::InvalidArgument);
}

/// Behind a containerd, with the snapshotter that works for everybody.
async fn stacked() -> Rig {
    Rig::with(|config| {
        config.proxy_backend = true;
        config.snapshots.default = Snapshotter::Native;
    })
    .await
}

#[tokio::test]
async fn behind_a_containerd_there_are_no_namespaces() {
    let rig = stacked().await;
    let mut client = client(&rig);
    // As containerd asks: by the name of its proxy plugin.
    client
        .prepare(prepare("transom", "ns/1/a", ""))
        .await
        .expect("made");
    client
        .commit(commit("transom", "ns/2/base", "ns/1/a"))
        .await
        .expect("committed");
    client
        .prepare(here(prepare("transom", "ns/3/b", "ns/2/base")))
        .await
        .expect("made");
    let page = client
        .list(list(NATIVE, &[]))
        .await
        .expect("a list")
        .into_inner()
        .message()
        .await;
    let names = page
        .expect("a page")
        .expect("one")
        .info
        .into_iter()
        .map(|info| info.name);
    assert_eq!(names.collect::<Vec<_>>(), ["ns/2/base", "ns/3/b"]);
    let remove = |key: &str| api::RemoveSnapshotRequest {
        snapshotter: "transom".to_owned(),
        key: key.to_owned(),
    };
    let (code, text) = refused(client.remove(remove("ns/2/base")).await);
    assert_eq!(
        (code, &*text),
        (
            Code::FailedPrecondition,
            "cannot remove snapshot with child: failed precondition"
        )
    );
    for key in ["ns/3/b", "ns/2/base"] {
        client.remove(remove(key)).await.expect("removed");
    }
    let cleanup = api::CleanupRequest {
        snapshotter: "transom".to_owned(),
    };
    client.cleanup(cleanup).await.expect("cleaned up");
}

#[tokio::test]
async fn behind_a_containerd_labels_are_changed_by_path() {
    let rig = stacked().await;
    let mut client = client(&rig);
    let bare = api::PrepareSnapshotRequest {
        labels: Labels::new(),
        ..prepare("transom", "ns/3/b", "")
    };
    client.prepare(bare).await.expect("made");
    let info = api::Info {
        name: "ns/3/b".to_owned(),
        labels: [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())].into(),
        ..api::Info::default()
    };
    let update = |paths: &[&str]| api::UpdateSnapshotRequest {
        snapshotter: "transom".to_owned(),
        info: Some(info.clone()),
        update_mask: Some(prost_types::FieldMask {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        }),
    };
    for (paths, labels) in [
        (&["labels.a"][..], 1),
        (&["labels"], 2),
        (&["labels.c"], 2),
        (&[], 2),
    ] {
        let updated = client.update(update(paths)).await.expect("updated").into_inner();
        assert_eq!(
            updated.info.expect("an answer has one").labels.len(),
            labels,
            "{paths:?}"
        );
    }
    let (code, text) = refused(client.update(update(&["parent"])).await);
    assert_eq!(code, Code::InvalidArgument);
    assert!(
        text.contains("cannot update \"parent\" field on snapshot"),
        "{text}"
    );
}

#[tokio::test]
async fn a_snapshotter_that_cannot_work_is_listed_with_its_error() {
    let rig = Rig::with(|config| {
        let taken = config.root.join("taken");
        std::fs::create_dir_all(&config.root).expect("a folder");
        std::fs::write(&taken, "a file").expect("a file");
        config.snapshots.native_root = Some(taken);
    })
    .await;
    let request = PluginsRequest {
        filters: vec!["type==io.containerd.snapshotter.v1, id==native".to_owned()],
    };
    let listed = IntrospectionClient::new(rig.channel.clone())
        .plugins(request)
        .await;
    let plugins = listed.expect("the filters are right").into_inner().plugins;
    assert_eq!(plugins.len(), 1);
    assert!(plugins[0].init_err.is_some(), "{plugins:?}");
    let (code, text) = refused(client(&rig).stat(here(stat(NATIVE, "a"))).await);
    assert_eq!(
        (code, &*text),
        (
            Code::InvalidArgument,
            "snapshotter not loaded: native: invalid argument"
        )
    );
}
