//! Layers through the pump: every built-in format, external programs, damage, limits, cancellation.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use transom_layer::buffer::Pool;
use transom_layer::cancel::Cancel;
use transom_layer::chain::Chain;
use transom_layer::exec::ExternalProcessor;
use transom_layer::limits::{CHUNK_BYTES, OutputLimits, PIPE_CHUNKS, RATIO_FREE_BYTES, SMALL_BLOB_BYTES};
use transom_layer::pipe::{Input, Output};
use transom_layer::pump::{self, Layer, LayerReport, PumpError, SinkError};
use transom_layer::stage::{Handler, HandlerKind, Job, Outcome, Payload, Stage, StageError, Verdict};
use transom_layer::workers::Workers;
use transom_oci::media_type::{DOCKER_LAYER, LAYER_TAR, LAYER_TAR_GZIP, LAYER_TAR_ZSTD};
use transom_oci::{Algorithm, Descriptor, Digest};

#[derive(Debug)]
struct SinkFault(&'static str);

impl SinkError for SinkFault {
    fn may_be_damage(&self) -> bool {
        self.0 == "damage"
    }
}

fn collect(input: &mut Input) -> Result<Vec<u8>, SinkFault> {
    let mut all = Vec::new();
    while let Some(chunk) = input.next_chunk().map_err(|_| SinkFault("echo"))? {
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

/// A reader that hands out what it has in small portions.
struct Portions(std::io::Cursor<Vec<u8>>, usize);

impl Read for Portions {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = into.len().min(self.1);
        self.0.read(&mut into[..count])
    }
}

struct Run {
    chain: Chain,
    media_type: &'static str,
    cancel: Cancel,
    limits: OutputLimits,
    payloads: Vec<(String, Payload)>,
    portion: usize,
}

impl Default for Run {
    fn default() -> Self {
        Run {
            chain: Chain::new(),
            media_type: LAYER_TAR_GZIP,
            cancel: Cancel::new(),
            limits: OutputLimits::default(),
            payloads: Vec::new(),
            portion: usize::MAX,
        }
    }
}

impl Run {
    fn with(media_type: &'static str) -> Run {
        Run {
            media_type,
            ..Run::default()
        }
    }

    fn descriptor(&self, blob: &[u8]) -> Descriptor {
        Descriptor::new(
            self.media_type,
            Digest::of(Algorithm::Sha256, blob),
            blob.len() as u64,
        )
    }

    fn blob(&self, blob: &[u8]) -> Result<LayerReport<Vec<u8>>, PumpError<SinkFault>> {
        self.described(blob, &self.descriptor(blob), collect)
    }

    fn described(
        &self,
        blob: &[u8],
        descriptor: &Descriptor,
        sink: impl FnOnce(&mut Input) -> Result<Vec<u8>, SinkFault> + Send + 'static,
    ) -> Result<LayerReport<Vec<u8>>, PumpError<SinkFault>> {
        let steps = self.chain.plan(self.media_type).unwrap();
        let layer = Layer {
            blob: Box::new(Portions(std::io::Cursor::new(blob.to_vec()), self.portion)),
            descriptor,
            verify: true,
            steps: &steps,
            diff_algorithm: Algorithm::Sha256,
            payloads: &self.payloads,
            limits: self.limits,
            cancel: self.cancel.clone(),
            pool: Pool::new(),
            workers: Workers::new(),
            progress: Arc::default(),
        };
        pump::run(layer, sink)
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).unwrap()
}

/// Bytes that neither repeat nor compress well, a little over two chunks.
fn sample(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8 & 0x3f
    };
    (0..len).map(|_| next()).collect()
}

fn stage_error(error: PumpError<SinkFault>) -> (String, StageError) {
    match error {
        PumpError::Stage { stage, source } => (stage, source),
        other => panic!("not a stage's error: {other:?}"),
    }
}

#[test]
fn every_built_in_format_is_read() {
    let plain = sample(600_000);
    let members = [gzip(&plain[..10]), gzip(&[]), gzip(&plain[10..])].concat();
    let skippable = [
        &b"\x5f\x2a\x4d\x18\x03\0\0\0abc"[..],
        &zstd(&plain[..10]),
        &zstd(&plain[10..]),
    ]
    .concat();
    for (media_type, blob, detail) in [
        (LAYER_TAR_GZIP, gzip(&plain), "gzip"),
        (LAYER_TAR_GZIP, members, "gzip"),
        (LAYER_TAR_GZIP, zstd(&plain), "zstd"),
        (LAYER_TAR_ZSTD, skippable, "zstd"),
        (LAYER_TAR_ZSTD, plain.clone(), "plain"),
        (DOCKER_LAYER, gzip(&plain), "gzip"),
        (DOCKER_LAYER, plain.clone(), "plain"),
        (LAYER_TAR, plain.clone(), "plain"),
    ] {
        let report = Run::with(media_type).blob(&blob).unwrap();
        assert!(report.applied == plain, "{media_type} {detail}");
        assert_eq!(report.diff_id, Digest::of(Algorithm::Sha256, &plain));
        assert_eq!(report.diff_size, plain.len() as u64);
        let stage = &report.stages[0];
        assert_eq!(stage.outcome.detail.as_deref(), Some(detail));
        assert_eq!(
            (stage.bytes_in, stage.bytes_out),
            (blob.len() as u64, plain.len() as u64)
        );
    }
}

/// A small layer is done by the thread that brings it, unless there is more of it than pipes hold.
#[test]
fn other_threads_help_where_there_is_enough_to_do() {
    let large = vec![0; 2 * PIPE_CHUNKS * CHUNK_BYTES];
    for (tar, alone) in [(sample(20_000), true), (large, false)] {
        let blob = gzip(&tar);
        assert!(blob.len() as u64 <= SMALL_BLOB_BYTES, "{}", blob.len());
        let run = Run::default();
        let here = std::thread::current().id();
        let sink = move |input: &mut Input| {
            assert_eq!(std::thread::current().id() == here, alone);
            collect(input)
        };
        let report = run.described(&blob, &run.descriptor(&blob), sink).unwrap();
        assert_eq!(report.applied.len(), tar.len());
        assert_eq!(report.diff_id, Digest::of(Algorithm::Sha256, &tar));
    }
    let blob = gzip(&sample(200_000));
    assert!(blob.len() as u64 > SMALL_BLOB_BYTES);
    let run = Run::default();
    let here = std::thread::current().id();
    let sink = move |input: &mut Input| {
        assert_ne!(std::thread::current().id(), here);
        collect(input)
    };
    run.described(&blob, &run.descriptor(&blob), sink).unwrap();
}

#[test]
fn an_empty_blob_is_an_empty_layer() {
    for media_type in [LAYER_TAR, LAYER_TAR_GZIP, DOCKER_LAYER] {
        let report = Run::with(media_type).blob(b"").unwrap();
        assert_eq!((report.diff_size, report.applied.len()), (0, 0));
    }
}

#[test]
fn a_flipped_bit_is_the_blobs_fault_wherever_it_shows() {
    let good = gzip(&sample(900_000));
    for position in [0, 20, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[position] ^= 1;
        let run = Run::default();
        let error = run.described(&bad, &run.descriptor(&good), collect).unwrap_err();
        let (stage, source) = stage_error(error);
        assert_eq!(stage, "blob", "bit flipped at {position}");
        assert!(matches!(source, StageError::BlobDigest { .. }), "{source:?}");
    }
}

#[test]
fn a_blob_of_the_wrong_size_is_told_from_a_damaged_one() {
    let good = gzip(&sample(900_000));
    let run = Run::default();
    for (blob, actual) in [
        (&good[..good.len() - 9], good.len() - 9),
        (&[&good[..], b"x"].concat(), good.len() + 1),
    ] {
        let (_, source) = stage_error(run.described(blob, &run.descriptor(&good), collect).unwrap_err());
        assert!(
            matches!(source, StageError::BlobSize { actual: found, .. } if found == actual as u64),
            "{source:?}"
        );
    }
}

#[test]
fn truncated_and_garbage_data_name_the_format_and_the_place() {
    let whole = [gzip(&sample(400_000)), zstd(&sample(400_000))];
    for (format, blob) in ["gzip", "zstd"].iter().zip(whole) {
        let cut = &blob[..blob.len() / 2];
        let garbage = [&blob[..64], &sample(100_000)[..]].concat();
        for bad in [cut, &garbage] {
            let (stage, source) = stage_error(Run::default().blob(bad).unwrap_err());
            assert_eq!(stage, "decompress");
            let StageError::Corrupt {
                format: named,
                offset,
                ..
            } = source
            else {
                panic!("{source:?}")
            };
            assert_eq!(named, *format);
            assert!(offset <= bad.len() as u64);
        }
    }
}

#[test]
fn what_follows_a_gzip_member_must_be_another() {
    let blob = [gzip(b"whole"), b"trailing garbage".to_vec()].concat();
    let (_, source) = stage_error(Run::default().blob(&blob).unwrap_err());
    assert!(
        matches!(source, StageError::Corrupt { format: "gzip", .. }),
        "{source:?}"
    );
}

#[test]
fn a_bomb_is_stopped_by_ratio_and_by_size() {
    let zeroes = std::io::repeat(0).take(RATIO_FREE_BYTES + (8 << 20));
    let bomb = zstd::stream::encode_all(zeroes, 1).unwrap();
    let count = |input: &mut Input| {
        input.drain().map_err(|_| SinkFault("echo"))?;
        Ok(Vec::new())
    };
    let run = Run::default();
    let (_, source) = stage_error(run.described(&bomb, &run.descriptor(&bomb), count).unwrap_err());
    assert!(matches!(source, StageError::RatioLimit { .. }), "{source:?}");
    let limits = OutputLimits {
        bytes: 1 << 20,
        ..OutputLimits::default()
    };
    let (_, source) = stage_error(
        Run {
            limits,
            ..Run::default()
        }
        .blob(&bomb)
        .unwrap_err(),
    );
    assert!(
        matches!(source, StageError::OutputLimit { limit } if limit == 1 << 20),
        "{source:?}"
    );
}

#[test]
fn a_sinks_error_comes_through_and_damage_behind_it_is_found() {
    let good = gzip(&sample(3_000_000));
    let run = Run::default();
    let full = |_: &mut Input| Err(SinkFault("disk full"));
    let error = run.described(&good, &run.descriptor(&good), full).unwrap_err();
    assert!(
        matches!(error, PumpError::Sink(SinkFault("disk full"))),
        "{error:?}"
    );

    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    let confused = |_: &mut Input| Err(SinkFault("damage"));
    let (stage, _) = stage_error(run.described(&bad, &run.descriptor(&good), confused).unwrap_err());
    assert_eq!(stage, "blob", "the reader went on to the end and found out why");
}

fn shell(id: &str, script: &str) -> ExternalProcessor {
    ExternalProcessor {
        id: id.into(),
        accepts: vec!["x/in".into()],
        returns: LAYER_TAR.into(),
        path: PathBuf::from("/bin/sh"),
        args: vec!["-c".into(), script.into()],
        env: vec![("GREETING".into(), "hello".into())],
    }
}

fn exec(script: &str) -> Run {
    let mut run = Run::with("x/in");
    run.chain.register(Arc::new(shell("prog", script)));
    run
}

#[test]
fn an_external_program_filters_the_layer() {
    let plain = sample(3_000_000);
    let report = exec("gzip -dc").blob(&gzip(&plain)).unwrap();
    assert!(report.applied == plain);
    assert_eq!(
        (report.stages[0].name.as_str(), report.stages[0].kind),
        ("prog", HandlerKind::Exec)
    );
}

#[test]
fn an_external_program_gets_its_environment_and_its_payload() {
    let mut run = exec("cat >/dev/null; printf '%s %s ' $GREETING $STREAM_PROCESSOR_MEDIATYPE; cat <&3");
    let payload = Payload {
        type_url: "t".into(),
        value: Bytes::from_static(b"key"),
    };
    run.payloads = vec![("other".into(), payload.clone()), ("prog".into(), payload)];
    let report = run.blob(b"blob").unwrap();
    assert_eq!(
        String::from_utf8_lossy(&report.applied),
        "hello x/in \n\u{1}t\u{12}\u{3}key"
    );
}

#[test]
fn a_large_payload_that_nobody_reads_blocks_nothing() {
    let mut run = exec("cat");
    let value = Bytes::from(vec![0; 1 << 20]);
    run.payloads = vec![(
        "prog".into(),
        Payload {
            type_url: "t".into(),
            value,
        },
    )];
    assert_eq!(run.blob(b"blob").unwrap().applied, b"blob");
}

#[test]
fn a_failing_program_gives_its_stderr() {
    for script in [
        "echo no such key >&2; exit 3",
        "cat; echo no such key >&2; exit 3",
    ] {
        let (stage, source) = stage_error(exec(script).blob(&sample(2_000_000)).unwrap_err());
        assert_eq!(stage, "prog");
        assert_eq!(
            source.to_string(),
            "external processor /bin/sh failed (exit status: 3): no such key",
            "{script}"
        );
    }
}

#[test]
fn a_program_may_stop_reading_early() {
    let report = exec("head -c 5").blob(&sample(4_000_000)).unwrap();
    assert_eq!(report.applied, &sample(4_000_000)[..5]);
}

#[test]
fn a_missing_program_is_named() {
    let mut run = Run::with("x/in");
    run.chain.register(Arc::new(ExternalProcessor {
        path: "/no/such/program".into(),
        ..shell("prog", "")
    }));
    let (_, source) = stage_error(run.blob(b"blob").unwrap_err());
    assert!(
        source
            .to_string()
            .starts_with("external processor /no/such/program:"),
        "{source}"
    );
}

#[test]
fn cancelling_ends_a_program_that_hangs() {
    for script in ["sleep 1000", "exec sleep 1000", "cat; exec sleep 1000"] {
        let run = exec(script);
        let cancel = run.cancel.clone();
        let timer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            cancel.cancel();
        });
        let start = Instant::now();
        let error = run.blob(b"blob").unwrap_err();
        assert!(matches!(error, PumpError::Cancelled), "{error:?}");
        // Long before it would have ended by itself.
        assert!(start.elapsed() < Duration::from_secs(600), "{script}");
        timer.join().unwrap();
    }
}

