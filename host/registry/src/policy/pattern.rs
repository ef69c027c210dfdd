//! Which repositories a rule is about.

/// A pattern of a repository's name, part by part.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Part>);

#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// `**`: any number of parts, also none.
    Any,
    /// `{user}`: the client's own name.
    User,
    /// A part, in which `*` is any letters.
    Text(String),
}

impl Pattern {
    /// Reads a pattern, or says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Pattern, String> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-*".contains(c);
        let part = |part: &str| match part {
            "**" => Ok(Part::Any),
            "{user}" => Ok(Part::User),
            "" => Err(format!("{text:?} has an empty part between slashes")),
            _ if part.contains("**") => Err(format!("{text:?}: ** stands alone between slashes")),
            _ if !part.chars().all(fits) => Err(format!(
                "{text:?} can match no repository: use lower-case letters, digits, \".\", \"_\", \"-\", \"*\", \"**\", \"{{user}}\""
            )),
            _ => Ok(Part::Text(part.to_owned())),
        };
        text.split('/').map(part).collect::<Result<_, _>>().map(Pattern)
    }

    /// Whether a repository is meant, when a client of this name asks for it.
    pub(super) fn matches(&self, repository: &str, user: Option<&str>) -> bool {
        let parts: Vec<&str> = repository.split('/').collect();
        let fits = |pattern: &Part, part: &&str| match pattern {
            Part::Any => true,
            Part::User => user == Some(part),
            Part::Text(text) => glob(text, part),
        };
        wild(&self.0, &parts, |part| *part == Part::Any, fits)
    }
}

/// Whether a text is like a pattern, in which `*` is any letters.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    wild(
        pattern.as_bytes(),
        text.as_bytes(),
        |letter| *letter == b'*',
        |a, b| a == b,
    )
}

/// Matches with any number of stars by going back to the last one only, so in the product of both lengths at most.
fn wild<P, T>(pattern: &[P], text: &[T], star: impl Fn(&P) -> bool, fits: impl Fn(&P, &T) -> bool) -> bool {
    let (mut at, mut place) = (0, 0);
    let mut last = None;
    while place < text.len() {
        match pattern.get(at) {
            Some(item) if star(item) => {
                last = Some((at, place));
                at += 1;
            }
            Some(item) if fits(item, &text[place]) => {
                at += 1;
                place += 1;
            }
            _ => {
                let Some((star_at, taken)) = last else {
                    return false;
                };
                last = Some((star_at, taken + 1));
                (at, place) = (star_at + 1, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(star)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_part_by_part() {
        let matches =
            |pattern: &str, name: &str| Pattern::parse(pattern).unwrap().matches(name, Some("alice"));
        for (pattern, name) in [
            ("**", "a"),
            ("**", "a/b/c"),
            ("team-a/**", "team-a/x"),
            ("team-a/**", "team-a/x/y"),
            ("team-a/**", "team-a"),
            ("**/cache", "cache"),
            ("**/cache", "a/b/cache"),
            ("a/**/b/**/c", "a/x/b/b/y/c"),
            ("a/*", "a/b"),
            ("a/*-*", "a/b-c-d"),
            ("users/{user}/**", "users/alice/x"),
            ("a*b*c", "aXbXbc"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("team-a/**", "team-ab/x"),
            ("team-a/**", "x/team-a"),
            ("*", "a/b"),
            ("a/*", "a"),
            ("a/*", "a/b/c"),
            ("**/cache", "cache/x"),
            ("users/{user}/**", "users/bob/x"),
            ("users/{user}/**", "users/{user}/x"),
            ("a", "ab"),
            ("a*b", "a"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        assert!(!Pattern::parse("users/{user}").unwrap().matches("users/a", None));
    }

    #[test]
    fn patterns_that_match_nothing_are_mistakes() {
        for text in [
            "", "/a", "a/", "a//b", "Team/**", "a/b**", "***", "a b", "a:b", "{users}", "x{user}",
        ] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }

    /// What a pattern means, as slowly as it can be said.
    fn meant(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|at| meant(rest, &text[at..])),
            Some((letter, rest)) => text
                .split_first()
                .is_some_and(|(first, left)| first == letter && meant(rest, left)),
        }
    }

    proptest::proptest! {
        #[test]
        fn stars_mean_what_they_mean(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            proptest::prop_assert_eq!(glob(&pattern, &text), meant(pattern.as_bytes(), text.as_bytes()));
        }
    }

    #[test]
    fn many_stars_take_no_longer_than_they_must() {
        let pattern = "*a".repeat(1000);
        assert!(!glob(&pattern, &"a".repeat(999)));
        assert!(glob(&pattern, &"a".repeat(5000)));
        let parts = Pattern::parse(&["**/a"; 60].join("/")).unwrap();
        assert!(!parts.matches(&["a"; 59].join("/"), None));
    }
}
