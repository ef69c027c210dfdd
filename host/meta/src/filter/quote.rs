//! What a quoted text means.

/// Takes the quotes off and replaces the escapes, which the scanner has found to be well formed. None if a number is beyond
/// what a byte or a character can be, or if the bytes are not UTF-8: no field could ever have that value.
pub(super) fn unquote(quoted: &str) -> Option<String> {
    let inner = quoted.get(1..quoted.len().checked_sub(1)?)?;
    if !inner.contains('\\') {
        return Some(inner.to_owned());
    }
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((plain, escape)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        rest = unescape(escape, &mut bytes)?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
}

/// Adds what follows a backslash, and gives what comes after.
fn unescape<'a>(escape: &'a str, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let first = escape.chars().next()?;
    let rest = &escape[first.len_utf8()..];
    let simple = match first {
        'a' => 7,
        'b' => 8,
        't' => 9,
        'n' => 10,
        'v' => 11,
        'f' => 12,
        'r' => 13,
        '0'..='7' => {
            let (number, _) = number(escape, 3, 8)?;
            bytes.push(u8::try_from(number).ok()?);
            return escape.get(3..);
        }
        'x' => {
            let (number, rest) = number(rest, 2, 16)?;
            bytes.push(u8::try_from(number).ok()?);
            return Some(rest);
        }
        'u' | 'U' => {
            let (number, rest) = number(rest, if first == 'u' { 4 } else { 8 }, 16)?;
            push(character(number)?, bytes);
            return Some(rest);
        }
        other => {
            push(other, bytes);
            return Some(rest);
        }
    };
    bytes.push(simple);
    Some(rest)
}

/// The character of a number. Half of a surrogate pair becomes the one that stands for what cannot be shown, as in Go.
fn character(number: u32) -> Option<char> {
    if (0xd800..0xe000).contains(&number) {
        Some(char::REPLACEMENT_CHARACTER)
    } else {
        char::from_u32(number)
    }
}

fn push(c: char, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn number(text: &str, digits: usize, base: u32) -> Option<(u32, &str)> {
    let (number, rest) = text.split_at_checked(digits)?;
    Some((u32::from_str_radix(number, base).ok()?, rest))
}
