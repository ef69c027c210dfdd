//! What a person types: `cargo xtask demo`, `cargo xtask test`, and their parts.
//!
//! Read in this order: [`target`] (a compiler for guests), [`plugins`] (guests to components), [`languages`] (those that
//! are not in Rust), [`demo`],
//! [`test`], [`fuzz`], [`bench`]; below them [`debian`] and [`python`] (packages) and [`run`] (other programs).

mod bench;
mod debian;
mod demo;
mod fuzz;
mod languages;
mod plugins;
mod python;
mod run;
mod target;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use target::Way;

/// Builds, shows and tests Transom. Each command does all its own set-up first.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    disable_help_subcommand = true
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Gets what building and testing need: compilers for WASM guests, programs that tests compare with
    Setup {
        /// Takes this way to the guests' compiler and no other; else the first that works
        #[arg(long, value_name = "WAY")]
        wasm_by: Option<Way>,
    },
    /// Builds everything under plugins/ to components in target/plugins/
    Plugins {
        /// Takes this way to the guests' compiler and no other; else the first that works
        #[arg(long, value_name = "WAY")]
        wasm_by: Option<Way>,
    },
    /// Unpacks a real image through native and WASM stages and checks the result
    Demo,
    /// Runs every test and ends with what failed, what was skipped and why
    Test {
        /// Given to `cargo test`, such as `-p transom-oci` or a test's name
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Tries inputs made at random on everything that reads strangers' bytes
    Fuzz {
        /// tar, scan, chain, image, plugin, request, text, filter or all
        #[arg(default_value = "all")]
        target: String,
        /// How long each target gets
        #[arg(long, value_name = "N", default_value_t = 10)]
        seconds: u64,
    },
    /// Measures ours and the peers in turn on the same data; needs root, 10 GB of disk and a quiet machine
    Bench {
        /// The parts to measure; all without one
        #[arg(value_enum)]
        parts: Vec<bench::Part>,
        /// Runs of each command; the median counts
        #[arg(long, value_name = "N", default_value_t = 3)]
        runs: usize,
    },
    /// Runs a command for `bench` and writes down what it took
    #[command(hide = true)]
    Measure {
        /// Where to write
        figures: std::ffi::OsString,
        /// The command
        #[arg(last = true)]
        command: Vec<std::ffi::OsString>,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Setup { wasm_by } => target::set_up(wasm_by).map(|_| {
            debian::get_test_programs();
            python::get_test_packages();
            languages::get_compilers();
        }),
        Task::Plugins { wasm_by } => target::set_up(wasm_by)
            .and_then(|guests| plugins::build(&guests))
            .and_then(|_| languages::build()),
        Task::Demo => demo::demo(),
        Task::Fuzz { target, seconds } => fuzz::fuzz(&target, seconds),
        Task::Bench { parts, runs } => bench::bench(&bench::Options {
            parts,
            runs: runs.max(1),
        }),
        Task::Measure { figures, command } => bench::measure::child(&figures, &command),
        Task::Test { arguments } => match test::test(&arguments) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
