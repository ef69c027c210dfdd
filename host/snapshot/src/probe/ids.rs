//! Whether overlays can stand on lower folders whose ids are mapped.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use transom_sys::Mount;
use transom_sys::mount::{MountError, TempMounts, UnmountFlags, unmount_recursive};

/// What root is mapped to: any other id.
const OTHER: u32 = 1000;

/// Mounts an overlay of the folders in `folder` with mapped ids, as a client does that finds `uidmap` and `gidmap` in the
/// mounts of a snapshot, and looks whether it shows the owner that was asked for. Old kernels and many file systems cannot.
pub(super) fn can_map(folder: &Path) -> bool {
    match shown(folder) {
        Ok(owner) => owner == Some((OTHER, OTHER)),
        Err(error) => {
            tracing::debug!(%error, "ids cannot be mapped here");
            false
        }
    }
}

/// Whose a lower folder of root's seems to be.
fn shown(folder: &Path) -> Result<Option<(u32, u32)>, MountError> {
    let path = |name: &str| folder.join(name).display().to_string();
    let maps = [format!("uidmap=0:{OTHER}:1"), format!("gidmap=0:{OTHER}:1")];
    let overlay = Mount::overlay(
        &[&path("near"), &path("far")],
        None,
        &maps.each_ref().map(String::as_str),
    );
    let mounted = TempMounts::new(&folder.join("mapped"))?.mount(&[overlay])?;
    let owner = std::fs::metadata(mounted.path().join("a"));
    mounted.unmount()?;
    Ok(owner.ok().map(|owner| (owner.uid(), owner.gid())))
}

/// Takes off what a probe that was killed has left mounted below a folder, which would otherwise be in the way of its removal.
pub(super) fn unmount(folder: &Path) {
    if !folder.exists() {
        return;
    }
    if let Err(error) = unmount_recursive(folder, UnmountFlags::DETACH) {
        tracing::debug!(%error, "mounts of a probe stay");
    }
}