#[test]
fn a_program_is_ended_when_the_sink_fails() {
    let run = exec("exec cat /dev/zero");
    let error = run
        .described(b"blob", &run.descriptor(b"blob"), |_| Err(SinkFault("disk full")))
        .unwrap_err();
    assert!(
        matches!(error, PumpError::Sink(SinkFault("disk full"))),
        "{error:?}"
    );
}

/// A stage in this process, for what programs cannot do.
struct Native(fn(&mut Input, &mut Output) -> Result<Outcome, StageError>);

impl Handler for Native {
    fn name(&self) -> &str {
        "native"
    }
    fn kind(&self) -> HandlerKind {
        HandlerKind::Wasm
    }
    fn offer(&self, media_type: &str) -> Option<String> {
        (media_type == LAYER_TAR).then(|| LAYER_TAR.to_owned())
    }
    fn open(&self, _: &Job) -> Result<Box<dyn Stage>, StageError> {
        Ok(Box::new(Native(self.0)))
    }
}

impl Stage for Native {
    fn run(self: Box<Self>, input: &mut Input, output: &mut Output) -> Result<Outcome, StageError> {
        (self.0)(input, output)
    }
}

fn inspected(stage: fn(&mut Input, &mut Output) -> Result<Outcome, StageError>) -> Run {
    let mut run = Run::default();
    run.chain.register(Arc::new(Native(stage)));
    run
}

