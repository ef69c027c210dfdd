//! What a token says once its signature is checked (docker-registry's token specification).

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer};

use crate::access::Access;
use crate::auth::{CERTIFICATE_PREFIX, challenge, limits};

/// The claims. One that is of a wrong type makes the token invalid; it is never taken as missing.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    iss: String,
    #[serde(default)]
    sub: String,
    #[serde(default, deserialize_with = "audience")]
    aud: Vec<String>,
    exp: f64,
    nbf: Option<f64>,
    #[serde(default, deserialize_with = "grants")]
    access: Vec<Grant>,
}

#[derive(Debug, Deserialize)]
struct Grant {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    actions: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

fn audience<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}

/// Go writes an empty list as `null`.
fn grants<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Grant>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Claims {
    pub(super) fn parse(payload: &[u8]) -> Result<Claims, String> {
        let claims: Claims =
            serde_json::from_slice(payload).map_err(|_| "the token's claims are malformed".to_owned())?;
        if claims.access.len() > limits::TOKEN_ACCESS {
            return Err(format!(
                "the token has more than {} entries of access",
                limits::TOKEN_ACCESS
            ));
        }
        let name = &claims.sub;
        let fits = name.len() <= limits::NAME_BYTES && !name.contains(char::is_control);
        if !fits || name.starts_with(CERTIFICATE_PREFIX) {
            return Err("the token's subject cannot be the name of a user".to_owned());
        }
        Ok(claims)
    }

    /// From the right issuer, for this service, and at this time.
    pub(super) fn check(&self, issuer: &str, service: &str, now: SystemTime) -> Result<(), String> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let leeway = limits::LEEWAY.as_secs_f64();
        if self.iss != issuer {
            return Err("the token is of another issuer".to_owned());
        }
        if !self.aud.iter().any(|audience| audience == service) {
            return Err("the token is for another service".to_owned());
        }
        if now > self.exp + leeway {
            return Err("the token has expired".to_owned());
        }
        if self.nbf.is_some_and(|begin| now < begin - leeway) {
            return Err("the token is not valid yet".to_owned());
        }
        Ok(())
    }

    /// Whether one of its entries has the action, or all actions.
    pub(super) fn allow(&self, access: &Access) -> bool {
        let (kind, name) = challenge::named(&access.resource);
        let action = challenge::action(&access.resource, access.action);
        let grants = self
            .access
            .iter()
            .filter(|grant| grant.kind == kind && grant.name == name);
        grants
            .flat_map(|grant| &grant.actions)
            .any(|granted| granted == action || granted == "*")
    }

    /// Whom it is for; `None` for a stranger.
    pub(super) fn subject(&self) -> Option<String> {
        Some(self.sub.clone()).filter(|name| !name.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::access::{Action, Resource};
    use crate::names::RepositoryName;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn claims(text: &str) -> Claims {
        Claims::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn time_has_a_leeway_of_a_minute() {
        let claims = claims(r#"{"iss":"i","aud":["x","s"],"exp":2000,"nbf":1000,"sub":"u"}"#);
        let check = |seconds| claims.check("i", "s", at(seconds)).is_ok();
        assert!(!check(939) && check(940) && check(2060) && !check(2061));
        assert!(claims.check("j", "s", at(1500)).is_err());
        assert!(claims.check("i", "t", at(1500)).is_err());
    }

    #[test]
    fn a_claim_of_a_wrong_type_is_not_a_missing_one() {
        for text in [
            r#"{"iss":"i","aud":"s"}"#,
            r#"{"iss":"i","aud":"s","exp":"9"}"#,
            r#"{"iss":"i","aud":"s","exp":null}"#,
            r#"{"iss":"i","aud":"s","exp":9,"nbf":"0"}"#,
            r#"{"iss":"i","aud":{},"exp":9}"#,
            r#"{"iss":["i"],"aud":"s","exp":9}"#,
            r#"{"aud":"s","exp":9}"#,
            r#"{"iss":"i","aud":"s","exp":9,"exp":99}"#,
            r#"{"iss":"i","aud":"s","exp":9,"sub":"certificate:root"}"#,
            r#"{"iss":"i","aud":"s","exp":9,"sub":"a\nb"}"#,
            r#"{"iss":"i","aud":"s","exp":9,"access":{}}"#,
            r#"{"iss":"i","aud":"s","exp":9,"access":[{"type":"repository","name":"a","actions":"pull"}]}"#,
            "[]",
            "\u{fffd}",
        ] {
            assert!(Claims::parse(text.as_bytes()).is_err(), "{text}");
        }
        let many = vec![r#"{"type":"t"}"#; limits::TOKEN_ACCESS + 1].join(",");
        let text = format!(r#"{{"iss":"i","aud":"s","exp":9,"access":[{many}]}}"#);
        assert!(Claims::parse(text.as_bytes()).is_err());
        let anonymous = claims(r#"{"iss":"i","aud":"s","exp":9e9,"access":null}"#);
        assert_eq!(anonymous.check("i", "s", at(5)), Ok(()));
        assert_eq!(anonymous.subject(), None);
    }

    #[test]
    fn access_is_by_type_name_and_action() {
        let claims = claims(
            r#"{"iss":"i","exp":9,"access":[{"type":"repository","name":"a/b","actions":["pull"]},
            {"type":"repository","name":"a/b","actions":["push"]},{"type":"repository","name":"c","actions":["*"]},
            {"type":"registry","name":"catalog","actions":["*"]},{"type":"repository(plugin)","name":"d","actions":["*"]}]}"#,
        );
        let may = |name: &str, action| {
            let name = RepositoryName::new(name).unwrap();
            claims.allow(&Access::repository(&name, action))
        };
        assert!(may("a/b", Action::Pull) && may("a/b", Action::Push) && !may("a/b", Action::Delete));
        assert!(may("c", Action::Delete) && !may("c/d", Action::Pull) && !may("d", Action::Pull));
        let registry = |resource| {
            claims.allow(&Access {
                resource,
                action: Action::Pull,
            })
        };
        assert!(registry(Resource::Catalog) && !registry(Resource::Admin));
    }
}
