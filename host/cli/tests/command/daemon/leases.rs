//! `transom lease`.

use super::rig::{Rig, on_both, shape};
use crate::support::{NOT_FOUND, OTHER, USAGE};

on_both!(
    leases_are_made_listed_and_removed,
    a_lease_keeps_what_it_is_told_to,
);

fn leases_are_made_listed_and_removed(rig: &Rig) {
    let made = rig.one(&["lease", "create", "--id", "one", "--expires", "90m", "what=this"]);
    assert_eq!(shape(&made), "{created id labels}");
    assert_eq!(made["labels"]["what"], "this");
    let id = rig.ok(&["leases", "create", "-x", "0"]);
    assert_eq!(rig.one(&["lease", "ls", "labels.what==this"]), made);
    let listed = rig.json(&["leases", "list"]);
    assert_eq!(listed.len(), 2);
    assert!(
        rig.json(&["lease", "ls", &format!("id=={}", id.trim())])[0]["labels"]
            .as_object()
            .unwrap()
            .is_empty()
    );
    let table = rig.ok(&["lease", "ls"]);
    assert!(table.contains("1 hour") && table.contains("what=this"), "{table}");
    assert_eq!(rig.ok(&["lease", "ls", "-q", "id==one"]), "one\n");

    rig.run(&["lease", "create", "--id", "one"])
        .fails(OTHER, &["lease \"one\": already exists"]);
    rig.run(&["lease", "create", "-x", "soon"]);
    rig.run(&["lease", "ls", "id=one"])
        .fails(USAGE, &["unsupported operator"]);
    let done = rig.run(&["lease", "rm", "none", "one", id.trim()]);
    assert_eq!(String::from_utf8_lossy(&done.stdout), format!("one\n{id}"));
    done.fails(NOT_FOUND, &["lease \"none\": not found"]);
    assert_eq!(rig.ok(&["lease", "ls", "-q"]), "");
}

fn a_lease_keeps_what_it_is_told_to(rig: &Rig) {
    let digest = rig.ingest(b"kept");
    let first = rig.ok(&["lease", "ls", "-q"]);
    rig.ok(&["lease", "create", "--id", "keeper"]);
    rig.ok(&["lease", "resources", "add", "keeper", "content", &digest]);
    let resource = rig.one(&["lease", "resource", "ls", "keeper"]);
    assert_eq!(shape(&resource), "{id type}");
    assert_eq!(
        (&resource["type"], &resource["id"]),
        (&"content".into(), &digest.as_str().into())
    );
    rig.ok(&["lease", "rm", "--sync", first.trim()]);
    assert_eq!(rig.ok(&["content", "ls", "-q"]).trim(), digest);
    rig.ok(&["lease", "resources", "rm", "keeper", "content", &digest]);
    rig.ok(&["gc", "run"]);
    assert_eq!(rig.ok(&["content", "ls", "-q"]), "");

    rig.run(&["lease", "resources", "add", "none", "content", &digest])
        .fails(NOT_FOUND, &["none"]);
    rig.run(&["lease", "resources", "add", "keeper", "strange", "x"])
        .fails(OTHER, &["resource type strange not supported yet"]);
}
