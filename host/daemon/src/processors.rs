//! What layers may pass through: WASM plugins and programs, found, loaded, counted, in the order in which they are asked.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use transom_keys::{KeyError, Keyring};
use transom_layer::chain::Chain;
use transom_layer::exec::ExternalProcessor;
use transom_layer::pipe::{Input, Output};
use transom_layer::stage::{Handler, HandlerKind, Job, Outcome, Stage, StageError, Verdict};
use transom_plugin::decrypt::CAPABILITY;
use transom_plugin::{Fault, Plugin, PluginError, ProcessorGrants};

use crate::config::Config;
use crate::metrics::Metrics;
use crate::parts::Part;
use crate::plugins::{self, Engine};

/// The chain for layers, and all processors that were found, also those that do not work.
#[derive(Debug, Default)]
pub struct Loaded {
    /// For layers.
    pub chain: Chain,
    /// For the introspection service.
    pub parts: Vec<Part>,
}

/// Loads what the configuration names. Programs are asked before plugins, both before what is built in, and among themselves
/// the last one is asked first. What cannot be loaded is logged and listed with its error. Blocks while it compiles.
#[must_use]
pub fn load(config: &Config, engine: &Engine<'_>, metrics: &Metrics) -> Loaded {
    let mut loaded = Loaded::default();
    let mut refused = Vec::new();
    let folders = &config.processors.folders;
    let paths = plugins::found(folders, |path, error| refused.push(refuse(path, error)));
    for path in paths {
        match loaded.plugin(config, engine, metrics, &path) {
            Ok(()) => {}
            Err(error) => refused.push(refuse(&path, &*error)),
        }
    }
    loaded.parts.append(&mut refused);
    for name in config
        .processors
        .config
        .keys()
        .chain(config.processors.keys.keys())
    {
        if !loaded
            .chain
            .handlers()
            .iter()
            .any(|handler| handler.name() == name)
        {
            tracing::warn!(
                name,
                "[processors.config] or [processors.keys] is for a plugin that is not loaded"
            );
        }
    }
    for program in &config.stream_processors {
        loaded.parts.push(part_of(program));
        loaded.chain.register(counted(Arc::new(program.clone()), metrics));
    }
    loaded
}

impl Loaded {
    fn plugin(
        &mut self,
        config: &Config,
        engine: &Engine<'_>,
        metrics: &Metrics,
        path: &Path,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let host = engine.host().map_err(ToString::to_string)?;
        let plugin = host.load(path)?;
        if self
            .chain
            .handlers()
            .iter()
            .any(|handler| handler.name() == plugin.name())
        {
            let text = format!(
                "two processors have the name {}; give each its own",
                plugin.name()
            );
            return Err(text.into());
        }
        let values = config.processors.config.get(plugin.name());
        let grants = grants(config, &plugin)?;
        let handler = plugin.handler_with(&values.cloned().unwrap_or_default(), grants)?;
        self.parts.push(part(&plugin));
        self.chain.register(counted(handler, metrics));
        Ok(())
    }
}

/// The private keys that the configuration names for a plugin. They are read once here, so that a mistake is seen at the start.
fn grants(config: &Config, plugin: &Plugin) -> Result<ProcessorGrants, KeyError> {
    let paths = config.processors.keys.get(plugin.name());
    let keys = Keyring::new(paths.cloned().unwrap_or_default());
    if !keys.is_empty() && !plugin.asks_for(CAPABILITY) {
        tracing::warn!(
            plugin = plugin.name(),
            "[processors.keys] names it, and it asks for no keys"
        );
    }
    let count = keys.check()?;
    tracing::debug!(plugin = plugin.name(), count, "private keys for a plugin");
    Ok(ProcessorGrants { keys })
}

fn refuse(path: &Path, error: &dyn std::error::Error) -> Part {
    plugins::refused("processor", Part::processor, path, error)
}

fn part(plugin: &Plugin) -> Part {
    let conversions = plugin.info().conversions.iter();
    let conversions =
        conversions.map(|conversion| format!("{} > {}", conversion.accepts, conversion.returns));
    Part::processor(plugin.name())
        .exports("kind", HandlerKind::Wasm.as_str())
        .exports("version", plugin.version())
        .exports("digest", plugin.digest().to_string())
        .exports("converts", conversions.collect::<Vec<_>>().join(", "))
}

fn part_of(program: &ExternalProcessor) -> Part {
    let conversions = program.accepts.iter();
    let conversions = conversions.map(|accepted| format!("{accepted} > {}", program.returns));
    Part::processor(&program.id)
        .exports("kind", HandlerKind::Exec.as_str())
        .exports("path", program.path.display().to_string())
        .exports("converts", conversions.collect::<Vec<_>>().join(", "))
}

fn counted(inner: Arc<dyn Handler>, metrics: &Metrics) -> Arc<dyn Handler> {
    Arc::new(Counted {
        inner,
        metrics: metrics.clone(),
    })
}

/// A processor whose calls are counted.
struct Counted {
    inner: Arc<dyn Handler>,
    metrics: Metrics,
}

impl Handler for Counted {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn kind(&self) -> HandlerKind {
        self.inner.kind()
    }

    fn offer(&self, media_type: &str) -> Option<String> {
        self.inner.offer(media_type)
    }

    fn takes_payload(&self, id: &str) -> bool {
        self.inner.takes_payload(id)
    }

    fn open(&self, job: &Job) -> Result<Box<dyn Stage>, StageError> {
        Ok(Box::new(CountedStage {
            inner: self.inner.open(job)?,
            name: self.inner.name().to_owned(),
            metrics: self.metrics.clone(),
        }))
    }
}

/// One layer through it.
struct CountedStage {
    inner: Box<dyn Stage>,
    name: String,
    metrics: Metrics,
}

impl Stage for CountedStage {
    fn run(self: Box<Self>, input: &mut Input, output: &mut Output) -> Result<Outcome, StageError> {
        let begin = Instant::now();
        let done = self.inner.run(input, output);
        self.metrics.plugin(&self.name, begin.elapsed(), result(&done));
        done
    }
}

/// In the words of the metric.
fn result(done: &Result<Outcome, StageError>) -> &'static str {
    match done {
        Ok(outcome) if outcome.verdict == Verdict::Continue => "ok",
        Ok(_) => "refused",
        Err(error) if error.is_echo() => "stopped",
        Err(StageError::Plugin(error)) => match error.downcast_ref::<PluginError>().map(|error| &error.fault)
        {
            Some(Fault::Guest(_)) => "refused",
            Some(Fault::Protocol(_)) => "answer",
            Some(Fault::Trap { .. } | Fault::Start(_)) | None => "crash",
            Some(_) => "limit",
        },
        Err(StageError::OutputLimit { .. } | StageError::RatioLimit { .. }) => "limit",
        Err(StageError::Program { .. }) => "refused",
        Err(_) => "crash",
    }
}
