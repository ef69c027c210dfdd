//! `transom:processor@0.1`.

use bytes::Bytes;
use transom_layer::stage::{Finding, Job, Outcome, Severity, Verdict};
use wasmtime::component::{Component, Linker, LinkerInstance, Resource, ResourceType, WasmList, WasmStr};
use wasmtime::{AsContextMut, Store, StoreContextMut};

use self::bindings::exports::transom::processor::stage;
pub(crate) use self::bindings::transom::common as common_interfaces;
use self::bindings::transom::common::{log, types};
use crate::config::{Value, Values};
use crate::error::GuestError;
use crate::log::Level;
use crate::plugin::{Conversion, Info};
use crate::state::{State, StreamError};

mod bindings {
    #![allow(
        missing_docs,
        unreachable_pub,
        missing_debug_implementations,
        reason = "generated"
    )]
    #![allow(clippy::all, clippy::allow_attributes_without_reason, reason = "generated")]
    wasmtime::component::bindgen!({
        path: ["../../wit/common", "../../wit/processor"],
        world: "transom:processor/processor",
        with: {
            "transom:common/io.reader": super::Reader,
            "transom:common/io.writer": super::Writer,
        },
    });
}

/// The job's input, to a guest. There is one for each job, so that a handle needs no table.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "the generated module exports it again")]
pub struct Reader;

/// The job's output, to a guest.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "the generated module exports it again")]
pub struct Writer;

/// A component whose imports are resolved and whose exports are found.
pub(crate) struct Ready {
    pre: bindings::ProcessorPre<State>,
}

impl Ready {
    pub(crate) fn new(linker: &Linker<State>, component: &Component) -> wasmtime::Result<Self> {
        Ok(Self {
            pre: bindings::ProcessorPre::new(linker.instantiate_pre(component)?)?,
        })
    }

    pub(crate) fn describe(&self, store: &mut Store<State>) -> wasmtime::Result<Info> {
        let instance = self.pre.instantiate(&mut *store)?;
        store.data_mut().started = true;
        let info = instance.transom_processor_stage().call_describe(store)?;
        let conversions = info.conversions.into_iter();
        let conversions = conversions.map(|conversion| Conversion {
            accepts: conversion.accepts,
            returns: conversion.returns,
        });
        Ok(Info {
            name: info.name,
            version: info.version,
            conversions: conversions.collect(),
        })
    }

    pub(crate) fn run(
        &self,
        store: &mut Store<State>,
        job: &Job,
        config: &Values,
    ) -> wasmtime::Result<Result<Outcome, GuestError>> {
        let instance = self.pre.instantiate(&mut *store)?;
        store.data_mut().started = true;
        let input = Resource::new_borrow(0);
        let output = Resource::new_borrow(0);
        let returned =
            instance
                .transom_processor_stage()
                .call_run(store, &convert_job(job, config), input, output)?;
        Ok(returned.map(Outcome::from).map_err(GuestError::from))
    }
}

/// Defines what the guest imports. By hand, because a hand-written `write` sees the guest's memory in place and `read` needs no
/// vector in between.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.instance("transom:common/types@0.1.0")?;
    let mut io = linker.instance("transom:common/io@0.1.0")?;
    add_io(&mut io)?;
    let mut log = linker.instance("transom:common/log@0.1.0")?;
    log.func_wrap(
        "log",
        |mut store: StoreContextMut<'_, State>, (level, message): (log::Level, WasmStr)| {
            let message = message.to_str(&store)?.into_owned();
            store.data_mut().line(level.into(), &message);
            Ok(())
        },
    )
}

fn add_io(io: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    // Guests are only lent the two streams, so there is nothing to destroy.
    io.resource("reader", ResourceType::host::<Reader>(), |_, _| Ok(()))?;
    io.resource("writer", ResourceType::host::<Writer>(), |_, _| Ok(()))?;
    io.func_wrap(
        "[method]reader.read",
        |mut store, (_, max): (Resource<Reader>, u32)| read(&mut store, max).map(|bytes| (bytes,)),
    )?;
    io.func_wrap(
        "[method]writer.write",
        |mut store, (_, bytes): (Resource<Writer>, WasmList<u8>)| {
            write(&mut store, &bytes).map(|written| (written,))
        },
    )
}

