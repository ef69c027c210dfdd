//! Whose key it is.

/// The repository that a path is in, by the layout of registries: the parts after `repositories`, to the first one that begins
/// with `_`. Elsewhere, where content belongs to all repositories, it is empty.
#[must_use]
pub fn context(path: &str) -> String {
    let mut parts = path.split('/');
    if !parts.any(|part| part == "repositories") {
        return String::new();
    }
    let name: Vec<&str> = parts.take_while(|part| !part.starts_with(['_', '.'])).collect();
    name.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_ends_at_the_underscore() {
        let root = "/docker/registry/v2/repositories";
        for (path, name) in [
            ("library/debian/_manifests/tags/12/current/link", "library/debian"),
            ("a/_uploads/1/data", "a"),
            ("a/_uploads/1/.transom-encrypt/data/new", "a"),
            ("a", "a"),
        ] {
            assert_eq!(context(&format!("{root}/{path}")), name);
        }
        assert_eq!(context("/docker/registry/v2/blobs/sha256/ab/abcd/data"), "");
        assert_eq!(context("/"), "");
    }
}
