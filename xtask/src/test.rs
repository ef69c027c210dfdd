//! Running every test, and the closing lines: what failed, what was skipped and why, and the sum.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, PipeReader};
use std::path::Path;
use std::process::{Child, Command, ExitCode};

use transom_tests::needs::{SKIP_LOG, target_dir, workspace_dir};

use crate::debian;
use crate::languages;
use crate::plugins;
use crate::python;
use crate::run::{Error, Result, cargo, file_error, line, not_started};
use crate::target;

/// Sets everything up and runs `cargo test` with the arguments given.
pub(crate) fn test(arguments: &[String]) -> Result<ExitCode> {
    debian::get_test_programs();
    python::get_test_packages();
    plugins::build(&target::set_up(None)?)?;
    languages::build()?;

    let folder = target_dir().join("xtask");
    fs::create_dir_all(&folder).map_err(file_error(&folder))?;
    let log = folder.join("skipped");
    fs::write(&log, "").map_err(file_error(&log))?;

    let mut command = cargo();
    command.arg("test").arg("--no-fail-fast");
    if !names_packages(arguments) {
        command.arg("--workspace");
    }
    command
        .args(arguments)
        .current_dir(workspace_dir())
        .env(SKIP_LOG, &log);
    println!("$ {}", line(&command));
    let failed = not_started(&command);
    let (mut child, output) = start_merged(command).map_err(failed)?;
    let lost = |error: io::Error| Error::Other(format!("lost the tests' output: {error}"));
    let mut results = Results::default();
    for text in BufReader::new(output).split(b'\n') {
        let text = text.map_err(lost)?;
        let text = String::from_utf8_lossy(&text);
        println!("{text}");
        results.read(&text);
    }
    let status = child.wait().map_err(lost)?;
    results.skipped.extend(read_log(&log)?);
    print!("{}", results.closing_lines(status.success()));
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Starts a command with one pipe for both its outputs, so that their lines stay in order.
fn start_merged(mut command: Command) -> io::Result<(Child, PipeReader)> {
    let (reader, writer) = io::pipe()?;
    let child = command.stdout(writer.try_clone()?).stderr(writer).spawn()?;
    // The command, dropped here, holds the pipe's other end open.
    Ok((child, reader))
}

/// Whether the arguments say which packages to test.
fn names_packages(arguments: &[String]) -> bool {
    arguments
        .iter()
        .take_while(|argument| *argument != "--")
        .any(|argument| {
            argument.starts_with("-p")
                || ["--package", "--workspace", "--manifest-path"]
                    .iter()
                    .any(|flag| argument.starts_with(flag))
        })
}

/// The skips that tests wrote down, by test.
fn read_log(log: &Path) -> Result<BTreeMap<String, String>> {
    let text = fs::read_to_string(log).map_err(file_error(log))?;
    Ok(text
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(test, reason)| (test.to_owned(), reason.to_owned()))
        .collect())
}

/// What the test programs said.
#[derive(Debug, Default, PartialEq, Eq)]
struct Results {
    /// Tests that returned, among them those that said that they skip.
    returned: usize,
    failed: usize,
    ignored: usize,
    failures: Vec<String>,
    /// Reasons by test.
    skipped: BTreeMap<String, String>,
}

impl Results {
    /// Takes note of a line that libtest prints.
    fn read(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            let count = |what: &str| {
                let part = counts
                    .split(['.', ';'])
                    .find_map(|part| part.trim().strip_suffix(what));
                part.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
            };
            self.returned += count("passed");
            self.failed += count("failed");
            self.ignored += count("ignored");
        } else if let Some(test) = line.strip_prefix("test ") {
            if let Some(name) = test.strip_suffix(" ... FAILED") {
                self.failures.push(name.to_owned());
            } else if let Some((name, reason)) = test.split_once(" ... ignored") {
                let reason = reason.trim_start_matches(", ");
                let reason = if reason.is_empty() {
                    "marked #[ignore]"
                } else {
                    reason
                };
                self.skipped.insert(name.to_owned(), reason.to_owned());
            }
        }
    }

    /// What a person should read at the end; the sum is alone on the last line.
    fn closing_lines(&self, succeeded: bool) -> String {
        let mut text = String::from("\n");
        for name in &self.failures {
            text.push_str(&format!("failed: {name}\n"));
        }
        for (name, reason) in &self.skipped {
            text.push_str(&format!("skipped: {name}: {reason}\n"));
        }
        if !succeeded && self.failed == 0 {
            text.push_str("failed: not every test program could be built and run; see above\n");
        }
        let said = self.skipped.len().saturating_sub(self.ignored);
        text.push_str(&format!(
            "{} passed, {} failed, {} skipped\n",
            self.returned.saturating_sub(said),
            self.failed,
            said + self.ignored,
        ));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
running 4 tests
test a::works ... ok
test b::breaks ... FAILED
test c::needs_root ... ok
test d::slow ... ignored, takes an hour
test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s
test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; finished in 1.23s";

    #[test]
    fn counts_names_and_reasons_are_summed_up() {
        let mut results = Results::default();
        OUTPUT.lines().for_each(|line| results.read(line));
        results
            .skipped
            .insert("crate::c::needs_root".to_owned(), "needs root".to_owned());
        assert_eq!(
            results.closing_lines(false),
            "\nfailed: b::breaks\nskipped: crate::c::needs_root: needs root\nskipped: d::slow: takes an hour\n\
             13 passed, 1 failed, 2 skipped\n"
        );
    }

    #[test]
    fn a_build_that_fails_is_not_silent() {
        let text = Results::default().closing_lines(false);
        assert!(text.starts_with("\nfailed: not every test program"));
        assert!(text.ends_with("\n0 passed, 0 failed, 0 skipped\n"));
    }

    #[test]
    fn skips_are_read_once_per_test() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        fs::write(&log, "a\tneeds root\nb\tneeds x: `y`\na\tneeds root\nnonsense\n").unwrap();
        let skipped = read_log(&log).unwrap();
        assert_eq!(skipped.len(), 2);
        assert_eq!(skipped["b"], "needs x: `y`");
    }

    #[test]
    fn packages_named_by_hand_replace_the_whole_workspace() {
        let names = |text: &str| names_packages(&text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert!(names("-p transom-oci") && names("-ptransom-oci") && names("--package=x"));
        assert!(!names("some_test") && !names("-- -p"));
    }
}
