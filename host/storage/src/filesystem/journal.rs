//! The journal: small changes are on the disk when they are in it, and bring their files there later.
//!
//! A small blob and its link are two new files in new folders: bytes and then names, two waits for the disk, each with a commit of
//! the file system's own journal. Here they are one record in a file whose blocks are there already, and one `fdatasync(2)`, which
//! those who come together share. Then the files get their names, and the caller its answer. When a power cut takes the files, the
//! next start makes them again.
//!
//! What makes that safe:
//!
//! - A record is on the disk before anybody sees what it says.
//! - A trip to the disk ([`flush`](super::flush)) *retires* the records whose files had their names before it began, and whoever
//!   waits for it waits for that. So nothing that was acknowledged after them, say a deletion, is undone by them.
//! - A change that fails is retired before its error is told: it waits for the records before its own.
//! - Other processes that change the same folder make trips of their own, which retire nothing here: so records are written only
//!   while this is the only process ([`company`]), and whoever comes waits until all are retired.
//! - Records are in use for [`JOURNAL_BURST`] at most; then the file is begun anew.
//!
//! Read [`format`] for the file, then this for its life, then [`company`] for other processes and the next start.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use rustix::fs;

use super::steps::{Step, Steps};
use crate::Put;
use crate::limits::{JOURNAL_BURST, JOURNAL_BYTES, JOURNAL_COMPANY, JOURNAL_PAUSE, JOURNAL_RECORD_BYTES};

mod company;
mod format;
#[cfg(test)]
mod tests;

pub(super) use company::{Company, NAMES};
use format::{Header, RECORDS};

/// The journal of one driver. Dropping it retires everything and removes the file.
#[derive(Debug)]
pub(super) struct Journal {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    company: Company,
    /// The one whose lock the company sees.
    file: File,
    steps: Steps,
    state: Mutex<State>,
    /// Something was written: for those who wait for that.
    written: Condvar,
    /// There is something to do for the thread.
    due: Condvar,
    /// Records that others wait for are closed.
    closed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    /// The driver is being closed.
    stopped: bool,
    /// Something that records say did not come to the disk: the next start is to make it good, and nothing may be retired.
    spoiled: bool,
    /// Others were seen in the folder: nobody looks again before this.
    in_company: Option<Instant>,
    header: Header,
    /// Where the next record goes, from the first one on.
    end: u64,
    /// The number of the last record.
    last: u64,
    /// Records whose files do not have their names yet.
    open: BTreeSet<u64>,
    /// Those that wait until records are closed, as their changes have failed.
    failing: usize,
    /// Records that nobody has begun to write, as they will be in the file.
    waiting: Vec<u8>,
    /// Somebody writes.
    writing: bool,
    /// Records up to this one are on the disk.
    synced: u64,
}

/// What the journal is good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// There is no file to write to yet.
    #[default]
    Unmade,
    /// Somebody has asked for it.
    Asked,
    /// Nothing is in it.
    Empty,
    /// Records come.
    Burst,
    /// No more come until all are retired.
    Ending,
    /// Nothing more comes: it is not wanted, or the disk did not take something.
    Off,
}

/// A record that is on the disk. Its files are to get their names now.
#[derive(Debug)]
pub(super) struct Record<'j> {
    shared: &'j Shared,
    number: u64,
    placed: bool,
}

impl Journal {
    /// A journal that fills its file when it is first wanted; if it is not to be `used`, it is there for others to see.
    pub(super) fn new(company: Company, file: File, steps: Steps, used: bool) -> Journal {
        let phase = if used { Phase::Unmade } else { Phase::Off };
        Journal {
            shared: Arc::new(Shared {
                company,
                file,
                steps,
                state: Mutex::new(State {
                    phase,
                    ..State::default()
                }),
                written: Condvar::new(),
                due: Condvar::new(),
                closed: Condvar::new(),
            }),
            thread: Mutex::new(None),
        }
    }

    /// Whether a change is small enough for a record, and records are written at all.
    pub(super) fn takes(&self, puts: &[Put]) -> bool {
        format::length(puts) <= JOURNAL_RECORD_BYTES && self.shared.lock().phase != Phase::Off
    }

