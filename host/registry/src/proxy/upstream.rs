//! Another registry: which repositories come from it, how it is asked, and what its errors mean here.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use transom_client::auth::{Asked, CredentialSource, Credentials};
use transom_client::reference::DEFAULT_REGISTRY;
use transom_client::{Client, Hosts, Options, Remote, Repository, Retry, Secret, Timeouts};

use super::limits;
use super::settings::{Place, Settings};
use crate::Error;
use crate::error::Result;
use crate::names::{RepositoryName, Tag};
use crate::settings::SetupError;

/// Another registry, for the repositories below a prefix.
#[derive(Debug)]
pub(super) struct Upstream {
    prefix: String,
    address: String,
    place: Place,
    ttl: Option<Duration>,
    revalidate: Duration,
    client: Client,
    /// When it could not be reached.
    down: Mutex<Option<Instant>>,
    /// When it was last asked where a tag points.
    looked_at: Mutex<HashMap<(RepositoryName, Tag), Instant>>,
}

impl Upstream {
    pub(super) fn new(settings: &Settings) -> Result<Upstream, SetupError> {
        let place = settings.check()?;
        let login = Login {
            host: place.host.clone(),
            username: settings.username.clone(),
            password: settings.password.clone().unwrap_or_default(),
            file: settings.password_file.clone(),
        };
        let options = Options {
            hosts: Hosts {
                folders: settings.hosts.iter().cloned().collect(),
                plain_http: !place.tls,
                tls_only: place.tls,
                ..Hosts::default()
            },
            credentials: Arc::new(login),
            timeouts: Timeouts {
                connect: limits::CONNECT,
                stall: settings.timeout.0,
            },
            retry: Retry {
                tries: limits::TRIES,
                first: limits::FIRST_PAUSE,
                longest: limits::LONGEST_PAUSE,
                longest_asked: limits::LONGEST_PAUSE,
            },
            ..Options::default()
        };
        let upstream = Upstream {
            prefix: settings.prefix.clone(),
            address: format!("{}/{}", place.host, place.path),
            place,
            ttl: Some(settings.ttl.0).filter(|ttl| !ttl.is_zero()),
            revalidate: settings.revalidate.0,
            client: Client::new(options),
            down: Mutex::default(),
            looked_at: Mutex::default(),
        };
        // Mistakes in the settings of its hosts are told now, not to the first client.
        let name = Repository::new(&upstream.place.host, "any").map_err(|error| {
            let problem = error.to_string();
            settings.wrong("upstream", problem)
        })?;
        let remote = upstream.client.remote(&name);
        remote.map_err(|error| settings.wrong("hosts", error.to_string()))?;
        Ok(upstream)
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Where it is, for people.
    pub(super) fn address(&self) -> &str {
        self.address.trim_end_matches('/')
    }

    /// After how long what nobody uses is forgotten; `None` for never.
    pub(super) fn ttl(&self) -> Option<Duration> {
        self.ttl
    }

    /// What comes after the prefix, if a repository is one of these.
    pub(super) fn rest<'n>(&self, name: &'n RepositoryName) -> Option<&'n str> {
        match self.prefix.as_str() {
            "" => Some(name.as_str()),
            prefix => name.as_str().strip_prefix(prefix)?.strip_prefix('/'),
        }
    }

    /// A repository as it is called there.
    pub(super) fn remote(&self, name: &RepositoryName) -> Result<Remote> {
        let rest = self.rest(name).unwrap_or(name.as_str());
        let path = match self.place.path.as_str() {
            // As it is called there when nobody says it.
            "" if self.place.host == DEFAULT_REGISTRY && !rest.contains('/') => format!("library/{rest}"),
            "" => rest.to_owned(),
            path => format!("{path}/{rest}"),
        };
        let repository = Repository::new(&self.place.host, &path);
        let remote = repository.and_then(|repository| self.client.remote(&repository));
        remote.map_err(|error| self.meaning(&error, || Error::RepositoryUnknown(name.clone())))
    }

    /// What an error of the client means to clients of ours. `absent` is the error of what is not there.
    pub(super) fn meaning(&self, error: &transom_client::Error, absent: impl FnOnce() -> Error) -> Error {
        use transom_client::Error as Theirs;
        let host = self.place.host.clone();
        let reason = error.to_string();
        match error.cause() {
            Theirs::NotFound { .. } => return absent(),
            Theirs::Unreachable { .. } | Theirs::Stalled { .. } => self.went_down(),
            _ => {}
        }
        tracing::warn!(upstream = self.address(), %error, "another registry did not give what was asked for");
        match error.cause() {
            Theirs::Unauthorized { what, .. } | Theirs::Denied { what, .. } => {
                let what = what.clone();
                Error::UpstreamRefuses { host, what }
            }
            Theirs::Busy { retry_after, .. } => {
                let retry_after = *retry_after;
                Error::UpstreamBusy { host, retry_after }
            }
            Theirs::Status { status, .. } if *status < 500 => Error::UpstreamWrong { host, reason },
            Theirs::Protocol { .. }
            | Theirs::Unsupported { .. }
            | Theirs::TooLarge { .. }
            | Theirs::WrongDigest { .. }
            | Theirs::WrongSize { .. }
            | Theirs::Reference { .. } => Error::UpstreamWrong { host, reason },
            // Where files of this machine are is nothing for clients.
            Theirs::File { .. } | Theirs::Setup { .. } | Theirs::Helper { .. } => {
                let reason = "what is configured for it cannot be used; the log says why".to_owned();
                Error::UpstreamUnavailable { host, reason }
            }
            _ => Error::UpstreamUnavailable { host, reason },
        }
    }

    /// The error of bytes that are not what they should be.
    pub(super) fn wrong(&self, reason: String) -> Error {
        let host = self.place.host.clone();
        tracing::warn!(
            upstream = self.address(),
            reason,
            "another registry sent what cannot be used"
        );
        Error::UpstreamWrong { host, reason }
    }

    fn went_down(&self) {
        *self.down.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether it could not be reached a moment ago.
    pub(super) fn is_down(&self) -> bool {
        let down = *self.down.lock().unwrap_or_else(PoisonError::into_inner);
        down.is_some_and(|since| since.elapsed() < limits::DOWN)
    }

    /// Notes that it was asked where a tag points.
    pub(super) fn looked(&self, name: &RepositoryName, tag: &Tag) {
        *self.down.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if self.revalidate.is_zero() {
            return;
        }
        let mut looked_at = self.looked_at.lock().unwrap_or_else(PoisonError::into_inner);
        if looked_at.len() >= limits::TAGS_LOOKED_AT {
            looked_at.retain(|_, at| at.elapsed() < self.revalidate);
        }
        if looked_at.len() < limits::TAGS_LOOKED_AT {
            looked_at.insert((name.clone(), tag.clone()), Instant::now());
        }
    }

    /// Whether it need not be asked again where a tag points.
    pub(super) fn is_fresh(&self, name: &RepositoryName, tag: &Tag) -> bool {
        if self.revalidate.is_zero() {
            return false;
        }
        let looked_at = self.looked_at.lock().unwrap_or_else(PoisonError::into_inner);
        let at = looked_at.get(&(name.clone(), tag.clone()));
        at.is_some_and(|at| at.elapsed() < self.revalidate)
    }
}

