//! Where a mount goes: the caller's place, or one inside it that the mount names.

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::error::MountError;
use crate::calls::{Result, Sys};

/// A place that exists.
#[derive(Debug)]
pub(super) struct Place {
    /// Its path, for people, for programs and for unmounting.
    pub(super) path: PathBuf,
    /// The place itself, where the path was resolved inside another.
    opened: Option<OwnedFd>,
}

impl Place {
    /// Finds `inside` in `root`, or `root` itself if that is empty. The root is the caller's and taken as it is; links
    /// and `..` on the way to `inside` end in the root whatever they say, also while somebody changes them.
    ///
    /// After a mount the same question answers what was mounted: it must be asked again for a change to the mount.
    pub(super) fn find<S: Sys>(sys: &S, root: &Path, inside: &str) -> std::result::Result<Self, MountError> {
        if root.as_os_str().as_bytes().contains(&0) {
            return Err(MountError::BadText {
                what: "target",
                text: root.display().to_string(),
                reason: "holds a NUL byte",
            });
        }
        super::description::refuse_nul("target", inside)?;
        if inside.is_empty() {
            return Ok(Place {
                path: root.to_path_buf(),
                opened: None,
            });
        }
        Self::inside(sys, root, inside).map_err(|errno| MountError::Target {
            root: root.to_path_buf(),
            inside: inside.to_owned(),
            errno,
        })
    }

    fn inside<S: Sys>(sys: &S, root: &Path, inside: &str) -> Result<Self> {
        let root = sys.openat(
            CWD,
            root.as_os_str().as_bytes(),
            OFlags::PATH | OFlags::DIRECTORY,
            0,
        )?;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let opened = sys.openat2(root.as_fd(), inside.as_bytes(), OFlags::PATH, 0, resolve)?;
        let path = sys.readlinkat(CWD, &proc_path(&opened))?;
        if !path.starts_with(b"/") {
            return Err(Errno::NOENT);
        }
        Ok(Place {
            path: PathBuf::from(OsString::from_vec(path)),
            opened: Some(opened),
        })
    }

    /// The path to give to calls: one that nobody can redirect, where the place was opened. It is good as long as the
    /// place is.
    pub(super) fn to_call(&self) -> Cow<'_, [u8]> {
        match &self.opened {
            Some(opened) => Cow::Owned(proc_path(opened)),
            None => Cow::Borrowed(self.path.as_os_str().as_bytes()),
        }
    }
}

fn proc_path(fd: &OwnedFd) -> Vec<u8> {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into_bytes()
}
