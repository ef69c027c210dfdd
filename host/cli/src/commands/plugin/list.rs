//! `transom plugin ls`: what a daemon is made of.

use std::fmt::Write as _;

use serde_json::{Value, json};
use transom_api::introspection::{Plugin, PluginsRequest};
use transom_api::types;
use transom_oci::Platform;

use crate::arguments::PluginList;
use crate::client::{self, Target, labels};
use crate::commands::{print, print_json};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::show::{printable, table};

pub(super) fn run(
    command: &PluginList,
    target: &Target,
    json: bool,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let filters = command.filters.clone();
    let plugins = client::run(target, interrupt, async |client| {
        let response = client.introspection().plugins(PluginsRequest { filters }).await?;
        Ok(response.into_inner().plugins)
    })?;
    if json {
        return plugins
            .iter()
            .try_for_each(|plugin| print_json(&document(plugin)));
    }
    if command.quiet {
        let ids = plugins
            .iter()
            .map(|plugin| format!("{}\n", printable(&plugin.id)));
        return print(&ids.collect::<String>());
    }
    if command.detailed {
        return print(&plugins.iter().map(detail).collect::<String>());
    }
    let rows: Vec<_> = plugins
        .iter()
        .map(|plugin| {
            let platforms = platforms(plugin);
            vec![
                printable(&plugin.r#type),
                printable(&plugin.id),
                if platforms.is_empty() {
                    "-".to_owned()
                } else {
                    platforms.join(",")
                },
                status(plugin).to_owned(),
            ]
        })
        .collect();
    print(&table(&["TYPE", "ID", "PLATFORMS", "STATUS"], &rows))
}

/// `skip` is what a daemon says of a part that has nothing to do here.
fn status(plugin: &Plugin) -> &'static str {
    match &plugin.init_err {
        None => "ok",
        Some(error) if error.message.contains("skip plugin") => "skip",
        Some(_) => "error",
    }
}

fn platforms(plugin: &Plugin) -> Vec<String> {
    plugin.platforms.iter().map(platform).collect()
}

fn platform(platform: &types::Platform) -> String {
    let variant = Some(platform.variant.as_str()).filter(|variant| !variant.is_empty());
    printable(&Platform::new(&platform.os, &platform.architecture, variant).to_string())
}

fn document(plugin: &Plugin) -> Value {
    json!({
        "type": plugin.r#type,
        "id": plugin.id,
        "requires": plugin.requires,
        "platforms": platforms(plugin),
        "exports": plugin.exports,
        "capabilities": plugin.capabilities,
        "status": status(plugin),
        "error": plugin.init_err.as_ref().map(|error| &error.message),
    })
}

fn detail(plugin: &Plugin) -> String {
    let mut text = format!(
        "{} {}: {}\n",
        printable(&plugin.r#type),
        printable(&plugin.id),
        status(plugin)
    );
    let mut line = |name: &str, value: String| {
        if !matches!(value.as_str(), "" | "-") {
            let _ = writeln!(text, "  {name:<13} {value}");
        }
    };
    line("requires", printable(&plugin.requires.join(", ")));
    line("platforms", platforms(plugin).join(", "));
    line("exports", labels::text(&plugin.exports));
    line("capabilities", printable(&plugin.capabilities.join(", ")));
    let error = plugin.init_err.as_ref();
    line(
        "error",
        error.map(|error| printable(&error.message)).unwrap_or_default(),
    );
    text
}
