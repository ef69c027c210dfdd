//! A native harness: runs a processor on bytes, without a host and without WebAssembly.
//!
//! See the example at the crate's front page. The harness hands the input over in any chunking, because a processor that
//! is right for one chunking and wrong for another is the most common mistake there is.

pub(crate) mod documents;
mod filter;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod keys;
mod storage;

use std::cell::RefCell;
use std::io::{self, BufRead, Read, Write};
use std::sync::Once;

use crate::{ConfigValue, Descriptor, Error, IoError, Job, Outcome, Payload, Processor};

pub use documents::MadeDocument;
pub use filter::{TestRecord, select};
pub use storage::{MemoryStore, TestHost};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use storage::{different_bytes, now};

/// How the input is cut into chunks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Chunking {
    /// All of it at once.
    Whole,
    /// This many bytes at a time; 0 counts as 1.
    Bytes(usize),
    /// Between 1 byte and 32 KiB at a time, mostly short, the same for the same seed.
    Random(u64),
}

/// Everything that a host would decide about a run.
#[derive(Clone, Debug)]
pub struct Harness {
    chunking: Chunking,
    job: Job,
    media_type: Option<String>,
    break_output_after: Option<u64>,
    #[cfg(not(target_arch = "wasm32"))]
    unwrapping: keys::Unwrapping,
}

impl Default for Harness {
    fn default() -> Self {
        Self::new()
    }
}

impl Harness {
    /// The input in one chunk, no configuration, and the first conversion that the processor describes.
    pub fn new() -> Self {
        Self {
            chunking: Chunking::Whole,
            job: Job::new("", ""),
            media_type: None,
            break_output_after: None,
            #[cfg(not(target_arch = "wasm32"))]
            unwrapping: keys::Unwrapping::default(),
        }
    }

    /// Grants keys: says what [`keys::unwrap`](crate::keys::unwrap) opens, by its scheme. Without this it is denied.
    #[cfg(not(target_arch = "wasm32"))]
    #[must_use]
    pub fn unwrapping(
        mut self,
        unwrap: impl Fn(&str, &[u8]) -> Result<Vec<u8>, crate::keys::UnwrapError> + 'static,
    ) -> Self {
        self.unwrapping = keys::Unwrapping::new(unwrap);
        self
    }

    /// Sets the chunking.
    #[must_use]
    pub fn chunking(mut self, chunking: Chunking) -> Self {
        self.chunking = chunking;
        self
    }

    /// Sets a configuration key. Unlike the host, the harness does not know the defaults in `plugin.toml`.
    #[must_use]
    pub fn config(mut self, key: &str, value: impl Into<ConfigValue>) -> Self {
        self.job.raw_config.set(key, value);
        self
    }

    /// Sets an annotation of the layer's descriptor.
    #[must_use]
    pub fn annotation(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.job.descriptor.annotations.insert(key.into(), value.into());
        self
    }

    /// Sets the layer's descriptor.
    #[must_use]
    pub fn descriptor(mut self, descriptor: Descriptor) -> Self {
        self.job.descriptor = descriptor;
        self
    }

    /// Sets the payload.
    #[must_use]
    pub fn payload(mut self, payload: Payload) -> Self {
        self.job.payload = Some(payload);
        self
    }

    /// Sets the media type of the input, which must be one that the processor accepts.
    #[must_use]
    pub fn media_type(mut self, media_type: impl Into<String>) -> Self {
        self.media_type = Some(media_type.into());
        self
    }

    /// Fails the output with [`IoError::Broken`] once this many bytes were written.
    #[must_use]
    pub fn break_output_after(mut self, bytes: u64) -> Self {
        self.break_output_after = Some(bytes);
        self
    }

    /// Runs a processor on `input`.
    ///
    /// # Panics
    ///
    /// When the processor does not accept the media type, because then the test is wrong.
    pub fn run<P: Processor>(&self, input: &[u8]) -> Run {
        let mut job = self.job.clone();
        let info = P::describe();
        let conversion = info.conversions.iter().find(|conversion| {
            self.media_type
                .as_ref()
                .is_none_or(|wanted| *wanted == conversion.accepts)
        });
        let Some(conversion) = conversion else {
            panic!("{} does not accept {:?}", info.name, self.media_type);
        };
        job.input_media_type.clone_from(&conversion.accepts);
        job.output_media_type.clone_from(&conversion.returns);

        collect_logs();
        documents::take();
        #[cfg(not(target_arch = "wasm32"))]
        keys::set(self.unwrapping.clone());
        let mut chunks = Chunks::new(input, self.chunking);
        let mut sink = Sink {
            bytes: Vec::new(),
            limit: self.break_output_after,
        };
        let result = P::default().run(&job, &mut chunks, &mut sink);
        Run {
            output: sink.bytes,
            result,
            logs: LOGS.with(RefCell::take),
            documents: documents::take(),
            unread: chunks.rest.len(),
        }
    }