fn read(store: &mut StoreContextMut<'_, State>, max: u32) -> wasmtime::Result<Result<Bytes, types::IoError>> {
    store
        .data_mut()
        .read(max)
        .map_or_else(|error| Ok(Err(told(error)?)), |bytes| Ok(Ok(bytes)))
}

fn write(
    store: &mut StoreContextMut<'_, State>,
    bytes: &WasmList<u8>,
) -> wasmtime::Result<Result<(), types::IoError>> {
    let (mut output, mut echo) = match store.data_mut().before_write(bytes.len()) {
        Ok(taken) => taken,
        Err(error) => return Ok(Err(told(error)?)),
    };
    let written = echo.write(&mut output, bytes.as_le_slice(store.as_context_mut()));
    match store.data_mut().after_write((output, echo), written) {
        Ok(()) => Ok(Ok(())),
        Err(error) => Ok(Err(told(error)?)),
    }
}

/// What a stream's failure looks like to the guest; ignoring it the first time ends the job the second time.
fn told(error: StreamError) -> wasmtime::Result<types::IoError> {
    Ok(match error {
        StreamError::Cancelled => types::IoError::Cancelled,
        StreamError::Broken => types::IoError::Broken,
        StreamError::Limit(text) => types::IoError::Limit(text),
        StreamError::Other(text) => types::IoError::Other(text),
        StreamError::AfterError => return Err(wasmtime::Error::msg("a stream was used after its error")),
    })
}

fn convert_job(job: &Job, config: &Values) -> stage::Job {
    let descriptor = stage::Descriptor {
        media_type: job.descriptor.media_type.clone(),
        digest: job.descriptor.digest.to_string(),
        size: job.descriptor.size,
        annotations: job.descriptor.annotations.clone().into_iter().collect(),
    };
    let payload = job.payload.as_ref().map(|payload| stage::Payload {
        type_url: payload.type_url.clone(),
        value: payload.value.to_vec(),
    });
    stage::Job {
        input_media_type: job.input_media_type.clone(),
        output_media_type: job.output_media_type.clone(),
        descriptor,
        payload,
        config: config
            .iter()
            .map(|(key, value)| (key.clone(), value.into()))
            .collect(),
    }
}

impl From<&Value> for stage::ConfigValue {
    fn from(value: &Value) -> Self {
        match value {
            Value::Boolean(value) => Self::Boolean(*value),
            Value::Integer(value) => Self::Integer(*value),
            Value::Number(value) => Self::Number(*value),
            Value::Text(value) => Self::Text(value.clone()),
            Value::Texts(value) => Self::Texts(value.clone()),
        }
    }
}

impl From<stage::Outcome> for Outcome {
    fn from(outcome: stage::Outcome) -> Self {
        Self {
            detail: None,
            documents: Vec::new(),
            memory: None,
            annotations: outcome.annotations.into_iter().collect(),
            findings: outcome.findings.into_iter().map(Finding::from).collect(),
            verdict: match outcome.verdict {
                stage::Verdict::Continue => Verdict::Continue,
                stage::Verdict::Refuse(reason) => Verdict::Refuse { reason },
            },
        }
    }
}

impl From<stage::Finding> for Finding {
    fn from(finding: stage::Finding) -> Self {
        Self {
            severity: match finding.severity {
                stage::Severity::Info => Severity::Info,
                stage::Severity::Warning => Severity::Warning,
                stage::Severity::Critical => Severity::Critical,
            },
            rule: finding.rule,
            location: finding.location,
            message: finding.message,
        }
    }
}

impl From<types::Error> for GuestError {
    fn from(error: types::Error) -> Self {
        match error {
            types::Error::Unsupported(text) => Self::Unsupported(text),
            types::Error::Corrupt(types::Corruption { offset, message }) => Self::Corrupt { offset, message },
            types::Error::Denied(text) => Self::Denied(text),
            types::Error::Config(types::ConfigError { key, message }) => Self::Config { key, message },
            types::Error::Limit(text) => Self::Limit(text),
            types::Error::Io(error) => Self::Io(match error {
                types::IoError::Cancelled => "cancelled".into(),
                types::IoError::Broken => "broken".into(),
                types::IoError::Limit(text) | types::IoError::Other(text) => text,
            }),
            types::Error::Other(text) => Self::Other(text),
        }
    }
}

impl From<log::Level> for Level {
    fn from(level: log::Level) -> Self {
        match level {
            log::Level::Trace => Level::Trace,
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Error => Level::Error,
        }
    }
}
