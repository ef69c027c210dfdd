//! The `transom` command.
//!
//! Read in this order: `arguments` (what can be typed), `commands` (one file for each noun), `client` (the daemon that most of
//! them talk to), `handlers` (from plugin and processor flags to a chain of stages), `installed` (plugins by their names), `progress` (what is shown meanwhile),
//! `show` (how things are written for people), `failure` (exit codes and hints), `interrupt` (Ctrl-C), `places` (default
//! folders), `limits`.

mod ahead;
mod arguments;
mod client;
mod commands;
mod failure;
mod handlers;
mod installed;
mod interrupt;
mod limits;
mod places;
mod progress;
mod show;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command, Registry};
use failure::Failure;
use interrupt::Interrupt;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A registry's log is configured with the registry.
    if !matches!(arguments.command, Command::Registry(Registry::Serve(_))) {
        start_log(&arguments);
    }
    let json = arguments.json;
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(json),
    }
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    let interrupt = Interrupt::install()?;
    let json = arguments.json;
    let place = arguments.place;
    match arguments.command {
        Command::Unpack(command) => commands::unpack::run(*command, json, &interrupt),
        Command::Inspect(command) => commands::inspect::run(command, json, &interrupt),
        Command::Content(command) => commands::content::run(command, place, json, &interrupt),
        Command::Image(command) => commands::image::run(command, &place, json, &interrupt),
        Command::Snapshot(command) => commands::snapshot::run(command, &place, json, &interrupt),
        Command::Diff(command) => commands::diff::run(&command, &place, json, &interrupt),
        Command::Lease(command) => commands::lease::run(command, &place, json, &interrupt),
        Command::Namespace(command) => commands::namespace::run(command, &place, json, &interrupt),
        Command::Events(command) => commands::events::run(command, &place, json, &interrupt),
        Command::Gc(command) => commands::gc::run(&command, &place, json, &interrupt),
        Command::Plugin(command) => commands::plugin::run(command, &place, json, &interrupt),
        Command::Fsck(command) => commands::fsck::run(&command, &place, json),
        Command::Driver(command) => commands::driver::run(&command, json, &interrupt),
        Command::Registry(command) => commands::registry::run(command, json, &interrupt),
        Command::Version => commands::version::run(&place, json, &interrupt),
        Command::Completion(command) => commands::generate::completion(&command),
        Command::Man(command) => commands::generate::man(&command),
    }
}

/// Logs go to stderr, as lines without colour, so that stdout holds nothing but results.
fn start_log(arguments: &Arguments) {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .with_max_level(tracing::Level::from(arguments.log_level))
        .init();
}
