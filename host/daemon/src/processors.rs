//! What layers may pass through: WASM plugins and programs, as the configuration wants them, watched at their work.

use std::sync::Arc;

use transom_keys::{KeyError, Keyring};
use transom_layer::exec::ExternalProcessor;
use transom_layer::pipe::{Input, Output};
use transom_layer::stage::{Handler, HandlerKind, Job, Outcome, Stage, StageError, Verdict};
use transom_oci::Digest;
use transom_plugin::breaker::{Ending, Settings, Suspended};
use transom_plugin::decrypt::CAPABILITY;
use transom_plugin::watch::{self, Call, Watch, Watched, Watches};
use transom_plugin::{Fault, LoadError, Plugin, PluginError, ProcessorGrants};

use crate::config::Config;
use crate::parts::Part;
use crate::plugins::set::Set;

/// Why the configuration is not fit for a processor.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// What it is told.
    #[error("{0}; see [processors.config.{1:?}]")]
    Config(#[source] LoadError, String),
    /// The keys that it may use.
    #[error("{0}; see [processors.keys]")]
    Keys(#[from] KeyError),
}

/// A plugin with what the configuration tells and grants it.
///
/// # Errors
/// [`Unfit`].
pub fn handler(config: &Config, plugin: &Plugin) -> Result<Arc<dyn Handler>, Unfit> {
    let values = config.processors.config.get(plugin.name());
    let grants = grants(config, plugin)?;
    let handler = plugin.handler_with(&values.cloned().unwrap_or_default(), grants);
    handler.map_err(|error| Unfit::Config(error, plugin.name().to_owned()))
}

/// The private keys that the configuration names for a plugin. They are read once here, so that a mistake is seen at once.
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

/// Says in the log what the configuration has for plugins that are not there.
pub fn warn_of_absent(config: &Config, set: &Set) {
    let told = config.processors.config.keys();
    for name in told.chain(config.processors.keys.keys()) {
        if set.find(name).is_none() {
            tracing::warn!(
                name,
                "[processors.config] or [processors.keys] is for a plugin that is not loaded"
            );
        }
    }
}

/// A plugin as a part of the daemon.
#[must_use]
pub fn part(plugin: &Plugin) -> Part {
    let conversions = plugin.info().conversions.iter();
    let conversions =
        conversions.map(|conversion| format!("{} > {}", conversion.accepts, conversion.returns));
    Part::processor(plugin.name())
        .exports("kind", HandlerKind::Wasm.as_str())
        .exports("converts", conversions.collect::<Vec<_>>().join(", "))
}

/// A program as a part of the daemon.
#[must_use]
pub fn part_of(program: &ExternalProcessor) -> Part {
    let conversions = program.accepts.iter();
    let conversions = conversions.map(|accepted| format!("{accepted} > {}", program.returns));
    Part::processor(&program.id)
        .exports("kind", HandlerKind::Exec.as_str())
        .exports("path", program.path.display().to_string())
        .exports("converts", conversions.collect::<Vec<_>>().join(", "))
}

/// A program whose calls are counted. How it ends is its own affair: each has a process of its own, and is never suspended.
#[must_use]
pub fn program(program: &ExternalProcessor, watches: &Watches) -> Arc<dyn Handler> {
    let watched = Watched {
        name: &program.id,
        version: "",
        digest: "",
    };
    let never = Settings {
        crashes: 0,
        ..Settings::default()
    };
    Arc::new(WatchedHandler {
        inner: Arc::new(program.clone()),
        plugin: None,
        watch: watches.watch(watched, never),
    })
}

/// A plugin's handler, watched.
#[must_use]
pub fn watched(inner: Arc<dyn Handler>, plugin: &Plugin, watch: Arc<Watch>) -> Arc<dyn Handler> {
    let plugin = Some(Named {
        version: plugin.version().to_owned(),
        digest: plugin.digest().clone(),
    });
    Arc::new(WatchedHandler { inner, plugin, watch })
}

struct WatchedHandler {
    inner: Arc<dyn Handler>,
    plugin: Option<Named>,
    watch: Arc<Watch>,
}

/// Which plugin.
struct Named {
    version: String,
    digest: Digest,
}

impl Handler for WatchedHandler {
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
        let layer = &job.descriptor.digest;
        let call = self.watch.begin();
        let call = call.map_err(|suspended| self.refused(layer, suspended))?;
        match self.inner.open(job) {
            Ok(inner) => Ok(Box::new(WatchedStage {
                inner,
                call,
                layer: layer.clone(),
            })),
            Err(error) => {
                end(call, layer, Err(&error));
                Err(error)
            }
        }
    }
}

impl WatchedHandler {
    fn refused(&self, layer: &Digest, suspended: Suspended) -> StageError {
        let Some(Named { version, digest }) = &self.plugin else {
            return StageError::Cancelled;
        };
        StageError::Plugin(Box::new(PluginError {
            name: self.name().to_owned(),
            version: version.clone(),
            digest: digest.clone(),
            layer: layer.clone(),
            fault: suspended.into(),
        }))
    }
}

/// One layer through it.
struct WatchedStage {
    inner: Box<dyn Stage>,
    call: Call,
    layer: Digest,
}

impl Stage for WatchedStage {
    fn run(self: Box<Self>, input: &mut Input, output: &mut Output) -> Result<Outcome, StageError> {
        let WatchedStage {
            inner,
            mut call,
            layer,
        } = *self;
        let written = output.counter();
        call.restart();
        let done = inner.run(input, output);
        call.bytes(
            input.consumed(),
            written.load(std::sync::atomic::Ordering::Relaxed),
        );
        end(call, &layer, done.as_ref());
        done
    }
}

fn end(call: Call, layer: &Digest, done: Result<&Outcome, &StageError>) {
    let result = result(done);
    let failure = match done {
        Err(error) if !error.is_echo() => Some((layer.to_string(), error.to_string())),
        _ => None,
    };
    call.end(result, ending(done), failure);
}

/// In the words of the metric.
fn result(done: Result<&Outcome, &StageError>) -> &'static str {
    match done {
        Ok(outcome) if outcome.verdict == Verdict::Continue => "ok",
        Ok(_) => "refused",
        Err(error) if error.is_echo() => "stopped",
        Err(StageError::Plugin(error)) => fault(error.as_ref()).map_or("crash", watch::result),
        Err(StageError::OutputLimit { .. } | StageError::RatioLimit { .. }) => "limit",
        Err(StageError::Program { .. }) => "refused",
        Err(_) => "crash",
    }
}

/// What it says of the plugin.
fn ending(done: Result<&Outcome, &StageError>) -> Ending {
    match done {
        Ok(_) => Ending::Well,
        Err(StageError::Plugin(error)) => match fault(error.as_ref()) {
            Some(fault) if fault.is_crash() => Ending::Crash,
            Some(Fault::Guest(_)) => Ending::Well,
            _ => Ending::Unknown,
        },
        Err(_) => Ending::Unknown,
    }
}

fn fault<'e>(error: &'e (dyn std::error::Error + Send + Sync + 'static)) -> Option<&'e Fault> {
    error.downcast_ref::<PluginError>().map(|error| &error.fault)
}
