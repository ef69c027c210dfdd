//! One layer through a plugin.

use std::sync::Arc;

use transom_keys::Keyring;
use transom_layer::buffer::Pool;
use transom_layer::limits::OutputLimits;
use transom_layer::pipe::{Guard, Input, Output, pipe};
use transom_layer::stage::{Handler, HandlerKind, Job, Outcome, Stage, StageError, Verdict};
use wasmtime::{Trap, WasmBacktrace};

use crate::config::Values;
use crate::decrypt;
use crate::error::{Fault, GuestError, PluginError};
use crate::limits::{Limits, STACK_BYTES, TEXT_BYTES_MAX};
use crate::log::Log;
use crate::plugin::Plugin;
use crate::state::{State, Stop};

/// Opens stages of one plugin.
pub(crate) struct WasmHandler {
    pub(crate) plugin: Plugin,
    pub(crate) config: Arc<Values>,
    pub(crate) grants: decrypt::Grants,
}

impl Handler for WasmHandler {
    fn name(&self) -> &str {
        self.plugin.name()
    }

    fn kind(&self) -> HandlerKind {
        HandlerKind::Wasm
    }

    fn offer(&self, media_type: &str) -> Option<String> {
        let mut conversions = self.plugin.info.conversions.iter();
        let conversion = conversions.find(|conversion| conversion.accepts == media_type)?;
        Some(conversion.returns.clone())
    }

    fn takes_payload(&self, id: &str) -> bool {
        id == self.name() || self.plugin.asks_for(decrypt::CAPABILITY) && decrypt::takes(id)
    }

    fn open(&self, job: &Job) -> Result<Box<dyn Stage>, StageError> {
        let (plugin, config) = (self.plugin.clone(), Arc::clone(&self.config));
        let mut job = job.clone();
        let asks = plugin.asks_for(decrypt::CAPABILITY);
        let keys = if asks {
            decrypt::take_keys(&mut job, &self.grants)
                .map_err(|error| failed(&plugin, &job, Fault::Guest(GuestError::Denied(error.to_string()))))?
        } else {
            Keyring::default()
        };
        Ok(Box::new(WasmStage {
            plugin,
            config,
            job,
            powers: decrypt::Powers::new(asks, keys),
        }))
    }
}

/// The failure of a plugin on a layer.
fn failed(plugin: &Plugin, job: &Job, fault: Fault) -> StageError {
    StageError::Plugin(Box::new(PluginError {
        name: plugin.name().to_owned(),
        version: plugin.version().to_owned(),
        digest: plugin.digest.clone(),
        layer: job.descriptor.digest.clone(),
        fault,
    }))
}

struct WasmStage {
    plugin: Plugin,
    config: Arc<Values>,
    job: Job,
    powers: decrypt::Powers,
}

impl Stage for WasmStage {
    fn run(mut self: Box<Self>, input: &mut Input, output: &mut Output) -> Result<Outcome, StageError> {
        let powers = std::mem::take(&mut self.powers);
        let plugin = &self.plugin;
        let layer = self.job.descriptor.digest.to_string();
        let log = Log::new(
            plugin.name(),
            plugin.version(),
            &layer,
            plugin.limits.log_lines,
            plugin.log_rate.clone(),
        );
        let mut state = State::new(plugin.limits.clone(), self.job.cancel.clone(), log);
        // A store owns its data, so the streams move in, and out again below; in their places wait two that are closed.
        let (closed_output, closed_input) = closed(&self.job);
        state.input = Some(std::mem::replace(input, closed_input));
        state.output = Some(std::mem::replace(output, closed_output));
        state.decrypt = Some(Box::new(powers));
        state.documents = Some(Box::default());

        let mut store = state.into_store(&plugin.shared.engine);
        let ticking = plugin.shared.ticker.tick();
        let returned = plugin.ready.run(&mut store, &self.job, &self.config);
        drop(ticking);

        let mut state = store.into_data();
        if let Some(theirs) = state.input.take() {
            *input = theirs;
        }
        if let Some(theirs) = state.output.take() {
            *output = theirs;
        }
        self.conclude(returned, state)
    }
}

