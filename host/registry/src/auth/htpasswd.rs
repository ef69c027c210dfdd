//! Names and passwords from a file that `htpasswd -B` makes.
//!
//! `users` reads the file. bcrypt is slow by design, so its work is done on threads of its own, few at a time, and not for each
//! request.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::sync::Semaphore;

use super::credential::Credential;
use super::remembered::{Remembered, Tag};
use super::{challenge, limits};
use crate::access::{Access, Actor, Decision, Gate, Presented, Refusal};
use crate::settings::SetupError;
use crate::watched::{LOOK_EVERY, Watched};

mod users;

use users::Users;

/// `[auth.htpasswd]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What a client is told it must log in to.
    pub realm: String,
    /// The file.
    pub path: PathBuf,
}

/// Lets in who knows a password of the file. What someone may do is not its business: it lets them do everything but
/// administration.
pub struct Htpasswd {
    realm: String,
    users: Watched<Users>,
    verified: Arc<Remembered<()>>,
    /// How many passwords are checked at a time.
    threads: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl fmt::Debug for Htpasswd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Htpasswd")
            .field("users", &self.users)
            .finish_non_exhaustive()
    }
}

impl Htpasswd {
    /// Reads the file.
    ///
    /// # Errors
    /// [`SetupError`] if it cannot be read or has a line that is no entry.
    pub fn open(settings: &Settings) -> Result<Htpasswd, SetupError> {
        Htpasswd::open_with(settings, LOOK_EVERY)
    }

    /// The same, with how often the file is looked at.
    ///
    /// # Errors
    /// As [`Htpasswd::open`].
    #[doc(hidden)]
    pub fn open_with(settings: &Settings, every: Duration) -> Result<Htpasswd, SetupError> {
        let users = Watched::open(&settings.path, limits::HTPASSWD_BYTES, every, Users::parse)?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Htpasswd {
            realm: settings.realm.clone(),
            users,
            verified: Arc::new(Remembered::new()),
            threads: Arc::new(Semaphore::new((cores / 2).max(1))),
            waiting: AtomicUsize::new(0),
        })
    }

    /// Why the file's newest state does not hold, if it does not.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.users.problem()
    }

    pub(super) fn challenge(&self) -> String {
        challenge::basic(&self.realm)
    }

    /// Whether the password is the user's. A user that does not exist costs as much as one that does.
    pub(super) async fn verify(&self, name: &str, password: &str) -> Result<bool, Refusal> {
        let users = self.users.get();
        let hash = users.hash(name).unwrap_or_else(|| users.nobody());
        let tag = self
            .verified
            .tag(&[name.as_bytes(), password.as_bytes(), hash.as_bytes()]);
        let right = self.verified.find(&tag, Instant::now()).is_some()
            || self.bcrypt(tag, password.to_owned(), hash.to_owned()).await?;
        Ok(right && users.hash(name).is_some())
    }

    async fn bcrypt(&self, tag: Tag, password: String, hash: String) -> Result<bool, Refusal> {
        let _waits = Waits::new(&self.waiting).ok_or(Refusal::TooMany { retry_after: 1 })?;
        let unavailable = |reason: &str| Refusal::Unavailable {
            reason: reason.to_owned(),
        };
        let permit = Arc::clone(&self.threads).acquire_owned().await;
        let permit = permit.map_err(|_| unavailable("passwords are not checked any more"))?;
        let verified = Arc::clone(&self.verified);
        let work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            // One of several requests of the same client may have found out meanwhile.
            if verified.find(&tag, Instant::now()).is_some() {
                return true;
            }
            let right = bcrypt::verify(password, &hash).unwrap_or(false);
            if right {
                verified.remember(tag, (), Instant::now());
            }
            right
        });
        work.await
            .map_err(|_| unavailable("the password could not be checked; try again"))
    }
}

/// A place among those who wait.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn new(waiting: &'a AtomicUsize) -> Option<Waits<'a>> {
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        let place = Waits(waiting);
        (before < limits::WAITING).then_some(place)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gate for Htpasswd {
    fn check<'a>(&'a self, presented: &'a Presented<'a>, wanted: &'a [Access]) -> Decision<'a> {
        Box::pin(async move {
            let refused = |reason: &str| Refusal::Unauthenticated {
                challenge: self.challenge(),
                reason: reason.to_owned(),
            };
            match Credential::of(presented) {
                Credential::Basic { name, password } => {
                    if !self.verify(&name, &password).await? {
                        return Err(refused("the name or the password is wrong"));
                    }
                    super::no_admin(wanted)?;
                    Ok(Actor { name: Some(name) })
                }
                Credential::Unusable(problem) => Err(refused(problem)),
                _ => Err(refused("log in with a name and a password")),
            }
        })
    }
}
