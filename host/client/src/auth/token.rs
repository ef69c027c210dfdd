//! One token from its server: docker's token specification (GET) and its OAuth 2 form (POST).

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use reqwest::{Request, Url};
use serde::Deserialize;
use tokio::time::Instant;

use super::config::encode;
use super::credentials::Credentials;
use super::scope::Scopes;
use crate::transport::wire::{Trouble, Wire, host_of};
use crate::transport::{Answer, status};
use crate::{Error, Secret, hosts, limits};

/// What this program calls itself at token servers.
const CLIENT_ID: &str = "transom";

/// A token.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) value: Secret,
    /// When it is no longer used.
    pub(crate) until: Instant,
    /// What the next token is had for, if the server changes that each time.
    pub(crate) refresh: Option<Secret>,
}

/// What a token is wanted for.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) realm: &'a Url,
    pub(crate) service: Option<&'a str>,
    pub(crate) scopes: &'a Scopes,
    /// Whether the registry is spoken with over TLS; then no password goes out without.
    pub(crate) secure: bool,
}

#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    token: Secret,
    #[serde(default)]
    access_token: Secret,
    #[serde(default)]
    refresh_token: Secret,
    #[serde(default)]
    expires_in: Option<f64>,
}

/// Gets a token.
pub(crate) async fn fetch(wire: &Wire, wanted: &Wanted<'_>, shown: &Credentials) -> Result<Token, Error> {
    let realm = wanted.realm;
    let clear = realm.scheme() == "http" && !hosts::is_loopback(&host_of(realm));
    if wanted.secure && clear && *shown != Credentials::Anonymous {
        return Err(Error::Protocol {
            host: wire.label().to_owned(),
            reason: format!(
                "it wants our credentials sent in the clear to {}; use --plain-http if that is meant",
                host_of(realm)
            ),
        });
    }
    let first = match shown {
        Credentials::IdentityToken(_) => post(wire, wanted, shown).await,
        _ => get(wire, wanted, shown).await,
    };
    match (first, shown) {
        // Servers that know OAuth 2 only.
        (Err(Error::NotFound { .. } | Error::Unsupported { .. }), Credentials::Password { .. }) => {
            post(wire, wanted, shown).await
        }
        (result, _) => result,
    }
}

async fn get(wire: &Wire, wanted: &Wanted<'_>, shown: &Credentials) -> Result<Token, Error> {
    let mut url = wanted.realm.clone();
    {
        let mut query = url.query_pairs_mut();
        query.append_pair("client_id", CLIENT_ID);
        if let Some(service) = wanted.service {
            query.append_pair("service", service);
        }
        for scope in wanted.scopes.texts() {
            query.append_pair("scope", &scope);
        }
        if let Credentials::Password { username, .. } = shown {
            query.append_pair("account", username);
        }
    }
    let authorization = match shown {
        Credentials::Password { username, password } => Some(basic(username, password)?),
        _ => None,
    };
    ask(wire, || {
        let mut request = Request::new(Method::GET, url.clone());
        if let Some(value) = &authorization {
            request.headers_mut().insert(AUTHORIZATION, value.clone());
        }
        request
    })
    .await
}

async fn post(wire: &Wire, wanted: &Wanted<'_>, shown: &Credentials) -> Result<Token, Error> {
    let mut form = wanted.realm.clone();
    form.set_query(None);
    {
        let mut fields = form.query_pairs_mut();
        fields.append_pair("client_id", CLIENT_ID);
        fields.append_pair("access_type", "offline");
        if let Some(service) = wanted.service {
            fields.append_pair("service", service);
        }
        let scopes: Vec<String> = wanted.scopes.texts().collect();
        fields.append_pair("scope", &scopes.join(" "));
        match shown {
            Credentials::IdentityToken(token) => {
                fields.append_pair("grant_type", "refresh_token");
                fields.append_pair("refresh_token", token.expose());
            }
            Credentials::Password { username, password } => {
                fields.append_pair("grant_type", "password");
                fields.append_pair("username", username);
                fields.append_pair("password", password.expose());
            }
            _ => {}
        }
    }
    let body = Bytes::from(form.query().unwrap_or_default().to_owned());
    ask(wire, || {
        let mut request = Request::new(Method::POST, wanted.realm.clone());
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(CONTENT_TYPE, kind);
        *request.body_mut() = Some(body.clone().into());
        request
    })
    .await
}

/// Asks until there is an answer. The token server is no part of the registry: it gets no client certificate, unless it is
/// on the same host.
async fn ask(wire: &Wire, request: impl Fn() -> Request) -> Result<Token, Error> {
    let mut backoff = wire.retry().start();
    loop {
        let trouble = match one(wire, request()).await {
            Ok(token) => return Ok(token),
            Err(trouble) => trouble,
        };
        backoff.wait(trouble).await?;
    }
}

async fn one(wire: &Wire, request: Request) -> Result<Token, Trouble> {
    let url = request.url().clone();
    let foreign = host_of(&url) != wire.label();
    let begin = Instant::now();
    let response = wire.send(foreign, request, None).await?;
    let mut answer = Answer::new(response, wire.stall());
    if answer.status() != http::StatusCode::OK {
        return Err(status::trouble("a token", answer).await);
    }
    let body = answer
        .read_all("a token", limits::TOKEN_BYTES)
        .await
        .map_err(Trouble::Never)?;
    // The error's own text may repeat a value.
    let reply: Reply = serde_json::from_slice(&body).map_err(|_| {
        Trouble::Never(Error::Protocol {
            host: host_of(&url),
            reason: "its token is not JSON with \"token\" or \"access_token\"".to_owned(),
        })
    })?;
    let Reply {
        token,
        access_token,
        refresh_token,
        expires_in,
    } = reply;
    let value = if token.is_empty() { access_token } else { token };
    if value.is_empty() {
        return Err(Trouble::Never(Error::Protocol {
            host: host_of(&url),
            reason: "its answer has no token in it".to_owned(),
        }));
    }
    Ok(Token {
        value,
        until: begin + life(expires_in),
        refresh: Some(refresh_token).filter(|token| !token.is_empty()),
    })
}

/// How long a token is used.
fn life(expires_in: Option<f64>) -> Duration {
    let life = expires_in
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|life| !life.is_zero())
        .unwrap_or(limits::TOKEN_LIFE)
        .min(limits::TOKEN_LIFE_MAX);
    life - limits::TOKEN_MARGIN.min(life / 10)
}

/// A header with name and password.
pub(crate) fn basic(username: &str, password: &Secret) -> Result<HeaderValue, Error> {
    header("Basic", &encode(username, password))
}

/// A header with a scheme and what belongs to it.
pub(crate) fn header(scheme: &str, secret: &Secret) -> Result<HeaderValue, Error> {
    let text = Secret::new(format!("{scheme} {}", secret.expose()));
    sensitive(&text)
}

/// A header that is not logged.
pub(crate) fn sensitive(text: &Secret) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(text.expose().trim()).map_err(|_| Error::Setup {
        host: "the registry".to_owned(),
        reason: "a token or password has characters that no header may have".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_used_until_shortly_before_its_end() {
        let seconds = |given| life(given).as_secs_f64();
        assert_eq!(seconds(Some(300.0)), 290.0);
        assert_eq!(seconds(Some(10.0)), 9.0);
        for wrong in [None, Some(0.0), Some(-5.0), Some(f64::NAN)] {
            assert_eq!(seconds(wrong), 54.0);
        }
        assert_eq!(seconds(Some(1e300)), 54.0);
        assert_eq!(seconds(Some(1e9)), 86_390.0);
    }
}
