//! Names of images.

use proptest::prelude::*;
use transom_client::{Error, Reference, Repository};

const SHA: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn whole(text: &str) -> String {
    text.parse::<Reference>()
        .unwrap_or_else(|error| panic!("{error}"))
        .to_string()
}

#[test]
fn dockers_rules() {
    for (text, want) in [
        ("debian", "docker.io/library/debian"),
        ("debian:12", "docker.io/library/debian:12"),
        ("docker://debian:12", "docker.io/library/debian:12"),
        ("docker.io/debian", "docker.io/library/debian"),
        ("index.docker.io/a/b", "docker.io/a/b"),
        ("team/app", "docker.io/team/app"),
        ("localhost/app", "localhost/app"),
        ("localhost:5000/app:1", "localhost:5000/app:1"),
        ("Host/app", "Host/app"),
        ("ghcr.io/a/b/c__d-e.f", "ghcr.io/a/b/c__d-e.f"),
        ("127.0.0.1:5000/x", "127.0.0.1:5000/x"),
        ("[::1]:5000/x:y", "[::1]:5000/x:y"),
        ("[fd00::1]/x", "[fd00::1]/x"),
        ("localhost", "docker.io/library/localhost"),
    ] {
        assert_eq!(whole(text), want);
    }
    assert_eq!(
        whole(&format!("x:1@{SHA}")),
        format!("docker.io/library/x:1@{SHA}")
    );
    let both: Reference = format!("q.io/x:1@{SHA}").parse().unwrap();
    assert_eq!((both.tag.as_deref(), both.target().as_str()), (Some("1"), SHA));
    let bare: Reference = "q.io/x".parse().unwrap();
    assert_eq!((bare.target().as_str(), bare.tag.as_deref()), ("latest", None));
    assert_eq!(bare.with_default_tag().to_string(), "q.io/x:latest");
}

#[test]
fn mistakes_say_what_to_write() {
    for (text, hint) in [
        ("", "give the name of an image"),
        ("Debian", "write \"library/debian\""),
        ("quay.io/Team/app", "write \"team/app\""),
        ("https://quay.io/a", "write \"quay.io/a\""),
        ("a//b", "between two slashes"),
        ("quay.io/", "between two slashes"),
        ("a:", "is not a tag"),
        ("a:.b", "is not a tag"),
        ("a@sha256:12", "64 lower-case hexadecimal"),
        ("a@md5:12", "use sha256"),
        ("a@", "want <algorithm>:<hex>"),
        ("a_/b", "joined by"),
        ("host:port/x", "is not a host"),
        ("host:99999/x", "is not a host"),
        ("-host.x/x", "is not a host"),
        ("[::1/x", "is not a host"),
        ("a b", "lower-case letters"),
    ] {
        let error = text.parse::<Reference>().unwrap_err();
        assert!(matches!(error, Error::Reference { .. }), "{text}");
        assert!(error.to_string().contains(hint), "{text}: {error}");
    }
    let long = format!("a/{}", "b".repeat(254));
    assert!(
        long.parse::<Reference>()
            .unwrap_err()
            .to_string()
            .contains("at most 255 bytes")
    );
    assert!(
        "x:1"
            .parse::<Repository>()
            .unwrap_err()
            .to_string()
            .contains("leave out tag")
    );
}

fn host() -> impl Strategy<Value = String> {
    let name = "[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?(\\.[a-z0-9]{1,5}){1,3}";
    (name, proptest::option::of(1_u16..)).prop_map(|(name, port)| match port {
        Some(port) => format!("{name}:{port}"),
        None => name,
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        host in host(),
        path in "[a-z0-9]{1,6}(([._]|__|-{1,3})[a-z0-9]{1,4}){0,2}(/[a-z0-9]{1,6}){0,3}",
        tag in proptest::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}"),
        digest in proptest::option::of("[0-9a-f]{64}"),
    ) {
        let mut text = format!("{host}/{path}");
        if let Some(tag) = &tag {
            text = format!("{text}:{tag}");
        }
        if let Some(digest) = &digest {
            text = format!("{text}@sha256:{digest}");
        }
        let reference: Reference = text.parse().unwrap();
        let library = host == "docker.io" && !path.contains('/');
        prop_assert!(library || reference.to_string() == text);
        prop_assert_eq!(reference.repository.registry(), host);
        prop_assert_eq!(&reference.tag, &tag);
        prop_assert_eq!(reference.digest.is_some(), digest.is_some());
        prop_assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
    }

    #[test]
    fn nothing_is_read_that_cannot_be_written(text in "[a-zA-Z0-9./:@_\\[\\] -]{0,60}|\\PC{0,40}") {
        if let Ok(reference) = text.parse::<Reference>() {
            prop_assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
        }
    }
}
