//! The image argument.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use proptest::prelude::*;
use transom_image::reference::Location;
use transom_image::{ImageError, Reference, Transport};

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn parse(text: &str, existing: &[&str]) -> Result<Reference, ImageError> {
    Reference::parse_with(OsStr::new(text), |path| {
        existing.iter().any(|there| Path::new(there) == path)
    })
}

/// `transport|path|name|digest`, empty where there is none.
fn parts(reference: &Reference) -> String {
    let path = match &reference.location {
        Location::Stdin => "<stdin>".to_owned(),
        Location::Path(path) => path.display().to_string(),
    };
    let digest = reference.selector.digest.as_ref();
    format!(
        "{}|{path}|{}|{}",
        reference.transport.map_or("", Transport::as_str),
        reference.selector.name.as_deref().unwrap_or(""),
        digest.map_or("", |digest| digest.hex())
    )
}

#[test]
fn what_exists_decides_where_the_path_ends() {
    let digest = format!("dir@sha256:{HEX}");
    let both = format!("dir:v1@sha256:{HEX}");
    for (text, existing, want) in [
        ("dir", &["dir"][..], "|dir||".to_owned()),
        ("dir:v1", &["dir"], "|dir|v1|".into()),
        ("dir:v1", &["dir", "dir:v1"], "|dir:v1||".into()),
        ("a:b:c", &["a", "a:b"], "|a:b|c|".into()),
        ("a:b:c", &["a"], "|a|b:c|".into()),
        (
            "x.tar:docker.io/library/alpine:3",
            &["x.tar"],
            "|x.tar|docker.io/library/alpine:3|".into(),
        ),
        (&digest, &["dir"], format!("|dir||{HEX}")),
        (&both, &["dir"], format!("|dir|v1|{HEX}")),
        ("a@b", &["a@b"], "|a@b||".into()),
        ("a@b:c", &["a@b"], "|a@b|c|".into()),
        ("-", &[], "|<stdin>||".into()),
        ("-:v1", &[], "|<stdin>|v1|".into()),
        ("oci-archive:-", &[], "oci-archive|<stdin>||".into()),
        ("./-", &["./-"], "|./-||".into()),
        ("oci:dir:v1", &["dir"], "oci|dir|v1|".into()),
        ("oci:dir", &["oci:dir", "dir"], "|oci:dir||".into()),
        ("docker-archive:x:a:b", &["x"], "docker-archive|x|a:b|".into()),
        ("docker:v1", &["docker"], "|docker|v1|".into()),
        // Nothing exists: as good a guess as any, for the message.
        ("no/such:v1", &[], "|no/such|v1|".into()),
        ("no:such/dir", &[], "|no:such/dir||".into()),
        ("no@such", &[], "|no||".into()),
    ] {
        assert_eq!(parts(&parse(text, existing).expect(text)), want, "{text}");
    }
}

#[test]
fn wrong_arguments_say_what_to_write() {
    for (text, existing, want) in [
        ("", &[][..], "it is empty"),
        ("oci:", &[], "path after the transport is empty"),
        (":v1", &[], "path is empty"),
        ("dir@sha256:abc", &["dir"], "64 lower-case hexadecimal"),
        ("dir@md5:abc", &["dir"], "use sha256"),
        ("dir:", &["dir"], "neither a tag nor the name"),
        ("dir:a b", &["dir"], "neither a tag nor the name"),
        ("docker://alpine", &[], "skopeo copy docker:"),
        ("docker-daemon:alpine:3", &[], "not supported"),
    ] {
        let error = parse(text, existing).expect_err(text).to_string();
        assert!(error.contains(want), "{text}: {error}");
    }
}

#[test]
fn paths_need_not_be_utf8() {
    let text = OsStr::from_bytes(b"d\xff:v1");
    let reference = Reference::parse_with(text, |path| path.as_os_str().as_bytes() == b"d\xff").unwrap();
    assert_eq!(reference.selector.name.as_deref(), Some("v1"));
}

proptest! {
    #[test]
    fn nothing_makes_it_panic_and_an_existing_path_always_wins(bytes in prop::collection::vec(any::<u8>(), 1..64)) {
        let text = OsStr::from_bytes(&bytes);
        let _ = Reference::parse_with(text, |_| false);
        let reference = Reference::parse_with(text, |path| path == Path::new(text)).unwrap();
        if bytes != b"-" {
            prop_assert_eq!(reference.location, Location::Path(text.into()));
        }
    }

    #[test]
    fn path_and_selector_are_found_again(path in "[a-z/@:]{1,20}", name in "[a-z0-9][a-z0-9._-]{0,20}") {
        let text = format!("./{path}:{name}");
        let path = format!("./{path}");
        let reference = parse(&text, &[&path]).unwrap();
        prop_assert_eq!(parts(&reference), format!("|{path}|{name}|"));
    }
}
