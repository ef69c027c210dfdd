//! What a token is to be good for: `repository:library/debian:pull,push`.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Repository, limits};

/// Resources, each with the actions that are wanted on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Scopes(BTreeMap<String, BTreeSet<String>>);

impl Scopes {
    /// Reading a repository.
    pub(crate) fn pull(repository: &Repository) -> Scopes {
        Scopes::of(repository, &["pull"])
    }

    /// Reading and writing it.
    pub(crate) fn push(repository: &Repository) -> Scopes {
        Scopes::of(repository, &["pull", "push"])
    }

    /// Deleting from it.
    pub(crate) fn delete(repository: &Repository) -> Scopes {
        Scopes::of(repository, &["delete"])
    }

    /// The list of all repositories.
    pub(crate) fn catalog() -> Scopes {
        Scopes::default().and("registry:catalog", ["*"])
    }

    fn of(repository: &Repository, actions: &[&str]) -> Scopes {
        Scopes::default().and(
            &format!("repository:{}", repository.path()),
            actions.iter().copied(),
        )
    }

    /// These and others.
    pub(crate) fn with(mut self, other: &Scopes) -> Scopes {
        for (resource, actions) in &other.0 {
            self = self.and(resource, actions.iter().map(String::as_str));
        }
        self
    }

    fn and<'a>(mut self, resource: &str, actions: impl IntoIterator<Item = &'a str>) -> Scopes {
        let entry = self.0.entry(resource.to_owned()).or_default();
        entry.extend(actions.into_iter().map(str::to_owned));
        self
    }

    /// Reads the `scope` of a challenge. What is not a scope is left out, and so is what is too much.
    pub(crate) fn parse(text: &str) -> Scopes {
        let mut scopes = Scopes::default();
        for part in text.split_ascii_whitespace().take(limits::SCOPES) {
            if let Some((resource, actions)) = part.rsplit_once(':').filter(|(front, _)| front.contains(':'))
            {
                let actions = actions.split(',').filter(|action| !action.is_empty());
                scopes = scopes.and(resource, actions.take(limits::SCOPES));
            }
        }
        scopes
    }

    /// Each resource as a token server is asked for it.
    pub(crate) fn texts(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(resource, actions)| {
            let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
            format!("{resource}:{}", actions.join(","))
        })
    }

    /// The first repository in it, for a source of credentials.
    pub(crate) fn repository(&self) -> &str {
        let mut names = self.0.keys().filter_map(|key| key.strip_prefix("repository:"));
        names.next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_merged() {
        let repository: Repository = "example.com:5000/a/b".parse().unwrap();
        let wanted = Scopes::pull(&repository);
        let asked = Scopes::parse("repository:a/b:push,pull registry:catalog:* nonsense x:");
        let both: Vec<String> = wanted.with(&asked).texts().collect();
        assert_eq!(both, ["registry:catalog:*", "repository:a/b:pull,push"]);
        assert_eq!(Scopes::push(&repository).repository(), "a/b");
        assert_eq!(Scopes::catalog().repository(), "");
        let odd: Vec<String> = Scopes::parse("repository:host:5000/a:pull").texts().collect();
        assert_eq!(odd, ["repository:host:5000/a:pull"]);
    }
}
