//! From changes to the entries of a layer (OCI image specification, "Image Layer Filesystem Changeset").

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use transom_sys::{Errno, FileType, Stat, Sys};

use super::error::CompareError;
use super::limits::CompareLimits;
use super::links::{Key, Links};
use super::overlay::{CAPABILITY, NO_CONTENT, OverlayMarks, capability};
use super::report::Counts;
use super::same::open_file;
use super::trail::{Facts, Trail};
use crate::apply::limits::PATH_MAX;
use crate::tar::{EntryKind, Header, TarSink, Writer};

/// What a name that has that prefix hides.
pub(super) const WHITEOUT: &[u8] = b".wh.";

/// The permission bits that an entry keeps.
const MODE: u32 = 0o7777;

/// What became of a name of the upper tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Emitted {
    Done,
    /// It was gone when its content or target was looked for.
    Gone,
}

/// A name of the upper tree that is no folder.
pub(super) struct Leaf<'a> {
    pub(super) dir: BorrowedFd<'a>,
    pub(super) name: &'a [u8],
    pub(super) stat: Stat,
    /// Whether the lower tree has the same.
    pub(super) unchanged: bool,
}

/// Writes the entries.
pub(super) struct Emitter<'s, S, K> {
    sys: &'s S,
    tar: Writer<K>,
    links: Links,
    /// The marks of the upper folder, if it is an overlay's.
    marks: Option<OverlayMarks>,
    /// No entry is newer, in seconds since 1970.
    epoch: Option<i64>,
    limits: CompareLimits,
    pub(super) counts: Counts,
}

/// What an entry needs beside what the look at its name gave.
struct Gathered {
    kind: EntryKind,
    target: Vec<u8>,
    capability: Option<Vec<u8>>,
    content: Option<Content>,
}

/// A file's content on its way into the tar.
struct Content {
    file: OwnedFd,
    stat: Stat,
}

impl<'s, S: Sys, K: TarSink> Emitter<'s, S, K> {
    pub(super) fn new(
        sys: &'s S,
        sink: K,
        marks: Option<OverlayMarks>,
        epoch: Option<i64>,
        limits: CompareLimits,
    ) -> Self {
        Self {
            sys,
            tar: Writer::new(sink),
            links: Links::default(),
            marks,
            epoch,
            limits,
            counts: Counts::default(),
        }
    }

    /// Ends the layer.
    pub(super) fn finish(self) -> Result<(K, Counts), CompareError> {
        let sink = self
            .tar
            .finish()
            .map_err(|error| CompareError::write(b"", error))?;
        Ok((sink, self.counts))
    }

    /// How many names are remembered.
    pub(super) fn names(&self) -> usize {
        self.links.names()
    }

    /// Writes the folders on the trail that are not written yet.
    pub(super) fn folders(&mut self, trail: &mut Trail) -> Result<(), CompareError> {
        let Some(first) = trail.first_unwritten() else {
            return Ok(());
        };
        for index in first..trail.len() {
            let (path, step) = trail.step(index);
            self.folder(path, &step.facts)?;
            self.links.wrote_folder(path);
            trail.wrote(index);
        }
        Ok(())
    }

    /// Says that the layers below have `name` and this one does not.
    pub(super) fn whiteout(&mut self, trail: &mut Trail, name: &[u8]) -> Result<(), CompareError> {
        self.folders(trail)?;
        let path = trail.path_of(&[WHITEOUT, name].concat());
        self.counts.whiteouts += 1;
        self.entry(&Header {
            kind: EntryKind::File,
            path: &path,
            link: b"",
            mode: 0,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: 0,
            device: (0, 0),
            xattrs: &[],
        })
    }

    /// Writes a name, and other names of the same file that were waiting for it.
    pub(super) fn leaf(&mut self, trail: &mut Trail, leaf: &Leaf<'_>) -> Result<Emitted, CompareError> {
        let path = trail.path_of(leaf.name);
        let key = (leaf.stat.st_nlink > 1).then_some((leaf.stat.st_dev, leaf.stat.st_ino));
        if let Some(source) = key.and_then(|key| self.links.source(key)) {
            let source = source.to_vec();
            return self.further_name(trail, leaf, &path, &source);
        }
        if leaf.unchanged {
            if let Some(key) = key {
                self.links.remember(key, path, trail);
            }
            return Ok(Emitted::Done);
        }
        match self.gather(leaf, &path)? {
            Some(gathered) => self.first_name(trail, leaf, &path, key, gathered)?,
            None => return Ok(Emitted::Gone),
        }
        Ok(Emitted::Done)
    }

