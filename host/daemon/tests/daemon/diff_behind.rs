//! The differ behind a containerd: another daemon stands for it here, since what is asked of it is containerd's own API.
//! (Debian's containerd does not know proxy plugins of the type diff.)

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::tempdir;
use tonic::{Code, Status};
use transom_api::content::ListStatusesRequest;
use transom_api::diff::DiffRequest;
use transom_api::diff::diff_client::DiffClient;
use transom_api::leases::leases_client::LeasesClient;
use transom_api::leases::{CreateRequest, Lease, ListRequest, ListResourcesRequest};
use transom_api::types::Descriptor;
use transom_tests::needs::require_root;

use crate::blobs::{self, client, info};
use crate::layers::{Layer, TAR, TAR_GZIP, apply, ask, bind, folder, gzip, request};
use crate::rig::{Rig, here, leased, refused, sha256};

async fn behind(containerd: Option<PathBuf>) -> Rig {
    Rig::with(|config| {
        config.proxy_backend = true;
        config.diff.content_address = containerd;
        config.limits.diffs = 1;
    })
    .await
}

async fn leases(rig: &Rig) -> Vec<Lease> {
    let listed = LeasesClient::new(rig.channel.clone())
        .list(here(ListRequest::default()))
        .await;
    listed.expect("a list").into_inner().leases
}

async fn resources(rig: &Rig, id: &str) -> Vec<String> {
    let id = id.to_owned();
    let listed = LeasesClient::new(rig.channel.clone())
        .list_resources(here(ListResourcesRequest { id }))
        .await;
    let resources = listed.expect("a list").into_inner().resources;
    resources.into_iter().map(|resource| resource.id).collect()
}

#[tokio::test]
async fn a_layer_is_read_from_containerds_content() {
    if !require_root() {
        return;
    }
    let containerd = Rig::start().await;
    let differ = behind(Some(containerd.socket())).await;
    let target = tempdir().expect("a folder");
    // More than one message of a read.
    let content: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    let tar = Layer::new().file("f", &content).end();
    blobs::put(&containerd, &tar).await;
    let mut whole = request(TAR, &tar, &[bind(target.path())]);
    let applied = ask(&differ, whole.clone()).await.expect("it is applied");
    assert_eq!(applied.digest, sha256(&tar));
    assert_eq!(std::fs::read(target.path().join("f")).expect("a file"), content);
    // What is not there is said in containerd's own words, the namespace's too.
    let mut elsewhere = tonic::Request::new(whole.clone());
    let namespace = "elsewhere".parse().expect("a header");
    elsewhere.metadata_mut().insert("containerd-namespace", namespace);
    let answer = DiffClient::new(differ.channel.clone()).apply(elsewhere).await;
    let (code, text) = refused(answer);
    assert_eq!(code, Code::NotFound);
    assert!(
        text.starts_with("failed to get reader from content store: content digest "),
        "{text}"
    );
    assert!(text.ends_with(": not found"), "{text}");
    whole.diff = None;
    assert_eq!(refused(ask(&differ, whole).await).0, Code::InvalidArgument);
}

#[tokio::test]
async fn a_layer_that_is_here_needs_no_containerd() {
    if !require_root() {
        return;
    }
    let target = tempdir().expect("a folder");
    let tar = Layer::new().file("f", b"x").end();
    for address in [None, Some(target.path().join("nobody.sock"))] {
        let differ = behind(address.clone()).await;
        let applied = apply(&differ, TAR_GZIP, &gzip(&tar), &[bind(target.path())]).await;
        assert_eq!(applied.expect("it is applied").digest, sha256(&tar));
        let (code, text) = refused(ask(&differ, request(TAR, b"missing", &[bind(target.path())])).await);
        if address.is_some() {
            assert_eq!(code, Code::Unavailable, "{text}");
            assert!(text.contains("content_address"), "{text}");
        } else {
            assert_eq!(code, Code::NotFound, "{text}");
        }
    }
    let (code, text) = refused(compare(&behind(None).await, DiffRequest::default()).await);
    assert_eq!(code, Code::Unimplemented, "the next differ is asked: {text}");
}

