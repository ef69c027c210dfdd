//! The native snapshotter: each snapshot is a folder with everything, copied from its parent.

use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use transom_meta::names::Labels;
use transom_meta::snapshots::{Kind, SnapshotError};
use transom_sys::{Linux, Mount, Sys as _};

use crate::driver::{Driver, Wanted};
use crate::error::io;
use crate::folders::Folders;
use crate::records::SnapshotRecord;
use crate::tree::copy::copy;

/// How the native snapshotter behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NativeOptions {
    /// Answer a removal before the files are gone.
    pub async_remove: bool,
}

/// The driver.
#[derive(Debug)]
pub(crate) struct Native;

/// Refuses a root that cannot stand in a mount.
pub(crate) fn check_root(root: &Path) -> Result<(), String> {
    match root.to_str() {
        Some(_) => Ok(()),
        None => Err("its name is not UTF-8, as mounts in the API must be; choose another root".to_owned()),
    }
}

impl Driver for Native {
    fn name(&self) -> &'static str {
        "native"
    }

    fn capabilities(&self) -> Vec<String> {
        Vec::new()
    }

    fn rebases(&self) -> bool {
        false
    }

    fn copies(&self) -> bool {
        true
    }

    fn files(&self) -> &'static str {
        ""
    }

    fn check(&self, _lower: usize, _labels: &Labels) -> Result<(), SnapshotError> {
        Ok(())
    }

    fn has_folder(&self, kind: Kind, has_parent: bool) -> bool {
        kind != Kind::View || !has_parent
    }

    fn fill(&self, folders: &Folders, new: BorrowedFd<'_>, wanted: &Wanted) -> Result<(), SnapshotError> {
        let Some(parent) = wanted.parent else {
            return Linux
                .fchmod(new, 0o755)
                .map_err(|error| io("make", folders.root(), error));
        };
        copy(folders.fd(), &parent.to_string(), new).map_err(|failure| {
            let below = std::ffi::OsStr::from_bytes(&failure.path);
            io("copy", &folders.path(parent).join(below), failure.error)
        })
    }

    fn mounts(&self, folders: &Folders, record: &SnapshotRecord) -> Vec<Mount> {
        let active = record.kind() == Kind::Active;
        let id = match record.below.first() {
            Some(parent) if !active => *parent,
            _ => record.id,
        };
        let options = [if active { "rw" } else { "ro" }, "rbind"];
        vec![Mount {
            kind: "bind".to_owned(),
            source: folders.path(id).display().to_string(),
            target: String::new(),
            options: options.map(str::to_owned).to_vec(),
        }]
    }
}