    fn further_name(
        &mut self,
        trail: &mut Trail,
        leaf: &Leaf<'_>,
        path: &[u8],
        source: &[u8],
    ) -> Result<Emitted, CompareError> {
        let capability = match capability(self.sys, leaf.dir, leaf.name) {
            Err(Errno::NOENT) => return Ok(Emitted::Gone),
            other => other.map_err(|errno| CompareError::io(path, "read the capabilities of", errno))?,
        };
        self.folders(trail)?;
        let xattrs = xattrs(capability.as_deref());
        self.link(path, source, &leaf.stat, &xattrs)?;
        Ok(Emitted::Done)
    }

    /// Looks at everything that an entry needs, before anything is written or noted; `None` if the name is gone.
    fn gather(&self, leaf: &Leaf<'_>, path: &[u8]) -> Result<Option<Gathered>, CompareError> {
        let kind = kind(&leaf.stat);
        let gathered = (|| {
            let target = match kind {
                EntryKind::Symlink => {
                    let target = self.sys.readlinkat(leaf.dir, leaf.name);
                    target.map_err(|errno| CompareError::io(path, "read the link", errno))?
                }
                _ => Vec::new(),
            };
            let capability = capability(self.sys, leaf.dir, leaf.name)
                .map_err(|errno| CompareError::io(path, "read the capabilities of", errno))?;
            let content = match kind {
                EntryKind::File if leaf.stat.st_size > 0 => Some(self.open(leaf, path)?),
                _ => None,
            };
            Ok(Gathered {
                kind,
                target,
                capability,
                content,
            })
        })();
        match gathered {
            Err(CompareError::Io {
                errno: Errno::NOENT, ..
            }) => Ok(None),
            other => other.map(Some),
        }
    }

    fn first_name(
        &mut self,
        trail: &mut Trail,
        leaf: &Leaf<'_>,
        path: &[u8],
        key: Option<Key>,
        gathered: Gathered,
    ) -> Result<(), CompareError> {
        let Gathered { kind, content, .. } = &gathered;
        let stat = content.as_ref().map_or(leaf.stat, |content| content.stat);
        let xattrs = xattrs(gathered.capability.as_deref());
        let size = match kind {
            EntryKind::File => size(&stat),
            _ => 0,
        };
        self.folders(trail)?;
        self.count(*kind, size);
        self.entry(&Header {
            link: &gathered.target,
            size,
            ..self.header(*kind, path, &stat, &xattrs)
        })?;
        if let Some(content) = content {
            self.copy(content, path)?;
        }
        let waiting = key.map_or_else(Vec::new, |key| self.links.wrote(key, path.to_vec()));
        for name in waiting {
            self.folders_of(trail, &name)?;
            self.link(&name, path, &stat, &xattrs)?;
        }
        if let Some(content) = gathered.content {
            self.sys.close(content.file);
        }
        Ok(())
    }

    /// Opens a file, which must be the one that was looked at.
    fn open(&self, leaf: &Leaf<'_>, path: &[u8]) -> Result<Content, CompareError> {
        let elsewhere = self.marks.map_or(Ok(false), |marks| {
            marks.has_no_content(self.sys, leaf.dir, leaf.name)
        });
        if elsewhere.map_err(|errno| CompareError::io(path, "read the attributes of", errno))? {
            return Err(CompareError::cannot(path, NO_CONTENT));
        }
        let file = match open_file(self.sys, leaf.dir, leaf.name) {
            Err(Errno::LOOP | Errno::NXIO) => return Err(CompareError::changed(path, "was replaced")),
            other => other.map_err(|errno| CompareError::io(path, "open", errno))?,
        };
        let stat = self
            .sys
            .fstat(file.as_fd())
            .map_err(|errno| CompareError::io(path, "look at", errno))?;
        if (stat.st_dev, stat.st_ino) != (leaf.stat.st_dev, leaf.stat.st_ino) {
            return Err(CompareError::changed(path, "was replaced"));
        }
        Ok(Content { file, stat })
    }

