//! What a plugin gets: nothing that was not granted, and the refusal says what is missing.

use std::sync::Arc;

use serde_json::json;
use transom_plugin::storage::{Grants, Masters, OpenError};
use transom_plugin::{LoadError, Manifest};
use transom_storage::Memory;
use transom_storage::factory::Secret;
use transom_tests::needs;

use crate::support::{HOST, KEY, encrypted, factory, load, open};

#[test]
fn the_table_is_checked_by_what_the_manifest_declares() {
    let Some((factory, _)) = factory(&["encrypt"]) else {
        return;
    };
    let says = |table: serde_json::Value| match open(&factory, &table) {
        Ok(driver) => panic!("{driver:?}"),
        Err(error) => error.to_string(),
    };
    let inner = json!({ "driver": "same" });
    let no_keys = says(json!({ "driver": "encrypt", "inner": inner }));
    assert!(no_keys.contains("needs the parameter masterkeys"), "{no_keys}");
    let no_inner = says(json!({ "driver": "encrypt", "masterkeys": KEY }));
    assert!(no_inner.contains("inner = {"), "{no_inner}");
    let wrong_key = says(json!({ "driver": "encrypt", "masterkeys": "00ff", "inner": inner }));
    assert!(
        wrong_key.contains("openssl rand -hex 32") && !wrong_key.contains("00ff"),
        "{wrong_key}"
    );
    let mut unknown = encrypted(&inner);
    unknown["masterkey"] = json!(KEY);
    let unknown = says(unknown);
    assert!(unknown.contains("did you mean \"masterkeys\"?"), "{unknown}");
}

#[test]
fn without_a_grant_a_driver_is_not_opened() {
    let Some(plugin) = load("encrypt") else {
        return;
    };
    let says = |grants: Grants| match plugin.open(grants) {
        Err(error @ OpenError::NotGranted { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let masters = Masters::parse(&[Secret::new(KEY)]).unwrap();
    let no_inner = says(Grants {
        masters,
        ..Grants::default()
    });
    assert!(
        no_inner.contains("\"inner\"") && no_inner.contains("inner = { driver = "),
        "{no_inner}"
    );
    let no_keys = says(Grants {
        inner: Some(Arc::new(Memory::default())),
        ..Grants::default()
    });
    assert!(
        no_keys.contains("\"keys\"") && no_keys.contains("masterkeys = { file = "),
        "{no_keys}"
    );
}

#[test]
fn a_power_that_the_manifest_does_not_ask_for_is_not_had() {
    let Some(file) = needs::plugin("encrypt") else {
        return;
    };
    let bytes = std::fs::read(&file).unwrap();
    let text = std::fs::read_to_string(file.with_file_name("plugin.toml")).unwrap();
    let text = text.replace("[\"inner\", \"keys\"]", "[\"inner\"]");
    let manifest = Manifest::parse(&text, &file).unwrap();
    match HOST.load_driver_bytes(&bytes, Some(manifest)) {
        Err(LoadError::NotGranted { asked, hint }) => {
            assert!(
                asked.contains("keys") && hint.contains("capabilities = [\"keys\""),
                "{asked} {hint}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_driver_is_not_taken_for_another_kind() {
    let Some(plugin) = load("encrypt") else {
        return;
    };
    assert_eq!((plugin.name(), plugin.stacks()), ("encrypt", true));
    assert!(
        plugin.imports().iter().all(|import| !import.contains("http")),
        "{:?}",
        plugin.imports()
    );
    let folder = needs::plugin("encrypt").unwrap();
    assert!(matches!(HOST.load(&folder), Err(LoadError::MissingExport { .. })));
    assert!(matches!(
        HOST.load_filter(&folder),
        Err(LoadError::MissingExport { .. })
    ));
    let Some(filter) = needs::plugin("semver") else {
        return;
    };
    assert!(matches!(
        HOST.load_driver(&filter),
        Err(LoadError::MissingExport { .. })
    ));
}
