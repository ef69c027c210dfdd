//! The semver plugin on records, natively.

use plugin_semver::Semver;
use transom_sdk::Error;
use transom_sdk::testing::{TestRecord, select};

const VERSIONS: [&str; 12] = [
    "1.0.0",
    "v1.2",
    "1.2.5",
    "1.3.0-rc.1",
    "1.3.0",
    "1.10",
    "2",
    "2.1.0",
    "0.3.1",
    "0.4.0",
    "latest",
    "",
];

/// The versions for which an expression holds.
fn found(expression: &str) -> String {
    let records = VERSIONS.map(|version| TestRecord::new("content").label("version", version));
    let answers =
        select::<Semver>(expression, &records).unwrap_or_else(|error| panic!("{expression}: {error}"));
    let found = VERSIONS.iter().zip(answers).filter(|(_, found)| *found);
    found.map(|(version, _)| *version).collect::<Vec<_>>().join(" ")
}

#[test]
fn ranges_mean_what_they_mean_in_cargo() {
    for (range, expected) in [
        (">= 1.2", "v1.2 1.2.5 1.3.0 1.10 2 2.1.0"),
        (">=1.2, <2", "v1.2 1.2.5 1.3.0 1.10"),
        ("> 1.2", "1.3.0 1.10 2 2.1.0"),
        ("> 1.2.0", "1.2.5 1.3.0 1.10 2 2.1.0"),
        ("<= 1.2", "1.0.0 v1.2 1.2.5 0.3.1 0.4.0"),
        ("= 1.2", "v1.2 1.2.5"),
        ("== v1.2.0", "v1.2"),
        ("!= 1.2", "1.0.0 1.3.0-rc.1 1.3.0 1.10 2 2.1.0 0.3.1 0.4.0"),
        (">= 1, != 1.2, != 2.*", "1.0.0 1.3.0 1.10"),
        ("1.2", "v1.2 1.2.5 1.3.0 1.10"),
        ("^1.2", "v1.2 1.2.5 1.3.0 1.10"),
        ("~ ^1.2", "v1.2 1.2.5 1.3.0 1.10"),
        ("~1.2", "v1.2 1.2.5"),
        ("~ 1.2", "v1.2 1.2.5"),
        ("~ ~1.2", "v1.2 1.2.5"),
        ("~ *", "1.0.0 v1.2 1.2.5 1.3.0 1.10 2 2.1.0 0.3.1 0.4.0"),
        ("^0.3", "0.3.1"),
        ("1.*", "1.0.0 v1.2 1.2.5 1.3.0 1.10"),
        (">= 1.3.0-rc.0, <1.4", "1.3.0-rc.1 1.3.0"),
        ("~ ^1.3 || ^2.1", "1.3.0 1.10 2.1.0"),
        ("= 2.0.0 || labels.version < 0.4", "2 0.3.1"),
        (">= 1 && < 1.3", "1.0.0 v1.2 1.2.5"),
        ("> 3", ""),
    ] {
        assert_eq!(found(&format!("labels.version {range}")), expected, "{range}");
        assert_eq!(
            found(&format!(" labels.\"version\"{range} ")),
            expected,
            "{range}"
        );
    }
}

#[test]
fn every_field_can_be_asked_for() {
    let image = TestRecord::new("image")
        .name("localhost:5000/team/app:v1.4")
        .label("org.opencontainers.image.version", "2.0")
        .label("a b\"c", "3.0.0")
        .annotation("com.example/build-version", "4.1.0");
    for (expression, expected) in [
        ("tag = 1.4", true),
        ("tag >= 2", false),
        ("labels.org.opencontainers.image.version = 2", true),
        ("labels.\"org.opencontainers.image.version\" ~ ^2 || ^3", true),
        ("labels.\"a b\\\"c\" = 3", true),
        ("annotations.com.example/build-version > 4", false),
        ("annotations.\"com.example/build-version\" > 4.0", true),
        ("tag = 1.4 && annotations.com.example/build-version = 4", true),
        ("tag = 1.5 && annotations.com.example/build-version = 4", false),
        ("tag = 1.5 || annotations.com.example/build-version = 4", true),
        ("labels.missing = 1", false),
        ("labels.missing != 1", false),
    ] {
        assert_eq!(image.matches::<Semver>(expression), Ok(expected), "{expression}");
    }
    for (name, expected) in [
        ("localhost:5000/app", false),
        ("app:1.4", true),
        ("app:1.4@sha256:11", true),
        ("app@sha256:11", false),
    ] {
        let image = TestRecord::new("image").name(name);
        assert_eq!(image.matches::<Semver>("tag = 1.4"), Ok(expected), "{name}");
    }
    assert_eq!(TestRecord::new("lease").matches::<Semver>("tag = 1"), Ok(false));
}

#[test]
fn what_is_wrong_is_told_with_the_place() {
    for (expression, expected) in [
        (
            "",
            "at byte 1: expected `labels.<key>`, `annotations.<key>` or `tag`",
        ),
        (
            "version > 1",
            "at byte 1: expected `labels.<key>`, `annotations.<key>` or `tag`",
        ),
        (
            "> 1",
            "at byte 1: expected `labels.<key>`, `annotations.<key>` or `tag`",
        ),
        ("tags > 1", "at byte 1: expected `labels.<key>`"),
        ("labels. > 1", "at byte 8: expected a key"),
        ("labels.\"a > 1", "at byte 8: the key is not closed"),
        ("labels.v", "at byte 9: expected a version"),
        ("labels.v > latest", "at byte 10: expected a version"),
        (
            "labels.v => 1",
            "at byte 10: expected one of = == != > >= < <= ~ ^",
        ),
        (
            "labels.v > 1 2",
            "at byte 14: expected `||`, `&&`, `,` or the end",
        ),
        ("labels.v > 1 |", "at byte 14: expected"),
        ("labels.v > 1,", "at byte 14: expected a version"),
        ("labels.v > 1 ||", "at byte 16: expected a version"),
        ("labels.v > 1.2.3.4", ">1.2.3.4 is no range"),
        ("labels.v > 01", ">01 is no range"),
    ] {
        match TestRecord::new("image").matches::<Semver>(expression) {
            Err(Error::Other(text)) => assert!(text.contains(expected), "{expression}: {text}"),
            other => panic!("{expression}: {other:?}"),
        }
    }
    let long = format!("labels.v > 1{}", " ".repeat(9000));
    assert!(TestRecord::new("image").matches::<Semver>(&long).is_err());
}