    /// Checks that the result does not depend on how the input is cut: whole, byte by byte, in blocks around the
    /// sizes that formats like, and at random.
    ///
    /// # Panics
    ///
    /// When it does, naming the chunking.
    pub fn assert_chunking_invariant<P: Processor>(&self, input: &[u8]) {
        let whole = self.clone().chunking(Chunking::Whole).run::<P>(input);
        let sizes = [1, 2, 7, 511, 512, 513, 4096, 65536].map(Chunking::Bytes);
        let seeds = (0..8).map(Chunking::Random);
        for chunking in sizes.into_iter().chain(seeds) {
            let run = self.clone().chunking(chunking).run::<P>(input);
            assert!(
                run.output == whole.output,
                "the output depends on the chunking: {chunking:?}"
            );
            assert_eq!(
                run.result, whole.result,
                "the result depends on the chunking: {chunking:?}"
            );
            assert!(
                run.documents == whole.documents,
                "the documents depend on the chunking: {chunking:?}"
            );
        }
    }
}

/// What a processor did.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// All that it wrote.
    pub output: Vec<u8>,
    /// What it returned.
    pub result: Result<Outcome, Error>,
    /// What it logged through the `log` crate, in order.
    pub logs: Vec<(log::Level, String)>,
    /// The documents that it made, in order.
    pub documents: Vec<MadeDocument>,
    /// How many bytes of the input it left unread.
    pub unread: usize,
}

impl Run {
    /// The outcome.
    ///
    /// # Panics
    ///
    /// When there was an error.
    pub fn outcome(&self) -> &Outcome {
        match &self.result {
            Ok(outcome) => outcome,
            Err(error) => panic!("the processor failed: {error}"),
        }
    }
}

struct Chunks<'a> {
    rest: &'a [u8],
    current: usize,
    chunking: Chunking,
    random: u64,
}

impl<'a> Chunks<'a> {
    fn new(input: &'a [u8], chunking: Chunking) -> Self {
        let random = if let Chunking::Random(seed) = chunking {
            seed
        } else {
            0
        };
        Self {
            rest: input,
            current: 0,
            chunking,
            random,
        }
    }

    /// SplitMix64: small, and good enough to choose where to cut.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn next_size(&mut self) -> usize {
        match self.chunking {
            Chunking::Whole => usize::MAX,
            Chunking::Bytes(bytes) => bytes.max(1),
            Chunking::Random(_) => {
                let random = self.next_random();
                let bits = random >> 60;
                1 + (random as usize & ((1usize << bits) - 1))
            }
        }
    }
}

impl BufRead for Chunks<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.current == 0 {
            self.current = self.next_size().min(self.rest.len());
        }
        Ok(&self.rest[..self.current])
    }

    fn consume(&mut self, amount: usize) {
        let amount = amount.min(self.current);
        self.rest = &self.rest[amount..];
        self.current -= amount;
    }
}

impl Read for Chunks<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let amount = self.fill_buf()?.read(buffer)?;
        self.consume(amount);
        Ok(amount)
    }
}

struct Sink {
    bytes: Vec<u8>,
    limit: Option<u64>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self
            .limit
            .is_some_and(|limit| (self.bytes.len() + bytes.len()) as u64 > limit)
        {
            return Err(IoError::Broken.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

thread_local! {
    static LOGS: RefCell<Vec<(log::Level, String)>> = const { RefCell::new(Vec::new()) };
}

struct Collector;

impl log::Log for Collector {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LOGS.with(|logs| {
            logs.borrow_mut()
                .push((record.level(), record.args().to_string()));
        });
    }

    fn flush(&self) {}
}

/// Makes the `log` crate write to this thread's list. A logger that the test has installed before stays.
fn collect_logs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if log::set_logger(&Collector).is_ok() {
            log::set_max_level(log::LevelFilter::Trace);
        }
    });
    LOGS.with(|logs| logs.borrow_mut().clear());
}
