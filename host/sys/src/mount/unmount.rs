//! Unmounting: patient while the mount is busy, and through FUSE's own programs where it is theirs.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::calls::MountSys;
use super::error::MountError;
use super::limits::{STACK_MAX, UNMOUNT_PAUSE, UNMOUNT_TRIES};
use super::{fuse, info};

/// Takes one mount off `target`.
///
/// # Errors
/// [`MountError::Busy`] once [`UNMOUNT_TRIES`] are used up; [`MountError::Unmount`] with `EINVAL` where nothing is mounted.
pub(super) fn unmount<S: MountSys>(sys: &S, target: &Path, flags: UnmountFlags) -> Result<(), MountError> {
    in_tries(sys, target, flags, UNMOUNT_TRIES)
}

fn in_tries<S: MountSys>(sys: &S, target: &Path, flags: UnmountFlags, tries: u32) -> Result<(), MountError> {
    let mut answer = once(sys, target, flags);
    for _ in 1..tries {
        if !matches!(answer, Err(MountError::Busy { .. })) {
            break;
        }
        sys.pause(UNMOUNT_PAUSE);
        answer = plainly(sys, target, flags);
    }
    answer
}

/// The same without patience.
pub(super) fn once<S: MountSys>(sys: &S, target: &Path, flags: UnmountFlags) -> Result<(), MountError> {
    if fuse::is_fuse(sys, target) && fuse::unmount(sys, target) {
        return Ok(());
    }
    plainly(sys, target, flags)
}

fn plainly<S: MountSys>(sys: &S, target: &Path, flags: UnmountFlags) -> Result<(), MountError> {
    let answer = sys.unmount(target.as_os_str().as_bytes(), flags);
    answer.map_err(|errno| {
        let target = target.to_path_buf();
        match errno {
            Errno::BUSY => MountError::Busy { target },
            errno => MountError::Unmount { target, errno },
        }
    })
}

/// Takes everything off `target` that is mounted there, and says how many mounts that were. A target that is missing
/// has none.
pub(super) fn unmount_all<S: MountSys>(
    sys: &S,
    target: &Path,
    flags: UnmountFlags,
) -> Result<usize, MountError> {
    for count in 0..STACK_MAX {
        match unmount(sys, target, flags) {
            Ok(()) => {}
            Err(MountError::Unmount {
                errno: Errno::INVAL | Errno::NOENT,
                ..
            }) => return Ok(count),
            Err(error) => return Err(error),
        }
    }
    Err(MountError::TooMany {
        what: "mounts at one place",
        count: STACK_MAX,
        most: STACK_MAX,
    })
}

/// Takes everything off that is mounted at `target` or below it, the deepest first, each in so many tries. Stops at the
/// first that stays.
pub(super) fn unmount_recursive<S: MountSys>(
    sys: &S,
    target: &Path,
    flags: UnmountFlags,
    tries: u32,
) -> Result<usize, MountError> {
    let target = settled(target);
    let list = info::mounts(sys)?;
    let mut places: Vec<&Path> = info::below(&list, &target)
        .map(|mount| mount.target.as_path())
        .collect();
    places.sort_by_key(|place| std::cmp::Reverse(place.components().count()));
    for place in &places {
        in_tries(sys, place, flags, tries)?;
    }
    Ok(places.len())
}

/// The path as the kernel shows it in its list. The last part is not looked at: a mount whose server is gone cannot be.
fn settled(target: &Path) -> PathBuf {
    let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
        return std::fs::canonicalize(target).unwrap_or_else(|_| target.to_path_buf());
    };
    let parent = if parent == Path::new("") {
        Path::new(".")
    } else {
        parent
    };
    match std::fs::canonicalize(parent) {
        Ok(parent) => parent.join(name),
        Err(_) => target.to_path_buf(),
    }
}
