//! The log: lines on stderr, as text for people or as JSON for machines. The lines of a request carry its id.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat, LogLevel};

/// The level of a log that was started, to be changed while it is written. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Level {
    handle: reload::Handle<Targets, Registry>,
    access: bool,
}

impl Level {
    /// From now on this one.
    pub fn set(&self, level: LogLevel) {
        // The log is there as long as the process.
        drop(self.handle.reload(filter(level, self.access)));
    }
}

/// Starts logging for the whole process, with a line for each request to the registry if `access`. Only a program calls this, once.
pub fn start(log: &Log, access: bool) -> Level {
    let (filter, handle) = reload::Layer::new(filter(log.level, access));
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false);
    let registry = tracing_subscriber::registry().with(filter);
    match log.format {
        LogFormat::Text => registry.with(lines.with_ansi(false)).init(),
        LogFormat::Json => registry
            .with(lines.json().flatten_event(true).with_span_list(false))
            .init(),
    }
    Level { handle, access }
}

fn filter(level: LogLevel, access: bool) -> Targets {
    let level = self::level(level);
    // What the libraries below say of every frame is only of use to who looks for a fault in them.
    let others = if level == LevelFilter::TRACE {
        level
    } else {
        level.min(LevelFilter::INFO)
    };
    let requests = if access { level } else { LevelFilter::OFF };
    Targets::new()
        .with_default(others)
        .with_target("transom", level)
        .with_target(transom_registry::http::ACCESS, requests)
}

fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Trace => LevelFilter::TRACE,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    }
}
