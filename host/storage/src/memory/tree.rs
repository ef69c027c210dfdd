//! What the memory driver holds: content and uploads by path, and how many bytes they are.

use std::ops::Bound;

use super::*;

/// Content by path, uploads by path, and the bytes of both.
#[derive(Debug)]
pub(super) struct Tree {
    contents: BTreeMap<StoragePath, Content>,
    uploads: BTreeMap<StoragePath, Slot>,
    used: u64,
    limit: u64,
    uploads_opened: u64,
}

/// What is at a path that is being written.
#[derive(Debug)]
enum Slot {
    /// A writer has it: which one, and how many bytes are counted for it.
    Open { number: u64, size: u64 },
    /// It waits for a writer that appends.
    Waiting(VecDeque<Bytes>),
}

/// Committed content.
#[derive(Clone, Debug)]
pub(super) struct Content {
    chunks: VecDeque<Bytes>,
    pub(super) size: u64,
    modified: SystemTime,
}

/// What a writer holds.
#[derive(Debug)]
pub(super) struct Upload {
    number: u64,
    chunks: VecDeque<Bytes>,
    size: u64,
}

impl Upload {
    pub(super) fn size(&self) -> u64 {
        self.size
    }
}

impl Content {
    pub(super) fn new(chunks: VecDeque<Bytes>) -> Content {
        Content {
            size: chunks.iter().map(|chunk| chunk.len() as u64).sum(),
            chunks,
            modified: SystemTime::now(),
        }
    }

    pub(super) fn entry(&self, path: StoragePath) -> Entry {
        let kind = Kind::File {
            size: self.size,
            modified: Some(self.modified),
        };
        Entry { path, kind }
    }

    pub(super) fn whole(self) -> Bytes {
        let mut chunks = self.chunks;
        if chunks.len() == 1 {
            return chunks.pop_front().unwrap_or_default();
        }
        let mut whole = BytesMut::with_capacity(self.size as usize);
        chunks.iter().for_each(|chunk| whole.extend_from_slice(chunk));
        whole.freeze()
    }

    pub(super) fn rest_from(self, offset: u64) -> VecDeque<Bytes> {
        let (mut chunks, mut skip) = (self.chunks, offset);
        while let Some(first) = chunks.front_mut() {
            let length = first.len() as u64;
            if skip < length {
                *first = first.slice(skip as usize..);
                break;
            }
            skip -= length;
            chunks.pop_front();
        }
        chunks
    }
}

impl Tree {
    pub(super) fn new(limit: u64) -> Tree {
        Tree {
            contents: BTreeMap::new(),
            uploads: BTreeMap::new(),
            used: 0,
            limit,
            uploads_opened: 0,
        }
    }

    pub(super) fn used(&self) -> u64 {
        self.used
    }

    pub(super) fn content(&self, path: &StoragePath) -> Result<Content, Error> {
        path.not_root()?;
        match self.contents.get(path) {
            Some(content) => Ok(content.clone()),
            None if self.is_folder(path) => Err(is_folder(path)),
            None => Err(not_found(path)),
        }
    }

    pub(super) fn stat(&self, path: &StoragePath) -> Result<Entry, Error> {
        match self.contents.get(path) {
            Some(content) => Ok(content.entry(path.clone())),
            None if path.is_root() || self.is_folder(path) => Ok(Entry::folder(path.clone())),
            None => Err(not_found(path)),
        }
    }

    pub(super) fn list(&self, folder: &StoragePath) -> Result<Vec<Entry>, Error> {
        if self.contents.contains_key(folder) {
            return Err(not_folder(folder));
        }
        let depth = folder.parts().count() + 1;
        let mut entries: Vec<Entry> = Vec::new();
        for (path, content) in below(&self.contents, folder) {
            if path.parts().count() == depth {
                entries.push(content.entry(path.clone()));
                continue;
            }
            let child = ancestor(path, depth);
            if entries.last().is_none_or(|last| last.path != child) {
                entries.push(Entry::folder(child));
            }
        }
        if entries.is_empty() && !folder.is_root() {
            return Err(not_found(folder));
        }
        Ok(entries)
    }

    pub(super) fn set(
        &mut self,
        path: &StoragePath,
        content: Content,
        condition: Condition,
    ) -> Result<(), Error> {
        self.check_place(path)?;
        if condition == Condition::Absent && self.contents.contains_key(path) {
            let (driver, path) = (NAME.into(), path.clone());
            return Err(Error::AlreadyExists { driver, path });
        }
        let old = self.contents.get(path).map_or(0, |old| cost(path, old.size));
        self.charge(path, cost(path, content.size), old)?;
        self.contents.insert(path.clone(), content);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &StoragePath, to: &StoragePath) -> Result<(), Error> {
        let content = self.content(from)?;
        self.check_place(to)?;
        if from == to {
            return Ok(());
        }
        let old = self.contents.get(to).map_or(0, |old| cost(to, old.size));
        let (more, less) = (cost(to, content.size), cost(from, content.size) + old);
        self.used = (self.used + more).saturating_sub(less);
        self.contents.remove(from);
        self.contents.insert(to.clone(), content);
        Ok(())
    }

    pub(super) fn delete(&mut self, path: &StoragePath) -> Result<(), Error> {
        path.not_root()?;
        let mut found = false;
        let contents: Vec<StoragePath> = at_and_below(&self.contents, path);
        for path in contents {
            let content = self.contents.remove(&path);
            self.used -= content.map_or(0, |content| cost(&path, content.size));
            found = true;
        }
        let uploads: Vec<StoragePath> = at_and_below(&self.uploads, path);
        for path in uploads {
            let slot = self.uploads.remove(&path);
            self.used -= slot.map_or(0, |slot| cost(&path, slot.size()));
            found = true;
        }
        if found { Ok(()) } else { Err(not_found(path)) }
    }

