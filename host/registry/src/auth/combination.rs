//! Several ways to say who one is, beside each other.

use std::time::SystemTime;

use super::certificate;
use super::challenge::Fault;
use super::credential::Credential;
use super::htpasswd::Htpasswd;
use super::no_admin;
use super::token::Token;
use crate::access::{Access, Action, Actor, Decision, Gate, Presented, Refusal, Resource};

/// Lets in who is known in one of the ways. What a client shows decides which one is asked: a password, a token, or else its
/// certificate. A wrong password or token is refused also where a stranger would be let in.
#[derive(Debug, Default)]
pub struct Combination {
    /// Names and passwords.
    pub htpasswd: Option<Htpasswd>,
    /// Tokens.
    pub token: Option<Token>,
    /// Certificates.
    pub certificates: Option<certificate::Settings>,
    /// Strangers may pull.
    pub anonymous_pull: bool,
    /// Strangers are told by `GET /v2/` that all is well.
    pub anonymous_ping: bool,
    /// A policy stands in front of this and says what those who are known may do, administration included.
    pub policed: bool,
}

impl Combination {
    /// Whether there is no way to be known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.htpasswd.is_none() && self.token.is_none() && self.certificates.is_none()
    }

    async fn decide(&self, presented: &Presented<'_>, wanted: &[Access]) -> Result<Actor, Refusal> {
        let refused = |reason: &str| self.refused(presented, wanted, Fault::Missing, reason);
        match (Credential::of(presented), &self.htpasswd, &self.token) {
            (Credential::Basic { name, password }, Some(htpasswd), _) => {
                if !htpasswd.verify(&name, &password).await? {
                    return Err(refused("the name or the password is wrong"));
                }
                self.known(name, wanted)
            }
            (Credential::Bearer(token), _, Some(tokens)) => tokens
                .verify(token, wanted, SystemTime::now())
                .map_err(|(fault, reason)| self.refused(presented, wanted, fault, &reason)),
            (Credential::Certificate(subject), ..) if self.certificates.is_some() => {
                let settings = self.certificates.clone().unwrap_or_default();
                self.known(certificate::name(&settings, subject), wanted)
            }
            (Credential::Nothing | Credential::Certificate(_), ..) if self.open_to_strangers(wanted) => {
                Ok(Actor::default())
            }
            (Credential::Nothing | Credential::Certificate(_), ..) => Err(refused("log in first")),
            (Credential::Unusable(problem), ..) => Err(refused(problem)),
            (Credential::Basic { .. }, ..) => Err(refused("passwords are not taken here; get a token")),
            (Credential::Bearer(_), ..) => Err(refused("tokens are not taken here")),
        }
    }

    fn known(&self, name: String, wanted: &[Access]) -> Result<Actor, Refusal> {
        if !self.policed {
            no_admin(wanted)?;
        }
        Ok(Actor { name: Some(name) })
    }

    fn open_to_strangers(&self, wanted: &[Access]) -> bool {
        let pull = |access: &Access| {
            access.action == Action::Pull && matches!(access.resource, Resource::Repository(_))
        };
        match wanted {
            [] => self.anonymous_ping,
            wanted => self.anonymous_pull && wanted.iter().all(pull),
        }
    }

    /// With the challenges of all ways. Clients take the first; without any way to log in but a certificate, there is none.
    fn refused(&self, presented: &Presented<'_>, wanted: &[Access], fault: Fault, reason: &str) -> Refusal {
        let reason = reason.to_owned();
        let token = self
            .token
            .as_ref()
            .map(|token| token.challenge(presented.origin, wanted, fault));
        let challenges: Vec<String> = token
            .into_iter()
            .chain(self.htpasswd.as_ref().map(Htpasswd::challenge))
            .collect();
        match challenges.is_empty() {
            true => Refusal::Denied {
                reason: "show a certificate of this registry's authority".to_owned(),
            },
            false => Refusal::Unauthenticated {
                challenge: challenges.join(", "),
                reason,
            },
        }
    }
}

impl Gate for Combination {
    fn check<'a>(&'a self, presented: &'a Presented<'a>, wanted: &'a [Access]) -> Decision<'a> {
        Box::pin(self.decide(presented, wanted))
    }
}
