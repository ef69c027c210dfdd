//! `transom plugin bench`: what a processor costs, beside a copy of the same bytes by this program.

use std::fs;
use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use transom_layer::chain::Step;
use transom_layer::pipe::{Input, Output};
use transom_layer::pump::{LayerReport, SinkError, StageReport};
use transom_layer::stage::{Handler, HandlerKind, Job, Outcome, Stage, StageError};
use transom_oci::{Digest, media_type};
use transom_sys::clock::thread_cpu;

use super::job::{self, Prepared};
use crate::arguments::PluginBench;
use crate::commands::{print, print_json};
use crate::failure::{Failure, Kind};
use crate::interrupt::Interrupt;
use crate::show::{count, duration, printable, size};

/// Instances that are started to see what one costs.
const STARTS: usize = 200;
/// The largest layer that is held in memory to run it through a plugin.
const INPUT_BYTES: u64 = 4 << 30;

/// What was measured.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Measured<'a> {
    name: &'a str,
    version: &'a str,
    digest: &'a Digest,
    media_type: &'a str,
    returns: &'a str,
    bytes_in: u64,
    bytes_out: u64,
    chunk_bytes: u64,
    chunks: u64,
    rounds: u32,
    /// Of the larger of what went in and what came out, for each second of the plugin's CPU time.
    bytes_per_second: f64,
    /// The same for a copy of what went in.
    copy_bytes_per_second: f64,
    cpu_seconds: f64,
    cpu_seconds_per_megabyte: f64,
    cpu_seconds_per_chunk: f64,
    wall_seconds: f64,
    start_seconds: f64,
    memory_bytes: Option<u64>,
}

pub(super) fn run(command: &PluginBench, json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    if command.chunk == 0 {
        return Err(Failure::usage(
            "--chunk: a chunk has at least one byte".to_owned(),
        ));
    }
    let prepared = job::prepare(&command.job)?;
    let input = input(command, &prepared)?;
    let bench = Bench {
        prepared: &prepared,
        input,
        chunk: usize::try_from(command.chunk).unwrap_or(usize::MAX),
        rounds: command.rounds,
        interrupt,
    };
    let measured = bench.measure(command.chunk)?;
    match json {
        true => print_json(&measured),
        false => print(&text(&measured)),
    }
}

/// The layer: a file, or a tar that nobody has seen before.
fn input(command: &PluginBench, prepared: &Prepared) -> Result<Bytes, Failure> {
    if let Some(path) = &command.input {
        let failed = |error| Failure::io(path.display(), &error);
        let length = fs::metadata(path).map_err(failed)?.len();
        if length > INPUT_BYTES {
            let text = format!("{} is larger than {}", path.display(), size(INPUT_BYTES));
            return Err(Failure::new(Kind::Limit, text));
        }
        return Ok(fs::read(path).map_err(failed)?.into());
    }
    if prepared.input != media_type::LAYER_TAR {
        let text = format!(
            "{} takes {}, which is not made up here: give it a layer of that type with --input FILE",
            prepared.plugin.name(),
            prepared.input
        );
        return Err(Failure::usage(text));
    }
    tar(command.size.min(INPUT_BYTES))
}

/// A tar of files of 64 KiB that look like text and like programs.
fn tar(bytes: u64) -> Result<Bytes, Failure> {
    const FILE: u64 = 64 << 10;
    let failed = |error| Failure::io("cannot make a tar", &error);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut builder = tar::Builder::new(Vec::new());
    for number in 0..bytes.div_ceil(FILE) {
        let length = FILE.min(bytes - number * FILE);
        let content: Vec<u8> = (0..length)
            .map(|at| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(at);
                // One file of letters, one of any bytes.
                let byte = (state >> 56) as u8;
                if number % 2 == 0 { b'a' + byte % 26 } else { byte }
            })
            .collect();
        let mut header = tar::Header::new_gnu();
        header.set_size(length);
        header.set_mode(0o644);
        let name = format!("usr/share/bench/{number}");
        builder
            .append_data(&mut header, name, content.as_slice())
            .map_err(failed)?;
    }
    Ok(builder.into_inner().map_err(failed)?.into())
}

struct Bench<'a> {
    prepared: &'a Prepared,
    input: Bytes,
    chunk: usize,
    rounds: u32,
    interrupt: &'a Interrupt,
}

