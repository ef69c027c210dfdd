//! Opening a ref for writing: a new folder, or one that an earlier writer left.

use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustix::fs::OFlags;
use transom_oci::{Algorithm, Digest, Hasher};

use crate::folder::Folder;
use crate::inner::{Inner, is_absent};
use crate::layout::{DATA, REF, STARTED, UPDATED};
use crate::lock::{Held, Phase};
use crate::memory::{Known, Memory};
use crate::writer::{Live, Place};
use crate::{Error, Step, Writer, layout, limits, timestamp};

/// What a writer knows of its blob beforehand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IngestOptions {
    /// How many bytes the blob will have; `None` if unknown. Written down beside the data. If the ref was left with another
    /// total, it starts from 0. A commit that names no size checks this one.
    pub total: Option<u64>,
    /// The digest that the blob will have; chooses the algorithm (sha256 if unknown). A commit that names no digest checks
    /// this one.
    pub expected: Option<Digest>,
}

/// The times and the length that a writer starts with.
pub(crate) struct Start {
    pub(crate) started: SystemTime,
    pub(crate) updated: SystemTime,
    pub(crate) total: Option<u64>,
    pub(crate) hashed: (Hasher, u64),
}

impl Start {
    /// Of an ingest that begins now.
    fn new(options: &IngestOptions) -> Start {
        let now = SystemTime::now();
        Start {
            started: now,
            updated: now,
            total: options.total,
            hashed: (Hasher::new(algorithm(options)), 0),
        }
    }
}

pub(crate) fn open(
    inner: &Arc<Inner>,
    reference: &str,
    options: IngestOptions,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Writer, Error> {
    if reference.is_empty() || reference.len() > limits::REF_BYTES {
        return Err(Error::BadRef {
            length: reference.len(),
        });
    }
    let hold = inner.locks.take(reference)?;
    if let Some(expected) = &options.expected
        && inner.has(expected, options.total)?
    {
        return Err(Error::AlreadyExists {
            digest: expected.clone(),
        });
    }
    let (place, start) = if Memory::suits(inner, reference, &options) {
        (Place::Memory(Memory::default()), Start::new(&options))
    } else {
        let folder = lock_folder(inner, reference)?;
        inner.steps.reached(Step::FolderMade);
        let opening = Opening {
            folder: &folder,
            held: hold.held(),
            options: &options,
            inner,
        };
        let (data, start) = opening.run(progress).map_err(|e| opening.explain(e))?;
        (Place::Disk(Live { folder, data }), start)
    };
    {
        // From here on an abort finds the writer; one that came before is noticed now.
        let _gate = hold.held().enter()?;
        let mut live = hold.held().live();
        live.updated = Some(start.updated);
        live.expected.clone_from(&options.expected);
        live.memory = matches!(place, Place::Memory(_)).then_some(Known {
            offset: 0,
            total: start.total,
            started: start.started,
        });
    }
    Ok(Writer::new(Arc::clone(inner), hold, place, start, options))
}

/// Gives an ingest that was in memory its folder, with what a new one has in it. Whoever left something under its name had no
/// part in this ingest: the folder was not there when it began.
pub(crate) fn make_folder(
    inner: &Arc<Inner>,
    held: &Arc<Held>,
    options: &IngestOptions,
    begun: SystemTime,
) -> Result<Live, Error> {
    let folder = lock_folder(inner, held.reference())?;
    inner.steps.reached(Step::FolderMade);
    let opening = Opening {
        folder: &folder,
        held,
        options,
        inner,
    };
    let (data, _) = opening.start_over(Some(begun))?;
    Ok(Live { folder, data })
}

/// Finds or makes the ref's folder, and locks it against other processes.
fn lock_folder(inner: &Inner, reference: &str) -> Result<Folder, Error> {
    let path = inner.ingest_path(reference);
    let fail = |e: io::Error| Error::io("open ingest", &path, e);
    let mut tries = 0;
    loop {
        make_ingest_folder(&inner.ingests_path(), &path).map_err(fail)?;
        // Between two of these calls the folder may be removed and made again by somebody else; then start over.
        let folder = match Folder::open(&path) {
            Ok(folder) => folder,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(fail(e)),
        };
        inner.steps.reached(Step::FolderOpened);
        let locked = folder.try_lock().map_err(fail)?;
        if !folder.is_current().map_err(fail)? {
            continue;
        }
        if locked {
            return Ok(folder);
        }
        tries += 1;
        if tries == limits::LOCK_TRIES {
            return Err(Error::Locked {
                reference: reference.to_owned(),
                since: None,
            });
        }
        std::thread::sleep(limits::LOCK_PAUSE);
    }
}

fn make_ingest_folder(parent: &Path, path: &Path) -> io::Result<()> {
    let make = || std::fs::DirBuilder::new().mode(0o755).create(path);
    let made = match make() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            layout::make_folder(parent)?;
            make()
        }
        other => other,
    };
    match made {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// A ref's folder on its way to a writer.
struct Opening<'a> {
    folder: &'a Folder,
    held: &'a Arc<Held>,
    options: &'a IngestOptions,
    inner: &'a Inner,
}

