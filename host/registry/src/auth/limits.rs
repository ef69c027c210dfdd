//! The limits of authentication, each with its reason.

use std::time::Duration;

/// Longest `Authorization` that is looked at, in bytes. Tokens with many scopes have a few thousand; hyper takes headers of
/// hundreds of thousands.
pub const HEADER_BYTES: usize = 16 << 10;

/// Longest name of a user in bytes. It is in logs, events and keys of maps.
pub const NAME_BYTES: usize = 256;

/// Longest password in bytes. bcrypt looks at the first 72; what is longer is a mistake or an attack.
pub const PASSWORD_BYTES: usize = 1024;

/// Largest htpasswd file in bytes: some 200,000 users.
pub const HTPASSWD_BYTES: u64 = 16 << 20;

/// Highest cost of a bcrypt hash that is taken: the highest that `htpasswd` makes. One check of it takes seconds.
pub const BCRYPT_COST: u32 = 17;

/// Passwords that were checked and are remembered; and as many tokens. Each takes some 100 bytes, a token what it says besides.
pub const REMEMBERED: usize = 10_000;

/// How long it is remembered that a password or a signature was right. A changed file forgets at once what it changes.
pub const REMEMBERED_FOR: Duration = Duration::from_secs(300);

/// Longest claims of a token that is remembered, in bytes: so ten thousand of them take a few dozen megabytes.
pub const REMEMBERED_CLAIMS: usize = 2048;

/// Passwords that wait to be checked. At cost 10, with two at a time, the last one waits some five seconds; more are told to
/// ask later.
pub const WAITING: usize = 256;

/// Largest file of keys (a JWKS, certificates, public keys) in bytes.
pub const KEYS_BYTES: u64 = 4 << 20;

/// Certificates in a token's chain. Real ones have two or three, and each costs a signature.
pub const CHAIN: usize = 5;

/// Entries in a token's `access`.
pub const TOKEN_ACCESS: usize = 1000;

/// How far apart the clocks of the token server and this one may be: docker-registry's leeway.
pub const LEEWAY: Duration = Duration::from_secs(60);

/// Addresses and users whose requests are counted. Each takes some 100 bytes; beyond that the ones that were quiet longest
/// are forgotten.
pub const COUNTED: usize = 65_536;