async fn compare(rig: &Rig, request: DiffRequest) -> Result<Descriptor, Status> {
    crate::layers::compare(rig, request).await
}

#[tokio::test]
async fn a_comparison_is_written_to_containerds_content() {
    if !require_root() {
        return;
    }
    let containerd = Rig::start().await;
    let differ = behind(Some(containerd.socket())).await;
    let at = tempdir().expect("a folder");
    let right = folder(at.path(), "r");
    let content: Vec<u8> = (0..2_000_000_u32)
        .map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    std::fs::write(right.join("f"), content).expect("a file");
    let wanted = DiffRequest {
        right: vec![bind(&right)],
        r#ref: "mine".to_owned(),
        ..DiffRequest::default()
    };
    let layer = compare(&differ, wanted.clone()).await.expect("a layer");
    let found = info(&containerd, &layer.digest).await.expect("a blob");
    assert_eq!(found.size, layer.size);
    assert!(found.labels.contains_key("containerd.io/uncompressed"));
    // Nobody else protects it yet.
    let made = leases(&containerd).await;
    assert_eq!(made.len(), 1);
    assert!(made[0].labels.contains_key("containerd.io/gc.expire"), "{made:?}");
    assert_eq!(
        resources(&containerd, &made[0].id).await,
        std::slice::from_ref(&layer.digest)
    );
    // The same once more is the same blob.
    assert_eq!(compare(&differ, wanted.clone()).await.expect("a layer"), layer);
    // A lease that comes along is the one that counts.
    let id = "L".to_owned();
    let create = CreateRequest {
        id,
        ..CreateRequest::default()
    };
    LeasesClient::new(containerd.channel.clone())
        .create(here(create))
        .await
        .expect("a lease");
    let count = leases(&containerd).await.len();
    std::fs::write(right.join("g"), "more").expect("a file");
    let answer = DiffClient::new(differ.channel.clone())
        .diff(leased("L", wanted))
        .await;
    let layer = answer.expect("a layer").into_inner().diff.expect("a descriptor");
    assert_eq!(leases(&containerd).await.len(), count);
    assert!(resources(&containerd, "L").await.contains(&layer.digest));
}

#[tokio::test]
async fn a_comparison_that_fails_leaves_nothing_in_containerd() {
    if !require_root() {
        return;
    }
    let containerd = Rig::start().await;
    let differ = Rig::with(|config| {
        config.proxy_backend = true;
        config.diff.content_address = Some(containerd.socket());
        config.diff.max_entries = 0;
    })
    .await;
    let at = tempdir().expect("a folder");
    std::fs::write(at.path().join("f"), "x").expect("a file");
    let request = DiffRequest {
        right: vec![bind(at.path())],
        ..DiffRequest::default()
    };
    assert_eq!(
        refused(compare(&differ, request).await).0,
        Code::ResourceExhausted
    );
    let listed = client(&containerd)
        .list_statuses(here(ListStatusesRequest::default()))
        .await;
    assert_eq!(listed.expect("a list").into_inner().statuses, []);
    assert_eq!(leases(&containerd).await, []);
}

/// A containerd that takes a connection and never answers.
#[tokio::test]
async fn a_containerd_that_does_not_answer_holds_nothing() {
    if !require_root() {
        return;
    }
    let at = tempdir().expect("a folder");
    let path: &Path = &at.path().join("dead.sock");
    let dead = tokio::net::UnixListener::bind(path).expect("a socket");
    let differ = behind(Some(path.to_path_buf())).await;
    let mut client = DiffClient::new(differ.channel.clone());
    let asked = here(request(TAR, b"not here", &[bind(at.path())]));
    let call = tokio::spawn(async move { client.apply(asked).await });
    let held = dead.accept().await.expect("it asks");
    call.abort();
    // There is room for one at a time, so that this gets through when the first has ended.
    let small = Layer::new().file("f", b"x").end();
    let mounts = [bind(at.path())];
    let applied = apply(&differ, TAR, &small, &mounts);
    let applied = tokio::time::timeout(Duration::from_secs(60), applied).await;
    applied.expect("the first has ended").expect("it is applied");
    drop(held);
}
