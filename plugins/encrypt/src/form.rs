//! What is kept, version 1. `docs/formats/storage-plugins.md` has it in words.
//!
//! ```text
//! "TRSMENC" 1 | token of the key, 72 bytes | chunk 0 | chunk 1 | … | last chunk
//! chunk: 12 bytes of nonce | content, 65536 bytes but in the last chunk | 16 bytes of tag
//! ```
//!
//! A chunk is sealed together with the first 8 bytes of the header, its number and whether it is the last, so that chunks
//! cannot be moved, removed or added. There is always a last chunk, of no content only if there is no content at all.

use transom_sdk::storage::StorageError;

/// What content of this driver begins with; the last byte is the version.
pub(crate) const MAGIC: [u8; 8] = *b"TRSMENC\x01";

/// Bytes of the token of a key.
pub(crate) const TOKEN: usize = 72;

/// Bytes before the first chunk.
pub const HEADER: usize = MAGIC.len() + TOKEN;

/// Bytes of content in a chunk.
pub const CHUNK: usize = 64 * 1024;

/// How much longer a chunk is kept.
pub const MORE: usize = 28;

const KEPT: u64 = (CHUNK + MORE) as u64;

/// How many chunks there are of content of this size.
pub(crate) fn chunks(size: u64) -> u64 {
    size.div_ceil(CHUNK as u64).max(1)
}

/// Where a chunk begins in what is kept.
pub(crate) fn position(chunk: u64) -> u64 {
    HEADER as u64 + chunk * KEPT
}

/// The size of the content of which so many bytes are kept.
pub(crate) fn content_size(kept: u64) -> Result<u64, StorageError> {
    let wrong = || {
        StorageError::damaged(format!(
            "{kept} bytes are no content of this driver's: it was cut, or is another's"
        ))
    };
    let body = kept.checked_sub(HEADER as u64).ok_or_else(wrong)?;
    let chunks = body.div_ceil(KEPT);
    let size = body.checked_sub(chunks * MORE as u64).ok_or_else(wrong)?;
    // The last chunk has content, unless it is the only one.
    let last = body.saturating_sub(chunks.saturating_sub(1) * KEPT);
    match chunks == 0 || last < MORE as u64 || (chunks > 1 && last == MORE as u64) {
        true => Err(wrong()),
        false => Ok(size),
    }
}

/// What a chunk is sealed together with.
pub(crate) fn place(chunk: u64, last: bool) -> [u8; 17] {
    let mut place = [0; 17];
    place[..8].copy_from_slice(&MAGIC);
    place[8..16].copy_from_slice(&chunk.to_be_bytes());
    place[16] = u8::from(last);
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(size: u64) -> u64 {
        HEADER as u64 + size + chunks(size) * MORE as u64
    }

    #[test]
    fn sizes_are_known_from_what_is_kept() {
        let chunk = CHUNK as u64;
        for size in [
            0,
            1,
            chunk - 1,
            chunk,
            chunk + 1,
            2 * chunk,
            10 * chunk + 17,
            1 << 40,
        ] {
            assert_eq!(content_size(kept(size)).unwrap(), size, "{size}");
        }
    }

    #[test]
    fn what_cannot_be_is_damaged() {
        let impossible = [
            0,
            1,
            HEADER as u64,
            kept(0) - 1,
            position(1) + 28,
            position(3) + 5,
        ];
        for kept in impossible {
            assert!(content_size(kept).is_err(), "{kept}");
        }
    }
}
