//! Trips to the disk, each for all who wait.
//!
//! Whoever wrote something notes it here and waits for the next trip; while one is under way, those who come gather for the next.
//! A trip brings all that was noted before it began, so that whoever comes back also relies on what others had changed by then.
//! With [`FlushBy::Filesystem`] it is one `syncfs(2)`; otherwise files are synced by those who wrote them, and a trip syncs
//! folders.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs;
use rustix::io::Errno;
use tokio::sync::SetOnce;

use super::options::FlushBy;
use super::root::Root;
use super::{NAME, Step};
use crate::{Error, StoragePath};

/// The trips of one driver.
#[derive(Debug, Default)]
pub(super) struct Flusher {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// A thread is at work.
    working: bool,
    /// The trip that has not begun.
    next: Trip,
    /// Somebody waits for it.
    wanted: bool,
    /// What becomes of the trip that is under way.
    running: Option<Arc<Outcome>>,
}

#[derive(Debug, Default)]
struct Trip {
    /// Everything of the file system is to be brought to the disk.
    whole: bool,
    /// Names are among it.
    names: bool,
    /// Folders that are to be synced by themselves.
    folders: BTreeSet<StoragePath>,
    outcome: Arc<Outcome>,
}

/// What became of a trip. An error is everybody's: the system tells it once, and a second sync would know nothing of it.
type Outcome = SetOnce<Result<(), Failure>>;

/// The trip that brings a change to the disk.
#[derive(Debug)]
pub(super) struct Ticket(Arc<Outcome>);

/// An error that can be given to many.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) doing: &'static str,
    pub(super) path: StoragePath,
    /// What the system said; nothing if the trip did not end.
    pub(super) errno: Option<Errno>,
}

impl Flusher {
    /// Notes bytes of a file.
    fn written(&self) -> Ticket {
        let mut state = self.lock();
        state.next.whole = true;
        Ticket(Arc::clone(&state.next.outcome))
    }

    /// Notes names: in a folder that is to be synced by itself, or somewhere.
    fn named(&self, folder: Option<StoragePath>) -> Ticket {
        let mut state = self.lock();
        let next = &mut state.next;
        next.names = true;
        next.whole |= folder.is_none();
        next.folders.extend(folder);
        Ticket(Arc::clone(&next.outcome))
    }

    /// The trips that all which was noted by now is on, and whether a thread is to be started for them.
    fn board(&self) -> (Vec<Arc<Outcome>>, bool) {
        let mut state = self.lock();
        let mut trips: Vec<_> = state.running.iter().cloned().collect();
        if !state.next.is_empty() {
            state.wanted = true;
            trips.push(Arc::clone(&state.next.outcome));
        }
        let start = state.wanted && !state.working;
        state.working |= start;
        (trips, start)
    }

