//! One layer through its stages, all at work at once.
//!
//! ```text
//! blob ─ read + hash ─▶ stage ─▶ stage ─┬▶ diffID
//!                                       └▶ sink (tar apply)
//! ```
//!
//! Each box is a [thread](crate::workers), each arrow a bounded [pipe](crate::pipe). Of a small layer one thread does box after box
//! ([`rest`]), until a pipe is full. The reader announces the blob's end only after its digest was found right, so nothing
//! downstream takes a damaged blob for a whole one. When several boxes fail, the one nearest the blob that is not merely an
//! echo of another is the cause.

mod rest;

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use transom_oci::{Algorithm, Descriptor, Digest, Hasher};
use transom_sys::clock::thread_cpu;

use crate::apply::ApplyError;
use crate::buffer::Pool;
use crate::cancel::Cancel;
use crate::chain::Step;
use crate::limits::{BLOB_CHUNKS, OutputLimits, PIPE_CHUNKS, SMALL_BLOB_BYTES};
use crate::pipe::{Guard, Input, Output, Start, pipe, pipe_of};
use crate::stage::{HandlerKind, Job, Outcome, Payload, Stage, StageError, Verdict};
use crate::workers::Workers;

use rest::{Rest, here};

/// A layer and the way it shall take.
pub struct Layer<'a> {
    /// The blob's bytes.
    pub blob: Box<dyn Read + Send>,
    /// What the blob should be.
    pub descriptor: &'a Descriptor,
    /// Whether the blob must have the descriptor's digest and size; not for a stream that nobody described.
    pub verify: bool,
    /// The stages, as planned by a [`Chain`](crate::chain::Chain).
    pub steps: &'a [Step],
    /// The algorithm for the digest of the final tar.
    pub diff_algorithm: Algorithm,
    /// Payloads by the handler's name.
    pub payloads: &'a [(String, Payload)],
    /// What the stages may put out.
    pub limits: OutputLimits,
    /// The request to stop.
    pub cancel: Cancel,
    /// Where buffers come from; shared by the layers of one job.
    pub pool: Pool,
    /// The threads; shared likewise.
    pub workers: Workers,
    /// How far the reader is, in bytes of the blob.
    pub progress: Arc<AtomicU64>,
}

/// What became of a layer.
#[derive(Debug)]
pub struct LayerReport<T> {
    /// The digest of the plain tar, to its very end.
    pub diff_id: Digest,
    /// Bytes of the plain tar.
    pub diff_size: u64,
    /// Each stage, in the order of the flow.
    pub stages: Vec<StageReport>,
    /// What the sink made of the tar.
    pub applied: T,
    /// CPU time of reading and hashing the blob.
    pub read_cpu: Duration,
    /// CPU time of hashing the tar.
    pub hash_cpu: Duration,
    /// CPU time of the sink.
    pub apply_cpu: Duration,
    /// From start to end.
    pub wall: Duration,
}

/// What a stage did.
#[derive(Debug)]
pub struct StageReport {
    /// The handler's name.
    pub name: String,
    /// How it did its work.
    pub kind: HandlerKind,
    /// The media type that went in.
    pub input: String,
    /// The media type that came out.
    pub output: String,
    /// Bytes read.
    pub bytes_in: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// CPU time of its thread; an external program's own time is not in it.
    pub cpu: Duration,
    /// What it reported.
    pub outcome: Outcome,
}

/// Why a layer failed.
#[derive(Debug, thiserror::Error)]
pub enum PumpError<E> {
    /// A stage, or reading the blob (`stage` is "blob").
    #[error("stage {stage}: {source}")]
    Stage {
        /// The stage's name.
        stage: String,
        /// What went wrong.
        source: StageError,
    },
    /// A stage found that the layer must not be used.
    #[error("stage {stage} refused the layer: {reason}")]
    Refused {
        /// The stage's name.
        stage: String,
        /// Why.
        reason: String,
        /// What it found.
        outcome: Box<Outcome>,
    },
    /// The sink.
    #[error(transparent)]
    Sink(E),
    /// The job was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// A thread panicked: a fault of this program, not of the layer.
    #[error("internal fault: the {stage} thread panicked")]
    Panicked {
        /// Which.
        stage: String,
    },
}

