//! The ocicrypt plugin on layers that this file encrypts, natively. Layers that skopeo encrypted are in the host's tests.

use aes::cipher::{KeyIvInit, StreamCipher};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use plugin_ocicrypt::Ocicrypt;
use sha2_for_hmac::Sha256;
use transom_sdk::keys::UnwrapError;
use transom_sdk::testing::{Harness, Run};
use transom_sdk::{Descriptor, Error, Processor};

const KEY: [u8; 32] = *b"a key of exactly thirty-two byte";
const NONCE: [u8; 16] = [0xff; 16];
const PUBLIC: &str = "org.opencontainers.image.enc.pubopts";
const JWE: &str = "org.opencontainers.image.enc.keys.jwe";

fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The layer, encrypted, and its code.
fn seal(plain: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut sealed = plain.to_vec();
    let mut cipher = ctr::Ctr128BE::<aes::Aes256>::new(&KEY.into(), &NONCE.into());
    cipher.apply_keystream(&mut sealed);
    let mut code = Hmac::<Sha256>::new_from_slice(&KEY).expect("a key");
    code.update(&sealed);
    (sealed, code.finalize().into_bytes().to_vec())
}

fn public(hmac: &[u8]) -> String {
    let text = format!(
        r#"{{"cipher":"AES_256_CTR_HMAC_SHA256","hmac":"{}","cipheroptions":{{}}}}"#,
        base64(hmac)
    );
    base64(text.as_bytes())
}

fn private() -> String {
    format!(
        r#"{{"symkey":"{}","digest":"sha256:00","cipheroptions":{{"nonce":"{}"}}}}"#,
        base64(&KEY),
        base64(&NONCE)
    )
}

/// A host whose keys open the text `for us`.
fn harness(size: usize, hmac: &[u8]) -> Harness {
    let descriptor = Descriptor {
        size: size as u64,
        ..Descriptor::default()
    };
    Harness::new()
        .descriptor(descriptor)
        .annotation(PUBLIC, public(hmac))
        .annotation(JWE, format!("{},{}", base64(b"for them"), base64(b"for us")))
        .unwrapping(|scheme, wrapped| match (scheme, wrapped) {
            ("jwe", b"for us") => Ok(private().into_bytes()),
            ("jwe", _) => Err(UnwrapError::NoKey(
                "none of the 1 private keys opens it".to_owned(),
            )),
            (other, _) => Err(UnwrapError::Unsupported(format!("no {other} here"))),
        })
}

fn sample() -> Vec<u8> {
    (0..300_000u32).flat_map(|at| (at % 977).to_le_bytes()).collect()
}

fn corrupt(run: &Run) -> (&str, Option<u64>) {
    match &run.result {
        Err(Error::Corrupt { message, offset }) => (message, *offset),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_layer_comes_out_as_it_was_in_every_chunking() {
    let plain = sample();
    let (sealed, hmac) = seal(&plain);
    let run = harness(sealed.len(), &hmac).run::<Ocicrypt>(&sealed);
    run.outcome();
    assert!(run.output == plain);
    let (short, hmac) = seal(&plain[..70_001]);
    harness(short.len(), &hmac).assert_chunking_invariant::<Ocicrypt>(&short);
    let (empty, hmac) = seal(b"");
    assert!(harness(0, &hmac).run::<Ocicrypt>(&empty).result.is_ok());
}

#[test]
fn a_flipped_bit_and_a_cut_end_are_told_apart() {
    let (mut sealed, hmac) = seal(&sample());
    let size = sealed.len();
    let cut = harness(size, &hmac).run::<Ocicrypt>(&sealed[..size - 10]);
    let (message, offset) = corrupt(&cut);
    assert!(
        message.contains("ends after 1199990 of 1200000 bytes"),
        "{message}"
    );
    assert_eq!(offset, Some(1_199_990));
    sealed[777] ^= 4;
    let flipped = harness(size, &hmac).run::<Ocicrypt>(&sealed);
    assert!(corrupt(&flipped).0.contains("was changed after it was encrypted"));
}

#[test]
fn wrong_and_missing_keys_are_told_apart_before_a_byte_comes_out() {
    let (sealed, hmac) = seal(b"secret");
    let them = harness(6, &hmac).annotation(JWE, base64(b"for them"));
    let run = them.run::<Ocicrypt>(&sealed);
    let Err(Error::Denied(text)) = &run.result else {
        panic!("{:?}", run.result)
    };
    assert!(text.contains("for somebody else: none of the 1"), "{text}");
    assert!(run.output.is_empty() && run.unread == sealed.len());

    let denied = them.unwrapping(|_, _| Err(UnwrapError::Denied("no keys: grant some".to_owned())));
    let run = denied.run::<Ocicrypt>(&sealed);
    assert_eq!(run.result, Err(Error::Denied("no keys: grant some".to_owned())));

    let other = Harness::new()
        .annotation(PUBLIC, public(&hmac))
        .annotation("org.opencontainers.image.enc.keys.pgp", base64(b"x"))
        .unwrapping(|scheme, _| Err(UnwrapError::Unsupported(format!("no {scheme} here"))));
    let run = other.run::<Ocicrypt>(&sealed);
    assert_eq!(run.result, Err(Error::Unsupported("no pgp here".to_owned())));
}

#[test]
fn what_the_descriptor_lacks_is_named() {
    let none = |harness: Harness| {
        let run = harness.run::<Ocicrypt>(b"x");
        assert!(run.output.is_empty());
        corrupt(&run).0.to_owned()
    };
    assert!(none(Harness::new()).contains("no annotation org.opencontainers.image.enc.pubopts"));
    let public_only = Harness::new().annotation(PUBLIC, public(&[0; 32]));
    assert!(none(public_only).contains("nobody has its key"));
    let unsigned = r#"{"cipher":"AES_256_CTR_HMAC_SHA256","cipheroptions":{}}"#;
    let unsigned = harness(1, &[]).annotation(PUBLIC, base64(unsigned.as_bytes()));
    assert!(none(unsigned).contains("no authentication code"));
    assert!(none(harness(1, &[]).annotation(PUBLIC, "%")).contains("is not base64"));
    assert!(none(harness(1, &[]).annotation(PUBLIC, base64(b"{"))).contains("is not the JSON"));
    let short = harness(1, &[0; 32]).unwrapping(|_, _| {
        let text = r#"{"symkey":"AAAA","cipheroptions":{"nonce":"AAAA"}}"#;
        Ok(text.as_bytes().to_vec())
    });
    assert!(none(short).contains("has not 32 bytes"));
    let cipher = r#"{"cipher":"ROT13","hmac":"AAAA"}"#;
    let run = harness(1, &[])
        .annotation(PUBLIC, base64(cipher.as_bytes()))
        .run::<Ocicrypt>(b"x");
    assert!(
        matches!(run.result, Err(Error::Unsupported(_))),
        "{:?}",
        run.result
    );
}

#[test]
fn every_kind_of_layer_is_taken() {
    let (sealed, hmac) = seal(b"secret");
    let conversions = Ocicrypt::describe().conversions;
    assert_eq!(conversions.len(), 6);
    for conversion in conversions {
        assert!(conversion.accepts.ends_with("+encrypted"));
        let run = harness(6, &hmac)
            .media_type(&conversion.accepts)
            .run::<Ocicrypt>(&sealed);
        assert_eq!(run.output, b"secret");
    }
}
