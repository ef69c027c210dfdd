//! The plugins that a daemon has at one time. A set never changes: another one takes its place.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use transom_layer::chain::Chain;
use transom_meta::filter::{FilterPlugin, FilterSource, Plugins};
use transom_plugin::Loaded;
use transom_plugin::manifest::PluginKind;
use transom_plugin::storage::{self, OpenDrivers};
use transom_plugin::watch::{InUse, Watch, Watched, Watches};
use transom_storage::Factory;

use crate::config::Config;
use crate::parts::Part;
use crate::{filters, processors};

/// A plugin that is loaded, and where it comes from.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// As it was loaded, without what the configuration says of it.
    pub loaded: Loaded,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a plugin comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From a folder that the configuration names: the plugin's own.
    Folder(PathBuf),
    /// From the content store.
    Installed,
}

/// A plugin in use.
#[derive(Debug)]
pub struct Entry {
    /// What it was made of.
    pub candidate: Candidate,
    /// As it is used: with its limits.
    pub used: Loaded,
    /// Who watches it.
    pub watch: Arc<Watch>,
}

/// A plugin that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Its name; of one that could not be loaded, that of its file.
    pub name: String,
    /// What it should have been.
    pub kind: PluginKind,
    /// Where it comes from.
    pub origin: Origin,
    /// Why.
    pub error: String,
    /// Whether it was loaded, and the configuration or another plugin is in its way.
    pub unfit: bool,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Folder(path) => path.display().fmt(f),
            Origin::Installed => f.write_str("installed plugin"),
        }
    }
}

/// The plugins of one time.
#[derive(Debug, Default)]
pub struct Set {
    /// In the order in which they were registered.
    pub entries: Vec<Arc<Entry>>,
    /// Those that cannot be used.
    pub broken: Vec<Broken>,
    /// What layers may pass through.
    pub chain: Chain,
    /// The storage drivers that are used because somebody stands on them, and why the next start would not have them.
    pub held: BTreeMap<String, String>,
    /// Those that could be loaded and are broken all the same.
    waiting: Vec<Candidate>,
    /// The programs among that, for the introspection service.
    programs: Vec<Part>,
}

impl Set {
    /// Makes a set of candidates, in the order in which layers are to meet them: the last one is asked first, and the programs of
    /// the configuration before all. Those that do not fit the configuration, or have the name of an earlier one, are added to those
    /// that are broken already. What was the same in the set before goes on as it is.
    #[must_use]
    pub fn of(
        config: &Config,
        candidates: Vec<Candidate>,
        broken: Vec<Broken>,
        watches: &Watches,
        before: &Set,
    ) -> Set {
        let mut set = Set {
            broken,
            ..Set::default()
        };
        for candidate in candidates {
            if let Err(error) = set.add(config, &candidate, watches, before) {
                let waiting = candidate.clone();
                let broken = Broken {
                    name: candidate.loaded.name().to_owned(),
                    kind: candidate.loaded.kind(),
                    origin: candidate.origin,
                    error,
                    unfit: true,
                };
                set.broken.push(broken);
                set.waiting.push(waiting);
            }
        }
        for program in &config.stream_processors {
            set.programs.push(processors::part_of(program));
            set.chain.register(processors::program(program, watches));
        }
        set
    }

    fn add(
        &mut self,
        config: &Config,
        candidate: &Candidate,
        watches: &Watches,
        before: &Set,
    ) -> Result<(), String> {
        let loaded = &candidate.loaded;
        if self.find(loaded.name()).is_some() {
            return Err(format!(
                "two plugins have the name {}; give each its own",
                loaded.name()
            ));
        }
        let mut used = match config.plugins.limits.get(loaded.name()) {
            Some(given) => loaded.with_limits(given),
            None => loaded.clone(),
        };
        let same = before.find(loaded.name()).filter(|entry| entry.is_same(&used));
        if let Some(same) = same {
            used = same.used.clone();
        }
        let handler = match &used {
            Loaded::Processor(plugin) => {
                let handler = processors::handler(config, plugin);
                Some(handler.map_err(|error| error.to_string())?)
            }
            Loaded::Filter(_) => None,
            Loaded::Driver(plugin) => {
                let named = plugin.register(&mut Factory::builtin());
                named.map_err(|error| error.to_string())?;
                None
            }
        };
        let watched = Watched {
            name: used.name(),
            version: used.version(),
            digest: used.digest().as_str(),
        };
        let same = same.filter(|entry| *entry.watch.breaker().settings() == config.plugins.breaker);
        let watch = match same {
            Some(same) => Arc::clone(&same.watch),
            None => watches.watch(watched, config.plugins.breaker),
        };
        if let (Some(handler), Loaded::Processor(plugin)) = (handler, &used) {
            let handler = processors::watched(handler, plugin, Arc::clone(&watch));
            self.chain.register(handler);
        }
        self.entries.push(Arc::new(Entry {
            candidate: candidate.clone(),
            used,
            watch,
        }));
        Ok(())
    }

