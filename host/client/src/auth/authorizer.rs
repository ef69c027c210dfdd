//! The `Authorization` of every request to one host: asked for once, renewed by one for all who wait.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderValue;
use tokio::time::Instant;

use super::challenge::{Challenge, Way};
use super::credentials::{Asked, CredentialSource, Credentials};
use super::scope::Scopes;
use super::token::{self, Wanted};
use crate::transport::wire::Wire;
use crate::{Error, Secret, limits};

/// What is known of a host's wishes.
#[derive(Debug)]
pub(crate) struct Authorizer {
    /// The host as sources of credentials know it.
    host: String,
    source: Arc<dyn CredentialSource>,
    wish: Mutex<Option<Wish>>,
    slots: Mutex<HashMap<Scopes, Arc<Slot>>>,
    /// The newest refresh token, where the server changes it.
    refresh: Mutex<Option<Secret>>,
}

/// How the host was last satisfied, or is to be.
#[derive(Clone, Debug)]
struct Wish {
    way: Way,
    secure: bool,
    challenges: Vec<String>,
}

/// What is shown for one set of scopes. Whoever holds the lock renews it; the others wait for that.
#[derive(Debug, Default)]
struct Slot {
    state: tokio::sync::Mutex<State>,
    failures: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    header: Option<(HeaderValue, Option<Instant>)>,
    /// Why the last try failed.
    failure: Option<Failure>,
}

/// An error that several can have.
#[derive(Clone, Debug)]
enum Failure {
    Unauthorized { host: String, reason: String },
    Helper { program: String, reason: String },
    Other { host: String, reason: String },
}

impl Authorizer {
    pub(crate) fn new(host: String, source: Arc<dyn CredentialSource>) -> Authorizer {
        Authorizer {
            host,
            source,
            wish: Mutex::default(),
            slots: Mutex::default(),
            refresh: Mutex::default(),
        }
    }

    /// The host as sources of credentials know it.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// What to show; nothing as long as the host did not ask.
    pub(crate) async fn header(
        &self,
        wire: &Wire,
        scopes: &Scopes,
        what: &str,
    ) -> Result<Option<HeaderValue>, Error> {
        let Some(wish) = lock(&self.wish).clone() else {
            return Ok(None);
        };
        let slot = self.slot(scopes);
        let seen = slot.failures.load(Ordering::Acquire);
        let mut state = slot.state.lock().await;
        if let Some((header, until)) = &state.header
            && until.is_none_or(|until| Instant::now() < until)
        {
            return Ok(Some(header.clone()));
        }
        // Somebody tried while this one waited: the next try would end the same.
        if slot.failures.load(Ordering::Acquire) != seen
            && let Some(failure) = &state.failure
        {
            return Err(failure.error(what));
        }
        match self.obtain(wire, &wish, scopes).await {
            Ok(found) => {
                state.header.clone_from(&found);
                Ok(found.map(|(header, _)| header))
            }
            Err(error) => {
                let failure = Failure::of(&self.host, &error);
                state.failure = Some(failure.clone());
                slot.failures.fetch_add(1, Ordering::AcqRel);
                Err(failure.error(what))
            }
        }
    }

    /// The host did not accept what was shown: what was shown is forgotten, what it wishes is kept.
    pub(crate) async fn refused(
        &self,
        challenge: &Challenge,
        scopes: &Scopes,
        shown: Option<&HeaderValue>,
        secure: bool,
    ) -> Result<(), String> {
        let Some(way) = challenge.ways.first() else {
            return Err("it does not say how; Transom knows Basic and Bearer".to_owned());
        };
        if let Some(shown) = shown {
            let slot = self.slot(scopes);
            let mut state = slot.state.lock().await;
            if state.header.as_ref().is_some_and(|(header, _)| header == shown) {
                state.header = None;
                if *way == Way::Basic {
                    return Err(format!(
                        "it does not accept this user and password: transom registry login {}",
                        self.host
                    ));
                }
            }
        }
        *lock(&self.wish) = Some(Wish {
            way: way.clone(),
            secure,
            challenges: challenge.texts.clone(),
        });
        Ok(())
    }

    fn slot(&self, scopes: &Scopes) -> Arc<Slot> {
        let mut slots = lock(&self.slots);
        if slots.len() >= limits::TOKENS && !slots.contains_key(scopes) {
            slots.clear();
        }
        Arc::clone(slots.entry(scopes.clone()).or_default())
    }

    async fn obtain(
        &self,
        wire: &Wire,
        wish: &Wish,
        scopes: &Scopes,
    ) -> Result<Option<(HeaderValue, Option<Instant>)>, Error> {
        let asked = Asked {
            host: &self.host,
            repository: scopes.repository(),
            challenges: &wish.challenges,
        };
        let credentials = self.source.credentials(asked).await?;
        match (&credentials, &wish.way) {
            (Credentials::Header(header), _) => Ok(Some((token::sensitive(header)?, None))),
            (Credentials::RegistryToken(token), _) => Ok(Some((token::header("Bearer", token)?, None))),
            (Credentials::Password { username, password }, Way::Basic) => {
                Ok(Some((token::basic(username, password)?, None)))
            }
            (_, Way::Basic) => Ok(None),
            (_, Way::Bearer { realm, service }) => {
                let wanted = Wanted {
                    realm,
                    service: service.as_deref(),
                    scopes,
                    secure: wish.secure,
                };
                let token = self.token(wire, &wanted, credentials.clone()).await?;
                Ok(Some((token::header("Bearer", &token.value)?, Some(token.until))))
            }
        }
    }

    async fn token(
        &self,
        wire: &Wire,
        wanted: &Wanted<'_>,
        credentials: Credentials,
    ) -> Result<token::Token, Error> {
        let renewed = lock(&self.refresh).clone();
        let mut found = None;
        if let (Credentials::IdentityToken(_), Some(renewed)) = (&credentials, renewed) {
            found = token::fetch(wire, wanted, &Credentials::IdentityToken(renewed))
                .await
                .ok();
        }
        let token = match found {
            Some(token) => token,
            None => token::fetch(wire, wanted, &credentials).await?,
        };
        if matches!(credentials, Credentials::IdentityToken(_)) {
            lock(&self.refresh).clone_from(&token.refresh);
        }
        Ok(token)
    }
}

impl Failure {
    fn of(host: &str, error: &Error) -> Failure {
        match error {
            Error::Unauthorized {
                host: server, reason, ..
            }
            | Error::Denied {
                host: server, reason, ..
            } => Failure::Unauthorized {
                host: host.to_owned(),
                reason: format!("{server} gives no token ({reason}): transom registry login {host}"),
            },
            Error::Helper { program, reason } => Failure::Helper {
                program: program.clone(),
                reason: reason.clone(),
            },
            error => Failure::Other {
                host: host.to_owned(),
                reason: format!("no token: {error}"),
            },
        }
    }

    fn error(&self, what: &str) -> Error {
        match self {
            Failure::Unauthorized { host, reason } => Error::Unauthorized {
                host: host.clone(),
                what: what.to_owned(),
                reason: reason.clone(),
            },
            Failure::Helper { program, reason } => Error::Helper {
                program: program.clone(),
                reason: reason.clone(),
            },
            Failure::Other { host, reason } => Error::Unreachable {
                host: host.clone(),
                reason: reason.clone(),
            },
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
