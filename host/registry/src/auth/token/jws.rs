//! A signed token, taken apart (RFC 7515, compact serialization).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::auth::limits;

/// A token whose signature nobody has checked yet.
pub(super) struct Jws<'t> {
    pub(super) header: Header,
    /// What the signature is of.
    pub(super) signed: &'t str,
    pub(super) payload: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

/// What a token says of its signature. A stranger wrote it: it may choose among keys that are trusted, and bring no key.
#[derive(Debug, Deserialize)]
pub(super) struct Header {
    /// The algorithm.
    pub(super) alg: String,
    /// The id of the key.
    pub(super) kid: Option<String>,
    /// Certificates, that of the key first, in Base64 of DER.
    pub(super) x5c: Option<Vec<String>>,
    /// The key itself, of which only its id and its certificates are looked at (CVE-2025-24976).
    pub(super) jwk: Option<Hint>,
    /// Extensions that must be understood, of which none is.
    crit: Option<IgnoredAny>,
}

/// See [`Header::jwk`].
#[derive(Debug, Deserialize)]
pub(super) struct Hint {
    pub(super) kid: Option<String>,
    pub(super) x5c: Option<Vec<String>>,
}

impl<'t> Jws<'t> {
    pub(super) fn parse(token: &'t str) -> Result<Jws<'t>, &'static str> {
        const MALFORMED: &str = "the token is malformed";
        if token.len() > limits::HEADER_BYTES {
            return Err("the token is too long");
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(MALFORMED)?;
        let (header, payload) = signed.split_once('.').ok_or(MALFORMED)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| MALFORMED);
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| MALFORMED)?;
        if header.crit.is_some() {
            return Err("the token needs an extension that is not known here");
        }
        Ok(Jws {
            header,
            signed,
            payload: decode(payload)?,
            signature: decode(signature)?,
        })
    }
}

impl Header {
    /// The id of the key that it is signed by.
    pub(super) fn key_id(&self) -> Option<&str> {
        let hint = self.jwk.as_ref();
        let id = self.kid.as_deref().or(hint.and_then(|hint| hint.kid.as_deref()));
        id.filter(|id| !id.is_empty())
    }

    /// The certificates that it came with.
    pub(super) fn chain(&self) -> Option<&[String]> {
        let hint = self.jwk.as_ref();
        self.x5c.as_deref().or(hint.and_then(|hint| hint.x5c.as_deref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str) -> String {
        format!("{}.e30.c2ln", URL_SAFE_NO_PAD.encode(header))
    }

    #[test]
    fn tokens_are_taken_apart() {
        let text = token(r#"{"typ":"JWT","alg":"ES256","kid":"a","jwk":{"kid":"b","kty":"RSA","n":"x"}}"#);
        let jws = Jws::parse(&text).unwrap();
        assert_eq!(jws.header.key_id(), Some("a"));
        assert_eq!(jws.payload, b"{}");
        assert_eq!(jws.signature, b"sig");
        assert!(text.starts_with(jws.signed) && jws.signed.ends_with(".e30"));
        let text = token(r#"{"alg":"ES256","kid":"","jwk":{"kid":"b","x5c":["c"]}}"#);
        let jws = Jws::parse(&text).unwrap();
        assert_eq!(jws.header.key_id(), None);
        assert_eq!(jws.header.chain().unwrap(), ["c"]);
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let refused = |text: &str| assert!(Jws::parse(text).is_err(), "{text}");
        for text in [
            "",
            ".",
            "..",
            "a.b",
            "a.b.c",
            "e30.e30.",
            "e30.e30.e30",
            "....",
            "e30=.e30.e30",
            "\u{e4}.e30.e30",
        ] {
            refused(text);
        }
        for header in [
            "",
            "[]",
            "null",
            r#"{"alg":1}"#,
            r#"{"alg":"ES256","alg":"none"}"#,
            r#"{"alg":"ES256","crit":["exp"]}"#,
            r#"{"alg":"ES256","x5c":"a"}"#,
            r#"{"alg":"ES256"} x"#,
        ] {
            refused(&token(header));
        }
        refused(&format!(
            "{}.e30.c2ln.c2ln",
            URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256"}"#)
        ));
        refused(&format!("{}.c2ln", "e30.".repeat(10)));
        refused(&token(&format!("{}1{}", "[".repeat(5000), "]".repeat(5000))));
        refused(&token(&format!(
            r#"{{"alg":"{}"}}"#,
            "x".repeat(limits::HEADER_BYTES)
        )));
    }
}
