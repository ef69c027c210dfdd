//! The ids of uploads: UUIDs of version 7 (RFC 9562), which begin with the time of their making, so that no file need hold it.

use std::fmt;
use std::time::{Duration, SystemTime};

/// The id of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct UploadId([u8; 16]);

impl UploadId {
    /// A new one.
    pub(super) fn new() -> UploadId {
        UploadId::at(SystemTime::now())
    }

    fn at(time: SystemTime) -> UploadId {
        let mut bytes = [0; 16];
        crate::instance::random(&mut bytes);
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        bytes[6] = bytes[6] & 0x0f | 0x70;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        UploadId(bytes)
    }

    /// Reads one as it is written. Those of other versions, docker-registry's among them, are none of ours.
    pub(crate) fn check(text: &str) -> Option<UploadId> {
        let bytes = text.as_bytes();
        let dashes = [8, 13, 18, 23];
        if bytes.len() != 36 || !dashes.iter().all(|&dash| bytes[dash] == b'-') {
            return None;
        }
        let mut id = [0; 16];
        let digits = bytes.iter().enumerate().filter(|(at, _)| !dashes.contains(at));
        for (index, (_, &digit)) in digits.enumerate() {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return None,
            };
            id[index / 2] = id[index / 2] << 4 | value;
        }
        (id[6] >> 4 == 7).then_some(UploadId(id))
    }

    /// When the upload was begun.
    pub(crate) fn begun(self) -> SystemTime {
        let mut millis = [0; 8];
        millis[2..].copy_from_slice(&self.0[..6]);
        let since = Duration::from_millis(u64::from_be_bytes(millis));
        SystemTime::UNIX_EPOCH
            .checked_add(since)
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::instance::uuid(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_when_it_was_made() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        let text = UploadId::at(time).to_string();
        let id = UploadId::check(&text).unwrap();
        assert_eq!(id.begun(), time);
        assert_eq!(text.as_bytes()[14], b'7');
        assert_ne!(UploadId::at(time), UploadId::at(time));
    }

    #[test]
    fn what_is_none_of_ours_is_not_taken() {
        for text in [
            "",
            "5b3b9bbf-dd4a-4a10-8a5c-6a4ec3c3a2aa",
            "..",
            "5b3b9bbf-dd4a-4a10-8a5c-6a4ec3c3a2a",
            "5b3b9bbf-dd4a-4a10-8a5c-6a4ec3c3a2aA",
            "5b3b9bbf/dd4a-4a10-8a5c-6a4ec3c3a2aa",
            "../../../../../../../../../etc/passw",
        ] {
            assert_eq!(UploadId::check(text), None, "{text}");
        }
    }
}
