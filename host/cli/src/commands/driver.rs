//! `transom driver`: which there are, and whether one does what it must.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use transom_plugin::installed::{Entry, Installed, LOCK_FILE};
use transom_plugin::manifest::PluginKind;
use transom_plugin::storage::{DriverRefused, RefusedBecause, register_drivers};
use transom_plugin::{DriverPlugin, Host, Loaded};
use transom_storage::conformance::{self, CaseReport, Options, Outcome, Report};
use transom_storage::factory::{DriverKind, Factory};
use transom_storage::{StorageDriver, StoragePath};

use super::{print, print_json};
use crate::arguments::{Driver, DriverCheck, DriverList, DriverPlugins, Trusted};
use crate::failure::{Failure, Kind};
use crate::handlers::{self, split};
use crate::installed;
use crate::interrupt::Interrupt;
use crate::places;
use crate::show::printable;

pub(crate) fn run(command: &Driver, json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    match command {
        Driver::Ls(command) => list(command, json),
        Driver::Check(command) => check(command, json, interrupt),
    }
}

/// The drivers of the program and those that are plugins. One that was named must be good; of those that are only found, a bad one
/// is told of.
pub(super) fn factory(plugins: &DriverPlugins) -> Result<Factory, Failure> {
    let mut factory = Factory::builtin();
    // Starting the engine takes milliseconds that nobody owes who has no plugin.
    if some(plugins) {
        load(&handlers::host()?, &mut factory, plugins)?;
    }
    Ok(factory)
}

/// Whether there may be plugins at all.
pub(super) fn some(plugins: &DriverPlugins) -> bool {
    !plugins.paths.is_empty() || usual().is_some()
}

fn usual() -> Option<PathBuf> {
    places::plugins().filter(|folder| folder.is_dir())
}

/// Loads the drivers that are plugins, and makes them known to a factory.
pub(super) fn load(
    host: &Host,
    factory: &mut Factory,
    plugins: &DriverPlugins,
) -> Result<Vec<DriverPlugin>, Failure> {
    let (mut drivers, refused) = register_drivers(host, factory, &plugins.paths);
    if let Some(DriverRefused { path, error }) = refused.into_iter().next() {
        let failure = match error {
            RefusedBecause::Load(error) => Failure::from(error),
            RefusedBecause::Name(error) => Failure::from(error),
        };
        return Err(failure.about(path.display()));
    }
    let found: Vec<PathBuf> = usual().into_iter().collect();
    let (also, refused) = register_drivers(host, factory, &found);
    drivers.extend(also);
    for refused in refused {
        tracing::warn!("{refused}");
    }
    for folder in plugins.paths.iter().chain(&found) {
        drivers.extend(register_installed(host, factory, folder)?);
    }
    Ok(drivers)
}

/// Makes the storage drivers known that are installed in a folder. One that cannot be used is told of.
fn register_installed(
    host: &Host,
    factory: &mut Factory,
    folder: &Path,
) -> Result<Vec<DriverPlugin>, Failure> {
    let mut known = Vec::new();
    if !folder.join(LOCK_FILE).is_file() {
        return Ok(known);
    }
    let folder = Installed::open(folder)?;
    let policy = installed::policy(&Trusted::default())?;
    let lock = folder.lock()?;
    let drivers = lock
        .plugins
        .iter()
        .filter(|entry| entry.kind == PluginKind::Driver);
    for Entry { name, .. } in drivers {
        let registered =
            installed::load(host, &folder, &policy, (name, None)).and_then(|plugin| match plugin {
                Loaded::Driver(driver) => {
                    driver.register(factory)?;
                    Ok(Some(driver))
                }
                _ => Ok(None),
            });
        match registered {
            Ok(driver) => known.extend(driver),
            Err(failure) => {
                tracing::warn!("the storage driver {name} cannot be used: {}", failure.message());
            }
        }
    }
    Ok(known)
}

fn list(command: &DriverList, json: bool) -> Result<(), Failure> {
    let factory = factory(&command.plugins)?;
    let named = command.names.iter().map(|name| factory.kind(name));
    let kinds: Vec<&DriverKind> = match command.names.is_empty() {
        true => factory.kinds().collect(),
        false => named.collect::<Result<_, _>>()?,
    };
    if json {
        return kinds.into_iter().try_for_each(|kind| print_json(&document(kind)));
    }
    let mut text = String::new();
    for kind in kinds {
        let stacks = if kind.stacks { " (stands on another)" } else { "" };
        let _ = writeln!(text, "{:<12}{}{stacks}", kind.name, kind.about);
        if command.names.is_empty() {
            continue;
        }
        for parameter in &kind.parameters {
            let required = if parameter.required { ", required" } else { "" };
            let (name, form, about) = (&parameter.name, parameter.kind.name(), &parameter.about);
            let _ = writeln!(text, "  {name:<18}{about} ({form}{required})");
        }
    }
    print(&text)
}

