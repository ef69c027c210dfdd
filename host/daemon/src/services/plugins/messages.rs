//! What is told of plugins, as messages.

use transom_api::plugins as api;
use transom_plugin::Loaded;
use transom_plugin::breaker::View as Breaker;
use transom_plugin::grants::Grant;
use transom_plugin::watch::Failed;

use crate::convert::timestamp;
use crate::plugins::record::Pin;
use crate::plugins::set::Entry;
use crate::plugins::view::View;

/// A plugin.
pub(super) fn plugin(view: &View) -> api::Plugin {
    let pin = view.installed.as_ref();
    let source = pin.map_or(&view.folder, |pin| &pin.source);
    api::Plugin {
        name: view.name.clone(),
        version: view.version.clone(),
        kind: view.kind.as_str().to_owned(),
        digest: view.digest.clone(),
        manifest: pin.map(|pin| pin.manifest.to_string()).unwrap_or_default(),
        source: source.clone(),
        installed: pin.is_some(),
        installed_at: pin.and_then(|pin| timestamp(pin.at())),
        error: view.error.clone(),
        pending: view.pending.clone(),
        previous: view.previous.as_ref().map(version),
    }
}

/// A version of one.
pub(super) fn version(pin: &Pin) -> api::Version {
    api::Version {
        version: pin.version.clone(),
        digest: pin.component.to_string(),
        manifest: pin.manifest.to_string(),
        source: pin.source.clone(),
        installed_at: timestamp(pin.at()),
    }
}

/// How one does.
pub(super) fn status(view: &View) -> api::PluginStatus {
    let plugin = Some(plugin(view));
    let Some(entry) = &view.entry else {
        return api::PluginStatus {
            plugin,
            ..api::PluginStatus::default()
        };
    };
    let (watch, history) = (&entry.watch, entry.watch.history());
    let calls = history.calls().into_iter();
    api::PluginStatus {
        plugin,
        since: timestamp(watch.since()),
        running: watch.running(),
        draining: history.draining(watch),
        calls: calls.map(|(result, count)| (result.to_owned(), count)).collect(),
        dropped_lines: entry.used.dropped_lines(),
        breaker: Some(breaker(entry)),
        failures: history.failures().into_iter().map(failure).collect(),
    }
}

fn breaker(entry: &Entry) -> api::Breaker {
    let settings = entry.watch.breaker().settings();
    let Breaker {
        state,
        crashes,
        wait,
        trips,
    } = entry.watch.breaker().view();
    let span = |time: std::time::Duration| prost_types::Duration::try_from(time).ok();
    api::Breaker {
        state: state.to_owned(),
        crashes: u32::try_from(crashes).unwrap_or(u32::MAX),
        limit: u32::try_from(settings.crashes).unwrap_or(u32::MAX),
        window: span(settings.window),
        wait: wait.and_then(span),
        trips,
    }
}

fn failure(failed: Failed) -> api::Failure {
    api::Failure {
        at: timestamp(failed.at),
        version: failed.version,
        digest: failed.digest,
        subject: failed.subject,
        result: failed.result.to_owned(),
        message: failed.message,
    }
}

/// What one asks for and has.
pub(super) fn grants(plugin: &Loaded, grants: Vec<Grant>) -> api::PluginGrants {
    let grants = grants.into_iter().map(|grant| api::Grant {
        capability: grant.capability.to_owned(),
        asked: grant.asked,
        granted: grant.granted,
        what: grant.what,
        add: grant.add,
    });
    api::PluginGrants {
        name: plugin.name().to_owned(),
        kind: plugin.kind().as_str().to_owned(),
        grants: grants.collect(),
    }
}
