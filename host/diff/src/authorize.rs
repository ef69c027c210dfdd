//! Whether a layer that is there already could be had by whoever asks for it.
//!
//! A processor that decrypts must have unwrapped its key before its first byte comes out. So the layer goes on its way as if
//! it were applied, until the first entry of its tar is there, and then everything is stopped. That the entry is one of a tar is
//! looked at as well: a cipher that does not notice a wrong key puts out noise.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use transom_layer::cancel::Cancel;
use transom_layer::chain::Step;
use transom_layer::native::needs_processor;
use transom_layer::pipe::Input;
use transom_layer::pump::{self, PumpError, SinkError};
use transom_layer::stage::HandlerKind;
use transom_layer::tar::{Reader, TarError};
use transom_oci::Algorithm;
use transom_oci::media_type::LAYER_TAR;

use crate::DiffError;
use crate::apply::plan;
use crate::blobs::{Blobs, Opened};
use crate::differ::AuthorizeRequest;
use crate::walking::Working;

/// What came out of the processors is no tar.
#[derive(Debug, thiserror::Error)]
#[error("what its processors make of it is no layer, as with a wrong key: {0}")]
pub struct NoTar(TarError);

impl SinkError for NoTar {
    fn may_be_damage(&self) -> bool {
        true
    }
}

/// See [`Differ::authorize`](crate::Differ::authorize).
pub(crate) fn authorize(
    differ: &Working<'_>,
    blobs: &dyn Blobs,
    request: &AuthorizeRequest<'_>,
) -> Result<(), DiffError> {
    if !needs_processor(&request.descriptor.media_type) {
        return Ok(());
    }
    let steps = steps(differ, &request.descriptor.media_type)?;
    let opened = blobs
        .open(&request.descriptor.digest)
        .map_err(|source| DiffError::Content {
            doing: "failed to get reader from content store",
            source,
        })?;
    let seen = Arc::new(AtomicBool::new(false));
    let ran = run(differ, opened, &steps, request, &seen);
    // Stopping what still runs looks like a failure, which says nothing any more.
    if seen.load(Ordering::SeqCst) {
        return Ok(());
    }
    match ran {
        // A layer without entries, which has no first one: then all of it was read.
        Ok(actual) if actual.diff_id == *request.diff_id => Ok(()),
        Ok(actual) => Err(DiffError::OtherTar {
            expected: request.diff_id.clone(),
            actual: actual.diff_id,
        }),
        Err(PumpError::Cancelled) => Err(DiffError::Cancelled),
        Err(source) => Err(DiffError::Denied {
            source: Box::new(source),
        }),
    }
}

/// The way to the plain tar, without those who only look at that.
fn steps(differ: &Working<'_>, media_type: &str) -> Result<Vec<Step>, DiffError> {
    let mut steps = plan(differ, media_type)?;
    let end = steps.iter().position(|step| step.output == LAYER_TAR);
    steps.truncate(end.map_or(steps.len(), |end| end + 1));
    let unread = steps
        .iter()
        .find(|step| step.handler.kind() == HandlerKind::Native && needs_processor(&step.input));
    match unread {
        Some(step) => Err(DiffError::Unread {
            media_type: step.input.clone(),
        }),
        None => Ok(steps),
    }
}

/// Sets `seen` when the first entry is there, and stops.
fn run(
    differ: &Working<'_>,
    opened: Opened,
    steps: &[Step],
    request: &AuthorizeRequest<'_>,
    seen: &Arc<AtomicBool>,
) -> Result<pump::LayerReport<()>, PumpError<NoTar>> {
    let mut descriptor = request.descriptor.clone();
    if descriptor.size == 0 {
        descriptor.size = opened.size;
    }
    let stop = Cancel::new();
    let passed_on = stop.clone();
    let _hook = request.cancel.on_cancel(move || passed_on.cancel());
    let layer = pump::Layer {
        blob: opened.bytes,
        descriptor: &descriptor,
        verify: true,
        steps,
        diff_algorithm: Algorithm::Sha256,
        payloads: request.payloads,
        limits: differ.settings.output,
        cancel: stop.clone(),
        pool: differ.pool.clone(),
        workers: differ.workers.clone(),
        progress: Arc::new(AtomicU64::new(0)),
    };
    let (seen, limits) = (Arc::clone(seen), differ.settings.apply.tar);
    pump::run(layer, move |input: &mut Input| {
        let mut tar = Reader::new(input, limits);
        match tar.next_entry().map_err(NoTar)? {
            Some(_) => {
                seen.store(true, Ordering::SeqCst);
                stop.cancel();
                Ok(())
            }
            None => tar.drain().map_err(NoTar),
        }
    })
}