    pub(super) fn open_upload(&mut self, path: &StoragePath, mode: WriteMode) -> Result<Upload, Error> {
        self.check_place(path)?;
        let waiting = match self.uploads.get(path) {
            Some(Slot::Open { .. }) => {
                let (driver, path) = (NAME.into(), path.clone());
                return Err(Error::Busy { driver, path });
            }
            Some(Slot::Waiting(chunks)) => Some(chunks.clone()),
            None => None,
        };
        let counted = waiting.as_ref().map_or(0, |chunks| cost(path, length(chunks)));
        let chunks = match mode {
            WriteMode::Create => VecDeque::new(),
            WriteMode::Append => match waiting {
                Some(chunks) => chunks,
                None => self.content(path)?.chunks,
            },
        };
        let size = length(&chunks);
        self.charge(path, cost(path, size), counted)?;
        self.uploads_opened += 1;
        let number = self.uploads_opened;
        self.uploads.insert(path.clone(), Slot::Open { number, size });
        Ok(Upload { number, chunks, size })
    }

    /// Takes bytes into an upload, unless it was deleted meanwhile: nobody would count them.
    pub(super) fn write(
        &mut self,
        path: &StoragePath,
        upload: &mut Upload,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let length = bytes.len() as u64;
        if self.used + length > self.limit {
            return Err(no_space(path));
        }
        match self.uploads.get_mut(path) {
            Some(Slot::Open { number, size }) if *number == upload.number => *size += length,
            _ => return Err(not_found(path)),
        }
        self.used += length;
        upload.size += length;
        // A copy: `bytes` may be a small part of something large.
        upload.chunks.push_back(Bytes::copy_from_slice(bytes));
        Ok(())
    }

    pub(super) fn commit(
        &mut self,
        path: &StoragePath,
        to: &StoragePath,
        upload: Upload,
    ) -> Result<(), Error> {
        if !self.is_open(path, &upload) {
            // It was deleted while it was written.
            return Err(not_found(path));
        }
        if let Err(error) = self.check_place(to) {
            self.keep(path, upload);
            return Err(error);
        }
        self.cancel(path, &upload);
        self.set(to, Content::new(upload.chunks), Condition::Always)
    }

    pub(super) fn keep(&mut self, path: &StoragePath, upload: Upload) {
        if self.is_open(path, &upload) {
            self.uploads.insert(path.clone(), Slot::Waiting(upload.chunks));
        }
    }

    pub(super) fn cancel(&mut self, path: &StoragePath, upload: &Upload) {
        if self.is_open(path, upload)
            && let Some(slot) = self.uploads.remove(path)
        {
            self.used -= cost(path, slot.size());
        }
    }

    fn is_open(&self, path: &StoragePath, upload: &Upload) -> bool {
        matches!(self.uploads.get(path), Some(Slot::Open { number, .. }) if *number == upload.number)
    }

    fn charge(&mut self, path: &StoragePath, more: u64, less: u64) -> Result<(), Error> {
        // What is replaced is there until the end: both must have room.
        if self.used + more > self.limit {
            return Err(no_space(path));
        }
        self.used = self.used + more - less;
        Ok(())
    }

    /// Whether content may be at a path: no content above it, none below.
    fn check_place(&self, path: &StoragePath) -> Result<(), Error> {
        path.not_root()?;
        let mut above = path.parent();
        while let Some(folder) = above {
            if self.contents.contains_key(&folder) {
                return Err(not_folder(path));
            }
            above = folder.parent();
        }
        if self.is_folder(path) {
            return Err(is_folder(path));
        }
        Ok(())
    }

    fn is_folder(&self, path: &StoragePath) -> bool {
        below(&self.contents, path).next().is_some()
    }
}

impl Slot {
    fn size(&self) -> u64 {
        match self {
            Slot::Open { size, .. } => *size,
            Slot::Waiting(chunks) => length(chunks),
        }
    }
}

fn below<'a, T>(
    map: &'a BTreeMap<StoragePath, T>,
    folder: &'a StoragePath,
) -> impl Iterator<Item = (&'a StoragePath, &'a T)> {
    map.range((Bound::Excluded(folder.clone()), Bound::Unbounded))
        .take_while(move |(path, _)| path.is_below(folder))
}

fn at_and_below<T>(map: &BTreeMap<StoragePath, T>, path: &StoragePath) -> Vec<StoragePath> {
    let at = map.contains_key(path).then(|| path.clone());
    at.into_iter()
        .chain(below(map, path).map(|(path, _)| path.clone()))
        .collect()
}

/// The first `depth` parts of a path.
fn ancestor(path: &StoragePath, depth: usize) -> StoragePath {
    let mut folder = path.clone();
    while folder.parts().count() > depth {
        folder = folder.parent().unwrap_or_else(StoragePath::root);
    }
    folder
}

fn length(chunks: &VecDeque<Bytes>) -> u64 {
    chunks.iter().map(|chunk| chunk.len() as u64).sum()
}

fn cost(path: &StoragePath, bytes: u64) -> u64 {
    path.as_str().len() as u64 + bytes
}

fn not_found(path: &StoragePath) -> Error {
    let (driver, path) = (NAME.into(), path.clone());
    Error::NotFound { driver, path }
}

fn is_folder(path: &StoragePath) -> Error {
    let (driver, path) = (NAME.into(), path.clone());
    Error::IsFolder { driver, path }
}

fn not_folder(path: &StoragePath) -> Error {
    let (driver, path) = (NAME.into(), path.clone());
    Error::NotFolder { driver, path }
}

fn no_space(path: &StoragePath) -> Error {
    let (driver, path) = (NAME.into(), path.clone());
    Error::NoSpace { driver, path }
}
