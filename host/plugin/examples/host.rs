//! Measures a host of many plugins, and one under attack.
//!
//! `host idle FOLDER COUNT` loads COUNT plugins that differ from the one in FOLDER by a number only, twice: the first time compiles
//! them. `host attack FOLDER JOBS` runs JOBS jobs of plugins that crash, loop, flood or leak, beside those of the plugin in FOLDER.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures for people"
)]
#![allow(clippy::unwrap_used, reason = "the guests of the tests are sound")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use transom_layer::buffer::Pool;
use transom_layer::cancel::Cancel;
use transom_layer::chain::Step;
use transom_layer::limits::OutputLimits;
use transom_layer::pipe::Input;
use transom_layer::pump::{self, Layer, SinkError};
use transom_layer::stage::Handler;
use transom_layer::workers::Workers;
use transom_oci::media_type::LAYER_TAR;
use transom_oci::{Algorithm, Descriptor, Digest};
use transom_plugin::config::Values;
use transom_plugin::{Host, HostConfig, Limits};

#[expect(dead_code, reason = "the tests need all of it")]
#[path = "../tests/support/guests.rs"]
mod guests;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Plugins that misbehave, each in its way.
const ATTACKERS: [&str; 6] = ["trap", "loop", "write", "chatter", "allocate", "busy"];

/// What an attacker may cost: little, so that there is time for many.
fn limits() -> Limits {
    Limits {
        stall: Duration::from_millis(50),
        cpu: Duration::from_millis(100),
        output: 64 << 20,
        ..Limits::default()
    }
}

/// How long the rate without an attack is measured.
const QUIET: Duration = Duration::from_secs(3);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["idle", folder, count] => idle(Path::new(folder), count.parse()?),
        ["attack", folder, jobs] => attack(Path::new(folder), jobs.parse()?),
        _ => Err("host idle|attack FOLDER NUMBER".into()),
    }
}

/// CPU time of this thread.
fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Bytes of this process in memory: all of them, and those that no file backs.
fn resident() -> Result<(u64, u64)> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let field = |name: &str| -> Result<u64> {
        let line = status
            .lines()
            .find(|line| line.starts_with(name))
            .ok_or("no field")?;
        let number = line.split_whitespace().nth(1).ok_or("no number")?;
        Ok(number.parse::<u64>()? << 10)
    };
    Ok((field("VmRSS:")?, field("RssAnon:")?))
}

/// The component again, with a section that nobody reads, so that it has another digest.
fn variant(component: &[u8], number: u32) -> Vec<u8> {
    let content = [&[4][..], b"copy", &number.to_le_bytes()].concat();
    let mut bytes = component.to_vec();
    bytes.push(0);
    bytes.push(content.len() as u8);
    bytes.extend(content);
    bytes
}

fn idle(folder: &Path, count: u32) -> Result<()> {
    let name = folder
        .file_name()
        .ok_or("no name")?
        .to_string_lossy()
        .into_owned();
    let component = std::fs::read(folder.join(format!("{name}.wasm")))?;
    let cache = tempfile::tempdir()?;
    let config = HostConfig {
        cache_dir: Some(cache.path().join("compiled")),
        ..HostConfig::default()
    };
    for pass in ["compiled", "loaded again"] {
        let host = Host::new(config.clone())?;
        // What the engine itself takes is not the plugins'.
        let first = host.load_bytes(&variant(&component, u32::MAX), None)?;
        let before = resident()?;
        let start = Instant::now();
        let plugins = (0..count)
            .map(|number| host.load_bytes(&variant(&component, number), None))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let took = start.elapsed();
        let after = resident()?;
        let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / f64::from(count) / 1e6;
        println!(
            "  {count} plugins {pass} in {:.2} s: {:.2} MB in memory each, {:.2} of which no file backs   (wanted: under 5)",
            took.as_secs_f64(),
            each(after.0, before.0),
            each(after.1, before.1),
        );
        drop((first, plugins));
    }
    Ok(())
}

#[derive(Debug, thiserror::Error)]
#[error("never")]
struct Never;

impl SinkError for Never {
    fn may_be_damage(&self) -> bool {
        false
    }
}

/// How the jobs of one kind do.
#[derive(Clone, Copy)]
struct Rate {
    /// Jobs in a second of the clock.
    per_second: f64,
    /// Seconds of CPU time for each; all of a small layer is done by one thread.
    cpu: f64,
}

/// What the jobs of one kind share.
struct Jobs {
    handler: Arc<dyn Handler>,
    tar: Vec<u8>,
    pool: Pool,
    workers: Workers,
}