#[test]
fn an_inspector_sees_the_plain_tar_and_may_refuse_it() {
    let run = inspected(|input, output| {
        let mut seen = 0;
        while let Some(chunk) = input.next_chunk()? {
            seen += chunk.len();
            output.send(chunk)?;
        }
        let verdict = if seen > 10 {
            Verdict::Refuse {
                reason: format!("{seen} bytes"),
            }
        } else {
            Verdict::Continue
        };
        Ok(Outcome {
            verdict,
            ..Outcome::default()
        })
    });
    assert_eq!(run.blob(&gzip(b"short")).unwrap().stages.len(), 2);
    let error = run.blob(&gzip(&sample(700_000))).unwrap_err();
    let PumpError::Refused { stage, reason, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!((stage.as_str(), reason.as_str()), ("native", "700000 bytes"));
}

#[test]
fn a_stage_that_stops_reading_still_has_the_blob_checked() {
    let run = inspected(|_, output| {
        output.send(Bytes::from_static(b"made up"))?;
        Ok(Outcome::default())
    });
    let good = gzip(&sample(3_000_000));
    assert_eq!(run.blob(&good).unwrap().applied, b"made up");
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    let error = run.described(&bad, &run.descriptor(&good), collect).unwrap_err();
    assert!(matches!(stage_error(error).1, StageError::BlobDigest { .. }));
}

#[test]
fn a_panicking_stage_fails_its_layer_only() {
    let run = inspected(|_, _| panic!("on purpose"));
    let error = run.blob(&gzip(b"x")).unwrap_err();
    assert!(matches!(error, PumpError::Panicked { .. }), "{error:?}");
    assert_eq!(Run::default().blob(&gzip(b"x")).unwrap().applied, b"x");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn no_split_of_the_blob_changes_what_comes_out(
        bytes in proptest::collection::vec(any::<u8>(), 0..5000),
        repeat in 1..80_usize,
        portion in 1..400_usize,
        format in 0..3_usize,
    ) {
        let plain = bytes.repeat(repeat);
        let (media_type, blob) = match format {
            0 => (LAYER_TAR_GZIP, gzip(&plain)),
            1 => (LAYER_TAR_ZSTD, zstd(&plain)),
            _ => (LAYER_TAR, plain.clone()),
        };
        let report = Run { portion, ..Run::with(media_type) }.blob(&blob).unwrap();
        prop_assert!(report.applied == plain);
        prop_assert_eq!(report.diff_id, Digest::of(Algorithm::Sha256, &plain));
    }
}