impl WasmStage {
    /// What happened, first cause first: a failed stream, a limit, a crash, an error, an answer that breaks a limit.
    fn conclude(
        &self,
        returned: wasmtime::Result<Result<Outcome, GuestError>>,
        mut state: State,
    ) -> Result<Outcome, StageError> {
        if let Some(failed) = state.failed.take() {
            state.log.finish();
            return Err(failed);
        }
        if let Some(Stop::Cancelled) = state.stopped {
            state.log.finish();
            return Err(StageError::Cancelled);
        }
        let limits = &self.plugin.limits;
        let fault = match returned {
            Err(error) => fault_of(&error, &mut state, limits),
            Ok(answer) => {
                state.log.finish();
                match (state.stopped, answer) {
                    (Some(Stop::Fault(fault)), _) => fault,
                    (_, Err(error)) => Fault::Guest(error),
                    (_, Ok(mut outcome)) => {
                        let documents = state.documents.take();
                        outcome.documents = documents.map(|made| made.finish()).unwrap_or_default();
                        outcome.memory = Some(state.memory.used() as u64);
                        match check(&outcome, limits) {
                            Ok(()) => return Ok(outcome),
                            Err(rule) => Fault::Protocol(rule),
                        }
                    }
                }
            }
        };
        Err(failed(&self.plugin, &self.job, fault))
    }
}

/// Two ends that nothing is connected to.
fn closed(job: &Job) -> (Output, Input) {
    let guard = Guard {
        cancel: job.cancel.clone(),
        limits: OutputLimits::default(),
        blob_size: 0,
    };
    let (output, _) = pipe(0, guard.clone(), Pool::new());
    let (_, mut inputs) = pipe(1, guard, Pool::new());
    (output, inputs.remove(0))
}

/// What made a call into a guest fail.
pub(crate) fn fault_of(error: &wasmtime::Error, state: &mut State, limits: &Limits) -> Fault {
    let message = state.log.finish();
    if let Some(Stop::Fault(fault)) = &state.stopped {
        return fault.clone();
    }
    let Some(trap) = error.downcast_ref::<Trap>() else {
        if state.memory.refused {
            return Fault::Memory { limit: limits.memory };
        }
        let reason = error.root_cause().to_string();
        return if state.started {
            Fault::Protocol(reason)
        } else {
            Fault::Start(reason)
        };
    };
    match trap {
        Trap::StackOverflow => Fault::Stack { limit: STACK_BYTES },
        // A language's runtime that gets no memory gives up by a trap of its own.
        _ if state.memory.refused => Fault::Memory { limit: limits.memory },
        trap => Fault::Trap {
            reason: trap.to_string(),
            message,
            backtrace: backtrace(error),
        },
    }
}

fn backtrace(error: &wasmtime::Error) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return Vec::new();
    };
    let name = |frame: &wasmtime::FrameInfo| match frame.func_name() {
        Some(name) => format!("{:#}", rustc_demangle::demangle(name)),
        None => format!("function {}", frame.func_index()),
    };
    backtrace.frames().iter().take(16).map(name).collect()
}

/// Checks what a guest returned against its limits.
fn check(outcome: &Outcome, limits: &Limits) -> Result<(), String> {
    let count = |what: &str, count: usize, limit: usize| {
        if count > limit {
            Err(format!("it returned {count} {what}, the limit is {limit}"))
        } else {
            Ok(())
        }
    };
    count("annotations", outcome.annotations.len(), limits.annotations)?;
    count("findings", outcome.findings.len(), limits.findings)?;
    let about = outcome.documents.iter().map(|document| &document.annotations);
    for annotations in about.clone() {
        count("annotations of a document", annotations.len(), limits.annotations)?;
    }
    let media_types = outcome.documents.iter().map(|document| &document.media_type);
    let annotations = outcome.annotations.iter().chain(about.flatten());
    let annotations = annotations
        .flat_map(|(key, value)| [key, value])
        .chain(media_types);
    let findings = outcome
        .findings
        .iter()
        .flat_map(|finding| [&finding.rule, &finding.location, &finding.message]);
    let reason = match &outcome.verdict {
        Verdict::Refuse { reason } => Some(reason),
        Verdict::Continue => None,
    };
    for text in annotations.chain(findings).chain(reason) {
        count("bytes in one text", text.len(), TEXT_BYTES_MAX)?;
    }
    Ok(())
}