    /// The plugin of a name that works.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<Entry>> {
        self.entries.iter().find(|entry| entry.used.name() == name)
    }

    /// Whether a plugin or a program of this name works.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        let mut programs = self.programs.iter();
        self.find(name).is_some() || programs.any(|program| program.plugin().id == name)
    }

    /// What comes from folders, working and broken.
    #[must_use]
    pub fn of_folders(&self) -> (Vec<Candidate>, Vec<Broken>) {
        let of_folder = |origin: &Origin| *origin != Origin::Installed;
        let working = self.entries.iter().map(|entry| &entry.candidate);
        let working = working.filter(|candidate| of_folder(&candidate.origin));
        // Those that something was in the way of are tried again.
        let waiting = self
            .waiting
            .iter()
            .filter(|candidate| of_folder(&candidate.origin));
        let candidates = working.chain(waiting).cloned().collect();
        let broken = self
            .broken
            .iter()
            .filter(|broken| of_folder(&broken.origin) && !broken.unfit);
        (candidates, broken.cloned().collect())
    }

    /// The storage drivers, made known to a factory. What `user` opens with it is noted, so that it can be replaced.
    #[must_use]
    pub fn factory(&self, opened: &OpenDrivers, user: &str) -> Factory {
        let mut factory = Factory::builtin();
        for entry in &self.entries {
            if let Loaded::Driver(plugin) = &entry.used {
                let around = storage::watched(plugin, &entry.watch);
                // Its name was tried when it came into the set.
                drop(factory.register(opened.kind(plugin, &around, user)));
            }
        }
        factory
    }

    /// Those that work, for the metrics.
    #[must_use]
    pub fn in_use(&self) -> Vec<InUse> {
        let in_use = |entry: &Arc<Entry>| InUse {
            plugin: entry.used.clone(),
            watch: Arc::clone(&entry.watch),
        };
        self.entries.iter().map(in_use).collect()
    }

    /// For the introspection service.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let mut parts: Vec<Part> = self.entries.iter().map(|entry| part(entry)).collect();
        parts.extend(self.broken.iter().map(|broken| {
            let status = tonic::Status::unknown(broken.error.clone());
            Part::plugin_of(broken.kind, &broken.name).failed(&status)
        }));
        parts.extend(self.programs.iter().cloned());
        parts
    }

    /// The filters, for those who must not see another set.
    #[must_use]
    pub fn filters(self: &Arc<Self>) -> Plugins {
        Plugins::new(Arc::clone(self) as Arc<dyn FilterSource>)
    }
}

impl Entry {
    /// Whether it is the same plugin with the same limits.
    fn is_same(&self, other: &Loaded) -> bool {
        self.used.digest() == other.digest()
            && self.used.manifest() == other.manifest()
            && self.used.limits() == other.limits()
    }
}

fn part(entry: &Entry) -> Part {
    let part = match &entry.used {
        Loaded::Processor(plugin) => processors::part(plugin),
        Loaded::Filter(filter) => {
            Part::filter(filter.name()).exports("example", filter.info().example.as_str())
        }
        Loaded::Driver(driver) => Part::plugin_of(PluginKind::Driver, driver.name()),
    };
    part.exports("version", entry.used.version())
        .exports("digest", entry.used.digest().to_string())
}

impl FilterSource for Set {
    fn find(&self, name: &str) -> Option<Arc<dyn FilterPlugin>> {
        let entry = Set::find(self, name)?;
        let Loaded::Filter(filter) = &entry.used else {
            return None;
        };
        Some(filters::watched(filter.clone(), Arc::clone(&entry.watch)))
    }

    fn names(&self) -> Vec<String> {
        let filters = self.entries.iter();
        let filters = filters.filter(|entry| entry.used.kind() == PluginKind::Filter);
        let mut names: Vec<String> = filters.map(|entry| entry.used.name().to_owned()).collect();
        names.sort();
        names
    }
}

/// The set of now. Clones show the same.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    set: Arc<RwLock<Arc<Set>>>,
}

impl Shelf {
    /// The set of now.
    #[must_use]
    pub fn now(&self) -> Arc<Set> {
        Arc::clone(&self.set.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on this one.
    pub(super) fn replace(&self, set: Arc<Set>) {
        *self.set.write().unwrap_or_else(PoisonError::into_inner) = set;
    }

    /// The filters, always those of now.
    #[must_use]
    pub fn filters(&self) -> Plugins {
        Plugins::new(Arc::new(self.clone()))
    }
}

impl FilterSource for Shelf {
    fn find(&self, name: &str) -> Option<Arc<dyn FilterPlugin>> {
        FilterSource::find(&*self.now(), name)
    }

    fn names(&self) -> Vec<String> {
        self.now().names()
    }
}
