//! `transom gc`: collecting garbage.

mod metrics;

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::json;
use transom_api::introspection::PluginsRequest;

use super::{print, print_json};
use crate::arguments::{Gc, Place};
use crate::client::{self, Client, Target};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::show::{duration, printable};

/// The part of a daemon that collects, by containerd's name for it.
const SCHEDULER: &str = "type==io.containerd.gc.v1";
/// What our daemon's says beside its settings: where its metrics are.
const METRICS: &str = "MetricsAddress";

pub(crate) fn run(command: &Gc, place: &Place, json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    client::run(&Target::new(place)?, interrupt, async |client| match command {
        Gc::Run => collect(client, json).await,
        Gc::Status => status(client, json).await,
    })
}

async fn collect(client: &Client, json: bool) -> Result<(), Failure> {
    let begun = Instant::now();
    client.collect().await?;
    let took = begun.elapsed();
    if json {
        return print_json(&json!({ "seconds": took.as_secs_f64() }));
    }
    print(&format!("collected in {}\n", duration(took)))
}

async fn status(client: &Client, json: bool) -> Result<(), Failure> {
    let request = PluginsRequest {
        filters: vec![SCHEDULER.to_owned()],
    };
    let mut plugins = client
        .introspection()
        .plugins(request)
        .await?
        .into_inner()
        .plugins;
    let mut settings = plugins.pop().map(|plugin| plugin.exports).unwrap_or_default();
    let counted = match settings.remove(METRICS) {
        Some(address) => Some(metrics::of_gc(&address).await?),
        None => None,
    };
    if json {
        return print_json(&json!({ "settings": settings, "counted": counted }));
    }
    print(&text(&settings, counted.as_ref()))
}

fn text(settings: &BTreeMap<String, String>, counted: Option<&BTreeMap<String, f64>>) -> String {
    let mut text = String::from("Settings:\n");
    for (name, value) in settings {
        text.push_str(&format!("  {:<40} {}\n", printable(name), printable(value)));
    }
    if settings.is_empty() {
        text.push_str("  not known of this daemon\n");
    }
    text.push_str("Counted:\n");
    match counted {
        None => text.push_str(
            "  not known of this daemon: containerd does not say, transomd does with --metrics-address\n",
        ),
        Some(counted) => {
            for (name, value) in counted {
                text.push_str(&format!("  {:<40} {value}\n", printable(name)));
            }
        }
    }
    text
}
