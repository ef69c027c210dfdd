//! A ref open for writing: append, hash, commit or close.

use std::fs::{File, FileTimes};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use rustix::fs::{CWD, RenameFlags, Timespec, Timestamps, UTIME_NOW, futimens, renameat, renameat_with};
use rustix::io::Errno;
use transom_oci::{Algorithm, Digest, Hasher};

use crate::folder::Folder;
use crate::ingest::{Start, make_folder, rehash};
use crate::inner::{Inner, info_of, is_absent, seal};
use crate::layout::{DATA, UPDATED};
use crate::lock::{Hold, Phase};
use crate::memory::{Memory, Placed};
use crate::remote::FromStart;
use crate::{Error, Info, IngestOptions, Partial, Status, Step, layout, limits, timestamp};

/// An ingest that this writer alone may write.
///
/// Dropping it without [`commit`](Writer::commit) keeps the data, as [`close`](Writer::close) does, with errors only
/// logged.
pub struct Writer {
    inner: Arc<Inner>,
    /// Gone after commit or close. Declared before `hold`: the folder's lock goes first, then the ref's.
    place: Option<Place>,
    hold: Hold,
    hasher: Hasher,
    offset: u64,
    /// How far the disk has been told to begin.
    written_back: u64,
    started: SystemTime,
    updated: SystemTime,
    total: Option<u64>,
    options: IngestOptions,
}

/// Where an ingest's bytes are.
pub(crate) enum Place {
    Memory(Memory),
    Disk(Live),
}

/// The open files of an ingest.
pub(crate) struct Live {
    pub(crate) folder: Folder,
    pub(crate) data: File,
}

impl Writer {
    pub(crate) fn new(
        inner: Arc<Inner>,
        hold: Hold,
        place: Place,
        start: Start,
        options: IngestOptions,
    ) -> Writer {
        let Start {
            started,
            updated,
            total,
            hashed: (hasher, offset),
        } = start;
        Writer {
            inner,
            place: Some(place),
            hold,
            hasher,
            offset,
            written_back: offset,
            started,
            updated,
            total,
            options,
        }
    }

    /// The ref.
    #[must_use]
    pub fn reference(&self) -> &str {
        self.hold.held().reference()
    }

    /// How many bytes the ingest has, and where the next write goes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The digest of the bytes so far.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// The bytes so far, to be read beside the writing of further ones; also after the commit. None of a small ingest that is in
    /// memory: it is whole before reading along would be worth something.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Io`].
    pub fn partial(&self) -> Result<Option<Partial>, Error> {
        let Place::Disk(live) = self.place.as_ref().ok_or_else(|| self.closed())? else {
            return Ok(None);
        };
        let file = live.data.try_clone();
        let file = file.map_err(|e| Error::io("open again", &live.folder.path().join(DATA), e))?;
        Ok(Some(Partial::new(file)))
    }

