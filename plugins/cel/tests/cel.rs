//! The cel plugin on records, natively.

use plugin_cel::Cel;
use transom_sdk::Error;
use transom_sdk::testing::{TestRecord, select};

fn image() -> TestRecord {
    TestRecord::new("image")
        .name("docker.io/library/debian:12")
        .digest("sha256:abc")
        .media_type("application/vnd.oci.image.index.v1+json")
        .size(528)
        .created(1_700_000_000, 5)
        .updated(1_800_000_000, 0)
        .label("tier", "gold")
        .label("org.example/version", "1.2")
        .annotation("note", "é")
}

#[test]
fn every_field_can_be_asked_for() {
    let holds = [
        r#"kind == "image""#,
        r#"name.startsWith("docker.io/") && name.endsWith(":12")"#,
        r#"digest == "sha256:abc""#,
        r#"media_type.contains("index")"#,
        "size == 528 && size > 500 && size < 10 * 100",
        r#"created == timestamp("2023-11-14T22:13:20.000000005Z")"#,
        r#"updated - created > duration("24h")"#,
        "created.getFullYear() == 2023",
        r#"labels.tier == "gold" && labels["org.example/version"] == "1.2""#,
        r#""tier" in labels && !("other" in labels) && !has(labels.other)"#,
        "labels.exists(key, key.startsWith(\"org.example/\") && labels[key] != \"\")",
        "size(labels) == 2 && size(annotations) == 1",
        r#"annotations.note == "é""#,
        r#"name.matches("debian:[0-9]+$")"#,
        r#"has(labels.other) ? labels.other == "x" : labels.tier in ["gold", "silver"]"#,
    ];
    for expression in holds {
        assert_eq!(image().matches::<Cel>(expression), Ok(true), "{expression}");
        assert_eq!(
            image().matches::<Cel>(&format!("!({expression})")),
            Ok(false),
            "{expression}"
        );
    }
}

#[test]
fn what_a_kind_does_not_have_is_null_or_empty() {
    let lease = TestRecord::new("lease").name("l");
    for expression in [
        "size == null",
        "digest == null",
        "created == null",
        "size(labels) == 0",
    ] {
        assert_eq!(lease.matches::<Cel>(expression), Ok(true), "{expression}");
    }
}

fn refused(expression: &str) -> String {
    match image().matches::<Cel>(expression) {
        Err(Error::Other(text) | Error::Limit(text)) => text,
        other => panic!("{expression}: {other:?}"),
    }
}

#[test]
fn an_expression_that_is_wrong_is_told_with_the_place() {
    let text = refused("size >");
    assert!(
        text.starts_with("line 1, column 7: ") && !text.contains('\n'),
        "{text}"
    );
    assert!(refused("siz > 1").contains("no variable \"siz\"; there are kind, name"));
    assert!(refused("labels.all(key, kee != \"\")").contains("no variable \"kee\""));
    assert!(refused(&format!("size > 1{}", " ".repeat(9000))).contains("the limit is"));
    let nested = |depth: usize| format!("{}true{}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(image().matches::<Cel>(&nested(12)), Ok(true));
    assert!(refused(&nested(13)).contains("deeper than 12"));
}

#[test]
fn a_record_that_is_neither_in_nor_out_is_an_error() {
    let about = "of the image \"docker.io/library/debian:12\": ";
    let missing = refused(r#"labels.other == "x""#);
    assert!(
        missing.starts_with(about) && missing.contains("\"other\" in labels"),
        "{missing}"
    );
    assert!(refused("size").contains("type int, neither true nor false"));
    assert!(refused("size > \"a\"").starts_with(about));
    assert!(refused("1 / (size - 528) > 0").starts_with(about));
}

#[test]
fn records_are_selected_one_by_one() {
    let sizes = [1, 20, 300].map(|size| TestRecord::new("content").size(size));
    assert_eq!(select::<Cel>("size >= 20", &sizes), Ok(vec![false, true, true]));
    assert_eq!(select::<Cel>("true", &[]), Ok(vec![]));
}