impl Opening<'_> {
    fn run(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<(File, Start), Error> {
        if self.resumable() {
            self.resume(progress)
        } else {
            self.start_over(None)
        }
    }

    /// Whether what is in the folder is this ref's, and of this total if both are known.
    fn resumable(&self) -> bool {
        let mine = self
            .folder
            .reference()
            .is_ok_and(|reference| reference == self.held.reference());
        let given = self.options.total.filter(|&total| total > 0);
        mine && given
            .zip(self.folder.total())
            .is_none_or(|(given, stored)| given == stored)
    }

    /// Makes all files anew, the ref last: a folder with a ref has everything else too. Nothing is synced here, because a
    /// power cut can only take what is worth nothing yet; a close does it.
    fn start_over(&self, begun: Option<SystemTime>) -> Result<(File, Start), Error> {
        self.io("remove", self.folder.unlink(REF))?;
        let data = self.io("make data", self.folder.file(DATA, data_flags() | OFlags::TRUNC))?;
        // After the data file, so that its modification time is not later.
        let start = Start::new(self.options);
        let text = timestamp::format(begun.unwrap_or(start.started));
        // Nobody reads them before there is a ref.
        self.io("write", self.folder.write(STARTED, &text))?;
        self.io("write", self.folder.write(UPDATED, &text))?;
        self.io("write", self.folder.put_total(self.options.total))?;
        self.io("write", self.folder.put(REF, self.held.reference()))?;
        self.inner.steps.reached(Step::IngestReady);
        Ok((data, start))
    }

    /// Takes up what is there. The offset is what the file really has and this process really hashed, whatever was
    /// written down before.
    fn resume(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<(File, Start), Error> {
        let data = self.io("open data", self.folder.file(DATA, data_flags()))?;
        let modified = self.io("open data", data.metadata().and_then(|found| found.modified()))?;
        // Times that a power cut took are replaced: the data beside them is still good.
        let updated = self
            .folder
            .updated()
            .map_or(modified, |updated| updated.max(modified));
        let started = match self.folder.started() {
            Some(started) => started,
            None => {
                self.io("write", self.folder.put(STARTED, &timestamp::format(updated)))?;
                updated
            }
        };
        let mut total = self.folder.total();
        if self.options.total.is_some() && self.options.total != total {
            total = self.options.total;
            self.io("write", self.folder.put_total(total))?;
        }
        let stopped = || *self.held.gate() != Phase::Open;
        let hashed = self.io("hash", rehash(&data, algorithm(self.options), progress, &stopped))?;
        Ok((
            data,
            Start {
                started,
                updated,
                total,
                hashed,
            },
        ))
    }

    fn io<T>(&self, doing: &'static str, result: io::Result<T>) -> Result<T, Error> {
        result.map_err(|e| Error::io(doing, self.folder.path(), e))
    }

    /// An error that an abort caused says so.
    fn explain(&self, error: Error) -> Error {
        let gone = matches!(&error, Error::Io { source, .. } if is_absent(source));
        if gone || *self.held.gate() == Phase::Aborted {
            self.held.aborted()
        } else {
            error
        }
    }
}

fn data_flags() -> OFlags {
    OFlags::RDWR | OFlags::CREATE
}

fn algorithm(options: &IngestOptions) -> Algorithm {
    options
        .expected
        .as_ref()
        .map_or(Algorithm::Sha256, Digest::algorithm)
}

/// Hashes a file from its start; returns how many bytes that were.
pub(crate) fn rehash(
    file: &File,
    algorithm: Algorithm,
    progress: &mut dyn FnMut(u64, u64),
    stopped: &dyn Fn() -> bool,
) -> io::Result<(Hasher, u64)> {
    let (mut hasher, mut at) = (Hasher::new(algorithm), 0);
    let all = file.metadata()?.len();
    if all == 0 {
        return Ok((hasher, 0));
    }
    let chunk = usize::try_from(all)
        .unwrap_or(limits::REHASH_CHUNK)
        .min(limits::REHASH_CHUNK);
    let mut buffer = vec![0; chunk];
    loop {
        if stopped() {
            return Err(io::Error::other("aborted"));
        }
        let read = match file.read_at(&mut buffer, at) {
            Ok(0) => return Ok((hasher, at)),
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        hasher.update(&buffer[..read]);
        at += read as u64;
        progress(at, all.max(at));
    }
}
