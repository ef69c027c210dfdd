//! Counts what passes: bytes, entries by kind, and bytes of content, reported as annotations of the layer.
//!
//! It changes nothing and looks at headers only, so that it costs next to nothing.

use std::io::{BufRead, Write};

use transom_sdk::media_type::LAYER_TAR;
use transom_sdk::tar::{Entry, Scanner, Visitor};
use transom_sdk::{Error, Info, Job, Outcome, Processor};

/// The processor. See `plugin.toml`.
#[derive(Debug, Default)]
pub struct Count {
    bytes: u64,
    tally: Tally,
}

/// What the headers said.
#[derive(Debug, Default)]
struct Tally {
    files: u64,
    folders: u64,
    links: u64,
    others: u64,
    content: u64,
}

impl Visitor for Tally {
    fn entry(&mut self, entry: &Entry) {
        match entry.kind {
            b'0' | b'7' | b'S' => self.files += 1,
            b'1' | b'2' => self.links += 1,
            b'5' => self.folders += 1,
            _ => self.others += 1,
        }
        self.content += entry.size;
    }
}

impl Processor for Count {
    fn describe() -> Info {
        Info::new("count", env!("CARGO_PKG_VERSION")).converts(LAYER_TAR, LAYER_TAR)
    }

    fn run(&mut self, _job: &Job, input: &mut dyn BufRead, output: &mut dyn Write) -> Result<Outcome, Error> {
        let mut scanner = Scanner::new();
        loop {
            let chunk = input.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            scanner.feed(chunk, &mut self.tally)?;
            output.write_all(chunk)?;
            let length = chunk.len();
            self.bytes += length as u64;
            input.consume(length);
        }
        scanner.finish()?;
        let Tally {
            files,
            folders,
            links,
            others,
            content,
        } = self.tally;
        Ok(Outcome::default()
            .annotate("dev.transom.count.bytes", self.bytes)
            .annotate("dev.transom.count.content-bytes", content)
            .annotate("dev.transom.count.entries", files + folders + links + others)
            .annotate("dev.transom.count.files", files)
            .annotate("dev.transom.count.folders", folders)
            .annotate("dev.transom.count.links", links))
    }
}

transom_sdk::register_processor!(Count);
