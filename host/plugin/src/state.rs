//! What belongs to one job: its streams, its limits and what it has used of them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use transom_layer::cancel::Cancel;
use transom_layer::pipe::{Input, Output};
use transom_layer::stage::StageError;
use wasmtime::{ResourceLimiter, Store, StoreContextMut, UpdateDeadline};

use crate::decrypt;
use crate::documents::Documents;
use crate::echo::Echo;
use crate::error::Fault;
use crate::limits::{
    CALL_BYTES_MAX, HANDLES_MAX, INSTANCES_MAX, Limits, MEMORIES_MAX, RATIO_FREE_BYTES, READ_BYTES_MAX,
    TABLE_ELEMENTS_MAX, TABLES_MAX,
};
use crate::log::{Level, Log};
use crate::storage::Powers;

/// The data of a store.
pub(crate) struct State {
    /// The streams, unless the plugin only describes itself. The output is taken out while it is written.
    pub(crate) input: Option<Input>,
    pub(crate) output: Option<Output>,
    echo: Echo,
    pub(crate) usage: Usage,
    pub(crate) memory: Memory,
    pub(crate) log: Log,
    /// Whether the guest was instantiated and its function called.
    pub(crate) started: bool,
    /// The failure of a stream that the guest was told about.
    pub(crate) failed: Option<StageError>,
    /// Why the host stopped the guest.
    pub(crate) stopped: Option<Stop>,
    /// What a storage driver may use besides; nothing else has it.
    pub(crate) powers: Option<Box<Powers>>,
    /// What a processor may use to decrypt; nothing else has it. Taken out while bytes are looked at.
    pub(crate) decrypt: Option<Box<decrypt::Powers>>,
    /// What a processor has made beside its output; nothing else has it.
    pub(crate) documents: Option<Box<Documents>>,
}

/// Why the host stopped a guest.
#[derive(Debug)]
pub(crate) enum Stop {
    Cancelled,
    Fault(Fault),
}

/// What a stream tells the guest.
#[derive(Debug)]
pub(crate) enum StreamError {
    Cancelled,
    Broken,
    Limit(String),
    Other(String),
    /// The guest was told before and did not stop.
    AfterError,
}

impl State {
    pub(crate) fn new(limits: Limits, cancel: Cancel, log: Log) -> Self {
        Self {
            input: None,
            output: None,
            echo: Echo::default(),
            memory: Memory {
                limit: limits.memory,
                used: 0,
                refused: false,
            },
            usage: Usage::start(limits, cancel),
            log,
            started: false,
            failed: None,
            stopped: None,
            powers: None,
            decrypt: None,
            documents: None,
        }
    }

    /// The means to decrypt of a processor at work.
    pub(crate) fn decrypting(&mut self) -> wasmtime::Result<&mut decrypt::Powers> {
        let powers = self.decrypt.as_deref_mut();
        powers.ok_or_else(|| wasmtime::Error::msg("only a processor at work can decrypt"))
    }

    /// The documents of a processor at work.
    pub(crate) fn documents(&mut self) -> wasmtime::Result<&mut Documents> {
        let documents = self.documents.as_deref_mut();
        documents.ok_or_else(|| wasmtime::Error::msg("only a processor at work can make documents"))
    }

    /// Begins another call of an instance that is used again: its times and its log lines count from here.
    pub(crate) fn begin_again(&mut self, log: Log) {
        self.usage = Usage::start(self.usage.limits.clone(), self.usage.cancel.clone());
        self.log = log;
        self.stopped = None;
        self.failed = None;
        self.memory.refused = false;
    }

    /// The guest logs.
    pub(crate) fn line(&mut self, level: Level, message: &str) {
        match &self.powers {
            Some(powers) => self.log.line(level, &powers.redact(message)),
            None => self.log.line(level, message),
        }
    }