/// What a sink's error must tell the pump.
pub trait SinkError: Send {
    /// Whether damaged bytes could have caused it.
    fn may_be_damage(&self) -> bool;
}

impl SinkError for ApplyError {
    fn may_be_damage(&self) -> bool {
        matches!(
            self,
            ApplyError::Tar(_) | ApplyError::Invalid { .. } | ApplyError::UnhandledType { .. }
        )
    }
}

/// Runs a layer through its stages into `sink`, which gets the plain tar on a thread of its own.
pub fn run<T, E>(
    layer: Layer<'_>,
    sink: impl FnOnce(&mut Input) -> Result<T, E> + Send + 'static,
) -> Result<LayerReport<T>, PumpError<E>>
where
    T: Send + 'static,
    E: SinkError + 'static,
{
    let start = Instant::now();
    let stages = open_stages(&layer)?;
    let (steps, cancel, algorithm) = (layer.steps, layer.cancel.clone(), layer.diff_algorithm);
    let guard = Guard {
        cancel: cancel.clone(),
        limits: layer.limits,
        blob_size: layer.descriptor.size,
    };
    let workers = layer.workers.clone();
    let suspect = Suspicion::default();
    let at_once = !layer.is_small();
    let mut ends = pipes(stages.len(), &guard, &layer.pool);
    let blob = BlobReader::new(layer);
    let (mut to_hash, to_sink) = (ends.to_hash, ends.to_sink);
    let hasher = Rest::new(&workers, move || timed(|| hash(algorithm, &mut to_hash)));
    let doubt = suspect.clone();
    let applier = Rest::new(&workers, move || timed(|| apply(sink, to_sink, &doubt)));
    let mut readers = vec![hasher.starter(), applier.starter()];
    let mut working = Vec::with_capacity(stages.len());
    for ((stage, input), output) in stages
        .into_iter()
        .zip(ends.tails)
        .zip(ends.heads.drain(1..))
        .rev()
    {
        let (doubt, output) = (suspect.clone(), started(output, &mut readers, at_once));
        let rest = Rest::new(&workers, move || timed(|| work(stage, input, output, &doubt)));
        readers = vec![rest.starter()];
        working.push(rest);
    }
    let head = started(ends.heads.remove(0), &mut readers, at_once);
    let joined = Joined {
        read: here(|| timed(|| blob.run(head, &suspect))),
        worked: working.into_iter().rev().map(Rest::finish).collect(),
        hashed: hasher.finish(),
        applied: applier.finish(),
    };
    joined.settle(steps, &cancel, start)
}

/// The writing end whose readers are at work at once, or when it is full.
fn started(mut output: Output, readers: &mut Vec<Arc<dyn Start>>, at_once: bool) -> Output {
    let readers = std::mem::take(readers);
    if at_once {
        readers.iter().for_each(|reader| reader.start());
    } else {
        output.start_when_full(readers);
    }
    output
}

fn open_stages<E>(layer: &Layer<'_>) -> Result<Vec<Box<dyn Stage>>, PumpError<E>> {
    let open = |step: &Step| {
        let name = step.handler.name();
        let mut payloads = layer.payloads.iter();
        let payload = payloads.clone().find(|(to, _)| to == name);
        let payload = payload.or_else(|| payloads.find(|(to, _)| step.handler.takes_payload(to)));
        let payload = payload.map(|(_, payload)| payload.clone());
        let job = Job {
            input_media_type: step.input.clone(),
            output_media_type: step.output.clone(),
            descriptor: layer.descriptor.clone(),
            payload,
            cancel: layer.cancel.clone(),
        };
        step.handler.open(&job).map_err(|source| PumpError::Stage {
            stage: name.to_owned(),
            source,
        })
    };
    layer.steps.iter().map(open).collect()
}

/// The ends of all pipes: `heads[i]` writes what `tails[i]` reads; the last head writes to hash and sink.
struct Ends {
    heads: Vec<Output>,
    tails: Vec<Input>,
    to_hash: Input,
    to_sink: Input,
}

