//! Which repository an image is in: its host, with `_` for the `:` before a port, and its path.
//!
//! `docker.io/library/alpine:3` is `3` in `docker.io/library/alpine`, `localhost:5000/app@sha256:…` is in `localhost_5000/app`. No
//! host has a `_`, so that each has a name of its own.

use transom_client::Reference;
use transom_oci::Digest;
use transom_registry::names::{RepositoryName, Tag};

/// Where an image is, and its tag, if it has one. `None` for what is named in another way, as the images that Kubernetes names
/// by the digest of their configuration.
pub(super) fn place(image: &str) -> Option<(RepositoryName, Option<Tag>)> {
    if image.parse::<Digest>().is_ok() {
        return None;
    }
    let reference: Reference = image.parse().ok()?;
    let repository = &reference.repository;
    let name = below(repository.registry(), repository.path())?;
    let tag = match &reference.tag {
        Some(tag) => Some(Tag::new(tag).ok()?),
        None => None,
    };
    if tag.is_none() && reference.digest.is_none() {
        return None;
    }
    Some((name, tag))
}

/// A repository below a host.
pub(super) fn below(host: &str, path: &str) -> Option<RepositoryName> {
    let host = host.replace(':', "_").to_ascii_lowercase();
    RepositoryName::new(&format!("{host}/{path}")).ok()
}

/// Whether the first part of a repository's name is a host.
pub(super) fn has_host(name: &RepositoryName) -> bool {
    name.as_str()
        .split_once('/')
        .is_some_and(|(host, _)| host == "localhost" || host.contains(['.', '_']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_image_has_a_place() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (image, name, tag) in [
            (
                "docker.io/library/alpine:3",
                "docker.io/library/alpine",
                Some("3"),
            ),
            ("localhost:5000/app:v1", "localhost_5000/app", Some("v1")),
            ("localhost/app:v1", "localhost/app", Some("v1")),
            (&format!("quay.io/a/b@{digest}"), "quay.io/a/b", None),
            (&format!("quay.io/a/b:v1@{digest}"), "quay.io/a/b", Some("v1")),
            ("[::1]:5000/app:v1", "", None),
            ("quay.io/a/b", "", None),
            (&digest, "", None),
            ("import-2026-11-26@", "", None),
        ] {
            let found = place(image);
            let wanted = (!name.is_empty()).then(|| {
                let tag = tag.map(|tag| Tag::new(tag).unwrap());
                (RepositoryName::new(name).unwrap(), tag)
            });
            assert_eq!(found, wanted, "{image}");
        }
    }

    #[test]
    fn hosts_are_told_from_other_names() {
        for (name, host) in [
            ("docker.io/library/alpine", true),
            ("localhost_5000/app", true),
            ("localhost/app", true),
            ("team/app", false),
            ("docker.io", false),
        ] {
            assert_eq!(has_host(&RepositoryName::new(name).unwrap()), host, "{name}");
        }
    }
}