    /// Writes a change down, and returns when that is on the disk; `None` if it cannot be now, and is to be done without.
    pub(super) fn write(&self, puts: &[Put]) -> Option<Record<'_>> {
        let length = format::length(puts);
        let mut state = self.shared.lock();
        self.begin(&mut state, Instant::now());
        if state.phase != Phase::Burst || state.end + length > JOURNAL_BYTES {
            return None;
        }
        state.end += length;
        state.last += 1;
        let number = state.last;
        state.open.insert(number);
        let generation = state.header.generation;
        format::encode(&mut state.waiting, generation, number, puts);
        let record = Record {
            shared: &self.shared,
            number,
            placed: false,
        };
        match self.shared.sync(state, number) {
            true => Some(record),
            // Whether it is on the disk, nobody knows. The change is now made without, and may fail: the record must not stay.
            false => {
                drop(record);
                None
            }
        }
    }

    /// Begins a burst if there is none.
    fn begin(&self, state: &mut State, now: Instant) {
        match state.phase {
            Phase::Unmade => {
                let shared = Arc::clone(&self.shared);
                let thread = std::thread::Builder::new().name("storage-journal".to_owned());
                match thread.spawn(move || shared.work()) {
                    Ok(thread) => {
                        state.phase = Phase::Asked;
                        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
                    }
                    Err(error) => tracing::debug!(%error, "no thread for the journal"),
                }
            }
            Phase::Empty if state.in_company.is_none_or(|until| until <= now) => {
                if self.shared.company.shut() {
                    (state.phase, state.in_company) = (Phase::Burst, None);
                    self.shared.due.notify_one();
                } else {
                    state.in_company = Some(now + JOURNAL_COMPANY);
                }
            }
            _ => {}
        }
    }

    /// The last record that a trip which begins now retires.
    pub(super) fn mark(&self) -> u64 {
        self.shared.lock().mark()
    }

    /// Records up to this one need not be made good any more. Returns when that is on the disk.
    pub(super) fn retire(&self, mark: u64) -> io::Result<()> {
        self.shared.retire(mark)
    }

    /// A trip failed, and with it perhaps what records say.
    pub(super) fn spoil(&self) {
        self.shared.lock().spoil();
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.due.notify_one();
        let thread = self
            .thread
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if thread.is_none_or(|thread| thread.join().is_ok()) && !self.shared.lock().counts() {
            self.shared.company.leave();
        }
    }
}

impl Record<'_> {
    /// Its files have their names.
    pub(super) fn placed(mut self) {
        self.placed = true;
        drop(self.shared.close(self.number));
    }
}

impl Drop for Record<'_> {
    /// The change was not made: the next start must not make it either, once its error is told.
    fn drop(&mut self) {
        if self.placed {
            return;
        }
        if let Err(error) = self.shared.fail(self.number) {
            tracing::error!(%error, "cannot take a change that failed out of the journal: a power cut now would make it good");
        }
    }
}

impl State {
    fn mark(&self) -> u64 {
        self.open.first().map_or(self.last, |first| first - 1)
    }

    /// Time to begin anew.
    fn is_half_full(&self) -> bool {
        self.end >= JOURNAL_BYTES / 2
    }

    /// Whether the next start would make something good.
    fn counts(&self) -> bool {
        self.header.retired < self.last
    }

