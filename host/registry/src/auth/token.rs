//! Tokens of a token server (docker-registry's `token`; JWT, RFC 7519).
//!
//! In the order of what happens to a token: `jws` takes it apart, `trust` finds the key that it must be signed by and that was
//! trusted before the token came, `keys` checks the signature, `claims` says what it allows.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde::Deserialize;

use super::challenge::{self, Fault};
use super::credential::Credential;
use super::limits;
use super::remembered::{Remembered, Tag};
use crate::access::{Access, Actor, Decision, Gate, Presented, Refusal};
use crate::settings::SetupError;
use crate::watched::LOOK_EVERY;

mod claims;
mod der;
mod jwk;
mod jws;
mod keys;
mod trust;

use claims::Claims;
pub use keys::Algorithm;
use trust::Trust;

/// `[auth.token]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where clients get tokens: a URL. Not needed with `redirect`.
    #[serde(default)]
    pub realm: String,
    /// What tokens must be for: the name of this registry at the token server.
    pub service: String,
    /// Who must have made them.
    pub issuer: String,
    /// A file of keys (JWKS, RFC 7517).
    pub jwks: Option<PathBuf>,
    /// A file of certificates and public keys in PEM: keys that sign tokens, and authorities for the certificates that come with
    /// tokens (docker-registry's `rootcertbundle`).
    pub certificates: Option<PathBuf>,
    /// The algorithms that are taken; all that are known if there is none.
    #[serde(default)]
    pub algorithms: Vec<Algorithm>,
    /// The token server is at this path on this registry's own host, whatever name the client calls it by.
    pub redirect: Option<String>,
}

/// Lets in who has a token that allows what is wanted.
#[derive(Debug)]
pub struct Token {
    settings: Settings,
    trust: Trust,
    /// What tokens say whose signatures were right: a client shows the same one with each request.
    remembered: Remembered<Arc<Claims>>,
}

impl Token {
    /// Reads the keys.
    ///
    /// # Errors
    /// [`SetupError`] if there is no key, or settings do not fit together.
    pub fn open(settings: &Settings) -> Result<Token, SetupError> {
        Token::open_with(settings, LOOK_EVERY)
    }

    /// The same, with how often the files are looked at.
    ///
    /// # Errors
    /// As [`Token::open`].
    #[doc(hidden)]
    pub fn open_with(settings: &Settings, every: Duration) -> Result<Token, SetupError> {
        let must = |fits: bool, key: &str, problem: &str| {
            let setting = format!("auth.token.{key}");
            fits.then_some(()).ok_or(SetupError::setting(setting, problem))
        };
        must(!settings.issuer.is_empty(), "issuer", "it must not be empty")?;
        must(!settings.service.is_empty(), "service", "it must not be empty")?;
        match &settings.redirect {
            Some(path) => must(
                path.starts_with('/'),
                "redirect",
                "it must be a path: /auth/token",
            )?,
            None => must(
                settings.realm.starts_with("https://") || settings.realm.starts_with("http://"),
                "realm",
                "it must be the URL of the token server",
            )?,
        }
        Ok(Token {
            trust: Trust::open(settings, every)?,
            remembered: Remembered::new(),
            settings: settings.clone(),
        })
    }

    /// Why the newest state of a file of keys does not hold, if it does not.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.trust.problem()
    }

    pub(super) fn challenge(&self, origin: &str, wanted: &[Access], fault: Fault) -> String {
        let realm = match &self.settings.redirect {
            Some(path) => format!("{origin}{path}"),
            None => self.settings.realm.clone(),
        };
        challenge::bearer(&realm, &self.settings.service, wanted, fault)
    }

    /// Who the token is for, if it allows all of this now.
    pub(super) fn verify(
        &self,
        token: &str,
        wanted: &[Access],
        now: SystemTime,
    ) -> Result<Actor, (Fault, String)> {
        let invalid = |reason: String| (Fault::Invalid, reason);
        let tag = self.remembered.tag(&[token.as_bytes(), &self.trust.generation()]);
        let claims = match self.remembered.find(&tag, Instant::now()) {
            Some(claims) => claims,
            None => self.claims(token, tag, now).map_err(invalid)?,
        };
        claims
            .check(&self.settings.issuer, &self.settings.service, now)
            .map_err(invalid)?;
        match wanted.iter().find(|access| !claims.allow(access)) {
            Some(access) => Err((
                Fault::Insufficient,
                format!("the token does not allow to {access}"),
            )),
            None => Ok(Actor {
                name: claims.subject(),
            }),
        }
    }

    /// What the token says, if its signature is right.
    fn claims(&self, token: &str, tag: Tag, now: SystemTime) -> Result<Arc<Claims>, String> {
        let jws = jws::Jws::parse(token)?;
        let algorithm = self.algorithm(&jws.header.alg)?;
        let key = self.trust.key(&jws.header, now)?;
        if !key.verify(algorithm, jws.signed.as_bytes(), &jws.signature) {
            return Err("the token's signature is wrong".to_owned());
        }
        let claims = Arc::new(Claims::parse(&jws.payload)?);
        if jws.payload.len() <= limits::REMEMBERED_CLAIMS {
            self.remembered.remember(tag, Arc::clone(&claims), Instant::now());
        }
        Ok(claims)
    }

    fn algorithm(&self, name: &str) -> Result<Algorithm, String> {
        let chosen = &self.settings.algorithms;
        Algorithm::of(name)
            .filter(|algorithm| chosen.is_empty() || chosen.contains(algorithm))
            .ok_or_else(|| "the token is signed by an algorithm that is not taken here".to_owned())
    }
}

impl Gate for Token {
    fn check<'a>(&'a self, presented: &'a Presented<'a>, wanted: &'a [Access]) -> Decision<'a> {
        let verified = match Credential::of(presented) {
            Credential::Bearer(token) => self.verify(token, wanted, SystemTime::now()),
            Credential::Unusable(problem) => Err((Fault::Missing, problem.to_owned())),
            _ => Err((Fault::Missing, "a token is needed".to_owned())),
        };
        let decision = verified.map_err(|(fault, reason)| Refusal::Unauthenticated {
            challenge: self.challenge(presented.origin, wanted, fault),
            reason,
        });
        Box::pin(std::future::ready(decision))
    }
}
