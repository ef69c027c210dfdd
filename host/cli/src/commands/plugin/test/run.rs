//! A plugin on some bytes, which arrive in pieces of one size.

use std::io::{Cursor, Read};
use std::sync::Arc;

use bytes::Bytes;
use transom_layer::buffer::Pool;
use transom_layer::chain::Step;
use transom_layer::limits::OutputLimits;
use transom_layer::pipe::{Input, Output};
use transom_layer::pump::{self, Layer, PumpError, SinkError};
use transom_layer::stage::{Handler, HandlerKind, Job, Outcome, Stage, StageError};
use transom_layer::workers::Workers;
use transom_oci::{Algorithm, Descriptor, Digest};

use super::case::Case;
use crate::interrupt::Interrupt;

/// The output could not be collected.
#[derive(Debug, thiserror::Error)]
#[error("the output cannot be read: {0}")]
pub(super) struct Unread(#[source] std::io::Error);

impl SinkError for Unread {
    fn may_be_damage(&self) -> bool {
        false
    }
}

/// What came of it.
pub(super) type Ran = Result<(Vec<u8>, Outcome), PumpError<Unread>>;

/// A stage before the plugin's, which cuts the stream.
struct Chop(usize);

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

/// Runs a plugin on a case, with pieces of `size` bytes if that is said.
pub(super) fn run(
    handler: &Arc<dyn Handler>,
    (input, output): (&str, &str),
    case: &Case,
    size: Option<usize>,
    interrupt: &Interrupt,
) -> Ran {
    let step = |handler: Arc<dyn Handler>, output: &str| Step {
        handler,
        input: input.to_owned(),
        output: output.to_owned(),
    };
    let chop = size.map(|size| step(Arc::new(Chop(size)), input));
    let steps: Vec<Step> = chop
        .into_iter()
        .chain([step(Arc::clone(handler), output)])
        .collect();
    let mut descriptor = Descriptor::new(
        input,
        Digest::of(Algorithm::Sha256, &case.input),
        case.input.len() as u64,
    );
    descriptor.annotations.clone_from(&case.annotations);
    let layer = Layer {
        blob: Box::new(Cursor::new(case.input.clone())),
        descriptor: &descriptor,
        verify: true,
        steps: &steps,
        diff_algorithm: Algorithm::Sha256,
        payloads: &[],
        limits: OutputLimits::default(),
        cancel: interrupt.cancel(),
        pool: Pool::new(),
        workers: Workers::new(),
        progress: Arc::default(),
    };
    let mut report = pump::run(layer, |tar| {
        let mut all = Vec::new();
        tar.read_to_end(&mut all).map_err(Unread)?;
        Ok(all)
    })?;
    let outcome = report.stages.pop().map(|stage| stage.outcome);
    Ok((report.applied, outcome.unwrap_or_default()))
}
