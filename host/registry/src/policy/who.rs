//! Whom a rule is about.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::CERTIFICATE_PREFIX;
use super::pattern::glob;
use crate::settings::nearest;

/// One of those whom a rule is about.
#[derive(Clone, Debug)]
pub(super) enum Subject {
    /// Everybody.
    Everyone,
    /// Who has not logged in.
    Anonymous,
    /// Who has, in any way.
    Authenticated,
    /// Clients by their names.
    Named(Arc<Names>),
}

/// Names of users and certificates. `*` in one is any letters.
#[derive(Debug, Default)]
pub(super) struct Names {
    exact: HashSet<String>,
    patterns: Vec<String>,
}

/// Groups by their names.
pub(super) type Groups = BTreeMap<String, Arc<Names>>;

impl Names {
    /// Adds a member of a group: `user:NAME`, `certificate:NAME`, or just the name of a user.
    pub(super) fn add(&mut self, member: &str) -> Result<(), String> {
        let name = member.strip_prefix("user:").unwrap_or(member);
        let bare = name.strip_prefix(CERTIFICATE_PREFIX).unwrap_or(name);
        if bare.is_empty() || bare.starts_with("group:") {
            return Err(format!("{member:?} is neither a user nor a certificate"));
        }
        match name.contains('*') {
            true => self.patterns.push(name.to_owned()),
            false => drop(self.exact.insert(name.to_owned())),
        }
        Ok(())
    }

    fn contain(&self, name: &str) -> bool {
        // A pattern of users is not one of certificates.
        let same_kind =
            |pattern: &str| pattern.starts_with(CERTIFICATE_PREFIX) == name.starts_with(CERTIFICATE_PREFIX);
        self.exact.contains(name)
            || self
                .patterns
                .iter()
                .any(|pattern| same_kind(pattern) && glob(pattern, name))
    }
}

impl Subject {
    /// Reads one, or says what is wrong with it.
    pub(super) fn parse(text: &str, groups: &Groups) -> Result<Subject, String> {
        match text {
            "everyone" => return Ok(Subject::Everyone),
            "anonymous" => return Ok(Subject::Anonymous),
            "authenticated" => return Ok(Subject::Authenticated),
            _ => {}
        }
        if let Some(group) = text.strip_prefix("group:") {
            return groups.get(group).cloned().map(Subject::Named).ok_or_else(|| {
                let known = nearest(group, groups.keys().map(String::as_str));
                format!("there is no group {group:?} in [groups]; {known}")
            });
        }
        if !text.starts_with("user:") && !text.starts_with(CERTIFICATE_PREFIX) {
            return Err(format!(
                "{text:?} is nobody: write \"everyone\", \"anonymous\", \"authenticated\", \"user:NAME\", \"group:NAME\" or \
                 \"certificate:NAME\""
            ));
        }
        let mut names = Names::default();
        names.add(text)?;
        Ok(Subject::Named(Arc::new(names)))
    }

    /// Whether a client of this name (`None` for a stranger) is meant.
    pub(super) fn is(&self, name: Option<&str>) -> bool {
        match (self, name) {
            (Subject::Everyone, _) => true,
            (Subject::Anonymous, name) => name.is_none(),
            (Subject::Authenticated, name) => name.is_some(),
            (Subject::Named(names), Some(name)) => names.contain(name),
            (Subject::Named(_), None) => false,
        }
    }
}
