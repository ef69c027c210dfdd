//! Counts the files of each layer as it passes.

use std::io::{BufRead, Write};

use transom_sdk::media_type::LAYER_TAR;
use transom_sdk::tar::{Entry, Scanner, Visitor};
use transom_sdk::{Error, Info, Job, Outcome, Processor};

/// The processor. The host makes a fresh one for every layer.
#[derive(Debug, Default)]
pub struct {type} {
    files: u64,
}

impl Visitor for {type} {
    fn entry(&mut self, entry: &Entry) {
        // b'0' is a file, b'5' a folder and so on.
        self.files += u64::from(entry.kind == b'0');
    }
}

impl Processor for {type} {
    fn describe() -> Info {
        // It returns the type that it accepts, so it sees every layer: an inspector.
        Info::new("{name}", env!("CARGO_PKG_VERSION")).converts(LAYER_TAR, LAYER_TAR)
    }

    fn run(&mut self, _job: &Job, input: &mut dyn BufRead, output: &mut dyn Write) -> Result<Outcome, Error> {
        let mut scanner = Scanner::new();
        loop {
            let chunk = input.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            scanner.feed(chunk, self)?;
            output.write_all(chunk)?;
            let length = chunk.len();
            input.consume(length);
        }
        scanner.finish()?;
        Ok(Outcome::default().annotate("com.example.{name}.files", self.files))
    }
}

transom_sdk::register_processor!({type});

#[cfg(test)]
mod tests {
    use super::*;
    use transom_sdk::testing::Harness;

    #[test]
    fn an_empty_layer_has_no_files() {
        let run = Harness::new().run::<{type}>(&[0; 1024]);
        assert_eq!(run.outcome().annotations["com.example.{name}.files"], "0");
        assert_eq!(run.output, [0; 1024]);
        Harness::new().assert_chunking_invariant::<{type}>(&[0; 1024]);
    }
}
