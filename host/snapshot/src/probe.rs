//! Whether overlayfs works on a file system, by trying it.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen,
};
use transom_meta::snapshots::SnapshotError;
use transom_sys::{Errno, FileType, Linux, OFlags, Sys as _};

use crate::overlayfs::Features;
use crate::tree::{each, remove::remove};

mod ids;

/// Where the kernel says which options it knows.
const INDEX: &str = "/sys/module/overlay/parameters/index";

/// Mounts a small overlay of folders in `root`, looks through it and writes to it. It is mounted nowhere in the tree; then one with
/// mapped ids is mounted in a folder for a moment. [`sweep`] removes what is left if that is the last moment.
///
/// # Errors
/// [`SnapshotError::Unusable`] with the reason: no overlayfs, no permission, a file system that cannot be its upper folder.
pub fn overlayfs(root: &Path) -> Result<Features, SnapshotError> {
    let fail = |reason: String| SnapshotError::Unusable {
        snapshotter: "overlayfs",
        path: root.display().to_string(),
        reason,
    };
    let said = |what: &str, error: Errno| fail(format!("cannot {what}: {}", std::io::Error::from(error)));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let dir = Linux.openat(CWD, root.as_os_str().as_bytes(), flags, 0);
    let dir = dir.map_err(|error| said("open it", error))?;
    let name = format!("probe-{}", std::process::id());
    let folder = root.join(&name);
    let cleaned = || {
        ids::unmount(&folder);
        remove(dir.as_fd(), &name).map_err(|failure| said("remove probe files", failure.error))
    };
    cleaned()?;
    let found = make(dir.as_fd(), &name)
        .map_err(|error| said("make folders", error))
        .and_then(|made| {
            typed(made.as_fd()).map_err(|reason| fail(reason.to_owned()))?;
            let in_userns = Linux.in_user_namespace();
            let userxattr = in_userns && try_mount(made.as_fd(), true).is_ok();
            if !userxattr {
                try_mount(made.as_fd(), false).map_err(|(what, error)| said(what, error))?;
            }
            Ok(Features {
                index: Path::new(INDEX).exists(),
                userxattr,
                remap_ids: !in_userns && ids::can_map(&folder),
            })
        });
    cleaned()?;
    found
}

/// Removes what a probe left that was killed.
pub(crate) fn sweep(root: &Path) -> Result<(), Errno> {
    let mut left = Vec::new();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let folder = Linux.openat(CWD, root.as_os_str().as_bytes(), flags, 0)?;
    each(folder.as_fd(), |entry| {
        if entry.name.starts_with(b"probe-") {
            left.push(String::from_utf8_lossy(&entry.name).into_owned());
        }
        Ok(())
    })?;
    left.iter().try_for_each(|name| {
        ids::unmount(&root.join(name));
        remove(folder.as_fd(), name).map_err(|failure| failure.error)
    })
}

fn make(root: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    Linux.mkdirat(root, name.as_bytes(), 0o700)?;
    let folder = Linux.openat(root, name.as_bytes(), OFlags::RDONLY | OFlags::DIRECTORY, 0)?;
    for name in ["near", "far", "upper", "work", "near/a", "far/b"] {
        Linux.mkdirat(folder.as_fd(), name.as_bytes(), 0o755)?;
    }
    Ok(folder)
}

/// Whether the file system tells what a name is when it lists it: overlayfs needs that for whiteouts.
fn typed(folder: BorrowedFd<'_>) -> Result<(), &'static str> {
    let mut untyped = false;
    let listed = each(folder, |entry| {
        untyped |= entry.kind == FileType::Unknown;
        Ok(())
    });
    match listed {
        Ok(()) if !untyped => Ok(()),
        _ => Err("the file system does not support d_type; if it is xfs, make it again with ftype=1"),
    }
}

/// Mounts the overlay and uses it; what failed, and why.
fn try_mount(folder: BorrowedFd<'_>, userxattr: bool) -> Result<(), (&'static str, Errno)> {
    let mount = |error| ("mount an overlay", error);
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(mount)?;
    // The way to the folders is that of this process, and short.
    let path = |name: &str| {
        let fd = std::os::fd::AsRawFd::as_raw_fd(&folder);
        format!("/proc/self/fd/{fd}/{name}")
    };
    let lower = format!("{}:{}", path("near"), path("far"));
    fsconfig_set_string(&overlay, "lowerdir", lower).map_err(mount)?;
    fsconfig_set_string(&overlay, "upperdir", path("upper")).map_err(mount)?;
    fsconfig_set_string(&overlay, "workdir", path("work")).map_err(mount)?;
    if userxattr {
        fsconfig_set_flag(&overlay, "userxattr").map_err(mount)?;
    }
    fsconfig_create(&overlay).map_err(mount)?;
    let mounted = fsmount(&overlay, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).map_err(mount)?;
    for name in [b"a", b"b"] {
        Linux
            .statat(mounted.as_fd(), name)
            .map_err(|error| ("see the lower folders of an overlay", error))?;
    }
    // Removing what is below makes a whiteout, which needs more than a folder does.
    Linux
        .rmdirat(mounted.as_fd(), b"b")
        .and_then(|()| Linux.mkdirat(mounted.as_fd(), b"b", 0o755))
        .map_err(|error| ("write to an overlay", error))
}
