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
//! A label filter is two traits, [`Filter`] and [`Matcher`], and one line, [`register_filter!`]: it understands expressions in
//! a language of its own, and says which records of a list match one.
//!
//! ```
//! use transom_sdk::{Error, Filter, FilterInfo, Matcher, Record};
//!
//! /// Records of at least so many bytes: `wasm.larger==1000000`.
//! pub struct Larger;
//!
//! impl Filter for Larger {
//!     type Matcher = Least;
//!
//!     fn describe() -> FilterInfo {
//!         FilterInfo::new("larger", "0.1.0", "1000000")
//!     }
//!
//!     fn compile(expression: &str) -> Result<Least, Error> {
//!         let bytes = expression.trim().parse();
//!         bytes.map(Least).map_err(|error| Error::Other(format!("a number of bytes is wanted: {error}")))
//!     }
//! }
//!
//! pub struct Least(u64);
//!
//! impl Matcher for Least {
//!     fn matches(&self, record: &Record<'_>) -> Result<bool, Error> {
//!         Ok(record.size().is_some_and(|size| size >= self.0))
//!     }
//! }
//!
//! transom_sdk::register_filter!(Larger);
//!
//! // And in its tests:
//! use transom_sdk::testing::TestRecord;
//!
//! assert!(TestRecord::new("content").size(2000).matches::<Larger>("1000").unwrap());
//! assert!(!TestRecord::new("lease").matches::<Larger>("1000").unwrap());
//! assert!(TestRecord::new("content").matches::<Larger>("many").is_err());
//! ```
//!
//! A storage driver is the trait [`storage::Store`] for its calls, [`storage::Driver`] for how it begins, and one line,
//! [`register_driver!`]. One that stands on another and changes its bytes is a [`storage::Codec`] in a [`storage::Transform`], which does
//! the rest: [`storage`] has a complete one.
//!
//! Read `processor.rs` first (the trait and its words), `filter.rs` or `storage.rs`, then `error.rs`, `config.rs`, `guest.rs` (how it meets the host) and
//! `testing.rs`. `tar.rs` is a helper for inspectors that look into the tar as it passes, `decode.rs` for those that decompress, `keys.rs` for those that decrypt, `documents.rs` for
//! those that report more than annotations hold.

pub mod decode;
pub mod documents;
pub mod keys;
pub mod media_type;
pub mod storage;
pub mod tar;
pub mod testing;

mod config;
mod error;
mod filter;
#[doc(hidden)]
pub mod guest;
mod processor;

pub use config::{Config, ConfigValue};
pub use error::{Error, IoError};
pub use filter::{Filter, FilterInfo, Instant, Matcher, Pairs, Record};
pub use log;
pub use processor::{
    Conversion, Descriptor, Finding, Info, Job, Outcome, Payload, Processor, Severity, Verdict,
};