fn document(kind: &DriverKind) -> Value {
    let parameters = kind.parameters.iter().map(|parameter| {
        json!({
            "name": parameter.name,
            "type": parameter.kind.name(),
            "required": parameter.required,
            "about": parameter.about,
        })
    });
    json!({
        "name": kind.name,
        "aliases": kind.aliases,
        "about": kind.about,
        "stacks": kind.stacks,
        "parameters": parameters.collect::<Vec<_>>(),
    })
}

fn check(command: &DriverCheck, json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    let table = table(command)?;
    let options = options(command)?;
    hold(factory(&command.plugins)?, table, options, json, interrupt)
}

/// Holds a driver to the suite, and shows what came of it.
pub(super) fn hold(
    factory: Factory,
    table: Map<String, Value>,
    options: Options,
    json: bool,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("cannot start the check", &error))?;
    let report = runtime.block_on(async {
        // A memory is gone when it is closed: it stays the one that it is.
        let driver = factory.open(&table)?;
        let open = opener(factory, table, driver);
        tokio::select! {
            report = conformance::run(open, options) => Ok(report),
            () = interrupt.requested() => Err(Failure::interrupted()),
        }
    })?;
    match json {
        true => report
            .cases
            .iter()
            .try_for_each(|case| print_json(&case_document(case)))?,
        false => print(&report_text(&report))?,
    }
    match report.failures().count() {
        0 => Ok(()),
        failed => {
            let all = report.cases.len();
            let message = format!("the driver does not do what it must in {failed} of {all} cases");
            Err(Failure::new(Kind::Damaged, message))
        }
    }
}

/// Opens the store anew each time, unless what is opened would be another one.
fn opener(factory: Factory, table: Map<String, Value>, driver: Arc<dyn StorageDriver>) -> conformance::Open {
    let lasts = driver.capabilities().durable;
    conformance::opener(move || {
        let opened = match lasts {
            true => factory
                .open(&table)
                .map_err(|error| transom_storage::Error::Unavailable {
                    driver: driver.name().to_owned().into(),
                    reason: error.to_string(),
                    retry_after: None,
                }),
            false => Ok(Arc::clone(&driver)),
        };
        async move { opened }
    })
}

/// The table of the driver: from the file, then the name, then the parameters.
fn table(command: &DriverCheck) -> Result<Map<String, Value>, Failure> {
    let mut table = match &command.config {
        Some(file) => {
            let text = fs::read_to_string(file).map_err(|error| Failure::io(file.display(), &error))?;
            let table: Value = toml::from_str(&text)
                .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
            table.as_object().cloned().unwrap_or_default()
        }
        None => Map::new(),
    };
    if let Some(name) = &command.name {
        table.insert("driver".to_owned(), Value::from(name.as_str()));
    }
    for parameter in &command.parameters {
        let (key, value) = split(parameter, "KEY=VALUE")?;
        table.insert(key.to_owned(), toml_value(value));
    }
    Ok(table)
}

/// A TOML value, or the text as it is.
fn toml_value(text: &str) -> Value {
    let parsed = toml::from_str::<Map<String, Value>>(&format!("value = {text}"));
    let value = parsed
        .ok()
        .filter(|table| table.len() == 1)
        .and_then(|mut table| table.remove("value"));
    value.unwrap_or_else(|| Value::from(text))
}

fn options(command: &DriverCheck) -> Result<Options, Failure> {
    for name in &command.cases {
        if !conformance::cases().any(|(known, _)| known == name) {
            let known: Vec<_> = conformance::cases().map(|(name, _)| name).collect();
            return Err(Failure::usage(format!(
                "there is no case {name:?}; there are: {}",
                known.join(", ")
            )));
        }
    }
    let folder = StoragePath::new(&command.folder).and_then(|path| path.not_root().cloned());
    let options = match command.quick {
        true => Options::quick(),
        false => Options::default(),
    };
    Ok(Options {
        folder: folder.map_err(|error| Failure::usage(error.to_string()))?,
        only: command.cases.clone(),
        ..options
    })
}

fn case_document(case: &CaseReport) -> Value {
    let (outcome, detail) = match &case.outcome {
        Outcome::Passed => ("passed", None),
        Outcome::Failed(seen) => ("failed", Some(seen.as_str())),
        Outcome::Skipped(why) => ("skipped", Some(*why)),
    };
    json!({ "case": case.name, "about": case.about, "outcome": outcome, "detail": detail })
}

fn report_text(report: &Report) -> String {
    let lines = report.to_string();
    lines
        .lines()
        .map(|line| format!("{}\n", printable(line)))
        .collect()
}
