//! Finds secrets in the files of a layer as it passes: private keys, and access keys and tokens of common services.
//!
//! `rules.rs` says what a secret looks like, `search.rs` finds candidates quickly, `stream.rs` judges them across chunk borders,
//! `glob.rs` matches the paths to ignore. The layer passes unchanged; only when the operator sets `refuse` is it refused.

mod glob;
mod rules;
mod search;
mod stream;

use std::collections::BTreeSet;
use std::io::{BufRead, Write};

use transom_sdk::media_type::LAYER_TAR;
use transom_sdk::tar::{Entry, Scanner, Visitor};
use transom_sdk::{Error, Finding, Info, Job, Outcome, Processor, Severity};

use crate::glob::Glob;
use crate::rules::Rule;
use crate::stream::Stream;

/// The processor. See `plugin.toml`.
#[derive(Debug, Default)]
pub struct Secrets;

#[derive(serde::Deserialize)]
struct Config {
    refuse: bool,
    severity: Severity,
    max_findings: u32,
    ignore: Vec<String>,
}

impl Processor for Secrets {
    fn describe() -> Info {
        Info::new("secrets", env!("CARGO_PKG_VERSION")).converts(LAYER_TAR, LAYER_TAR)
    }

    fn run(&mut self, job: &Job, input: &mut dyn BufRead, output: &mut dyn Write) -> Result<Outcome, Error> {
        let mut inspector = Inspector::new(&job.config()?);
        let mut scanner = Scanner::new();
        loop {
            let chunk = input.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            scanner.feed(chunk, &mut inspector)?;
            output.write_all(chunk)?;
            let length = chunk.len();
            input.consume(length);
        }
        scanner.finish()?;
        Ok(inspector.conclude())
    }
}

/// Looks into the files of one layer.
struct Inspector {
    ignore: Vec<Glob>,
    refuse: bool,
    stream: Stream,
    looking: bool,
    files: u64,
    report: Report,
}

/// What was found so far.
struct Report {
    severity: Severity,
    max_findings: usize,
    /// The file that is looked into.
    path: String,
    count: u64,
    rules: BTreeSet<&'static str>,
    findings: Vec<Finding>,
}

impl Inspector {
    fn new(config: &Config) -> Self {
        Self {
            ignore: config.ignore.iter().map(|pattern| Glob::new(pattern)).collect(),
            refuse: config.refuse,
            stream: Stream::new(),
            looking: false,
            files: 0,
            report: Report {
                severity: config.severity,
                max_findings: config.max_findings as usize,
                path: String::new(),
                count: 0,
                rules: BTreeSet::new(),
                findings: Vec::new(),
            },
        }
    }

    fn conclude(self) -> Outcome {
        let Report {
            count,
            rules,
            findings,
            ..
        } = self.report;
        let mut outcome = Outcome {
            findings,
            ..Outcome::default()
        }
        .annotate("dev.transom.secrets.count", count)
        .annotate("dev.transom.secrets.files", self.files);
        if count > 0 {
            let rules: Vec<&str> = rules.into_iter().collect();
            outcome = outcome.annotate("dev.transom.secrets.rules", rules.join(","));
            if self.refuse {
                outcome = outcome.refuse(format!("the layer holds {count} secret(s): {}", rules.join(", ")));
            }
        }
        outcome
    }
}

impl Visitor for Inspector {
    fn entry(&mut self, entry: &Entry) {
        let is_file = matches!(entry.kind, b'0' | b'7' | b'S');
        let path = entry.path.strip_prefix(b"./").unwrap_or(&entry.path);
        self.looking = is_file && entry.size > 0 && !self.ignore.iter().any(|glob| glob.matches(path));
        if self.looking {
            self.files += 1;
            self.report.path = String::from_utf8_lossy(path).into_owned();
        }
    }

    fn data(&mut self, bytes: &[u8]) {
        if self.looking {
            self.stream
                .feed(bytes, &mut |rule, offset| self.report.note(rule, offset));
        }
    }

    fn end_entry(&mut self) {
        if self.looking {
            self.stream
                .finish(&mut |rule, offset| self.report.note(rule, offset));
        }
    }
}

impl Report {
    fn note(&mut self, rule: &Rule, offset: u64) {
        if rule.severity < self.severity {
            return;
        }
        self.count += 1;
        self.rules.insert(rule.name);
        if self.findings.len() < self.max_findings {
            self.findings.push(Finding {
                severity: rule.severity,
                rule: rule.name.to_owned(),
                location: format!("{}:+{offset}", shorten(&self.path)),
                message: rule.message.to_owned(),
            });
        }
    }
}

/// The end of a path, as long as hosts take texts.
fn shorten(path: &str) -> &str {
    let mut start = path.len().saturating_sub(2000);
    while !path.is_char_boundary(start) {
        start += 1;
    }
    &path[start..]
}

transom_sdk::register_processor!(Secrets);
