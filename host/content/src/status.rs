//! Open and resumable ingests.

use std::collections::HashSet;
use std::fs::ReadDir;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::SystemTime;

use rustix::fs::OFlags;
use transom_oci::Digest;

use crate::folder::Folder;
use crate::inner::{Inner, is_absent};
use crate::layout::{DATA, is_ingest_name};
use crate::lock::{Held, Locks};
use crate::{Error, layout};

/// How far an ingest is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its ref.
    pub reference: String,
    /// Bytes written so far.
    pub offset: u64,
    /// Bytes that there will be; `None` if nobody said.
    pub total: Option<u64>,
    /// The digest that its writer expects; known only while this store has it open.
    pub expected: Option<Digest>,
    /// When it was first opened.
    pub started: SystemTime,
    /// When it was last written.
    pub updated: SystemTime,
}

/// The ingests of a store; see [`Store::statuses`](crate::Store::statuses). Holds one folder open, and a list of those only that
/// have no folder yet.
#[derive(Debug)]
pub struct Statuses<F> {
    inner: Arc<Inner>,
    /// Given before the folders; the names of those that may get one meanwhile.
    memory: std::vec::IntoIter<Status>,
    given: HashSet<String>,
    entries: Option<ReadDir>,
    filter: F,
}

impl<F> Statuses<F> {
    pub(crate) fn new(inner: &Arc<Inner>, filter: F) -> Result<Statuses<F>, Error> {
        let path = inner.ingests_path();
        let memory: Vec<Status> = inner
            .locks
            .holders()
            .iter()
            .filter_map(|held| in_memory(held))
            .collect();
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => Some(entries),
            Err(e) if is_absent(&e) => None,
            Err(e) => return Err(Error::io("list", &path, e)),
        };
        Ok(Statuses {
            inner: Arc::clone(inner),
            given: memory.iter().map(|status| status.reference.clone()).collect(),
            memory: memory.into_iter(),
            entries,
            filter,
        })
    }
}

impl<F: FnMut(&str) -> bool> Iterator for Statuses<F> {
    type Item = Result<Status, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let filter = &mut self.filter;
        if let Some(status) = self.memory.find(|status| filter(&status.reference)) {
            return Some(Ok(status));
        }
        loop {
            let found = match self.entries.as_mut()?.next()? {
                Ok(entry) => status_of(&entry, &self.inner.locks),
                Err(e) => Err(e),
            };
            match found {
                Ok(Some(status)) if self.given.contains(&status.reference) => {}
                Ok(Some(status)) if (self.filter)(&status.reference) => return Some(Ok(status)),
                Ok(_) => {}
                Err(e) => return Some(Err(Error::io("list", &self.inner.ingests_path(), e))),
            }
        }
    }
}

fn status_of(entry: &std::fs::DirEntry, locks: &Locks) -> io::Result<Option<Status>> {
    let name = entry.file_name();
    let Some(name) = name.to_str().filter(|name| is_ingest_name(name)) else {
        return Ok(None);
    };
    match Folder::open(&entry.path()) {
        Ok(folder) => {
            let status = read_status(&folder, locks)?;
            Ok(status.filter(|status| layout::ingest_name(&status.reference) == name))
        }
        Err(e) if is_absent(&e) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The status of an ingest that has no folder yet; `None` if it has one.
pub(crate) fn in_memory(held: &Held) -> Option<Status> {
    let live = held.live().clone();
    let known = live.memory?;
    Some(Status {
        reference: held.reference().to_owned(),
        offset: known.offset,
        total: known.total.filter(|&total| total > 0),
        expected: live.expected,
        started: known.started,
        updated: live.updated.unwrap_or(known.started),
    })
}

/// Reads an ingest's folder; `None` if there is no ingest in it, or not all of it.
pub(crate) fn read_status(folder: &Folder, locks: &Locks) -> io::Result<Option<Status>> {
    let absent = |e: &io::Error| is_absent(e) || e.kind() == io::ErrorKind::InvalidData;
    let reference = match folder.reference() {
        Ok(reference) => reference,
        Err(e) if absent(&e) => return Ok(None),
        Err(e) => return Err(e),
    };
    let data = match folder.file(DATA, OFlags::RDONLY).and_then(|data| data.metadata()) {
        Ok(data) => data,
        Err(e) if absent(&e) => return Ok(None),
        Err(e) => return Err(e),
    };
    let live = locks
        .holder(&reference)
        .map(|held| held.live().clone())
        .unwrap_or_default();
    let modified = data.modified()?;
    // `updatedat` is written at close only; until then the file's own time, or what the writer says, is newer.
    let updated = folder
        .updated()
        .into_iter()
        .chain(live.updated)
        .fold(modified, SystemTime::max);
    Ok(Some(Status {
        reference,
        offset: data.size(),
        total: folder.total(),
        expected: live.expected,
        started: folder.started().unwrap_or(modified),
        updated,
    }))
}
