//! What metadata has counted itself, asked for when somebody wants to know.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use transom_meta::Metadata;
use transom_meta::gc::Totals;
use transom_meta::kv::Stats;

/// Asks the key-value store and the collector of garbage.
#[derive(Debug)]
pub(super) struct Records {
    metadata: Metadata,
}

impl Records {
    pub(super) fn new(metadata: Metadata) -> Records {
        Records { metadata }
    }
}

impl Collector for Records {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let kv = self.metadata.kv().stats();
        let gc = self.metadata.collections();
        for (name, help, count) in counts(&kv, &gc) {
            let counter = ConstCounter::new(count);
            let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        let unit = Some(&Unit::Seconds);
        for (name, help, seconds) in times(&kv, &gc) {
            let counter = ConstCounter::new(seconds);
            let metric = encoder.encode_descriptor(name, help, unit, counter.metric_type())?;
            counter.encode(metric)?;
        }
        let last = self.metadata.last_collection();
        let longest = last.map_or(0.0, |last| last.longest_pause.as_secs_f64());
        let gauge = ConstGauge::new(longest);
        let help = "The longest wait for the last collection";
        let metric = encoder.encode_descriptor("gc_last_longest_pause", help, unit, gauge.metric_type())?;
        gauge.encode(metric)
    }
}

/// A name, its meaning, a value.
type Row<T> = (&'static str, &'static str, T);

fn counts(kv: &Stats, gc: &Totals) -> [Row<u64>; 7] {
    [
        (
            "kv_transactions",
            "Transactions of metadata that happened",
            kv.transactions,
        ),
        (
            "kv_conflicts",
            "Transactions that were tried again because others came first",
            kv.conflicts,
        ),
        ("kv_flushes", "Flushes of metadata to the disk", kv.flushes),
        ("gc_runs", "Collections of garbage", gc.runs),
        ("gc_failures", "Collections of garbage that failed", gc.failures),
        (
            "gc_pauses",
            "Times that requests waited for a collection",
            gc.pauses,
        ),
        (
            "gc_freed_bytes",
            "Bytes of blobs and ingests that were collected",
            gc.bytes,
        ),
    ]
}

fn times(kv: &Stats, gc: &Totals) -> [Row<f64>; 3] {
    [
        ("kv_flush", "Time that flushes of metadata took", kv.flush_seconds),
        ("gc_run", "Time that collections took", gc.duration.as_secs_f64()),
        (
            "gc_pause",
            "Time that requests waited for collections",
            gc.paused.as_secs_f64(),
        ),
    ]
}
