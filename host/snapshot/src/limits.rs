//! The limits of snapshotters, each with its reason.

/// Lower folders of one overlay: the kernel takes no more (`OVL_MAX_STACK`), so a snapshot on a deeper stack could never be
/// mounted.
pub const LOWER_FOLDERS: usize = 500;

/// Bytes of a key or name: what metadata takes as a name, with the namespace and the number that it puts before it. The index
/// of children writes the length as four hexadecimal digits, which have room for twice as much.
pub const KEY_BYTES: usize = transom_meta::limits::NAME_BYTES + 256;

/// Folders on the way down a tree that are held open; further up they are opened again by `..`. A layer may nest folders as
/// deep as it likes, and descriptors are few.
pub const OPEN_FOLDERS: usize = 128;

/// Ids that one durable write reserves; a crash skips the rest of them.
pub const ID_BLOCK: u64 = 1024;

/// Ranges in a mapping of ids; the kernel's.
pub const ID_RANGES: usize = 340;

/// Bytes that are copied at a time where the kernel cannot copy by itself: calls cost less than a percent.
pub const COPY_CHUNK: usize = 256 << 10;

/// Leftovers that an error or a report names one by one; further ones are only counted.
pub const FOUND: usize = 1000;
