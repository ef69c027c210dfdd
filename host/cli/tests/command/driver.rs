//! Storage drivers through the command.

use serde_json::Value;

use crate::support::{OTHER, USAGE, run};

#[test]
fn drivers_are_listed_with_their_parameters() {
    let text = run(["driver", "list"]).ok();
    for name in [
        "filesystem",
        "inmemory",
        "s3",
        "gcs",
        "azure",
        "limit",
        "retry",
        "cache",
        "readonly",
    ] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name}: {text}");
    }
    assert!(!text.contains("rootdirectory"), "{text}");
    let text = run(["driver", "ls", "s3aws"]).ok();
    assert!(text.contains("bucket") && text.contains("chunksize"), "{text}");
    let document = run(["--json", "driver", "ls", "filesystem"]).json();
    assert_eq!(document["parameters"][0]["name"], "rootdirectory");
    run(["driver", "ls", "filesytem"]).fails(USAGE, &["\"filesytem\"", "did you mean \"filesystem\"?"]);
}

#[test]
fn a_folder_is_checked_and_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine"), "mine").unwrap();
    let root = format!("rootdirectory={}", folder.path().display());
    let arguments = ["driver", "check", "filesystem", "--param", &root, "--quick"];
    let cases = ["--case", "put_and_get", "--case", "reopen", "--case", "redirect"];
    let text = run(arguments.iter().chain(&cases)).ok();
    let outcomes: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(outcomes, ["passed", "skipped", "passed"], "{text}");
    assert_eq!(names(folder.path()), ["mine", "transom-conformance", "~transom"]);
    assert_eq!(
        std::fs::read_dir(folder.path().join("transom-conformance"))
            .unwrap()
            .count(),
        0
    );
}

fn names(folder: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_stack_from_a_file_passes_everything() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("storage.toml");
    std::fs::write(&config, "driver = \"retry\"\n[inner]\ndriver = \"memory\"\n").unwrap();
    let text = run([
        "--json",
        "driver",
        "check",
        "--quick",
        "--config",
        &config.display().to_string(),
    ])
    .ok();
    let outcomes: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(outcomes.len() > 30);
    assert!(outcomes.iter().all(|case| case["outcome"] != "failed"), "{text}");
}

#[test]
fn what_a_driver_does_not_do_is_told() {
    let inner = "inner={ driver = \"memory\" }";
    let done = run([
        "driver",
        "check",
        "readonly",
        "--param",
        inner,
        "--quick",
        "--case",
        "put_and_get",
    ]);
    assert_eq!(done.code, Some(4), "{}", done.stderr);
    assert!(done.stderr.contains("1 of 1 cases"), "{}", done.stderr);
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(
        text.starts_with("FAILED   put_and_get") && text.contains("read-only"),
        "{text}"
    );
}

#[test]
fn mistakes_are_told_before_anything_is_done() {
    run(["driver", "check", "memory", "--param", "maxbites=1"]).fails(USAGE, &["did you mean \"maxbytes\"?"]);
    run(["driver", "check", "memory", "--case", "nothing"]).fails(USAGE, &["\"nothing\"", "put_and_get"]);
    run(["driver", "check", "memory", "--folder", "/"]).fails(USAGE, &["the root"]);
    run([
        "driver",
        "check",
        "filesystem",
        "--param",
        "rootdirectory=/dev/null/x",
    ])
    .fails(OTHER, &["/dev/null/x"]);
}

/// The folder of a plugin that is built, as an argument.
fn built(name: &str) -> Option<String> {
    let component = transom_tests::plugin(name)?;
    Some(component.parent().unwrap().display().to_string())
}

pub(crate) const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

#[test]
fn a_plugin_is_listed_and_looked_at_as_a_driver() {
    let Some(encrypt) = built("encrypt") else {
        return;
    };
    let text = run(["driver", "list", "--plugin", &encrypt]).ok();
    let line = text.lines().find(|line| line.starts_with("encrypt")).unwrap();
    assert!(
        line.contains("(plugin 0.1.0)") && line.contains("(stands on another)"),
        "{line}"
    );
    let text = run(["driver", "ls", "encrypt", "--plugin", &encrypt]).ok();
    assert!(text.contains("masterkeys") && text.contains("required"), "{text}");
    let text = run(["plugin", "inspect", &encrypt]).ok();
    assert!(
        text.contains("asks for  keys") && text.contains("masterkeys"),
        "{text}"
    );
    let document = run(["--json", "plugin", "inspect", &encrypt]).json();
    assert_eq!(document["capabilities"], serde_json::json!(["inner", "keys"]));
    run(["driver", "ls", "encript", "--plugin", &encrypt]).fails(USAGE, &["did you mean \"encrypt\"?"]);
    run(["driver", "ls", "--plugin", "/nothing/there"]).fails(crate::support::NOT_FOUND, &["/nothing/there"]);
}

#[test]
fn a_stack_of_plugins_over_a_folder_is_checked() {
    let (Some(encrypt), Some(_)) = (built("encrypt"), built("compress")) else {
        return;
    };
    // A folder of plugins' folders: those that are no drivers are left alone.
    let plugins = std::path::Path::new(&encrypt)
        .parent()
        .unwrap()
        .display()
        .to_string();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("storage.toml");
    let store = folder.path().join("store");
    let table = format!(
        "driver = \"encrypt\"\nmasterkeys = \"{KEY}\"\n[inner]\ndriver = \"compress\"\n[inner.inner]\n\
         driver = \"filesystem\"\nrootdirectory = \"{}\"\n",
        store.display()
    );
    std::fs::write(&config, table).unwrap();
    let config = config.display().to_string();
    let arguments = [
        "driver", "check", "--quick", "--config", &config, "--plugin", &plugins,
    ];
    let cases = [
        "--case",
        "put_and_get",
        "--case",
        "reopen",
        "--case",
        "append_committed",
    ];
    let text = run(arguments.iter().chain(&cases)).ok();
    assert_eq!(
        text.lines().filter(|line| line.starts_with("passed")).count(),
        3,
        "{text}"
    );
    std::fs::write(
        folder.path().join("wrong.toml"),
        "driver = \"encrypt\"\n[inner]\ndriver = \"memory\"\n",
    )
    .unwrap();
    let wrong = folder.path().join("wrong.toml").display().to_string();
    run(["driver", "check", "--config", &wrong, "--plugin", &plugins])
        .fails(USAGE, &["needs the parameter masterkeys"]);
}
