//! The real program in a process of its own, and the programs that talk to it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;

use tempfile::TempDir;

/// A running `transomd`. It is killed when this is dropped.
pub(crate) struct Program {
    pub(crate) folder: TempDir,
    pub(crate) child: Child,
    pub(crate) log: Option<std::thread::JoinHandle<String>>,
    /// The lines of that since it served.
    lines: mpsc::Receiver<String>,
    /// What it said until it served.
    pub(crate) serving: String,
}

impl Program {
    /// Starts it, and waits until it serves.
    pub(crate) fn start(arguments: &[&str]) -> Program {
        Program::in_folder(tempfile::tempdir().expect("a temporary folder"), arguments)
    }

    pub(crate) fn in_folder(folder: TempDir, arguments: &[&str]) -> Program {
        let mut command = command(folder.path());
        command.args(arguments).stderr(Stdio::piped());
        let mut child = command.spawn().expect("transomd runs");
        let mut lines = BufReader::new(child.stderr.take().expect("piped"));
        let mut seen = String::new();
        while !seen.contains("serving") {
            let read = lines.read_line(&mut seen).expect("text");
            assert_ne!(read, 0, "it ended before it served: {seen}");
        }
        let serving = seen.clone();
        let (tell, told) = mpsc::channel();
        let log = std::thread::spawn(move || {
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|read| read > 0) {
                seen.push_str(&line);
                // Few tests listen.
                let _ = tell.send(std::mem::take(&mut line));
            }
            seen
        });
        Program {
            folder,
            child,
            log: Some(log),
            lines: told,
            serving,
        }
    }

    /// Waits until it logs a line with this part.
    pub(crate) fn until(&self, part: &str) {
        let next = || self.lines.recv_timeout(crate::blobs::NEVER);
        while !next()
            .unwrap_or_else(|error| panic!("{part}: {error}"))
            .contains(part)
        {}
    }

    pub(crate) fn socket(&self) -> PathBuf {
        socket(self.folder.path())
    }

    /// Tells it to stop, waits, and gives its folder and what it logged.
    pub(crate) fn stop(mut self) -> (TempDir, String) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        let status = self.child.wait().expect("it ends");
        let log = self.log.take().expect("stopped once").join().expect("text");
        assert!(status.success(), "{status}: {log}");
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().expect("a temporary folder"));
        (folder, log)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `transomd` on a folder.
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_transomd"));
    command.env_remove("NOTIFY_SOCKET").env("HOME", folder);
    command.arg("--root").arg(folder.join("root"));
    command.arg("--state").arg(folder.join("state"));
    command
}

pub(crate) fn socket(folder: &Path) -> PathBuf {
    folder.join("state/transom.sock")
}

/// What a program that ended well wrote.
#[track_caller]
pub(crate) fn good(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {error}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a program that failed wrote on stderr.
#[track_caller]
pub(crate) fn failed(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success(),
        "{}{text}",
        String::from_utf8_lossy(&output.stdout)
    );
    text
}
