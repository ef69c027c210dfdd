//! Several hosts for one registry.

use std::fs;
use std::path::PathBuf;

use transom_client::{Client, Error, Hosts, Options, Remote, Repository};
use transom_oci::media_type;

use crate::fake::{Fake, Fault, reply};
use crate::support::{noise, options, same};

const BODY: &str = r#"{"schemaVersion":2,"config":{},"layers":[]}"#;

/// A repository of `registry.example`, with these hosts.
fn remote(root: &tempfile::TempDir, text: &str) -> Remote {
    let folder = root.path().join("registry.example");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("hosts.toml"), text).unwrap();
    let options = Options {
        hosts: Hosts {
            folders: vec![PathBuf::from(root.path())],
            ..Hosts::default()
        },
        ..options()
    };
    let repository = Repository::new("registry.example", "team/app").unwrap();
    Client::new(options).remote(&repository).unwrap()
}

fn two(mirror: &Fake, own: &Fake, capabilities: &str) -> String {
    format!(
        "server = \"http://{}\"\n[host.\"http://{}\"]\ncapabilities = [{capabilities}]\n[host.\"http://{}\".header]\nx-key = \"k\"\n",
        own.address, mirror.address, mirror.address
    )
}

#[tokio::test]
async fn a_mirror_is_asked_first_and_told_for_whom() {
    let (mirror, own) = (Fake::start().await, Fake::start().await);
    let root = tempfile::tempdir().unwrap();
    let digest = mirror.add_manifest("team/app", "1", media_type::MANIFEST, BODY);
    let remote = remote(&root, &two(&mirror, &own, "\"pull\", \"resolve\""));
    assert_eq!(remote.resolve("1").await.unwrap().digest, digest);
    assert!(own.seen().is_empty());
    let seen = &mirror.seen()[0];
    assert_eq!(seen.parameter("ns").as_deref(), Some("registry.example"));
    assert_eq!(seen.header("x-key"), Some("k"));
}

#[tokio::test]
async fn the_registry_helps_where_the_mirror_cannot() {
    for fault in [
        || Fault::None,
        || reply(500, &[], ""),
        || reply(429, &[("retry-after", "3600")], ""),
        || reply(401, &[("www-authenticate", "Basic realm=x")], ""),
        || reply(200, &[("content-type", "text/html")], "<html>"),
    ] {
        let (mirror, own) = (Fake::start().await, Fake::start().await);
        let root = tempfile::tempdir().unwrap();
        let digest = own.add_manifest("team/app", "1", media_type::MANIFEST, BODY);
        mirror.plan(move |_| fault());
        let remote = remote(&root, &two(&mirror, &own, "\"pull\", \"resolve\""));
        let text = format!("{:?}", fault());
        assert_eq!(
            remote.manifest("1").await.unwrap().descriptor.digest,
            digest,
            "{text}"
        );
        assert!(!mirror.seen().is_empty(), "{text}");
        let seen = &own.seen()[0];
        assert!(seen.parameter("ns").is_some() && seen.header("x-key").is_none());
    }
}

#[tokio::test]
async fn a_mirror_that_may_not_resolve_is_not_asked_for_tags() {
    let (mirror, own) = (Fake::start().await, Fake::start().await);
    let root = tempfile::tempdir().unwrap();
    mirror.add_manifest(
        "team/app",
        "1",
        media_type::MANIFEST,
        "{\"layers\":[],\"evil\":1}",
    );
    let digest = own.add_manifest("team/app", "1", media_type::MANIFEST, BODY);
    mirror.add_manifest("team/app", "x", media_type::MANIFEST, BODY);
    let remote = remote(&root, &two(&mirror, &own, "\"pull\""));
    assert_eq!(remote.resolve("1").await.unwrap().digest, digest);
    assert!(mirror.seen().is_empty());
    remote.manifest(digest.as_str()).await.unwrap();
    assert_eq!(mirror.seen().len(), 1);
}

#[tokio::test]
async fn a_blob_goes_on_at_the_next_host() {
    let (mirror, own) = (Fake::start().await, Fake::start().await);
    let root = tempfile::tempdir().unwrap();
    let bytes = noise(200_000, 20);
    let descriptor = mirror.add_blob(bytes.clone());
    own.add_blob(bytes.clone());
    let mut first = true;
    mirror.plan(move |_| {
        if std::mem::take(&mut first) {
            Fault::Cut(80_000)
        } else {
            reply(404, &[], "")
        }
    });
    let remote = remote(&root, &two(&mirror, &own, "\"pull\""));
    same(&remote, &descriptor, &bytes).await;
    let range = own.seen()[0].header("range").unwrap().to_owned();
    assert_ne!(range, "bytes=0-199999");
}

#[tokio::test]
async fn a_dead_mirror_is_asked_last_for_a_while() {
    let (dead, own) = (Fake::start().await, Fake::start().await);
    let root = tempfile::tempdir().unwrap();
    let text = two(&dead, &own, "\"pull\", \"resolve\"");
    drop(dead);
    own.add_manifest("team/app", "1", media_type::MANIFEST, BODY);
    let remote = remote(&root, &text);
    for _ in 0..3 {
        remote.resolve("1").await.unwrap();
    }
    assert_eq!(own.seen().len(), 3);
    // When nobody has it, all that was tried is named.
    let error = remote.resolve("2").await.unwrap_err();
    assert!(matches!(error, Error::Mirrors { .. }), "{error}");
    assert!(error.to_string().contains("before that"), "{error}");
}

#[tokio::test]
async fn nothing_is_pushed_to_a_mirror() {
    let (mirror, own) = (Fake::start().await, Fake::start().await);
    let root = tempfile::tempdir().unwrap();
    let pushing = remote(&root, &two(&mirror, &own, "\"pull\", \"resolve\""));
    pushing
        .put_manifest("1", media_type::MANIFEST, BODY.into())
        .await
        .unwrap();
    assert!(mirror.seen().is_empty() && own.seen().len() == 1);
    let text = format!("server = \"http://{}\"\ncapabilities = [\"pull\"]\n", own.address);
    let reading = remote(&root, &text);
    let error = reading
        .put_manifest("1", media_type::MANIFEST, BODY.into())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NoHost { .. }), "{error}");
}

#[tokio::test]
async fn a_mirror_with_wrong_bytes_is_gone_round() {
    let (mirror, own) = (Fake::start().await, Fake::start().await);
    let root = tempfile::tempdir().unwrap();
    let bytes = noise(200_000, 21);
    let descriptor = mirror.add_blob(bytes.clone());
    own.add_blob(bytes.clone());
    mirror.plan(|_| Fault::Flip(9));
    let remote = remote(&root, &two(&mirror, &own, "\"pull\""));
    let store = transom_content::Store::open(root.path().join("content")).unwrap();
    remote.fetch_into(&descriptor, &store, &|_| {}).await.unwrap();
    assert!(std::fs::read(store.blob_path(&descriptor.digest)).unwrap() == bytes);
    assert_eq!((mirror.seen().len(), own.seen().len()), (1, 1));
}
