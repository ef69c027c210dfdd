//! Keys that skopeo wrapped, opened by keys that OpenSSL made: `tests/skopeo`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use transom_keys::{KeyError, Keyring, Scheme, UnwrapError};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/skopeo")
        .join(name)
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(file(name)).unwrap()
}

fn ring(names: &[&str]) -> Keyring {
    Keyring::new(names.iter().map(|name| file(name)).collect())
}

fn opened(keys: &[&str], wrapped: &str) -> String {
    let opened = ring(keys).unwrap(Scheme::Jwe, &read(wrapped));
    let opened = opened.unwrap_or_else(|error| panic!("{keys:?} on {wrapped}: {error}"));
    String::from_utf8(opened.to_vec()).unwrap()
}

fn refused(keys: &Keyring, wrapped: &[u8]) -> UnwrapError {
    keys.unwrap(Scheme::Jwe, wrapped).unwrap_err()
}

#[test]
fn what_skopeo_wrapped_opens_with_its_key_in_every_form() {
    for (key, wrapped) in [
        ("rsa.pem", "rsa.jwe"),
        ("rsa.pkcs1.pem", "rsa.jwe"),
        ("p256.pem", "p256.jwe"),
        ("p256.sec1.pem", "p256.jwe"),
        ("p384.pem", "p384.jwe"),
        ("p384.sec1.pem", "p384.jwe"),
        ("p521.pem", "p521.jwe"),
        ("p521.sec1.pem", "p521.jwe"),
        ("rsa.pem", "both.jwe"),
        ("p256.pem", "both.jwe"),
    ] {
        let text = opened(&[key], wrapped);
        assert!(text.contains("symkey") && text.contains("nonce"), "{key}: {text}");
    }
}

#[test]
fn all_keys_are_tried() {
    let all = ["other.pem", "p521.pem", "p384.pem", "p256.pem", "rsa.pem"];
    for wrapped in ["rsa.jwe", "p256.jwe", "p384.jwe", "p521.jwe", "both.jwe"] {
        opened(&all, wrapped);
    }
}

#[test]
fn a_key_as_der_is_read_too() {
    let pem = String::from_utf8(read("rsa.pem")).unwrap();
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, body).unwrap();
    let opened = Keyring::default().with(der).unwrap(Scheme::Jwe, &read("rsa.jwe"));
    assert!(opened.is_ok(), "{opened:?}");
}

