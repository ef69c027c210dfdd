//! Measures processors that look at plain tars: `cargo run --release -p transom-plugin --example measure [FOLDER [NAME…]]`.
//!
//! Prints what a warm stage costs on a tiny layer, and the rate of inspectors on a stream.

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

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
use transom_plugin::host::Allocation;
use transom_plugin::{Host, HostConfig};

const STREAM: usize = 200 << 20;

#[derive(Debug)]
struct Never;

impl SinkError for Never {
    fn may_be_damage(&self) -> bool {
        false
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments
        .next()
        .map_or_else(|| "target/plugins".into(), PathBuf::from);
    let named: Vec<String> = arguments.collect();
    let names = match named.is_empty() {
        true => vec!["count".to_owned(), "secrets".to_owned()],
        false => named,
    };
    let tiny = tar(100);
    let large = tar(STREAM);
    for allocation in [Allocation::Auto, Allocation::OnDemand] {
        let start = Instant::now();
        let host = Host::new(HostConfig {
            allocation,
            ..HostConfig::default()
        })?;
        println!(
            "{allocation:?}: engine {:?}, pooling {}",
            start.elapsed(),
            host.is_pooling()
        );
        for name in &names {
            let start = Instant::now();
            let plugin = host.load_dir(&folder.join(name))?;
            let loaded = start.elapsed();
            let handler = plugin.handler(&Values::new())?;
            run(&handler, &tiny);
            let (_, bare) = times(&[], &tiny, 500);
            let (cpu, wall) = times(std::slice::from_ref(&handler), &tiny, 500);
            println!(
                "  {name}: cold load {loaded:?}; warm stage on a tiny layer {cpu:?} CPU, {wall:?} with its thread (the pump alone {bare:?})"
            );
            let report = run(&handler, &large);
            let rate = large.len() as f64 / report.as_secs_f64() / 1e6;
            println!(
                "  {name}: {rate:.0} MB/s of CPU time on {} MB",
                large.len() / 1_000_000
            );
        }
    }
    Ok(())
}

/// A tar of text files of 64 KiB with real-looking content, about this large.
fn tar(size: usize) -> Vec<u8> {
    let program = std::fs::read(std::env::current_exe().unwrap_or_default()).unwrap_or_default();
    let mut builder = tar::Builder::new(Vec::with_capacity(size + 4096));
    let mut at = 0;
    let mut written = 0;
    while written < size {
        let length = (64 << 10).min(size - written);
        let content: Vec<u8> = (0..length)
            .map(|_| {
                at = (at + 1) % program.len().max(1);
                program.get(at).copied().unwrap_or(b'x')
            })
            .collect();
        let mut header = tar::Header::new_gnu();
        header.set_size(length as u64);
        header.set_mode(0o644);
        let _ = builder.append_data(&mut header, format!("file{written}"), content.as_slice());
        written += length;
    }
    builder.into_inner().unwrap_or_default()
}

/// The tenths from below, which a busy machine disturbs least, of the stage's CPU time and of the time on the clock.
fn times(
    handlers: &[Arc<dyn Handler>],
    blob: &[u8],
    count: usize,
) -> (std::time::Duration, std::time::Duration) {
    let mut measured: Vec<_> = (0..count)
        .map(|_| {
            let start = Instant::now();
            (pass(handlers, blob), start.elapsed())
        })
        .collect();
    measured.sort();
    let cpu = measured[count / 10].0;
    measured.sort_by_key(|times| times.1);
    (cpu, measured[count / 10].1)
}

fn run(handler: &Arc<dyn Handler>, blob: &[u8]) -> std::time::Duration {
    pass(std::slice::from_ref(handler), blob)
}

/// The CPU time of the first stage.
fn pass(handlers: &[Arc<dyn Handler>], blob: &[u8]) -> std::time::Duration {
    let steps: Vec<Step> = handlers
        .iter()
        .map(|handler| Step {
            handler: Arc::clone(handler),
            input: LAYER_TAR.into(),
            output: LAYER_TAR.into(),
        })
        .collect();
    let digest = Digest::of(Algorithm::Sha256, b"");
    let text = format!(
        r#"{{"mediaType":"{LAYER_TAR}","digest":"{digest}","size":{}}}"#,
        blob.len()
    );
    let descriptor: Descriptor = serde_json::from_str(&text).expect("a descriptor");
    let layer = Layer {
        blob: Box::new(std::io::Cursor::new(blob.to_vec())),
        descriptor: &descriptor,
        verify: false,
        steps: &steps,
        diff_algorithm: Algorithm::Sha256,
        payloads: &[],
        limits: OutputLimits::default(),
        cancel: Cancel::new(),
        pool: Pool::new(),
        workers: Workers::new(),
        progress: Arc::new(AtomicU64::new(0)),
    };
    let drain = |input: &mut Input| {
        std::io::copy(&mut input.by_ref(), &mut std::io::sink())
            .map(drop)
            .map_err(|_| Never)
    };
    let report = pump::run(layer, drain).expect("a sound layer");
    report.stages.first().map(|stage| stage.cpu).unwrap_or_default()
}
