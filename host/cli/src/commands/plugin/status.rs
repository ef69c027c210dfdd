//! `transom plugin status` and `reload`: how a daemon's plugins do, and its configuration read again.

use std::fmt::Write as _;

use serde_json::{Value, json};
use transom_api::plugins::{Failure as Failed, PluginStatus as Status, ReloadRequest, StatusRequest};

use crate::arguments::PluginStatus;
use crate::client::{self, Target, time};
use crate::commands::{print, print_json};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::show::printable;

pub(super) fn status(
    command: &PluginStatus,
    target: &Target,
    json: bool,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let name = command.name.clone().unwrap_or_default();
    let plugins = client::run(target, interrupt, async |client| {
        let response = client.plugins().status(StatusRequest { name }).await?;
        Ok(response.into_inner().plugins)
    })?;
    if json {
        return plugins
            .iter()
            .try_for_each(|status| print_json(&document(status)));
    }
    print(&plugins.iter().map(text).collect::<String>())
}

fn document(status: &Status) -> Value {
    let plugin = status.plugin.clone().unwrap_or_default();
    let breaker = status.breaker.as_ref().map(|breaker| {
        json!({
            "state": breaker.state,
            "crashes": breaker.crashes,
            "limit": breaker.limit,
            "waitSeconds": breaker.wait.map(|wait| wait.seconds),
            "trips": breaker.trips,
        })
    });
    json!({
        "name": plugin.name,
        "version": plugin.version,
        "kind": plugin.kind,
        "digest": plugin.digest,
        "manifest": plugin.manifest,
        "source": plugin.source,
        "installed": plugin.installed,
        "error": plugin.error,
        "pending": plugin.pending,
        "since": time::text(status.since.as_ref()),
        "running": status.running,
        "draining": status.draining,
        "calls": status.calls,
        "droppedLines": status.dropped_lines,
        "breaker": breaker,
        "failures": status.failures.iter().map(failure).collect::<Vec<_>>(),
    })
}

fn failure(failed: &Failed) -> Value {
    json!({
        "at": time::text(failed.at.as_ref()),
        "version": failed.version,
        "digest": failed.digest,
        "subject": failed.subject,
        "result": failed.result,
        "message": failed.message,
    })
}

fn text(status: &Status) -> String {
    let plugin = status.plugin.clone().unwrap_or_default();
    let state = match (&status.breaker, plugin.error.is_empty()) {
        (_, false) => "cannot be used".to_owned(),
        (Some(breaker), true) if breaker.state == "open" => {
            let wait = breaker.wait.map_or(0, |wait| wait.seconds);
            format!(
                "suspended after {} crashes, is tried in {wait} s",
                breaker.crashes
            )
        }
        (Some(breaker), true) if breaker.state == "trying" => "suspended, is being tried".to_owned(),
        _ => format!("in use for {}", time::age(status.since.as_ref())),
    };
    let mut text = format!(
        "{} {}: {state}\n",
        printable(&plugin.name),
        printable(&plugin.version)
    );
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(text, "  {name:<9} {value}");
        }
    };
    line("kind", printable(&plugin.kind));
    line("digest", printable(&plugin.digest));
    line("from", printable(&plugin.source));
    line("error", printable(&plugin.error));
    line("waits for", printable(&plugin.pending));
    if status.running + status.draining > 0 {
        let old = match status.draining {
            0 => String::new(),
            old => format!(", {old} of versions before"),
        };
        line("running", format!("{}{old}", status.running));
    }
    let calls = status
        .calls
        .iter()
        .map(|(result, count)| format!("{count} {}", printable(result)));
    line("calls", calls.collect::<Vec<_>>().join(", "));
    if status.dropped_lines > 0 {
        line("log", format!("{} lines dropped", status.dropped_lines));
    }
    for failed in &status.failures {
        let age = time::age(failed.at.as_ref());
        let version = printable(&failed.version);
        let message = printable(&failed.message);
        line(
            "failed",
            format!("{age} ago, {version}, {}: {message}", printable(&failed.result)),
        );
    }
    text
}

pub(super) fn reload(target: &Target, json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    let reloaded = client::run(target, interrupt, async |client| {
        Ok(client.plugins().reload(ReloadRequest {}).await?.into_inner())
    })?;
    if json {
        return print_json(&json!({
            "changed": reloaded.changed,
            "restart": reloaded.restart,
            "problems": reloaded.problems,
        }));
    }
    let mut text = String::new();
    for (what, names) in [
        ("in force now", &reloaded.changed),
        ("after a restart", &reloaded.restart),
        ("not done", &reloaded.problems),
    ] {
        for name in names {
            let _ = writeln!(text, "{what}: {}", printable(name));
        }
    }
    if text.is_empty() {
        text.push_str("nothing has changed\n");
    }
    print(&text)
}