    /// The next trip, if anybody wants it.
    fn depart(&self) -> Option<Trip> {
        let mut state = self.lock();
        state.working = std::mem::take(&mut state.wanted);
        let trip = state.working.then(|| std::mem::take(&mut state.next));
        state.running = trip.as_ref().map(|trip| Arc::clone(&trip.outcome));
        trip
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trip {
    fn is_empty(&self) -> bool {
        !self.whole && self.folders.is_empty()
    }
}

impl Root {
    /// Notes that names were changed in `folder`, the one that `path` is in.
    pub(super) fn changed(&self, path: &StoragePath, folder: &OwnedFd) -> Ticket {
        let alone = !self.is_whole(fs::fstat(folder));
        self.flusher
            .named(alone.then(|| path.parent().unwrap_or_else(StoragePath::root)))
    }

    /// Sees that a file is on the disk, after [`written`].
    pub(super) fn sync_file(&self, file: &File) -> std::io::Result<()> {
        match self.is_whole(fs::fstat(file)) {
            // The trip does not tell whose an error was.
            true => transom_sys::check_written(file),
            false => file.sync_all(),
        }
    }

    /// Whether a trip brings to the disk what is on the file system of a file or folder.
    pub(super) fn is_whole(&self, stat: rustix::io::Result<fs::Stat>) -> bool {
        self.flush == FlushBy::Filesystem && stat.is_ok_and(|stat| stat.st_dev == self.device)
    }

    /// Brings everything to the disk, and retires what the journal says of it.
    fn sync_filesystem(&self) -> Result<(), Failure> {
        let failed = |doing, errno| Failure {
            doing,
            path: StoragePath::root(),
            errno,
        };
        let journal = self.journal.as_ref().map(|journal| (journal, journal.mark()));
        fs::syncfs(&self.fd).map_err(|errno| {
            if let Some((journal, _)) = journal {
                journal.spoil();
            }
            failed("sync the file system of", Some(errno))
        })?;
        let retired = journal.map_or(Ok(()), |(journal, mark)| journal.retire(mark));
        retired.map_err(|error| {
            tracing::error!(%error, "cannot retire what is in the journal");
            failed("write the journal of", Errno::from_io_error(&error))
        })
    }

    fn travel(&self, trip: Trip) -> Result<(), Failure> {
        if trip.whole {
            self.sync_filesystem()?;
            self.steps.reached(Step::FilesystemSynced);
        }
        if !trip.folders.is_empty() {
            self.sync_folders(trip.folders)?;
        }
        if trip.names {
            self.steps.reached(Step::FolderSynced);
        }
        Ok(())
    }
}

/// Returns when what was written to files is on the disk, if that is not up to each file.
pub(super) async fn written(root: &Arc<Root>) -> Result<(), Error> {
    match root.flush {
        FlushBy::Filesystem => flush(Arc::clone(root), vec![root.flusher.written()]).await,
        FlushBy::Folders => Ok(()),
    }
}

/// Returns when the changes of the tickets, and all that was noted until now, are on the disk.
pub(super) async fn flush(root: Arc<Root>, tickets: Vec<Ticket>) -> Result<(), Error> {
    match tickets.is_empty() {
        true => Ok(()),
        false => flush_with(root, tickets).await,
    }
}

/// Returns when all that others had changed until now is on the disk.
pub(super) async fn others(root: &Arc<Root>) -> Result<(), Error> {
    flush_with(Arc::clone(root), Vec::new()).await
}

async fn flush_with(root: Arc<Root>, tickets: Vec<Ticket>) -> Result<(), Error> {
    let (mut trips, start) = root.flusher.board();
    if start {
        let worker = Worker {
            root,
            finished: false,
        };
        tokio::task::spawn_blocking(move || worker.work());
    }
    trips.extend(tickets.into_iter().map(|ticket| ticket.0));
    for trip in trips {
        trip.wait().await.clone().map_err(Error::from)?;
    }
    Ok(())
}

/// The thread that makes trips as long as somebody waits for one.
struct Worker {
    root: Arc<Root>,
    finished: bool,
}

impl Worker {
    fn work(mut self) {
        while let Some(trip) = self.root.flusher.depart() {
            let outcome = Arc::clone(&trip.outcome);
            let result = self.root.travel(trip);
            // Nobody else sets it: the trip was taken out of the state.
            let _ = outcome.set(result);
        }
        self.finished = true;
    }
}

impl Drop for Worker {
    /// Whoever waits must not do so for ever if a trip panics, or the program ends before it begins.
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let mut state = self.root.flusher.lock();
        let next = std::mem::take(&mut state.next);
        for outcome in state.running.take().into_iter().chain([next.outcome]) {
            let _ = outcome.set(Err(Failure {
                doing: "sync",
                path: StoragePath::root(),
                errno: None,
            }));
        }
        (state.working, state.wanted) = (false, false);
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        let source = match failure.errno {
            Some(errno) => errno.into(),
            None => std::io::Error::other("the sync did not end"),
        };
        Error::io(NAME.into(), failure.doing, &failure.path, source)
    }
}
