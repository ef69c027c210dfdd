//! `transom plugin`: make one, build, test, check, run and measure it, look at one; package, sign and install it; list a daemon's.

mod bench;
mod build;
mod check;
mod choose;
mod daemon;
mod driver;
mod exchange;
mod grants;
mod install;
mod job;
mod list;
mod new;
mod run;
mod signing;
mod source;
mod status;
mod test;
mod watch;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use transom_plugin::manifest::PluginKind;
use transom_plugin::{Manifest, Report, inspect};

use super::{print, print_json};
use crate::arguments::{Place, Plugin, PluginInspect};
use crate::client::Target;
use crate::failure::{Failure, Kind};
use crate::handlers;
use crate::interrupt::Interrupt;
use crate::show::{printable, size};

pub(crate) fn run(command: Plugin, place: &Place, json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    match command {
        Plugin::New(command) => new::run(&command, json),
        Plugin::Build(command) => build::run(&command, json),
        Plugin::Test(command) => test::run(&command, json, interrupt),
        Plugin::Check(command) => check::run(&command, json),
        Plugin::Ls(command) => list::run(&command, &Target::new(place)?, json, interrupt),
        Plugin::Inspect(command) => inspect_plugin(&command, json),
        Plugin::Status(command) => status::status(&command, &Target::new(place)?, json, interrupt),
        Plugin::Grants(command) => grants::run(&command, place, json, interrupt),
        Plugin::Reload => status::reload(&Target::new(place)?, json, interrupt),
        Plugin::Package(command) => exchange::package(&command, json),
        Plugin::Push(command) => exchange::push(&command, json, interrupt),
        Plugin::Pull(command) => exchange::pull(&command, json, interrupt),
        Plugin::Sign(command) => signing::sign(&command, json, interrupt),
        Plugin::Verify(command) => signing::verify(&command, json, interrupt),
        Plugin::Install(command) => install::install(&command, place, json, interrupt),
        Plugin::Remove(command) => install::remove(&command, place, json, interrupt),
        Plugin::Rollback(command) => install::roll_back(&command, place, json, interrupt),
        Plugin::Installed(command) => install::list(&command, place, json, interrupt),
        Plugin::Schema => print(SCHEMA),
        Plugin::Run(command) => run::run(&command, json, interrupt),
        Plugin::Bench(command) => bench::run(&command, json, interrupt),
    }
}

/// What editors check a plugin.toml with.
const SCHEMA: &str = include_str!("../../../../docs/formats/plugin.schema.json");

fn inspect_plugin(command: &PluginInspect, json: bool) -> Result<(), Failure> {
    let path = component_path(&command.plugin)?;
    let bytes = fs::read(&path).map_err(|error| Failure::io(path.display(), &error))?;
    let report = inspect(&bytes);
    if driver::is_one(&report) && report.problems.is_empty() {
        return driver::inspect(&command.plugin, &path, &report, json);
    }
    // What it says of itself is known only by running it, which only a sound one may.
    let loaded = report
        .problems
        .is_empty()
        .then(|| handlers::host().and_then(|host| Ok(host.load(&command.plugin)?)));
    let (plugin, problem) = match loaded {
        Some(Ok(plugin)) => (Some(plugin), None),
        Some(Err(failure)) => (None, Some(failure)),
        None => (None, None),
    };
    if json {
        let conversions = plugin
            .as_ref()
            .map(|plugin| plugin.info().conversions.clone())
            .unwrap_or_default();
        let conversions: Vec<_> = conversions
            .iter()
            .map(|both| json!({ "accepts": both.accepts, "returns": both.returns }))
            .collect();
        print_json(&json!({
            "file": path.display().to_string(),
            "component": report,
            "name": plugin.as_ref().map(transom_plugin::Plugin::name),
            "version": plugin.as_ref().map(transom_plugin::Plugin::version),
            "converts": conversions,
            "problem": problem.as_ref().map(Failure::message),
        }))?;
    } else {
        print(&report_text(&path, &report))?;
        if let Some(plugin) = &plugin {
            print(&plugin_text(plugin))?;
        }
    }
    match (problem, report.problems.is_empty()) {
        (Some(problem), _) => Err(problem),
        (None, true) => Ok(()),
        (None, false) => Err(Failure::new(
            Kind::Refused,
            format!("{} would not be loaded", path.display()),
        )),
    }
}

/// The component that a path means: itself, or the one that the folder's plugin.toml names.
fn component_path(path: &Path) -> Result<PathBuf, Failure> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let manifest = path.join("plugin.toml");
    let text = fs::read_to_string(&manifest).map_err(|error| Failure::io(manifest.display(), &error))?;
    let manifest = Manifest::parse(&text, &manifest)?;
    Ok(path.join(
        manifest
            .component
            .unwrap_or_else(|| format!("{}.wasm", manifest.name)),
    ))
}

/// The kind of the plugin that a path means, by its plugin.toml. Without one it can only be a processor.
fn kind(path: &Path) -> Result<PluginKind, Failure> {
    let folder = if path.is_dir() {
        path
    } else {
        path.parent().unwrap_or(path)
    };
    let manifest = folder.join("plugin.toml");
    if !manifest.is_file() {
        return Ok(PluginKind::Processor);
    }
    let text = fs::read_to_string(&manifest).map_err(|error| Failure::io(manifest.display(), &error))?;
    Ok(Manifest::parse(&text, &manifest)?.kind)
}

fn report_text(path: &Path, report: &Report) -> String {
    let mut text = format!(
        "{}  {}\n  digest    {}\n",
        path.display(),
        size(report.size),
        report.digest
    );
    for (title, names) in [("imports ", &report.imports), ("exports ", &report.exports)] {
        for name in names {
            let _ = writeln!(text, "  {title}  {}", printable(name));
        }
    }
    for (name, version) in &report.producers {
        let _ = writeln!(text, "  made by   {} {}", printable(name), printable(version));
    }
    for problem in &report.problems {
        let _ = writeln!(text, "  problem   {}", printable(problem));
    }
    text
}

fn plugin_text(plugin: &transom_plugin::Plugin) -> String {
    let mut text = format!(
        "  name      {} {}\n",
        printable(plugin.name()),
        printable(plugin.version())
    );
    for both in &plugin.info().conversions {
        let _ = writeln!(
            text,
            "  converts  {} > {}",
            printable(&both.accepts),
            printable(&both.returns)
        );
    }
    for (key, declared) in &plugin.manifest().config {
        let default = match (&declared.default, declared.required) {
            (Some(default), _) => format!(", default {}", serde_json::to_string(default).unwrap_or_default()),
            (None, true) => ", required".to_owned(),
            (None, false) => String::new(),
        };
        let kind = declared.kind.as_str();
        let _ = writeln!(
            text,
            "  config    {}: {kind}{default}. {}",
            printable(key),
            printable(&declared.doc)
        );
    }
    for capability in &plugin.manifest().capabilities {
        let _ = writeln!(text, "  asks for  {}", printable(capability));
    }
    let limits = plugin.limits();
    let _ = writeln!(
        text,
        "  limits    {} of memory, {} s of CPU",
        size(limits.memory as u64),
        limits.cpu.as_secs()
    );
    text
}
