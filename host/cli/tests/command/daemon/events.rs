//! `transom events`.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::sync::mpsc::channel;

use rustix::process::Signal;
use serde_json::Value;

use super::rig::{Rig, on_both, shape};
use crate::support::{PATIENCE, signal, wait_until};

on_both!(what_changes_is_told_until_it_is_interrupted, a_bad_filter_ends_it);

fn what_changes_is_told_until_it_is_interrupted(rig: &Rig) {
    let mut command = rig.command(&[
        "--json",
        "events",
        r#"topic=="/namespaces/create",event.name==one"#,
        r#"topic=="/namespaces/delete""#,
    ]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, lines) = channel();
    let output = BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || output.lines().for_each(|line| drop(sender.send(line.unwrap()))));
    // The daemon does not say when it has begun to tell.
    let mut first = None;
    wait_until("the first event is told", || {
        rig.ok(&["ns", "create", "other", "a=b"]);
        rig.ok(&["ns", "rm", "other"]);
        first = lines.try_recv().ok();
        first.is_some()
    });
    let first: Value = serde_json::from_str(&first.unwrap()).unwrap();
    assert_eq!(shape(&first), "{event:{name} namespace timestamp topic type}");
    assert_eq!(
        (&first["topic"], &first["event"]["name"]),
        (&"/namespaces/delete".into(), &"other".into())
    );

    rig.ok(&["ns", "create", "one", "a=b"]);
    let created = loop {
        let line: Value = serde_json::from_str(&lines.recv_timeout(PATIENCE).unwrap()).unwrap();
        if line["topic"] == "/namespaces/create" {
            break line;
        }
    };
    assert_eq!(
        created["event"],
        serde_json::json!({ "name": "one", "labels": { "a": "b" } })
    );
    assert_eq!(created["type"], "containerd.events.NamespaceCreate");
    signal(&child, Signal::INT);
    let status = child.wait().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(status.success() && said.is_empty(), "{status}: {said}");
    reader.join().unwrap();
}

fn a_bad_filter_ends_it(rig: &Rig) {
    let done = rig.run(&["events", "a=b"]);
    assert_ne!(done.code, Some(0));
    assert!(done.stderr.contains("unsupported operator"), "{}", done.stderr);
}
