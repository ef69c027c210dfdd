//! Layers on their way through programs and WASM plugins.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tempfile::tempdir;
use tonic::Code;
use transom_api::introspection::PluginsRequest;
use transom_api::introspection::introspection_client::IntrospectionClient;
use transom_layer::exec::ExternalProcessor;
use transom_plugin::config::Value;
use transom_tests::needs::{plugin, require_root};
use transom_tests::sample::{Compression, LAYER_TAR_XZ};
use transomd::config::Config;

use crate::blobs;
use crate::events::{next, subscribe};
use crate::layers::{Layer, TAR, TAR_GZIP, apply, ask, bind, gzip, request};
use crate::rig::{Rig, refused, sha256};

const SEALED: &str = "application/vnd.example.sealed";

/// A program, and where its output goes on.
fn shell(id: &str, script: &str, returns: &str) -> ExternalProcessor {
    ExternalProcessor {
        id: id.to_owned(),
        accepts: vec![SEALED.to_owned()],
        returns: returns.to_owned(),
        path: "sh".into(),
        args: vec!["-c".to_owned(), script.to_owned()],
        env: vec![("GREETING".to_owned(), "hello".to_owned())],
    }
}

/// A plugin in the processors' folder of a daemon's own; nothing if it is not built.
fn plugin_folder(name: &str) -> Option<PathBuf> {
    Some(plugin(name)?.parent().expect("a folder").to_path_buf())
}

fn with_plugin(config: &mut Config, folder: &Path) {
    config.metrics = Some("127.0.0.1:0".parse().expect("an address"));
    config.processors.folders = vec![folder.to_path_buf()];
}

