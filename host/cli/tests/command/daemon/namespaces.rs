//! `transom namespace`, and working in one.

use super::rig::{Rig, on_both, shape};
use crate::support::{Done, NOT_FOUND, OTHER, USAGE};

on_both!(
    namespaces_are_made_labelled_and_removed,
    what_is_in_one_is_not_in_another,
);

fn namespaces_are_made_labelled_and_removed(rig: &Rig) {
    let made = rig.one(&["namespace", "create", "one", "a=b"]);
    assert_eq!(shape(&made), "{labels name}");
    rig.run(&["ns", "create", "one"])
        .fails(OTHER, &["namespace \"one\": already exists"]);
    rig.run(&["ns", "create", "not good"])
        .fails(USAGE, &["must match"]);
    let labelled = rig.one(&["namespaces", "label", "one", "a=", "c=d"]);
    assert_eq!(
        labelled,
        serde_json::json!({ "name": "one", "labels": { "c": "d" } })
    );
    assert_eq!(rig.json(&["ns", "ls"]), [labelled]);
    assert_eq!(rig.ok(&["ns", "label", "one"]), "one c=d\n");
    assert_eq!(rig.ok(&["ns", "ls"]), "NAME   LABELS\none    c=d\n");
    let done = rig.run(&["ns", "rm", "none", "one"]);
    assert_eq!(done.stdout, b"one\n");
    done.fails(NOT_FOUND, &["namespace \"none\": not found"]);
    assert_eq!(rig.ok(&["ns", "ls", "-q"]), "");
}

fn what_is_in_one_is_not_in_another(rig: &Rig) {
    let digest = rig.ingest(b"mine");
    rig.run(&["-n", "other", "content", "get", &digest])
        .fails(NOT_FOUND, &[&digest]);
    let by_environment = |namespace: &str| {
        let mut command = rig.command(&["content", "ls", "-q"]);
        Done::from(command.env("CONTAINERD_NAMESPACE", namespace).output().unwrap()).ok()
    };
    assert_eq!(by_environment("other"), "");
    assert_eq!(by_environment("default").trim(), digest);
    assert_eq!(by_environment("").trim(), digest);
    rig.run(&["ns", "rm", "default"])
        .fails(OTHER, &["must be empty", "blobs"]);
    rig.run(&["-n", "", "content", "ls"])
        .fails(OTHER, &["namespace is required: failed precondition"]);
    rig.run(&["-n", "not good", "content", "ls"])
        .fails(USAGE, &["namespace validation"]);
}
