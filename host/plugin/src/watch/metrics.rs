//! What plugins do, counted; and what is known of those in use, asked for when somebody wants to know.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::Watch;
use crate::loaded::Loaded;

/// A plugin in use, and who watches it.
#[derive(Clone, Debug)]
pub struct InUse {
    /// The plugin.
    pub plugin: Loaded,
    /// Who watches it.
    pub watch: Arc<Watch>,
}

/// Asks the plugins of now.
pub struct PluginsInUse {
    now: Box<dyn Fn() -> Vec<InUse> + Send + Sync>,
}

impl PluginsInUse {
    /// Those that are in use whenever somebody wants to know.
    pub fn new(now: impl Fn() -> Vec<InUse> + Send + Sync + 'static) -> PluginsInUse {
        PluginsInUse { now: Box::new(now) }
    }
}

impl fmt::Debug for PluginsInUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PluginsInUse")
    }
}

/// What plugins do. Clones count together. It is not all that is counted: whoever has it must not keep alive what asks the stores.
#[derive(Clone, Debug, Default)]
pub struct PluginCalls {
    calls: Family<Ended, Counter>,
    seconds: Family<Name, Counter<f64, AtomicU64>>,
    bytes: Family<Passed, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Ended {
    plugin: String,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Passed {
    plugin: String,
    direction: &'static str,
}

impl PluginCalls {
    /// A plugin or a processor was called. The result is `ok`, `refused`, `stopped`, `suspended`, or how it failed.
    pub fn ended(&self, plugin: &str, took: Duration, result: &'static str) {
        let plugin = plugin.to_owned();
        let ended = Ended {
            plugin: plugin.clone(),
            result,
        };
        self.calls.get_or_create(&ended).inc();
        let seconds = self.seconds.get_or_create(&Name { plugin });
        seconds.inc_by(took.as_secs_f64());
    }

    /// Bytes have gone through a processor, or were read from a storage driver and written to it.
    pub fn passed(&self, plugin: &str, read: u64, written: u64) {
        for (direction, bytes) in [("read", read), ("written", written)] {
            let plugin = plugin.to_owned();
            self.bytes
                .get_or_create(&Passed { plugin, direction })
                .inc_by(bytes);
        }
    }

    /// Gives it its names.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Calls of plugins and processors, by result: ok, refused, stopped, suspended, or how it failed (crash is a trap)";
        registry.register("plugin_calls", help, self.calls.clone());
        let help = "Time that plugins took";
        registry.register_with_unit("plugin", help, Unit::Seconds, self.seconds.clone());
        let help = "Bytes that processors of layers read and wrote, and that were read from storage drivers and written to them";
        registry.register("plugin_bytes", help, self.bytes.clone());
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Name {
    plugin: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Which {
    plugin: String,
    version: String,
    digest: String,
    kind: &'static str,
}

/// A number for each plugin.
type Of = fn(&InUse) -> u64;

const GAUGES: [(&str, &str, Of); 3] = [
    (
        "plugin_running",
        "Calls under way of the version in use",
        |used| used.watch.running(),
    ),
    (
        "plugin_draining",
        "Calls under way of versions before the one in use",
        |used| used.watch.history().draining(&used.watch),
    ),
    (
        "plugin_suspended",
        "1 while a plugin is suspended because it crashed again and again",
        |used| u64::from(used.watch.breaker().view().state != "closed"),
    ),
];

const COUNTERS: [(&str, &str, Of); 2] = [
    (
        "plugin_suspensions",
        "How often a plugin was suspended since its version is in use",
        |used| used.watch.breaker().view().trips,
    ),
    (
        "plugin_dropped_log_lines",
        "Lines of a plugin's log that were dropped because there were too many",
        |used| used.plugin.dropped_lines(),
    ),
];

impl Collector for PluginsInUse {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let all = (self.now)();
        if all.is_empty() {
            return Ok(());
        }
        info(&all, &mut encoder)?;
        for (name, help, of) in GAUGES {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for used in &all {
                let gauge = ConstGauge::new(i64::try_from(of(used)).unwrap_or(i64::MAX));
                gauge.encode(metric.encode_family(&name_of(used))?)?;
            }
        }
        for (name, help, of) in COUNTERS {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for used in &all {
                ConstCounter::new(of(used)).encode(metric.encode_family(&name_of(used))?)?;
            }
        }
        Ok(())
    }
}

fn info(all: &[InUse], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "1 for each plugin in use, with its version";
    let mut metric = encoder.encode_descriptor("plugin_version", help, None, MetricType::Gauge)?;
    for InUse { plugin, .. } in all {
        let which = Which {
            plugin: plugin.name().to_owned(),
            version: plugin.version().to_owned(),
            digest: plugin.digest().to_string(),
            kind: plugin.kind().as_str(),
        };
        ConstGauge::new(1i64).encode(metric.encode_family(&which)?)?;
    }
    Ok(())
}

fn name_of(used: &InUse) -> Name {
    Name {
        plugin: used.plugin.name().to_owned(),
    }
}