    /// Copies as many bytes as the file had when it was opened. What is added meanwhile is not part of it; that bytes are
    /// missing is an error, since no filling would be true.
    fn copy(&mut self, content: &Content, path: &[u8]) -> Result<(), CompareError> {
        let mut failed = None;
        while self.tar.remaining() > 0 {
            let sys = self.sys;
            let filled = self.tar.fill(|buffer| {
                sys.read(content.file.as_fd(), buffer).map_err(|errno| {
                    failed = Some(errno);
                    errno.into()
                })
            });
            if let Some(errno) = failed {
                return Err(CompareError::io(path, "read", errno));
            }
            if filled.map_err(|error| CompareError::write(path, error))? == 0 {
                return Err(CompareError::changed(path, "became shorter"));
            }
        }
        Ok(())
    }

    /// Writes the folders above a remembered name that are not written yet.
    fn folders_of(&mut self, trail: &mut Trail, name: &[u8]) -> Result<(), CompareError> {
        let slashes = name.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        for (end, _) in slashes {
            let folder = &name[..end];
            let Some(facts) = self.links.unwritten(folder).cloned() else {
                continue;
            };
            self.folder(folder, &facts)?;
            self.links.wrote_folder(folder);
            if let Some(index) = trail.index_of(folder) {
                trail.wrote(index);
            }
        }
        Ok(())
    }

    fn folder(&mut self, path: &[u8], facts: &Facts) -> Result<(), CompareError> {
        self.counts.folders += 1;
        let path = [path, b"/"].concat();
        let xattrs = xattrs(facts.capability.as_deref());
        self.entry(&self.header(EntryKind::Directory, &path, &facts.stat, &xattrs))
    }

    fn link(
        &mut self,
        path: &[u8],
        source: &[u8],
        stat: &Stat,
        xattrs: &[(&[u8], &[u8])],
    ) -> Result<(), CompareError> {
        self.counts.hard_links += 1;
        self.entry(&Header {
            link: source,
            ..self.header(EntryKind::HardLink, path, stat, xattrs)
        })
    }

    /// What every header has.
    fn header<'a>(
        &self,
        kind: EntryKind,
        path: &'a [u8],
        stat: &Stat,
        xattrs: &'a [(&'a [u8], &'a [u8])],
    ) -> Header<'a> {
        let mtime = stat.st_mtime;
        let is_device = matches!(
            FileType::from_raw_mode(stat.st_mode),
            FileType::CharacterDevice | FileType::BlockDevice
        );
        Header {
            kind,
            path,
            link: b"",
            mode: stat.st_mode & MODE,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: 0,
            mtime: self.epoch.map_or(mtime, |epoch| mtime.min(epoch)),
            device: if is_device { device(stat.st_rdev) } else { (0, 0) },
            xattrs,
        }
    }

    fn entry(&mut self, header: &Header<'_>) -> Result<(), CompareError> {
        let longest = PATH_MAX as u64 - 1;
        if header.path.len() as u64 > longest {
            let what = "bytes in a path; it could not be unpacked";
            return Err(CompareError::limit(header.path, what, longest));
        }
        self.counts.entries += 1;
        if self.counts.entries > self.limits.entries {
            return Err(CompareError::limit(
                header.path,
                "entries of a layer",
                self.limits.entries,
            ));
        }
        let written = self.tar.entry(header);
        written.map_err(|error| CompareError::write(header.path, error))
    }

    fn count(&mut self, kind: EntryKind, size: u64) {
        match kind {
            EntryKind::File => self.counts.files += 1,
            EntryKind::Symlink => self.counts.symlinks += 1,
            _ => self.counts.specials += 1,
        }
        self.counts.bytes += size;
    }
}

/// What a name that is neither folder nor socket is in a tar.
fn kind(stat: &Stat) -> EntryKind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => EntryKind::Symlink,
        FileType::CharacterDevice => EntryKind::CharDevice,
        FileType::BlockDevice => EntryKind::BlockDevice,
        FileType::Fifo => EntryKind::Fifo,
        _ => EntryKind::File,
    }
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

fn xattrs(capability: Option<&[u8]>) -> Vec<(&[u8], &[u8])> {
    capability.map(|value| (CAPABILITY, value)).into_iter().collect()
}

/// Major and minor number, as glibc splits them.
fn device(number: u64) -> (u32, u32) {
    let major = number >> 8 & 0xfff | number >> 32 & !0xfff;
    let minor = number & 0xff | number >> 12 & !0xff;
    (major as u32, minor as u32)
}
