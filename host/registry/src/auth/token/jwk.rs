//! A file of keys (JWKS, RFC 7517).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::der;
use super::keys::{Algorithm, Key, Kind};
use crate::settings::{Mistake, line_of};

/// Keys by the ids that tokens name them by.
pub(super) type Named = Vec<(String, Key)>;

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// Reads a set. Keys of kinds that are not known are left out with a warning, as the standard says.
pub(super) fn parse(text: &str) -> Result<Named, Vec<Mistake>> {
    let wrong = |line: usize, message: String| vec![Mistake { line, message }];
    let set: Set = serde_json::from_str(text)
        .map_err(|error| wrong(error.line().max(1), format!("this is no set of keys: {error}")))?;
    let mut named = Named::new();
    for (index, value) in set.keys.into_iter().enumerate() {
        let id = value.get("kid").and_then(|kid| kid.as_str()).map(str::to_owned);
        match key(value) {
            Ok((kid, key)) => {
                let ids = key.ids();
                named.extend(kid.into_iter().chain(ids).map(|id| (id, key.clone())));
            }
            Err(problem) => tracing::warn!(index, id, problem, "a key is left out"),
        }
    }
    if named.is_empty() {
        let line = line_of(text, text.find("\"keys\"").unwrap_or_default());
        return Err(wrong(
            line,
            "there is no key in it that can check a signature".to_owned(),
        ));
    }
    Ok(named)
}

fn key(value: serde_json::Value) -> Result<(Option<String>, Key), &'static str> {
    let jwk: Jwk = serde_json::from_value(value).map_err(|_| "it is malformed")?;
    if jwk.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
        return Err("it is not for signatures");
    }
    let verifies = |operations: &Vec<String>| operations.iter().any(|operation| operation == "verify");
    if jwk
        .key_ops
        .as_ref()
        .is_some_and(|operations| !verifies(operations))
    {
        return Err("it is not for checking signatures");
    }
    let only = match &jwk.alg {
        Some(name) => Some(Algorithm::of(name).ok_or("its algorithm is not taken")?),
        None => None,
    };
    let (kind, bits) = bits(&jwk)?;
    Ok((jwk.kid.filter(|kid| !kid.is_empty()), Key { kind, bits, only }))
}

fn bits(jwk: &Jwk) -> Result<(Kind, Vec<u8>), &'static str> {
    let number = |text: &Option<String>| {
        let text = text.as_deref().ok_or("a part of it is missing")?;
        URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| "a part of it is malformed")
    };
    match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => Ok((Kind::Rsa, der::rsa_key(&number(&jwk.n)?, &number(&jwk.e)?))),
        ("EC", Some("P-256")) => Ok((Kind::P256, point(number(&jwk.x)?, number(&jwk.y)?, 32)?)),
        ("EC", Some("P-384")) => Ok((Kind::P384, point(number(&jwk.x)?, number(&jwk.y)?, 48)?)),
        ("EC", Some("P-521")) => Ok((Kind::P521, point(number(&jwk.x)?, number(&jwk.y)?, 66)?)),
        ("OKP", Some("Ed25519")) => Some(number(&jwk.x)?)
            .filter(|bits| bits.len() == 32)
            .map(|bits| (Kind::Ed25519, bits))
            .ok_or("it has a wrong length"),
        ("oct", _) => Err("it is a shared secret, which whoever can check tokens with can make them with"),
        _ => Err("it is of a kind that is not known here"),
    }
}

/// A point, uncompressed.
fn point(x: Vec<u8>, y: Vec<u8>, length: usize) -> Result<Vec<u8>, &'static str> {
    if x.len() != length || y.len() != length {
        return Err("it has a wrong length");
    }
    Ok([vec![4], x, y].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of RFC 7638, section 3.1, whose thumbprint is there, too.
    const RFC: &str = concat!(
        r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs"#,
        r#"tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08"#,
        r#"qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#
    );

    #[test]
    fn a_key_has_its_own_id_and_its_thumbprint() {
        let named = parse(&format!(r#"{{"keys":[{RFC}]}}"#)).unwrap();
        let ids: Vec<&str> = named.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(
            ids[..2],
            ["2011-04-29", "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"]
        );
        assert_eq!(ids[2].len(), 59);
        assert_eq!(named[0].1.only, Some(Algorithm::RS256));
    }

    #[test]
    fn keys_that_check_nothing_are_left_out() {
        for bad in [
            r#"{"kty":"oct","k":"c2VjcmV0"}"#,
            r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#,
            r#"{"kty":"EC","crv":"P-521","x":"AA","y":"AA"}"#,
            r#"{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}"#,
            r#"{"kty":"OKP","crv":"Ed25519","x":"AA"}"#,
            r#"{"kty":"OKP","crv":"X25519","x":"AA"}"#,
            r#"{"kty":"RSA","n":"AA"}"#,
            r#"{"kty":"RSA","n":"AA","e":"AQAB","use":"enc"}"#,
            r#"{"kty":"RSA","n":"AA","e":"AQAB","key_ops":["encrypt"]}"#,
            r#"{"kty":"RSA","n":"AA","e":"AQAB","alg":"HS256"}"#,
            r#"{"n":"AA"}"#,
            "1",
        ] {
            let named = parse(&format!("{{\"keys\":[\n{bad},{RFC}]}}")).unwrap();
            assert_eq!(named.len(), 3, "{bad}");
            assert_eq!(parse(&format!("\n{{\"keys\":[{bad}]}}")).unwrap_err()[0].line, 2);
        }
        assert_eq!(parse("{\n\"keys\": 1}").unwrap_err()[0].line, 2);
    }
}
