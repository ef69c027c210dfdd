//! The names of images: tags, and docker's references with their abbreviations.

use transom_oci::Descriptor;

/// The tag (image specification, "Pre-Defined Annotation Keys"); some tools write a whole name.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The whole name, as containerd and docker write it.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// The names that an index gives to an image, the most complete first.
pub(crate) fn names_of(descriptor: &Descriptor) -> Vec<String> {
    let mut names: Vec<String> = [CONTAINERD_NAME, REF_NAME]
        .iter()
        .filter_map(|key| descriptor.annotations.get(*key).cloned())
        .collect();
    names.dedup();
    names
}

/// How well any of the names answers what was asked; lower is better.
pub(crate) fn best_match<'a>(wanted: &str, names: &'a [String]) -> Option<(Match, &'a str)> {
    let matches = names
        .iter()
        .filter_map(|name| Some((compare(wanted, name)?, name)));
    matches
        .min_by_key(|(quality, _)| *quality)
        .map(|(quality, name)| (quality, name.as_str()))
}

/// In which way a name was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Match {
    /// Letter by letter.
    Exact,
    /// Once both are written in full: `alpine` for `docker.io/library/alpine:latest`.
    Completed,
    /// It is the name's tag.
    Tag,
}

fn compare(wanted: &str, name: &str) -> Option<Match> {
    if wanted == name {
        return Some(Match::Exact);
    }
    if complete(wanted) == complete(name) {
        return Some(Match::Completed);
    }
    (tag_of(name) == Some(wanted)).then_some(Match::Tag)
}

/// A name in full: with registry, `library/` for docker's own images, and tag.
fn complete(name: &str) -> String {
    let (host, path) = match name.split_once('/') {
        Some(("index.docker.io", path)) => ("docker.io", path),
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
        _ => ("docker.io", name),
    };
    let library = match host == "docker.io" && !path.contains('/') {
        true => "library/",
        false => "",
    };
    let tag = match tag_of(path) {
        Some(_) => "",
        None => ":latest",
    };
    format!("{host}/{library}{path}{tag}")
}

fn tag_of(name: &str) -> Option<&str> {
    let last = name.rsplit('/').next().unwrap_or(name);
    last.split_once(':').map(|(_, tag)| tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abbreviations_are_completed() {
        for (wanted, name, want) in [
            ("3.18", "3.18", Some(Match::Exact)),
            (
                "alpine",
                "docker.io/library/alpine:latest",
                Some(Match::Completed),
            ),
            (
                "alpine:3.18",
                "docker.io/library/alpine:3.18",
                Some(Match::Completed),
            ),
            (
                "docker.io/library/alpine:3.18",
                "alpine:3.18",
                Some(Match::Completed),
            ),
            ("index.docker.io/a/b", "a/b:latest", Some(Match::Completed)),
            ("3.18", "docker.io/library/alpine:3.18", Some(Match::Tag)),
            ("v1", "localhost:5000/a:v1", Some(Match::Tag)),
            (
                "localhost:5000/a",
                "localhost:5000/a:latest",
                Some(Match::Completed),
            ),
            ("5000/a", "localhost:5000/a", None),
            ("alpine", "docker.io/library/alpine:3.18", None),
            ("alpine:3.18", "quay.io/library/alpine:3.18", None),
            ("alpine:3.18", "3.18", None),
        ] {
            assert_eq!(compare(wanted, name), want, "{wanted} {name}");
        }
    }
}
