//! Running the command and looking at what it did.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use transom_tests::tree::{Ignore, Tree, diff, report, walk};

/// The exit codes, as `src/failure.rs` gives them to scripts.
pub(crate) const OTHER: i32 = 1;
pub(crate) const USAGE: i32 = 2;
pub(crate) const NOT_FOUND: i32 = 3;
pub(crate) const DAMAGED: i32 = 4;
pub(crate) const REFUSED: i32 = 5;
pub(crate) const LIMIT: i32 = 6;
pub(crate) const NO_SPACE: i32 = 7;
pub(crate) const UNAVAILABLE: i32 = 8;
pub(crate) const INTERRUPTED: i32 = 130;

/// How long a test waits for what must come: generous, for the machine may have other work.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl From<Output> for Done {
    fn from(output: Output) -> Done {
        Done {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Done {
    /// It succeeded; gives what it wrote to stdout.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        String::from_utf8(self.stdout).unwrap()
    }

    /// It succeeded and wrote one JSON document.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// It failed with this code, wrote no result, and the message has every one of these texts.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, texts: &[&str]) -> String {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        // The last: it may have said before what it goes on with. A list may follow in lines of its own.
        let start = self.stderr.rfind("\ntransom: ").map(|newline| newline + 1);
        let start = start.or(self.stderr.starts_with("transom: ").then_some(0));
        let message = &self.stderr[start.unwrap_or_else(|| panic!("no message: {}", self.stderr))..];
        for text in texts {
            assert!(message.contains(text), "no {text:?} in: {message}");
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        message.to_owned()
    }
}

impl Done {
    /// The same of a run with `--json`.
    #[track_caller]
    pub(crate) fn fails_json(self, code: i32, text: &str) {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        let last = self.stderr.lines().last().unwrap_or_default();
        let error: Value = serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {last}"));
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains(text), "no {text:?} in: {message}");
    }
}

/// The command, not yet started.
pub(crate) fn transom<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_transom"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn run<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> Done {
    transom(arguments).output().unwrap().into()
}

/// `transom unpack IMAGE DIR` with more arguments.
pub(crate) fn unpack(image: impl AsRef<OsStr>, target: &Path, more: &[&str]) -> Done {
    unpack_command(image, target, more).output().unwrap().into()
}

pub(crate) fn unpack_command(image: impl AsRef<OsStr>, target: &Path, more: &[&str]) -> Command {
    let mut command = transom(["unpack"]);
    command.arg(image).arg(target).args(more);
    command
}

/// A path with a selector behind it.
pub(crate) fn select(path: &Path, selector: &str) -> String {
    format!("{}{selector}", path.display())
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The folder holds what it should.
#[track_caller]
pub(crate) fn assert_tree(want: &Tree, root: &Path) {
    let ignore = Ignore {
        owner: !is_root(),
        ..Ignore::default()
    };
    let differences = diff(want, &walk(root).unwrap(), &ignore);
    assert!(differences.is_empty(), "{}", report(&differences, 20));
}

#[track_caller]
pub(crate) fn assert_empty(folder: &Path) {
    let names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(names.is_empty(), "{names:?}");
}

/// Waits until something is true.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits for a process that must end by itself; one that does not is killed, and the test fails.
#[track_caller]
pub(crate) fn finish(mut child: Child) -> Done {
    let end = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() >= end {
            child.kill().unwrap();
            let output = child.wait_with_output().unwrap();
            panic!("it does not end: {}", String::from_utf8_lossy(&output.stderr));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap().into()
}

pub(crate) fn signal(child: &Child, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
}