#[tokio::test]
async fn a_program_gets_its_payload_on_descriptor_three() {
    if !require_root() {
        return;
    }
    // What is sent is a message of the payload's type, whose value is its end.
    let script = "test \"$(tail -c 6 <&3)\" = secret || { echo no key >&2; exit 3; }; \
                  test \"$STREAM_PROCESSOR_MEDIATYPE $GREETING\" = 'application/vnd.example.sealed hello' && exec cat";
    let rig = Rig::with(|config| {
        config.stream_processors = vec![shell("opener", script, TAR_GZIP)];
        config.metrics = Some("127.0.0.1:0".parse().expect("an address"));
    })
    .await;
    let target = tempdir().expect("a folder");
    let tar = Layer::new().file("f", b"x").end();
    let blob = gzip(&tar);
    let (code, text) = refused(apply(&rig, SEALED, &blob, &[bind(target.path())]).await);
    assert_eq!(code, Code::Unknown, "{text}");
    assert!(text.contains("no key"), "{text}");
    let mut with_key = request(SEALED, &blob, &[bind(target.path())]);
    let payload = prost_types::Any {
        type_url: "example.com/Key".to_owned(),
        value: b"secret".to_vec(),
    };
    with_key.payloads.insert("opener".to_owned(), payload.clone());
    with_key.payloads.insert("other".to_owned(), payload);
    let applied = ask(&rig, with_key).await.expect("it is applied");
    assert_eq!((applied.media_type.as_str(), applied.digest), (TAR, sha256(&tar)));
    assert!(target.path().join("f").is_file());
    let metrics = rig.metrics_text().await;
    for line in [
        "transom_plugin_calls_total{plugin=\"opener\",result=\"ok\"} 1",
        "transom_plugin_calls_total{plugin=\"opener\",result=\"refused\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named_as_containerd_does() {
    if !require_root() {
        return;
    }
    let missing = ExternalProcessor {
        path: "no-such-decoder".into(),
        ..shell("opener", "", TAR)
    };
    let rig = Rig::with(|config| config.stream_processors = vec![missing]).await;
    let target = tempdir().expect("a folder");
    let (code, text) = refused(apply(&rig, SEALED, b"x", &[bind(target.path())]).await);
    assert_eq!(code, Code::Unknown);
    let expected = "exec: \"no-such-decoder\": executable file not found in $PATH";
    assert!(text.contains(expected), "{text}");
}

#[tokio::test]
async fn the_last_program_is_asked_first() {
    if !require_root() {
        return;
    }
    let rig = Rig::with(|config| {
        config.stream_processors = vec![shell("old", "exit 1", TAR), shell("new", "exec cat", TAR)];
    })
    .await;
    let target = tempdir().expect("a folder");
    let tar = Layer::new().file("f", b"x").end();
    let applied = apply(&rig, SEALED, &tar, &[bind(target.path())]).await;
    assert_eq!(applied.expect("it is applied").digest, sha256(&tar));
}

#[tokio::test]
async fn a_plugin_decompresses_what_is_not_built_in() {
    let Some(folder) = plugin_folder("xz") else { return };
    if !require_root() {
        return;
    }
    let rig = Rig::with(|config| with_plugin(config, &folder)).await;
    let target = tempdir().expect("a folder");
    let tar = Layer::new().file("f", &[1; 300_000]).end();
    let blob = Compression::Xz.compress(&tar).expect("it compresses");
    let applied = apply(&rig, LAYER_TAR_XZ, &blob, &[bind(target.path())]).await;
    assert_eq!(applied.expect("it is applied").digest, sha256(&tar));
    assert_eq!(
        std::fs::read(target.path().join("f")).expect("a file"),
        [1; 300_000]
    );
    let (code, text) = refused(apply(&rig, LAYER_TAR_XZ, &blob[..50], &[bind(target.path())]).await);
    assert_eq!(code, Code::Unknown, "{text}");
    assert!(text.contains("plugin xz"), "{text}");
    let request = PluginsRequest {
        filters: vec!["type==io.transom.processor.v1".to_owned()],
    };
    let listed = IntrospectionClient::new(rig.channel.clone())
        .plugins(request)
        .await;
    let listed = listed.expect("a list").into_inner().plugins;
    assert_eq!((listed.len(), listed[0].id.as_str()), (1, "xz"));
    assert_eq!(listed[0].init_err, None);
    assert!(
        listed[0].exports["digest"].starts_with("sha256:"),
        "{:?}",
        listed[0].exports
    );
    assert!(listed[0].exports["converts"].contains(LAYER_TAR_XZ));
    let metrics = rig.metrics_text().await;
    assert!(
        metrics.contains("transom_plugin_calls_total{plugin=\"xz\",result=\"ok\"} 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_layer_that_a_plugin_refuses_is_not_applied() {
    let Some(folder) = plugin_folder("secrets") else {
        return;
    };
    if !require_root() {
        return;
    }
    let rig = Rig::with(|config| {
        with_plugin(config, &folder);
        let values = BTreeMap::from([("refuse".to_owned(), Value::Boolean(true))]);
        config.processors.config.insert("secrets".to_owned(), values);
    })
    .await;
    let target = tempdir().expect("a folder");
    let good = Layer::new().file("f", b"nothing to see\n").end();
    apply(&rig, TAR, &good, &[bind(target.path())])
        .await
        .expect("it is applied");
    let key = b"aws_access_key_id = AKIAQ3EGR7ZXJ5T2WY4M
";
    let bad = Layer::new().file("root/.aws/credentials", key).end();
    let mut events = subscribe(&rig, &["topic==\"/layers/findings\""]).await;
    let (code, text) = refused(apply(&rig, TAR, &bad, &[bind(target.path())]).await);
    assert_eq!(code, Code::PermissionDenied, "{text}");
    assert!(
        text.contains("secrets refused the layer") && text.ends_with(": permission denied"),
        "{text}"
    );
    let event = next(&mut events).await.event.expect("an event");
    assert_eq!(event.type_url, "transom.events.LayerFindings");
    let found: serde_json::Value = serde_json::from_slice(&event.value).expect("JSON");
    assert_eq!(found["layer"], sha256(&bad));
    assert_eq!(
        (&found["processor"], &found["findings"][0]["rule"]),
        (&"secrets".into(), &"aws-access-key".into())
    );
    assert!(found["verdict"]["refuse"]["reason"].is_string(), "{found}");
    assert!(!found.to_string().contains("AKIAQ3EGR7"), "{found}");
}

#[tokio::test]
async fn a_processor_that_cannot_be_used_is_listed_with_its_error() {
    let plugins = tempdir().expect("a folder");
    std::fs::write(plugins.path().join("broken.wasm"), "no wasm").expect("a file");
    let rig = Rig::with(|config| with_plugin(config, plugins.path())).await;
    let request = PluginsRequest {
        filters: vec!["type==io.transom.processor.v1".to_owned()],
    };
    let listed = IntrospectionClient::new(rig.channel.clone())
        .plugins(request)
        .await;
    let listed = listed.expect("a list").into_inner().plugins;
    assert_eq!((listed.len(), listed[0].id.as_str()), (1, "broken"));
    assert!(listed[0].init_err.is_some());
    blobs::put(&rig, b"the daemon serves all the same").await;
}
