//! Storage drivers that are plugins: replaced, taken back and kept while a registry or the content store stands on them.

use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::tempdir;
use tokio_stream::StreamExt;
use tonic::Code;
use transom_api::content::ReadContentRequest;
use transom_api::content::content_client::ContentClient;
use transom_api::plugins::{ReloadRequest, ReloadResponse};
use transom_meta::kv::Kind;
use transom_plugin::artifact::section;
use transom_storage::{Condition, StorageDriver, StoragePath, WriteMode};
use transom_tests::versions::plugin_in;
use transomd::Config;
use transomd::places::Places;
use transomd::reload::Reloading;

use crate::driver_guest::{TEXT, driver_guest};
use crate::plugins::{NAMESPACE, client, filter, install, list, put, remove, roll_back, status, versions};
use crate::rig::{Rig, of, refused, sha256};

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// A built plugin in a version, as one file; `None` if it is not built.
fn built(name: &str, version: &str) -> Option<Vec<u8>> {
    let (component, text) = plugin_in(name, version)?;
    Some(section::with(&component, &text).expect("a component"))
}

/// The test guest, `odds`, in a version, with some of its text replaced.
pub(crate) fn odds(version: &str, changes: &[(&str, &str)]) -> Vec<u8> {
    let mut text = TEXT.replace("odds0.1.0", &format!("odds{version}"));
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    driver_guest(&text)
}

pub(crate) fn path(text: &str) -> StoragePath {
    StoragePath::new(text).expect("a path")
}

/// Opens a table with the plugins of a daemon.
pub(crate) fn open(rig: &Rig, table: &Value) -> Arc<dyn StorageDriver> {
    let factory = rig.plugins.factory("[a.test]");
    factory
        .open(table.as_object().expect("a table"))
        .expect("it opens")
}

#[tokio::test]
async fn what_a_driver_has_begun_ends_with_its_version_and_what_comes_takes_the_next() {
    let (Some(first), Some(second)) = (built("encrypt", "0.1.0"), built("encrypt", "0.2.0")) else {
        return;
    };
    let rig = Rig::start().await;
    install(&rig, first).await.expect("installed");
    let table = json!({ "driver": "encrypt", "masterkeys": KEY, "inner": { "driver": "inmemory" } });
    let driver = open(&rig, &table);
    let content: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let (old, new) = (path("/a/old"), path("/a/new"));
    driver
        .put(&old, content.clone().into(), Condition::Always)
        .await
        .expect("it is put");
    let mut reader = driver.read(&old, 0).await.expect("a reader");
    let mut read = reader.next().await.expect("bytes").expect("good ones").to_vec();
    assert!(read.len() < content.len(), "there is more");
    let mut writer = driver.writer(&new, WriteMode::Create).await.expect("a writer");
    writer
        .write(Bytes::from_static(b"half and "))
        .await
        .expect("written");
    let (folder, begin) = (path("/a"), path("/"));
    let mut walk = driver.walk(&begin, None).await.expect("a walk");
    assert_eq!(status(&rig, "encrypt").await.running, 3);

    let replaced = install(&rig, second).await.expect("it takes over").replaced;
    assert_eq!(replaced.expect("the first one").version, "0.1.0");
    let shown = status(&rig, "encrypt").await;
    assert_eq!((shown.running, shown.draining), (0, 3));
    assert_eq!(driver.list(&folder).await.expect("the next one answers").len(), 1);
    assert_eq!(status(&rig, "encrypt").await.draining, 3);
    while let Some(chunk) = reader.next().await {
        read.extend_from_slice(&chunk.expect("the old one goes on"));
    }
    assert_eq!(read, content);
    writer.write(Bytes::from_static(b"half")).await.expect("written");
    writer.commit().await.expect("the old one goes on");
    while walk.next().await.expect("the old one goes on").is_some() {}
    let shown = status(&rig, "encrypt").await;
    assert_eq!((shown.running, shown.draining), (0, 0), "{shown:?}");
    assert_eq!(driver.get(&new, 100).await.expect("it is there"), "half and half");

    let (code, text) = refused(remove(&rig, "encrypt").await);
    assert_eq!(code, Code::FailedPrecondition, "{text}");
    assert!(
        text.contains("[a.test] stands on the storage driver encrypt"),
        "{text}"
    );
    assert_eq!(
        roll_back(&rig, "encrypt").await.expect("it goes back").version,
        "0.1.0"
    );
    assert_eq!(driver.get(&new, 100).await.expect("it is there"), "half and half");
    drop(driver);
    remove(&rig, "encrypt").await.expect("nobody needs it any more");
}

