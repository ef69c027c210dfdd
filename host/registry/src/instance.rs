//! Which process this is: an id that nobody else has, and that stays the same until it ends.

use std::sync::OnceLock;

/// The id of this process, a UUID of version 4 (RFC 9562). Several registries in one process share it.
#[must_use]
pub fn id() -> &'static str {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| {
        let mut bytes = [0; 16];
        random(&mut bytes);
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        uuid(&bytes)
    })
}

/// Sixteen bytes as a UUID is written.
pub(crate) fn uuid(bytes: &[u8; 16]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    parts.join("-")
}

/// Bytes that nobody can guess.
pub(crate) fn random(bytes: &mut [u8]) {
    let mut filled = 0;
    while filled < bytes.len() {
        // Fails only if a signal comes while the kernel gathers its first randomness.
        filled +=
            rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_keeps_its_id() {
        let id = id();
        assert_eq!((id.len(), &id[14..15]), (36, "4"));
        assert_eq!(super::id(), id);
        let mut other = [0; 16];
        random(&mut other);
        assert_ne!(uuid(&other), id);
    }
}
