//! Several mounts as one: all of them, or none.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::mount::UnmountFlags;

use super::calls::MountSys;
use super::description::Mount;
use super::error::MountError;
use super::limits::MOUNTS_MAX;
use super::{sequence, unmount};

/// Mounts all, in order, and says where. If one fails, those before it are unmounted again, the last first.
pub(super) fn mount_all<S: MountSys>(
    sys: &S,
    mounts: &[Mount],
    target: &Path,
) -> Result<Vec<PathBuf>, MountError> {
    if mounts.len() > MOUNTS_MAX {
        return Err(MountError::TooMany {
            what: "mounts",
            count: mounts.len(),
            most: MOUNTS_MAX,
        });
    }
    let mut places = Vec::with_capacity(mounts.len());
    for mount in mounts {
        match sequence::mount(sys, mount, target) {
            Ok(place) => places.extend(place),
            Err(error) => {
                undo(sys, &places);
                return Err(error);
            }
        }
    }
    Ok(places)
}

fn undo<S: MountSys>(sys: &S, places: &[PathBuf]) {
    for place in places.iter().rev() {
        // Nobody was told of it yet, so nobody needs it; something that looked in is not waited for. What cannot be
        // detached either stays, and the error that is on its way says why.
        if unmount::once(sys, place, UnmountFlags::NOFOLLOW).is_err() {
            let flags = UnmountFlags::NOFOLLOW | UnmountFlags::DETACH;
            let _ = sys.unmount(place.as_os_str().as_bytes(), flags);
        }
    }
}
