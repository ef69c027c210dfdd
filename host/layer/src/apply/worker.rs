//! The loop over the entries of one layer.

use std::collections::HashSet;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use transom_sys::{Errno, FileType, Sys};

use super::attributes::Wanted;
use super::error::ApplyError;
use super::folders::{Facts, Folder, Folders, has_default_acl};
use super::later::{Finish, Later};
use super::name::{self, Meaning};
use super::parents;
use super::report::ApplyReport;
use super::unpacked::Unpacked;
use super::{ApplyOptions, Ownership, WhiteoutFormat, remove};
use crate::tar::{ChunkSource, Entry, EntryKind, Reader};

/// Where an entry goes.
pub(super) struct Place<'p, 'r> {
    pub(super) folder: Rc<Folder<'r>>,
    pub(super) facts: Facts,
    /// Its name in the folder.
    pub(super) base: &'p [u8],
    /// Its cleaned path, for messages.
    pub(super) path: &'p [u8],
}

impl Place<'_, '_> {
    pub(super) fn dir(&self) -> BorrowedFd<'_> {
        self.folder.fd()
    }

    /// The error for the kernel's refusal of `action` here.
    pub(super) fn cannot(&self, action: &'static str) -> impl Fn(Errno) -> ApplyError {
        move |errno| ApplyError::io(self.path, action, errno)
    }
}

/// The state of one `apply`.
pub(super) struct Worker<'a, S> {
    pub(super) sys: &'a S,
    pub(super) options: &'a ApplyOptions,
    pub(super) folders: Folders<'a, 'a, S>,
    /// What this layer created; `None` if the root was empty, for then all of it is this layer's.
    pub(super) unpacked: Option<Unpacked>,
    /// Inodes of folders that hold nothing of lower layers any more, after an opaque marker (`true`) or a whiteout, so
    /// that no archive makes us walk the same tree again and again.
    pub(super) cleared: HashSet<(u64, bool)>,
    pub(super) later: Later,
    pub(super) report: ApplyReport,
    /// The ids that new files get.
    pub(super) ids: (u32, u32),
    /// Whether new files have the owner and mode that they are expected to have, so that neither needs to be set again.
    pub(super) exact: bool,
    /// Whether that was checked on a file.
    pub(super) verified: bool,
    /// Whether folders may have default ACLs.
    pub(super) may_have_acl: bool,
    /// Whether a mode has been left for the end.
    pub(super) modes_wait: bool,
    skip_devices: bool,
    /// Whether folders were removed, so that a path may now be something else.
    removed_folders: bool,
}

impl<'a, S: Sys> Worker<'a, S> {
    pub(super) fn new(
        sys: &'a S,
        root: BorrowedFd<'a>,
        options: &'a ApplyOptions,
        own_umask: bool,
    ) -> Result<Self, ApplyError> {
        let was_empty = remove::is_empty(sys, root)
            .map_err(|errno| ApplyError::io(b"/", "list the root folder", errno))?;
        Ok(Self {
            sys,
            options,
            folders: Folders::new(sys, root),
            unpacked: (!was_empty).then(Unpacked::default),
            cleared: HashSet::new(),
            later: Later::default(),
            report: ApplyReport::default(),
            ids: sys.effective_ids(),
            exact: own_umask,
            verified: false,
            may_have_acl: !was_empty || has_default_acl(sys, root),
            modes_wait: false,
            skip_devices: options.ownership == Ownership::Ignore || sys.in_user_namespace(),
            removed_folders: false,
        })
    }

    /// Applies everything in `source`.
    pub(super) fn run(mut self, source: &mut dyn ChunkSource) -> Result<ApplyReport, ApplyError> {
        let mut reader = Reader::new(source, self.options.limits.tar);
        let mut path = Vec::new();
        while let Some(entry) = reader.next_entry()? {
            self.report.entries += 1;
            let limit = self.options.limits.entries;
            if self.report.entries > limit {
                return Err(ApplyError::Limit {
                    what: "entries",
                    limit,
                });
            }
            self.report.size = self.report.size.saturating_add(entry.size);
            name::clean(&entry.path, &mut path)?;
            self.entry(&entry, &path, &mut reader)?;
        }
        self.finish_folders()?;
        reader.drain()?;
        self.report.stream_bytes = reader.position();
        Ok(self.report)
    }

    fn entry(&mut self, entry: &Entry, path: &[u8], reader: &mut Reader<'_>) -> Result<(), ApplyError> {
        if path.is_empty() {
            self.report.counts.ignored += 1;
            return Ok(());
        }
        let is_device = matches!(entry.kind, EntryKind::CharDevice | EntryKind::BlockDevice);
        if is_device && self.skip_devices {
            self.report.counts.ignored += 1;
            self.warn(path, || "devices cannot be made here; left out".to_owned());
            return Ok(());
        }
        if let EntryKind::Other(flag) = entry.kind {
            return Err(ApplyError::UnhandledType {
                entry: super::error::printable(path),
                flag,
            });
        }
        let (up, base) = name::split(path);
        let folder = self.parent(up, path)?;
        let facts = folder
            .facts(self.sys, self.may_have_acl)
            .map_err(|errno| ApplyError::io(path, "look at the folder of", errno))?;
        let place = Place {
            folder,
            facts,
            base,
            path,
        };
        match name::meaning(base) {
            Meaning::Plain => self.create(&place, entry, reader),
            Meaning::Whiteout(_) | Meaning::Opaque if self.options.whiteouts == WhiteoutFormat::Keep => {
                self.report.counts.whiteouts += 1;
                self.create(&place, entry, reader)
            }
            Meaning::Invalid => Err(ApplyError::invalid(path, "invalid whiteout name")),
            Meaning::Whiteout(hidden) => self.whiteout(&place, hidden, entry),
            Meaning::Opaque => self.opaque(&place),
        }
    }