    fn spoil(&mut self) {
        if self.counts() && !self.spoiled {
            tracing::error!(
                "the disk did not take what was acknowledged; it is in the journal, for the next start to make good"
            );
            (self.spoiled, self.phase) = (true, Phase::Off);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a record is on the disk. Whoever finds nobody writing writes for all that wait; says whether it succeeded.
    fn sync<'s>(&'s self, mut state: MutexGuard<'s, State>, number: u64) -> bool {
        loop {
            if state.synced >= number {
                return true;
            }
            if state.phase == Phase::Off {
                return false;
            }
            if state.writing {
                state = self.written.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.writing = true;
            let bytes = std::mem::take(&mut state.waiting);
            let (at, last) = (RECORDS + state.end - bytes.len() as u64, state.last);
            drop(state);
            let written = self.file.write_all_at(&bytes, at);
            self.steps.reached(Step::JournalWritten);
            let synced = written.and_then(|()| self.file.sync_data());
            state = self.lock();
            state.writing = false;
            match synced {
                Ok(()) => state.synced = last,
                Err(error) => {
                    tracing::error!(%error, "cannot write the journal; changes are made without from now on");
                    state.phase = Phase::Off;
                }
            }
            self.written.notify_all();
            if state.phase != Phase::Burst || state.is_half_full() {
                self.due.notify_one();
            }
            if state.synced >= number {
                drop(state);
                self.steps.reached(Step::JournalSynced);
                return true;
            }
        }
    }

    fn close(&self, number: u64) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        state.open.remove(&number);
        if state.phase == Phase::Ending && state.open.is_empty() {
            self.due.notify_one();
        }
        if state.failing > 0 {
            self.closed.notify_all();
        }
        state
    }

    /// Retires a record whose change was not made. A header has one number for all, so it waits until those before it are closed:
    /// for calls that are under way and wait for nobody but others before them.
    fn fail(&self, number: u64) -> io::Result<()> {
        let mut state = self.close(number);
        state.failing += 1;
        let mut state = self
            .closed
            .wait_while(state, |state| state.mark() < number)
            .unwrap_or_else(PoisonError::into_inner);
        state.failing -= 1;
        if state.header.retired >= number {
            return Ok(());
        }
        let mark = state.mark();
        drop(state);
        self.settle(mark)
    }

    fn retire(&self, mark: u64) -> io::Result<()> {
        let mut state = self.lock();
        if mark <= state.header.retired {
            return Ok(());
        }
        if state.spoiled {
            let reason = "the disk did not take what is in the journal: start again, for it to be made good";
            return Err(io::Error::other(reason));
        }
        let header = Header {
            turn: state.header.turn + 1,
            retired: mark,
            ..state.header.clone()
        };
        // Under the lock: headers must not overtake each other.
        header.write(&self.file)?;
        state.header = header;
        Ok(())
    }

    /// Brings to the disk what records up to this one say, and retires them.
    fn settle(&self, mark: u64) -> io::Result<()> {
        if let Err(errno) = fs::syncfs(&self.file) {
            self.lock().spoil();
            return Err(errno.into());
        }
        self.retire(mark)
    }

    /// The thread: makes the file, and ends bursts.
    fn work(&self) {
        match self.make() {
            Ok(header) => {
                let mut state = self.lock();
                (state.header, state.phase) = (header, Phase::Empty);
            }
            Err(error) => {
                tracing::debug!(%error, "no journal: every change waits for its files");
                self.lock().phase = Phase::Off;
                return;
            }
        }
        let mut state = self.lock();
        loop {
            let idle = |state: &mut State| !state.stopped && matches!(state.phase, Phase::Empty);
            state = self
                .due
                .wait_while(state, idle)
                .unwrap_or_else(PoisonError::into_inner);
            let lasts =
                |state: &mut State| state.phase == Phase::Burst && !state.stopped && !state.is_half_full();
            let waited = self.due.wait_timeout_while(state, JOURNAL_BURST, lasts);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.phase == Phase::Burst {
                state.phase = Phase::Ending;
            }
            if state.phase != Phase::Empty {
                state = self.end(state);
            }
            if state.stopped || state.phase == Phase::Off {
                return;
            }
        }
    }

    /// The file, all of whose blocks are written, so that a record changes nothing but bytes.
    fn make(&self) -> io::Result<Header> {
        let zeros = vec![0; 1 << 20];
        for at in (0..RECORDS + JOURNAL_BYTES).step_by(zeros.len()) {
            self.file.write_all_at(&zeros, at)?;
        }
        self.file.sync_all()?;
        let header = Header {
            turn: 1,
            generation: 1,
            first: 1,
            retired: 0,
            place: company::place(&self.file),
        };
        header.write(&self.file)?;
        // Its name is on the disk with its first trip, and before its first record.
        fs::syncfs(&self.file)?;
        Ok(header)
    }

    /// Retires everything and begins the file anew. If that fails, nobody is let in: its records would undo what others do.
    fn end<'s>(&'s self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        let busy = |state: &mut State| state.writing || !state.open.is_empty();
        let state = self
            .due
            .wait_while(state, busy)
            .unwrap_or_else(PoisonError::into_inner);
        drop(state);
        let synced = fs::syncfs(&self.file);
        let mut state = self.lock();
        if synced.is_err() {
            state.spoil();
        }
        if state.spoiled {
            return state;
        }
        let header = Header {
            turn: state.header.turn + 1,
            generation: state.header.generation + 1,
            first: state.last + 1,
            retired: state.last,
            place: state.header.place.clone(),
        };
        if let Err(error) = header.write(&self.file) {
            tracing::error!(%error, "cannot begin the journal anew; changes are made without from now on");
            state.phase = Phase::Off;
            return state;
        }
        (state.header, state.end) = (header, 0);
        self.company.open();
        if state.phase == Phase::Off {
            return state;
        }
        // Whoever waits at the door goes first.
        let paused = self
            .due
            .wait_timeout_while(state, JOURNAL_PAUSE, |state| !state.stopped);
        let mut state = paused.unwrap_or_else(PoisonError::into_inner).0;
        state.phase = Phase::Empty;
        state
    }
}
