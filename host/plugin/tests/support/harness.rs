//! Runs a plugin on bytes through the real pump.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use transom_layer::buffer::Pool;
use transom_layer::cancel::Cancel;
use transom_layer::chain::Step;
use transom_layer::limits::OutputLimits;
use transom_layer::pipe::{Input, Output};
use transom_layer::pump::{self, Layer, PumpError, SinkError};
use transom_layer::stage::{Handler, HandlerKind, Job, Outcome, Payload, Stage, StageError};
use transom_layer::workers::Workers;
use transom_oci::{Algorithm, Descriptor, Digest, media_type};

/// The collecting sink's error.
#[derive(Debug)]
pub(crate) struct SinkFailed;

impl std::fmt::Display for SinkFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the collecting sink failed")
    }
}

impl SinkError for SinkFailed {
    fn may_be_damage(&self) -> bool {
        false
    }
}

/// A stage that cuts the stream into chunks of one size.
pub(crate) struct Chop(pub(crate) usize);

impl Handler for Chop {
    fn name(&self) -> &str {
        "chop"
    }

    fn kind(&self) -> HandlerKind {
        HandlerKind::Native
    }

    fn offer(&self, media_type: &str) -> Option<String> {
        Some(media_type.to_owned())
    }

    fn open(&self, _: &Job) -> Result<Box<dyn Stage>, StageError> {
        Ok(Box::new(Chop(self.0)))
    }
}

impl Stage for Chop {
    fn run(self: Box<Self>, input: &mut Input, output: &mut Output) -> Result<Outcome, StageError> {
        loop {
            let chunk = input.read_up_to(self.0)?;
            if chunk.is_empty() {
                return Ok(Outcome::default());
            }
            output.send(Bytes::copy_from_slice(&chunk))?;
        }
    }
}

/// Output and outcome, or why not.
pub(crate) type Ran = Result<(Vec<u8>, Outcome), PumpError<SinkFailed>>;

/// Runs a handler on a blob, which arrives in chunks of `chunk` bytes if that is given.
pub(crate) fn run(handler: &Arc<dyn Handler>, accepts: &str, blob: &[u8], chunk: Option<usize>) -> Ran {
    run_with(handler, accepts, blob, chunk, &[], Cancel::new())
}

/// The same, with payloads by the names of handlers, and a way to stop it.
pub(crate) fn run_with(
    handler: &Arc<dyn Handler>,
    accepts: &str,
    blob: &[u8],
    chunk: Option<usize>,
    payloads: &[(String, Payload)],
    cancel: Cancel,
) -> Ran {
    let returns = handler.offer(accepts).expect("the plugin accepts it");
    let mut steps = Vec::new();
    if let Some(chunk) = chunk {
        let (input, output) = (accepts.to_owned(), accepts.to_owned());
        steps.push(Step {
            handler: Arc::new(Chop(chunk)),
            input,
            output,
        });
    }
    steps.push(Step {
        handler: Arc::clone(handler),
        input: accepts.to_owned(),
        output: returns,
    });
    let descriptor = Descriptor {
        media_type: accepts.to_owned(),
        digest: Digest::of(Algorithm::Sha256, blob),
        size: blob.len() as u64,
        ..descriptor()
    };
    let layer = Layer {
        blob: Box::new(std::io::Cursor::new(blob.to_vec())),
        descriptor: &descriptor,
        verify: true,
        steps: &steps,
        diff_algorithm: Algorithm::Sha256,
        payloads,
        limits: OutputLimits::default(),
        cancel,
        pool: Pool::new(),
        workers: Workers::new(),
        progress: Arc::new(AtomicU64::new(0)),
    };
    let mut report = pump::run(layer, |tar| {
        let mut all = Vec::new();
        tar.read_to_end(&mut all).map_err(|_| SinkFailed)?;
        Ok(all)
    })?;
    let stage = report.stages.pop().expect("there is a stage");
    Ok((report.applied, stage.outcome))
}

fn descriptor() -> Descriptor {
    let text = format!(
        r#"{{"mediaType":"{}","digest":"{}","size":0}}"#,
        media_type::LAYER_TAR,
        Digest::of(Algorithm::Sha256, b"")
    );
    serde_json::from_str(&text).expect("a descriptor")
}
