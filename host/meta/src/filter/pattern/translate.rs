//! From RE2's syntax to that of the library, where the same characters may mean something else: `\d`, `\s`, `\w` and `\b` are
//! about ASCII; `[`, `&&`, `--` and `~~` are plain characters in a class; `{` is one where no count follows; a repetition
//! cannot be repeated, nor a count be beyond 1000; `\Q…\E` quotes.

use std::fmt::Write as _;

/// The highest count of a repetition.
const COUNT_MAX: u32 = 1000;

/// Why an expression is not well formed; none is never made here, it is the caller's word for one that is too large.
type Reason = Option<String>;

/// The same expression in the library's syntax.
pub(super) fn translate(text: &str) -> Result<String, Reason> {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    let mut repeated = false;
    while let Some((c, after)) = split(rest) {
        let repetition = match c {
            '*' | '+' | '?' => Some(after),
            '{' => count(after)?,
            _ => None,
        };
        if let Some(after) = repetition {
            if repeated {
                return wrong("a repetition is repeated");
            }
            // A `?` behind it belongs to it.
            let after = after.strip_prefix('?').unwrap_or(after);
            out.push_str(&rest[..rest.len() - after.len()]);
            (rest, repeated) = (after, true);
            continue;
        }
        repeated = false;
        rest = match c {
            '\\' => escape(after, &mut out)?,
            '[' => class(after, &mut out)?,
            '(' => group(after, &mut out)?,
            '{' => literal(c, after, &mut out),
            c => {
                out.push(c);
                after
            }
        };
    }
    Ok(out)
}

fn split(text: &str) -> Option<(char, &str)> {
    let c = text.chars().next()?;
    Some((c, &text[c.len_utf8()..]))
}

fn wrong<T>(reason: &str) -> Result<T, Reason> {
    Err(Some(reason.to_owned()))
}

/// What comes after a count such as `2}`, `2,}` or `2,3}`, if this is one.
fn count(text: &str) -> Result<Option<&str>, Reason> {
    let Some((counts, after)) = text.split_once('}') else {
        return Ok(None);
    };
    let (least, most) = counts.split_once(',').unwrap_or((counts, counts));
    let is_number = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'))
    };
    if !is_number(least) || !is_number(most) || least.is_empty() {
        return Ok(None);
    }
    let too_many =
        |text: &str| !text.is_empty() && text.parse::<u32>().map_or(true, |count| count > COUNT_MAX);
    if too_many(least) || too_many(most) {
        return wrong("a count is beyond 1000");
    }
    Ok(Some(after))
}

/// The beginning of a group, up to its content.
fn group<'a>(text: &'a str, out: &mut String) -> Result<&'a str, Reason> {
    out.push('(');
    let Some(kind) = text.strip_prefix('?') else {
        return Ok(text);
    };
    if !kind.starts_with("P<") && !kind.starts_with('<') {
        let flags = kind.find([':', ')']).map_or(kind, |end| &kind[..end]);
        if !flags
            .chars()
            .all(|flag| matches!(flag, 'i' | 'm' | 's' | 'U' | '-'))
        {
            return wrong("a group has an unknown flag");
        }
    }
    out.push('?');
    Ok(kind)
}

/// What follows a backslash, outside of a class.
fn escape<'a>(text: &'a str, out: &mut String) -> Result<&'a str, Reason> {
    let Some((c, after)) = split(text) else {
        return wrong("a backslash is at the end");
    };
    match c {
        'A' | 'z' => {
            out.push('\\');
            out.push(c);
            Ok(after)
        }
        'b' | 'B' => {
            out.push_str("(?-u:\\");
            out.push(c);
            out.push(')');
            Ok(after)
        }
        'Q' => {
            let (quoted, after) = after.split_once("\\E").unwrap_or((after, ""));
            for c in quoted.chars() {
                literal(c, "", out);
            }
            Ok(after)
        }
        _ => {
            if let Some(after) = set(text, out)? {
                return Ok(after);
            }
            let (c, after) = character(text)?;
            Ok(literal(c, after, out))
        }
    }
}

/// What stands for many characters, behind a backslash, if this is one.
fn set<'a>(text: &'a str, out: &mut String) -> Result<Option<&'a str>, Reason> {
    let Some((c, after)) = split(text) else {
        return Ok(None);
    };
    let members = match c {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        's' => r"[\t\n\f\r\x20]",
        'S' => r"[^\t\n\f\r\x20]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        'p' | 'P' => return property(c == 'P', after, out).map(Some),
        _ => return Ok(None),
    };
    out.push_str(members);
    Ok(Some(after))
}

