//! Drivers by configuration: names, parameters, stacks, and what is said of mistakes.

use serde_json::{Value, json};
use transom_storage::{ConfigError, Factory, limits};

fn error(table: &Value) -> ConfigError {
    Factory::builtin()
        .open(table.as_object().unwrap())
        .expect_err("the configuration is wrong")
}

fn name(table: &Value) -> String {
    let driver = Factory::builtin().open(table.as_object().unwrap()).unwrap();
    driver.name().to_owned()
}

#[test]
fn names_and_aliases_open_the_same() {
    assert_eq!(name(&json!({ "driver": "memory", "maxbytes": 10 })), "inmemory");
    assert_eq!(
        name(&json!({ "driver": "inmemory", "maxbytes": "10" })),
        "inmemory"
    );
    for driver in ["s3", "s3aws"] {
        assert_eq!(
            name(&json!({ "driver": driver, "bucket": "b", "region": "r" })),
            "s3"
        );
    }
    assert_eq!(
        name(&json!({ "driver": "azure", "accountname": "a", "accountkey": "a2V5", "container": "c" })),
        "azure"
    );
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        name(&json!({ "driver": "filesystem", "rootdirectory": folder.path(), "maxthreads": 5 })),
        "filesystem"
    );
    for flush in ["filesystem", "folders"] {
        let table = json!({ "driver": "filesystem", "rootdirectory": folder.path(), "flush": flush });
        assert_eq!(name(&table), "filesystem");
    }
    let stack = json!({ "driver": "retry", "inner": { "driver": "limit", "maxconcurrency": 1, "inner": { "driver": "memory" } } });
    assert_eq!(name(&stack), "inmemory");
}

#[test]
fn mistakes_are_named_with_what_was_meant() {
    for (table, text) in [
        (json!({}), "a storage driver needs driver = \"NAME\""),
        (
            json!({ "driver": "filesytem" }),
            "there is no storage driver \"filesytem\"; did you mean \"filesystem\"?",
        ),
        (
            json!({ "driver": "filesystem", "rootdirectoy": "/x" }),
            "the storage driver filesystem has no parameter \"rootdirectoy\"; did you mean \"rootdirectory\"?",
        ),
        (
            json!({ "driver": "filesystem", "rootdirectory": "/x", "flush": "never" }),
            "the parameter flush of the storage driver filesystem is not usable: it is `filesystem` or `folders`",
        ),
        (
            json!({ "driver": "memory", "maxbytes": "many" }),
            "the parameter maxbytes of the storage driver memory is not usable: it must be a whole number",
        ),
        (
            json!({ "driver": "s3", "region": "r" }),
            "the storage driver s3 needs the parameter bucket: the bucket",
        ),
        (
            json!({ "driver": "s3", "region": "r", "bucket": "b", "chunksize": 1024 }),
            "the parameter chunksize of the storage driver s3 is not usable: it must be at least 5242880",
        ),
        (
            json!({ "driver": "s3", "region": "r", "bucket": "b", "accesskey": "k" }),
            "the parameter accesskey of the storage driver s3 is not usable: accesskey and secretkey belong together",
        ),
        (
            json!({ "driver": "retry" }),
            "the storage driver retry stands on another: give it inner = { driver = \"NAME\", … }",
        ),
        (
            json!({ "driver": "memory", "inner": {} }),
            "the storage driver memory has no parameter \"inner\"; there are: maxbytes",
        ),
        (
            json!({ "driver": "retry", "delay": "soon", "inner": { "driver": "memory" } }),
            "the parameter delay of the storage driver retry is not usable: it must be a time such as \"250ms\", \"30s\", \"5m\", \"1h\"",
        ),
    ] {
        assert_eq!(error(&table).to_string(), text);
    }
    // A mistake deep in a stack is found too.
    let deep = json!({ "driver": "trace", "inner": { "driver": "memroy" } });
    assert!(error(&deep).to_string().contains("\"memroy\""));
}

#[test]
fn stacks_end_somewhere() {
    let mut table = json!({ "driver": "memory" });
    for _ in 0..limits::STACK {
        table = json!({ "driver": "trace", "inner": table });
    }
    assert!(matches!(error(&table), ConfigError::TooDeep));
}

#[test]
fn a_name_is_registered_once() {
    let mut factory = Factory::builtin();
    let mut kind = factory.kind("memory").unwrap().clone();
    assert!(matches!(
        factory.register(kind.clone()),
        Err(ConfigError::NameTaken { .. })
    ));
    (kind.name, kind.aliases) = ("other".to_owned(), Vec::new());
    factory.register(kind).unwrap();
    let names: Vec<&str> = factory.kinds().map(|kind| kind.name.as_str()).collect();
    assert!(
        names.is_sorted() && names.contains(&"other") && !names.contains(&"memory"),
        "{names:?}"
    );
}

#[test]
fn keys_are_not_shown() {
    let table =
        json!({ "driver": "s3", "region": "r", "bucket": "b", "accesskey": "AKEY", "secretkey": "hidden" });
    let driver = Factory::builtin().open(table.as_object().unwrap()).unwrap();
    assert!(!format!("{driver:?}").contains("hidden"));
}
