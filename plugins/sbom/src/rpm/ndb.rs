//! SUSE's `Packages.db`: pages of slots at the start, each of which says where a header is. All numbers are little-endian.

use super::Fault;

const PAGE: usize = 4096;
/// Blocks that headers begin at.
const BLOCK: usize = 16;
const SLOT: usize = 16;
/// Slots whose place the file's own header has.
const FIRST_SLOT: usize = 2;

const MAGIC: u32 = u32::from_le_bytes(*b"RpmP");
const SLOT_MAGIC: u32 = u32::from_le_bytes(*b"Slot");
const BLOB_MAGIC: u32 = u32::from_le_bytes(*b"BlbS");

/// Hands over every header.
pub(super) fn each_blob(bytes: &[u8], found: &mut dyn FnMut(&[u8])) -> Result<(), Fault> {
    if le32(bytes, 0) != Some(MAGIC) {
        return Err("it is no database of ndb");
    }
    let pages = le32(bytes, 12).ok_or("it is cut off")? as usize;
    let end = pages.saturating_mul(PAGE).min(bytes.len());
    for slot in bytes[..end].chunks_exact(SLOT).skip(FIRST_SLOT) {
        let (number, block) = (le32(slot, 4), le32(slot, 8));
        if le32(slot, 0) != Some(SLOT_MAGIC) {
            return Err("there is a slot that is none");
        }
        let (Some(number @ 1..), Some(block @ 1..)) = (number, block) else {
            continue;
        };
        let start = (block as usize).saturating_mul(BLOCK);
        let is_its_own = le32(bytes, start) == Some(BLOB_MAGIC) && le32(bytes, start + 4) == Some(number);
        let length = le32(bytes, start.saturating_add(12)).filter(|_| is_its_own);
        let blob = length.and_then(|length| {
            let begin = start.checked_add(BLOCK)?;
            bytes.get(begin..begin.checked_add(length as usize)?)
        });
        found(blob.ok_or("a slot leads to no header")?);
    }
    Ok(())
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}
