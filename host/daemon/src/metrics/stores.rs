//! What a key-value store has counted itself, asked for when somebody wants to know.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Unit;
use transom_meta::kv::Kv;

/// Asks a store.
#[derive(Debug)]
pub(super) struct Store {
    kv: Arc<dyn Kv>,
}

impl Store {
    pub(super) fn new(kv: Arc<dyn Kv>) -> Store {
        Store { kv }
    }
}

impl Collector for Store {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let stats = self.kv.stats();
        for (name, help, count) in [
            (
                "kv_transactions",
                "Transactions of metadata that happened",
                stats.transactions,
            ),
            (
                "kv_conflicts",
                "Transactions that were tried again because others came first",
                stats.conflicts,
            ),
            ("kv_flushes", "Flushes of metadata to the disk", stats.flushes),
        ] {
            let counter = ConstCounter::new(count);
            let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        let seconds = ConstCounter::new(stats.flush_seconds);
        let help = "Time that flushes of metadata took";
        let unit = Some(&Unit::Seconds);
        let metric = encoder.encode_descriptor("kv_flush", help, unit, seconds.metric_type())?;
        seconds.encode(metric)
    }
}
