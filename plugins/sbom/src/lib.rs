//! Writes a bill of materials of the packages in a layer, as the layer passes: those of dpkg, apk and rpm, and those of programming
//! languages by their lock files and by what is installed.
//!
//! `collect.rs` keeps the few files that say so and hands each to its reader: `dpkg.rs`, `apk.rs`, `rpm.rs` (over `rpm/`: SQLite and ndb),
//! `languages.rs` (over `languages/`). All give [`package::Package`]s. `format.rs` (over `format/`) writes the document. The layer itself
//! passes unchanged, and a database that cannot be read is a finding, not an error.

mod apk;
mod collect;
mod distribution;
mod dpkg;
mod fields;
mod format;
mod languages;
mod package;
mod rpm;

use std::io::{BufRead, Write};

use transom_sdk::media_type::LAYER_TAR;
use transom_sdk::tar::Scanner;
use transom_sdk::{Error, Info, Job, Outcome, Processor};

use crate::collect::Collector;
use crate::format::Format;

/// The processor. See `plugin.toml`.
#[derive(Debug, Default)]
pub struct Sbom;

#[derive(serde::Deserialize)]
struct Config {
    format: String,
    languages: bool,
    created: String,
}

impl Processor for Sbom {
    fn describe() -> Info {
        Info::new("sbom", env!("CARGO_PKG_VERSION")).converts(LAYER_TAR, LAYER_TAR)
    }

    fn run(&mut self, job: &Job, input: &mut dyn BufRead, output: &mut dyn Write) -> Result<Outcome, Error> {
        let config: Config = job.config()?;
        let format = Format::new(&config.format, config.created)?;
        let mut collector = Collector::new(config.languages);
        let mut scanner = Scanner::new();
        loop {
            let chunk = input.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            scanner.feed(chunk, &mut collector)?;
            output.write_all(chunk)?;
            let length = chunk.len();
            input.consume(length);
        }
        scanner.finish()?;
        let found = collector.conclude();
        let mut outcome = Outcome::default()
            .annotate("dev.transom.sbom.packages", found.packages.len())
            .annotate("dev.transom.sbom.format", format.name());
        outcome.findings.extend(found.findings.iter().cloned());
        // Most layers of an image have no database, and then there is nothing to say.
        if !found.packages.is_empty() {
            format.write(&job.descriptor.digest, &found)?;
        }
        Ok(outcome)
    }
}

transom_sdk::register_processor!(Sbom);