fn pipes(stages: usize, guard: &Guard, pool: &Pool) -> Ends {
    let (mut heads, mut tails) = (Vec::new(), Vec::new());
    for stage in 0..stages {
        let chunks = if stage == 0 { BLOB_CHUNKS } else { PIPE_CHUNKS };
        let (head, readers) = pipe_of(chunks, 1, guard.clone(), pool.clone());
        heads.push(head);
        tails.extend(readers);
    }
    let (head, mut readers) = pipe(2, guard.clone(), pool.clone());
    heads.push(head);
    let to_sink = readers.remove(1);
    Ends {
        heads,
        tails,
        to_hash: readers.remove(0),
        to_sink,
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let before = thread_cpu();
    let result = work();
    (result, thread_cpu().saturating_sub(before))
}

struct Worked {
    outcome: Outcome,
    bytes_in: u64,
    bytes_out: u64,
}

/// Whether a failure may be explained by damage to the blob. It is raised before the pipes close, so that the reader
/// knows of it when it finds that nobody reads on.
#[derive(Clone, Default)]
struct Suspicion(Arc<AtomicBool>);

impl Suspicion {
    fn raise_if(&self, damage: bool) {
        if damage {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    fn is_raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

fn work(
    stage: Box<dyn Stage>,
    mut input: Input,
    mut output: Output,
    suspect: &Suspicion,
) -> Result<Worked, StageError> {
    let ran = stage.run(&mut input, &mut output);
    suspect.raise_if(ran.as_ref().is_err_and(StageError::may_be_damage));
    let outcome = ran?;
    let bytes_out = output.counter();
    if outcome.verdict == Verdict::Continue {
        // A stage may be content before the end, but what it left unread must still be read: the blob's digest covers it.
        input.drain()?;
        output.finish()?;
    }
    Ok(Worked {
        outcome,
        bytes_in: input.consumed(),
        bytes_out: bytes_out.load(Ordering::Relaxed),
    })
}

fn apply<T, E: SinkError>(
    sink: impl FnOnce(&mut Input) -> Result<T, E>,
    mut input: Input,
    suspect: &Suspicion,
) -> Result<T, E> {
    let applied = sink(&mut input);
    // Before the pipe closes.
    suspect.raise_if(applied.as_ref().is_err_and(E::may_be_damage));
    applied
}

fn hash(algorithm: Algorithm, input: &mut Input) -> Result<(Digest, u64), StageError> {
    let mut hasher = Hasher::new(algorithm);
    while let Some(chunk) = input.next_chunk()? {
        hasher.update(&chunk);
    }
    Ok((hasher.finish(), input.consumed()))
}

/// The first box: reads the blob, checks it, and passes it on.
struct BlobReader {
    blob: Box<dyn Read + Send>,
    expected: Option<(Digest, u64)>,
    cancel: Cancel,
    pool: Pool,
    progress: Arc<AtomicU64>,
}

impl BlobReader {
    fn new(layer: Layer<'_>) -> BlobReader {
        BlobReader {
            blob: layer.blob,
            expected: layer
                .verify
                .then(|| (layer.descriptor.digest.clone(), layer.descriptor.size)),
            cancel: layer.cancel,
            pool: layer.pool,
            progress: layer.progress,
        }
    }

    fn run(mut self, mut head: Output, suspect: &Suspicion) -> Result<(), StageError> {
        let mut hasher = self
            .expected
            .as_ref()
            .map(|(digest, _)| Hasher::new(digest.algorithm()));
        let mut total = 0;
        let mut downstream = Ok(());
        loop {
            if self.cancel.is_requested() {
                return Err(StageError::Cancelled);
            }
            let mut buffer = self.pool.take();
            let ended = fill(&mut self.blob, &mut buffer).map_err(StageError::Read)?;
            total += buffer.len() as u64;
            self.check_size(total, ended)?;
            if let Some(hasher) = &mut hasher {
                hasher.update(buffer.as_ref());
            }
            self.progress.store(total, Ordering::Relaxed);
            if downstream.is_ok() {
                downstream = head.send(buffer.freeze());
            }
            // Whoever stopped reading may have met damage that only the digest explains: then it is read to the end.
            if downstream.is_err() && !suspect.is_raised() {
                return downstream;
            }
            if ended {
                break;
            }
        }
        self.check_digest(hasher)?;
        downstream?;
        head.finish()
    }

    fn check_size(&self, actual: u64, ended: bool) -> Result<(), StageError> {
        match &self.expected {
            Some((digest, expected)) if actual > *expected || ended && actual < *expected => {
                Err(StageError::BlobSize {
                    digest: digest.clone(),
                    expected: *expected,
                    actual,
                })
            }
            _ => Ok(()),
        }
    }

    fn check_digest(&self, hasher: Option<Hasher>) -> Result<(), StageError> {
        let Some(((expected, _), hasher)) = self.expected.as_ref().zip(hasher) else {
            return Ok(());
        };
        let actual = hasher.finish();
        if actual == *expected {
            Ok(())
        } else {
            Err(StageError::BlobDigest {
                expected: expected.clone(),
                actual,
            })
        }
    }
}

fn fill(blob: &mut impl Read, buffer: &mut crate::buffer::Buffer) -> std::io::Result<bool> {
    while !buffer.is_full() {
        match blob.read(buffer.spare()) {
            Ok(0) => return Ok(true),
            Ok(count) => buffer.advance(count),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// A thread's result and its CPU time; `None` is a panic.
type Ended<T, E = StageError> = Option<(Result<T, E>, Duration)>;

/// What each thread came back with.
struct Joined<T, E> {
    read: Ended<()>,
    worked: Vec<Ended<Worked>>,
    hashed: Ended<(Digest, u64)>,
    applied: Ended<T, E>,
}

impl<T, E: SinkError> Joined<T, E> {
    /// One result of many: the cause nearest the blob, or the report.
    fn settle(self, steps: &[Step], cancel: &Cancel, start: Instant) -> Result<LayerReport<T>, PumpError<E>> {
        let name = |index: usize| steps[index].handler.name().to_owned();
        let panicked = |stage: &str| PumpError::Panicked {
            stage: stage.to_owned(),
        };
        let (read, read_cpu) = self.read.ok_or_else(|| panicked("blob"))?;
        let (hashed, hash_cpu) = self.hashed.ok_or_else(|| panicked("hash"))?;
        let mut worked = Vec::with_capacity(self.worked.len());
        for (index, result) in self.worked.into_iter().enumerate() {
            worked.push(result.ok_or_else(|| panicked(&name(index)))?);
        }
        if cancel.is_requested() {
            return Err(PumpError::Cancelled);
        }
        let at = |stage: String| move |source| PumpError::Stage { stage, source };
        cause(read).map_err(at("blob".into()))?;
        let mut stages = Vec::with_capacity(worked.len());
        for (index, (result, cpu)) in worked.into_iter().enumerate() {
            let Some(done) = cause(result).map_err(at(name(index)))? else {
                continue;
            };
            if let Verdict::Refuse { reason } = &done.outcome.verdict {
                let (stage, reason) = (name(index), reason.clone());
                return Err(PumpError::Refused {
                    stage,
                    reason,
                    outcome: Box::new(done.outcome),
                });
            }
            stages.push(report(&steps[index], done, cpu));
        }
        let (applied, apply_cpu) = self.applied.ok_or_else(|| panicked("apply"))?;
        let applied = applied.map_err(PumpError::Sink)?;
        let (diff_id, diff_size) = hashed.map_err(at("hash".into()))?;
        let wall = start.elapsed();
        Ok(LayerReport {
            diff_id,
            diff_size,
            stages,
            applied,
            read_cpu,
            hash_cpu,
            apply_cpu,
            wall,
        })
    }
}

/// `None` for an echo of a failure elsewhere.
fn cause<V>(result: Result<V, StageError>) -> Result<Option<V>, StageError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_echo() => Ok(None),
        Err(error) => Err(error),
    }
}

fn report(step: &Step, done: Worked, cpu: Duration) -> StageReport {
    StageReport {
        name: step.handler.name().to_owned(),
        kind: step.handler.kind(),
        input: step.input.clone(),
        output: step.output.clone(),
        bytes_in: done.bytes_in,
        bytes_out: done.bytes_out,
        cpu,
        outcome: done.outcome,
    }
}

impl Layer<'_> {
    /// Whether it is done sooner than handed on.
    fn is_small(&self) -> bool {
        self.verify && self.descriptor.size <= SMALL_BLOB_BYTES
    }
}

impl std::fmt::Debug for Layer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Layer")
            .field("descriptor", &self.descriptor)
            .field("steps", &self.steps)
            .finish_non_exhaustive()
    }
}
