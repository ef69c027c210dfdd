//! What is looked up when somebody asks: the queues of notifications, and the index.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::index::List;
use crate::notify::{Notifier, Status};
use crate::store::Store;

/// Has `registry` ask for these states.
pub(crate) fn register(registry: &mut Registry, store: Store, notifier: Option<Arc<Notifier>>) {
    registry.register_collector(Box::new(Lists(store)));
    if let Some(notifier) = notifier {
        registry.register_collector(Box::new(Queues(notifier)));
    }
}

/// One of the numbers of an endpoint.
type Number = fn(&Status) -> u64;

#[derive(Debug)]
struct Queues(Arc<Notifier>);

impl Collector for Queues {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.0.status();
        let labels = |status: &Status| [("endpoint", status.name.clone())];
        let name = "registry_notifications_pending";
        let help = "Events that wait to be told, by endpoint";
        let mut pending = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for status in &all {
            let gauge = ConstGauge::new(i64::try_from(status.pending).unwrap_or(i64::MAX));
            gauge.encode(pending.encode_family(&labels(status))?)?;
        }
        let counters: [(&str, &str, Number); 4] = [
            ("recorded", "Events that were recorded to be told", |status| {
                status.recorded
            }),
            ("delivered", "Events that the endpoint took", |status| {
                status.delivered
            }),
            ("lost", "Events that will not be told", |status| status.lost),
            ("failures", "Requests to the endpoint that failed", |status| {
                status.failures
            }),
        ];
        for (name, help, number) in counters {
            let (name, help) = (
                format!("registry_notifications_{name}"),
                format!("{help}, by endpoint"),
            );
            let mut family = encoder.encode_descriptor(&name, &help, None, MetricType::Counter)?;
            for status in &all {
                ConstCounter::new(number(status)).encode(family.encode_family(&labels(status))?)?;
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Lists(Store);

impl Collector for Lists {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(index) = self.0.index() else {
            return Ok(());
        };
        let help = "Lists that were answered, by list and by what knew them";
        let mut family =
            encoder.encode_descriptor("registry_index_lists", help, None, MetricType::Counter)?;
        for list in List::ALL {
            let (answered, walked) = index.counted(list);
            for (from, count) in [("index", answered), ("storage", walked)] {
                let labels = [("list", list.name()), ("from", from)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
