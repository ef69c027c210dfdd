//! The configuration file.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use transom_layer::exec::ExternalProcessor;
use transom_plugin::LimitsGiven;
use transom_plugin::config::Value;
use transomd::config::{Config, LogFormat, LogLevel, Snapshotter};
use transomd::places::Places;

fn user() -> Places {
    let variable = |name: &str| match name {
        "HOME" => Some("/home/a".into()),
        "XDG_RUNTIME_DIR" => Some("/run/user/7".into()),
        _ => None,
    };
    Places::of_user(variable).expect("HOME is set")
}

#[test]
fn what_is_printed_says_the_defaults() {
    for places in [Places::system(), user()] {
        let defaults = Config::defaults(&places);
        let other = Places {
            root: "/elsewhere".into(),
            ..Places::system()
        };
        let text = defaults.to_text();
        let read = Config::parse(&text, &other).expect("the printed file is right");
        assert_eq!(read, defaults, "{text}");
    }
}

#[test]
fn every_setting_is_written_as_it_is_read() {
    let mut config = Config::defaults(&Places::system());
    config.address = Some("/run/a \"quoted\".sock".into());
    config.proxy_backend = true;
    config.shutdown_timeout = Duration::from_millis(1500);
    config.socket.uid = Some(1000);
    config.socket.gid = Some(1001);
    config.socket.mode = 0o600;
    config.socket.allowed_uids = vec![1, 2];
    config.socket.allowed_gids = vec![3];
    config.log.level = LogLevel::Trace;
    config.log.format = LogFormat::Json;
    config.metadata.store = transom_meta::kv::Kind::Redb;
    config.metadata.sharing = transom_meta::metadata::Sharing::Isolated;
    config.metadata.grace = Duration::from_secs(90);
    config.metadata.ingest_expiry = Duration::from_nanos(7);
    config.gc.pause_threshold = 0.25;
    config.gc.deletion_threshold = 5;
    config.gc.mutation_threshold = 6;
    config.gc.schedule_delay = Duration::from_micros(8);
    config.gc.startup_delay = Duration::from_secs(7200);
    config.limits.writers = 9;
    config.limits.readers = 10;
    config.metrics = Some("[::1]:9090".parse().expect("an address"));
    config.traces.endpoint = Some("http://collector:4317".parse().expect("an address"));
    config.traces.share = 0.125;
    config.filters = vec![PathBuf::from("/a"), PathBuf::from("/b c")];
    config.limits.diffs = 11;
    config.diff.default = vec!["walking".to_owned(), "walking".to_owned()];
    config.diff.sync_fs = true;
    config.diff.output.bytes = 12;
    config.diff.output.ratio = 13;
    config.diff.max_entries = 14;
    config.diff.content_address = None;
    config.processors.folders = vec![PathBuf::from("/p")];
    config.plugins.policy = Some(PathBuf::from("/q"));
    config.plugins.breaker.crashes = 15;
    config.plugins.breaker.window = Duration::from_secs(16);
    config.plugins.breaker.pause = Duration::from_millis(17);
    let limits = LimitsGiven {
        memory_mib: Some(18),
        cpu: Some(Duration::from_secs(19)),
        stall: Some(Duration::from_secs(20)),
        wall: Some(Duration::from_secs(21)),
        output: Some(22),
        ratio: Some(23),
        log_lines: Some(24),
    };
    config.plugins.limits = BTreeMap::from([
        ("a b".to_owned(), limits),
        ("c".to_owned(), LimitsGiven::default()),
    ]);
    let values = [
        ("a", Value::Boolean(true)),
        ("b", Value::Integer(-1)),
        ("c", Value::Number(0.5)),
        ("d e", Value::Text("x \"y\"".to_owned())),
        ("f", Value::Texts(vec!["x".to_owned()])),
    ];
    let values = values.map(|(key, value)| (key.to_owned(), value));
    config.processors.config = BTreeMap::from([("xz".to_owned(), BTreeMap::from(values))]);
    // The order of the file is what counts, not that of the names.
    config.stream_processors = ["z", "a.b"].map(program).to_vec();
    config.snapshots.enabled = vec![Snapshotter::Native];
    config.snapshots.default = Snapshotter::Native;
    config.snapshots.overlayfs_root = Some(PathBuf::from("/c"));
    config.snapshots.overlayfs.mount_options = vec!["volatile".to_owned()];
    config.snapshots.overlayfs.slow_chown = true;
    config.snapshots.native_root = Some(PathBuf::from("/d"));
    config.snapshots.native.async_remove = true;
    let read = Config::parse(&config.to_text(), &Places::system()).expect("the written file is right");
    assert_eq!(read, config);
}

