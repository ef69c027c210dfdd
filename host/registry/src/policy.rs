//! A file that says who may do what where. What it does not allow is refused.
//!
//! The rules are looked at in the order of the file, and the first one that is about the client and the repository decides:
//! what it allows is allowed, and all else is not. So exceptions come before what they are exceptions from, and a person can
//! follow with a finger what will happen. `docs/guides/registry-access.md` has examples.
//!
//! `file` reads it, `who` says whom a rule is about, `pattern` which repositories.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::access::{Access, Action, Actor, Decision, Gate, Presented, Refusal, Resource};
use crate::auth::CERTIFICATE_PREFIX;
use crate::auth::credential::Credential;
use crate::names::{NameError, RepositoryName};
use crate::settings::{Mistake, SetupError, nearest};
use crate::watched::{LOOK_EVERY, Watched};

mod file;
pub mod limits;
mod pattern;
mod who;

use pattern::Pattern;
use who::Subject;

/// `[policy]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The file.
    pub file: PathBuf,
}

/// The rules of a file.
#[derive(Debug)]
pub struct Policy {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    /// Where it is in the file.
    line: usize,
    /// Which repositories it is about; none if it is about the registry as a whole.
    repositories: Vec<Pattern>,
    who: Vec<Subject>,
    allow: Vec<Right>,
}

/// What a rule can allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    Pull,
    Push,
    Delete,
    Catalog,
    Admin,
}

/// What a policy says, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is allowed.
    pub allowed: bool,
    /// The line of the rule that decided; `None` if no rule is about this.
    pub line: Option<usize>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.allowed, self.line) {
            (true, Some(line)) => write!(f, "allowed by the rule in line {line}"),
            (false, Some(line)) => write!(
                f,
                "refused: the first rule about this, in line {line}, does not allow it"
            ),
            (_, None) => f.write_str("refused: no rule is about this"),
        }
    }
}

/// Why a policy cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuestionError {
    /// The file has mistakes.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Mistakes(Vec<Mistake>),
    /// There is no such action.
    #[error("{name:?} is nothing that can be allowed; {known}")]
    Action {
        /// What was given.
        name: String,
        /// What was probably meant, or all there is.
        known: String,
    },
    /// Not the name of a repository.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Pulling, pushing and deleting need a repository, the others have none.
    #[error("{action} is {}", if *.needed { "done to a repository: name one" } else { "not done to a repository" })]
    Repository {
        /// The action.
        action: String,
        /// Whether one is missing.
        needed: bool,
    },
}

impl Right {
    const ALL: [(&'static str, Right); 5] = [
        ("pull", Right::Pull),
        ("push", Right::Push),
        ("delete", Right::Delete),
        ("catalog", Right::Catalog),
        ("admin", Right::Admin),
    ];

    fn of(name: &str) -> Option<Right> {
        let found = Right::ALL.into_iter().find(|(known, _)| *known == name);
        found.map(|(_, right)| right)
    }

    fn needed(access: &Access) -> Right {
        match (&access.resource, access.action) {
            (Resource::Catalog, _) => Right::Catalog,
            (Resource::Admin, _) => Right::Admin,
            (Resource::Repository(_), Action::Pull) => Right::Pull,
            (Resource::Repository(_), Action::Push) => Right::Push,
            (Resource::Repository(_), Action::Delete) => Right::Delete,
        }
    }

    /// Whether it is a right to the whole registry.
    fn whole(self) -> bool {
        matches!(self, Right::Catalog | Right::Admin)
    }
}

impl Policy {
    /// Reads a file's text.
    ///
    /// # Errors
    /// Every mistake in it, or the first one if it is no TOML or has unknown keys.
    pub fn parse(text: &str) -> Result<Policy, Vec<Mistake>> {
        file::parse(text)
    }

