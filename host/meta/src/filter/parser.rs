//! Tokens to selectors.

use super::error::{FilterError, ParseError};
use super::quote::unquote;
use super::scanner::{Kind, Scanner, Token};
use crate::limits::{FILTER_BYTES, FILTER_SELECTORS};

/// What a selector compares with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    Differs,
    Matches,
}

/// A field path and what is said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selector {
    /// Never empty.
    pub(super) path: Vec<String>,
    /// Where it begins.
    pub(super) at: usize,
    /// The operator and where it is; none asks whether the field is there.
    pub(super) test: Option<(Operator, usize)>,
    /// The value, empty without an operator.
    pub(super) value: String,
}

/// Reads a filter that is not empty.
pub(super) fn parse(text: &str) -> Result<Vec<Selector>, FilterError> {
    if text.len() > FILTER_BYTES {
        return Err(FilterError::Limit {
            what: "bytes in one filter",
            count: text.len(),
            limit: FILTER_BYTES,
        });
    }
    let mut parser = Parser {
        text,
        scanner: Scanner::new(text),
    };
    let mut selectors = vec![parser.selector()?];
    while let Some(next) = parser.scanner.peek() {
        if next != ',' {
            // What cannot be shown is shown as the character for that.
            let shown = if next == '\0' {
                char::REPLACEMENT_CHARACTER
            } else {
                next
            };
            return Err(parser.error(parser.scanner.at(), format!("unexpected input: {shown}")));
        }
        parser.scanner.scan(false);
        selectors.push(parser.selector()?);
        if selectors.len() > FILTER_SELECTORS {
            return Err(FilterError::Limit {
                what: "selectors in one filter",
                count: selectors.len(),
                limit: FILTER_SELECTORS,
            });
        }
    }
    Ok(selectors)
}

struct Parser<'a> {
    text: &'a str,
    scanner: Scanner<'a>,
}

impl Parser<'_> {
    fn selector(&mut self) -> Result<Selector, FilterError> {
        let (at, first) = self.field()?;
        let mut path = vec![first];
        while self.scanner.peek() == Some('.') {
            self.scanner.scan(false);
            path.push(self.field()?.1);
        }
        let (mut test, mut value) = (None, String::new());
        if !matches!(self.scanner.peek(), None | Some(',')) {
            let (operator, at) = self.operator()?;
            test = Some((operator, at));
            value = self.value(operator == Operator::Matches)?;
        }
        Ok(Selector {
            path,
            at,
            test,
            value,
        })
    }

    fn field(&mut self) -> Result<(usize, String), FilterError> {
        let token = self.scanner.scan(false);
        let text = match token.kind {
            Kind::Field => token.text.to_owned(),
            Kind::Quoted => self.unquote(token, false)?,
            _ => return Err(self.unexpected(token, "expected field or quoted")),
        };
        Ok((token.at, text))
    }

    fn operator(&mut self) -> Result<(Operator, usize), FilterError> {
        let token = self.scanner.scan(false);
        if token.kind != Kind::Operator {
            return Err(self.unexpected(token, r#"expected an operator ("=="|"!="|"~=")"#));
        }
        let operator = match token.text {
            "==" => Operator::Equal,
            "!=" => Operator::Differs,
            "~=" => Operator::Matches,
            other => return Err(self.error(token.at, format!("unsupported operator {other:?}"))),
        };
        Ok((operator, token.at))
    }

    fn value(&mut self, pattern: bool) -> Result<String, FilterError> {
        let token = self.scanner.scan(true);
        match token.kind {
            Kind::Value => Ok(token.text.to_owned()),
            Kind::Quoted => self.unquote(token, pattern),
            _ => Err(self.unexpected(token, "expected value or quoted")),
        }
    }

    fn unquote(&self, token: Token<'_>, pattern: bool) -> Result<String, FilterError> {
        if !pattern && !token.text.starts_with('"') {
            return Err(self.error(token.at, "invalid quote encountered"));
        }
        unquote(token.text).ok_or_else(|| self.error(token.at, "unquoting failed: quote syntax error"))
    }

    fn unexpected(&self, token: Token<'_>, expected: &'static str) -> FilterError {
        let reason = match token.kind {
            Kind::Illegal(reason) => reason,
            _ => expected,
        };
        self.error(token.at, reason)
    }

    fn error(&self, at: usize, reason: impl Into<String>) -> FilterError {
        FilterError::Parse(ParseError::new(self.text, at, reason))
    }
}
