//! Filter plugins: found in the configured folders, loaded, counted.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use transom_meta::filter::{Compiled, Facts, FilterError, FilterPlugin, FilterSource, Plugins};
use transom_plugin::filter::FilterSet;
use transom_plugin::{Host, HostConfig, LoadError};

use crate::metrics::Metrics;
use crate::parts::Part;
use crate::{lock, places};

/// The plugins that lists may name, and all parts that were found, also those that do not work.
#[derive(Debug, Default)]
pub struct Loaded {
    /// For lists.
    pub plugins: Plugins,
    /// For the introspection service.
    pub parts: Vec<Part>,
}

/// Loads what lies in `folders`: each is a plugin, or holds plugins as folders or components. Compiled code is kept below `root`.
/// What cannot be loaded is logged and listed with its error. Blocks while it compiles.
#[must_use]
pub fn load(folders: &[PathBuf], root: &Path, metrics: &Metrics) -> Loaded {
    let mut loaded = Loaded::default();
    let mut paths = Vec::new();
    for folder in folders {
        match candidates(folder) {
            Ok(found) => paths.extend(found),
            Err(error) => loaded.refuse(folder, &error),
        }
    }
    if paths.is_empty() {
        return loaded;
    }
    let host = match host(root) {
        Ok(host) => host,
        Err(error) => {
            paths.iter().for_each(|path| loaded.refuse(path, &error));
            return loaded;
        }
    };
    let (set, refused) = FilterSet::load(&host, &paths);
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
        tracing::error!(path = %path.display(), %error, "a filter plugin cannot be used");
        let name = path.file_stem().unwrap_or(path.as_os_str());
        let status = tonic::Status::unknown(error.to_string());
        self.parts
            .push(Part::filter(name.to_string_lossy()).failed(&status));
    }
}

fn host(root: &Path) -> Result<Host, LoadError> {
    let cache = places::compiled(root);
    let made = lock::folder(&cache, 0o700);
    if let Err(error) = &made {
        tracing::warn!(%error, "plugins are compiled anew at each start");
    }
    Host::new(HostConfig {
        cache_dir: made.is_ok().then_some(cache),
        ..HostConfig::default()
    })
}

/// What may be plugins in a folder, sorted.
fn candidates(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let is_plugin = |path: &Path| path.join("plugin.toml").is_file();
    if is_plugin(folder) {
        return Ok(vec![folder.to_path_buf()]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if is_plugin(&path) || path.extension().is_some_and(|extension| extension == "wasm") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
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
            .plugin(&self.name, begin.elapsed(), compiled.as_ref().err());
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
            .plugin(&self.name, begin.elapsed(), answers.as_ref().err());
        answers
    }
}
