//! One header block of 512 bytes: v7, ustar, GNU and star (POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar manual,
//! "Basic Tar Format").

use super::entry::Time;

/// The size of every block of a tar.
pub(super) const BLOCK: usize = 512;

/// The dialect of a header block, from its magic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    V7,
    Ustar,
    Star,
    Gnu,
}

/// The fields of a header block. Names are not yet those of extension headers.
#[derive(Debug)]
pub(super) struct Fields {
    pub(super) dialect: Dialect,
    pub(super) flag: u8,
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) mode: i64,
    pub(super) uid: i64,
    pub(super) gid: i64,
    pub(super) size: i64,
    pub(super) mtime: i64,
    pub(super) atime: Option<i64>,
    pub(super) dev_major: i64,
    pub(super) dev_minor: i64,
}

/// A text field: up to its first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    &field[..end]
}

/// A number field: octal digits amid spaces and NULs, or base-256 when the first bit is set. `None` if it is neither, or
/// too large.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => base256(field),
        _ => octal(field),
    }
}

fn octal(field: &[u8]) -> Option<i64> {
    let is_pad = |byte: &u8| *byte == b' ' || *byte == 0;
    let Some(start) = field.iter().position(|byte| !is_pad(byte)) else {
        return Some(0);
    };
    let end = field
        .iter()
        .rposition(|byte| !is_pad(byte))
        .map_or(field.len(), |last| last + 1);
    let digits = text(&field[start..end]);
    let mut value = 0_i64;
    for &digit in digits {
        if !(b'0'..=b'7').contains(&digit) {
            return None;
        }
        value = value.checked_mul(8)?.checked_add(i64::from(digit - b'0'))?;
    }
    Some(value)
}

/// Two's complement in all bits after the first one.
fn base256(field: &[u8]) -> Option<i64> {
    let negative = field[0] & 0x40 != 0;
    let invert = if negative { 0xff } else { 0 };
    let mut value = 0_u64;
    for (index, &byte) in field.iter().enumerate() {
        let mut byte = byte ^ invert;
        if index == 0 {
            byte &= 0x7f;
        }
        if value >> 56 != 0 {
            return None;
        }
        value = value << 8 | u64::from(byte);
    }
    let value = i64::try_from(value).ok()?;
    Some(if negative { !value } else { value })
}

/// Whether the checksum field fits the block, summed as unsigned bytes or, as some old programs did, as signed ones.
fn checksum_fits(block: &[u8; BLOCK]) -> bool {
    let Some(expected) = octal(&block[148..156]) else {
        return false;
    };
    let mut unsigned = 8 * i64::from(b' ');
    let mut signed = unsigned;
    for &byte in block[..148].iter().chain(&block[156..]) {
        unsigned += i64::from(byte);
        signed += i64::from(byte.cast_signed());
    }
    expected == unsigned || expected == signed
}

/// Whether the block is all zeros, as the two that end an archive are.
pub(super) fn is_zero(block: &[u8; BLOCK]) -> bool {
    block.iter().all(|&byte| byte == 0)
}

fn dialect(block: &[u8; BLOCK]) -> Dialect {
    if &block[257..265] == b"ustar  \0" {
        Dialect::Gnu
    } else if &block[257..263] == b"ustar\0" {
        if &block[508..512] == b"tar\0" {
            Dialect::Star
        } else {
            Dialect::Ustar
        }
    } else {
        Dialect::V7
    }
}

/// Takes a header block apart. The error says which part is not one of a tar.
pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Fields, &'static str> {
    if !checksum_fits(block) {
        return Err("the header's checksum does not fit");
    }
    let field = |from: usize, to: usize, problem| number(&block[from..to]).ok_or(problem);
    let mut fields = Fields {
        dialect: dialect(block),
        flag: block[156],
        path: text(&block[..100]).to_vec(),
        link: text(&block[157..257]).to_vec(),
        mode: field(100, 108, "the mode is not a number")?,
        uid: field(108, 116, "the owner is not a number")?,
        gid: field(116, 124, "the group is not a number")?,
        size: field(124, 136, "the size is not a number")?,
        mtime: field(136, 148, "the time is not a number")?,
        atime: None,
        dev_major: 0,
        dev_minor: 0,
    };
    if fields.dialect != Dialect::V7 {
        fields.dev_major = field(329, 337, "the device's major number is not a number")?;
        fields.dev_minor = field(337, 345, "the device's minor number is not a number")?;
    }
    let prefix = prefix(block, &mut fields)?;
    if !prefix.is_empty() {
        let mut path = prefix.to_vec();
        path.push(b'/');
        path.extend_from_slice(&fields.path);
        fields.path = path;
    }
    Ok(fields)
}

/// What stands before the name, and the time of access where the dialect keeps it beside the prefix.
fn prefix<'a>(block: &'a [u8; BLOCK], fields: &mut Fields) -> Result<&'a [u8], &'static str> {
    match fields.dialect {
        Dialect::V7 => Ok(b""),
        Dialect::Ustar => Ok(text(&block[345..500])),
        Dialect::Star => {
            let problem = "the time of access is not a number";
            fields.atime = Some(number(&block[476..488]).ok_or(problem)?);
            number(&block[488..500]).ok_or(problem)?;
            Ok(text(&block[345..476]))
        }
        Dialect::Gnu => {
            let times = [&block[345..357], &block[357..369]];
            let parsed = times.map(|time| {
                if time[0] == 0 {
                    Some(None)
                } else {
                    number(time).map(Some)
                }
            });
            if let [Some(accessed), Some(_)] = parsed {
                fields.atime = accessed;
                return Ok(b"");
            }
            // Go before 1.8 wrote GNU headers with a ustar prefix where the times belong; such layers exist.
            let prefix = text(&block[345..500]);
            Ok(if prefix.is_ascii() { prefix } else { b"" })
        }
    }
}

/// The time of a header field.
pub(super) fn whole_seconds(seconds: i64) -> Time {
    Time { seconds, nanos: 0 }
}
