//! `transom plugin test`: a plugin on the cases beside its source, in the real host.
//!
//! Read `case` (what a case is), `run` (a plugin on some bytes); this file compares. `filter` and `driver` are for the other kinds.

mod case;
mod driver;
mod filter;
mod run;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use transom_layer::stage::{Handler, Outcome as Reported, Severity, Verdict};
use transom_plugin::Plugin;
use transom_plugin::manifest::PluginKind;

use self::case::{Case, Expected, Outcome};
use self::run::Ran;
use crate::arguments::PluginTest;
use crate::commands::{print, print_json};
use crate::failure::{Failure, Kind};
use crate::handlers;
use crate::interrupt::Interrupt;
use crate::show::printable;

/// Pieces that each case is run with: one, and sizes around which mistakes are made.
const PIECES: [Option<usize>; 4] = [None, Some(1), Some(7), Some(512)];
/// The same for a long case.
const LARGE_PIECES: [Option<usize>; 4] = [None, Some(997), Some(4096), Some(65537)];
/// Bytes of a long case.
const LARGE: usize = 32 << 10;

pub(super) fn run(command: &PluginTest, as_json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    let built = built(command)?;
    let cases = command.folder.join("cases");
    match super::kind(&built)? {
        PluginKind::Processor => processor(&built, &cases, as_json, interrupt),
        PluginKind::Filter => filter::run(&built, &cases, as_json),
        PluginKind::Driver => driver::run(&built, &cases, as_json, interrupt),
    }
}

fn processor(built: &Path, folder: &Path, as_json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    let plugin = handlers::host()?.load(built)?;
    let cases = case::all(folder)?;
    let mut told = Told::new(as_json);
    for case in &cases {
        let result = check(&plugin, case, interrupt);
        if interrupt.is_requested() {
            return Err(Failure::interrupted());
        }
        told.tell(&case.name, result)?;
    }
    told.finish(folder)
}

/// What came of the cases, told one by one.
struct Told {
    as_json: bool,
    all: usize,
    failed: usize,
}

impl Told {
    fn new(as_json: bool) -> Told {
        Told {
            as_json,
            all: 0,
            failed: 0,
        }
    }

    fn tell(&mut self, case: &str, result: Result<(), String>) -> Result<(), Failure> {
        self.all += 1;
        self.failed += usize::from(result.is_err());
        if self.as_json {
            return print_json(&json!({ "case": case, "ok": result.is_ok(), "problem": result.err() }));
        }
        print(&match result {
            Ok(()) => format!("ok      {}\n", printable(case)),
            Err(problem) => format!("FAILED  {}: {}\n", printable(case), printable(&problem)),
        })
    }

    fn finish(self, folder: &Path) -> Result<(), Failure> {
        match (self.failed, self.all) {
            (_, 0) => {
                let text = format!("{} has no cases", folder.display());
                Err(Failure::new(Kind::NotFound, text))
            }
            (0, _) => Ok(()),
            (failed, all) => Err(Failure::new(
                Kind::Other,
                format!("{failed} of {all} cases failed"),
            )),
        }
    }
}

/// Where the component is: what was named, or what `plugin build` made.
fn built(command: &PluginTest) -> Result<PathBuf, Failure> {
    if let Some(plugin) = &command.plugin {
        return Ok(plugin.clone());
    }
    let built = command.folder.join("target/plugin");
    let mut folders = std::fs::read_dir(&built)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let found = folders.find(|path| path.join("plugin.toml").is_file());
    found.ok_or_else(|| {
        let text = format!("nothing is built in {}: transom plugin build", built.display());
        Failure::new(Kind::NotFound, text)
    })
}

/// Runs a case in every piece size. The problem is for people.
fn check(plugin: &Plugin, case: &Case, interrupt: &Interrupt) -> Result<(), String> {
    let handler = plugin.handler(&case.config).map_err(|error| error.to_string());
    let handler: Arc<dyn Handler> = match (handler, &case.outcome) {
        (Ok(handler), _) => handler,
        (Err(said), Outcome::Error(text)) if said.contains(text) => return Ok(()),
        (Err(said), _) => return Err(said),
    };
    let first = plugin
        .info()
        .conversions
        .first()
        .map(|both| both.accepts.as_str());
    let input = case.media_type.as_deref().or(first).unwrap_or_default();
    let output = handler
        .offer(input)
        .ok_or_else(|| format!("the plugin does not accept {input}"))?;
    let pieces = if case.input.len() < LARGE {
        PIECES
    } else {
        LARGE_PIECES
    };
    for size in pieces {
        let ran = run::run(&handler, (input, &output), case, size, interrupt);
        compare(&case.outcome, ran).map_err(|problem| match size {
            None => problem,
            Some(size) => format!("in pieces of {size} bytes: {problem}"),
        })?;
    }
    Ok(())
}

fn compare(expected: &Outcome, ran: Ran) -> Result<(), String> {
    match (expected, ran) {
        (Outcome::Error(text), Err(error)) => {
            let said = error.to_string();
            match said.contains(text) {
                true => Ok(()),
                false => Err(format!("the error should have {text:?}, it is: {said}")),
            }
        }
        (Outcome::Error(text), Ok(_)) => Err(format!("it went well, and should have failed with {text:?}")),
        (Outcome::Output(..), Err(error)) => Err(error.to_string()),
        (Outcome::Output(output, expected), Ok((actual, outcome))) => {
            bytes(output, &actual)?;
            said(expected, &outcome)
        }
    }
}

fn bytes(expected: &[u8], actual: &[u8]) -> Result<(), String> {
    if expected == actual {
        return Ok(());
    }
    let same = expected
        .iter()
        .zip(actual)
        .take_while(|(one, other)| one == other)
        .count();
    Err(format!(
        "the output differs from byte {same} on: there are {} bytes, {} are expected",
        actual.len(),
        expected.len()
    ))
}

/// What the plugin says beside the bytes.
fn said(expected: &Expected, outcome: &Reported) -> Result<(), String> {
    if let Verdict::Refuse { reason } = &outcome.verdict {
        return Err(format!("it refused the layer: {reason}"));
    }
    if !expected.ignore_annotations && expected.annotations != outcome.annotations {
        return Err(format!("the annotations are {:?}", outcome.annotations));
    }
    let severity = |severity| match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    };
    let found = outcome.findings.iter();
    let found: Vec<_> = found
        .map(|found| {
            (
                severity(found.severity),
                found.rule.as_str(),
                found.location.as_str(),
            )
        })
        .collect();
    let wanted = expected.findings.iter();
    let wanted: Vec<_> = wanted
        .map(|wanted| {
            (
                wanted.severity.as_str(),
                wanted.rule.as_str(),
                wanted.location.as_str(),
            )
        })
        .collect();
    if found != wanted {
        return Err(format!("the findings are {found:?}"));
    }
    documents(expected, outcome)
}

fn documents(expected: &Expected, outcome: &Reported) -> Result<(), String> {
    if expected.documents.len() != outcome.documents.len() {
        return Err(format!("it wrote {} documents", outcome.documents.len()));
    }
    for (wanted, document) in expected.documents.iter().zip(&outcome.documents) {
        let text = String::from_utf8_lossy(&document.bytes);
        let missing = wanted.contains.iter().find(|part| !text.contains(part.as_str()));
        if document.media_type != wanted.media_type {
            return Err(format!("it wrote a document of the type {}", document.media_type));
        }
        if let Some(missing) = missing {
            return Err(format!("{missing:?} is not in the document: {text}"));
        }
    }
    Ok(())
}
