//! Write Transom plugins in Rust.
//!
//! A processor is a stage in the way of a layer's bytes: one trait, [`Processor`], over the standard library's
//! [`BufRead`](std::io::BufRead) and [`Write`](std::io::Write), and one line, [`register_processor!`], that makes a
//! component of it. There is nothing to learn about WebAssembly and no `unsafe` to write. Natively the same crate
//! compiles as ordinary Rust, so its tests are `cargo test` with the [`testing`] harness.
//!
//! ```
//! use std::io::{BufRead, Write};
//! use transom_sdk::{Error, Info, Job, Outcome, Processor};
//!
//! /// Undoes the famous cipher.
//! #[derive(Default)]
//! pub struct Rot13;
//!
//! #[derive(serde::Deserialize)]
//! struct Config {
//!     // Declared under [config] in plugin.toml, with its default.
//!     digits: bool,
//! }
//!
//! impl Processor for Rot13 {
//!     fn describe() -> Info {
//!         Info::new("rot13", "0.1.0")
//!             .converts("application/vnd.example.layer.tar+rot13", transom_sdk::media_type::LAYER_TAR)
//!     }
//!
//!     fn run(&mut self, job: &Job, input: &mut dyn BufRead, output: &mut dyn Write) -> Result<Outcome, Error> {
//!         let config: Config = job.config()?;
//!         let mut chunk = Vec::new();
//!         loop {
//!             let read = input.fill_buf()?;
//!             if read.is_empty() {
//!                 return Ok(Outcome::default());
//!             }
//!             chunk.clear();
//!             chunk.extend(read.iter().map(|byte| match byte {
//!                 b'a'..=b'z' => (byte - b'a' + 13) % 26 + b'a',
//!                 b'A'..=b'Z' => (byte - b'A' + 13) % 26 + b'A',
//!                 b'0'..=b'9' if config.digits => (byte - b'0' + 5) % 10 + b'0',
//!                 other => *other,
//!             }));
//!             let taken = read.len();
//!             output.write_all(&chunk)?;
//!             input.consume(taken);
//!         }
//!     }
//! }
//!
//! transom_sdk::register_processor!(Rot13);
//!
//! // And in its tests:
//! use transom_sdk::testing::{Chunking, Harness};
//!
//! let harness = Harness::new().config("digits", true);
//! let run = harness.run::<Rot13>(b"Uryyb 678");
//! assert_eq!(run.output, b"Hello 123");
//! run.result.expect("no error");
//! harness.assert_chunking_invariant::<Rot13>(b"Uryyb 678");
//! ```
//!
//! Read `processor.rs` first (the trait and its words), then `error.rs`, `config.rs`, `guest.rs` (how it meets the host) and
//! `testing.rs`. `tar.rs` is a helper for inspectors that look into the tar as it passes.

pub mod media_type;
pub mod tar;
pub mod testing;

mod config;
mod error;
#[doc(hidden)]
pub mod guest;
mod processor;

pub use config::{Config, ConfigValue};
pub use error::{Error, IoError};
pub use log;
pub use processor::{
    Conversion, Descriptor, Finding, Info, Job, Outcome, Payload, Processor, Severity, Verdict,
};