#[tokio::test]
async fn a_version_that_cannot_go_on_replaces_nothing() {
    let rig = Rig::start().await;
    let can = [(
        "capabilities-of\") (result i32) (i32.const 0)",
        "capabilities-of\") (result i32) (i32.const 1)",
    )];
    install(&rig, odds("0.1.0", &can)).await.expect("installed");
    let driver = open(&rig, &json!({ "driver": "odds" }));
    let fine = path("/fine");
    let stat = "(i32.store (i32.const 520) (local.get $path))";
    let falls = format!("(if (i32.eqz (local.get $letter)) (then (call $fall))) {stat}");
    let asks = "name = \"odds\"\nversion = \"0.2.0\"\nkind = \"driver\"\nworld = \"transom:storage/storage-driver@0.1.0\"\n\
                [config.level]\ntype = \"integer\"\nrequired = true\ndoc = \"How much.\"\n";
    for (component, part) in [
        (
            odds("0.2.0", &[can[0], (stat, &falls)]),
            "asked for the root, it answers: odds: cannot look at /: plugin odds 0.2.0",
        ),
        (odds("0.2.0", &[]), "unlike the version before, it cannot put"),
        (
            section::with(&odds("0.2.0", &can), asks).expect("a component"),
            "needs the parameter level: How much.",
        ),
    ] {
        let (code, text) = refused(install(&rig, component).await);
        assert_eq!(code, Code::FailedPrecondition, "{text}");
        assert!(
            text.contains("[a.test] stands on odds and cannot go on with version 0.2.0"),
            "{text}"
        );
        assert!(text.contains(part), "{text}");
        assert_eq!(
            driver.get(&fine, 10).await.expect("the first one goes on"),
            "hello"
        );
        assert_eq!(
            versions(&rig).await,
            [("odds".to_owned(), "0.1.0".to_owned(), true)]
        );
    }
    assert!(
        status(&rig, "odds").await.failures.is_empty(),
        "a trial is no call"
    );
    install(&rig, odds("0.3.0", &[can[0], ("\"hello\"", "\"world\"")]))
        .await
        .expect("a good one");
    assert_eq!(driver.get(&fine, 10).await.expect("it answers"), "world");
}

/// A daemon that has plugins installed, started again with this in its configuration.
async fn again(root: &Path, plugins: Vec<Vec<u8>>, text: &str) -> Rig {
    let with = |config: &mut Config| {
        config.root = root.join("root");
        config.metadata.store = Kind::Redb;
    };
    let rig = Rig::with(with).await;
    for component in plugins {
        install(&rig, component).await.expect("installed");
    }
    rig.stop().await;
    let text = format!("[registry.http]\nlisten = \"127.0.0.1:0\"\n{text}");
    Rig::with(|config| {
        with(config);
        let read = Config::parse(&text, &Places::system()).expect("a right file");
        config.registry = read.registry;
    })
    .await
}

