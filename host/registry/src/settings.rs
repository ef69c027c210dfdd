//! How the settings of this crate are read: TOML into structures that know all their keys, with mistakes that name their line.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::Spanned;
use toml::de::DeTable;

/// One mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

/// Why a part cannot be set up as it is configured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file has mistakes.
    #[error("{}: {}", path.display(), lines(mistakes))]
    Mistakes {
        /// The file.
        path: PathBuf,
        /// All of them, in the order of their lines.
        mistakes: Vec<Mistake>,
    },
    /// A setting has a value that cannot be used, or does not fit the others.
    #[error("{setting}: {problem}")]
    Setting {
        /// The setting, with its table: `auth.token.jwks`.
        setting: String,
        /// What is wrong with it.
        problem: String,
    },
}

fn lines(mistakes: &[Mistake]) -> String {
    let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    lines.join("; ")
}

impl SetupError {
    pub(crate) fn setting(setting: impl Into<String>, problem: impl Into<String>) -> SetupError {
        SetupError::Setting {
            setting: setting.into(),
            problem: problem.into(),
        }
    }

    pub(crate) fn file(path: &Path, source: std::io::Error) -> SetupError {
        SetupError::File {
            path: path.to_owned(),
            source,
        }
    }
}

/// Reads TOML. An unknown key is a mistake that names the nearest known one.
///
/// # Errors
/// The first mistake.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Mistake> {
    toml::from_str(text).map_err(|error| mistake(text, &error))
}

/// The same of a table of a text.
///
/// # Errors
/// The first mistake.
pub(crate) fn read<T: DeserializeOwned>(text: &str, table: Spanned<DeTable<'_>>) -> Result<T, Mistake> {
    T::deserialize(toml::Deserializer::from(table)).map_err(|error| mistake(text, &error))
}

fn mistake(text: &str, error: &toml::de::Error) -> Mistake {
    Mistake {
        line: line_of(text, error.span().map_or(0, |span| span.start)),
        message: with_nearest(error.message()),
    }
}

/// The line of a byte, from 1.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    let before = &text.as_bytes()[..at.min(text.len())];
    1 + before.iter().filter(|&&byte| byte == b'\n').count()
}

/// Makes ``unknown field `a`, expected `b` or `c` `` say which one was meant.
fn with_nearest(message: &str) -> String {
    let Some(rest) = message.strip_prefix("unknown field `") else {
        return message.to_owned();
    };
    let names: Vec<&str> = rest.split('`').step_by(2).collect();
    let Some((unknown, known)) = names.split_first() else {
        return message.to_owned();
    };
    let known = rest.split('`').skip(2).step_by(2).take(known.len().max(1));
    format!("unknown key `{unknown}`; {}", nearest(unknown, known))
}

/// Names what was probably meant, or all there is.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let near = known.iter().map(|other| (edits(name, other), *other)).min();
    match near {
        Some((edits, other)) if edits <= 3.min(name.len() / 2) => format!("did you mean `{other}`?"),
        _ if known.is_empty() => "there is none".to_owned(),
        _ => format!("there are `{}`", known.join("`, `")),
    }
}

/// How many letters must be put in, left out or changed.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, from) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], above + 1);
        for (left, to) in to.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[left + 1];
            row[left + 1] = changed.min(diagonal + 1).min(row[left] + 1);
        }
    }
    row[to.len()]
}

/// A time, written as `250ms`, `30s` or `1h30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

impl Period {
    /// Reads numbers with units, as Go does.
    #[must_use]
    pub fn parse(text: &str) -> Option<Period> {
        if text == "0" {
            return Some(Period(Duration::ZERO));
        }
        let mut rest = text;
        let mut total = Duration::ZERO;
        while !rest.is_empty() {
            let (number, unit) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
            let end = unit.find(|c: char| c.is_ascii_digit()).unwrap_or(unit.len());
            total = total.checked_add(part(number, &unit[..end])?)?;
            rest = &unit[end..];
        }
        (!text.is_empty()).then_some(Period(total))
    }
}

/// A number, perhaps with decimals, in a unit.
fn part(number: &str, unit: &str) -> Option<Duration> {
    let nanos: u64 = match unit {
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return nanos.checked_mul(whole).map(Duration::from_nanos);
    }
    let number: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(number * Duration::from_nanos(nanos).as_secs_f64()).ok()
}

impl fmt::Display for Period {
    /// In the largest unit that leaves no rest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        let units = [
            ("h", 3_600_000_000_000),
            ("m", 60_000_000_000),
            ("s", 1_000_000_000),
            ("ms", 1_000_000),
            ("us", 1000),
        ];
        match units.iter().find(|(_, unit)| nanos.is_multiple_of(*unit)) {
            _ if nanos == 0 => f.write_str("0s"),
            Some((name, unit)) => write!(f, "{}{name}", nanos / unit),
            None => write!(f, "{nanos}ns"),
        }
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Period, D::Error> {
        let text = String::deserialize(deserializer)?;
        Period::parse(&text)
            .ok_or_else(|| D::Error::custom("a time is text such as \"250ms\", \"30s\" or \"1h30m\""))
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[serde(rename = "realm")]
        _realm: String,
        #[serde(rename = "wait")]
        _wait: Option<Period>,
    }

    #[test]
    fn a_mistake_names_its_line_and_what_was_meant() {
        let wrong = |text: &str| parse::<Sample>(text).unwrap_err().to_string();
        assert_eq!(
            wrong("realm = \"a\"\n\nrelm = 1\n"),
            "line 3: unknown key `relm`; did you mean `realm`?"
        );
        assert_eq!(
            wrong("realm = \"a\"\nsomething = 1\n"),
            "line 2: unknown key `something`; there are `realm`, `wait`"
        );
        assert_eq!(
            wrong("realm = \"a\"\nwait = \"5 s\"\n"),
            "line 2: a time is text such as \"250ms\", \"30s\" or \"1h30m\""
        );
        assert!(
            wrong("realm = [\n").starts_with("line "),
            "{}",
            wrong("realm = [\n")
        );
    }

    #[test]
    fn times_are_those_of_go() {
        let read = |text: &str| Period::parse(text).map(|period| period.0);
        assert_eq!(read("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(read("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(read("0"), Some(Duration::ZERO));
        for wrong in ["", "1", "s", "1d", "-1s", "1s1", "99999999999999h", "1..2s"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        for text in ["0s", "250ms", "90s", "36h", "7ns", "5us"] {
            let shown = Period::parse(text).unwrap().to_string();
            assert_eq!(Period::parse(&shown), Period::parse(text));
        }
        assert_eq!(Period(Duration::from_secs(7200)).to_string(), "2h");
    }
}