#[test]
fn a_wrong_key_says_for_whom_it_is() {
    for (keys, wrapped, text) in [
        (
            &["other.pem"][..],
            "rsa.jwe",
            "none of the 1 private key opens it: it is for an RSA key",
        ),
        (
            &["rsa.pem", "p256.pem"],
            "p384.jwe",
            "none of the 2 private keys opens it: it is for a key of P-384",
        ),
        (
            &["other.pem", "p384.pem"],
            "both.jwe",
            "it is for an RSA key, a key of P-256",
        ),
        (&[], "rsa.jwe", "none of the 0 private keys"),
    ] {
        let error = refused(&ring(keys), &read(wrapped));
        assert!(matches!(error, UnwrapError::NoKey { .. }), "{error:?}");
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[test]
fn every_flipped_byte_of_a_message_is_noticed() {
    let (keys, whole) = (ring(&["p256.pem"]), read("p256.jwe"));
    let good = keys.unwrap(Scheme::Jwe, &whole).unwrap();
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        // The last digit of base64 may have bits that say nothing; then the text is the same.
        let opened = keys.unwrap(Scheme::Jwe, &flipped);
        assert!(
            opened.is_err() || opened.is_ok_and(|opened| opened == good),
            "byte {at}"
        );
    }
    for length in 0..whole.len() {
        assert!(
            keys.unwrap(Scheme::Jwe, &whole[..length]).is_err(),
            "{length} bytes"
        );
    }
}

#[test]
fn what_is_not_known_is_named() {
    let keys = ring(&["rsa.pem"]);
    let with = |header: &str| {
        let header = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, header);
        refused(
            &keys,
            format!(r#"{{"protected":"{header}","ciphertext":""}}"#).as_bytes(),
        )
    };
    for (header, text) in [
        (r#"{"alg":"RSA1_5","enc":"A256GCM"}"#, "\"RSA1_5\""),
        (r#"{"alg":"RSA-OAEP","enc":"A128CBC-HS256"}"#, "A128CBC-HS256"),
        (r#"{"alg":"RSA-OAEP","enc":"A256GCM","zip":"DEF"}"#, "compressed"),
        (r#"{"alg":"RSA-OAEP","enc":"A256GCM","crit":["x"]}"#, "critical"),
    ] {
        let error = with(header);
        assert!(matches!(error, UnwrapError::Unsupported(_)), "{error:?}");
        assert!(error.to_string().contains(text), "{error}");
    }
    assert!(Scheme::named("jwe").is_ok());
    let error = Scheme::named("pkcs7").unwrap_err().to_string();
    assert!(
        error.contains("pkcs7") && error.contains("wrap the image for jwe"),
        "{error}"
    );
    for nonsense in [&b""[..], b"{", b"[]", b"{}", b"eyJ.a.b.c.d"] {
        let error = refused(&keys, nonsense);
        assert!(matches!(error, UnwrapError::Malformed(_)), "{error:?}");
    }
    let large = vec![b' '; transom_keys::limits::WRAPPED_BYTES_MAX + 1];
    assert!(refused(&keys, &large).to_string().contains("limit"));
}

#[test]
fn an_ephemeral_key_off_its_curve_is_refused() {
    let point = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, [7; 32]);
    let header = format!(
        r#"{{"alg":"ECDH-ES","enc":"A256GCM","epk":{{"kty":"EC","crv":"P-256","x":"{point}","y":"{point}"}}}}"#
    );
    let header = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, header);
    let text = format!(r#"{{"protected":"{header}","ciphertext":""}}"#);
    let error = refused(&ring(&["p256.pem"]), text.as_bytes());
    assert!(error.to_string().contains("not on its curve"), "{error}");
}

#[test]
fn what_is_no_private_key_is_refused_with_what_to_do() {
    for (name, text) in [
        ("encrypted.pem", "openssl pkey"),
        ("other.pub.pem", "it holds a \"public key\""),
        ("ed25519.pem", "neither a key of RSA"),
        ("rsa.jwe", "JSON web key"),
    ] {
        let error = ring(&[name]).check().unwrap_err();
        assert!(matches!(error, KeyError::NoKey { .. }), "{error:?}");
        let said = error.to_string();
        assert!(said.contains(text) && said.contains(name), "{said}");
    }
    let cut = Keyring::default().with(b"-----BEGIN PRIVATE KEY-----\nMIIE".to_vec());
    assert!(cut.check().unwrap_err().to_string().contains("has no end"));
    assert!(matches!(ring(&["absent"]).check(), Err(KeyError::Read { .. })));
}

#[test]
fn a_folder_is_all_of_its_files_and_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keyring::new(vec![folder.path().to_owned()]);
    assert_eq!(keys.check().unwrap(), 0);
    std::fs::copy(file("other.pem"), folder.path().join("a")).unwrap();
    assert!(matches!(
        refused(&keys, &read("rsa.jwe")),
        UnwrapError::NoKey { tried: 1, .. }
    ));
    std::fs::copy(file("rsa.pem"), folder.path().join("b")).unwrap();
    std::fs::write(folder.path().join(".hidden"), "nothing").unwrap();
    std::fs::create_dir(folder.path().join("c")).unwrap();
    assert!(keys.unwrap(Scheme::Jwe, &read("rsa.jwe")).is_ok());
    std::fs::remove_file(folder.path().join("b")).unwrap();
    assert!(keys.unwrap(Scheme::Jwe, &read("rsa.jwe")).is_err());
    std::fs::write(folder.path().join("d"), vec![b'x'; 300 << 10]).unwrap();
    assert!(matches!(keys.check(), Err(KeyError::TooLarge(_))));
}

#[test]
fn keys_of_a_payload_are_used() {
    let key = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, read("rsa.pem"));
    let text = format!(
        r#"{{"DecryptConfig":{{"Parameters":{{"privkeys":["{key}"],"privkeys-passwords":[""]}}}},"Descriptor":{{}}}}"#
    );
    let keys = Keyring::default().with_payload(text.as_bytes()).unwrap();
    assert!(keys.unwrap(Scheme::Jwe, &read("rsa.jwe")).is_ok());
    for none in ["{}", r#"{"DecryptConfig":{"Parameters":null}}"#] {
        assert!(
            Keyring::default()
                .with_payload(none.as_bytes())
                .unwrap()
                .is_empty()
        );
    }
    assert!(Keyring::default().with_payload(b"\x0a\x00").is_err());
    let nonsense = r#"{"DecryptConfig":{"Parameters":{"privkeys":["%"]}}}"#;
    assert!(Keyring::default().with_payload(nonsense.as_bytes()).is_err());
}

#[test]
fn nothing_that_is_shown_holds_a_key() {
    let key = read("rsa.pem");
    let shown = format!("{:?}", Keyring::default().with(key.clone()));
    assert_eq!(shown, "Keyring { paths: [], held: 1 }");
    let damaged = String::from_utf8(key).unwrap().replacen("MII", "AAA", 1);
    let said = Keyring::default()
        .with(damaged.clone().into_bytes())
        .check()
        .unwrap_err();
    let line = damaged.lines().nth(3).unwrap();
    assert!(!format!("{said} {said:?}").contains(line));
}
