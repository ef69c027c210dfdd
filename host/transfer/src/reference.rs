//! Names of images: docker's short forms in full and back, and the annotations that carry names in an index.

use transom_meta::Labels;

/// The annotation with a tag, or a whole name (image specification, "Pre-Defined Annotation Keys").
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation with the whole name, as containerd and docker write it.
pub const IMAGE_NAME: &str = "io.containerd.image.name";
/// The annotation of a descriptor that is listed because of what it refers to; it is no image of its own.
pub const SUBJECT: &str = "io.containerd.manifest.subject";

/// Labels of content with this prefix and a host name the repositories there that it came from.
pub const SOURCE: &str = "containerd.io/distribution.source.";

const DOCKER: &str = "docker.io";
const LIBRARY: &str = "library/";

/// Longest name without tag and digest, in bytes; docker's.
const NAME_BYTES: usize = 255;

/// A reference by docker's grammar, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Parts {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<String>,
}

/// A docker reference in full, with a tag or else a digest: `alpine` becomes `docker.io/library/alpine:latest`. None if it
/// is no reference.
#[must_use]
pub fn normalize(reference: &str) -> Option<String> {
    let parts = parse(reference)?;
    let name = format!("{}/{}", parts.domain, parts.path);
    Some(match (parts.digest, parts.tag) {
        (Some(digest), _) => format!("{name}@{digest}"),
        (None, Some(tag)) => format!("{name}:{tag}"),
        (None, None) => format!("{name}:latest"),
    })
}

/// A reference as docker's users write it: `docker.io/library/alpine:3` becomes `alpine:3`. None if it is no reference.
#[must_use]
pub fn familiarize(reference: &str) -> Option<String> {
    let parts = parse(reference)?;
    let mut name = match parts.domain.as_str() {
        DOCKER => parts.path.strip_prefix(LIBRARY).unwrap_or(&parts.path).to_owned(),
        domain => format!("{domain}/{}", parts.path),
    };
    let tag = match (&parts.tag, &parts.digest) {
        (None, None) => Some("latest".to_owned()),
        _ => parts.tag,
    };
    if let Some(tag) = tag {
        name = format!("{name}:{tag}");
    }
    if let Some(digest) = parts.digest {
        name = format!("{name}@{digest}");
    }
    Some(name)
}

/// What stands in [`REF_NAME`] for an image of this name: its tag, or the whole name if it has none.
#[must_use]
pub fn tag_of(name: &str) -> &str {
    let Some((host, path)) = name.split_once('/') else {
        return name;
    };
    let port = host.split_once(':').map_or("", |(_, port)| port);
    if host.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return name;
    }
    match path.find([':', '@']) {
        Some(at) if path.as_bytes()[at] == b':' && at + 1 < path.len() => &path[at + 1..],
        _ => name,
    }
}

/// The name that a descriptor's annotations give under a prefix; none if they give none, or not one under it. A bare tag is put
/// behind the prefix. With `any`, whole names need not begin with the prefix.
#[must_use]
pub fn under_prefix(annotations: &Labels, prefix: &str, any: bool) -> Option<String> {
    let text = |key| annotations.get(key).filter(|name| !name.is_empty());
    if let Some(name) = text(IMAGE_NAME) {
        // Always whole: one that would have to be completed is not used.
        return translate(name, prefix, any).filter(|translated| translated == name);
    }
    translate(text(REF_NAME)?, prefix, any)
}

fn translate(name: &str, prefix: &str, any: bool) -> Option<String> {
    if prefix.is_empty() {
        return None;
    }
    if !name.contains(['/', ':', '@']) {
        return Some(format!("{prefix}:{name}"));
    }
    let rest = name.strip_prefix(prefix);
    // Not in the middle of a component.
    let begins = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':', '@']));
    (any || begins).then(|| name.to_owned())
}

fn parse(reference: &str) -> Option<Parts> {
    let (rest, digest) = match reference.split_once('@') {
        Some((rest, digest)) if is_digest(digest) => (rest, Some(digest.to_owned())),
        Some(_) => return None,
        None => (reference, None),
    };
    let slash = rest.rfind('/').map_or(0, |at| at + 1);
    let (name, tag) = match rest[slash..].split_once(':') {
        Some((last, tag)) if is_tag(tag) => (&rest[..slash + last.len()], Some(tag.to_owned())),
        Some(_) => return None,
        None => (rest, None),
    };
    // 64 hexadecimal characters are an image's ID and nothing else.
    let is_id = name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let (domain, path) = match name.split_once('/') {
        Some(("index.docker.io", path)) => (DOCKER, path),
        Some((domain, path)) if names_a_host(domain) => (domain, path),
        _ => (DOCKER, name),
    };
    let path = match domain == DOCKER && !path.contains('/') {
        true => format!("{LIBRARY}{path}"),
        false => path.to_owned(),
    };
    let valid = !is_id
        && is_domain(domain)
        && path.split('/').all(is_component)
        && domain.len() + path.len() < NAME_BYTES;
    valid.then(|| Parts {
        domain: domain.to_owned(),
        path,
        tag,
        digest,
    })
}

