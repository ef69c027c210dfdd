//! Rules of the operator's, and what is left out: `rules`, `disable` and `allow` of the configuration.

use std::borrow::Cow;

use regex::bytes::RegexBuilder;
use transom_sdk::{Error, Severity};

use crate::glob::Glob;
use crate::rules::{Follows, RULES, Rule};
use crate::search::SHORTEST;

/// Rules that an operator may add. Each costs when its literal is found, not before.
const RULES_MAX: usize = 100;
/// Bytes of a compiled pattern.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// The rules that are looked for: those of the plugin that are not disabled, and the operator's.
pub(crate) fn rules(added: &[String], disabled: &[String]) -> Result<Vec<Rule>, Error> {
    let known = |name: &str| RULES.iter().any(|rule| rule.name == name);
    if let Some(unknown) = disabled.iter().find(|name| !known(name)) {
        return Err(wrong("disable", format!("there is no rule {unknown:?}")));
    }
    if added.len() > RULES_MAX {
        return Err(wrong("rules", format!("there may be {RULES_MAX} rules")));
    }
    let ours = RULES
        .iter()
        .filter(|rule| !disabled.iter().any(|name| *name == rule.name));
    let mut rules: Vec<Rule> = ours.cloned().collect();
    for text in added {
        rules.push(rule(text)?);
    }
    Ok(rules)
}

/// `NAME SEVERITY PATTERN`: the pattern is a regular expression that begins with plain characters, by which it is found.
fn rule(text: &str) -> Result<Rule, Error> {
    let refuse = |reason: &str| Err(wrong("rules", format!("{text:?}: {reason}")));
    let mut parts = text.trim().splitn(3, char::is_whitespace);
    let (Some(name), Some(severity), Some(pattern)) = (parts.next(), parts.next(), parts.next()) else {
        return refuse("a rule is NAME SEVERITY PATTERN, as in \"acme-token critical acme_[a-z0-9]{32}\"");
    };
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > 64 || !name.bytes().all(is_plain) {
        return refuse("its name must be lower-case letters, digits and `-`");
    }
    let severity = match severity {
        "info" => Severity::Info,
        "warning" => Severity::Warning,
        "critical" => Severity::Critical,
        _ => return refuse("its severity must be info, warning or critical"),
    };
    let pattern = pattern.trim();
    let literal = literal(pattern);
    if literal.len() < SHORTEST {
        return refuse(&format!(
            "its pattern must begin with {SHORTEST} plain characters, which are looked for first"
        ));
    }
    let compiled = RegexBuilder::new(&format!("\\A(?:{pattern})"))
        .unicode(false)
        .size_limit(PATTERN_BYTES_MAX)
        .build();
    match compiled {
        Ok(compiled) => Ok(Rule {
            name: Cow::Owned(name.to_owned()),
            literal: Cow::Owned(literal),
            severity,
            message: Cow::Owned(format!("what the rule {name} describes")),
            follows: Follows::Pattern(Box::new(compiled)),
        }),
        Err(error) => refuse(&format!("its pattern is wrong: {error}")),
    }
}

/// The plain characters at the start of a pattern, which whatever matches begins with.
fn literal(pattern: &str) -> Vec<u8> {
    let mut literal = Vec::new();
    let mut rest = pattern.bytes().peekable();
    while let Some(byte) = rest.next() {
        let plain = match byte {
            b'\\' => match rest.next() {
                Some(escaped) if escaped.is_ascii_punctuation() => escaped,
                _ => break,
            },
            b'|' => return Vec::new(),
            b'.' | b'[' | b'(' | b'^' | b'$' | b')' | b'*' | b'+' | b'?' | b'{' => break,
            other if other.is_ascii() => other,
            _ => break,
        };
        // What may be repeated may be missing.
        if matches!(rest.peek(), Some(b'*' | b'?' | b'{' | b'+')) {
            break;
        }
        literal.push(plain);
    }
    // Alternatives further on may begin otherwise.
    if has_alternatives(pattern) {
        Vec::new()
    } else {
        literal
    }
}

/// Whether there is a `|` outside of all brackets.
fn has_alternatives(pattern: &str) -> bool {
    let (mut depth, mut in_class) = (0i32, false);
    let mut bytes = pattern.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'[' => in_class = true,
            b']' => in_class = false,
            b'(' if !in_class => depth += 1,
            b')' if !in_class => depth -= 1,
            b'|' if !in_class && depth == 0 => return true,
            _ => {}
        }
    }
    false
}

/// Findings that are known and allowed: a rule, or `*` for all, and where.
#[derive(Debug)]
pub(crate) struct Allowed {
    rule: String,
    place: Glob,
}

impl Allowed {
    /// `RULE PATH` for each.
    pub(crate) fn list(texts: &[String]) -> Result<Vec<Allowed>, Error> {
        let read = |text: &String| match text.trim().split_once(char::is_whitespace) {
            Some((rule, path)) => Ok(Allowed {
                rule: rule.to_owned(),
                place: Glob::new(path.trim()),
            }),
            None => Err(wrong(
                "allow",
                format!(
                    "{text:?}: an entry is RULE PATH, as in \"private-key etc/ssl/private/snakeoil.key\""
                ),
            )),
        };
        texts.iter().map(read).collect()
    }

    pub(crate) fn covers(&self, rule: &str, path: &[u8]) -> bool {
        (self.rule == "*" || self.rule == rule) && self.place.matches(path)
    }
}

fn wrong(key: &str, message: String) -> Error {
    Error::Config {
        key: key.to_owned(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_start_of_a_pattern_is_found() {
        let of = |pattern: &str| String::from_utf8(literal(pattern)).unwrap();
        assert_eq!(of("acme_[a-z]{3}"), "acme_");
        assert_eq!(of("acme\\.key=(a|b)"), "acme.key=");
        assert_eq!(of("acmee?x"), "acme");
        assert_eq!(of("acme\\d"), "acme");
        assert_eq!(of("acme|other"), "");
        assert_eq!(of("acme[|]x"), "acme");
        assert_eq!(of(".acme"), "");
    }

    #[test]
    fn a_mistake_is_said_with_its_key() {
        for (text, reason) in [
            ("acme", "NAME SEVERITY PATTERN"),
            ("Acme critical acme_x", "lower-case"),
            ("acme awful acme_x", "info, warning or critical"),
            ("acme critical ac[a-z]", "4 plain characters"),
            ("acme critical acme(", "its pattern is wrong"),
            ("acme critical acme_(a{1000}){1000}", "its pattern is wrong"),
        ] {
            let Err(Error::Config { key, message }) = rules(&[text.to_owned()], &[]) else {
                panic!("{text} was taken")
            };
            assert!(key == "rules" && message.contains(reason), "{message}");
        }
        assert!(rules(&[], &["no-such-rule".to_owned()]).is_err());
        assert!(Allowed::list(&["private-key".to_owned()]).is_err());
        assert!(rules(&vec!["a info acme_".to_owned(); 101], &[]).is_err());
    }
}
