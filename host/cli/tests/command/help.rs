//! Help texts, versions, and command lines that make no sense.

use crate::support::{USAGE, run};

const IMAGE_FLAGS: [&str; 6] = [
    "--platform",
    "--plugin",
    "--plugin-config",
    "--decryption-key",
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
        "--artifacts",
        "--keep-partial",
        "--progress",
        "DIR",
    ];
    vec![
        (
            "",
            vec![
                "unpack",
                "inspect",
                "content",
                "image",
                "lease",
                "namespace",
                "events",
                "gc",
                "plugin",
                "fsck",
                "version",
                "completion",
                "--version",
            ],
        ),
        ("unpack", [&IMAGE_FLAGS[..], &unpack[..]].concat()),
        ("inspect", IMAGE_FLAGS.to_vec()),
        (
            "content",
            vec![
                "ingest",
                "get",
                "ls",
                "active",
                "label",
                "edit",
                "rm",
                "abort",
                "prune",
                "fetch",
                "fetch-object",
                "push-object",
            ],
        ),
        (
            "content ingest",
            vec!["REF", "FILE", "--expected-size", "--expected-digest", "--lease"],
        ),
        ("content get", vec!["DIGEST", "--verify"]),
        ("content ls", vec!["--quiet", "--verify", "FILTER"]),
        ("content active", vec!["TEXT"]),
        ("content label", vec!["DIGEST", "KEY=VALUE"]),
        ("content edit", vec!["DIGEST", "--editor", "EDITOR"]),
        ("content prune references", vec!["--dry", "--async"]),
        (
            "image",
            vec!["ls", "get", "inspect", "check", "label", "tag", "rm", "images"],
        ),
        ("image ls", vec!["--quiet", "FILTER"]),
        ("image get", vec!["NAME"]),
        ("image inspect", vec!["NAME"]),
        ("image check", vec!["--quiet", "--snapshotter", "FILTER"]),
        ("image label", vec!["--replace-all", "NAME", "KEY=VALUE"]),
        ("image tag", vec!["--force", "NAME", "NEW_NAME"]),
        ("image rm", vec!["--sync", "NAME"]),
        ("lease", vec!["ls", "create", "rm", "resources", "leases"]),
        ("lease ls", vec!["--quiet", "FILTER"]),
        ("lease create", vec!["--id", "--expires", "KEY=VALUE"]),
        ("lease rm", vec!["--sync", "ID"]),
        ("lease resources", vec!["ls", "add", "rm"]),
        ("lease resources add", vec!["LEASE", "TYPE", "ID", "snapshots/"]),
        (
            "namespace",
            vec!["ls", "create", "label", "rm", "namespaces", "ns"],
        ),
        ("namespace ls", vec!["--quiet"]),
        ("namespace create", vec!["NAME", "KEY=VALUE"]),
        ("events", vec!["FILTER"]),
        ("gc", vec!["run", "status"]),
        ("plugin ls", vec!["--quiet", "--detailed", "FILTER"]),
        ("plugin status", vec!["NAME"]),
        ("plugin grants", vec!["NAME|FILE.wasm|DIR", "--config"]),
        ("fsck", vec!["--verify", "--repair"]),
        ("version", vec!["--address"]),
        ("completion", vec!["bash", "zsh", "fish"]),
        ("content rm", vec!["DIGEST"]),
        ("content abort", vec!["REF"]),
        (
            "plugin",
            vec!["new", "build", "test", "check", "inspect", "run", "ls"],
        ),
        ("plugin new", vec!["NAME", "--kind", "--lang", "--sdk"]),
        ("plugin build", vec!["DIR", "--out"]),
        ("plugin test", vec!["DIR", "--plugin"]),
        ("plugin check", vec!["FILE.wasm"]),
        (
            "plugin run",
            vec!["--config", "--annotation", "--payload", "--decryption-key"],
        ),
        (
            "plugin bench",
            vec!["FILE.wasm", "--input", "--size", "--chunk", "--rounds"],
        ),
        ("plugin inspect", vec!["FILE.wasm"]),
        (
            "content fetch",
            vec![
                "NAME",
                "--platform",
                "--all-platforms",
                "--label",
                "--local",
                "--plain-http",
            ],
        ),
        (
            "image pull",
            vec![
                "NAME",
                "--platform",
                "--no-unpack",
                "--snapshotter",
                "--local",
                "--hosts-dir",
                "--progress",
            ],
        ),
        (
            "image push",
            vec!["NAME", "IMAGE", "--platform", "--local", "--user"],
        ),
        ("content fetch-object", vec!["NAME", "--plain-http"]),
        ("content push-object", vec!["NAME", "FILE", "TYPE"]),
        (
            "image copy",
            vec!["SOURCE", "DESTINATION", "--platform", "--hosts-dir", "--progress"],
        ),
        ("registry", vec!["ls-tags", "referrers", "login", "logout"]),
        (
            "registry ls-tags",
            vec![
                "REPOSITORY",
                "--hosts-dir",
                "--skip-verify",
                "--user",
                "--authfile",
            ],
        ),
        ("registry referrers", vec!["NAME", "--artifact-type"]),
        ("registry login", vec!["HOST", "--username", "--password-stdin"]),
        ("registry logout", vec!["HOST", "--authfile"]),
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
        for text in mentions.into_iter().chain([
            "--json",
            "--root",
            "--address",
            "--namespace",
            "--log-level",
            "--help",
            "Usage: transom",
        ]) {
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
        "image",
        "image tag one",
        "image rm",
        "lease create -x soon",
        "lease resources add one content",
        "namespace create",
        "gc",
        "completion",
        "completion no-such-shell",
        "man",
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

#[test]
fn completions_know_every_noun() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(["completion", shell]).ok();
        for noun in ["content", "image", "lease", "namespace", "events", "gc", "plugin"] {
            assert!(script.contains(noun), "{shell} does not complete {noun}");
        }
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    run(["man", path]).ok();
    for (command, mentions) in commands() {
        let words: Vec<_> = ["transom"]
            .into_iter()
            .chain(command.split_whitespace())
            .collect();
        let page = std::fs::read_to_string(folder.path().join(format!("{}.1", words.join("-")))).unwrap();
        // In a page hyphens are escaped.
        let page = page.replace('\\', "");
        for text in mentions.into_iter().filter(|text| text.starts_with("--")) {
            assert!(page.contains(text), "{command}: {text}");
        }
    }
    run(["man", "/no/such/folder"]).fails(crate::support::NOT_FOUND, &["/no/such/folder"]);
}
