//! A whole image into a folder: every layer through its stages and onto the one below, or nothing at all.

pub mod target;

use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use transom_layer::apply::{
    ApplyError, ApplyLimits, ApplyOptions, ApplyReport, Ownership, WhiteoutFormat, apply,
};
use transom_layer::buffer::Pool;
use transom_layer::cancel::Cancel;
use transom_layer::chain::{Chain, PlanError, Step};
use transom_layer::limits::OutputLimits;
use transom_layer::native::is_opaque;
use transom_layer::pump::{self, LayerReport, PumpError};
use transom_layer::stage::Payload;
use transom_layer::workers::Workers;
use transom_oci::{Digest, chain_ids};

use crate::error::ImageError;
use crate::resolve::{Image, Layer};
use crate::source::Source;
use target::{Target, TargetError};

/// How an image is unpacked.
#[derive(Debug, Default)]
pub struct UnpackOptions {
    /// The handlers that layers may pass through.
    pub chain: Chain,
    /// Payloads by the handler's name.
    pub payloads: Vec<(String, Payload)>,
    /// Whose the files become.
    pub ownership: Ownership,
    /// What each layer may put out.
    pub output_limits: OutputLimits,
    /// What each layer's tar may cost.
    pub apply_limits: ApplyLimits,
    /// Whether a failed unpack leaves what it made, for a look at it.
    pub keep_partial: bool,
    /// The request to stop.
    pub cancel: Cancel,
}

/// Is told how an unpack goes on, from the thread that called [`unpack`].
pub trait Observer {
    /// A layer begins. `progress` counts the bytes of its blob that were read, while it runs.
    fn layer_started(&self, index: usize, layer: &Layer, steps: &[Step], progress: &Arc<AtomicU64>);
    /// A layer is on its place and verified.
    fn layer_done(&self, unpacked: &UnpackedLayer);
}

/// Where the layers of an image are read.
pub trait Layers {
    /// Opens a layer from its start. The bytes are not verified. May wait until there are some.
    ///
    /// # Errors
    /// [`ImageError`].
    fn open(&self, layer: &Layer) -> Result<Box<dyn Read + Send>, ImageError>;
}

impl Layers for Source {
    fn open(&self, layer: &Layer) -> Result<Box<dyn Read + Send>, ImageError> {
        Ok(Box::new(self.open_layer(layer)?))
    }
}

/// What became of a layer.
#[derive(Debug)]
pub struct UnpackedLayer {
    /// Its place, the lowest is 0.
    pub index: usize,
    /// The layer.
    pub layer: Layer,
    /// The digest of this layer together with all below it.
    pub chain_id: Digest,
    /// What the stages did; the diffID in it is the one that the configuration demands.
    pub report: LayerReport<ApplyReport>,
}

/// Why an image was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The target folder cannot be used, or not be cleaned.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A layer's media type has no way to a plain tar. Nothing was written.
    #[error("layer {index} ({digest}): {source}")]
    Plan {
        /// The layer's place.
        index: usize,
        /// Its blob.
        digest: Digest,
        /// What is missing.
        source: PlanError,
    },
    /// A layer cannot be read.
    #[error("layer {index}: {source}")]
    Open {
        /// The layer's place.
        index: usize,
        /// Why.
        source: ImageError,
    },
    /// A layer failed on its way.
    #[error("layer {index} ({digest}): {source}{hint}")]
    Layer {
        /// The layer's place.
        index: usize,
        /// Its blob.
        digest: Digest,
        /// Where and why.
        source: Box<PumpError<ApplyError>>,
        /// What may help; empty, or beginning with a separator.
        hint: String,
    },
    /// A layer's plain tar is not the one that the configuration names.
    #[error(
        "layer {index} ({digest}): the unpacked layer has diffID {actual}, the image configuration says {expected}{}",
        altered_by(.suspects)
    )]
    DiffId {
        /// The layer's place.
        index: usize,
        /// Its blob.
        digest: Digest,
        /// What the configuration says.
        expected: Digest,
        /// What was unpacked.
        actual: Digest,
        /// The plugins and programs that handled the bytes: the blob itself was found whole.
        suspects: Vec<String>,
    },
    /// The job was cancelled.
    #[error("cancelled; {}", target.display())]
    Cancelled {
        /// The folder that was being filled.
        target: PathBuf,
    },
}

fn altered_by(suspects: &[String]) -> String {
    if suspects.is_empty() {
        String::new()
    } else {
        format!("; it passed through {}", suspects.join(", "))
    }
}

/// Unpacks `image` into the folder `target`, which must be empty or not exist.
///
/// Every layer's way is planned before anything is written. When a layer fails, the folder is left as it was, unless
/// [`UnpackOptions::keep_partial`] says otherwise.
///
/// # Errors
/// [`UnpackError`] names the layer and the stage.
pub fn unpack(
    source: &dyn Layers,
    image: &Image,
    target: &Path,
    options: &UnpackOptions,
    observer: &dyn Observer,
) -> Result<Vec<UnpackedLayer>, UnpackError> {
    let plans = plan(image, &options.chain)?;
    let target = Target::prepare(target)?;
    let result = fill(source, image, &plans, &target, options, observer);
    if result.is_err() && !options.keep_partial {
        target.restore()?;
    }
    result
}

