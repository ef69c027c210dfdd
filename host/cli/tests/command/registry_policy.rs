//! The registry's files through the command: policies, and docker-registry's configuration.

use crate::support::{REFUSED, USAGE, run};

#[test]
fn a_policy_is_checked_and_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.toml");
    let rules = "[[rules]]\nrepositories = [\"team/**\"]\nwho = [\"user:alice\"]\nallow = [\"pull\"]\n";
    std::fs::write(&path, rules).unwrap();
    let file = path.to_str().unwrap();
    let check = ["registry", "policy", "check", file];
    let ask = |more: &[&str]| run(check.iter().chain(more));
    assert_eq!(ask(&[]).ok(), format!("{file}: good\n"));
    assert_eq!(
        ask(&["--as", "alice", "pull", "team/app"]).ok(),
        "allowed by the rule in line 1\n"
    );
    let document = run(["--json"]
        .iter()
        .chain(&check)
        .chain(&["--as", "alice", "pull", "team/app"]))
    .json();
    assert_eq!(
        (document["allowed"].as_bool(), document["line"].as_u64()),
        (Some(true), Some(1))
    );
    ask(&["--as", "alice", "push", "team/app"]).fails(REFUSED, &["in line 1, does not allow it"]);
    ask(&["pull", "team/app"]).fails(REFUSED, &["no rule is about this"]);
    ask(&["--as", "alice", "pul", "team/app"]).fails(USAGE, &["did you mean `pull`?"]);
    assert_eq!(ask(&["--as", "alice"]).code, Some(USAGE));

    std::fs::write(&path, "[[rules]]\nwho = [\"alice\"]\nallow = [\"admn\"]\n").unwrap();
    ask(&[]).fails(
        USAGE,
        &[
            "line 2: \"alice\" is nobody",
            "line 3: \"admn\"",
            "did you mean `admin`?",
        ],
    );
}

#[test]
fn docker_registrys_configuration_becomes_one_that_is_good() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yml");
    let yaml =
        "version: 0.1\nstorage: {filesystem: {rootdirectory: /r}}\nhttp: {addr: \":5000\", prefix: /p}\n";
    std::fs::write(&path, yaml).unwrap();
    let file = path.to_str().unwrap();
    let import = [
        "registry",
        "import-config",
        file,
        "--variable",
        "REGISTRY_LOG_LEVEL=debug",
    ];
    let done = run(import);
    assert!(
        done.stderr.contains("not translated: line 3: http.prefix: "),
        "{}",
        done.stderr
    );
    let toml = done.ok();
    assert!(
        toml.contains("listen = \"[::]:5000\"") && toml.contains("level = \"debug\""),
        "{toml}"
    );
    let made = folder.path().join("registry.toml");
    std::fs::write(&made, toml).unwrap();
    run(["registry", "check", made.to_str().unwrap()]).ok();
    let document = run(["--json"].iter().chain(&import)).json();
    assert_eq!(document["untranslated"][0]["key"], "http.prefix");

    std::fs::write(&path, "version: 0.1\nstorage: [\n").unwrap();
    run(["registry", "import-config", file]).fails(USAGE, &["config.yml: line ", "no YAML"]);
    let done = run(["registry", "import-config", "--variable", "X=1"]);
    assert_eq!(done.code, Some(USAGE));
    assert!(done.stderr.contains("REGISTRY_NAME=VALUE"));
}
