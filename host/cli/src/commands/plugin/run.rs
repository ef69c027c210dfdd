//! `transom plugin run`: a processor on stdin, to stdout.

use std::io::{self, Read, Write};

use transom_layer::pipe::Input;
use transom_layer::pump::{LayerReport, SinkError};
use transom_layer::stage::StageError;

use super::job::{self, Prepared};
use super::watch;
use crate::arguments::PluginRun;
use crate::commands::report::{StageJson, stage_text};
use crate::failure::{Failure, Kind};
use crate::interrupt::Interrupt;

pub(super) fn run(command: &PluginRun, json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    if command.watch {
        return watch::run(&command.job, json, interrupt);
    }
    let prepared = job::prepare(&command.job)?;
    once(&prepared, Box::new(interrupt.stdin()), json, interrupt)
}

/// Runs it on some bytes, the number of which nobody knows.
pub(super) fn once(
    prepared: &Prepared,
    bytes: Box<dyn Read + Send>,
    json: bool,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let report = prepared.pump((bytes, u64::MAX), &[prepared.step()], interrupt, write_out)?;
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
