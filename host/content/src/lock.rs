//! One writer per ref: within a store by a table, between stores and processes by a lock on the ingest folder.
//!
//! Two locks are ever held together, always in this order: a ref's gate, then the table.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use transom_oci::Digest;

use crate::Error;
use crate::memory::Known;

/// The refs that this store has open.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    table: Mutex<HashMap<String, Arc<Held>>>,
}

/// An open ref.
#[derive(Debug)]
pub(crate) struct Held {
    reference: String,
    since: SystemTime,
    /// Whoever changes the ingest's folder holds this: a write, a commit, a close or an abort, one after another.
    gate: Mutex<Phase>,
    /// What only the writer knows. A mutex of its own: a listing must not wait for a commit's fsync.
    live: Mutex<Live>,
}

/// Who may still use an open ref.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its writer.
    Open,
    /// Nobody: somebody else removed the data.
    Aborted,
    /// Nobody: the writer ended by commit or close.
    Done,
}

/// What a writer knows of an ingest that is not on the disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Live {
    pub(crate) updated: Option<SystemTime>,
    /// Of an ingest that has no folder yet.
    pub(crate) memory: Option<Known>,
    pub(crate) expected: Option<Digest>,
}

impl Locks {
    /// Takes the ref for a new writer.
    pub(crate) fn take(self: &Arc<Locks>, reference: &str) -> Result<Hold, Error> {
        let mut table = lock(&self.table);
        if let Some(other) = table.get(reference) {
            return Err(Error::Locked {
                reference: reference.to_owned(),
                since: Some(other.since),
            });
        }
        let held = Arc::new(Held {
            reference: reference.to_owned(),
            since: SystemTime::now(),
            gate: Mutex::new(Phase::Open),
            live: Mutex::default(),
        });
        table.insert(reference.to_owned(), Arc::clone(&held));
        Ok(Hold {
            locks: Arc::clone(self),
            held,
        })
    }

    /// The writer that has the ref open now.
    pub(crate) fn holder(&self, reference: &str) -> Option<Arc<Held>> {
        lock(&self.table).get(reference).cloned()
    }

    /// All writers that have a ref open now.
    pub(crate) fn holders(&self) -> Vec<Arc<Held>> {
        lock(&self.table).values().cloned().collect()
    }

    /// Takes the ref out of the table, unless a later writer has it by now.
    pub(crate) fn leave(&self, held: &Arc<Held>) {
        let mut table = lock(&self.table);
        if table
            .get(&held.reference)
            .is_some_and(|current| Arc::ptr_eq(current, held))
        {
            table.remove(&held.reference);
        }
    }
}

impl Held {
    /// Waits until nobody else works on the ingest.
    pub(crate) fn gate(&self) -> MutexGuard<'_, Phase> {
        lock(&self.gate)
    }

    /// As [`gate`](Held::gate), for the writer: an error if it may not go on.
    pub(crate) fn enter(&self) -> Result<MutexGuard<'_, Phase>, Error> {
        let gate = self.gate();
        match *gate {
            Phase::Open => Ok(gate),
            Phase::Aborted => Err(self.aborted()),
            Phase::Done => Err(Error::Closed {
                reference: self.reference.clone(),
            }),
        }
    }

    pub(crate) fn aborted(&self) -> Error {
        Error::Aborted {
            reference: self.reference.clone(),
        }
    }

    pub(crate) fn live(&self) -> MutexGuard<'_, Live> {
        lock(&self.live)
    }

    pub(crate) fn reference(&self) -> &str {
        &self.reference
    }
}

/// A ref taken; given back when dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    locks: Arc<Locks>,
    held: Arc<Held>,
}

impl Hold {
    pub(crate) fn held(&self) -> &Arc<Held> {
        &self.held
    }

    /// Ends the writer. The caller holds the gate, and has let go of the folder.
    pub(crate) fn end(&self, gate: &mut Phase) {
        *gate = Phase::Done;
        self.locks.leave(&self.held);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut gate = self.held.gate();
        if *gate == Phase::Open {
            *gate = Phase::Done;
        }
        self.locks.leave(&self.held);
    }
}

/// What these mutexes guard stays consistent when a thread panics, so a poisoned one is used on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