fn names_a_host(part: &str) -> bool {
    part == "localhost" || part.contains(['.', ':']) || part.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !domain.ends_with(']') => (host, port),
        _ => (domain, "0"),
    };
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    let literal = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .is_some_and(|host| {
            !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':')
        });
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    digits && (literal || host.split('.').all(label))
}

/// Lower-case letters and digits, with one `.`, one or two `_`, or any number of `-` between them.
fn is_component(component: &str) -> bool {
    let mut separator = String::new();
    let mut before = false;
    for byte in component.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' => {
                let dashes = separator.bytes().all(|byte| byte == b'-');
                if !separator.is_empty() && (!before || !dashes && !matches!(&*separator, "." | "_" | "__")) {
                    return false;
                }
                separator.clear();
                before = true;
            }
            b'.' | b'_' | b'-' => separator.push(char::from(byte)),
            _ => return false,
        }
    }
    before && separator.is_empty()
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=128).contains(&tag.len())
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-')
}

fn is_digest(digest: &str) -> bool {
    digest.parse::<transom_oci::Digest>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_are_written_in_full_and_back() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (short, full, familiar) in [
            ("alpine", "docker.io/library/alpine:latest", "alpine:latest"),
            ("alpine:3.18", "docker.io/library/alpine:3.18", "alpine:3.18"),
            ("a/b:1", "docker.io/a/b:1", "a/b:1"),
            ("index.docker.io/a/b", "docker.io/a/b:latest", "a/b:latest"),
            ("localhost/a", "localhost/a:latest", "localhost/a:latest"),
            (
                "localhost:5000/a:v1",
                "localhost:5000/a:v1",
                "localhost:5000/a:v1",
            ),
            ("quay.io/a__b/c-.d", "", ""),
            (
                "quay.io/a__b/c--d",
                "quay.io/a__b/c--d:latest",
                "quay.io/a__b/c--d:latest",
            ),
            ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
            ("Upper/a", "Upper/a:latest", "Upper/a:latest"),
            ("upper/A", "", ""),
            ("a:b c", "", ""),
            ("a@sha256:1", "", ""),
            ("", "", ""),
            ("a//b", "", ""),
            (&"f".repeat(64), "", ""),
            (
                &format!("a@{digest}"),
                &format!("docker.io/library/a@{digest}"),
                &format!("a@{digest}"),
            ),
            (
                &format!("a:1@{digest}"),
                &format!("docker.io/library/a@{digest}"),
                &format!("a:1@{digest}"),
            ),
        ] {
            assert_eq!(normalize(short).unwrap_or_default(), full, "{short}");
            assert_eq!(familiarize(short).unwrap_or_default(), familiar, "{short}");
        }
    }

    #[test]
    fn the_tag_of_a_name_is_behind_its_repository() {
        for (name, tag) in [
            ("docker.io/library/alpine:3.18", "3.18"),
            ("localhost:5000/a:v1", "v1"),
            ("alpine:3.18", "alpine:3.18"),
            ("docker.io/a@sha256:1", "docker.io/a@sha256:1"),
            ("docker.io/a", "docker.io/a"),
            ("a:b/c:d", "a:b/c:d"),
            ("docker.io/a:1@sha256:2", "1@sha256:2"),
        ] {
            assert_eq!(tag_of(name), tag, "{name}");
        }
    }

    #[test]
    fn annotations_are_names_under_a_prefix() {
        let of = |key: &str, value: &str| Labels::from([(key.to_owned(), value.to_owned())]);
        for (key, name, prefix, any, wanted) in [
            (REF_NAME, "latest", "r.test/i", false, Some("r.test/i:latest")),
            (REF_NAME, "r.test/i:1", "r.test/i", false, Some("r.test/i:1")),
            (REF_NAME, "r.test/image:1", "r.test/i", false, None),
            (
                REF_NAME,
                "r.test/image:1",
                "r.test/i",
                true,
                Some("r.test/image:1"),
            ),
            (IMAGE_NAME, "r.test/i:1", "r.test/i", false, Some("r.test/i:1")),
            (IMAGE_NAME, "latest", "r.test/i", true, None),
            (REF_NAME, "latest", "", true, None),
            (REF_NAME, "", "r.test/i", true, None),
        ] {
            assert_eq!(
                under_prefix(&of(key, name), prefix, any).as_deref(),
                wanted,
                "{name}"
            );
        }
    }
}
