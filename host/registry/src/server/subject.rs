//! The subject of a certificate, as text.
//!
//! The certificate was verified before; of it only the path to the subject is read (RFC 5280, section 4.1): this needs no crate.

/// Tags of DER.
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 0x06;
const EXPLICIT_VERSION: u8 = 0xa0;

/// The subject as in RFC 4514, the last part first: `CN=alice,O=Example`. `None` if it is empty or cannot be read.
pub(super) fn of(certificate: &[u8]) -> Option<String> {
    let (certificate, _) = expect(certificate, SEQUENCE)?;
    let (mut rest, _) = expect(certificate, SEQUENCE)?;
    if rest.first() == Some(&EXPLICIT_VERSION) {
        rest = item(rest)?.2;
    }
    // Serial number, algorithm, issuer, validity.
    for _ in 0..4 {
        rest = item(rest)?.2;
    }
    let (mut names, _) = expect(rest, SEQUENCE)?;
    let mut parts = Vec::new();
    while !names.is_empty() {
        let (set, after) = expect(names, SET)?;
        let (pair, _) = expect(set, SEQUENCE)?;
        let (kind, value) = expect(pair, OBJECT_ID)?;
        let (_, value, _) = item(value)?;
        let text = std::str::from_utf8(value).ok()?;
        parts.push(format!("{}={}", name(kind), escaped(text)));
        names = after;
    }
    parts.reverse();
    (!parts.is_empty()).then(|| parts.join(","))
}

/// The next item: its tag, its content, what follows.
fn item(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = digits
                .iter()
                .fold(0, |length, &digit| length << 8 | usize::from(digit));
            (length, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// The content of the next item, which must have a tag, and what follows.
fn expect(bytes: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = item(bytes)?;
    (tag == wanted).then_some((content, rest))
}

/// The name of an attribute.
fn name(kind: &[u8]) -> String {
    let known = match kind {
        [0x55, 0x04, 0x03] => "CN",
        [0x55, 0x04, 0x06] => "C",
        [0x55, 0x04, 0x07] => "L",
        [0x55, 0x04, 0x08] => "ST",
        [0x55, 0x04, 0x0a] => "O",
        [0x55, 0x04, 0x0b] => "OU",
        kind => return kind.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    known.to_owned()
}

/// A value in which nothing looks like the end of it.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for character in value.chars() {
        if matches!(character, ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=') {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, content.len() as u8], content].concat()
    }

    fn attribute(kind: u8, value: &str) -> Vec<u8> {
        let pair = [der(OBJECT_ID, &[0x55, 0x04, kind]), der(0x0c, value.as_bytes())].concat();
        der(SET, &der(SEQUENCE, &pair))
    }

    #[test]
    fn the_subject_is_found() {
        let names = [attribute(0x0a, "Example, Ltd"), attribute(0x03, "alice")].concat();
        let parts = [
            der(EXPLICIT_VERSION, &der(2, &[2])),
            der(2, &[1]),
            der(SEQUENCE, &[]),
            der(SEQUENCE, &attribute(0x03, "issuer")),
            der(SEQUENCE, &[]),
            der(SEQUENCE, &names),
        ];
        let certificate = der(SEQUENCE, &der(SEQUENCE, &parts.concat()));
        assert_eq!(of(&certificate).as_deref(), Some("CN=alice,O=Example\\, Ltd"));
        for cut in 0..certificate.len() {
            assert_eq!(of(&certificate[..cut]), None);
        }
    }
}