fn http() -> reqwest::Client {
    // Whoever is first in this process.
    drop(tokio_rustls::rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

#[tokio::test]
async fn a_registry_goes_on_while_each_driver_of_its_stack_is_replaced() {
    let (Some(encrypt), Some(compress)) = (built("encrypt", "0.1.0"), built("compress", "0.1.0")) else {
        return;
    };
    let folder = tempdir().expect("a folder");
    let text = format!(
        "[registry.storage]\ndriver = \"encrypt\"\nmasterkeys = \"{KEY}\"\n[registry.storage.inner]\ndriver = \"compress\"\n\
         [registry.storage.inner.inner]\ndriver = \"filesystem\"\nrootdirectory = {:?}\n",
        folder.path().join("blobs")
    );
    let rig = again(folder.path(), vec![encrypt, compress], &text).await;
    let base = format!("http://{}", rig.registry.expect("it listens"));
    let http = http();
    let located = |answer: &reqwest::Response| {
        let location = answer.headers()["location"].to_str().expect("text").to_owned();
        match location.starts_with('/') {
            true => format!("{base}{location}"),
            false => location,
        }
    };
    let begun = http
        .post(format!("{base}/v2/team/app/blobs/uploads/"))
        .send()
        .await;
    let mut upload = located(&begun.expect("an answer"));
    let mut content = Vec::new();
    for round in 2..6_u8 {
        let part = vec![round; 300_000];
        let sent = http
            .patch(&upload)
            .body(part.clone())
            .send()
            .await
            .expect("an answer");
        assert_eq!(sent.status(), StatusCode::ACCEPTED);
        upload = located(&sent);
        content.extend(part);
        let name = if round % 2 == 0 { "encrypt" } else { "compress" };
        let next = built(name, &format!("0.{round}.0")).expect("it is built");
        install(&rig, next).await.expect("it takes over");
    }
    let digest = sha256(&content);
    let separator = if upload.contains('?') { '&' } else { '?' };
    let ended = http
        .put(format!("{upload}{separator}digest={digest}"))
        .send()
        .await;
    assert_eq!(ended.expect("an answer").status(), StatusCode::CREATED);
    for name in ["encrypt", "compress"] {
        roll_back(&rig, name).await.expect("it goes back");
        let got = http
            .get(format!("{base}/v2/team/app/blobs/{digest}"))
            .send()
            .await;
        let got = got.expect("an answer").bytes().await.expect("a body");
        assert!(got == content, "{name}");
        let (code, text) = refused(remove(&rig, name).await);
        assert_eq!(code, Code::FailedPrecondition, "{text}");
        assert!(text.contains("[registry.storage] stands on"), "{text}");
    }
    let shown = status(&rig, "compress").await;
    assert_eq!(shown.plugin.expect("it").version, "0.3.0");
    assert!(
        shown.calls["ok"] > 0 && !shown.calls.contains_key("crash"),
        "{:?}",
        shown.calls
    );
}

#[tokio::test]
async fn a_policy_of_the_registry_takes_the_next_version_of_its_filter() {
    let folder = tempdir().expect("a folder");
    // It says why and crashes, so that the version that was asked is remembered.
    let text = "[registry.storage]\ndriver = \"inmemory\"\n[registry.admission.policies.ours]\nplugin = \"some\"\nexpression = \"t\"\n";
    let rig = again(folder.path(), vec![filter("some", "0.1.0")], text).await;
    let base = format!("http://{}", rig.registry.expect("it listens"));
    let asked = async || {
        let index =
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
        let push = http()
            .put(format!("{base}/v2/a/manifests/v1"))
            .header("content-type", "application/vnd.oci.image.index.v1+json")
            .body(index);
        let pushed = push.send().await.expect("an answer");
        assert_eq!(pushed.status(), StatusCode::FORBIDDEN);
        status(&rig, "some").await.failures.remove(0).version
    };
    assert_eq!(asked().await, "0.1.0");
    install(&rig, filter("some", "0.2.0")).await.expect("installed");
    assert_eq!(asked().await, "0.2.0");
    roll_back(&rig, "some").await.expect("it goes back");
    assert_eq!(asked().await, "0.1.0");
    let (code, text) = refused(remove(&rig, "some").await);
    assert_eq!(code, Code::FailedPrecondition, "{text}");
    assert!(
        text.contains("\"ours\"") && text.contains("[registry.admission.policies]"),
        "{text}"
    );
}

/// A daemon whose content is on a driver from a folder, and what reads its configuration again.
async fn on_driver(folder: &Path) -> Rig {
    let config = Arc::new(Mutex::new(None));
    let read = Arc::clone(&config);
    let reloading = Reloading::from(move || Ok(read.lock().expect("whole").clone().expect("it was made")));
    Rig::reloading(
        |new| {
            let files = folder.join("blobs");
            let table = json!({
                "driver": "compress", "inner": { "driver": "filesystem", "rootdirectory": files }
            });
            new.content.driver = table.as_object().cloned();
            new.content.plugins = vec![folder.join("plugins")];
            new.content.copies = 0;
            *config.lock().expect("whole") = Some(new.clone());
        },
        reloading,
    )
    .await
}

async fn reload(rig: &Rig) -> ReloadResponse {
    let reloaded = client(rig).reload(ReloadRequest {}).await;
    reloaded.expect("it is read").into_inner()
}

async fn content_of(rig: &Rig, digest: &str) -> Vec<u8> {
    let request = ReadContentRequest {
        digest: digest.to_owned(),
        ..ReadContentRequest::default()
    };
    let mut client = ContentClient::new(rig.channel.clone());
    let mut answers = client
        .read(of(NAMESPACE, request))
        .await
        .expect("it is there")
        .into_inner();
    let mut all = Vec::new();
    while let Some(answer) = answers.message().await.expect("bytes") {
        all.extend_from_slice(&answer.data);
    }
    all
}

#[tokio::test]
async fn the_driver_of_the_content_is_replaced_by_what_its_folder_has() {
    let folder = tempdir().expect("a folder");
    let plugin = folder.path().join("plugins/compress");
    let component = plugin.join("compress.wasm");
    let write = |version: &str| {
        let (bytes, text) = plugin_in("compress", version)?;
        std::fs::create_dir_all(&plugin).expect("a folder");
        std::fs::write(&component, bytes).expect("a file");
        std::fs::write(plugin.join("plugin.toml"), text).expect("a file");
        Some(())
    };
    if write("0.1.0").is_none() {
        return;
    }
    let rig = on_driver(folder.path()).await;
    let one = put(&rig, &vec![1; 100_000]).await;
    write("0.2.0").expect("it is built");
    let reloaded = reload(&rig).await;
    assert!(reloaded.problems.is_empty(), "{reloaded:?}");
    let two = put(&rig, &vec![2; 100_000]).await;
    let of_version = |version: &str| vec![("compress".to_owned(), version.to_owned(), true)];
    assert_eq!(versions(&rig).await, of_version("0.2.0"));
    for (digest, byte) in [(&one, 1), (&two, 2)] {
        assert!(content_of(&rig, digest).await == vec![byte; 100_000]);
    }
    assert!(status(&rig, "compress").await.calls["ok"] > 0);

    std::fs::write(&component, b"\0asm").expect("a file");
    let reloaded = reload(&rig).await;
    assert!(
        reloaded.problems[0].contains("compress 0.2.0 goes on"),
        "{reloaded:?}"
    );
    assert_eq!(versions(&rig).await, of_version("0.2.0"));
    std::fs::remove_dir_all(&plugin).expect("removed");
    let reloaded = reload(&rig).await;
    assert!(reloaded.problems[0].contains("it goes on"), "{reloaded:?}");
    let held = list(&rig).await.remove(0);
    assert!(
        held.pending.contains("next start") && held.error.is_empty(),
        "{held:?}"
    );
    assert!(content_of(&rig, &one).await == vec![1; 100_000]);
    write("0.3.0").expect("it is built");
    assert!(reload(&rig).await.problems.is_empty());
    assert_eq!(list(&rig).await[0].pending, "");
    assert_eq!(versions(&rig).await, of_version("0.3.0"));
    assert!(content_of(&rig, &two).await == vec![2; 100_000]);
}
