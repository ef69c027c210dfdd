//! The limits of the cache of other registries, each with its reason.

use std::time::Duration;

/// When what nobody uses is forgotten: docker-registry's time.
pub const TTL: Duration = Duration::from_secs(7 * 24 * 3600);

/// The least time between two looks for what nobody uses; each walks through all repositories of the cache.
pub const EVICT_EVERY_LEAST: Duration = Duration::from_secs(60);

/// The most.
pub const EVICT_EVERY_MOST: Duration = Duration::from_secs(3600);

/// How long a registry that could not be reached is not asked again by those who can have what is here.
pub const DOWN: Duration = Duration::from_secs(10);

/// How often a request is sent to another registry. A client waits meanwhile, and may try again itself.
pub const TRIES: u32 = 3;

/// The pause before the second try.
pub const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The longest pause, also of those that another registry asks for: past it, the client is told to wait.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long another registry may send nothing. Less than clients wait for us.
pub const STALL: Duration = Duration::from_secs(30);

/// How long making a connection may take.
pub const CONNECT: Duration = Duration::from_secs(10);

/// Blobs that arrive at once; more wait. Each has a connection and a file.
pub const ARRIVING: usize = 64;

/// Pieces of a blob between its connection and its file. With those of 64 KiB that a connection gives at most, 1 MiB.
pub const PIECES_WAITING: usize = 16;

/// Tags whose time of the last look is remembered; each has some hundred bytes.
pub const TAGS_LOOKED_AT: usize = 100_000;

/// Tags of one repository. The largest have some ten thousand.
pub const TAGS: usize = 1_000_000;

/// Bytes of a file with a password.
pub const PASSWORD_FILE_BYTES: u64 = 64 << 10;

/// Blobs whose size is known from a manifest that came lately; each has some hundred bytes.
pub const SIZES: usize = 50_000;