    /// A store for one job, under all limits.
    pub(crate) fn into_store(self, engine: &wasmtime::Engine) -> Store<State> {
        let mut store = Store::new(engine, self);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(CALL_BYTES_MAX);
        store.set_max_component_handles(HANDLES_MAX);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut context: StoreContextMut<'_, State>| {
            let state = context.data_mut();
            match state.usage.check() {
                None => Ok(UpdateDeadline::Continue(1)),
                Some(stop) => {
                    state.stopped = Some(stop);
                    Ok(UpdateDeadline::Interrupt)
                }
            }
        });
        store
    }

    /// The guest reads.
    pub(crate) fn read(&mut self, max: u32) -> Result<Bytes, StreamError> {
        self.still_good()?;
        if max == 0 {
            return Ok(Bytes::new());
        }
        let input = self.input.as_mut().ok_or(StreamError::AfterError)?;
        let max = READ_BYTES_MAX.min(max as usize);
        match input.read_up_to(max) {
            Ok(bytes) => {
                self.usage.read += bytes.len() as u64;
                self.echo.gave(&bytes);
                Ok(bytes)
            }
            Err(error) => Err(self.fail(error)),
        }
    }

    /// The guest writes. The output is taken out meanwhile, because the bytes are a view into the store that holds this state.
    pub(crate) fn before_write(&mut self, length: usize) -> Result<(Output, Echo), StreamError> {
        self.still_good()?;
        self.usage.written += length as u64;
        if let Some(fault) = self.usage.too_much_output() {
            let text = fault.to_string();
            self.stopped = Some(Stop::Fault(fault));
            return Err(StreamError::Limit(text));
        }
        let output = self.output.take().ok_or(StreamError::AfterError)?;
        Ok((output, std::mem::take(&mut self.echo)))
    }

    pub(crate) fn after_write(
        &mut self,
        (output, echo): (Output, Echo),
        written: std::io::Result<()>,
    ) -> Result<(), StreamError> {
        self.output = Some(output);
        self.echo = echo;
        written.map_err(|error| match error.downcast::<StageError>() {
            Ok(error) => self.fail(error),
            Err(error) => self.fail(StageError::Read(error)),
        })
    }

    fn still_good(&self) -> Result<(), StreamError> {
        if self.failed.is_some() || self.stopped.is_some() {
            Err(StreamError::AfterError)
        } else {
            Ok(())
        }
    }

    fn fail(&mut self, error: StageError) -> StreamError {
        let told = match &error {
            StageError::Cancelled => StreamError::Cancelled,
            StageError::Upstream | StageError::Downstream => StreamError::Broken,
            StageError::OutputLimit { .. } | StageError::RatioLimit { .. } => {
                StreamError::Limit(error.to_string())
            }
            other => StreamError::Other(other.to_string()),
        };
        self.failed = Some(error);
        told
    }
}

/// What a job has used of its times and bytes.
#[derive(Debug)]
pub(crate) struct Usage {
    limits: Limits,
    cancel: Cancel,
    started: Instant,
    cpu_at_start: Duration,
    /// The bytes and the CPU time when something was last read or written, as far as the checks have seen.
    progress: (u64, Duration),
    pub(crate) read: u64,
    pub(crate) written: u64,
}

impl Usage {
    fn start(limits: Limits, cancel: Cancel) -> Self {
        let cpu = thread_cpu();
        let started = Instant::now();
        Self {
            limits,
            cancel,
            started,
            cpu_at_start: cpu,
            progress: (0, cpu),
            read: 0,
            written: 0,
        }
    }

    /// Called every tick while the guest runs.
    fn check(&mut self) -> Option<Stop> {
        if self.cancel.is_requested() {
            return Some(Stop::Cancelled);
        }
        let cpu = thread_cpu();
        let Limits {
            cpu: cpu_limit,
            stall,
            wall,
            ..
        } = self.limits;
        if cpu.saturating_sub(self.cpu_at_start) > cpu_limit {
            return Some(Stop::Fault(Fault::Cpu { limit: cpu_limit }));
        }
        let moved = self.read + self.written;
        if self.progress.0 != moved {
            self.progress = (moved, cpu);
        }
        if cpu.saturating_sub(self.progress.1) > stall {
            return Some(Stop::Fault(Fault::Stall { limit: stall }));
        }
        if self.started.elapsed() > wall {
            return Some(Stop::Fault(Fault::Wall { limit: wall }));
        }
        None
    }

    /// How much of the time on the clock is left, and how much there was.
    pub(crate) fn wall(&self) -> (Duration, Duration) {
        let limit = self.limits.wall;
        (limit.saturating_sub(self.started.elapsed()), limit)
    }

    fn too_much_output(&self) -> Option<Fault> {
        let Limits {
            output: limit, ratio, ..
        } = self.limits;
        if self.written > limit {
            return Some(Fault::Output { limit });
        }
        let allowed = RATIO_FREE_BYTES.saturating_add(ratio.saturating_mul(self.read));
        (self.written > allowed).then_some(Fault::Ratio {
            limit: ratio,
            input: self.read,
            output: self.written,
        })
    }
}

/// CPU time of this thread, on which the guest runs too.
fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// The limiter of a store: memories together stay within the limit, and a refusal is remembered.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: usize,
    used: usize,
    pub(crate) refused: bool,
}

impl Memory {
    /// Bytes of linear memory now, which are the most that there were: it never shrinks.
    pub(crate) fn used(&self) -> usize {
        self.used
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.used.saturating_add(desired.saturating_sub(current));
        if total > self.limit || maximum.is_some_and(|maximum| desired > maximum) {
            self.refused = true;
            return Ok(false);
        }
        self.used = total;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.refused = true;
        Ok(())
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}
