//! One file for each noun, and what several of them need.

pub(crate) mod content;
pub(crate) mod diff;
pub(crate) mod driver;
pub(crate) mod events;
pub(crate) mod fsck;
pub(crate) mod gc;
pub(crate) mod generate;
pub(crate) mod image;
pub(crate) mod inspect;
pub(crate) mod lease;
pub(crate) mod namespace;
pub(crate) mod plugin;
pub(crate) mod registry;
pub(crate) mod report;
pub(crate) mod snapshot;
pub(crate) mod unpack;
pub(crate) mod version;

use std::ffi::OsStr;
use std::io::{self, Write};

use serde::Serialize;
use transom_image::reference::Location;
use transom_image::{OpenOptions, Reference, Selector, Source};

use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::places;

/// Opens the image that was named, reading stdin if it is `-`.
fn open_image(argument: &OsStr, interrupt: &Interrupt) -> Result<(Source, Selector), Failure> {
    let reference = Reference::parse(argument)?;
    let folder = places::temporary();
    let progress = |_| interrupt.flow();
    let options = OpenOptions {
        progress: Some(&progress),
        ..OpenOptions::new(&folder)
    };
    let opened = match reference.location {
        Location::Stdin => Source::open(&reference, &mut interrupt.stdin(), &options),
        Location::Path(_) => Source::open(&reference, &mut io::empty(), &options),
    };
    match opened {
        Err(_) if interrupt.is_requested() => Err(Failure::interrupted()),
        opened => Ok((opened?, reference.selector)),
    }
}

/// Writes a result to stdout. That nobody reads it any more is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::io("cannot write to stdout", &error))
        }
        _ => Ok(()),
    }
}

/// Writes a document as one line of JSON.
fn print_json(document: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(document)
        .map_err(|error| Failure::io("cannot write the result as JSON", &io::Error::other(error)))?;
    print(&format!("{text}\n"))
}

/// Does the same to each; what cannot be done to one is done to the others still, and said. The first failure decides the exit
/// code.
async fn each<T>(things: &[T], mut work: impl AsyncFnMut(&T) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut first: Option<Failure> = None;
    for thing in things {
        match work(thing).await {
            Ok(()) => {}
            Err(failure) if first.is_none() => first = Some(failure),
            Err(failure) => eprintln!("transom: {}", failure.message()),
        }
    }
    first.map_or(Ok(()), Err)
}