/// Who this registry is to one host. Others, such as mirrors and the storages that it sends us to, learn nothing of it.
#[derive(Clone, Debug)]
struct Login {
    host: String,
    username: Option<String>,
    password: Secret,
    file: Option<PathBuf>,
}

impl CredentialSource for Login {
    fn credentials<'a>(&'a self, asked: Asked<'a>) -> transom_client::auth::credentials::Found<'a> {
        Box::pin(async move {
            let Some(username) = self.username.clone().filter(|_| asked.host == self.host) else {
                return Ok(Credentials::Anonymous);
            };
            let password = match &self.file {
                Some(file) => read(file).await?,
                None => self.password.clone(),
            };
            Ok(Credentials::Password { username, password })
        })
    }
}

/// Reads a file with a password, without the end of its line.
async fn read(file: &std::path::Path) -> Result<Secret, transom_client::Error> {
    // Of all errors this one stays what it is on its way through the client, and is not told to clients of ours.
    let failed = |reason: String| transom_client::Error::Helper {
        program: format!("password_file {}", file.display()),
        reason,
    };
    let cannot = |error: std::io::Error| failed(format!("it cannot be read: {error}"));
    let size = tokio::fs::metadata(file).await.map_err(cannot)?.len();
    if size > limits::PASSWORD_FILE_BYTES {
        return Err(failed("it is too large to be a password".to_owned()));
    }
    let text = tokio::fs::read_to_string(file).await.map_err(cannot)?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
}
