//! The plugins in the folders that the configuration names.

use std::path::{Path, PathBuf};

use transom_plugin::manifest::PluginKind;
use transom_plugin::{Host, LoadError, Loaded, storage};

use crate::config::Config;

use super::set::{Broken, Candidate, Origin, Set};
use super::{Engine, candidates};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) candidates: Vec<Candidate>,
    pub(super) broken: Vec<Broken>,
    /// What is broken now and goes on as it was.
    pub(super) kept: Vec<String>,
}

/// Loads all of it. Blocks while it compiles.
pub(super) fn load(config: &Config, engine: &Engine) -> Found {
    load_again(config, engine, &Set::default())
}

/// Loads the storage drivers that the content store may stand on.
pub(super) fn load_of_content(config: &Config, engine: &Engine) -> Found {
    let mut loading = Loading {
        engine,
        before: &Set::default(),
        found: Found::default(),
    };
    loading.of_content(config);
    loading.found
}

/// The same when there is a set in use: what cannot be loaded any more goes on as it was.
pub(super) fn load_again(config: &Config, engine: &Engine, before: &Set) -> Found {
    let mut loading = Loading {
        engine,
        before,
        found: Found::default(),
    };
    for folder in &config.processors.folders {
        loading.folder(PluginKind::Processor, folder);
    }
    for folder in &config.filters {
        loading.folder(PluginKind::Filter, folder);
    }
    loading.of_content(config);
    let folders = config.registry.iter().flat_map(|registry| &registry.plugins);
    folders.for_each(|folder| loading.folder(PluginKind::Driver, folder));
    loading.found
}

struct Loading<'a> {
    engine: &'a Engine,
    before: &'a Set,
    found: Found,
}

impl Loading<'_> {
    /// The storage drivers in the folders of `[content]`, where other plugins may be, too.
    fn of_content(&mut self, config: &Config) {
        if config.content.driver.is_none() {
            return;
        }
        let paths = config.content.plugins.iter();
        let paths: Vec<PathBuf> = paths.flat_map(|path| storage::found(path)).collect();
        paths.iter().for_each(|path| self.path(PluginKind::Driver, path));
    }

    /// A folder that is a plugin, or holds some.
    fn folder(&mut self, kind: PluginKind, folder: &Path) {
        let paths = match candidates(folder) {
            Ok(paths) => paths,
            Err(error) => return self.failed(kind, folder, &error.to_string()),
        };
        paths.iter().for_each(|path| self.path(kind, path));
    }

    /// A plugin. One that two settings name is the same for both.
    fn path(&mut self, kind: PluginKind, path: &Path) {
        let is_there = |candidate: &Candidate| {
            matches!(&candidate.origin, Origin::Folder(from) if from == path)
                && candidate.loaded.kind() == kind
        };
        if self.found.candidates.iter().any(is_there) {
            return;
        }
        match self.load(kind, path) {
            Ok(loaded) => self.found.candidates.push(Candidate {
                loaded,
                origin: Origin::Folder(path.to_path_buf()),
            }),
            Err(error) => self.failed(kind, path, &error),
        }
    }

    fn load(&self, kind: PluginKind, path: &Path) -> Result<Loaded, String> {
        let host = self.engine.host().map_err(ToString::to_string)?;
        load_as(host, kind, path).map_err(|error| error.to_string())
    }

    /// What is in use of a path goes on; without any of it the path is broken.
    fn failed(&mut self, kind: PluginKind, path: &Path, error: &str) {
        let is_there = |candidate: &&Candidate| {
            let from = matches!(&candidate.origin, Origin::Folder(from) if from.starts_with(path));
            from && candidate.loaded.kind() == kind
        };
        let in_use = self.before.entries.iter().map(|entry| &entry.candidate);
        let in_use: Vec<Candidate> = in_use.filter(is_there).cloned().collect();
        if in_use.is_empty() {
            let name = path.file_stem().unwrap_or(path.as_os_str());
            self.found.broken.push(Broken {
                name: name.to_string_lossy().into_owned(),
                kind,
                origin: Origin::Folder(path.to_path_buf()),
                error: error.to_owned(),
                unfit: false,
            });
        }
        for candidate in in_use {
            let (name, version) = (candidate.loaded.name(), candidate.loaded.version());
            self.found
                .kept
                .push(format!("{}: {error}; {name} {version} goes on", path.display()));
            self.found.candidates.push(candidate);
        }
    }
}

fn load_as(host: &Host, kind: PluginKind, path: &Path) -> Result<Loaded, LoadError> {
    match kind {
        PluginKind::Processor => host.load(path).map(Loaded::Processor),
        PluginKind::Filter => host.load_filter(path).map(Loaded::Filter),
        PluginKind::Driver => host.load_driver(path).map(Loaded::Driver),
    }
}
