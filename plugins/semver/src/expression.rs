//! What is asked.
//!
//! ```text
//! expression := all ("||" all)*                       one of them must hold
//! all        := condition ("&&" condition)*           each must hold
//! condition  := [field] ["~"] comparator ("," comparator)*    without a field: the one before
//! field      := labels.<key> | annotations.<key> | tag
//! key        := [A-Za-z0-9_./-]+ | "quoted"
//! comparator := [= == != > >= < <= ~ ^] version
//! ```

use std::str::FromStr;

use semver::VersionReq;
use transom_sdk::Record;

use crate::version;

/// The longest expression, in bytes.
const EXPRESSION_BYTES: usize = 8 << 10;

/// What is asked of a record.
#[derive(Clone, Debug)]
pub struct Expression {
    /// One of them must hold.
    alternatives: Vec<Vec<Condition>>,
}

/// What is asked of one field.
#[derive(Clone, Debug)]
struct Condition {
    field: Field,
    /// All of these, by the rules of Cargo; none if only versions are named that it must not be.
    range: Option<VersionReq>,
    /// None of these.
    not: Vec<VersionReq>,
}

/// Where a version is.
#[derive(Clone, Debug)]
enum Field {
    Label(String),
    Annotation(String),
    Tag,
}

impl Expression {
    /// Whether it holds of a record. A field that is missing or that is no version is in no range.
    pub(crate) fn holds(&self, record: &Record<'_>) -> bool {
        let mut alternatives = self.alternatives.iter();
        alternatives.any(|all| all.iter().all(|condition| condition.holds(record)))
    }
}

impl Condition {
    fn holds(&self, record: &Record<'_>) -> bool {
        let text = match &self.field {
            Field::Label(key) => record.labels().get(key),
            Field::Annotation(key) => record.annotations().get(key),
            Field::Tag => record.name().and_then(tag),
        };
        let Some(version) = text.and_then(version::read) else {
            return false;
        };
        let is_in_range = self.range.as_ref().is_none_or(|range| range.matches(&version));
        is_in_range && !self.not.iter().any(|not| not.matches(&version))
    }
}

/// The tag in an image's name: what follows the last `:` behind the last `/`, without a digest.
fn tag(name: &str) -> Option<&str> {
    let (name, _digest) = name.split_once('@').unwrap_or((name, ""));
    let last = name.rsplit_once('/').map_or(name, |(_, last)| last);
    last.rsplit_once(':').map(|(_, tag)| tag)
}

impl FromStr for Expression {
    type Err = String;

    fn from_str(text: &str) -> Result<Expression, String> {
        if text.len() > EXPRESSION_BYTES {
            let size = text.len();
            return Err(format!("it has {size} bytes, the limit is {EXPRESSION_BYTES}"));
        }
        let mut parser = Parser { text, rest: text };
        let alternatives = parser.alternatives()?;
        Ok(Expression { alternatives })
    }
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn alternatives(&mut self) -> Result<Vec<Vec<Condition>>, String> {
        let first = self.condition(None)?;
        let mut field = first.field.clone();
        let mut alternatives = vec![vec![first]];
        loop {
            let other = self.take("||");
            if !other && !self.take("&&") {
                break;
            }
            let condition = self.condition(Some(&field))?;
            field = condition.field.clone();
            match alternatives.last_mut() {
                Some(all) if !other => all.push(condition),
                _ => alternatives.push(vec![condition]),
            }
        }
        if self.rest.is_empty() {
            Ok(alternatives)
        } else {
            Err(self.expected("`||`, `&&`, `,` or the end"))
        }
    }

    fn condition(&mut self, before: Option<&Field>) -> Result<Condition, String> {
        let field = match self.field()? {
            Some(field) => field,
            None => before
                .cloned()
                .ok_or_else(|| self.expected("`labels.<key>`, `annotations.<key>` or `tag`"))?,
        };
        // `~ ^1.2`: the `~` only says that a range follows. `~1.2` is a range of its own.
        let start = self.rest;
        if self.take("~") && !self.rest.starts_with(OPERATORS) && !self.rest.starts_with('*') {
            self.rest = start;
        }
        let (mut range, mut not) = (Vec::new(), Vec::new());
        loop {
            let (operator, version) = self.comparator()?;
            let comparator = if operator == "!=" {
                format!("={version}")
            } else {
                format!("{operator}{version}")
            };
            let read = VersionReq::parse(&comparator)
                .map_err(|error| self.wrong(&format!("{operator}{version} is no range: {error}")))?;
            if operator == "!=" {
                not.push(read);
            } else {
                range.push(read);
            }
            if !self.take(",") {
                break;
            }
        }
        let range = (!range.is_empty()).then(|| VersionReq {
            comparators: range.into_iter().flat_map(|range| range.comparators).collect(),
        });
        Ok(Condition { field, range, not })
    }

