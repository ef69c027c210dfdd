//! Clients that are known by their certificates. The TLS server has verified them; here they get names.

use serde::Deserialize;

use super::CERTIFICATE_PREFIX;

/// `[auth.certificates]`: who has a certificate of an authority of `http.tls.client_ca` is known by it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What of the subject is the name.
    #[serde(default)]
    pub name: Name,
}

/// What of a subject is the name.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Name {
    /// Its common name; the whole subject if it has none.
    #[default]
    CommonName,
    /// All of it.
    Subject,
}

/// The name of who has a certificate with this subject: `certificate:` and then what the settings say.
#[must_use]
pub fn name(settings: &Settings, subject: &str) -> String {
    let common = match settings.name {
        Name::CommonName => common_name(subject),
        Name::Subject => None,
    };
    format!("{CERTIFICATE_PREFIX}{}", common.as_deref().unwrap_or(subject))
}

/// The value of `CN` in a subject as RFC 4514 writes it. `None` if there is none, or more than one: then which of them is meant
/// is not for us to say.
fn common_name(subject: &str) -> Option<String> {
    let mut found = attributes(subject).into_iter().filter_map(|attribute| {
        let (kind, value) = attribute.split_once('=')?;
        kind.trim()
            .eq_ignore_ascii_case("cn")
            .then(|| unescaped(value.trim()))
    });
    let only = found.next()?;
    (found.next().is_none() && !only.is_empty()).then_some(only)
}

/// Cuts at commas and pluses that are not escaped.
fn attributes(subject: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, letter) in subject.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' | '+' => {
                parts.push(&subject[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&subject[start..]);
    parts
}

fn unescaped(value: &str) -> String {
    let mut out = String::new();
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        out.extend(if letter == '\\' {
            letters.next()
        } else {
            Some(letter)
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_name_is_the_name() {
        let by_common = Settings::default();
        for (subject, expected) in [
            ("CN=ci", "certificate:ci"),
            ("O=team, cn = ci ,C=DE", "certificate:ci"),
            ("O=team+CN=ci", "certificate:ci"),
            ("O=a\\,CN=root,CN=ci", "certificate:ci"),
            ("CN=a\\,b", "certificate:a,b"),
            ("O=team", "certificate:O=team"),
            ("CN=a,CN=b", "certificate:CN=a,CN=b"),
            ("CN=", "certificate:CN="),
            ("ci", "certificate:ci"),
        ] {
            assert_eq!(name(&by_common, subject), expected);
        }
        let whole = Settings { name: Name::Subject };
        assert_eq!(name(&whole, "CN=ci,O=team"), "certificate:CN=ci,O=team");
    }
}