/// The name of a property such as `{Greek}`, `{^Greek}` or `L`, behind a `\p` or, for its opposite, a `\P`.
fn property<'a>(opposite: bool, text: &'a str, out: &mut String) -> Result<&'a str, Reason> {
    let braced = text.strip_prefix('{').and_then(|text| text.split_once('}'));
    let one = || split(text).map(|(c, after)| (&text[..c.len_utf8()], after));
    let Some((name, after)) = braced.or_else(one).filter(|(name, _)| *name != "{") else {
        return wrong("the name of a class of characters is missing");
    };
    let plain = name.strip_prefix('^').unwrap_or(name);
    out.push_str(if opposite == (plain == name) {
        "\\P{"
    } else {
        "\\p{"
    });
    out.push_str(plain);
    out.push('}');
    Ok(after)
}

/// One character, behind a backslash.
fn character(text: &str) -> Result<(char, &str), Reason> {
    let Some((c, after)) = split(text) else {
        return wrong("a backslash is at the end");
    };
    let c = match c {
        'a' => '\x07',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        'x' => {
            let braced = after.strip_prefix('{').and_then(|digits| digits.split_once('}'));
            return match braced.or_else(|| after.split_at_checked(2)) {
                Some((digits, after)) if !digits.starts_with('+') => number(digits, 16, after),
                _ => wrong("a hexadecimal number is missing"),
            };
        }
        '0'..='7' => return octal(text),
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => c,
        _ => return wrong("an escape is not known"),
    };
    Ok((c, after))
}

fn octal(text: &str) -> Result<(char, &str), Reason> {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'7');
    let digits = text.bytes().take(3).take_while(is_digit).count();
    if digits == 1 && !text.starts_with('0') {
        return wrong("there are no references to groups");
    }
    number(&text[..digits], 8, &text[digits..])
}

/// The character of a number, and what comes after.
fn number<'a>(digits: &str, base: u32, after: &'a str) -> Result<(char, &'a str), Reason> {
    let number = u32::from_str_radix(digits, base).ok();
    match number.and_then(char::from_u32) {
        Some(c) => Ok((c, after)),
        None => wrong("a number is no character"),
    }
}

/// A class of characters, behind its `[`.
fn class<'a>(text: &'a str, out: &mut String) -> Result<&'a str, Reason> {
    out.push('[');
    let mut rest = text;
    if let Some(after) = rest.strip_prefix('^') {
        out.push('^');
        rest = after;
    }
    let mut first = true;
    loop {
        if let Some(after) = rest.strip_prefix(']').filter(|_| !first) {
            out.push(']');
            return Ok(after);
        }
        first = false;
        rest = match (named(rest), rest.strip_prefix('\\')) {
            (Some((name, after)), _) => {
                out.push_str(name);
                after
            }
            (None, Some(escaped)) => match set(escaped, out)? {
                Some(after) => after,
                None => range(rest, out)?,
            },
            (None, None) => range(rest, out)?,
        };
    }
}

/// A named class such as `[:alpha:]`, and what comes after it.
fn named(text: &str) -> Option<(&str, &str)> {
    let end = text.strip_prefix("[:")?.find(":]")?;
    Some(text.split_at(end + 4))
}

/// A member of a class: one character, or all from one to another.
fn range<'a>(text: &'a str, out: &mut String) -> Result<&'a str, Reason> {
    let (from, rest) = member(text)?;
    let rest = literal(from, rest, out);
    let Some(to) = rest.strip_prefix('-').filter(|to| !to.starts_with(']')) else {
        return Ok(rest);
    };
    let (to, rest) = member(to)?;
    out.push('-');
    Ok(literal(to, rest, out))
}

fn member(text: &str) -> Result<(char, &str), Reason> {
    match split(text) {
        Some(('\\', escaped)) => character(escaped),
        Some(plain) => Ok(plain),
        None => wrong("a class is not closed"),
    }
}

/// Adds a character that means itself; gives back what comes after.
fn literal<'a>(c: char, after: &'a str, out: &mut String) -> &'a str {
    if c.is_ascii() && !c.is_ascii_alphanumeric() {
        // Writing to a text cannot fail.
        let _ = write!(out, "\\x{:02x}", u32::from(c));
    } else {
        out.push(c);
    }
    after
}
