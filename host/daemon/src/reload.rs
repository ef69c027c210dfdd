//! The configuration, read again while the daemon runs: what has changed, what of it takes effect, and what needs a restart.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use transom_diff::Settings;
use transom_layer::apply::ApplyLimits;
use transom_layer::chain::Chain;
use transom_plugin::breaker::Clock;

use crate::config::Config;
use crate::log;

/// How the configuration is read again, and what else must be told.
#[derive(Clone)]
pub struct Reloading {
    /// Reads it again. The error names its mistakes.
    pub reread: Arc<dyn Fn() -> Result<Config, String> + Send + Sync>,
    /// The level of the log.
    pub log: Option<log::Level>,
    /// By which plugins are suspended.
    pub clock: Clock,
    /// The policy for installed plugins if the configuration names none: it holds if the file is there.
    pub policy: Option<PathBuf>,
}

impl Default for Reloading {
    /// Of a daemon whose configuration is nowhere to be read.
    fn default() -> Self {
        Reloading::from(|| {
            Err("the daemon was started without a configuration that can be read again".to_owned())
        })
    }
}

impl<R: Fn() -> Result<Config, String> + Send + Sync + 'static> From<R> for Reloading {
    fn from(reread: R) -> Reloading {
        Reloading {
            reread: Arc::new(reread),
            log: None,
            clock: Clock::default(),
            policy: None,
        }
    }
}

impl fmt::Debug for Reloading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloading").finish_non_exhaustive()
    }
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// What has changed and is in force.
    pub changed: Vec<String>,
    /// What has changed and needs a restart.
    pub restart: Vec<String>,
    /// What could not be done.
    pub problems: Vec<String>,
}

/// Two configurations.
#[derive(Debug)]
pub struct Comparison {
    /// The running one, with what can be changed of the other.
    pub effective: Config,
    /// What can be changed and has.
    pub changed: Vec<String>,
    /// What has changed and needs a restart.
    pub restart: Vec<String>,
}

impl Comparison {
    /// Takes a setting over.
    fn take<T: Clone + PartialEq>(&mut self, name: &str, read: &mut Config, of: fn(&mut Config) -> &mut T) {
        let (here, there) = (of(&mut self.effective), of(read));
        if here != there {
            here.clone_from(there);
            self.changed.push(name.to_owned());
        }
    }

    /// Leaves a setting as it is.
    fn leave<T: PartialEq>(&mut self, name: &str, read: &Config, of: fn(&Config) -> &T) {
        if of(&self.effective) != of(read) {
            self.restart.push(name.to_owned());
        }
    }
}

/// Compares what runs with what was read.
#[must_use]
pub fn compare(running: &Config, read: &Config) -> Comparison {
    let mut compared = Comparison {
        effective: running.clone(),
        changed: Vec::new(),
        restart: Vec::new(),
    };
    let mut other = read.clone();
    compared.take("log.level", &mut other, |config| &mut config.log.level);
    compared.take("diff.max_layer_size", &mut other, |config| {
        &mut config.diff.output.bytes
    });
    compared.take("diff.max_ratio", &mut other, |config| {
        &mut config.diff.output.ratio
    });
    compared.take("diff.max_entries", &mut other, |config| {
        &mut config.diff.max_entries
    });
    compared.take("diff.sync_fs", &mut other, |config| &mut config.diff.sync_fs);
    compared.take("plugins", &mut other, |config| &mut config.plugins);
    compared.take("filters", &mut other, |config| &mut config.filters);
    compared.take("processors", &mut other, |config| &mut config.processors);
    compared.take("stream_processors", &mut other, |config| {
        &mut config.stream_processors
    });
    compared.take("verifiers", &mut other, |config| &mut config.verifiers);
    compared.take("admission", &mut other, |config| &mut config.admission);
    compared.leave("root", read, |config| &config.root);
    compared.leave("state", read, |config| &config.state);
    compared.leave("address", read, |config| &config.address);
    compared.leave("proxy_backend", read, |config| &config.proxy_backend);
    compared.leave("shutdown_timeout", read, |config| &config.shutdown_timeout);
    compared.leave("socket", read, |config| &config.socket);
    compared.leave("log.format", read, |config| &config.log.format);
    compared.leave("content", read, |config| &config.content);
    compared.leave("metadata", read, |config| &config.metadata);
    compared.leave("snapshots", read, |config| &config.snapshots);
    compared.leave("gc", read, |config| &config.gc);
    compared.leave("limits", read, |config| &config.limits);
    compared.leave("metrics", read, |config| &config.metrics);
    compared.leave("traces", read, |config| &config.traces);
    compared.leave("transfer", read, |config| &config.transfer);
    compared.leave("diff.default", read, |config| &config.diff.default);
    compared.leave("diff.ahead", read, |config| &config.diff.ahead);
    compared.leave("diff.content_address", read, |config| {
        &config.diff.content_address
    });
    compared.leave("registry", read, |config| &config.registry);
    compared
}

/// How layers are applied, by a configuration and what they may pass through.
#[must_use]
pub fn settings(config: &Config, chain: Chain) -> Settings {
    let diff = &config.diff;
    Settings {
        chain,
        output: diff.output,
        apply: ApplyLimits {
            entries: diff.max_entries,
            ..ApplyLimits::default()
        },
        sync_fs: diff.sync_fs,
    }
}
