//! Any bytes as a blob of some media type through the built-in chain: a result or a typed error, the same one however
//! the blob is read.

use std::io::{self, Cursor, Read};

use transom_layer::buffer::Pool;
use transom_layer::cancel::Cancel;
use transom_layer::chain::Chain;
use transom_layer::limits::OutputLimits;
use transom_layer::pipe::Input;
use transom_layer::pump::{self, Layer, PumpError, SinkError};
use transom_layer::stage::StageError;
use transom_layer::workers::Workers;
use transom_oci::media_type::{
    DOCKER_LAYER, DOCKER_LAYER_GZIP, DOCKER_LAYER_ZSTD, LAYER_TAR, LAYER_TAR_GZIP, LAYER_TAR_ZSTD,
};
use transom_oci::{Algorithm, Descriptor, Digest};

use super::shape;

/// The media types, of which the input's first byte chooses one.
pub const MEDIA_TYPES: [&str; 6] = [
    LAYER_TAR_GZIP,
    LAYER_TAR_ZSTD,
    LAYER_TAR,
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    DOCKER_LAYER_ZSTD,
];

/// Bytes that a layer may put out here.
const OUTPUT_MAX: u64 = 1 << 20;

/// Runs the bytes through the pump, once as they are and once a few at a time.
///
/// # Panics
/// When a thread panicked, when the two ways differ, or when the digest is not that of what came out.
pub fn chain(data: &[u8]) -> String {
    let [kind, step, blob @ ..] = data else {
        return "empty".to_owned();
    };
    let media_type = MEDIA_TYPES[usize::from(*kind) % MEDIA_TYPES.len()];
    let whole = run(media_type, blob, usize::MAX);
    let cut = run(media_type, blob, 1 + usize::from(*step) * 13);
    assert_eq!(whole, cut, "how {media_type} is read makes a difference");
    match whole {
        Ok((digest, _)) if digest == Digest::of(Algorithm::Sha256, blob) => "as it was".to_owned(),
        Ok((_, size)) => format!("{} bits", u64::BITS - size.leading_zeros()),
        Err(error) => error,
    }
}

/// The digest and size of what comes out, or the kind of error.
fn run(media_type: &str, blob: &[u8], step: usize) -> Result<(Digest, u64), String> {
    let steps = Chain::new().plan(media_type).expect("these are built in");
    let descriptor = Descriptor::new(media_type, Digest::of(Algorithm::Sha256, blob), blob.len() as u64);
    let layer = Layer {
        blob: Box::new(Steps {
            bytes: Cursor::new(blob.to_vec()),
            step,
        }),
        descriptor: &descriptor,
        verify: true,
        steps: &steps,
        diff_algorithm: Algorithm::Sha256,
        payloads: &[],
        limits: OutputLimits {
            bytes: OUTPUT_MAX,
            ratio: u64::MAX,
        },
        cancel: Cancel::new(),
        pool: Pool::new(),
        workers: Workers::new(),
        progress: std::sync::Arc::default(),
    };
    match pump::run(layer, collect) {
        Ok(report) => {
            assert_eq!(report.diff_id, Digest::of(Algorithm::Sha256, &report.applied));
            assert_eq!(report.diff_size, report.applied.len() as u64);
            Ok((report.diff_id, report.diff_size))
        }
        Err(PumpError::Panicked { stage }) => panic!("the {stage} thread panicked"),
        Err(PumpError::Stage {
            source: StageError::Corrupt { format, reason, .. },
            ..
        }) => Err(format!("{format} {reason}")),
        Err(error) => Err(shape(&error)),
    }
}

/// Someone else failed.
#[derive(Debug)]
struct Echo(StageError);

impl std::fmt::Display for Echo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Echo {}

impl SinkError for Echo {
    fn may_be_damage(&self) -> bool {
        false
    }
}

fn collect(input: &mut Input) -> Result<Vec<u8>, Echo> {
    let mut all = Vec::new();
    while let Some(chunk) = input.next_chunk().map_err(Echo)? {
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

/// Gives so many bytes at a time.
struct Steps {
    bytes: Cursor<Vec<u8>>,
    step: usize,
}

impl Read for Steps {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(self.step);
        self.bytes.read(&mut into[..most])
    }
}
