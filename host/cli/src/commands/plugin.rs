//! `transom plugin`: make one, build, test, check and run it, look at one, list a daemon's.

mod build;
mod check;
mod driver;
mod list;
mod new;
mod test;

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use transom_layer::buffer::Pool;
use transom_layer::chain::Step;
use transom_layer::limits::OutputLimits;
use transom_layer::pipe::Input;
use transom_layer::pump::{self, Layer, LayerReport, SinkError};
use transom_layer::stage::StageError;
use transom_layer::workers::Workers;
use transom_oci::{Algorithm, Descriptor, Digest};
use transom_plugin::manifest::PluginKind;
use transom_plugin::{Manifest, Report, inspect};

use super::report::{StageJson, stage_text};
use super::{print, print_json};
use crate::arguments::{Place, Plugin, PluginInspect, PluginRun};
use crate::client::Target;
use crate::failure::{Failure, Kind};
use crate::handlers::{self, split};
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
        Plugin::Run(command) => run_plugin(&command, json, interrupt),
    }
}

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

fn run_plugin(command: &PluginRun, json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    let plugin = handlers::host()?.load(&command.plugin)?;
    let grants = handlers::grants(&command.decryption_key, std::slice::from_ref(&plugin))?;
    let handler = plugin.handler_with(&handlers::values(&command.config)?, grants)?;
    let first = plugin.info().conversions.first().map(|both| both.accepts.clone());
    let input = command.media_type.clone().or(first).unwrap_or_default();
    let output = handler.offer(&input).ok_or_else(|| {
        Failure::usage(format!(
            "{} does not accept {input}; see transom plugin inspect",
            plugin.name()
        ))
    })?;
    let mut descriptor = Descriptor::new(input.clone(), Digest::of(Algorithm::Sha256, b""), u64::MAX);
    for annotation in &command.annotation {
        let (key, value) = split(annotation, "KEY=VALUE")?;
        descriptor.annotations.insert(key.to_owned(), value.to_owned());
    }
    let payload = command.payload.as_deref().map(handlers::payload).transpose()?;
    let payloads: Vec<_> = payload
        .map(|payload| (handler.name().to_owned(), payload))
        .into_iter()
        .collect();
    let layer = Layer {
        blob: Box::new(interrupt.stdin()),
        descriptor: &descriptor,
        verify: false,
        steps: &[Step {
            handler,
            input,
            output,
        }],
        diff_algorithm: Algorithm::Sha256,
        payloads: &payloads,
        limits: OutputLimits::default(),
        cancel: interrupt.cancel(),
        pool: Pool::new(),
        workers: Workers::new(),
        progress: std::sync::Arc::default(),
    };
    let report = pump::run(layer, write_out)?;
    tell(&report, json);
    Ok(())
}

/// Why the output could not be written.
#[derive(Debug, thiserror::Error)]
enum WriteFault {
    #[error("the stage failed")]
    Stage(#[source] StageError),
    #[error("cannot write to stdout")]
    Stdout(#[source] io::Error),
}

impl SinkError for WriteFault {
    fn may_be_damage(&self) -> bool {
        false
    }
}

impl From<&WriteFault> for Kind {
    fn from(_: &WriteFault) -> Kind {
        Kind::Other
    }
}

fn write_out(input: &mut Input) -> Result<(), WriteFault> {
    let mut stdout = io::stdout().lock();
    while let Some(chunk) = input.next_chunk().map_err(WriteFault::Stage)? {
        stdout.write_all(&chunk).map_err(WriteFault::Stdout)?;
    }
    stdout.flush().map_err(WriteFault::Stdout)
}

/// What the plugin reported, on stderr: stdout has its output.
fn tell(report: &LayerReport<()>, json: bool) {
    for stage in &report.stages {
        if json {
            eprintln!(
                "{}",
                serde_json::to_string(&StageJson::of(stage)).unwrap_or_default()
            );
        } else {
            eprint!("{}", stage_text(stage));
        }
    }
}
