//! Running other programs: what is run is shown first, and a failure names it.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Why a task cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A program ran and failed.
    #[error("this failed ({status}): {line}")]
    Failed {
        /// The command line.
        line: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// A program could not be started.
    #[error("cannot run {line}: {source}")]
    NotStarted {
        /// The command line.
        line: String,
        /// Why.
        source: io::Error,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something else; the text says what to do.
    #[error("{0}")]
    Other(String),
}

/// What a task gives.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Makes an [`Error::File`].
pub(crate) fn file_error(path: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
    |source| Error::File {
        path: path.to_path_buf(),
        source,
    }
}

/// The cargo that runs this program, or the one on the path, without what `cargo run` told this program about itself:
/// build scripts that look at it (ring's does) would run again, and all that depends on them.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let told = ["CARGO_PKG_", "CARGO_MANIFEST_"];
        if told.iter().any(|start| name.to_string_lossy().starts_with(start)) {
            command.env_remove(name);
        }
    }
    command
}

/// Shows a command and runs it with this terminal.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    println!("$ {}", line(command));
    let status = command.status().map_err(not_started(command))?;
    check(command, status)
}

/// Runs a command without showing it, and gives the first line of what it prints.
pub(crate) fn first_line(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::null())
        .output()
        .map_err(not_started(command))?;
    check(command, output.status)?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Runs a command without showing what it prints, for so long at most; a failure is the line that tells most.
pub(crate) fn run_quietly(command: &mut Command, most: Duration) -> Result<(), String> {
    let started = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = started.map_err(|error| format!("cannot run {}: {error}", line(command)))?;
    // Read at the side: a full pipe would stop the child.
    let pipe = child.stderr.take();
    let reader = thread::spawn(move || {
        let mut text = Vec::new();
        // What is there before an error is all that there is to show.
        let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut text));
        String::from_utf8_lossy(&text).into_owned()
    });
    match wait(&mut child, most) {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => {
            let text = reader.join().unwrap_or_default();
            Err(telling_line(&text).map_or_else(|| status.to_string(), str::to_owned))
        }
        Ok(None) => Err(format!("no answer within {} s", most.as_secs())),
        Err(error) => Err(error.to_string()),
    }
}

/// The first line that calls itself an error, else the last one.
fn telling_line(text: &str) -> Option<&str> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let error = lines
        .clone()
        .find_map(|line| line.strip_prefix("error: ").or_else(|| line.strip_prefix("E: ")));
    error.or_else(|| lines.next_back())
}

/// Waits for a child, and kills it when the time is over.
fn wait(child: &mut Child, most: Duration) -> io::Result<Option<ExitStatus>> {
    const LOOK: Duration = Duration::from_millis(20);
    let end = Instant::now() + most;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(LOOK);
    }
}

/// Checks how a command ended.
pub(crate) fn check(command: &Command, status: ExitStatus) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    let line = line(command);
    Err(Error::Failed { line, status })
}

/// Makes an [`Error::NotStarted`].
pub(crate) fn not_started(command: &Command) -> impl FnOnce(io::Error) -> Error + use<> {
    let line = line(command);
    |source| Error::NotStarted { line, source }
}

/// A command as one could type it: the variables that are set for it, the program, its arguments.
pub(crate) fn line(command: &Command) -> String {
    let variables = command.get_envs().filter_map(|(name, value)| {
        Some(format!(
            "{}={}",
            name.display(),
            quoted(&value?.to_string_lossy())
        ))
    });
    let program = command.get_program().to_string_lossy();
    // Cargo's full path says nothing more than its name.
    let program = Path::new(&*program)
        .file_name()
        .filter(|name| *name == "cargo")
        .map_or_else(|| quoted(&program), |name| name.to_string_lossy().into_owned());
    let arguments = command
        .get_args()
        .map(|argument| quoted(&argument.to_string_lossy()));
    let words: Vec<String> = variables.chain([program]).chain(arguments).collect();
    words.join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_one_types_it() {
        let mut command = Command::new("/somewhere/bin/cargo");
        command
            .args(["test", "a b", "it's", ""])
            .env("A", "1")
            .env_remove("B");
        assert_eq!(line(&command), r"A=1 cargo test 'a b' 'it'\''s' ''");
    }

    #[test]
    fn a_failure_names_the_command() {
        let error = run(Command::new("sh").args(["-c", "exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "this failed (exit status: 3): sh -c 'exit 3'");
        let error = run(&mut Command::new("no-such-program-anywhere")).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("cannot run no-such-program-anywhere: ")
        );
    }

    #[test]
    fn a_quiet_command_gives_its_reason_and_ends_in_time() {
        let second = Duration::from_secs(1);
        let shell = |script: &str, most| run_quietly(Command::new("sh").args(["-c", script]), most);
        assert_eq!(shell("exit 0", 60 * second), Ok(()));
        assert_eq!(
            shell("echo one >&2; echo two >&2; exit 1", 60 * second),
            Err("two".to_owned())
        );
        assert_eq!(
            shell(
                "printf 'info\\nerror: this\\n  1: there\\n' >&2; exit 1",
                60 * second
            ),
            Err("this".to_owned())
        );
        let started = Instant::now();
        assert_eq!(
            shell("exec sleep 100", second),
            Err("no answer within 1 s".to_owned())
        );
        assert!(started.elapsed() < 50 * second);
    }
}
