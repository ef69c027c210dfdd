//! `transom registry serve`: a registry without a daemon. Its plugins are in `serve/plugins`.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use transom_plugin::breaker::Settings;
use transom_registry::config::{Breaker, Config, Log, LogFormat, LogLevel, Metrics, Tls};
use transom_registry::http::ACCESS;
use transom_registry::run::{RunError, Running};

use crate::arguments::{RegistryCheck, RegistryServe};
use crate::commands::{print, print_json};
use crate::failure::{Failure, Kind};
use crate::interrupt::Interrupt;

mod plugins;

use plugins::Served;

pub(super) fn check(command: &RegistryCheck, json: bool) -> Result<(), Failure> {
    read(&command.config)?;
    match json {
        true => print_json(&json!({ "config": command.config.display().to_string(), "good": true })),
        false => print(&format!("{}: good\n", command.config.display())),
    }
}

pub(super) fn serve(command: &RegistryServe, json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    let config = configured(command)?;
    start_log(&config.log);
    let plugins = Arc::new(Served::new(
        &command.plugins,
        !config.admission.policies.is_empty(),
        suspending(&config.plugins.breaker),
    ));
    let (filters, drivers) = (plugins.filters()?, plugins.factory()?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("cannot start the registry", &error))?;
    runtime.block_on(async {
        let hangup = signal(SignalKind::hangup());
        let hangup = hangup.map_err(|error| Failure::io("cannot watch for signals", &error))?;
        let mut running = Running::open_with(&config, &drivers, Vec::new(), &filters).await?;
        let address = running
            .address()
            .map_err(|error| Failure::io(config.http.listen, &error))?;
        let operators = running.admin_address();
        tracing::info!(%address, ?operators, pid = std::process::id(), "serving");
        if json {
            print_json(&json!({ "address": address, "metrics": operators }))?;
        }
        running.also(|counters| {
            let counters = counters.sub_registry_with_prefix("transom");
            plugins.calls().register(counters);
            counters.register_collector(Box::new(plugins.in_use()));
        });
        tokio::spawn(plugins.reload_on(hangup, running.admission()));
        running.serve(interrupt.requested()).await;
        Ok(())
    })
}

/// When a plugin is suspended.
fn suspending(breaker: &Breaker) -> Settings {
    let usual = Settings::default();
    Settings {
        crashes: breaker.crashes.unwrap_or(usual.crashes),
        window: breaker.window.map_or(usual.window, |window| window.0),
        pause: breaker.pause.map_or(usual.pause, |pause| pause.0),
    }
}

fn read(file: &Path) -> Result<Config, Failure> {
    let text = fs::read_to_string(file).map_err(|error| Failure::io(file.display(), &error))?;
    Config::parse(&text).map_err(|mistake| Failure::usage(format!("{}: {mistake}", file.display())))
}

/// The file, and over it what was typed.
fn configured(command: &RegistryServe) -> Result<Config, Failure> {
    let mut config = based_on(command.config.as_deref(), command.storage.as_deref())?;
    if let Some(listen) = command.listen {
        config.http.listen = listen;
    }
    if let Some(listen) = command.metrics_listen {
        config.metrics = Some(Metrics { listen });
    }
    if let (Some(certificate), Some(key)) = (&command.tls_certificate, &command.tls_key) {
        let clients = config.http.tls.take();
        config.http.tls = Some(Tls {
            certificate: certificate.clone(),
            key: key.clone(),
            client_required: clients.as_ref().is_some_and(|tls| tls.client_required),
            client_ca: clients.and_then(|tls| tls.client_ca),
        });
    }
    config.read_only |= command.read_only;
    config.delete.enabled &= !command.no_delete;
    Ok(config)
}

/// A file, or a folder to keep everything in.
pub(super) fn based_on(file: Option<&Path>, folder: Option<&Path>) -> Result<Config, Failure> {
    let mut config = match file {
        Some(file) => read(file)?,
        None => Config::new(Map::new()),
    };
    if let Some(folder) = folder {
        let Some(folder) = folder.to_str() else {
            let message = format!("{}: the path is not UTF-8", folder.display());
            return Err(Failure::usage(message));
        };
        config.storage = Map::from_iter([
            ("driver".to_owned(), Value::from("filesystem")),
            ("rootdirectory".to_owned(), Value::from(folder)),
        ]);
    }
    Ok(config)
}

/// Lines on stderr, with the time: a registry runs for long.
fn start_log(log: &Log) {
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let access = match log.access {
        true => LevelFilter::INFO,
        false => LevelFilter::OFF,
    };
    let filter = Targets::new()
        .with_default(level.min(LevelFilter::INFO))
        .with_target("transom", level)
        .with_target(ACCESS, access);
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false);
    let registry = tracing_subscriber::registry().with(filter);
    match log.format {
        LogFormat::Text => registry.with(lines.with_ansi(false)).init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).init(),
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Failure {
        let kind = match error {
            RunError::Listen { .. } | RunError::State(_) => Kind::Unavailable,
            RunError::Storage(_) | RunError::Setup(_) | RunError::Tls(_) => Kind::Usage,
            _ => Kind::Other,
        };
        Failure::new(kind, error.to_string())
    }
}
