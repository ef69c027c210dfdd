//! Help texts, versions, and command lines that make no sense.

use crate::support::{USAGE, run};

const IMAGE_FLAGS: [&str; 5] = [
    "--platform",
    "--plugin",
    "--plugin-config",
    "--processor",
    "IMAGE",
];

/// Every command with the flags and arguments that its help must explain.
fn commands() -> Vec<(&'static str, Vec<&'static str>)> {
    let unpack = [
        "--payload",
        "--owner",
        "--max-layer-size",
        "--max-ratio",
        "--max-entries",
        "--keep-partial",
        "--progress",
        "DIR",
    ];
    vec![
        ("", vec!["unpack", "inspect", "content", "plugin", "--version"]),
        ("unpack", [&IMAGE_FLAGS[..], &unpack[..]].concat()),
        ("inspect", IMAGE_FLAGS.to_vec()),
        ("content", vec!["ingest", "get", "ls", "active", "rm", "abort"]),
        (
            "content ingest",
            vec!["REF", "FILE", "--expected-size", "--expected-digest"],
        ),
        ("content get", vec!["DIGEST", "--verify"]),
        ("content ls", vec!["--quiet", "--verify"]),
        ("content active", vec!["TEXT"]),
        ("content rm", vec!["DIGEST"]),
        ("content abort", vec!["REF"]),
        ("plugin", vec!["inspect", "run"]),
        ("plugin inspect", vec!["FILE.wasm"]),
        ("driver", vec!["ls", "check"]),
        ("driver ls", vec!["NAME"]),
        (
            "driver check",
            vec!["NAME", "--param", "--config", "--folder", "--quick", "--case"],
        ),
        (
            "plugin run",
            vec![
                "FILE.wasm",
                "--media-type",
                "--config",
                "--annotation",
                "--payload",
            ],
        ),
    ]
}

#[test]
fn every_command_explains_itself() {
    for (command, mentions) in commands() {
        let words = command.split_whitespace();
        let long = run(words.clone().chain(["--help"])).ok();
        let short = run(words.chain(["-h"])).ok();
        for text in
            mentions
                .into_iter()
                .chain(["--json", "--root", "--log-level", "--help", "Usage: transom"])
        {
            assert!(
                long.contains(text),
                "`transom {command} --help` does not mention {text}"
            );
            assert!(
                short.contains(text),
                "`transom {command} -h` does not mention {text}"
            );
        }
    }
}

#[test]
fn the_version_is_the_packages() {
    assert_eq!(
        run(["--version"]).ok().trim(),
        format!("transom {}", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn a_command_line_that_makes_no_sense_is_a_usage_error() {
    for line in [
        "",
        "unpack",
        "unpack image",
        "unpack image dir more",
        "frobnicate",
        "content",
        "content get sha256:xyz",
        "content get",
        "content rm",
        "plugin",
        "unpack --no-such-flag dir",
        "unpack image --no-such-flag dir",
        "unpack image dir --max-ratio 0",
        "unpack image dir --max-layer-size 1KB",
        "unpack image dir --platform x",
        "unpack image dir --owner everybody",
        "--log-level loud content ls",
    ] {
        let done = run(line.split_whitespace());
        assert_eq!(done.code, Some(USAGE), "transom {line}: {}", done.stderr);
        assert!(
            done.stderr.contains("Usage") || done.stderr.contains("--help"),
            "transom {line}: {}",
            done.stderr
        );
    }
}
