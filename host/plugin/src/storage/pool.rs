//! Instances of a driver, each on a thread of its own, and their threads.
//!
//! A guest blocks its thread while the host waits for it, so it cannot run on the runtime's. Nor on the runtime's threads for
//! blocking work: those are numbered, and a stack of drivers that waits on itself could use them up.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use transom_layer::cancel::Cancel;
use transom_storage::Error;
use wasmtime::Store;
use wasmtime::component::ResourceAny;

use super::grants::Grants;
use super::{Inner, Powers};
use crate::error::Fault;
use crate::limits::{
    DRIVER_CALL_BYTES_MAX, DRIVER_HANDLES_MAX, DRIVER_INSTANCE_CALLS, DRIVER_INSTANCES,
    DRIVER_INSTANCES_KEPT, DRIVER_WAIT,
};
use crate::stage;
use crate::state::State;
use crate::wit::storage_v0_1::{Instance, exported};

/// A plugin with what it was granted.
pub(super) struct Core {
    pub(super) plugin: Arc<Inner>,
    pub(super) grants: Arc<Grants>,
}

/// A guest that was opened. After a fault it must not be called again.
pub(super) struct Guest {
    pub(super) store: Store<State>,
    instance: Instance,
}

impl Guest {
    /// Starts a guest and opens the driver in it.
    fn start(core: &Core) -> Result<Guest, Fault> {
        let plugin = &core.plugin;
        let mut state = State::new(plugin.limits.clone(), Cancel::new(), plugin.log());
        state.powers = Some(Box::new(Powers::new(Arc::clone(&core.grants), plugin)));
        let mut store = state.into_store(&plugin.shared.engine);
        store.set_hostcall_fuel(DRIVER_CALL_BYTES_MAX);
        store.set_max_component_handles(DRIVER_HANDLES_MAX);
        let ticking = plugin.shared.ticker.tick();
        let started = plugin.ready.instantiate(&mut store).and_then(|instance| {
            let opened = instance.open(&mut store)?;
            Ok((instance, opened))
        });
        drop(ticking);
        match started {
            Err(error) => Err(stage::fault_of(&error, store.data_mut(), &plugin.limits)),
            Ok((_, Err(error))) => {
                store.data_mut().log.finish();
                Err(Fault::Guest(error))
            }
            Ok((instance, Ok(()))) => Ok(Guest { store, instance }),
        }
    }

    /// The functions of the driver, and the store in which to call them.
    pub(super) fn driver(&mut self) -> (&exported::Guest, &mut Store<State>) {
        (self.instance.driver(), &mut self.store)
    }

    /// One call, under limits of its own.
    fn call<T>(
        &mut self,
        core: &Core,
        runtime: Option<Handle>,
        work: impl FnOnce(&mut Guest) -> wasmtime::Result<T>,
    ) -> Result<T, Fault> {
        let plugin = &core.plugin;
        let state = self.store.data_mut();
        state.begin_again(plugin.log());
        if let Some(powers) = &mut state.powers {
            powers.runtime = runtime;
        }
        let ticking = plugin.shared.ticker.tick();
        let answer = work(self);
        drop(ticking);
        let state = self.store.data_mut();
        match answer {
            Err(error) => Err(stage::fault_of(&error, state, &plugin.limits)),
            Ok(answer) => {
                state.log.finish();
                Ok(answer)
            }
        }
    }
}

/// What a thread has: a guest, or why the last one is gone.
type Slot = Option<Guest>;

type Job = Box<dyn FnOnce(&mut Slot) + Send>;

/// A thread with a guest, which ends when this is dropped.
struct Worker {
    jobs: Sender<Job>,
    calls: u32,
}

impl Worker {
    fn start(core: &Arc<Core>) -> Result<Worker, Fault> {
        let (jobs, work): (Sender<Job>, Receiver<Job>) = channel();
        let run = move || {
            let mut slot = None;
            for job in work {
                job(&mut slot);
            }
        };
        thread::Builder::new()
            .name(format!("driver-{}", core.plugin.name))
            .spawn(run)
            .map_err(|error| Fault::Start(format!("there is no thread for it: {error}")))?;
        Ok(Worker { jobs, calls: 0 })
    }
}

/// The instances of a driver.
pub(super) struct Pool {
    pub(super) core: Arc<Core>,
    idle: Mutex<Vec<Worker>>,
    permits: Arc<Semaphore>,
    /// How many writers are being given back to their guests.
    returning: Arc<watch::Sender<usize>>,
}

impl Pool {
    pub(super) fn new(core: Core) -> Pool {
        let instances = core.grants.instances.unwrap_or(DRIVER_INSTANCES as usize);
        Pool {
            core: Arc::new(core),
            idle: Mutex::default(),
            permits: Arc::new(Semaphore::new(instances)),
            returning: Arc::new(watch::Sender::new(0)),
        }
    }

    /// Waits until every writer that was dropped is given back to its guest: its path may be wanted again.
    pub(super) async fn settled(&self) {
        // It lives as long as this.
        drop(self.returning.subscribe().wait_for(|writers| *writers == 0).await);
    }

