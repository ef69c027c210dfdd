//! How many layers were unpacked before anybody asked, and what became of them.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use transom_diff::Ahead;

/// Asks who unpacks them.
#[derive(Debug)]
pub(super) struct Layers {
    ahead: Ahead,
}

impl Layers {
    pub(super) fn new(ahead: Ahead) -> Layers {
        Layers { ahead }
    }
}

impl Collector for Layers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let stats = self.ahead.stats();
        let help = "Layers that were unpacked before anybody asked, by whether somebody did";
        let mut family = encoder.encode_descriptor("layers_ahead", help, None, MetricType::Counter)?;
        for (result, count) in [
            ("used", stats.used),
            ("unused", stats.unused),
            ("failed", stats.failed),
        ] {
            ConstCounter::new(count).encode(family.encode_family(&[("result", result)])?)?;
        }
        Ok(())
    }
}
