//! `transom plugin check`: whether a plugin of any kind would be loaded, and with what.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::json;
use transom_plugin::limits::COMPONENT_BYTES_MAX;
use transom_plugin::manifest::PluginKind;
use transom_plugin::{Manifest, Report, inspect};

use super::component_path;
use crate::arguments::PluginInspect;
use crate::commands::{print, print_json};
use crate::failure::{Failure, Kind};
use crate::handlers;
use crate::show::{printable, size};

/// A plugin that was loaded.
pub(super) struct Loaded {
    name: String,
    version: String,
    manifest: Manifest,
}

pub(super) fn run(command: &PluginInspect, as_json: bool) -> Result<(), Failure> {
    let path = component_path(&command.plugin)?;
    let bytes = fs::read(&path).map_err(|error| Failure::io(path.display(), &error))?;
    let report = inspect(&bytes);
    let kind = kind(&report);
    let loaded = report
        .problems
        .is_empty()
        .then(|| load(&command.plugin, kind))
        .transpose()?;
    if as_json {
        print_json(&json!({
            "file": path.display().to_string(),
            "kind": kind.as_str(),
            "component": report,
            "name": loaded.as_ref().map(|loaded| &loaded.name),
            "version": loaded.as_ref().map(|loaded| &loaded.version),
            "capabilities": loaded.as_ref().map(|loaded| &loaded.manifest.capabilities),
            "ok": report.problems.is_empty(),
        }))?;
    } else {
        print(&text(&path, kind, &report, loaded.as_ref()))?;
    }
    match report.problems.len() {
        0 => Ok(()),
        1 => Err(refused(&path, "1 problem")),
        count => Err(refused(&path, &format!("{count} problems"))),
    }
}

fn refused(path: &Path, problems: &str) -> Failure {
    Failure::new(
        Kind::Refused,
        format!("{} would not be loaded: {problems}", path.display()),
    )
}

/// The kind of a component, by what it exports.
fn kind(report: &Report) -> PluginKind {
    let exports = |interface: &str| report.exports.iter().any(|name| name.starts_with(interface));
    if exports("transom:storage/plugin@") {
        PluginKind::Driver
    } else if exports("transom:filter/matching@") {
        PluginKind::Filter
    } else {
        PluginKind::Processor
    }
}

/// Loads a plugin as the host would, with its manifest.
pub(super) fn load(plugin: &Path, kind: PluginKind) -> Result<Loaded, Failure> {
    let host = handlers::host()?;
    let (name, version, manifest) = match kind {
        PluginKind::Processor => {
            let plugin = host.load(plugin)?;
            (
                plugin.name().to_owned(),
                plugin.version().to_owned(),
                plugin.manifest().clone(),
            )
        }
        PluginKind::Filter => {
            let plugin = host.load_filter(plugin)?;
            (
                plugin.name().to_owned(),
                plugin.version().to_owned(),
                plugin.manifest().clone(),
            )
        }
        PluginKind::Driver => {
            let plugin = host.load_driver(plugin)?;
            (
                plugin.name().to_owned(),
                plugin.version().to_owned(),
                plugin.manifest().clone(),
            )
        }
    };
    Ok(Loaded {
        name,
        version,
        manifest,
    })
}

fn text(path: &Path, kind: PluginKind, report: &Report, loaded: Option<&Loaded>) -> String {
    let mut text = format!(
        "{}\n  size      {} of at most {}\n  digest    {}\n  kind      {}\n",
        path.display(),
        size(report.size),
        size(COMPONENT_BYTES_MAX),
        report.digest,
        kind.as_str(),
    );
    for name in &report.imports {
        let _ = writeln!(text, "  imports   {}", printable(name));
    }
    if let Some(loaded) = loaded {
        let (name, version) = (printable(&loaded.name), printable(&loaded.version));
        let _ = writeln!(text, "  name      {name} {version}");
        let _ = writeln!(
            text,
            "  world     {}, which this host runs",
            printable(&loaded.manifest.world)
        );
        let asks = match loaded.manifest.capabilities.as_slice() {
            [] => "nothing".to_owned(),
            asked => printable(&asked.join(", ")),
        };
        let _ = writeln!(text, "  asks for  {asks}");
        if !loaded.manifest.declared {
            text.push_str(
                "  note      it has no plugin.toml, so it can have no configuration and ask for nothing\n",
            );
        }
    }
    for problem in &report.problems {
        let _ = writeln!(text, "  problem   {}", printable(problem));
    }
    if report.problems.is_empty() {
        text.push_str("  ok\n");
    }
    text
}
