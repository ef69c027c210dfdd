//! What mounts may ask for, and why.

use std::time::Duration;

/// Mounts in one list. Snapshotters give one to three; containerd's mount manager a few more.
pub const MOUNTS_MAX: usize = 128;

/// Options of one mount. Overlay has the most, about ten.
pub const OPTIONS_MAX: usize = 256;

/// Lower folders of one overlay: the kernel's own limit (`OVL_MAX_STACK`).
pub const LOWER_FOLDERS_MAX: usize = 500;

/// Bytes of all options of one mount together: 500 lower folders with the longest path that the kernel takes.
pub const OPTION_BYTES_MAX: usize = 501 * 4096;

/// Ranges in one `uidmap` or `gidmap`: the kernel's own limit (`UID_GID_MAP_MAX_EXTENTS`).
pub const ID_RANGES_MAX: usize = 340;

/// How often unmounting is tried while the mount is busy, as containerd does. What keeps it busy for so short is a
/// scanner, or a child between fork and exec.
pub const UNMOUNT_TRIES: u32 = 50;

/// The same for temporary mounts, in whose place nobody works but this process: a child may need that long to run its own
/// program on a busy machine, and what stays mounted stays until the next start.
pub const TEMPORARY_UNMOUNT_TRIES: u32 = 200;

/// The pause between two of them.
pub const UNMOUNT_PAUSE: Duration = Duration::from_millis(50);

/// Mounts stacked on one place that [`unmount_all`](super::unmount_all) takes off: as many as a user would ever stack;
/// it ends the loop where something mounts faster than it unmounts.
pub const STACK_MAX: usize = 10_000;

/// How often a free loop device is asked for while others take it first, as containerd does.
pub const LOOP_TRIES: u32 = 99;

/// The longest pause after the first lost race for a loop device; after the n-th it is n times as long.
pub const LOOP_PAUSE: Duration = Duration::from_millis(10);

/// How often a mount helper is started whose end somebody else waited for.
pub const HELPER_TRIES: u32 = 10;

/// Bytes of a mount helper's output kept for the error message; the newest count.
pub const HELPER_OUTPUT_MAX: usize = 16 * 1024;

/// Bytes of the kernel's messages about one mount kept for the error message.
pub const KERNEL_LOG_MAX: usize = 4 * 1024;

/// Bytes of `/proc/self/mountinfo` that are read. A line has about 200, and the kernel's default limit is 100,000
/// mounts (`fs.mount-max`); 500 lower folders can make one line much longer.
pub const MOUNT_INFO_MAX: u64 = 256 << 20;
