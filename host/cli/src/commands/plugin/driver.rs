//! `transom plugin inspect` of a storage driver.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;
use transom_plugin::Report;

use super::report_text;
use crate::commands::{print, print_json};
use crate::failure::Failure;
use crate::handlers;
use crate::show::{printable, size};

/// Whether a component is a storage driver.
pub(super) fn is_one(report: &Report) -> bool {
    let mut exports = report.exports.iter();
    exports.any(|name| name.starts_with("transom:storage/plugin@"))
}

/// Shows what it is and what it asks for.
pub(super) fn inspect(given: &Path, path: &Path, report: &Report, json: bool) -> Result<(), Failure> {
    let plugin = handlers::host()?.load_driver(given)?;
    let (kind, manifest) = (plugin.kind(), plugin.manifest());
    if json {
        let parameters = kind.parameters.iter().map(|parameter| {
            json!({ "name": parameter.name, "required": parameter.required, "about": parameter.about })
        });
        return print_json(&json!({
            "file": path.display().to_string(),
            "component": report,
            "name": plugin.name(),
            "version": plugin.version(),
            "capabilities": manifest.capabilities,
            "parameters": parameters.collect::<Vec<_>>(),
        }));
    }
    let mut text = report_text(path, report);
    let _ = writeln!(
        text,
        "  name      {} {}",
        printable(plugin.name()),
        printable(plugin.version())
    );
    for capability in &manifest.capabilities {
        let _ = writeln!(text, "  asks for  {}", printable(capability));
    }
    for parameter in &kind.parameters {
        let required = if parameter.required { ", required" } else { "" };
        let (name, about) = (printable(&parameter.name), printable(&parameter.about));
        let _ = writeln!(
            text,
            "  table     {name}: {}{required}. {about}",
            parameter.kind.name()
        );
    }
    let limits = plugin.limits();
    let _ = writeln!(
        text,
        "  limits    {} of memory, {} s of CPU for a call",
        size(limits.memory as u64),
        limits.cpu.as_secs()
    );
    print(&text)
}
