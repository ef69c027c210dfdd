//! The built plugins in a factory, over one and the same memory.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use serde_json::{Value, json};
use transom_plugin::{DriverPlugin, Host, HostConfig};
use transom_storage::conformance::{self, Open, Options, opener};
use transom_storage::factory::{ConfigError, DriverKind, Factory, Parameters};
use transom_storage::{Condition, Error, Memory, StorageDriver, StoragePath};
use transom_tests::needs;

/// One host for all tests: they share its engine, as a process does.
pub(crate) static HOST: LazyLock<Host> = LazyLock::new(|| Host::new(HostConfig::default()).unwrap());

/// A master key, and another one.
pub(crate) const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
pub(crate) const OTHER_KEY: &str = "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// A built plugin; `None` if it is not, and the test is skipped.
pub(crate) fn load(name: &str) -> Option<DriverPlugin> {
    let file = needs::plugin(name)?;
    Some(HOST.load_driver(file.parent().unwrap()).unwrap())
}

/// A factory that knows the drivers of the storage crate, some plugins, and `same`: one and the same memory.
pub(crate) fn factory(plugins: &[&str]) -> Option<(Factory, Memory)> {
    let memory = Memory::default();
    let mut factory = Factory::builtin();
    for name in plugins {
        load(name)?.register(&mut factory).unwrap();
    }
    let same = memory.clone();
    let kind = DriverKind {
        name: "same".to_owned(),
        aliases: Vec::new(),
        about: String::new(),
        stacks: false,
        parameters: Vec::new(),
        open: Arc::new(move |_: &Parameters<'_>, _| Ok(Arc::new(same.clone()) as Arc<dyn StorageDriver>)),
    };
    factory.register(kind).unwrap();
    Some((factory, memory))
}

pub(crate) fn encrypted(inner: &Value) -> Value {
    json!({ "driver": "encrypt", "masterkeys": KEY, "inner": inner })
}

pub(crate) fn compressed(inner: &Value) -> Value {
    json!({ "driver": "compress", "inner": inner })
}

pub(crate) fn open(factory: &Factory, table: &Value) -> Result<Arc<dyn StorageDriver>, ConfigError> {
    factory.open(table.as_object().unwrap())
}

/// Opens what a table describes anew each time.
pub(crate) fn opened(factory: Factory, table: Value) -> Open {
    opener(move || {
        let driver = open(&factory, &table).expect("the table is right");
        async move { Ok(driver) }
    })
}

/// Fails with the whole report if a case fails.
pub(crate) async fn hold(open: Open, options: Options) {
    let report = conformance::run(open, options).await;
    assert!(report.passed(), "\n{report}");
}

pub(crate) fn path(text: &str) -> StoragePath {
    StoragePath::new(text).unwrap()
}

/// Bytes that are the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let byte = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(byte).collect()
}

pub(crate) async fn put(driver: &dyn StorageDriver, at: &str, content: &[u8]) {
    let content = Bytes::copy_from_slice(content);
    driver.put(&path(at), content, Condition::Always).await.unwrap();
}

/// The whole content, by a reader.
pub(crate) async fn read(driver: &dyn StorageDriver, at: &str) -> Result<Bytes, Error> {
    let reader = driver.read(&path(at), 0).await?;
    reader.collect(driver.name(), u64::MAX).await
}
