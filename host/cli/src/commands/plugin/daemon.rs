//! Installed plugins of a daemon that runs: nothing is restarted, and what is under way ends with what it began with.

use serde_json::{Value, json};
use transom_api::plugins::{ListRequest, Plugin, RemoveRequest, RollbackRequest, Version};

use crate::client::plugins::Handover;
use crate::client::{self, Target};
use crate::commands::{each, print, print_json};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::show::{printable, table};

pub(super) fn install(
    target: &Target,
    interrupt: &Interrupt,
    handover: Handover,
    as_json: bool,
) -> Result<(), Failure> {
    let source = handover.source.clone();
    let response = client::run(target, interrupt, async |client| {
        client
            .install_plugin(handover)
            .await
            .map_err(|failure| failure.about(source))
    })?;
    let what = match &response.replaced {
        Some(old) => format!("installed, in place of {},", printable(&old.version)),
        None => "installed".to_owned(),
    };
    said(&what, response.plugin, as_json)
}

pub(super) fn remove(
    target: &Target,
    interrupt: &Interrupt,
    names: &[String],
    as_json: bool,
) -> Result<(), Failure> {
    client::run(target, interrupt, async |client| {
        each(names, async |name| {
            let request = RemoveRequest { name: name.clone() };
            let response = client.plugins().remove(request).await?.into_inner();
            said("removed", response.plugin, as_json)
        })
        .await
    })
}

pub(super) fn roll_back(
    target: &Target,
    interrupt: &Interrupt,
    names: &[String],
    as_json: bool,
) -> Result<(), Failure> {
    client::run(target, interrupt, async |client| {
        each(names, async |name| {
            let request = RollbackRequest { name: name.clone() };
            let response = client.plugins().rollback(request).await?.into_inner();
            said("rolled back to", response.plugin, as_json)
        })
        .await
    })
}

pub(super) fn list(target: &Target, interrupt: &Interrupt, as_json: bool) -> Result<(), Failure> {
    let plugins = client::run(target, interrupt, async |client| {
        Ok(client.plugins().list(ListRequest {}).await?.into_inner().plugins)
    })?;
    if as_json {
        return plugins
            .iter()
            .try_for_each(|plugin| print_json(&document(plugin)));
    }
    let rows: Vec<Vec<String>> = plugins.iter().map(row).collect();
    print(&table(
        &["NAME", "VERSION", "KIND", "STATUS", "BEFORE", "SOURCE"],
        &rows,
    ))
}

fn row(plugin: &Plugin) -> Vec<String> {
    let before = plugin.previous.as_ref().map_or("-", |before| &before.version);
    vec![
        printable(&plugin.name),
        printable(&plugin.version),
        printable(&plugin.kind),
        status(plugin),
        printable(before),
        printable(&plugin.source),
    ]
}

fn status(plugin: &Plugin) -> String {
    match (plugin.error.as_str(), plugin.pending.as_str()) {
        ("", "") => "ok".to_owned(),
        ("", pending) => printable(pending),
        (error, _) => format!("error: {}", printable(error)),
    }
}

fn document(plugin: &Plugin) -> Value {
    let version = |version: &Version| {
        json!({
            "version": version.version,
            "digest": version.manifest,
            "component": version.digest,
            "source": version.source,
        })
    };
    json!({
        "name": plugin.name,
        "version": plugin.version,
        "kind": plugin.kind,
        "digest": plugin.manifest,
        "component": plugin.digest,
        "source": plugin.source,
        "installed": plugin.installed,
        "error": plugin.error,
        "pending": plugin.pending,
        "previous": plugin.previous.as_ref().map(version),
    })
}

fn said(what: &str, plugin: Option<Plugin>, as_json: bool) -> Result<(), Failure> {
    let plugin = plugin.ok_or_else(|| Failure::silent("the plugin"))?;
    if as_json {
        return print_json(&document(&plugin));
    }
    let mut text = format!(
        "{what} {} {}\n",
        printable(&plugin.name),
        printable(&plugin.version)
    );
    if !plugin.pending.is_empty() {
        text.push_str(&format!("{}\n", printable(&plugin.pending)));
    }
    print(&text)
}
