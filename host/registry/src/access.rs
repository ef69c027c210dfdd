//! Who may do what: what the server asks before it does anything, and what it is answered.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use crate::names::RepositoryName;

/// Something that is done to something.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    /// To what.
    pub resource: Resource,
    /// What is done.
    pub action: Action,
}

/// What there is to protect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// A repository with all that is in it.
    Repository(RepositoryName),
    /// The list of repositories.
    Catalog,
    /// The running of the registry itself: read-only mode, garbage collection.
    Admin,
}

/// What can be done. docker-registry's tokens have the same names; on [`Resource::Catalog`] and [`Resource::Admin`] they have `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Reading.
    Pull,
    /// Writing.
    Push,
    /// Deleting, and cancelling uploads.
    Delete,
}

/// What a client showed of itself.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// The value of `Authorization`.
    pub authorization: Option<&'a str>,
    /// The subject of the client's certificate, already verified.
    pub certificate: Option<&'a str>,
    /// Where the client is.
    pub address: IpAddr,
    /// The scheme and host that the client calls us by, for challenges that name a place on this server: `https://host:port`.
    pub origin: &'a str,
}

/// Who a client turned out to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actor {
    /// The name; `None` for a stranger.
    pub name: Option<String>,
}

/// Why a client may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It must say who it is, or say it better. Answered by 401 with this `WWW-Authenticate`.
    Unauthenticated {
        /// The challenge.
        challenge: String,
        /// What to tell.
        reason: String,
    },
    /// It is known and may not. Answered by 403.
    Denied {
        /// What to tell.
        reason: String,
    },
    /// It asked too often. Answered by 429 and `Retry-After`.
    TooMany {
        /// After how many seconds to ask again.
        retry_after: u32,
    },
    /// Nobody can say at the moment. Answered by 503.
    Unavailable {
        /// What to tell.
        reason: String,
    },
}

/// A decision to wait for.
pub type Decision<'a> = Pin<Box<dyn Future<Output = Result<Actor, Refusal>> + Send + 'a>>;

/// Decides who may do what.
pub trait Gate: Send + Sync + fmt::Debug + 'static {
    /// May this client do all of this? With nothing wanted: is it who it says (`GET /v2/`)?
    fn check<'a>(&'a self, presented: &'a Presented<'a>, wanted: &'a [Access]) -> Decision<'a>;
}

/// Everybody may do everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open;

impl Gate for Open {
    fn check<'a>(&'a self, _presented: &'a Presented<'a>, _wanted: &'a [Access]) -> Decision<'a> {
        Box::pin(async { Ok(Actor::default()) })
    }
}

impl Action {
    /// Its name in tokens and policies.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Pull => "pull",
            Action::Push => "push",
            Action::Delete => "delete",
        }
    }
}

impl Access {
    /// To do something to a repository.
    #[must_use]
    pub fn repository(name: &RepositoryName, action: Action) -> Access {
        Access {
            resource: Resource::Repository(name.clone()),
            action,
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = self.action.as_str();
        match &self.resource {
            Resource::Repository(name) => write!(f, "{action} {name}"),
            Resource::Catalog => write!(f, "{action} the list of repositories"),
            Resource::Admin => write!(f, "{action} administration"),
        }
    }
}
