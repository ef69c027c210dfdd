//! Instances that are made before their job comes.
//!
//! To make one and to drop it costs a small layer more than what the plugin does with it: system calls that every thread of the
//! process pays for. After a short job both are done on another thread, as others like it may follow; when none do for a while, the
//! spare instances are dropped. A job still has an instance of its own, that no other job has seen.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use transom_layer::cancel::Cancel;
use transom_layer::workers::Workers;
use wasmtime::Store;

use crate::limits::{Limits, SPARE_AFTER, SPARES_MAX};
use crate::log::Log;
use crate::plugin::Shared;
use crate::state::State;
use crate::wit::v0_1::{Instance, Ready};

/// An instance, and the store that it lives in.
pub(crate) struct Prepared {
    ready: Arc<Ready>,
    pub(crate) store: Store<State>,
    pub(crate) instance: Instance,
}

/// Why there is no instance, and the state that it was to have.
type Failed = (wasmtime::Error, Box<State>);

/// What is kept for the next jobs.
#[derive(Default)]
pub(crate) struct Spares {
    kept: Mutex<Vec<Prepared>>,
    workers: Workers,
}

impl Spares {
    fn take(&self, ready: &Arc<Ready>, state: &State) -> Option<Prepared> {
        let mut kept = self.lock();
        let fits = |spare: &Prepared| Arc::ptr_eq(&spare.ready, ready) && spare.store.data().fits(state);
        let found = kept.iter().position(fits)?;
        Some(kept.swap_remove(found))
    }

    /// Keeps one, unless there are enough.
    fn keep(&self, made: Prepared) {
        let mut kept = self.lock();
        let same = kept.iter().filter(|spare| Arc::ptr_eq(&spare.ready, &made.ready));
        if same.count() < SPARES_MAX {
            kept.push(made);
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Drops them all: nobody has come for a while.
    pub(crate) fn clear(&self) {
        let dropped = std::mem::take(&mut *self.lock());
        drop(dropped);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Prepared>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// An instance for a job: a spare one that fits, or a new one.
    pub(crate) fn prepared(&self, ready: &Arc<Ready>, state: State) -> Result<Prepared, Failed> {
        match self.spares.take(ready, &state) {
            None => self.prepare(ready, state),
            Some(mut spare) => {
                spare.store.data_mut().become_of(state);
                Ok(spare)
            }
        }
    }

    /// A new instance. What its code does meanwhile counts against the state's limits.
    fn prepare(&self, ready: &Arc<Ready>, state: State) -> Result<Prepared, Failed> {
        let mut store = state.into_store(&self.engine);
        match ready.instantiate(&mut store) {
            Err(error) => Err((error, Box::new(store.into_data()))),
            Ok(instance) => Ok(Prepared {
                ready: Arc::clone(ready),
                store,
                instance,
            }),
        }
    }

    /// Drops what a job has used, and makes an instance for the next one, if it was a short job. Nobody waits for it.
    pub(crate) fn renew(self: &Arc<Self>, used: Prepared, took: Duration, limits: Limits, log: Log) {
        if took > SPARE_AFTER {
            return;
        }
        let shared = Arc::clone(self);
        self.spares.workers.run(move || {
            let ready = Arc::clone(&used.ready);
            drop(used);
            // While it ticks, spares are kept.
            let _ticking = shared.ticker.tick();
            // If it fails, the next job makes one of its own and says why it cannot.
            if let Ok(made) = shared.prepare(&ready, State::new(limits, Cancel::new(), log)) {
                shared.spares.keep(made);
            }
        });
    }
}
