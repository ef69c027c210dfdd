//! Versions as people write them.

use semver::{Prerelease, Version};

/// Reads a version by the rules of semver.org, and also with a `v` before it or with one or two numbers only, of which the
/// rest is then 0. None for anything else. What follows a `+` does not count in comparisons, and is left out.
pub(crate) fn read(text: &str) -> Option<Version> {
    let text = text.trim_ascii();
    let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
    let (text, build) = text
        .split_once('+')
        .map_or((text, None), |(text, build)| (text, Some(build)));
    if build.is_some_and(|build| semver::BuildMetadata::new(build).is_err() || build.is_empty()) {
        return None;
    }
    let (numbers, pre) = text
        .split_once('-')
        .map_or((text, None), |(numbers, pre)| (numbers, Some(pre)));
    let mut parts = numbers.split('.').map(number);
    let (major, minor, patch) = (parts.next()??, parts.next(), parts.next());
    if parts.next().is_some() {
        return None;
    }
    let mut version = Version::new(major, minor.unwrap_or(Some(0))?, patch.unwrap_or(Some(0))?);
    if let Some(pre) = pre {
        version.pre = Prerelease::new(pre).ok().filter(|pre| !pre.is_empty())?;
    }
    Some(version)
}

/// A number without a sign and without zeroes before it.
fn number(digits: &str) -> Option<u64> {
    let is_plain =
        digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits.len() == 1 || !digits.starts_with('0'));
    if is_plain { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn versions_may_be_short_and_have_a_v() {
        for (text, full) in [
            ("1.2.3", "1.2.3"),
            ("v1.2.3", "1.2.3"),
            ("V2", "2.0.0"),
            ("1.2", "1.2.0"),
            (" 1.2 ", "1.2.0"),
            ("1.2-rc.1", "1.2.0-rc.1"),
            ("v0.1.0-alpha+build.5", "0.1.0-alpha"),
            ("1+meta-data", "1.0.0"),
            ("18446744073709551615", "18446744073709551615.0.0"),
        ] {
            assert_eq!(
                read(text).map(|version| version.to_string()).as_deref(),
                Some(full),
                "{text}"
            );
        }
    }

    #[test]
    fn anything_else_is_none() {
        for text in [
            "",
            "v",
            "latest",
            "1.",
            ".1",
            "1..2",
            "1.2.3.4",
            "01.2",
            "1.2.03",
            "+1",
            "-1",
            "1.-1",
            "1.2.3-",
            "1.2.3+",
            "1.2.3-rc_1",
            "1.2.3-01",
            "vv1",
            "1.x",
            "18446744073709551616",
            "1 .2",
            "١",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
