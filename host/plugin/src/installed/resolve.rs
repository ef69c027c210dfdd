//! From a range of versions and the tags of a repository to those to try.

use semver::{Version, VersionReq};

/// The range that any released version is in.
pub const ANY: &str = "*";

/// A range as people write it: `^1.2`, `1`, `>=1.0, <2`, `*`.
///
/// # Errors
///
/// What is wrong with it, and what would be right.
pub fn range(text: &str) -> Result<VersionReq, String> {
    VersionReq::parse(text)
        .map_err(|error| format!("{text:?} is no range of versions ({error}); write ^1.2, 1.2.3 or *"))
}

/// The tags that are versions in a range, newest first. A `v` before a version is left out; versions before a release count only
/// where the range names one.
pub fn candidates(tags: &[String], range: &VersionReq) -> Vec<(Version, String)> {
    let mut found: Vec<(Version, String)> = tags
        .iter()
        .filter_map(|tag| Some((version(tag)?, tag.clone())))
        .filter(|(version, _)| range.matches(version))
        .collect();
    found.sort_by(|one, other| other.cmp(one));
    // The same version with and without a `v`.
    found.dedup_by(|one, other| one.0 == other.0);
    found
}

/// The version that a tag is. Tags have no `+`, for which tools write `_`.
fn version(tag: &str) -> Option<Version> {
    let text = tag.strip_prefix('v').unwrap_or(tag).replacen('_', "+", 1);
    Version::parse(&text).ok()
}

/// The tag of a version.
pub fn tag(version: &str) -> String {
    version.replace('+', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_in_the_range_is_first() {
        let tags = [
            "latest",
            "0.9.0",
            "1.2.0",
            "v1.10.0",
            "1.9.3",
            "2.0.0-rc.1",
            "1.10.0",
            "sha256-00.sig",
            "1.2.1_build",
        ];
        let tags = tags.map(str::to_owned);
        let of = |text: &str| -> Vec<String> {
            let found = candidates(&tags, &range(text).unwrap());
            found
                .into_iter()
                .map(|(version, _)| version.to_string())
                .collect()
        };
        assert_eq!(of("^1.2"), ["1.10.0", "1.9.3", "1.2.1+build", "1.2.0"]);
        assert_eq!(of("*").first().map(String::as_str), Some("1.10.0"));
        assert_eq!(of("=2.0.0-rc.1"), ["2.0.0-rc.1"]);
        assert!(of("^3").is_empty());
        assert!(range("latest").unwrap_err().contains("^1.2"));
        assert_eq!(tag("1.2.1+build"), "1.2.1_build");
    }
}
