//! Finds secrets in the files of a layer as it passes: private keys, and access keys and tokens of common services.
//!
//! `rules.rs` says what a secret looks like, `custom.rs` what the operator says of that, `search.rs` finds candidates quickly, `stream.rs` judges them across chunk borders,
//! `glob.rs` matches the paths to ignore. The layer passes unchanged; only when the operator sets `refuse` is it refused.

mod custom;
mod glob;
mod rules;
mod search;
mod stream;

use std::collections::BTreeSet;
use std::io::{BufRead, Write};

use transom_sdk::media_type::LAYER_TAR;
use transom_sdk::tar::{Entry, Scanner, Visitor};
use transom_sdk::{Error, Finding, Info, Job, Outcome, Processor, Severity};

use crate::custom::Allowed;
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
    rules: Vec<String>,
    disable: Vec<String>,
    allow: Vec<String>,
}

impl Processor for Secrets {
    fn describe() -> Info {
        Info::new("secrets", env!("CARGO_PKG_VERSION")).converts(LAYER_TAR, LAYER_TAR)
    }

    fn run(&mut self, job: &Job, input: &mut dyn BufRead, output: &mut dyn Write) -> Result<Outcome, Error> {
        let mut inspector = Inspector::new(&job.config()?)?;
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
    path: Vec<u8>,
    allow: Vec<Allowed>,
    count: u64,
    allowed: u64,
    rules: BTreeSet<String>,
    findings: Vec<Finding>,
}

impl Inspector {
    fn new(config: &Config) -> Result<Self, Error> {
        Ok(Self {
            ignore: config.ignore.iter().map(|pattern| Glob::new(pattern)).collect(),
            refuse: config.refuse,
            stream: Stream::new(custom::rules(&config.rules, &config.disable)?),
            looking: false,
            files: 0,
            report: Report {
                severity: config.severity,
                max_findings: config.max_findings as usize,
                path: Vec::new(),
                allow: Allowed::list(&config.allow)?,
                count: 0,
                allowed: 0,
                rules: BTreeSet::new(),
                findings: Vec::new(),
            },
        })
    }

    fn conclude(self) -> Outcome {
        let Report {
            count,
            allowed,
            rules,
            findings,
            ..
        } = self.report;
        let listed = listed(&findings);
        let mut outcome = Outcome {
            findings,
            ..Outcome::default()
        }
        .annotate("dev.transom.secrets.count", count)
        .annotate("dev.transom.secrets.files", self.files);
        if allowed > 0 {
            outcome = outcome.annotate("dev.transom.secrets.allowed", allowed);
        }
        if count > 0 {
            let rules: Vec<String> = rules.into_iter().collect();
            outcome = outcome
                .annotate("dev.transom.secrets.rules", rules.join(","))
                .annotate("dev.transom.secrets.findings", listed);
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
            self.report.path.clear();
            self.report.path.extend_from_slice(path);
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
        if self
            .allow
            .iter()
            .any(|allowed| allowed.covers(&rule.name, &self.path))
        {
            self.allowed += 1;
            return;
        }
        self.count += 1;
        if !self.rules.contains(&*rule.name) {
            self.rules.insert(rule.name.clone().into_owned());
        }
        if self.findings.len() < self.max_findings {
            self.findings.push(Finding {
                severity: rule.severity,
                rule: rule.name.clone().into_owned(),
                location: format!("{}:+{offset}", shorten(&String::from_utf8_lossy(&self.path))),
                message: rule.message.clone().into_owned(),
            });
        }
    }
}

/// The first findings, a line each: who reads annotations only need not ask again. As long as hosts take texts.
fn listed(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { rule, location, .. } in findings {
        if text.len() + rule.len() + location.len() > 4000 {
            break;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("{rule} {location}"));
    }
    text
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
