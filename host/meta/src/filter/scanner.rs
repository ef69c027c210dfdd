//! Characters to tokens.
//!
//! White space before a token is skipped by the scanner, but the parser looks at raw characters to decide what may follow,
//! so white space before a comma or a dot is an error. That is how clients know it.

use std::sync::LazyLock;

use regex::Regex;

/// What is wrong with characters, in the words that clients know.
const NULL: &str = "unexpected null";
const NOT_A_CHARACTER: &str = "rune error";
const NOT_TERMINATED: &str = "quoted literal not terminated";
const BAD_ESCAPE: &str = "illegal escape sequence";
const BAD_NUMBER: &str = "illegal numeric escape sequence";

/// A token with its place in the text, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) at: usize,
    pub(super) kind: Kind,
    /// The text of it, with the quotes of a quoted one.
    pub(super) text: &'a str,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Field,
    Value,
    Quoted,
    Operator,
    Separator,
    /// Not a token at all, and why.
    Illegal(&'static str),
    /// A character that begins no token, or the end.
    Other,
}

pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Scanner<'a> {
        Scanner { text, at: 0 }
    }

    /// The next character, white space or not.
    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Where that character is.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The token that comes after white space. A `value` may have almost any character.
    pub(super) fn scan(&mut self, value: bool) -> Token<'a> {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return self.token(Kind::Other, 0);
        };
        match first {
            '\0' => self.token(Kind::Illegal(NULL), 0),
            char::REPLACEMENT_CHARACTER => self.token(Kind::Illegal(NOT_A_CHARACTER), 0),
            '"' | '/' | '|' => match quoted(rest, first) {
                Ok(length) => self.token(Kind::Quoted, length),
                Err(reason) => self.token(Kind::Illegal(reason), 0),
            },
            ',' | '.' => self.token(Kind::Separator, 1),
            '=' | '!' | '~' => self.token(Kind::Operator, run(rest, |c| matches!(c, '=' | '!' | '~'))),
            _ if value => {
                // Whatever it begins with, then what can be seen.
                let begin = first.len_utf8();
                self.token(Kind::Value, begin + visible(&rest[begin..]))
            }
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => {
                self.token(Kind::Field, run(rest, |c| c.is_ascii_alphanumeric() || c == '_'))
            }
            _ => self.token(Kind::Other, 0),
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn token(&mut self, kind: Kind, length: usize) -> Token<'a> {
        let at = self.at;
        self.at += length;
        Token {
            at,
            kind,
            text: &self.text[at..self.at],
        }
    }
}

/// The length of the characters at the start for which `is` holds.
fn run(text: &str, is: impl Fn(char) -> bool) -> usize {
    text.find(|c| !is(c)).unwrap_or(text.len())
}

/// The length of what may go on in a value: letters, marks, numbers, punctuation and symbols but commas.
fn visible(text: &str) -> usize {
    static VISIBLE: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"^[[\p{L}\p{M}\p{N}\p{P}\p{S}]--[,\x{FFFD}]]*").ok());
    let found = VISIBLE.as_ref().and_then(|visible| visible.find(text));
    found.map_or(0, |found| found.end())
}

/// The length of a quoted text with its quotes. The first thing that is wrong counts.
fn quoted(text: &str, quote: char) -> Result<usize, &'static str> {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = characters.next() {
        match c {
            _ if c == quote => return Ok(at + 1),
            '\n' => return Err(NOT_TERMINATED),
            '\\' => {
                let escaped = characters.next().map(|(_, c)| c).ok_or(BAD_ESCAPE)?;
                let (base, digits) = match escaped {
                    'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => continue,
                    _ if escaped == quote => continue,
                    // The first of three is taken already.
                    '0'..='7' => (8, 2),
                    'x' => (16, 2),
                    'u' => (16, 4),
                    'U' => (16, 8),
                    other => return Err(illegal(other).unwrap_or(BAD_ESCAPE)),
                };
                for _ in 0..digits {
                    let digit = characters.next_if(|(_, c)| c.is_digit(base));
                    digit.ok_or_else(|| {
                        characters
                            .peek()
                            .and_then(|(_, c)| illegal(*c))
                            .unwrap_or(BAD_NUMBER)
                    })?;
                }
            }
            other => illegal(other).map_or(Ok(()), Err)?,
        }
    }
    Err(NOT_TERMINATED)
}

/// Why a character cannot be anywhere.
fn illegal(c: char) -> Option<&'static str> {
    match c {
        '\0' => Some(NULL),
        char::REPLACEMENT_CHARACTER => Some(NOT_A_CHARACTER),
        _ => None,
    }
}
