//! The overlayfs snapshotter: each snapshot is a folder with what it changed, and the kernel lays them over each other.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use transom_meta::names::Labels;
use transom_meta::snapshots::{Kind, SnapshotError};
use transom_sys::{Errno, Linux, Mount, OFlags, Sys as _};

use crate::driver::{Driver, Wanted};
use crate::error::io;
use crate::folders::Folders;
use crate::idmap::{GIDS, UIDS, root_pair};
use crate::limits::LOWER_FOLDERS;
use crate::records::SnapshotRecord;

/// What a snapshot has of its own.
const UPPER: &str = "fs";
/// What the kernel works in.
const WORK: &str = "work";
/// The label that shows the upper folder; containerd's.
const UPPERDIR: &str = "containerd.io/snapshot/overlay.upperdir";

/// How the overlayfs snapshotter behaves; the names are those of containerd's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OverlayOptions {
    /// Further options of every overlay, such as `volatile`. `index=off` and `userxattr` are added where the kernel needs them.
    pub mount_options: Vec<String>,
    /// Show the upper folder of each snapshot as the label `containerd.io/snapshot/overlay.upperdir`.
    pub upperdir_label: bool,
    /// Answer a removal before the files are gone.
    pub async_remove: bool,
    /// Let clients change owners file by file where the kernel cannot map ids. Without it `only-remap-ids` tells them not to.
    pub slow_chown: bool,
    /// What the kernel needs and can on this file system; `None` to find out by mounting a small overlay.
    pub features: Option<Features>,
}

/// What overlayfs needs and can on some file system, as [`probe`](crate::probe::overlayfs) finds out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// The kernel knows the option `index`.
    pub index: bool,
    /// Its marks must be in the `user.` namespace: this process is in a user namespace.
    pub userxattr: bool,
    /// Lower folders can be mounted with mapped ids. Without it the labels that ask for a mapping decide only who owns the
    /// upper folder.
    pub remap_ids: bool,
}

/// The driver.
#[derive(Debug)]
pub(crate) struct Overlayfs {
    root: String,
    options: OverlayOptions,
    remap_ids: bool,
}

impl Overlayfs {
    pub(crate) fn new(root: &Path, mut options: OverlayOptions, features: Features) -> Overlayfs {
        let has = |options: &[String], name: &str| {
            let named = |option: &String| option.split('=').next() == Some(name);
            options.iter().any(named)
        };
        if features.userxattr && !has(&options.mount_options, "userxattr") {
            options.mount_options.push("userxattr".to_owned());
        }
        // Otherwise the kernel does not let two overlays share a lower folder of which it thinks that it has moved.
        if features.index && !has(&options.mount_options, "index") {
            options.mount_options.push("index=off".to_owned());
        }
        Overlayfs {
            root: root.display().to_string(),
            options,
            remap_ids: features.remap_ids,
        }
    }

    fn folder(&self, id: u64, name: &str) -> String {
        format!("{}/snapshots/{id}/{name}", self.root)
    }

    fn mapping(&self, labels: &Labels) -> Vec<String> {
        if !self.remap_ids {
            return Vec::new();
        }
        let option = |name: &str, label: &str| labels.get(label).map(|mapping| format!("{name}={mapping}"));
        let options = [option("uidmap", UIDS), option("gidmap", GIDS)];
        options.into_iter().flatten().collect()
    }
}

/// Refuses a root that cannot stand in the options of an overlay.
pub(crate) fn check_root(root: &Path) -> Result<(), String> {
    let Some(text) = root.to_str() else {
        return Err("its name is not UTF-8, as mounts in the API must be; choose another root".to_owned());
    };
    match text
        .chars()
        .find(|character| matches!(character, ':' | ',' | '\\'))
    {
        None => Ok(()),
        Some(character) => Err(format!(
            "its name has a {character:?}, which means something in the options of an overlay; choose another root"
        )),
    }
}