fn program(id: &str) -> ExternalProcessor {
    ExternalProcessor {
        id: id.to_owned(),
        accepts: vec!["a/b".to_owned(), "c/d".to_owned()],
        returns: "e/f".to_owned(),
        path: PathBuf::from("decoder"),
        args: vec!["--x=\"y\"".to_owned()],
        env: vec![("A".to_owned(), "b=c".to_owned())],
    }
}

#[test]
fn processors_are_written_as_in_containerds_file() {
    let text = "[stream_processors]\n[stream_processors.\"io.x\"]\naccepts = [\"a/b\"]\nreturns = \"c/d\"\npath = \"ctd-decoder\"\n\
                [processors.config.secrets]\nrefuse = true\n";
    let config = Config::parse(text, &Places::system()).expect("a right file");
    assert_eq!(config.stream_processors[0].id, "io.x");
    assert_eq!(config.stream_processors[0].path, PathBuf::from("ctd-decoder"));
    assert_eq!(
        config.processors.config["secrets"]["refuse"],
        Value::Boolean(true)
    );
    let wrong = "[stream_processors.x]\naccepts = [\"a/b\"]\nreturns = \"\"\nenv = [\"A\"]\ncolour = 1\n[diff]\ndefault = [\"erofs\"]\n";
    let mistakes = Config::parse(wrong, &Places::system()).expect_err("mistakes");
    let lines: Vec<usize> = mistakes.0.iter().map(|mistake| mistake.line).collect();
    assert_eq!(lines, [1, 3, 4, 5, 7], "{mistakes}");
    let text = mistakes.to_string();
    assert!(
        text.contains("[stream_processors.\"x\"] needs the key path"),
        "{text}"
    );
    assert!(text.contains("\"walking\""), "{text}");
}

#[test]
fn an_empty_file_changes_nothing() {
    let places = user();
    let read = Config::parse("", &places).expect("an empty file is right");
    assert_eq!(read, Config::defaults(&places));
    assert_eq!(read.root, PathBuf::from("/home/a/.local/share/transom"));
    assert_eq!(
        read.socket_path(),
        PathBuf::from("/run/user/7/transom/transom.sock")
    );
}

#[test]
fn the_socket_is_in_the_state_folder_unless_it_is_given() {
    let state = Config::parse("state = \"/s\"", &Places::system()).expect("a right file");
    assert_eq!(state.socket_path(), PathBuf::from("/s/transom.sock"));
    let both = Config::parse("state = \"/s\"\naddress = \"/t.sock\"", &Places::system());
    assert_eq!(
        both.expect("a right file").socket_path(),
        PathBuf::from("/t.sock")
    );
}

#[test]
fn without_a_home_there_are_no_places() {
    assert_eq!(Places::of_user(|_| None), None);
    assert_eq!(
        Places::of_user(|name| (name == "HOME").then(|| "relative".into())),
        None
    );
}