    /// The folder that an entry goes into, made if it is missing.
    fn parent(&mut self, up: &[u8], path: &[u8]) -> Result<Rc<Folder<'a>>, ApplyError> {
        let resolver = self.folders.resolver.clone();
        let (sys, options, report) = (self.sys, self.options, &mut self.report);
        let mut make = |dir: BorrowedFd<'_>, name: &[u8], names: &[Vec<u8>]| {
            let (inode, path) = parents::make(sys, &resolver, options, dir, name, names)?;
            report.made(inode, path);
            Ok(())
        };
        self.folders
            .get(up, Some(&mut make))
            .map_err(|errno| ApplyError::io(path, "open or make the folder of", errno))
    }

    fn create(
        &mut self,
        place: &Place<'_, '_>,
        entry: &Entry,
        reader: &mut Reader<'_>,
    ) -> Result<(), ApplyError> {
        let wanted = Wanted::of(entry, place.path, self.options.ownership)?;
        let counts = &mut self.report.counts;
        match entry.kind {
            EntryKind::File => {
                counts.files += 1;
                self.file(place, entry, &wanted, reader)?;
            }
            EntryKind::Directory => {
                counts.folders += 1;
                self.folder(place, entry, &wanted)?;
            }
            EntryKind::Symlink => {
                counts.symlinks += 1;
                self.symlink(place, entry, &wanted)?;
            }
            EntryKind::HardLink => {
                counts.hard_links += 1;
                self.hard_link(place, entry, &wanted)?;
            }
            EntryKind::CharDevice | EntryKind::BlockDevice => {
                counts.devices += 1;
                self.device(place, entry, &wanted)?;
            }
            EntryKind::Fifo => {
                counts.fifos += 1;
                self.special(place, entry, &wanted, FileType::Fifo, (0, 0))?;
            }
            EntryKind::Other(_) => {}
        }
        if let Some(unpacked) = &mut self.unpacked {
            unpacked.add(place.facts.inode, place.base);
        }
        Ok(())
    }

    /// Removes what is in an entry's way.
    pub(super) fn clear_away(&mut self, place: &Place<'_, '_>) -> Result<(), ApplyError> {
        let cannot = place.cannot("replace what is in the way of");
        let kind = match self.sys.statat(place.dir(), place.base) {
            Ok(stat) => FileType::from_raw_mode(stat.st_mode),
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(cannot(errno)),
        };
        remove::remove(self.sys, place.dir(), place.base, None).map_err(cannot)?;
        self.note_removal(kind);
        Ok(())
    }

    /// Forgets what was known about paths through a thing of this type.
    pub(super) fn note_removal(&mut self, kind: FileType) {
        self.removed_folders |= kind == FileType::Directory;
        self.folders.removed(kind);
    }

    pub(super) fn warn(&mut self, path: &[u8], message: impl FnOnce() -> String) {
        self.report
            .warnings
            .add(self.options.limits.warnings, path, message);
    }

    /// Sets the times of all folders, and the modes that had to wait.
    fn finish_folders(&mut self) -> Result<(), ApplyError> {
        let later = std::mem::take(&mut self.later);
        let mut modes = Vec::new();
        later.for_each(|path, finish| {
            if let Some(mode) = finish.mode {
                modes.push((path.to_vec(), mode));
            }
            self.finish_folder(path, finish)
        })?;
        // From the deepest up, since a mode may bar the way; the last word about a folder is the one that counts.
        let mut done = HashSet::new();
        for (path, mode) in modes.into_iter().rev() {
            if done.insert(path.clone()) {
                self.at_folder(&path, "set the mode of", |sys, dir, base| {
                    sys.fchmodat(dir, base, u32::from(mode))
                })?;
            }
        }
        Ok(())
    }

    fn finish_folder(&mut self, path: &[u8], finish: Finish) -> Result<(), ApplyError> {
        self.at_folder(path, "set the times of", |sys, dir, base| {
            sys.utimensat(dir, base, finish.times())
        })
    }

    /// Calls `set` for a folder that an entry made, if it still is one.
    fn at_folder(
        &mut self,
        path: &[u8],
        action: &'static str,
        set: impl FnOnce(&S, BorrowedFd<'_>, &[u8]) -> Result<(), Errno>,
    ) -> Result<(), ApplyError> {
        let (up, base) = name::split(path);
        let done = self.folders.get(up, None).and_then(|folder| {
            if self.removed_folders {
                let stat = self.sys.statat(folder.fd(), base)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                    return Ok(());
                }
            }
            set(self.sys, folder.fd(), base)
        });
        match done {
            // A later entry of the archive took it away.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
            other => other.map_err(|errno| ApplyError::io(path, action, errno)),
        }
    }
}
