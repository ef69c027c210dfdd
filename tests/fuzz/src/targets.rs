//! The targets, by name.

mod chain;
mod filter;
mod image;
mod plugin;
mod request;
mod scan;
mod tar;
mod text;

use std::fs;
use std::path::Path;

use tempfile::TempDir;

pub use self::chain::{MEDIA_TYPES, chain};
pub use self::filter::filter;
pub use self::image::image;
pub use self::plugin::plugin;
pub use self::request::request;
pub use self::scan::scan;
pub use self::tar::tar;
pub use self::text::text;

/// Tries some bytes. What it gives is what came of them in a few words, so that a driver can tell something new from
/// more of the same.
///
/// # Panics
/// When something happened that must not.
pub type Target = fn(&[u8]) -> String;

/// All targets.
pub const ALL: [(&str, Target); 8] = [
    ("tar", tar),
    ("scan", scan),
    ("chain", chain),
    ("image", image),
    ("plugin", plugin),
    ("request", request),
    ("text", text),
    ("filter", filter),
];

/// A folder for temporary files: in memory if there is such a place.
///
/// # Panics
/// When no folder can be made anywhere.
#[must_use]
pub fn temporary() -> TempDir {
    let memory = Path::new("/dev/shm");
    let place = if fs::metadata(memory).is_ok_and(|found| found.is_dir()) {
        tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir())
    } else {
        tempfile::tempdir()
    };
    place.expect("a fuzzer needs a folder to write to")
}

/// What is constant in an error's text: no numbers, no names.
fn shape(error: &dyn std::error::Error) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    let text = root.to_string();
    let last = text.rsplit(": ").next().unwrap_or_default();
    let unquoted: String = last.split(['"', '`']).step_by(2).collect();
    let plain = |c: &char| c.is_ascii_alphabetic() || *c == ' ';
    unquoted.chars().filter(plain).take(80).collect()
}
