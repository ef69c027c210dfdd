//! The JSON schema of `plugin.toml`, for editors: what the loader takes, and what it refuses, is the same to both.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::{MANIFEST, parse};

/// Says of each document what is wrong with it, if something is.
const VALIDATE: &str = "
import json, sys, jsonschema
given = json.load(sys.stdin)
jsonschema.Draft7Validator.check_schema(given['schema'])
validator = jsonschema.Draft7Validator(given['schema'])
json.dump([[error.message for error in validator.iter_errors(document)] for document in given['documents']], sys.stdout)
";

/// What the schema finds in each text; nothing without a program to ask.
fn validate(texts: &[String]) -> Option<Vec<Vec<String>>> {
    if !transom_tests::needs::require_library("python3-jsonschema") {
        return None;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let schema = fs::read_to_string(root.join("docs/formats/plugin.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let documents: Vec<Value> = texts.iter().map(|text| toml::from_str(text).unwrap()).collect();
    // Debian's, of which the library is.
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", VALIDATE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let given = json!({ "schema": schema, "documents": documents }).to_string();
    child.stdin.take().unwrap().write_all(given.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn every_plugin_of_ours_conforms() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
    let files: Vec<_> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path().join("plugin.toml"))
        .filter(|file| file.is_file())
        .collect();
    assert!(files.len() > 10);
    let texts: Vec<String> = files
        .iter()
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    for (file, errors) in files.iter().zip(validate(&texts).unwrap_or_default()) {
        assert!(errors.is_empty(), "{}: {errors:?}", file.display());
    }
}

/// The manifest of a filter and of a driver.
const FILTER: &str =
    "name = \"f\"\nversion = \"1.0.0\"\nkind = \"filter\"\nworld = \"transom:filter/label-filter@0.1.0\"\n";
const DRIVER: &str = "name = \"d\"\nversion = \"1.0.0\"\nkind = \"driver\"\nworld = \"transom:storage/storage-driver@0.1.0\"\ncapabilities = [\"http\", \"secrets\"]\n";

#[test]
fn what_the_loader_takes_the_schema_takes() {
    let texts = [
        MANIFEST.to_owned(),
        FILTER.to_owned(),
        format!(
            "{DRIVER}[secrets.token]\ndoc = \"x\"\nrequired = true\n[limits]\nmemory_mib = 128\nratio = 5\n"
        ),
        format!(
            "description = \"d\"\nlicense = \"MIT\"\ncomponent = \"c.wasm\"\n{MANIFEST}{}{}{}",
            "[config.a]\ntype = \"number\"\ndefault = 1\ndoc = \"x\"\n",
            "[config.b]\ntype = \"texts\"\ndefault = [\"x\"]\ndoc = \"x\"\n",
            "[config.c]\ntype = \"text\"\nrequired = true\ndoc = \"x\"\n",
        ),
    ];
    for (text, errors) in texts.iter().zip(validate(&texts).unwrap_or_default()) {
        parse(text).unwrap();
        assert!(errors.is_empty(), "{text}: {errors:?}");
    }
}

#[test]
fn what_the_loader_refuses_the_schema_refuses() {
    let key = |text: &str| format!("{MANIFEST}[config.a]\ndoc = \"x\"\n{text}\n");
    let without = |line: &str| MANIFEST.replacen(line, "", 1);
    let texts = [
        without("name = \"guest\"\n"),
        without("version = \"0.1.0\"\n"),
        without("kind = \"processor\"\n"),
        without("world = \"transom:processor/processor@0.1.0\"\n"),
        MANIFEST.split("converts").next().unwrap().to_owned(),
        MANIFEST.replace("\"processor\"", "\"stage\""),
        MANIFEST.replace("returns", "gives"),
        format!("colour = \"red\"\n{MANIFEST}"),
        format!("component = \"../c.wasm\"\n{MANIFEST}"),
        format!("component = \".c.wasm\"\n{MANIFEST}"),
        format!("capabilities = [\"http\"]\n{MANIFEST}"),
        format!("capabilities = [\"keys\"]\n{FILTER}"),
        format!("converts = [{{ accepts = \"a/b\", returns = \"c/d\" }}]\n{FILTER}"),
        format!("{FILTER}[config.a]\ntype = \"text\"\ndoc = \"x\"\n"),
        format!("converts = [{{ accepts = \"a/b\", returns = \"c/d\" }}]\n{DRIVER}"),
        format!("{DRIVER}[config.inner]\ntype = \"text\"\ndoc = \"x\"\n"),
        format!("{DRIVER}[secrets.hosts]\ndoc = \"x\"\n"),
        format!(
            "{}[secrets.a]\ndoc = \"x\"\n",
            DRIVER.replace(", \"secrets\"", "")
        ),
        format!("{MANIFEST}[secrets.a]\ndoc = \"x\"\n"),
        key("type = \"colour\""),
        key(""),
        key("type = \"integer\"\ndefault = \"1\""),
        key("type = \"boolean\"\ndefault = 1"),
        key("type = \"texts\"\ndefault = \"x\""),
        key("type = \"text\"\ndefault = \"x\"\nrequired = true"),
        key("type = \"text\"\nwhat = 1"),
        format!("{MANIFEST}[config.a]\ntype = \"text\"\n"),
        format!("{MANIFEST}[limits]\nmemory = 1\n"),
        format!("{MANIFEST}[limits]\nmemory_mib = -1\n"),
        format!("{MANIFEST}[limits]\ncpu_seconds = 1.5\n"),
    ];
    for text in &texts {
        assert!(parse(text).is_err(), "the loader takes it: {text}");
    }
    for (text, errors) in texts.iter().zip(validate(&texts).unwrap_or_default()) {
        assert!(!errors.is_empty(), "the schema takes it: {text}");
    }
}