    /// What the rules say of a client (`None` for a stranger).
    #[must_use]
    pub fn verdict(&self, name: Option<&str>, access: &Access) -> Verdict {
        let repository = match &access.resource {
            Resource::Repository(name) => Some(name.as_str()),
            Resource::Catalog | Resource::Admin => None,
        };
        let rule = self.rules.iter().find(|rule| rule.is_about(name, repository));
        Verdict {
            allowed: rule.is_some_and(|rule| rule.allow.contains(&Right::needed(access))),
            line: rule.map(|rule| rule.line),
        }
    }
}

impl Rule {
    fn is_about(&self, name: Option<&str>, repository: Option<&str>) -> bool {
        let place = match repository {
            Some(repository) => self
                .repositories
                .iter()
                .any(|pattern| pattern.matches(repository, name)),
            None => self.repositories.is_empty(),
        };
        place && self.who.iter().any(|subject| subject.is(name))
    }
}

/// Answers a question to a policy as a person asks it: may `who` (a user, `user:NAME`, `certificate:NAME`, or `anonymous`) do `action` (`pull`,
/// `push`, `delete`, `catalog`, `admin`) to `repository`?
///
/// # Errors
/// [`QuestionError`].
pub fn ask(text: &str, who: &str, action: &str, repository: Option<&str>) -> Result<Verdict, QuestionError> {
    let policy = Policy::parse(text).map_err(QuestionError::Mistakes)?;
    let right = Right::of(action).ok_or_else(|| QuestionError::Action {
        name: action.to_owned(),
        known: nearest(action, Right::ALL.map(|(name, _)| name)),
    })?;
    let repository = repository.map(RepositoryName::new).transpose()?;
    let (resource, action) = match (right, repository) {
        (Right::Catalog, None) => (Resource::Catalog, Action::Pull),
        (Right::Admin, None) => (Resource::Admin, Action::Push),
        (Right::Pull, Some(name)) => (Resource::Repository(name), Action::Pull),
        (Right::Push, Some(name)) => (Resource::Repository(name), Action::Push),
        (Right::Delete, Some(name)) => (Resource::Repository(name), Action::Delete),
        (_, repository) => {
            return Err(QuestionError::Repository {
                action: action.to_owned(),
                needed: repository.is_none(),
            });
        }
    };
    let name = match who {
        "" | "anonymous" => None,
        who => Some(who.strip_prefix("user:").unwrap_or(who)),
    };
    Ok(policy.verdict(name, &Access { resource, action }))
}

/// Lets through whom another gate knows, as far as a policy allows, and strangers, as far as it allows those.
#[derive(Debug)]
pub struct Policed {
    policy: Watched<Policy>,
    inner: Arc<dyn Gate>,
}

impl Policed {
    /// Reads the file.
    ///
    /// # Errors
    /// [`SetupError`] with all mistakes.
    pub fn open(settings: &Settings, inner: Arc<dyn Gate>) -> Result<Policed, SetupError> {
        Policed::open_with(settings, inner, LOOK_EVERY)
    }

    /// The same, with how often the file is looked at.
    ///
    /// # Errors
    /// As [`Policed::open`].
    #[doc(hidden)]
    pub fn open_with(
        settings: &Settings,
        inner: Arc<dyn Gate>,
        every: Duration,
    ) -> Result<Policed, SetupError> {
        let policy = Watched::open(&settings.file, limits::FILE_BYTES, every, Policy::parse)?;
        Ok(Policed { policy, inner })
    }

    /// Why the file's newest state does not hold, if it does not.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.policy.problem()
    }

    async fn decide(&self, presented: &Presented<'_>, wanted: &[Access]) -> Result<Actor, Refusal> {
        let policy = self.policy.get();
        let refused = |name| {
            let allowed = |access: &&Access| policy.verdict(name, access).allowed;
            wanted.iter().find(|access| !allowed(access))
        };
        let shown = !matches!(
            Credential::of(presented),
            Credential::Nothing | Credential::Certificate(_)
        );
        let actor = match self.inner.check(presented, wanted).await {
            Ok(actor) => actor,
            // Who shows nothing may still do what every stranger may.
            Err(Refusal::Unauthenticated { .. } | Refusal::Denied { .. })
                if !shown && !wanted.is_empty() && refused(None).is_none() =>
            {
                return Ok(Actor::default());
            }
            Err(refusal) => return Err(refusal),
        };
        match refused(actor.name.as_deref()) {
            None => Ok(actor),
            Some(access) => {
                let name = actor.name.as_deref().unwrap_or("a stranger");
                let verdict = policy.verdict(actor.name.as_deref(), access);
                tracing::info!(name, %access, %verdict, "the policy refused a request");
                Err(Refusal::Denied {
                    reason: format!("{name} may not {access}"),
                })
            }
        }
    }
}

impl Gate for Policed {
    fn check<'a>(&'a self, presented: &'a Presented<'a>, wanted: &'a [Access]) -> Decision<'a> {
        Box::pin(self.decide(presented, wanted))
    }
}