    /// Runs something on a guest and waits for it with the thread: when a driver is opened.
    pub(super) fn call_and_wait<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Guest) -> wasmtime::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let worker = Worker::start(&self.core)?;
        let (tell, told) = channel();
        let core = Arc::clone(&self.core);
        let job: Job = Box::new(move |slot| drop(tell.send(run(slot, &core, None, work))));
        let answer = match worker.jobs.send(job) {
            Ok(()) => told.recv().unwrap_or_else(|_| Err(gone())),
            Err(_) => Err(gone()),
        };
        self.keep(worker);
        answer
    }

    /// Takes an instance for one call or for a handle of the guest's.
    pub(super) async fn lease(self: &Arc<Self>) -> Result<Lease, Error> {
        let permits = Arc::clone(&self.permits);
        let Ok(Ok(permit)) = tokio::time::timeout(DRIVER_WAIT, permits.acquire_owned()).await else {
            return Err(Error::Unavailable {
                driver: self.core.name(),
                reason: "all of its instances are in use; see maxinstances".to_owned(),
                retry_after: None,
            });
        };
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Ok(Lease {
            pool: Arc::clone(self),
            worker: idle,
            permit: Arc::new(permit),
            busy: false,
        })
    }

    fn keep(&self, worker: Worker) {
        if worker.calls >= DRIVER_INSTANCE_CALLS {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < DRIVER_INSTANCES_KEPT {
            idle.push(worker);
        }
    }
}

/// Runs something on the guest of a thread, which is started if it is not there or the last one failed.
fn run<T>(
    slot: &mut Slot,
    core: &Core,
    runtime: Option<Handle>,
    work: impl FnOnce(&mut Guest) -> wasmtime::Result<T>,
) -> Result<T, Fault> {
    let guest = match slot {
        Some(guest) => guest,
        None => slot.insert(Guest::start(core)?),
    };
    let answer = guest.call(core, runtime, work);
    if answer.is_err() {
        *slot = None;
    }
    answer
}

fn gone() -> Fault {
    Fault::Start("its thread is gone".to_owned())
}

/// An instance that nobody else has. Dropped in the middle of a call, the call goes on to its end, and nobody hears of it.
pub(super) struct Lease {
    pool: Arc<Pool>,
    worker: Option<Worker>,
    /// Held by a call that nobody waits for, too: the instance is in use.
    permit: Arc<OwnedSemaphorePermit>,
    busy: bool,
}

impl Lease {
    pub(super) fn core(&self) -> &Arc<Core> {
        &self.pool.core
    }

    /// Makes a call. After a fault all handles of the guest's are void.
    pub(super) async fn call<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Guest) -> wasmtime::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let worker = match &mut self.worker {
            Some(worker) => worker,
            None => self.worker.insert(Worker::start(&self.pool.core)?),
        };
        worker.calls = worker.calls.saturating_add(1);
        let (tell, told) = oneshot::channel();
        let (core, runtime, permit) = (
            Arc::clone(&self.pool.core),
            Handle::current(),
            Arc::clone(&self.permit),
        );
        let job: Job = Box::new(move |slot| {
            // Nobody may wait for the answer any more.
            drop(tell.send(run(slot, &core, Some(runtime), work)));
            drop(permit);
        });
        self.busy = true;
        let answer = match worker.jobs.send(job) {
            Ok(()) => told.await.unwrap_or_else(|_| Err(gone())),
            Err(_) => Err(gone()),
        };
        self.busy = matches!(&answer, Err(Fault::Start(_)));
        answer
    }

    /// Gives a handle back to the guest, and the instance to the pool. Nobody waits for it, but for [`Pool::settled`] if it
    /// is a writer.
    pub(super) fn release(self, handle: ResourceAny, writer: bool) {
        let Some(worker) = self.worker.as_ref().filter(|_| !self.busy) else {
            return;
        };
        let (core, permit) = (Arc::clone(&self.pool.core), Arc::clone(&self.permit));
        let runtime = Handle::try_current().ok();
        let returning = writer.then(|| Returning::new(&self.pool.returning));
        let job: Job = Box::new(move |slot| {
            // Without the guest the handle is gone as well.
            if let Some(guest) = slot {
                let dropped = guest.call(&core, runtime, |guest| handle.resource_drop(&mut guest.store));
                if let Err(fault) = dropped {
                    tracing::warn!(plugin = core.plugin.name, %fault, "a storage driver failed to give something back");
                    *slot = None;
                }
            }
            drop((permit, returning));
        });
        // If the thread is gone, so is the handle.
        drop(worker.jobs.send(job));
    }
}

/// Counts a writer that is being given back.
struct Returning(Arc<watch::Sender<usize>>);

impl Returning {
    fn new(count: &Arc<watch::Sender<usize>>) -> Returning {
        count.send_modify(|writers| *writers += 1);
        Returning(Arc::clone(count))
    }
}

impl Drop for Returning {
    fn drop(&mut self) {
        self.0.send_modify(|writers| *writers -= 1);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.take().filter(|_| !self.busy) {
            self.pool.keep(worker);
        }
    }
}
