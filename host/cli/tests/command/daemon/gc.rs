//! `transom gc`, `transom plugin ls` and `transom version`: the daemon itself.

use super::rig::{Rig, on_both, shape};
use crate::support::USAGE;

on_both!(
    garbage_is_collected_and_counted,
    the_parts_are_listed,
    both_versions_are_said,
);

fn garbage_is_collected_and_counted(rig: &Rig) {
    let digest = rig.ingest(b"garbage");
    let lease = rig.ok(&["lease", "ls", "-q"]);
    rig.ok(&["lease", "rm", lease.trim()]);
    let done = rig.one(&["gc", "run"]);
    assert!(done["seconds"].as_f64().unwrap() >= 0.0);
    assert_eq!(rig.ok(&["content", "ls", "-q"]), "", "{digest} is garbage");
    assert_eq!(
        rig.ok(&["lease", "ls", "-q"]),
        "",
        "the lease that it took is gone"
    );
    assert!(rig.ok(&["gc", "run"]).starts_with("collected in "));

    let status = rig.one(&["gc", "status"]);
    assert_eq!(status["settings"]["MutationThreshold"], "100");
    assert_eq!(status["settings"]["ScheduleDelay"], "0s");
    let text = rig.ok(&["gc", "status"]);
    assert!(text.contains("PauseThreshold") && text.contains("0.02"), "{text}");
    if rig.is_containerd() {
        assert!(status["counted"].is_null());
        assert!(text.contains("not known"), "{text}");
    } else {
        assert!(
            status["counted"]["runs_total"].as_f64().unwrap() >= 2.0,
            "{status}"
        );
        assert!(text.contains("runs_total"), "{text}");
    }
}

fn the_parts_are_listed(rig: &Rig) {
    let one = rig.one(&["plugin", "ls", "type==io.containerd.content.v1, id==content"]);
    let platforms = if rig.is_containerd() { "" } else { "platforms:[]" };
    assert!(shape(&one).contains(platforms), "{one}");
    let mut keys: Vec<_> = one.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "capabilities",
            "error",
            "exports",
            "id",
            "platforms",
            "requires",
            "status",
            "type"
        ]
    );
    assert_eq!(
        (&one["status"], &one["error"]),
        (&"ok".into(), &serde_json::Value::Null)
    );
    assert!(rig.ok(&["plugins", "list"]).contains("io.containerd.metadata.v1"));
    let detail = rig.ok(&["plugin", "ls", "-d", "type==io.containerd.content.v1"]);
    assert!(detail.contains("exports") && detail.contains("root="), "{detail}");
    assert!(rig.ok(&["plugin", "ls", "-q"]).lines().any(|id| id == "content"));
    rig.run(&["plugin", "ls", "a=b"])
        .fails(USAGE, &["unsupported operator"]);
}

fn both_versions_are_said(rig: &Rig) {
    let said = rig.one(&["version"]);
    assert_eq!(
        shape(&said),
        "{client:{version} server:{pid revision uuid version}}"
    );
    assert_eq!(said["client"]["version"], env!("CARGO_PKG_VERSION"));
    let version = said["server"]["version"].as_str().unwrap();
    let uuid = said["server"]["uuid"].as_str().unwrap();
    let text = rig.ok(&["version"]);
    assert!(
        !version.is_empty() && text.contains(version) && text.contains(uuid),
        "{text}"
    );
}
