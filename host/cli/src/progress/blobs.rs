//! A bar for each blob of an image that is on its way.

use std::collections::HashMap;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget};

use super::{Bars, style};
use crate::arguments::Progress;

/// Characters of a digest, or of another name, that are shown.
const SHORT: usize = 12;

/// How a bar is drawn.
const TEMPLATE: &str =
    "{msg} {wide_bar} {decimal_bytes:>10} of {decimal_total_bytes:<10} {decimal_bytes_per_sec:>12}";

/// Bars by the names of blobs.
#[derive(Debug)]
pub(crate) struct BlobBars {
    all: Option<MultiProgress>,
    bars: HashMap<String, ProgressBar>,
}

impl BlobBars {
    pub(crate) fn new(how: Progress) -> BlobBars {
        let shown = Bars::new(how).shown;
        BlobBars {
            all: shown.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr())),
            bars: HashMap::new(),
        }
    }

    /// Something happens to a blob: `done` of its `total` bytes are done. Bytes that were there when it was first heard of
    /// do not count for its rate.
    pub(crate) fn tell(&mut self, name: &str, event: &str, done: u64, total: u64) {
        let Some(all) = &self.all else { return };
        let bar = self.bars.entry(name.to_owned()).or_insert_with(|| {
            let bar = all.add(ProgressBar::new(total).with_style(style(TEMPLATE)));
            bar.set_position(done);
            bar.reset_eta();
            bar
        });
        bar.set_message(format!("{} {:<14}", short(name), clean(event, event.len())));
        match event {
            "complete" | "already exists" | "extracted" => {
                bar.set_position(total);
                bar.finish();
            }
            _ => bar.set_position(done),
        }
    }
}

impl Drop for BlobBars {
    fn drop(&mut self) {
        if let Some(all) = &self.all {
            // What is said of the whole in the end is enough.
            drop(all.clear());
        }
    }
}

/// `layer-sha256:0123…` as it is shown: the kind, and the beginning of the digest.
fn short(name: &str) -> String {
    let (kind, digest) = name.split_once('-').unwrap_or(("", name));
    let hex = digest.rsplit(':').next().unwrap_or(digest);
    format!("{:<8} {}", clean(kind, SHORT), clean(hex, SHORT))
}

/// The beginning of a daemon's text, without what could move a cursor.
fn clean(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shown_by_its_kind_and_the_beginning_of_its_digest() {
        let digest = "0123456789abcdef".repeat(4);
        assert_eq!(short(&format!("layer-sha256:{digest}")), "layer    0123456789ab");
        assert_eq!(short("\u{1b}x-\u{1b}y"), "x        y");
    }
}
