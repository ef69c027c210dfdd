//! Plugins that come and go while the daemon runs.

use serde_json::json;

use super::rig::Rig;
use crate::distribution::{plugin, spoiled};
use crate::support::{NOT_FOUND, USAGE};

#[test]
fn a_plugin_is_installed_replaced_taken_back_and_removed() {
    let rig = Rig::transomd();
    let folder = tempfile::tempdir().unwrap();
    let install = |version: &str| rig.one(&["plugin", "install", &plugin(folder.path(), version)]);
    let first = install("0.1.0");
    assert_eq!(
        (&first["name"], &first["version"]),
        (&json!("guest"), &json!("0.1.0"))
    );
    assert_eq!((&first["installed"], &first["error"]), (&json!(true), &json!("")));
    let second = install("0.2.0");
    assert_eq!(second["previous"]["digest"], first["digest"]);
    let text = rig.ok(&["plugin", "installed"]);
    assert!(text.contains("guest") && text.contains("0.2.0"), "{text}");

    // One that does not work replaces nothing, whatever its manifest says.
    let broken = spoiled(folder.path(), "0.3.0");
    rig.run(&["plugin", "install", &broken])
        .fails(USAGE, &["cannot describe itself"]);
    assert_eq!(rig.one(&["plugin", "installed"])["version"], "0.2.0");

    let back = rig.one(&["plugin", "rollback", "guest"]);
    assert_eq!(
        (&back["version"], &back["digest"]),
        (&json!("0.1.0"), &first["digest"])
    );
    rig.ok(&["plugin", "remove", "guest"]);
    assert!(rig.json(&["plugin", "installed"]).is_empty());
    rig.run(&["plugin", "remove", "guest"])
        .fails(NOT_FOUND, &["guest"]);
    rig.run(&["plugin", "rollback", "guest"])
        .fails(NOT_FOUND, &["guest"]);
}

#[test]
fn what_is_installed_is_there_after_a_restart() {
    let rig = Rig::transomd();
    let folder = tempfile::tempdir().unwrap();
    for version in ["0.1.0", "0.2.0"] {
        rig.ok(&["plugin", "install", &plugin(folder.path(), version)]);
    }
    let before = rig.one(&["plugin", "installed"]);
    let rig = Rig::transomd_in(rig.stop());
    // Also when what nothing needs was collected.
    rig.ok(&["gc", "run"]);
    assert_eq!(rig.one(&["plugin", "installed"]), before);
    assert_eq!(rig.one(&["plugin", "rollback", "guest"])["version"], "0.1.0");
    let nothing = tempfile::tempdir().unwrap();
    let missing = plugin(nothing.path(), "0.1.0");
    let trust = ["plugin", "install", &missing, "--trust", "x"];
    rig.run(&trust).fails(USAGE, &["its own matter"]);
}
