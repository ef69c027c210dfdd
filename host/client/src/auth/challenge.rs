//! What a registry wants to see: `WWW-Authenticate`.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;
use reqwest::Url;

use super::scope::Scopes;

/// A way in which a registry can be satisfied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Name and password with each request.
    Basic,
    /// A token from this server.
    Bearer {
        /// Where tokens are had.
        realm: Url,
        /// What the registry calls itself there.
        service: Option<String>,
    },
}

/// What the headers of one answer say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Challenge {
    /// The ways, tokens first.
    pub(crate) ways: Vec<Way>,
    /// The scopes that the registry names.
    pub(crate) scopes: Scopes,
    /// The headers as they came.
    pub(crate) texts: Vec<String>,
}

impl Challenge {
    /// Reads all headers; what cannot be read is left out.
    pub(crate) fn read(headers: &HeaderMap) -> Challenge {
        let mut found = Challenge::default();
        for value in headers.get_all(WWW_AUTHENTICATE) {
            let Ok(text) = value.to_str() else {
                continue;
            };
            found.texts.push(text.to_owned());
            for challenge in http_auth::parser::ChallengeParser::new(text).map_while(Result::ok) {
                found.add(&challenge);
            }
        }
        // Tokens before passwords: they are worth less to a thief.
        found.ways.sort_by_key(|way| matches!(way, Way::Basic));
        found
    }

    fn add(&mut self, challenge: &http_auth::ChallengeRef<'_>) {
        let parameter = |wanted: &str| {
            let mut all = challenge.params.iter();
            all.find(|(name, _)| name.eq_ignore_ascii_case(wanted))
                .map(|(_, value)| value.to_unescaped())
        };
        if challenge.scheme.eq_ignore_ascii_case("basic") {
            self.ways.push(Way::Basic);
        } else if challenge.scheme.eq_ignore_ascii_case("bearer") {
            let realm = parameter("realm").and_then(|realm| Url::parse(&realm).ok());
            let Some(realm) = realm.filter(|realm| matches!(realm.scheme(), "https" | "http")) else {
                return;
            };
            let service = parameter("service").filter(|service| !service.is_empty());
            self.ways.push(Way::Bearer { realm, service });
            if let Some(scope) = parameter("scope") {
                self.scopes = std::mem::take(&mut self.scopes).with(&Scopes::parse(&scope));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(texts: &[&str]) -> Challenge {
        let mut headers = HeaderMap::new();
        for text in texts {
            headers.append(WWW_AUTHENTICATE, text.parse().unwrap());
        }
        Challenge::read(&headers)
    }

    #[test]
    fn reads_what_registries_send() {
        let found = read(&[
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push",error="invalid_token""#,
        ]);
        let realm = Url::parse("https://auth.docker.io/token").unwrap();
        let service = Some("registry.docker.io".to_owned());
        assert_eq!(found.ways, [Way::Bearer { realm, service }]);
        assert_eq!(found.scopes, Scopes::parse("repository:a/b:pull,push"));
        assert_eq!(read(&[r#"Basic realm="x""#]).ways, [Way::Basic]);
    }

    #[test]
    fn tokens_come_before_passwords() {
        for texts in [
            vec![r#"Basic realm="a""#, r#"bearer realm="https://t/""#],
            vec![r#"Basic realm="a", Bearer realm="https://t/",service=x"#],
        ] {
            let found = read(&texts);
            assert!(matches!(found.ways[0], Way::Bearer { .. }), "{found:?}");
            assert_eq!(found.ways[1], Way::Basic);
        }
    }

    #[test]
    fn nonsense_is_no_way() {
        for text in [
            "",
            "Bearer",
            "Bearer realm=\"file:///etc\"",
            "Negotiate abc==",
            ",,,",
            "Digest realm=\"x\"",
        ] {
            assert!(read(&[text]).ways.is_empty(), "{text}");
        }
    }
}