    /// How far the ingest is. `total` is the one given at opening, or else the one that was written down earlier.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            reference: self.reference().to_owned(),
            offset: self.offset,
            total: self.total,
            expected: self.options.expected.clone(),
            started: self.started,
            updated: self.updated,
        }
    }

    /// Appends bytes. If it fails half-way (a full disk), what was written is counted in [`offset`](Writer::offset), and the
    /// writer can go on from there.
    ///
    /// # Errors
    /// [`Error::Aborted`], [`Error::Closed`], [`Error::NoSpace`], [`Error::Io`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let held = Arc::clone(self.hold.held());
        let _gate = held.enter()?;
        if let Some(Place::Memory(memory)) = &mut self.place
            && memory.push(bytes)
        {
            self.hasher.update(bytes);
            self.offset += bytes.len() as u64;
            self.touch();
            return Ok(());
        }
        self.settle()?;
        let Some(Place::Disk(live)) = &self.place else {
            return Err(self.closed());
        };
        let (done, result) = if bytes.len() < limits::PARALLEL_BYTES {
            let written = write_all(&live.data, bytes, self.offset);
            self.hasher.update(&bytes[..written.0]);
            written
        } else {
            write_and_hash(&live.data, bytes, self.offset, &mut self.hasher)
        };
        self.inner.steps.reached(Step::DataWritten);
        self.offset += done as u64;
        result.map_err(|e| Error::io("write", &live.folder.path().join(DATA), e))?;
        self.written_back = write_back(&live.data, self.written_back, self.offset);
        self.touch();
        Ok(())
    }

    /// Whether so many bytes more would be written to memory only, so that a thread can write them that must not wait for a disk.
    #[must_use]
    pub fn takes_at_once(&self, length: usize) -> bool {
        matches!(&self.place, Some(Place::Memory(memory)) if memory.has_room(length))
    }

    /// Appends bytes if the ingest stands at `offset`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], and those of [`write`](Writer::write).
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        if offset != self.offset {
            return Err(Error::OutOfRange {
                offset,
                current: self.offset,
            });
        }
        self.write(bytes)
    }

    /// Throws the data away and starts from 0; any other size is refused.
    ///
    /// # Errors
    /// [`Error::BadTruncate`], [`Error::Aborted`], [`Error::Closed`], [`Error::Io`].
    pub fn truncate(&mut self, size: u64) -> Result<(), Error> {
        if size != 0 {
            return Err(Error::BadTruncate { size });
        }
        let held = Arc::clone(self.hold.held());
        let _gate = held.enter()?;
        match &mut self.place {
            Some(Place::Memory(memory)) => memory.clear(),
            Some(Place::Disk(live)) => live
                .data
                .set_len(0)
                .map_err(|e| Error::io("truncate", &live.folder.path().join(DATA), e))?,
            None => return Err(self.closed()),
        }
        self.hasher = Hasher::new(self.hasher_algorithm());
        self.offset = 0;
        self.written_back = 0;
        self.touch();
        Ok(())
    }

    /// Makes the data the blob of its digest. When this returns `Ok`, the blob survives a power cut.
    ///
    /// `size` and `expected` are checked if given, here or in the [`IngestOptions`]; a check that fails keeps the
    /// data, for another commit or more writes. An `expected` of another algorithm than the running one hashes the data again.
    /// After `Ok` and [`Error::AlreadyExists`] the ingest is gone and the writer closed.
    ///
    /// # Errors
    /// [`Error::SizeMismatch`], [`Error::DigestMismatch`], [`Error::AlreadyExists`], [`Error::Aborted`],
    /// [`Error::Closed`], [`Error::NoSpace`], [`Error::Io`].
    pub fn commit(&mut self, size: Option<u64>, expected: Option<&Digest>) -> Result<Info, Error> {
        let held = Arc::clone(self.hold.held());
        let mut gate = held.enter()?;
        if let Some(Place::Memory(memory)) = &self.place
            && let Some(committed) = self.commit_memory(memory, size, expected)?
        {
            self.count(&committed);
            self.place = None;
            self.hold.end(&mut gate);
            return committed;
        }
        self.settle()?;
        let Some(Place::Disk(live)) = &self.place else {
            return Err(self.closed());
        };
        let path = live.folder.path().join(DATA);
        live.data.sync_all().map_err(|e| Error::io("sync", &path, e))?;
        self.inner.steps.reached(Step::DataSynced);
        let actual = live
            .data
            .metadata()
            .map_err(|e| Error::io("look at", &path, e))?
            .len();
        let digest = self.check(actual, |algorithm| self.rehash(live, algorithm), size, expected)?;
        let blobs = self.inner.algorithm_path(digest.algorithm());
        self.inner.durable_folder(&blobs)?;
        self.inner.steps.reached(Step::Checked);
        self.inner
            .keep(&digest, actual, &mut FromStart::new(&live.data))?;
        let placed = self.place(live, &blobs, &digest)?;
        // The name is given away: whatever fails now, this writer has no data any more.
        let finished = self.finish(live, &blobs, digest, placed);
        self.count(&finished);
        self.place = None;
        self.hold.end(&mut gate);
        finished
    }

    fn count(&self, committed: &Result<Info, Error>) {
        if let Ok(info) = committed {
            self.inner.kept(&info.digest, info.size);
        }
    }

    /// Keeps the data for a later writer of this ref, safe from a power cut, and gives the ref free.
    ///
    /// # Errors
    /// [`Error::Aborted`], [`Error::Closed`], [`Error::NoSpace`], [`Error::Io`]; the ref is free in any case.
    pub fn close(mut self) -> Result<(), Error> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Error> {
        let held = Arc::clone(self.hold.held());
        let mut gate = held.enter()?;
        self.settle()?;
        let Some(Place::Disk(live)) = self.place.take() else {
            return Err(self.closed());
        };
        let kept = self.keep(&live);
        drop(live);
        self.hold.end(&mut gate);
        kept
    }

    fn keep(&self, live: &Live) -> Result<(), Error> {
        let ingests = self.inner.ingests_path();
        let kept = || -> io::Result<()> {
            live.data.sync_all()?;
            self.inner.steps.reached(Step::CloseSynced);
            live.folder
                .put_durably(UPDATED, &timestamp::format(self.updated))?;
            live.folder.sync()?;
            layout::sync_folder(&ingests)
        };
        kept().map_err(|e| match e {
            // Another process removed the folder under us.
            e if is_absent(&e) => self.hold.held().aborted(),
            e => Error::io("close ingest", live.folder.path(), e),
        })?;
        self.inner.durable_folder(&ingests)
    }

    /// Gives an ingest that is in memory its folder. The caller holds the gate.
    fn settle(&mut self) -> Result<(), Error> {
        let Some(Place::Memory(memory)) = &self.place else {
            return Ok(());
        };
        let held = self.hold.held();
        let live = make_folder(&self.inner, held, &self.options, self.started)?;
        let (_, written) = write_all(&live.data, memory.bytes(), 0);
        // The bytes came earlier: whoever resumes takes the file's time for that of the last write.
        let times = FileTimes::new().set_modified(self.updated);
        written
            .and_then(|()| live.data.set_times(times))
            .map_err(|e| Error::io("write", &live.folder.path().join(DATA), e))?;
        held.live().memory = None;
        self.place = Some(Place::Disk(live));
        Ok(())
    }

    /// Makes what is in memory the blob; `None` if it has to go by way of its folder. The inner result is final, whatever it is.
    fn commit_memory(
        &self,
        memory: &Memory,
        size: Option<u64>,
        expected: Option<&Digest>,
    ) -> Result<Option<Result<Info, Error>>, Error> {
        let rehash = |algorithm| Ok(Digest::of(algorithm, memory.bytes()));
        let digest = self.check(self.offset, rehash, size, expected)?;
        let blobs = self.inner.algorithm_path(digest.algorithm());
        self.inner.durable_folder(&blobs)?;
        let steps = &self.inner.steps;
        self.inner.keep(&digest, self.offset, &mut memory.bytes())?;
        let placed = memory.place(steps, &blobs, &digest);
        let file = match placed.map_err(|e| Error::io("write", &blobs, e))? {
            Placed::New(file) => Some(file),
            Placed::Taken if self.inner.has(&digest, Some(self.offset))? => None,
            // What has the name is not whole.
            Placed::Taken | Placed::Unsupported => return Ok(None),
        };
        if file.is_some() {
            steps.reached(Step::Renamed);
        }
        let synced = self.inner.sync_blobs(digest.algorithm());
        steps.reached(Step::NameSynced);
        let info = |digest, file: File| match file.metadata() {
            Ok(found) => Ok(info_of(digest, &found)),
            Err(e) => Err(Error::io("look at", &blobs, e)),
        };
        Ok(Some(synced.and_then(|()| match file {
            Some(file) => info(digest, file),
            None => Err(Error::AlreadyExists { digest }),
        })))
    }

    /// Size, then digest: the one that the blob will bear.
    fn check(
        &self,
        actual: u64,
        rehash: impl FnOnce(Algorithm) -> Result<Digest, Error>,
        size: Option<u64>,
        expected: Option<&Digest>,
    ) -> Result<Digest, Error> {
        if let Some(expected) = size.or(self.options.total)
            && expected != actual
        {
            return Err(Error::SizeMismatch {
                reference: self.reference().to_owned(),
                actual,
                expected,
            });
        }
        let expected = expected.or(self.options.expected.as_ref());
        let algorithm = expected.map_or(self.hasher_algorithm(), Digest::algorithm);
        // Hashed again if the algorithm differs, or if somebody else changed the file's length.
        let digest = if algorithm == self.hasher_algorithm() && actual == self.offset {
            self.digest()
        } else {
            rehash(algorithm)?
        };
        match expected {
            Some(expected) if *expected != digest => Err(Error::DigestMismatch {
                actual: digest,
                expected: expected.clone(),
            }),
            _ => Ok(digest),
        }
    }

    fn rehash(&self, live: &Live, algorithm: Algorithm) -> Result<Digest, Error> {
        let begin = Instant::now();
        let (hasher, _) = rehash(&live.data, algorithm, &mut |_, _| {}, &|| false)
            .map_err(|e| Error::io("hash", &live.folder.path().join(DATA), e))?;
        if begin.elapsed() > limits::SLOW_REHASH {
            let (reference, took) = (self.reference(), begin.elapsed());
            tracing::warn!(reference, ?took, %algorithm, "hashed the ingest again for its commit; name the digest when opening");
        }
        Ok(hasher.finish())
    }

    /// Gives the data its name. `false` if a blob of the same digest and length has it already.
    fn place(&self, live: &Live, blobs: &Path, digest: &Digest) -> Result<bool, Error> {
        let target = blobs.join(digest.hex());
        let fail = |e: Errno| match e {
            Errno::NOENT => self.hold.held().aborted(),
            e => Error::io("rename ingest to", &target, e),
        };
        let size = live
            .data
            .metadata()
            .map_err(|e| Error::io("look at", live.folder.path(), e))?
            .len();
        match renameat_with(live.folder.fd(), DATA, CWD, &target, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(true),
            // Not every file system can do it in one step; two renames at once would bring the same bytes.
            Err(Errno::EXIST | Errno::INVAL | Errno::NOSYS) => {}
            Err(e) => return Err(fail(e)),
        }
        if self.inner.has(digest, Some(size))? {
            return Ok(false);
        }
        renameat(live.folder.fd(), DATA, CWD, &target).map_err(fail)?;
        Ok(true)
    }

    fn finish(&self, live: &Live, blobs: &Path, digest: Digest, placed: bool) -> Result<Info, Error> {
        let steps = &self.inner.steps;
        if placed {
            steps.reached(Step::Renamed);
        }
        // Also if the blob was there: whoever placed it may not have come to this point.
        let synced = self.inner.sync_blobs(digest.algorithm());
        steps.reached(Step::NameSynced);
        // What follows only tidies up: a blob without it is whole, and a sweep makes up for it.
        let mut untidy = Ok(());
        if placed {
            let now = Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_NOW,
            };
            let both = Timestamps {
                last_access: now,
                last_modification: now,
            };
            untidy = futimens(&live.data, &both).map_err(io::Error::from);
            steps.reached(Step::TimesSet);
        }
        untidy = untidy.and(live.folder.remove());
        steps.reached(Step::IngestRemoved);
        if placed {
            untidy = untidy.and(seal(&live.data));
            steps.reached(Step::Sealed);
        }
        if let Err(error) = untidy {
            tracing::warn!(%digest, %error, "committed, but could not tidy up");
        }
        synced?;
        if !placed {
            return Err(Error::AlreadyExists { digest });
        }
        let found = live.data.metadata().map_err(|e| Error::io("look at", blobs, e))?;
        Ok(info_of(digest, &found))
    }

    fn touch(&mut self) {
        self.updated = SystemTime::now();
        let mut live = self.hold.held().live();
        live.updated = Some(self.updated);
        if let Some(known) = &mut live.memory {
            known.offset = self.offset;
        }
    }

    fn hasher_algorithm(&self) -> Algorithm {
        self.hasher.algorithm()
    }

    fn closed(&self) -> Error {
        Error::Closed {
            reference: self.reference().to_owned(),
        }
    }
}

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Writer::write(self, bytes)?;
        Ok(bytes.len())
    }

    /// Nothing is buffered here, and nothing is synced before commit or close.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.place.is_none() || *self.hold.held().gate() != Phase::Open {
            return;
        }
        if let Err(error) = self.end() {
            tracing::warn!(reference = self.reference(), %error, "could not close the ingest");
        }
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let open = self.place.is_some();
        f.debug_struct("Writer")
            .field("status", &self.status())
            .field("open", &open)
            .finish_non_exhaustive()
    }
}

