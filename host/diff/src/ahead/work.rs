//! How a layer is unpacked that still arrives.

use std::io::{self, Read};
use std::os::fd::AsFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use transom_layer::apply::{self as tar, ApplyOptions, ApplyReport, Ownership, WhiteoutFormat};
use transom_layer::buffer::Pool;
use transom_layer::cancel::Cancel;
use transom_layer::chain::Step;
use transom_layer::pipe::Input;
use transom_layer::pump::{self, LayerReport};
use transom_layer::stage::HandlerKind;
use transom_layer::tar::{ChunkSource, SourceError};
use transom_layer::workers::Workers;
use transom_oci::media_type::DOCKER_LAYER_GZIP;
use transom_oci::{Algorithm, Descriptor, Digest};

use crate::apply::open;
use crate::limits::{AHEAD_LOOK_BYTES, AHEAD_RATIO, AHEAD_ROOM_BYTES};
use crate::walking::Settings;

/// A layer and the folder in which it waits to be asked for.
pub(super) struct Job {
    pub(super) blob: Box<dyn Read + Send>,
    pub(super) size: u64,
    pub(super) path: PathBuf,
    pub(super) settings: Arc<Settings>,
    pub(super) steps: Vec<Step>,
    pub(super) cancel: Cancel,
}

/// The way to the plain tar, if it is the built-in one alone, which tells how a layer is compressed by its first bytes. What
/// a processor does with a layer is for who asks for it.
pub(super) fn steps(settings: &Settings) -> Option<Vec<Step>> {
    let steps = settings.chain.plan(DOCKER_LAYER_GZIP).ok()?;
    is_built_in(&steps).then_some(steps)
}

/// Whether a layer passes through nothing but what is built in.
pub(crate) fn is_built_in(steps: &[Step]) -> bool {
    matches!(steps, [step] if step.handler.kind() == HandlerKind::Native)
}

/// Whether the disk has room for a layer whose blob has so many bytes.
pub(super) fn has_room(folder: &Path, blob: u64) -> bool {
    rustix::fs::statvfs(folder).is_ok_and(|disk| {
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        let kept = AHEAD_ROOM_BYTES.min(bytes(disk.f_blocks) / 10);
        // Some file systems have no limit on files.
        let has_inodes = disk.f_files == 0 || disk.f_favail >= disk.f_files / 10;
        has_inodes && bytes(disk.f_bavail) >= blob.saturating_mul(AHEAD_RATIO).saturating_add(kept)
    })
}

impl Job {
    /// Unpacks the layer.
    pub(super) fn run(self, workers: &Workers, pool: &Pool) -> Result<Box<LayerReport<ApplyReport>>, String> {
        let made = std::fs::DirBuilder::new().mode(0o755).create(&self.path);
        made.map_err(|error| error.to_string())?;
        let root = open(&self.path).map_err(|error| error.to_string())?;
        // Its digest is not known yet; whoever writes the blob finds out whether it is right.
        let descriptor = Descriptor::new(DOCKER_LAYER_GZIP, Digest::of(Algorithm::Sha256, b""), self.size);
        let layer = pump::Layer {
            blob: self.blob,
            descriptor: &descriptor,
            verify: false,
            steps: &self.steps,
            diff_algorithm: Algorithm::Sha256,
            payloads: &[],
            limits: self.settings.output,
            cancel: self.cancel.clone(),
            pool: pool.clone(),
            workers: workers.clone(),
            progress: Arc::new(AtomicU64::new(0)),
        };
        let options = ApplyOptions {
            whiteouts: WhiteoutFormat::Overlay,
            ownership: Ownership::Keep,
            parents: Vec::new(),
            limits: self.settings.apply,
        };
        let report = pump::run(layer, move |input| {
            let mut source = Roomy {
                input,
                folder: &self.path,
                until: AHEAD_LOOK_BYTES,
            };
            tar::apply(&mut source, root.as_fd(), &options)
        });
        report.map(Box::new).map_err(|error| error.to_string())
    }
}

/// A tar that is read on only while the disk has room.
struct Roomy<'i> {
    input: &'i mut Input,
    folder: &'i Path,
    /// Bytes until the next look.
    until: usize,
}

impl ChunkSource for Roomy<'_> {
    fn next_chunk(&mut self) -> Result<Option<Bytes>, SourceError> {
        if self.until == 0 {
            if !has_room(self.folder, 0) {
                return Err(SourceError::new(io::Error::from(io::ErrorKind::StorageFull)));
            }
            self.until = AHEAD_LOOK_BYTES;
        }
        let chunk = ChunkSource::next_chunk(self.input)?;
        let length = chunk.as_ref().map_or(0, Bytes::len);
        self.until = self.until.saturating_sub(length);
        Ok(chunk)
    }
}
