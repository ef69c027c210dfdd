//! How guests are compiled and interrupted.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::error::LoadError;
use crate::limits::{
    INSTANCES_MAX, LINGER, MEMORIES_MAX, POOL_ADDRESS_BITS, POOL_DECOMMIT_BATCH, POOL_JOBS, POOL_MEMORY_MAX,
    POOL_MEMORY_RESIDENT, POOL_TABLE_RESIDENT, STACK_BYTES, TABLE_ELEMENTS_MAX, TABLES_MAX, TICK,
};

/// How guests get their memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Allocation {
    /// From a pool that is reserved once, if the address space allows it, otherwise on demand.
    Auto,
    /// With fresh mappings for each job.
    OnDemand,
}

/// An engine, and whether it pools.
pub(crate) fn start(allocation: Allocation) -> Result<(Engine, bool), LoadError> {
    if allocation == Allocation::Auto
        && address_space_allows_pooling()
        && let Ok(engine) = Engine::new(&config(true))
    {
        return Ok((engine, true));
    }
    let engine = Engine::new(&config(false)).map_err(|error| LoadError::Engine(format!("{error:#}")))?;
    Ok((engine, false))
}

fn config(pooling: bool) -> Config {
    let mut config = Config::new();
    // Calls are three to five times cheaper without it, and nothing here is asynchronous.
    config.concurrency_support(false);
    config.epoch_interruption(true);
    config.max_wasm_stack(STACK_BYTES);
    config.wasm_relaxed_simd(false);
    config.wasm_memory64(false);
    if pooling {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(POOL_JOBS)));
    }
    config
}

fn pool(jobs: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(jobs)
        .total_core_instances(jobs * 8)
        .total_memories(jobs)
        .total_tables(jobs * 4)
        .max_core_instances_per_component(INSTANCES_MAX as u32)
        .max_memories_per_component(MEMORIES_MAX as u32)
        .max_tables_per_component(TABLES_MAX as u32)
        .max_memory_size(POOL_MEMORY_MAX)
        .table_keep_resident(POOL_TABLE_RESIDENT)
        .linear_memory_keep_resident(POOL_MEMORY_RESIDENT)
        .pagemap_scan(Enabled::Auto)
        .decommit_batch_size(POOL_DECOMMIT_BATCH)
        .table_elements(TABLE_ELEMENTS_MAX);
    pool
}

/// Tries to reserve what the pool's memories need at most. Virtual machines and `ulimit -v` may forbid it.
fn address_space_allows_pooling() -> bool {
    let mut config = Config::new();
    let mut probe = PoolingAllocationConfig::new();
    // One memory's slot, with a reservation of the whole size that the pool would like to see.
    probe.total_memories(1).max_memory_size(1 << POOL_ADDRESS_BITS);
    config.wasm_memory64(true);
    config.memory_reservation(1 << POOL_ADDRESS_BITS);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(probe));
    Engine::new(&config).is_ok()
}

/// Interrupts running guests every [`TICK`] so that they look at their limits. Its thread sleeps when nothing has run for
/// [`LINGER`] ticks, so that a row of short jobs does not wake it for each, and ends with the engine.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    running: Mutex<Running>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Running {
    jobs: usize,
    /// Ticks since a job was last seen.
    quiet: u32,
    asleep: bool,
    stopped: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticker {
    pub(crate) fn start(engine: &Engine) -> Result<Self, LoadError> {
        let shared = Arc::<Shared>::default();
        let (weak, theirs) = (engine.weak(), Arc::clone(&shared));
        std::thread::Builder::new()
            .name("plugin-ticker".into())
            .spawn(move || {
                loop {
                    let mut running = theirs.lock();
                    running.quiet = if running.jobs == 0 { running.quiet + 1 } else { 0 };
                    while running.quiet > LINGER && running.jobs == 0 && !running.stopped {
                        running.asleep = true;
                        running = theirs
                            .changed
                            .wait(running)
                            .unwrap_or_else(PoisonError::into_inner);
                    }
                    if running.stopped {
                        return;
                    }
                    running.asleep = false;
                    drop(running);
                    std::thread::sleep(TICK);
                    let Some(engine) = weak.upgrade() else { return };
                    engine.increment_epoch();
                }
            })
            .map_err(|error| LoadError::Engine(format!("no thread for the ticker: {error}")))?;
        Ok(Self { shared })
    }

    /// Ticks until the returned guard is dropped.
    pub(crate) fn tick(&self) -> Ticking {
        let mut running = self.shared.lock();
        running.jobs += 1;
        if running.asleep {
            self.shared.changed.notify_one();
        }
        drop(running);
        Ticking {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_one();
    }
}

/// Keeps the ticker going.
#[derive(Debug)]
pub(crate) struct Ticking {
    shared: Arc<Shared>,
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.shared.lock().jobs -= 1;
    }
}
