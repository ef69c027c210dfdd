//! Each plugin, and stacks of them, against the conformance suite.

use serde_json::json;
use transom_storage::conformance::Options;

use crate::support::{compressed, encrypted, factory, hold, opened};

#[tokio::test(flavor = "multi_thread")]
async fn encrypt_over_memory_conforms() {
    let Some((factory, _)) = factory(&["encrypt"]) else {
        return;
    };
    hold(
        opened(factory, encrypted(&json!({ "driver": "same" }))),
        Options::quick(),
    )
    .await;
}

/// On one thread of the runtime's: a guest that waits must not keep it from going on.
#[tokio::test]
async fn encrypt_over_a_filesystem_conforms() {
    let Some((factory, _)) = factory(&["encrypt"]) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let table = encrypted(&json!({ "driver": "filesystem", "rootdirectory": folder.path() }));
    let options = Options {
        children: 50,
        ..Options::quick()
    };
    hold(opened(factory, table), options).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compress_over_memory_conforms() {
    let Some((factory, _)) = factory(&["compress"]) else {
        return;
    };
    hold(
        opened(factory, compressed(&json!({ "driver": "same" }))),
        Options::quick(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_of_plugins_conforms() {
    let Some((factory, _)) = factory(&["encrypt", "compress"]) else {
        return;
    };
    let stack = encrypted(&compressed(&json!({ "driver": "same" })));
    hold(opened(factory, stack), Options::quick()).await;
}

/// Few instances, so that calls wait for each other; between drivers that are not plugins.
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_between_drivers_conforms_with_few_instances() {
    let Some((factory, _)) = factory(&["encrypt"]) else {
        return;
    };
    let mut table = encrypted(&json!({ "driver": "trace", "inner": { "driver": "same" } }));
    table["maxinstances"] = json!(4);
    let table = json!({ "driver": "retry", "inner": table });
    hold(opened(factory, table), Options::quick()).await;
}
