//! Each decorator, and stacks of them, against the conformance suite; by configuration, as a user has them.

use std::sync::Arc;

use serde_json::{Value, json};
use transom_storage::StorageDriver;
use transom_storage::conformance::{Open, Options, opener};
use transom_storage::decorators::{faults, metrics};
use transom_storage::factory::{Factory, Parameters};

use crate::drivers::{hold, memory};

/// Opens a stack of which the lowest is one and the same memory.
fn stacked(stack: impl Fn(Value) -> Value) -> Open {
    let memory = transom_storage::Memory::default();
    let mut factory = Factory::builtin();
    let kind = transom_storage::factory::DriverKind {
        name: "same".to_owned(),
        aliases: Vec::new(),
        about: String::new(),
        stacks: false,
        parameters: Vec::new(),
        open: Arc::new(move |_: &Parameters<'_>, _| Ok(Arc::new(memory.clone()) as Arc<dyn StorageDriver>)),
    };
    factory.register(kind).unwrap();
    let table = stack(json!({ "driver": "same" }));
    opener(move || {
        let driver = factory
            .open(table.as_object().unwrap())
            .expect("the stack can be opened");
        async move { Ok(driver) }
    })
}

async fn hold_stack(stack: impl Fn(Value) -> Value) {
    hold(stacked(stack), Options::quick()).await;
}

#[tokio::test]
async fn limit_conforms() {
    hold_stack(|inner| json!({ "driver": "limit", "maxconcurrency": 2, "inner": inner })).await;
}

#[tokio::test]
async fn retry_conforms() {
    hold_stack(|inner| json!({ "driver": "retry", "inner": inner })).await;
}

#[tokio::test]
async fn trace_conforms() {
    hold_stack(|inner| json!({ "driver": "trace", "inner": inner })).await;
}

#[tokio::test]
async fn verify_conforms() {
    hold_stack(|inner| json!({ "driver": "verify", "inner": inner })).await;
}

#[tokio::test]
async fn cache_conforms() {
    hold_stack(|inner| json!({ "driver": "cache", "ttl": "1h", "inner": inner })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_of_all_conforms() {
    hold_stack(|inner| {
        let inner = json!({ "driver": "limit", "maxconcurrency": "3", "inner": inner });
        let inner = json!({ "driver": "verify", "inner": inner });
        let inner = json!({ "driver": "retry", "attempts": 3, "delay": "1ms", "inner": inner });
        let inner = json!({ "driver": "trace", "inner": inner });
        json!({ "driver": "cache", "maxbytes": 10_000, "inner": inner })
    })
    .await;
}

#[tokio::test]
async fn metrics_and_faults_without_a_fault_conform() {
    let open = memory();
    let wrapped = opener(move || {
        let inner = open();
        async move {
            let counted = metrics::observed(inner.await?, Arc::<metrics::Counters>::default());
            Ok(faults::faulty(counted, Arc::default()))
        }
    });
    hold(wrapped, Options::quick()).await;
}