/// Lets the disk begin with what has been written, once that is much: the flush of a commit then has little left to wait for.
/// Gives how far it has begun. Nothing depends on it.
fn write_back(data: &File, from: u64, to: u64) -> u64 {
    if to.saturating_sub(from) < limits::WRITE_BACK_BYTES {
        return from;
    }
    drop(transom_sys::write_back(data, from, to - from));
    to
}

/// Both at once, each on a core.
fn write_and_hash(file: &File, bytes: &[u8], offset: u64, hasher: &mut Hasher) -> (usize, io::Result<()>) {
    let before = hasher.clone();
    let written = rayon::in_place_scope(|scope| {
        scope.spawn(|_| hasher.update(bytes));
        write_all(file, bytes, offset)
    });
    if written.0 < bytes.len() {
        *hasher = before;
        hasher.update(&bytes[..written.0]);
    }
    written
}

/// Writes all, and says how much was written if not.
pub(crate) fn write_all(file: &File, bytes: &[u8], offset: u64) -> (usize, io::Result<()>) {
    let mut done = 0;
    while done < bytes.len() {
        match file.write_at(&bytes[done..], offset + done as u64) {
            Ok(0) => return (done, Err(io::ErrorKind::WriteZero.into())),
            Ok(written) => done += written,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return (done, Err(e)),
        }
    }
    (done, Ok(()))
}
