//! `[[notifications]]`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::limits;
use crate::event::Action;
use crate::settings::{Period, SetupError};

/// Who is told what (docker-registry's `notifications.endpoints`).
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Its name, by which its events are kept: with another name it is another endpoint.
    pub name: String,
    /// Where events are sent by POST: a URL.
    pub url: String,
    /// Nothing is recorded and nothing is sent; what was recorded stays.
    #[serde(default)]
    pub disabled: bool,
    /// What else to send in the header.
    #[serde(default)]
    pub headers: BTreeMap<String, Values>,
    /// How long one request may take.
    #[serde(default = "timeout")]
    pub timeout: Period,
    /// After so many failures in a row each try waits for `backoff`; before, for less.
    #[serde(default = "threshold")]
    pub threshold: u32,
    /// The longest wait between two tries.
    #[serde(default = "backoff")]
    pub backoff: Period,
    /// What is not told.
    #[serde(default)]
    pub ignore: Ignore,
    /// Tell what a manifest refers to.
    #[serde(default)]
    pub include_references: bool,
    /// Certificates (PEM) that the endpoint's may be signed by, besides the machine's.
    pub ca: Option<PathBuf>,
    /// How many events may wait. When so many do, further ones are lost, and counted.
    #[serde(default = "queue")]
    pub queue: u64,
}

/// What an endpoint is not told.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Ignore {
    /// Events about content of these media types.
    pub media_types: BTreeSet<String>,
    /// Events of these actions.
    pub actions: BTreeSet<Kind>,
}

/// An action by its name.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Kind {
    Pull,
    Push,
    Mount,
    Delete,
}

impl From<Action> for Kind {
    fn from(action: Action) -> Kind {
        match action {
            Action::Pull => Kind::Pull,
            Action::Push => Kind::Push,
            Action::Mount => Kind::Mount,
            Action::Delete => Kind::Delete,
        }
    }
}

/// One value or several.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
pub enum Values {
    /// One.
    One(String),
    /// Several, in this order.
    Many(Vec<String>),
}

impl Values {
    pub(super) fn as_slice(&self) -> &[String] {
        match self {
            Values::One(value) => std::slice::from_ref(value),
            Values::Many(values) => values,
        }
    }
}

fn timeout() -> Period {
    Period(Duration::from_secs(5))
}

fn threshold() -> u32 {
    10
}

fn backoff() -> Period {
    Period(Duration::from_secs(1))
}

fn queue() -> u64 {
    limits::QUEUE_EVENTS
}

/// Names and numbers that fit.
pub(super) fn check(all: &[Settings]) -> Result<(), SetupError> {
    let wrong =
        |key: &str, problem: String| Err(SetupError::setting(format!("notifications.{key}"), problem));
    if all.len() > limits::ENDPOINTS {
        return wrong(
            "name",
            format!("there are more than {} endpoints", limits::ENDPOINTS),
        );
    }
    let mut names = BTreeSet::new();
    for settings in all {
        let name = &settings.name;
        let fits = |c: char| c != '/' && !c.is_control();
        if name.is_empty() || name.len() > limits::NAME_BYTES || !name.chars().all(fits) {
            return wrong(
                "name",
                format!("{name:?}: use 1 to {} bytes without \"/\"", limits::NAME_BYTES),
            );
        }
        if !names.insert(name) {
            return wrong("name", format!("two endpoints have the name {name:?}"));
        }
        let zero = |key, unit| wrong(key, format!("{name:?}: it must be more than 0{unit}"));
        match settings {
            settings if settings.timeout.0.is_zero() => return zero("timeout", "s"),
            settings if settings.queue == 0 => return zero("queue", " events"),
            _ => {}
        }
    }
    Ok(())
}
