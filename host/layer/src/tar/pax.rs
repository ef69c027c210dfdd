//! PAX extended headers: records of `LENGTH KEY=VALUE\n` (POSIX.1-2017 pax, "pax Header Block").

use super::block::Fields;
use super::entry::Time;

/// The prefix of the keys that carry extended attributes, since star; libarchive and GNU tar write it too.
const XATTR: &[u8] = b"SCHILY.xattr.";

/// What an extended header said. An empty value means "as in the header block", so it is not kept, save for extended
/// attributes, whose values may be empty.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    size: Option<Vec<u8>>,
    uid: Option<Vec<u8>>,
    gid: Option<Vec<u8>>,
    mtime: Option<Vec<u8>>,
    atime: Option<Vec<u8>>,
    ctime: Option<Vec<u8>>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: SparseRecords,
}

/// The records with which GNU tar describes sparse files, formats 0.0, 0.1 and 1.0.
#[derive(Debug, Default)]
pub(super) struct SparseRecords {
    pub(super) major: Vec<u8>,
    pub(super) minor: Vec<u8>,
    pub(super) name: Vec<u8>,
    pub(super) size: Vec<u8>,
    pub(super) real_size: Vec<u8>,
    pub(super) num_blocks: Vec<u8>,
    /// Offsets and lengths with commas between; also made from the repeated records of format 0.0.
    pub(super) map: Vec<u8>,
}

/// The times and the size that records put in the place of the block's.
#[derive(Debug)]
pub(super) struct Merged {
    pub(super) mtime: Time,
    pub(super) atime: Option<Time>,
}

/// Reads a decimal number as Go's `strconv.ParseInt` does.
pub(super) fn decimal(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Splits the first record off.
fn split_record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = data.iter().position(|&byte| byte == b' ')?;
    let length = usize::try_from(decimal(&data[..space])?).ok()?;
    if length < 5 || length > data.len() || length <= space + 1 {
        return None;
    }
    let (record, rest) = data.split_at(length);
    let record = record[space + 1..].strip_suffix(b"\n")?;
    let equals = record.iter().position(|&byte| byte == b'=')?;
    let (key, value) = (&record[..equals], &record[equals + 1..]);
    let must_be_text = matches!(key, b"path" | b"linkpath" | b"uname" | b"gname");
    let is_valid = !key.is_empty() && !if must_be_text { value } else { key }.contains(&0);
    is_valid.then_some((key, value, rest))
}

impl Records {
    /// Reads the body of an `x` or `g` header. The error says what is wrong with it.
    pub(super) fn parse(mut data: &[u8]) -> Result<Self, &'static str> {
        let mut records = Self::default();
        let mut pairs: Vec<&[u8]> = Vec::new();
        while !data.is_empty() {
            let (key, value, rest) = split_record(data).ok_or("a PAX record is malformed")?;
            data = rest;
            match key {
                b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                    let is_offset = key == b"GNU.sparse.offset";
                    if is_offset != pairs.len().is_multiple_of(2) || value.contains(&b',') {
                        return Err("the PAX records of a sparse file are out of order");
                    }
                    pairs.push(value);
                }
                _ => records.keep(key, value),
            }
        }
        if !pairs.is_empty() {
            records.sparse.map = pairs.join(&b',');
        }
        Ok(records)
    }

    fn keep(&mut self, key: &[u8], value: &[u8]) {
        let slot = match key {
            b"path" => &mut self.path,
            b"linkpath" => &mut self.link,
            b"size" => &mut self.size,
            b"uid" => &mut self.uid,
            b"gid" => &mut self.gid,
            b"mtime" => &mut self.mtime,
            b"atime" => &mut self.atime,
            b"ctime" => &mut self.ctime,
            _ => return self.keep_other(key, value),
        };
        *slot = (!value.is_empty()).then(|| value.to_vec());
    }

    fn keep_other(&mut self, key: &[u8], value: &[u8]) {
        if let Some(name) = key.strip_prefix(XATTR) {
            self.xattrs.push((name.to_vec(), value.to_vec()));
            return;
        }
        let slot = match key {
            b"GNU.sparse.major" => &mut self.sparse.major,
            b"GNU.sparse.minor" => &mut self.sparse.minor,
            b"GNU.sparse.name" => &mut self.sparse.name,
            b"GNU.sparse.size" => &mut self.sparse.size,
            b"GNU.sparse.realsize" => &mut self.sparse.real_size,
            b"GNU.sparse.numblocks" => &mut self.sparse.num_blocks,
            b"GNU.sparse.map" => &mut self.sparse.map,
            _ => return,
        };
        *slot = value.to_vec();
    }

    /// Keeps the last of the extended attributes with the same name, in its first place.
    pub(super) fn take_xattrs(&mut self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let all = std::mem::take(&mut self.xattrs);
        let mut places = std::collections::HashMap::new();
        let mut unique: Vec<(Vec<u8>, Vec<u8>)> = Vec::with_capacity(all.len());
        for (name, value) in all {
            match places.get(&name) {
                Some(&place) => {
                    let (_, old): &mut (Vec<u8>, Vec<u8>) = &mut unique[place];
                    *old = value;
                }
                None => {
                    places.insert(name.clone(), unique.len());
                    unique.push((name, value));
                }
            }
        }
        unique
    }

    /// Puts the records in the place of the block's fields. The error says which one is not a number.
    pub(super) fn merge(&mut self, fields: &mut Fields) -> Result<Merged, &'static str> {
        if let Some(path) = self.path.take() {
            fields.path = path;
        }
        if let Some(link) = self.link.take() {
            fields.link = link;
        }
        for (record, field, problem) in [
            (&self.size, &mut fields.size, "the PAX size is not a number"),
            (&self.uid, &mut fields.uid, "the PAX owner is not a number"),
            (&self.gid, &mut fields.gid, "the PAX group is not a number"),
        ] {
            if let Some(value) = record {
                *field = decimal(value).ok_or(problem)?;
            }
        }
        let time = |value: &Option<Vec<u8>>| match value {
            Some(value) => parse_time(value).map(Some).ok_or("a PAX time is not a number"),
            None => Ok(None),
        };
        time(&self.ctime)?;
        Ok(Merged {
            mtime: time(&self.mtime)?.unwrap_or(super::block::whole_seconds(fields.mtime)),
            atime: time(&self.atime)?.or(fields.atime.map(super::block::whole_seconds)),
        })
    }
}

/// Reads seconds with a fraction; digits after the ninth are cut off.
pub(super) fn parse_time(text: &[u8]) -> Option<Time> {
    let point = text.iter().position(|&byte| byte == b'.');
    let (whole, fraction) = match point {
        Some(point) => (&text[..point], &text[point + 1..]),
        None => (text, &b""[..]),
    };
    let seconds = decimal(whole)?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut nanos = 0;
    for place in 0..9 {
        nanos = nanos * 10 + u32::from(fraction.get(place).map_or(0, |digit| digit - b'0'));
    }
    if whole.first() != Some(&b'-') || nanos == 0 {
        return Some(Time { seconds, nanos });
    }
    // The fraction of a negative number points away from zero, while `nanos` counts up from the second before.
    Some(Time {
        seconds: seconds.checked_sub(1)?,
        nanos: 1_000_000_000 - nanos,
    })
}
