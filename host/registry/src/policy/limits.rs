//! The limits of policies, each with its reason.

/// Largest file in bytes: thousands of rules, or groups of a hundred thousand users.
pub const FILE_BYTES: u64 = 4 << 20;

/// Rules of a file. They are looked at one by one for each request: so many take a fraction of a millisecond.
pub const RULES: usize = 2000;
