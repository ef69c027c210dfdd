//! A processor and one layer for it: what `transom plugin run` and `bench` have in common.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use transom_layer::buffer::Pool;
use transom_layer::chain::Step;
use transom_layer::limits::OutputLimits;
use transom_layer::pipe::Input;
use transom_layer::pump::{self, Layer, LayerReport, PumpError, SinkError};
use transom_layer::stage::{Handler, Payload};
use transom_layer::workers::Workers;
use transom_oci::{Algorithm, Descriptor, Digest};
use transom_plugin::Plugin;

use super::component_path;
use crate::arguments::PluginJob;
use crate::failure::Failure;
use crate::handlers::{self, split};
use crate::interrupt::Interrupt;

/// Where `transom plugin build` puts what it makes of a source.
const BUILT: &str = "target/plugin";

/// A plugin that is ready, and what it is told.
pub(super) struct Prepared {
    pub(super) plugin: Plugin,
    pub(super) handler: Arc<dyn Handler>,
    /// The media types of what goes in and of what comes out.
    pub(super) input: String,
    pub(super) output: String,
    annotations: BTreeMap<String, String>,
    payloads: Vec<(String, Payload)>,
}

/// What was built of the source in a folder, or the path itself, if that is no source.
pub(super) fn place(path: &Path) -> PathBuf {
    if !is_source(path) {
        return path.to_owned();
    }
    let built = path.join(BUILT);
    let folders = std::fs::read_dir(&built).into_iter().flatten().flatten();
    let mut folders = folders.map(|entry| entry.path());
    let found = folders.find(|folder| folder.join("plugin.toml").is_file());
    found.unwrap_or_else(|| path.to_owned())
}

/// Whether a folder has a plugin's source: a plugin.toml without the component that it names.
pub(super) fn is_source(path: &Path) -> bool {
    path.is_dir() && component_path(path).is_ok_and(|component| !component.is_file())
}

/// Loads the plugin, and reads what it is told.
pub(super) fn prepare(job: &PluginJob) -> Result<Prepared, Failure> {
    let plugin = handlers::host()?.load(&place(&job.plugin))?;
    let grants = handlers::grants(&job.decryption_key, std::slice::from_ref(&plugin))?;
    let handler = plugin.handler_with(&handlers::values(&job.config)?, grants)?;
    let first = plugin.info().conversions.first().map(|both| both.accepts.clone());
    let input = job.media_type.clone().or(first).unwrap_or_default();
    let output = handler.offer(&input).ok_or_else(|| {
        Failure::usage(format!(
            "{} does not accept {input}; see transom plugin inspect",
            plugin.name()
        ))
    })?;
    let mut annotations = BTreeMap::new();
    for annotation in &job.annotation {
        let (key, value) = split(annotation, "KEY=VALUE")?;
        annotations.insert(key.to_owned(), value.to_owned());
    }
    let payload = job.payload.as_deref().map(handlers::payload).transpose()?;
    let payloads = payload.map(|payload| (handler.name().to_owned(), payload));
    Ok(Prepared {
        plugin,
        handler,
        input,
        output,
        annotations,
        payloads: payloads.into_iter().collect(),
    })
}

impl Prepared {
    /// The plugin as a step of a chain.
    pub(super) fn step(&self) -> Step {
        Step {
            handler: Arc::clone(&self.handler),
            input: self.input.clone(),
            output: self.output.clone(),
        }
    }

    /// Runs a layer of so many bytes through these steps.
    pub(super) fn pump<E: SinkError + 'static>(
        &self,
        (blob, size): (Box<dyn Read + Send>, u64),
        steps: &[Step],
        interrupt: &Interrupt,
        sink: impl FnOnce(&mut Input) -> Result<(), E> + Send + 'static,
    ) -> Result<LayerReport<()>, PumpError<E>> {
        let mut descriptor = Descriptor::new(self.input.clone(), Digest::of(Algorithm::Sha256, b""), size);
        descriptor.annotations.clone_from(&self.annotations);
        let layer = Layer {
            blob,
            descriptor: &descriptor,
            verify: false,
            steps,
            diff_algorithm: Algorithm::Sha256,
            payloads: &self.payloads,
            limits: OutputLimits::default(),
            cancel: interrupt.cancel(),
            pool: Pool::new(),
            workers: Workers::new(),
            progress: Arc::default(),
        };
        pump::run(layer, sink)
    }
}
