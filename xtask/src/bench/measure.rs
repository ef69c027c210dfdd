//! One run of a command: wall time, CPU time, peak memory.
//!
//! The peak is known only for the largest of all children that a process has waited for, so each command is run by an
//! xtask of its own (`cargo xtask measure`, hidden), which writes what it saw to a file.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use transom_tests::needs::target_dir;

use crate::run::{Error, Result, check, file_error, line, not_started};

/// What a run took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    /// Seconds from start to end.
    pub(crate) wall: f64,
    /// CPU seconds, user and system, of the command and its children.
    pub(crate) cpu: f64,
    /// The largest resident size of one process, in KiB.
    pub(crate) peak_kib: u64,
    /// What it printed.
    pub(crate) stdout: String,
}

/// Runs a command and measures it; fails if the command does.
pub(crate) fn measure(command: &Command) -> Result<Run> {
    let figures = target_dir().join("bench/figures");
    let this =
        env::current_exe().map_err(|error| Error::Other(format!("cannot find this program: {error}")))?;
    let mut wrapped = Command::new(this);
    wrapped
        .arg("measure")
        .arg(&figures)
        .arg("--")
        .arg(command.get_program())
        .args(command.get_args());
    let output = wrapped
        .stderr(Stdio::inherit())
        .output()
        .map_err(not_started(&wrapped))?;
    check(command, output.status)?;
    let text = fs::read_to_string(&figures).map_err(file_error(&figures))?;
    let numbers: Vec<f64> = text
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let [wall, cpu, peak] = numbers[..] else {
        return Err(Error::Other(format!("no figures for {}", line(command))));
    };
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count of KiB"
    )]
    let peak_kib = peak as u64;
    Ok(Run {
        wall,
        cpu,
        peak_kib,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
    })
}

/// The hidden half: runs `command` and writes wall seconds, CPU seconds and peak KiB to `figures`.
pub(crate) fn child(figures: &OsString, command: &[OsString]) -> Result<()> {
    let [program, arguments @ ..] = command else {
        return Err(Error::Other("nothing to measure".into()));
    };
    let mut command = Command::new(program);
    command.args(arguments);
    let start = Instant::now();
    let status = command.status().map_err(not_started(&command))?;
    let wall = start.elapsed().as_secs_f64();
    check(&command, status)?;
    let usage =
        getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|errno| Error::Other(format!("getrusage: {errno}")))?;
    let cpu = seconds(usage.user_time()) + seconds(usage.system_time());
    let path = std::path::Path::new(figures);
    fs::write(path, format!("{wall} {cpu} {}\n", usage.max_rss())).map_err(file_error(path))
}

#[allow(clippy::cast_precision_loss, reason = "a few seconds, in microseconds")]
fn seconds(time: TimeVal) -> f64 {
    time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6
}
