//! Who a client is: the gates, and the `[auth]` table that they are made of.
//!
//! Read in this order: `credential` (what a client shows), [`htpasswd`], [`token`] (each a [`Gate`] by itself), with `remembered`
//! (what need not be checked again), [`certificate`], [`combination`] (several of them, and pulls by strangers), [`throttle`]
//! (how often), `challenge` (what is answered), [`limits`].
//!
//! [`gate()`] puts together what a configuration asks for; what known clients may do is said by a [`policy`](crate::policy).

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::access::{Access, Gate, Open, Refusal, Resource};
use crate::policy::{self, Policed};
use crate::settings::SetupError;
use crate::watched::LOOK_EVERY;

pub mod certificate;
mod challenge;
pub mod combination;
pub(crate) mod credential;
pub mod htpasswd;
pub mod limits;
mod remembered;
pub mod throttle;
pub mod token;

use combination::Combination;
use htpasswd::Htpasswd;
use throttle::Throttle;
use token::Token;

/// What the name of a client that is known by its certificate begins with. No user of a file can have such a name, and no
/// token may.
pub const CERTIFICATE_PREFIX: &str = "certificate:";

/// `[auth]`: how clients say who they are. Several ways can stand beside each other.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Strangers may pull from every repository. With a policy, write it there.
    #[serde(default)]
    pub anonymous_pull: bool,
    /// Answer `GET /v2/` without credentials by 200 and not by a challenge. See `docs/guides/registry-access.md`.
    #[serde(default)]
    pub anonymous_ping: bool,
    /// Names and passwords.
    pub htpasswd: Option<htpasswd::Settings>,
    /// Tokens.
    pub token: Option<token::Settings>,
    /// Certificates of clients.
    pub certificates: Option<certificate::Settings>,
    /// How often clients may ask.
    pub limits: Option<throttle::Settings>,
}

/// The gate that a configuration asks for. Without any authentication and without a policy everybody may do everything.
///
/// # Errors
/// [`SetupError`] names the file or the setting that cannot be used.
pub fn gate(auth: &Settings, policy: Option<&policy::Settings>) -> Result<Arc<dyn Gate>, SetupError> {
    gate_with(auth, policy, LOOK_EVERY)
}

/// The same, with how often files are looked at.
///
/// # Errors
/// As [`gate()`].
#[doc(hidden)]
pub fn gate_with(
    auth: &Settings,
    policy: Option<&policy::Settings>,
    every: Duration,
) -> Result<Arc<dyn Gate>, SetupError> {
    if policy.is_some() && auth.anonymous_pull {
        let problem = "with a policy, give \"anonymous\" the right to pull there, and leave this out";
        return Err(SetupError::setting("auth.anonymous_pull", problem));
    }
    let htpasswd = auth
        .htpasswd
        .as_ref()
        .map(|settings| Htpasswd::open_with(settings, every));
    let token = auth
        .token
        .as_ref()
        .map(|settings| Token::open_with(settings, every));
    let combination = Combination {
        htpasswd: htpasswd.transpose()?,
        token: token.transpose()?,
        certificates: auth.certificates.clone(),
        anonymous_pull: auth.anonymous_pull,
        anonymous_ping: auth.anonymous_ping,
        policed: policy.is_some(),
    };
    let known: Arc<dyn Gate> = match combination.is_empty() {
        true if auth.anonymous_pull => {
            let problem = "it needs a way to log in for all else: set [auth.htpasswd], [auth.token] or [auth.certificates]";
            return Err(SetupError::setting("auth.anonymous_pull", problem));
        }
        true => Arc::new(Open),
        false => Arc::new(combination),
    };
    let allowed: Arc<dyn Gate> = match policy {
        Some(settings) => Arc::new(Policed::open_with(settings, known, every)?),
        None => known,
    };
    Ok(match &auth.limits {
        Some(settings) => Arc::new(Throttle::new(settings, allowed)?),
        None => allowed,
    })
}

/// To run the registry needs more than to be known.
fn no_admin(wanted: &[Access]) -> Result<(), Refusal> {
    if wanted.iter().any(|access| access.resource == Resource::Admin) {
        return Err(Refusal::Denied {
            reason: "administration needs a policy that allows it, or a token".to_owned(),
        });
    }
    Ok(())
}
