//! The program as a person or a service manager runs it.

use crate::program::{Program, command, failed, good};

#[test]
fn the_default_file_is_right_by_its_own_check() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = good(
        &command(folder.path())
            .args(["config", "default"])
            .output()
            .expect("it runs"),
    );
    let file = folder.path().join("config.toml");
    std::fs::write(&file, &text).expect("a file");
    let checked = command(folder.path())
        .args(["config", "check"])
        .arg(&file)
        .output()
        .expect("it runs");
    assert_eq!(good(&checked), format!("{}: good\n", file.display()));
    std::fs::write(&file, text.replace("sharing", "shring")).expect("a file");
    let checked = command(folder.path())
        .args(["config", "check"])
        .arg(&file)
        .output()
        .expect("it runs");
    let error = failed(&checked);
    let line = 1 + text
        .lines()
        .position(|line| line.starts_with("sharing"))
        .expect("it is there");
    assert!(
        error.contains(&format!("line {line}: unknown key `shring` in [metadata]")),
        "{error}"
    );
}

#[test]
fn flags_win_over_the_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("config.toml");
    let socket = folder.path().join("chosen.sock");
    let text = "root = \"/nonexistent/root\"\naddress = \"/nonexistent/sock\"\n[log]\nlevel = \"error\"\n";
    std::fs::write(&file, text).expect("a file");
    let file = file.to_string_lossy().into_owned();
    let address = socket.to_string_lossy().into_owned();
    let program = Program::in_folder(
        folder,
        &["--config", &file, "--address", &address, "--log-level", "info"],
    );
    assert!(socket.exists());
    program.stop();
    assert!(!socket.exists());
}

#[test]
fn a_file_that_is_named_must_be_there_and_right() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let missing = command(folder.path())
        .args(["--config", "/nonexistent.toml"])
        .output()
        .expect("it runs");
    assert!(failed(&missing).contains("cannot read /nonexistent.toml"));
    let file = folder.path().join("config.toml");
    std::fs::write(&file, "\nrot = 1\n").expect("a file");
    let wrong = command(folder.path())
        .arg("--config")
        .arg(&file)
        .output()
        .expect("it runs");
    assert!(failed(&wrong).contains("line 2: unknown key `rot`"));
}

#[test]
fn the_second_daemon_says_who_holds_the_root() {
    let program = Program::start(&[]);
    let second = command(program.folder.path()).output().expect("it runs");
    let text = failed(&second);
    let held = format!("is in use by another transomd (pid {})", program.child.id());
    assert!(text.contains(&held), "{text}");
    program.stop();
}

/// The lines of a request carry its number, and two requests have two.
#[tokio::test(flavor = "multi_thread")]
async fn lines_of_the_log_say_which_request_they_belong_to() {
    for format in ["text", "json"] {
        let program = Program::start(&["--log-format", format, "--log-level", "debug"]);
        for _ in 0..2 {
            let channel = crate::rig::channel(&program.socket()).await;
            let mut version = transom_api::version::version_client::VersionClient::new(channel);
            version.version(()).await.expect("a version");
        }
        let (_, log) = program.stop();
        let mut requests = std::collections::BTreeSet::new();
        for line in log.lines().filter(|line| line.contains("answered")) {
            assert!(
                line.contains("/containerd.services.version.v1.Version/Version"),
                "{line}"
            );
            let id = if format == "json" {
                let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
                line["span"]["id"].to_string()
            } else {
                let (_, id) = line.split_once("rpc{id=").expect(line);
                id.split(' ').next().expect("a number").to_owned()
            };
            requests.insert(id.parse::<u64>().expect(&id));
        }
        assert_eq!(requests.len(), 2, "{log}");
    }
}

#[test]
fn lines_of_the_log_can_be_json() {
    let program = Program::start(&["--log-format", "json", "--log-level", "debug"]);
    let (_, log) = program.stop();
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines.len() >= 2, "{log}");
    for line in lines {
        let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert!(
            value["level"].is_string() && value["timestamp"].is_string(),
            "{line}"
        );
    }
}

#[test]
fn a_killed_daemon_leaves_nothing_in_the_way_of_the_next() {
    let mut program = Program::start(&[]);
    program.child.kill().expect("it runs");
    program.child.wait().expect("it ends");
    let socket = program.socket();
    assert!(socket.exists(), "nobody has removed it");
    let folder = std::mem::replace(
        &mut program.folder,
        tempfile::tempdir().expect("a temporary folder"),
    );
    Program::in_folder(folder, &[]).stop();
    assert!(!socket.exists());
}
