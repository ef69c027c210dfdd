//! `transom plugin run --watch`: the same input again for each component that is built.

use std::fs::{self, Metadata};
use std::io::{self, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{component_path, job};
use crate::arguments::PluginJob;
use crate::failure::{Failure, Kind};
use crate::interrupt::Interrupt;
use crate::places;

/// How often it is looked whether something has changed: at once for a person, and next to nothing for the machine.
const LOOK: Duration = Duration::from_millis(100);
/// Files of a source that are looked at. Those of a plugin are fewer than a hundred.
const FILES: usize = 4096;
/// Folders of a source that nobody edits.
const MADE: [&str; 3] = ["target", "node_modules", "__pycache__"];

/// What tells one state of a file from another: where it is, its inode, its length, and when it was changed.
type Stamp = (PathBuf, u64, u64, i64, i64);

pub(super) fn run(job: &PluginJob, json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    let folder = places::temporary();
    let mut input = tempfile::tempfile_in(&folder).map_err(|error| Failure::io(folder.display(), &error))?;
    io::copy(&mut interrupt.stdin(), &mut input).map_err(|error| match interrupt.is_requested() {
        true => Failure::interrupted(),
        false => Failure::io("cannot read stdin", &error),
    })?;
    let mut before = None;
    loop {
        let now = stamps(&job.plugin);
        if before.as_ref() != Some(&now) {
            if let Err(failure) = again(job, &input, json, interrupt) {
                // The next one may be better.
                eprintln!("transom: {}", failure.message());
            }
            eprintln!("transom: waiting for a change of {}", job.plugin.display());
            before = Some(now);
        }
        if interrupt.is_requested() {
            return Err(Failure::interrupted());
        }
        std::thread::sleep(LOOK);
    }
}

/// Builds the plugin, if it is a source, and runs it.
fn again(job: &PluginJob, input: &fs::File, json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    if job::is_source(&job.plugin) {
        build(&job.plugin)?;
    }
    let failed = |error: io::Error| Failure::io("cannot read the input again", &error);
    let mut input = input.try_clone().map_err(failed)?;
    input.rewind().map_err(failed)?;
    let prepared = job::prepare(job)?;
    super::run::once(&prepared, Box::new(input), json, interrupt)
}

/// `transom plugin build`, whose result is no part of the output.
fn build(folder: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::io("cannot start the build", &error);
    let program = std::env::current_exe().map_err(failed)?;
    let built = Command::new(program)
        .args(["plugin", "build"])
        .arg(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(failed)?;
    io::stderr().write_all(&built.stderr).map_err(failed)?;
    match built.status.success() {
        true => Ok(()),
        false => Err(Failure::new(Kind::Other, "the build failed".to_owned())),
    }
}

/// The state of everything that the plugin is made of.
fn stamps(plugin: &Path) -> Vec<Stamp> {
    let mut stamps = Vec::new();
    if job::is_source(plugin) {
        walk(plugin, &mut stamps);
        stamps.sort();
    } else {
        let component = component_path(plugin).unwrap_or_else(|_| plugin.to_owned());
        add(component.with_file_name("plugin.toml"), &mut stamps);
        add(component, &mut stamps);
    }
    stamps
}

/// What cannot be looked at is not there; it may be in a moment.
fn add(path: PathBuf, stamps: &mut Vec<Stamp>) {
    if let Ok(metadata) = fs::metadata(&path) {
        stamps.push(stamp(path, &metadata));
    }
}

fn stamp(path: PathBuf, metadata: &Metadata) -> Stamp {
    let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
    (path, metadata.ino(), metadata.len(), seconds, nanoseconds)
}

fn walk(folder: &Path, stamps: &mut Vec<Stamp>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if stamps.len() >= FILES || name.starts_with('.') || is_folder && MADE.contains(&&*name) {
            continue;
        }
        match is_folder {
            true => walk(&entry.path(), stamps),
            false => add(entry.path(), stamps),
        }
    }
}
