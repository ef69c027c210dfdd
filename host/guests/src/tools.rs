//! The programs of others: finding them, and running them.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::Error;

/// Bytes of what a failed program printed that are shown: the last ones.
const SAID_MAX: usize = 16 << 10;

/// Where compilers are looked for, before the project's own folders and `PATH`.
#[derive(Clone, Debug, Default)]
pub struct Tools {
    /// Folders of programs.
    pub folders: Vec<PathBuf>,
}

/// A compiler that is wanted.
pub(crate) struct Wanted<'a> {
    /// Its name, and other names of it.
    pub(crate) names: &'a [&'static str],
    /// Folders of the project's that may have it.
    pub(crate) near: Vec<PathBuf>,
    /// How a person gets it.
    pub(crate) get: String,
}

impl Tools {
    /// Runs the first of the programs that there is, and gives what it printed.
    pub(crate) fn run(&self, wanted: &Wanted<'_>, arrange: &dyn Fn(&mut Command)) -> Result<String, Error> {
        let folders = self.folders.iter().chain(&wanted.near);
        let near = folders.flat_map(|folder| wanted.names.iter().map(move |name| folder.join(name)));
        let anywhere = wanted.names.iter().map(PathBuf::from);
        for program in near.chain(anywhere) {
            let mut command = Command::new(&program);
            arrange(&mut command);
            match said(command) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(&program, error.to_string())),
                Ok((true, text)) => return Ok(text),
                Ok((false, text)) => return Err(failed(&program, text)),
            }
        }
        Err(Error::Tool {
            name: wanted.names.first().copied().unwrap_or_default(),
            get: wanted.get.clone(),
        })
    }
}

fn failed(program: &Path, said: String) -> Error {
    Error::Failed {
        tool: program
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        said,
    }
}

/// Whether it went well, and the end of what it printed.
fn said(mut command: Command) -> io::Result<(bool, String)> {
    let output = command.stdin(Stdio::null()).output()?;
    let mut text = output.stdout;
    text.extend_from_slice(&output.stderr);
    let end = &text[text.len().saturating_sub(SAID_MAX)..];
    let text = String::from_utf8_lossy(end).trim().to_owned();
    Ok((output.status.success(), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted<'a>(names: &'a [&'static str]) -> Wanted<'a> {
        Wanted {
            names,
            near: Vec::new(),
            get: "buy one".to_owned(),
        }
    }

    #[test]
    fn the_first_that_is_there_is_run() {
        let tools = Tools::default();
        let script = |text: &'static str| {
            move |command: &mut Command| {
                command.args(["-c", text]);
            }
        };
        let names = ["no-such-compiler", "sh"];
        assert_eq!(
            tools.run(&wanted(&names), &script("echo it went well")).unwrap(),
            "it went well"
        );
        let error = tools
            .run(&wanted(&names), &script("echo no >&2; exit 1"))
            .unwrap_err();
        assert_eq!(error.to_string(), "sh failed: no");
        let error = tools.run(&wanted(&names[..1]), &script("")).unwrap_err();
        assert_eq!(error.to_string(), "there is no no-such-compiler: buy one");
    }
}