impl Jobs {
    fn new(handler: Arc<dyn Handler>, tar: Vec<u8>) -> Jobs {
        let (pool, workers) = (Pool::new(), Workers::new());
        Jobs {
            handler,
            tar,
            pool,
            workers,
        }
    }

    /// One job; whether it went well.
    fn run(&self) -> bool {
        let digest = Digest::of(Algorithm::Sha256, b"");
        let descriptor = Descriptor::new(LAYER_TAR, digest, self.tar.len() as u64);
        let layer = Layer {
            blob: Box::new(std::io::Cursor::new(self.tar.clone())),
            descriptor: &descriptor,
            verify: false,
            steps: &[Step {
                handler: Arc::clone(&self.handler),
                input: LAYER_TAR.into(),
                output: LAYER_TAR.into(),
            }],
            diff_algorithm: Algorithm::Sha256,
            payloads: &[],
            limits: OutputLimits::default(),
            cancel: Cancel::new(),
            pool: self.pool.clone(),
            workers: self.workers.clone(),
            progress: Arc::default(),
        };
        pump::run(layer, |input: &mut Input| input.drain().map_err(|_| Never)).is_ok()
    }

    /// How it does until it is time.
    fn rate(&self, until: impl Fn(Duration) -> bool) -> Result<Rate> {
        let (start, used, mut done) = (Instant::now(), thread_cpu(), 0u32);
        while !until(start.elapsed()) {
            if !self.run() {
                return Err("the plugin that behaves has failed".into());
            }
            done += 1;
        }
        Ok(Rate {
            per_second: f64::from(done) / start.elapsed().as_secs_f64(),
            cpu: (thread_cpu() - used).as_secs_f64() / f64::from(done.max(1)),
        })
    }
}

/// A tar of one small file: a job of it stays on the thread that asks for it.
fn small() -> Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(16 << 10);
    builder.append_data(&mut header, "file", [7; 16 << 10].as_slice())?;
    Ok(builder.into_inner()?)
}

fn attack(folder: &Path, jobs: usize) -> Result<()> {
    let host = Host::new(HostConfig::default())?;
    let good = Jobs::new(host.load_dir(folder)?.handler(&Values::new())?, small()?);
    let mut attackers = Vec::new();
    for name in ATTACKERS {
        let plugin = host.load_bytes(&guests::guest(name), None)?.with_limits(limits());
        attackers.push(Jobs::new(plugin.handler(&Values::new())?, small()?));
    }
    // Once each, so that what stays for the next job is there already.
    for attacker in &attackers {
        attacker.run();
    }
    let alone = good.rate(|elapsed| elapsed >= QUIET)?;
    let before = resident()?;
    let over = AtomicBool::new(false);
    let (beside, refused, took) = std::thread::scope(|scope| {
        let attack = scope.spawn(|| {
            let start = Instant::now();
            let refused = (0..jobs)
                .filter(|at| !attackers[at % attackers.len()].run())
                .count();
            over.store(true, Ordering::Release);
            (refused, start.elapsed())
        });
        let beside = good.rate(|_| over.load(Ordering::Acquire));
        let (refused, took) = attack.join().map_err(|_| "the host has panicked")?;
        Ok::<_, Box<dyn Error>>((beside?, refused, took))
    })?;
    let after = resident()?;
    let again = good.rate(|elapsed| elapsed >= QUIET)?;
    println!(
        "  {jobs} jobs of {} in {:.1} s, {refused} of them ended by the host",
        ATTACKERS.join(", "),
        took.as_secs_f64()
    );
    println!(
        "  the other plugin: {:.0} jobs a second before, {:.0} meanwhile, {:.0} after   ratio {:.2}   (wanted: at least 0.9 where a core is left for it)",
        alone.per_second,
        beside.per_second,
        again.per_second,
        beside.per_second / alone.per_second.min(again.per_second)
    );
    println!(
        "  its CPU time for each job: {:.0} µs before, {:.0} meanwhile, {:.0} after   ratio {:.2}   (wanted: at most 1.1)",
        alone.cpu * 1e6,
        beside.cpu * 1e6,
        again.cpu * 1e6,
        beside.cpu / alone.cpu.max(again.cpu)
    );
    println!(
        "  memory {:.1} MB before, {:.1} MB after   ratio {:.2}   (wanted: 1)",
        before.0 as f64 / 1e6,
        after.0 as f64 / 1e6,
        after.0 as f64 / before.0 as f64
    );
    match refused == jobs {
        true => Ok(()),
        false => Err("an attacker has ended by itself".into()),
    }
}
