//! What unpacking ahead may cost, and why.

use std::time::Duration;

/// A smaller blob is unpacked sooner than another thread is told of it.
pub const AHEAD_FROM_BYTES: u64 = 256 << 10;

/// How long a layer that nobody has asked for is kept: whoever fetches all layers of an image before the first is unpacked does that in
/// minutes, also over a slow link.
pub const AHEAD_KEPT: Duration = Duration::from_secs(15 * 60);

/// Layers that wait to be asked for; an image has at most 127.
pub const AHEAD_LAYERS: usize = 256;

/// Bytes that the disk must have left besides what a layer may need, or a tenth of a small disk: what nobody has asked for yet must not
/// take the room of what somebody has.
pub const AHEAD_ROOM_BYTES: u64 = 2 << 30;

/// How large a layer is taken to be for each byte of its blob, when it begins: few have a higher ratio, and the room is looked at again
/// on the way.
pub const AHEAD_RATIO: u64 = 4;

/// After how many bytes of the tar the room is looked at again: a small part of what must be left.
pub const AHEAD_LOOK_BYTES: usize = 64 << 20;