impl Driver for Overlayfs {
    fn name(&self) -> &'static str {
        "overlayfs"
    }

    fn capabilities(&self) -> Vec<String> {
        let mut names = vec!["rebase"];
        if self.remap_ids {
            names.push("remap-ids");
        }
        if !self.options.slow_chown {
            names.push("only-remap-ids");
        }
        names.into_iter().map(str::to_owned).collect()
    }

    fn rebases(&self) -> bool {
        true
    }

    fn copies(&self) -> bool {
        false
    }

    fn files(&self) -> &'static str {
        UPPER
    }

    fn check(&self, lower: usize, labels: &Labels) -> Result<(), SnapshotError> {
        root_pair(labels)?;
        if lower <= LOWER_FOLDERS {
            return Ok(());
        }
        Err(SnapshotError::Invalid {
            what: format!(
                "the parent stands on {} others, and overlayfs takes at most {LOWER_FOLDERS} lower folders",
                lower - 1
            ),
        })
    }

    fn has_folder(&self, _kind: Kind, _has_parent: bool) -> bool {
        true
    }

    fn fill(&self, folders: &Folders, new: BorrowedFd<'_>, wanted: &Wanted) -> Result<(), SnapshotError> {
        let make = |name: &str, mode: u32| {
            Linux.mkdirat(new, name.as_bytes(), mode)?;
            let folder = Linux.openat(
                new,
                name.as_bytes(),
                OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW,
                0,
            )?;
            // Against the umask.
            Linux.fchmod(folder.as_fd(), mode)?;
            Ok::<_, Errno>(folder)
        };
        let fail = |error| io("make", folders.root(), error);
        make(WORK, 0o711).map_err(fail)?;
        let upper = make(UPPER, 0o755).map_err(fail)?;
        // The upper folder is the root of what is mounted: it must look like that of the parent.
        let mut owner = root_pair(&wanted.labels)?;
        let mut mode = 0o755;
        if let Some(parent) = wanted.parent {
            let folder = folders.enter(parent, UPPER)?;
            let stat = Linux.fstat(folder.as_fd());
            let stat = stat.map_err(|error| io("look at", &folders.path(parent), error))?;
            owner = owner.or(Some((stat.st_uid, stat.st_gid)));
            mode = stat.st_mode & 0o7777;
        }
        if let Some((uid, gid)) = owner {
            Linux.fchown(upper.as_fd(), uid, gid).map_err(fail)?;
        }
        // After the owner: changing that takes bits away.
        Linux.fchmod(upper.as_fd(), mode).map_err(fail)
    }

    fn mounts(&self, _folders: &Folders, record: &SnapshotRecord) -> Vec<Mount> {
        let mut options = self.mapping(&record.labels);
        let active = record.kind() == Kind::Active;
        let bind = |id, mut options: Vec<String>| {
            options.push(if active { "rw" } else { "ro" }.to_owned());
            options.push("rbind".to_owned());
            vec![Mount {
                kind: "bind".to_owned(),
                source: self.folder(id, UPPER),
                target: String::new(),
                options,
            }]
        };
        match record.below.as_slice() {
            [] => return bind(record.id, options),
            [parent] if !active => return bind(*parent, options),
            _ => {}
        }
        if active {
            options.push(format!("workdir={}", self.folder(record.id, WORK)));
            options.push(format!("upperdir={}", self.folder(record.id, UPPER)));
        }
        let lower: Vec<String> = record.below.iter().map(|id| self.folder(*id, UPPER)).collect();
        options.push(format!("lowerdir={}", lower.join(":")));
        options.extend(self.options.mount_options.iter().cloned());
        vec![Mount {
            kind: "overlay".to_owned(),
            source: "overlay".to_owned(),
            target: String::new(),
            options,
        }]
    }

    fn shown(&self, _folders: &Folders, record: &SnapshotRecord) -> Option<(&'static str, String)> {
        let shown = || (UPPERDIR, self.folder(record.id, UPPER));
        self.options.upperdir_label.then(shown)
    }
}
