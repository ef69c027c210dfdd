//! `Range` and `Content-Range` (RFC 9110, section 14).

use http::HeaderMap;
use http::header::{CONTENT_RANGE, RANGE};

use crate::{Error, limits};

/// Bytes of a content, the first and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) first: u64,
    pub(super) length: u64,
}

impl Part {
    /// How it is called in an answer.
    pub(super) fn text(self, size: u64) -> String {
        let last = (self.first + self.length).saturating_sub(1);
        format!("bytes {}-{last}/{size}", self.first)
    }
}

/// The ranges that a client asks for of `size` bytes, in its order; `None` if it shall have all of them.
pub(super) fn asked(headers: &HeaderMap, size: u64) -> Result<Option<Vec<Part>>, Error> {
    let Some(value) = headers.get(RANGE) else {
        return Ok(None);
    };
    let outside = || Error::RangeOutside { size };
    let text = value.to_str().map_err(|_| outside())?;
    // Other units are to be ignored, and whoever adds a range to each request does not mean what is empty.
    let Some(ranges) = text.trim().strip_prefix("bytes=").filter(|_| size > 0) else {
        return Ok(None);
    };
    let mut parts = Vec::new();
    for range in ranges.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        parts.extend(part(range, size).ok_or_else(outside)?);
        if parts.len() > limits::RANGES {
            return Ok(None);
        }
    }
    if parts.is_empty() {
        return Err(outside());
    }
    // Ranges that overlap would make an answer larger than the content.
    let sum = parts
        .iter()
        .fold(0_u64, |sum, part| sum.saturating_add(part.length));
    Ok((sum <= size).then_some(parts))
}

/// One range: outer `None` if it is none, inner `None` if it is outside.
#[expect(clippy::option_option, reason = "not a range, and outside, are two answers")]
fn part(range: &str, size: u64) -> Option<Option<Part>> {
    let (first, last) = range.split_once('-')?;
    if first.is_empty() {
        let length = number(last)?.min(size);
        let first = size - length;
        return Some((length > 0).then_some(Part { first, length }));
    }
    let first = number(first)?;
    let last = match last {
        "" => u64::MAX,
        last => number(last)?,
    };
    if last < first {
        return None;
    }
    let last = last.min(size - 1);
    Some((first < size).then(|| Part {
        first,
        length: last - first + 1,
    }))
}

/// A number of digits only; what does not fit is the largest there is.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Where a chunk of an upload says that it belongs: `<first>-<last>`, and the length of it.
pub(super) fn chunk(headers: &HeaderMap) -> Result<Option<Part>, Error> {
    let Some(value) = headers.get(CONTENT_RANGE) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    let invalid = || Error::ChunkRangeInvalid(text.chars().take(limits::SHOWN_BYTES).collect());
    let (first, last) = text.trim().split_once('-').ok_or_else(invalid)?;
    let (Some(first), Some(last)) = (number(first), number(last)) else {
        return Err(invalid());
    };
    if last < first || last == u64::MAX {
        return Err(invalid());
    }
    let length = last - first + 1;
    Ok(Some(Part { first, length }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, size: u64) -> Result<Option<Vec<(u64, u64)>>, ()> {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, text.parse().unwrap());
        match asked(&headers, size) {
            Ok(parts) => Ok(parts.map(|parts| {
                let pairs = parts.iter().map(|part| (part.first, part.length));
                pairs.collect()
            })),
            Err(Error::RangeOutside { .. }) => Err(()),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn ranges() {
        assert_eq!(of("bytes=0-0", 10), Ok(Some(vec![(0, 1)])));
        assert_eq!(of("bytes=5-", 10), Ok(Some(vec![(5, 5)])));
        assert_eq!(of("bytes=-3", 10), Ok(Some(vec![(7, 3)])));
        assert_eq!(of("bytes=-30", 10), Ok(Some(vec![(0, 10)])));
        assert_eq!(of("bytes=8-99999999999999999999999", 10), Ok(Some(vec![(8, 2)])));
        assert_eq!(of("bytes=1-2, 4-5,20-30", 10), Ok(Some(vec![(1, 2), (4, 2)])));
        assert_eq!(of("lines=1-2", 10), Ok(None));
        assert_eq!(of("bytes=0-9,0-9", 10), Ok(None));
        assert_eq!(of("bytes=0-", 0), Ok(None));
        for outside in [
            "bytes=10-",
            "bytes=5-4",
            "bytes=-0",
            "bytes=",
            "bytes=a-b",
            "bytes=1",
            "bytes=--1",
        ] {
            assert_eq!(of(outside, 10), Err(()), "{outside}");
        }
        let many = format!("bytes={}", "0-0,".repeat(limits::RANGES + 1));
        assert_eq!(of(&many, 1 << 20), Ok(None));
    }

    #[test]
    fn chunks() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_RANGE, text.parse().unwrap());
            chunk(&headers)
        };
        let part = of("5-9").unwrap().unwrap();
        assert_eq!((part.first, part.length), (5, 5));
        for wrong in [
            "",
            "5",
            "9-5",
            "a-b",
            "bytes 0-1/2",
            "0-18446744073709551615",
            "-5",
        ] {
            assert!(matches!(of(wrong), Err(Error::ChunkRangeInvalid(_))), "{wrong}");
        }
    }
}