    /// A field, if one begins here.
    fn field(&mut self) -> Result<Option<Field>, String> {
        self.rest = self.rest.trim_ascii_start();
        // A version can begin with a `v`, but no field does.
        if !self
            .rest
            .starts_with(|c: char| c.is_ascii_lowercase() && c != 'v')
        {
            return Ok(None);
        }
        if let Some(rest) = self.rest.strip_prefix("labels.") {
            self.rest = rest;
            return self.key().map(|key| Some(Field::Label(key)));
        }
        if let Some(rest) = self.rest.strip_prefix("annotations.") {
            self.rest = rest;
            return self.key().map(|key| Some(Field::Annotation(key)));
        }
        let (word, rest) = split_run(self.rest, |c| c.is_ascii_alphanumeric() || "_./-".contains(c));
        if word == "tag" {
            self.rest = rest;
            return Ok(Some(Field::Tag));
        }
        Err(self.expected("`labels.<key>`, `annotations.<key>` or `tag`"))
    }

    fn key(&mut self) -> Result<String, String> {
        let Some(quoted) = self.rest.strip_prefix('"') else {
            let (key, rest) = split_run(self.rest, |c| c.is_ascii_alphanumeric() || "_./-".contains(c));
            if key.is_empty() {
                return Err(self.expected("a key"));
            }
            self.rest = rest;
            return Ok(key.to_owned());
        };
        let mut key = String::new();
        let mut characters = quoted.chars();
        while let Some(c) = characters.next() {
            match c {
                '"' => {
                    self.rest = characters.as_str();
                    return Ok(key);
                }
                '\\' => key.extend(characters.next()),
                c => key.push(c),
            }
        }
        Err(self.wrong("the key is not closed"))
    }

    /// An operator, or nothing for what a version alone means, and a version as the library reads it.
    fn comparator(&mut self) -> Result<(&'static str, &'a str), String> {
        self.rest = self.rest.trim_ascii_start();
        let (operator, rest) = split_run(self.rest, |c| OPERATORS.contains(&c));
        let operator = match operator {
            "" => "",
            "=" | "==" => "=",
            "!=" => "!=",
            ">" => ">",
            ">=" => ">=",
            "<" => "<",
            "<=" => "<=",
            "~" => "~",
            "^" => "^",
            _ => return Err(self.expected("one of = == != > >= < <= ~ ^")),
        };
        let rest = rest.trim_ascii_start();
        let rest = rest.strip_prefix(['v', 'V']).unwrap_or(rest);
        let (version, rest) = split_run(rest, |c| c.is_ascii_alphanumeric() || ".-+*".contains(c));
        if !version.starts_with(|c: char| c.is_ascii_digit() || c == '*') {
            return Err(self.expected("a version"));
        }
        self.rest = rest;
        Ok((operator, version))
    }

    /// Takes a sign, if it is next, with the white space around it.
    fn take(&mut self, sign: &str) -> bool {
        match self.rest.trim_ascii_start().strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest.trim_ascii_start();
                true
            }
            None => {
                self.rest = self.rest.trim_ascii_start();
                false
            }
        }
    }

    fn expected(&self, what: &str) -> String {
        self.wrong(&format!("expected {what}"))
    }

    fn wrong(&self, what: &str) -> String {
        let at = self.text.len() - self.rest.len() + 1;
        format!("at byte {at}: {what}")
    }
}

const OPERATORS: [char; 6] = ['=', '!', '>', '<', '~', '^'];

/// The characters at the start for which `is` holds, and the rest.
fn split_run(text: &str, is: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !is(c)).unwrap_or(text.len()))
}
