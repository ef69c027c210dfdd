//! Filter plugins: found in the configured folders, loaded, counted.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use transom_meta::filter::{
    Compiled, Facts, FilterError, FilterPlugin, FilterSource, PluginFailure, Plugins,
};
use transom_plugin::filter::FilterSet;

use crate::metrics::Metrics;
use crate::parts::Part;
use crate::plugins::{self, Engine};

/// The plugins that lists may name, and all parts that were found, also those that do not work.
#[derive(Debug, Default)]
pub struct Loaded {
    /// For lists.
    pub plugins: Plugins,
    /// For the introspection service.
    pub parts: Vec<Part>,
}

/// Loads what lies in `folders`: each is a plugin, or holds plugins as folders or components. What cannot be loaded is logged
/// and listed with its error. Blocks while it compiles.
#[must_use]
pub fn load(folders: &[PathBuf], engine: &Engine<'_>, metrics: &Metrics) -> Loaded {
    let mut loaded = Loaded::default();
    let paths = plugins::found(folders, |path, error| loaded.refuse(path, error));
    if paths.is_empty() {
        return loaded;
    }
    let host = match engine.host() {
        Ok(host) => host,
        Err(error) => {
            paths.iter().for_each(|path| loaded.refuse(path, error));
            return loaded;
        }
    };
    let (set, refused) = FilterSet::load(host, &paths);
    for refused in refused {
        loaded.refuse(&refused.path, &refused.error);
    }
    for filter in set.iter() {
        let part = Part::filter(filter.name());
        let part = part
            .exports("version", filter.version())
            .exports("digest", filter.digest().to_string());
        loaded
            .parts
            .push(part.exports("example", filter.info().example.as_str()));
    }
    loaded.plugins = Plugins::new(Arc::new(Counted {
        inner: Arc::new(set),
        metrics: metrics.clone(),
    }));
    loaded
}

impl Loaded {
    fn refuse(&mut self, path: &Path, error: &dyn std::error::Error) {
        self.parts
            .push(plugins::refused("filter", Part::filter, path, error));
    }
}

/// Plugins whose calls are counted.
struct Counted<T: ?Sized> {
    inner: Arc<T>,
    metrics: Metrics,
}

impl FilterSource for Counted<FilterSet> {
    fn find(&self, name: &str) -> Option<Arc<dyn FilterPlugin>> {
        let inner = self.inner.find(name)?;
        let metrics = self.metrics.clone();
        let plugin = Counted { inner, metrics };
        Some(Arc::new(Named {
            name: name.to_owned(),
            plugin,
        }))
    }

    fn names(&self) -> Vec<String> {
        self.inner.names()
    }
}

/// One counted plugin.
struct Named {
    name: String,
    plugin: Counted<dyn FilterPlugin>,
}

impl FilterPlugin for Named {
    fn compile(&self, expression: &str) -> Result<Box<dyn Compiled>, FilterError> {
        let begin = Instant::now();
        let compiled = self.plugin.inner.compile(expression);
        self.plugin
            .metrics
            .plugin(&self.name, begin.elapsed(), result(compiled.as_ref().err()));
        Ok(Box::new(Expression {
            inner: compiled?,
            name: self.name.clone(),
            metrics: self.plugin.metrics.clone(),
        }))
    }
}

/// An expression whose matches are counted.
struct Expression {
    inner: Box<dyn Compiled>,
    name: String,
    metrics: Metrics,
}

impl Compiled for Expression {
    fn matches(&self, batch: &[Facts<'_>]) -> Result<Vec<bool>, FilterError> {
        let begin = Instant::now();
        let answers = self.inner.matches(batch);
        self.metrics
            .plugin(&self.name, begin.elapsed(), result(answers.as_ref().err()));
        answers
    }
}

/// In the words of the metric.
#[must_use]
pub fn result(error: Option<&FilterError>) -> &'static str {
    match error {
        None => "ok",
        Some(FilterError::Plugin { failure, .. }) => match failure {
            PluginFailure::Refused => "refused",
            PluginFailure::Limit => "limit",
            PluginFailure::Answer => "answer",
            _ => "crash",
        },
        Some(_) => "refused",
    }
}