impl<'a> Bench<'a> {
    fn measure(&self, chunk_bytes: u64) -> Result<Measured<'a>, Failure> {
        let plugin = &self.prepared.plugin;
        let start_seconds = self.start()?.as_secs_f64();
        let (ran, wall) = self.best(&self.prepared.step())?;
        let copy = Step {
            handler: Arc::new(Native::Copy),
            input: self.prepared.input.clone(),
            output: self.prepared.input.clone(),
        };
        let (copied, _) = self.best(&copy)?;
        let chunks = (self.input.len() as u64).div_ceil(chunk_bytes);
        let cpu_seconds = ran.cpu.as_secs_f64();
        #[allow(clippy::cast_precision_loss, reason = "three figures are shown")]
        let bytes = ran.bytes_in.max(ran.bytes_out) as f64;
        #[allow(clippy::cast_precision_loss, reason = "three figures are shown")]
        let (given, pieces) = (copied.bytes_in as f64, chunks.max(1) as f64);
        Ok(Measured {
            name: plugin.name(),
            version: plugin.version(),
            digest: plugin.digest(),
            media_type: &self.prepared.input,
            returns: &self.prepared.output,
            bytes_in: ran.bytes_in,
            bytes_out: ran.bytes_out,
            chunk_bytes,
            chunks,
            rounds: self.rounds,
            bytes_per_second: rate(bytes, cpu_seconds),
            copy_bytes_per_second: rate(given, copied.cpu.as_secs_f64()),
            cpu_seconds,
            cpu_seconds_per_megabyte: cpu_seconds / (bytes / 1e6).max(f64::MIN_POSITIVE),
            cpu_seconds_per_chunk: cpu_seconds / pieces,
            wall_seconds: wall.as_secs_f64(),
            start_seconds,
            memory_bytes: ran.outcome.memory,
        })
    }

    /// The CPU time of an instance until it could take its first byte: the tenth from below, which a busy machine disturbs least.
    fn start(&self) -> Result<Duration, Failure> {
        let mut times = Vec::with_capacity(STARTS);
        for _ in 0..STARTS {
            let begin = thread_cpu();
            self.prepared.plugin.start()?;
            times.push(thread_cpu().saturating_sub(begin));
        }
        times.sort();
        Ok(times[STARTS / 10])
    }

    /// The run of a stage that took the least CPU time, and how long it took on the clock.
    fn best(&self, step: &Step) -> Result<(StageReport, Duration), Failure> {
        let chop = Step {
            handler: Arc::new(Native::Chop(self.chunk)),
            input: self.prepared.input.clone(),
            output: self.prepared.input.clone(),
        };
        let steps = [chop, step.clone()];
        let mut best: Option<(StageReport, Duration)> = None;
        for _ in 0..self.rounds {
            let blob = Box::new(Cursor::new(self.input.clone()));
            let LayerReport { mut stages, wall, .. } =
                self.prepared
                    .pump((blob, self.input.len() as u64), &steps, self.interrupt, drain)?;
            let ran = stages.pop();
            if let Some(ran) = ran.filter(|ran| best.as_ref().is_none_or(|(best, _)| ran.cpu < best.cpu)) {
                best = Some((ran, wall));
            }
        }
        best.ok_or_else(|| Failure::new(Kind::Other, "nothing was run".to_owned()))
    }
}

/// Nothing for a time that is too short to be measured.
fn rate(bytes: f64, seconds: f64) -> f64 {
    if seconds > 0.0 { bytes / seconds } else { 0.0 }
}

fn text(measured: &Measured<'_>) -> String {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "three figures are shown"
    )]
    let speed = |rate: f64| format!("{}/s", size(rate as u64));
    let time = |seconds: f64| precise(Duration::from_secs_f64(seconds));
    let share = 100.0 * measured.bytes_per_second / measured.copy_bytes_per_second.max(f64::MIN_POSITIVE);
    let memory = measured.memory_bytes.map_or_else(|| "unknown".to_owned(), size);
    format!(
        "{} {}  {}\n  layer       {} > {} in {} chunks of {}, best of {}\n  rate        {} of CPU time, {share:.0} % of a bare copy ({})\n  \
         per MB      {} of CPU time\n  per chunk   {} of CPU time\n  on the clock {}\n  start       {}\n  memory      {memory}\n",
        printable(measured.name),
        printable(measured.version),
        measured.digest.short(),
        size(measured.bytes_in),
        size(measured.bytes_out),
        count(measured.chunks),
        size(measured.chunk_bytes),
        measured.rounds,
        speed(measured.bytes_per_second),
        speed(measured.copy_bytes_per_second),
        time(measured.cpu_seconds_per_megabyte),
        time(measured.cpu_seconds_per_chunk),
        time(measured.wall_seconds),
        time(measured.start_seconds),
    )
}

/// A duration, also one of a few microseconds.
fn precise(time: Duration) -> String {
    match time.as_nanos() {
        0..100_000 => format!("{:.1} µs", time.as_secs_f64() * 1e6),
        _ => duration(time),
    }
}

/// Why the output could not be thrown away.
#[derive(Debug, thiserror::Error)]
#[error("the stage failed")]
struct Undrained(#[source] StageError);

impl SinkError for Undrained {
    fn may_be_damage(&self) -> bool {
        false
    }
}

impl From<&Undrained> for Kind {
    fn from(_: &Undrained) -> Kind {
        Kind::Other
    }
}

fn drain(input: &mut Input) -> Result<(), Undrained> {
    input.drain().map_err(Undrained)
}

/// Stages of this program.
#[derive(Clone, Copy)]
enum Native {
    /// Cuts the stream into pieces of at most one size, without copying them.
    Chop(usize),
    /// Copies each piece.
    Copy,
}

impl Handler for Native {
    fn name(&self) -> &str {
        match self {
            Native::Chop(_) => "chop",
            Native::Copy => "copy",
        }
    }

    fn kind(&self) -> HandlerKind {
        HandlerKind::Native
    }

    fn offer(&self, media_type: &str) -> Option<String> {
        Some(media_type.to_owned())
    }

    fn open(&self, _: &Job) -> Result<Box<dyn Stage>, StageError> {
        Ok(Box::new(*self))
    }
}

impl Stage for Native {
    fn run(self: Box<Self>, input: &mut Input, output: &mut Output) -> Result<Outcome, StageError> {
        let (most, copies) = match *self {
            Native::Chop(most) => (most, false),
            Native::Copy => (usize::MAX, true),
        };
        loop {
            let chunk = input.read_up_to(most)?;
            if chunk.is_empty() {
                return Ok(Outcome::default());
            }
            output.send(if copies {
                Bytes::copy_from_slice(&chunk)
            } else {
                chunk
            })?;
        }
    }
}