/// The stages of every layer, lowest layer first.
///
/// # Errors
/// [`UnpackError::Plan`] for the first layer that has no way to a plain tar.
pub fn plan(image: &Image, chain: &Chain) -> Result<Vec<Vec<Step>>, UnpackError> {
    let plan = |(index, layer): (usize, &Layer)| {
        let digest = &layer.descriptor.digest;
        let planned = chain.plan(&layer.descriptor.media_type);
        planned.map_err(|source| UnpackError::Plan {
            index,
            digest: digest.clone(),
            source,
        })
    };
    image.layers.iter().enumerate().map(plan).collect()
}

fn fill(
    source: &dyn Layers,
    image: &Image,
    plans: &[Vec<Step>],
    target: &Target,
    options: &UnpackOptions,
    observer: &dyn Observer,
) -> Result<Vec<UnpackedLayer>, UnpackError> {
    let diff_ids: Vec<Digest> = image.layers.iter().map(|layer| layer.diff_id.clone()).collect();
    let shared = Shared::default();
    let mut done = Vec::with_capacity(image.layers.len());
    for (index, ((layer, steps), chain_id)) in image
        .layers
        .iter()
        .zip(plans)
        .zip(chain_ids(&diff_ids))
        .enumerate()
    {
        let progress = Arc::default();
        observer.layer_started(index, layer, steps, &progress);
        let work = Work {
            source,
            index,
            layer,
            steps,
            target,
            options,
            shared: &shared,
            progress,
        };
        let unpacked = UnpackedLayer {
            index,
            layer: layer.clone(),
            chain_id,
            report: work.run()?,
        };
        observer.layer_done(&unpacked);
        done.push(unpacked);
    }
    Ok(done)
}

/// What the layers of an image share.
#[derive(Default)]
struct Shared {
    pool: Pool,
    workers: Workers,
}

/// One layer's unpacking.
struct Work<'a> {
    source: &'a dyn Layers,
    index: usize,
    layer: &'a Layer,
    steps: &'a [Step],
    target: &'a Target,
    options: &'a UnpackOptions,
    shared: &'a Shared,
    progress: Arc<AtomicU64>,
}

impl Work<'_> {
    fn run(self) -> Result<LayerReport<ApplyReport>, UnpackError> {
        let (index, options) = (self.index, self.options);
        let blob = self
            .source
            .open(self.layer)
            .map_err(|source| UnpackError::Open { index, source })?;
        let folder = self.target.folder();
        let apply_options = ApplyOptions {
            whiteouts: WhiteoutFormat::Plain,
            ownership: options.ownership,
            parents: Vec::new(),
            limits: options.apply_limits,
        };
        let flow = pump::Layer {
            blob,
            descriptor: &self.layer.descriptor,
            verify: true,
            steps: self.steps,
            diff_algorithm: self.layer.diff_id.algorithm(),
            payloads: &options.payloads,
            limits: options.output_limits,
            cancel: options.cancel.clone(),
            pool: self.shared.pool.clone(),
            workers: self.shared.workers.clone(),
            progress: Arc::clone(&self.progress),
        };
        let report = pump::run(flow, move |input| apply(input, folder.as_fd(), &apply_options));
        let report = report.map_err(|source| self.failed(source))?;
        if report.diff_id == self.layer.diff_id {
            Ok(report)
        } else {
            Err(self.wrong_diff_id(report.diff_id))
        }
    }

    fn failed(&self, source: PumpError<ApplyError>) -> UnpackError {
        if matches!(source, PumpError::Cancelled) {
            return UnpackError::Cancelled {
                target: self.target.path().to_owned(),
            };
        }
        let media_type = &self.layer.descriptor.media_type;
        let hint = match &source {
            PumpError::Sink(ApplyError::Tar(_)) if self.steps.len() == 1 && is_opaque(media_type) => format!(
                "; nothing built in reads {media_type}: load a processor plugin (--plugin) or name an external processor \
                 (--processor) that accepts it"
            ),
            _ => String::new(),
        };
        let digest = self.layer.descriptor.digest.clone();
        UnpackError::Layer {
            index: self.index,
            digest,
            source: Box::new(source),
            hint,
        }
    }

    fn wrong_diff_id(&self, actual: Digest) -> UnpackError {
        use transom_layer::stage::HandlerKind;
        let foreign = self
            .steps
            .iter()
            .filter(|step| step.handler.kind() != HandlerKind::Native);
        UnpackError::DiffId {
            index: self.index,
            digest: self.layer.descriptor.digest.clone(),
            expected: self.layer.diff_id.clone(),
            actual,
            suspects: foreign.map(|step| step.handler.name().to_owned()).collect(),
        }
    }
}
