//! What a client shows of itself, taken apart.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::limits;
use crate::access::Presented;

/// Clients differ in whether they pad.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a client shows of itself.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credential<'a> {
    /// Nothing. An empty name with an empty password is nothing, too: containers/image sends that when it has none.
    Nothing,
    /// The subject of a certificate that was verified.
    Certificate(&'a str),
    /// A name and a password.
    Basic {
        /// The name.
        name: String,
        /// The password.
        password: String,
    },
    /// A token.
    Bearer(&'a str),
    /// Something that cannot be used.
    Unusable(&'static str),
}

impl<'a> Credential<'a> {
    /// `Authorization` counts, and without it the certificate.
    pub(crate) fn of(presented: &Presented<'a>) -> Credential<'a> {
        let without = || {
            presented
                .certificate
                .map_or(Credential::Nothing, Credential::Certificate)
        };
        let header = presented.authorization.map(str::trim).unwrap_or_default();
        if header.is_empty() {
            return without();
        }
        if header.len() > limits::HEADER_BYTES {
            return Credential::Unusable("Authorization is too long");
        }
        let (scheme, value) = header.split_once(' ').unwrap_or((header, ""));
        if scheme.eq_ignore_ascii_case("bearer") {
            return match value.trim() {
                "" => Credential::Unusable("Authorization has no token"),
                token => Credential::Bearer(token),
            };
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Credential::Unusable("Authorization is neither Basic nor Bearer");
        }
        match basic(value.trim()) {
            Ok((name, password)) if name.is_empty() && password.is_empty() => without(),
            Ok((name, password)) => Credential::Basic { name, password },
            Err(problem) => Credential::Unusable(problem),
        }
    }
}

fn basic(value: &str) -> Result<(String, String), &'static str> {
    let text = BASE64
        .decode(value)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let text = text.ok_or("Authorization is not Base64 of text")?;
    let (name, password) = text
        .split_once(':')
        .ok_or("Authorization has a name without a password")?;
    if name.len() > limits::NAME_BYTES || password.len() > limits::PASSWORD_BYTES {
        return Err("the name or the password is too long");
    }
    if name.contains(char::is_control) {
        return Err("the name has control characters in it");
    }
    Ok((name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<'a>(authorization: &'a str, certificate: Option<&'a str>) -> Credential<'a> {
        Credential::of(&Presented {
            authorization: Some(authorization),
            certificate,
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            origin: "http://localhost",
        })
    }

    #[test]
    fn headers_are_taken_apart() {
        let basic = |name: &str, password: &str| Credential::Basic {
            name: name.to_owned(),
            password: password.to_owned(),
        };
        assert!(of("Basic dTpwOnE=", None) == basic("u", "p:q"));
        assert!(of("bASIC  dTpwOnE ", None) == basic("u", "p:q"));
        assert!(of("Basic Og==", None) == Credential::Nothing);
        assert!(of("", Some("CN=a")) == Credential::Certificate("CN=a"));
        assert!(of("Basic Og==", Some("CN=a")) == Credential::Certificate("CN=a"));
        assert!(of("bearer a.b.c", Some("CN=a")) == Credential::Bearer("a.b.c"));
        let long = format!("Basic {}", BASE64.encode(format!("u:{}", "p".repeat(1025))));
        let huge = "x".repeat(limits::HEADER_BYTES + 1);
        for unusable in [
            "Basic",
            "Basic !!!",
            "Basic dXNlcg==",
            "Basic /w==",
            "Basic YQpiOng=",
            "Bearer",
            "Bearer  ",
            "Digest x",
            "\u{e4}",
            &long,
            &huge,
        ] {
            assert!(
                matches!(of(unusable, Some("CN=a")), Credential::Unusable(_)),
                "{unusable}"
            );
        }
    }
}
