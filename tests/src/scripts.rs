//! Programs of the shell that a test writes and has run.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Writes a program of the shell that can be run at once.
///
/// Another process writes it: if this one had it open for writing, a child that another test is just starting would have it
/// open, too, until it runs its own program, and a file that somebody may write to cannot be run.
///
/// # Panics
/// If it cannot be written.
pub fn script(path: &Path, text: &str) {
    let mut command = Command::new("install");
    let command = command.args(["-m", "755", "/dev/stdin"]).arg(path);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("install runs");
    let mut input = child.stdin.take().expect("piped");
    write!(input, "#!/bin/sh\n{text}\n").expect("it reads");
    drop(input);
    assert!(child.wait().expect("a child").success(), "{}", path.display());
}
