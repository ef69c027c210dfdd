//! The text of `WWW-Authenticate`, as docker-registry writes it.

use crate::access::{Access, Action, Resource};

/// What was wrong with a token (RFC 6750, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// There was none.
    Missing,
    /// It is not valid, or not any more.
    Invalid,
    /// It does not allow what is wanted.
    Insufficient,
}

/// Asks for a name and a password.
pub(super) fn basic(realm: &str) -> String {
    format!("Basic realm={}", quoted(realm))
}

/// Asks for a token that allows all of `wanted`.
pub(super) fn bearer(realm: &str, service: &str, wanted: &[Access], fault: Fault) -> String {
    let mut text = format!("Bearer realm={},service={}", quoted(realm), quoted(service));
    let scopes = scopes(wanted);
    if !scopes.is_empty() {
        text.push_str(&format!(",scope={}", quoted(&scopes)));
    }
    match fault {
        Fault::Missing => {}
        Fault::Invalid => text.push_str(",error=\"invalid_token\""),
        Fault::Insufficient => text.push_str(",error=\"insufficient_scope\""),
    }
    text
}

/// `repository:a:pull,push repository:b:pull`: resources in the order they are wanted in, each once.
fn scopes(wanted: &[Access]) -> String {
    let mut scopes: Vec<(&Resource, Vec<&str>)> = Vec::new();
    for access in wanted {
        let action = action(&access.resource, access.action);
        match scopes.iter_mut().find(|(known, _)| *known == &access.resource) {
            Some((_, actions)) if actions.contains(&action) => {}
            Some((_, actions)) => actions.push(action),
            None => scopes.push((&access.resource, vec![action])),
        }
    }
    let scope = |(resource, actions): &(&Resource, Vec<&str>)| {
        let (kind, name) = named(resource);
        format!("{kind}:{name}:{}", actions.join(","))
    };
    scopes.iter().map(scope).collect::<Vec<_>>().join(" ")
}

/// The type and the name that a resource has in tokens.
pub(super) fn named(resource: &Resource) -> (&'static str, &str) {
    match resource {
        Resource::Repository(name) => ("repository", name.as_str()),
        Resource::Catalog => ("registry", "catalog"),
        Resource::Admin => ("registry", "admin"),
    }
}

/// The action's name in tokens.
pub(super) fn action(resource: &Resource, action: Action) -> &'static str {
    match resource {
        Resource::Repository(_) => action.as_str(),
        Resource::Catalog | Resource::Admin => "*",
    }
}

/// In quotes, with nothing that would end them or the header.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            _ if letter.is_control() => {}
            _ => out.push(letter),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::RepositoryName;

    #[test]
    fn challenges_are_those_of_docker_registry() {
        let name = |name| RepositoryName::new(name).unwrap();
        let (a, b) = (name("team/a"), name("b"));
        assert_eq!(basic("Registry \"A\"\r\n"), r#"Basic realm="Registry \"A\"""#);
        assert_eq!(
            bearer("https://auth/token", "reg", &[], Fault::Missing),
            r#"Bearer realm="https://auth/token",service="reg""#
        );
        let wanted = [
            Access::repository(&a, Action::Pull),
            Access::repository(&a, Action::Push),
            Access::repository(&b, Action::Pull),
            Access::repository(&a, Action::Pull),
        ];
        assert_eq!(
            bearer("r", "s", &wanted, Fault::Insufficient),
            r#"Bearer realm="r",service="s",scope="repository:team/a:pull,push repository:b:pull",error="insufficient_scope""#
        );
        let catalog = [Access {
            resource: Resource::Catalog,
            action: Action::Pull,
        }];
        assert_eq!(
            bearer("r", "s", &catalog, Fault::Invalid),
            r#"Bearer realm="r",service="s",scope="registry:catalog:*",error="invalid_token""#
        );
    }
}
