//! The threads of a comparison: walk, hash, compress; the caller's own writes to the sink.

use std::io::Write;
use std::slice;
use std::sync::Arc;

use transom_oci::{Algorithm, Digest, Hasher};
use transom_sys::Sys;

use super::emit::Emitter;
use super::error::CompareError;
use super::report::{CompareReport, Counts};
use super::view::{View, open_roots};
use super::walk::{Walker, trouble_at};
use super::{Changes, CompareOptions};
use crate::compress::{Compression, compress};
use crate::limits::OutputLimits;
use crate::pipe::{Guard, Input, Output, pipe};
use crate::stage::StageError;
use crate::workers::Running;

/// What a hash came to, and of how many bytes.
type Hashed = (Digest, u64);

pub(super) fn run<S: Sys + Send + Sync + 'static>(
    sys: Arc<S>,
    changes: Changes,
    options: &CompareOptions,
    sink: &mut dyn Write,
) -> Result<CompareReport, CompareError> {
    let guard = guard(options);
    let (head, mut tails) = pipe(2, guard.clone(), options.pool.clone());
    let (to_sink, mut to_hash) = (tails.remove(1), tails.remove(0));
    let own = options.clone();
    let walker = options.workers.run(move || walk(&*sys, changes, &own, head));
    let hasher = options.workers.run(move || hash(&mut to_hash));
    let (to_sink, compressor) = match options.compression {
        Compression::None => (to_sink, None),
        _ => {
            let (end, compressor) = start_compressor(to_sink, &guard, options);
            (end, Some(compressor))
        }
    };
    let is_compressed = compressor.is_some();
    let delivered = deliver(to_sink, sink, is_compressed);
    let ended = Ended {
        walked: walker.join(),
        hashed: hasher.join(),
        compressed: compressor.map_or(Some(Ok(())), Running::join),
        delivered,
    };
    ended.settle(options)
}

/// The pipes' guard: nobody sent these bytes, so only the request to stop matters.
fn guard(options: &CompareOptions) -> Guard {
    Guard {
        cancel: options.cancel.clone(),
        limits: OutputLimits {
            bytes: u64::MAX,
            ratio: u64::MAX,
        },
        blob_size: 1,
    }
}

/// Compresses what comes from `input` on a thread of its own; answers where the result comes out.
fn start_compressor(
    mut input: Input,
    guard: &Guard,
    options: &CompareOptions,
) -> (Input, Running<Result<(), StageError>>) {
    let (mut output, mut ends) = pipe(1, guard.clone(), options.pool.clone());
    let (how, threads) = (options.compression, options.compressors.get());
    let workers = options.workers.clone();
    let running = options.workers.run(move || {
        compress(how, &mut input, &mut output, &workers, threads)?;
        output.finish()
    });
    (ends.remove(0), running)
}

/// Walks the trees into `output`.
fn walk<S: Sys>(
    sys: &S,
    changes: Changes,
    options: &CompareOptions,
    output: Output,
) -> Result<Counts, CompareError> {
    let (lowers, upper, marks) = match changes {
        Changes::Trees { lower, upper } => (lower.into_iter().collect(), upper, None),
        Changes::Overlay { upper, lowers, marks } => (lowers, upper, Some(marks)),
    };
    let at_root = |errno| CompareError::io(b"", "open", errno);
    let upper = open_roots(sys, slice::from_ref(&upper)).map_err(at_root)?;
    let lowers = open_roots(sys, &lowers).map_err(at_root)?;
    let folders = lowers.len() + 1;
    let view = |roots| View::new(sys, roots, marks, folders).map_err(|trouble| trouble_at(b"", trouble));
    let views = (view(&lowers)?, view(&upper)?);
    let emitter = Emitter::new(sys, output, marks, options.source_date_epoch, options.limits);
    let walker = Walker::new(sys, views, emitter, options.cancel.clone(), options.limits);
    let (output, counts) = walker.run()?;
    let ended = output.finish().map_err(std::io::Error::from);
    ended.map_err(|error| CompareError::write(b"", error.into()))?;
    Ok(counts)
}

fn hash(input: &mut Input) -> Result<Hashed, StageError> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    while let Some(chunk) = input.next_chunk()? {
        hasher.update(&chunk);
    }
    Ok((hasher.finish(), input.consumed()))
}

/// Writes all that comes to `sink`, and hashes it if nobody else does.
fn deliver(
    mut input: Input,
    sink: &mut dyn Write,
    do_hash: bool,
) -> Result<Result<Option<Hashed>, StageError>, std::io::Error> {
    let mut hasher = do_hash.then(|| Hasher::new(Algorithm::Sha256));
    loop {
        match input.next_chunk() {
            Ok(Some(chunk)) => {
                if let Some(hasher) = &mut hasher {
                    hasher.update(&chunk);
                }
                sink.write_all(&chunk)?;
            }
            Ok(None) => break,
            Err(error) => return Ok(Err(error)),
        }
    }
    sink.flush()?;
    Ok(Ok(hasher.map(|hasher| (hasher.finish(), input.consumed()))))
}

/// What each part came back with; the outer `None` is a panic.
struct Ended {
    walked: Option<Result<Counts, CompareError>>,
    hashed: Option<Result<Hashed, StageError>>,
    compressed: Option<Result<(), StageError>>,
    delivered: Result<Result<Option<Hashed>, StageError>, std::io::Error>,
}

impl Ended {
    /// One result of many: the cause, or the report.
    fn settle(self, options: &CompareOptions) -> Result<CompareReport, CompareError> {
        let panicked = |part| CompareError::Panicked { part };
        let walked = self.walked.ok_or(panicked("walk"))?;
        let hashed = self.hashed.ok_or(panicked("hash"))?;
        let compressed = self.compressed.ok_or(panicked("compress"))?;
        let delivered = self.delivered.map_err(CompareError::Sink)?;
        if options.cancel.is_requested() {
            return Err(CompareError::Cancelled);
        }
        if let Err(error) = compressed
            && !error.is_echo()
        {
            return Err(CompareError::Compress(error));
        }
        let counts = walked?;
        let stopped = |_| CompareError::Stopped;
        let (diff_id, diff_size) = hashed.map_err(stopped)?;
        let (digest, size) = delivered
            .map_err(stopped)?
            .unwrap_or_else(|| (diff_id.clone(), diff_size));
        Ok(CompareReport {
            diff_id,
            diff_size,
            digest,
            size,
            counts,
        })
    }
}
