//! `transom plugin status`, `grants` and `reload`.

use transom_tests::needs::plugin;

use super::rig::Rig;
use crate::support::{NOT_FOUND, USAGE, run};

#[test]
fn a_daemon_takes_what_its_configuration_has_now_and_shows_how_it_does() {
    let Some(semver) = plugin("semver") else { return };
    let rig = Rig::transomd();
    assert_eq!(rig.ok(&["plugin", "reload"]), "nothing has changed\n");
    assert_eq!(rig.ok(&["plugin", "status"]), "");
    let folder = semver.parent().unwrap().display();
    let good = format!("[filters]\nfolders = [\"{folder}\"]\n[limits]\ndiffs = 7\n");
    rig.file("config.toml", good.as_bytes());
    let text = rig.ok(&["plugin", "reload"]);
    assert_eq!(text, "in force now: filters\nafter a restart: limits\n");
    assert_eq!(rig.one(&["plugin", "reload"])["restart"][0], "limits");

    rig.ok(&["image", "ls", "wasm.semver==\"labels.version >= 1.2\""]);
    let one = rig.one(&["plugin", "status", "semver"]);
    assert_eq!(
        (one["name"].as_str(), one["kind"].as_str()),
        (Some("semver"), Some("filter"))
    );
    assert!(one["calls"]["ok"].as_u64().unwrap() >= 1, "{one}");
    assert_eq!(
        (&one["breaker"]["state"], &one["running"]),
        (&"closed".into(), &0.into())
    );
    let text = rig.ok(&["plugin", "status"]);
    assert!(
        text.starts_with("semver ") && text.contains("in use for"),
        "{text}"
    );
    assert!(text.contains(&format!("from      {folder}")), "{text}");
    let grants = rig.ok(&["plugin", "grants", "semver"]);
    assert!(grants.contains("asks for nothing"), "{grants}");

    rig.file("config.toml", b"[filters]\nfolder = []\n");
    let failed = rig.run(&["plugin", "reload"]);
    failed.fails(USAGE, &["line 2: unknown key `folder`", "nothing was changed"]);
    rig.ok(&["plugin", "status", "semver"]);
    rig.run(&["plugin", "status", "none"]).fails(NOT_FOUND, &["none"]);
}

#[test]
fn powers_are_looked_up_in_files_without_a_daemon() {
    let Some(sealed) = plugin("ocicrypt") else { return };
    let folder = sealed.parent().unwrap().display().to_string();
    let files = tempfile::tempdir().unwrap();
    let config = files.path().join("config.toml");
    std::fs::write(&config, "[log]\nlevel = \"info\"\n").unwrap();
    let config = config.display().to_string();
    let ask = |json: &[&str]| {
        let arguments = ["plugin", "grants", &folder, "--config", &config];
        run([json, &arguments].concat()).ok()
    };
    let missing = ask(&[]);
    assert!(missing.contains("asked for, not granted"), "{missing}");
    assert!(
        missing.contains("ocicrypt = [\"/etc/transom/keys\"]"),
        "{missing}"
    );
    std::fs::write(&config, "[processors.keys]\nocicrypt = [\"/k\"]\n").unwrap();
    let granted: serde_json::Value = serde_json::from_str(&ask(&["--json"])).unwrap();
    assert_eq!(granted["grants"][0]["what"], "/k");
    assert_eq!(granted["grants"][0]["add"], "");
}