/// Each text with the lines of its mistakes and a part of what is said of each.
#[test]
fn every_mistake_is_named_with_its_line() {
    let table: &[(&str, &[(usize, &str)])] = &[
        (
            "rot = \"/a\"\n",
            &[(
                1,
                "unknown key `rot` at the top of the file; did you mean `root`?",
            )],
        ),
        (
            "[metadata]\nsharng = \"shared\"\nstore = \"bolt\"\n\n[gc]\nmutation_treshold = 3\n",
            &[
                (2, "unknown key `sharng` in [metadata]; did you mean `sharing`?"),
                (3, "store must be one of "),
                (6, "did you mean `mutation_threshold`?"),
            ],
        ),
        (
            "\n[zzzzzz]\na = 1\n",
            &[(2, "unknown key `zzzzzz` at the top of the file")],
        ),
        (
            "root = \"relative\"",
            &[(1, "root must be an absolute path in quotes")],
        ),
        ("root = 7", &[(1, "root must be an absolute path")]),
        (
            "socket = 7",
            &[(1, "socket must be a table, [socket], not a integer")],
        ),
        (
            "[socket]\nmode = 660",
            &[(2, "mode must be permissions in octal")],
        ),
        (
            "[socket]\nmode = \"0999\"",
            &[(2, "mode must be permissions in octal")],
        ),
        ("[socket]\nuid = -1", &[(2, "uid must be a number from 0")]),
        (
            "[socket]\nallowed_uids = [1, \"a\"]",
            &[(2, "allowed_uids must be a list whose item 2 is a number")],
        ),
        (
            "[gc]\npause_threshold = 0.6",
            &[(2, "pause_threshold must be a number from 0 to 0.5")],
        ),
        (
            "[gc]\nstartup_delay = 100",
            &[(2, "startup_delay must be a time in quotes")],
        ),
        (
            "[gc]\nstartup_delay = \"1 h\"",
            &[(2, "startup_delay must be a time in quotes")],
        ),
        (
            "[gc]\nstartup_delay = \"9999999999h\"",
            &[(2, "startup_delay must be a time")],
        ),
        (
            "[limits]\nwriters = 0",
            &[(2, "writers must be a whole number from 1 to 4096")],
        ),
        (
            "[metrics]\naddress = \"localhost\"",
            &[(2, "address must be an IP address and port")],
        ),
        (
            "[traces]\nendpoint = \"https://collector:4317\"\nshare = 1.5",
            &[
                (2, "endpoint must be a collector's address in quotes"),
                (3, "share must be a number from 0 to 1"),
            ],
        ),
        (
            "[log]\nlevel = \"loud\"",
            &[(2, "level must be one of \"trace\", \"debug\"")],
        ),
        (
            "a = = 1\n[log]\nlevel = 7\nb = ",
            &[(1, ""), (3, "level must be"), (4, "")],
        ),
    ];
    for (text, expected) in table {
        let mistakes = Config::parse(text, &Places::system())
            .expect_err("a wrong file")
            .0;
        for (line, part) in *expected {
            let found = mistakes
                .iter()
                .any(|m| m.line == *line && m.message.contains(part));
            assert!(
                found,
                "{text:?}: no mistake in line {line} with {part:?} in {mistakes:?}"
            );
        }
        let lines: Vec<usize> = mistakes.iter().map(|mistake| mistake.line).collect();
        assert!(lines.is_sorted(), "{lines:?}");
        assert!(
            mistakes
                .iter()
                .all(|m| expected.iter().any(|(line, _)| m.line == *line)),
            "{mistakes:?}"
        );
    }
}

#[test]
fn values_may_be_written_in_every_way_that_toml_has() {
    let text =
        "[socket]\nmode = 0o640\nuid = 0x10\n[gc]\npause_threshold = 0\nschedule_delay = \"1h2m3s4ms\"\n";
    let config = Config::parse(text, &Places::system()).expect("a right file");
    assert_eq!((config.socket.mode, config.socket.uid), (0o640, Some(16)));
    assert_eq!(config.gc.pause_threshold, 0.0);
    let delay = Duration::from_millis(((3600 + 2 * 60 + 3) * 1000) + 4);
    assert_eq!(config.gc.schedule_delay, delay);
}
