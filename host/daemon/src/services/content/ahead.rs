//! A layer that may be unpacked while a client still writes it.

use transom_diff::ahead::{Ahead, Guess};
use transom_diff::limits::AHEAD_FROM_BYTES;
use transom_layer::native::may_be_layer;
use transom_oci::Digest;
use transom_transfer::arriving::Arriving;

use super::ingest::Ingest;

/// What containerd's clients begin the refs of layers with, when they pull (`layer-sha256:…`) and when they import (`tar-…`): these are
/// mostly unpacked next. What else is written, such as a build's cache, is not.
const REFS: [&str; 2] = ["layer-", "tar-"];

/// Bytes that tell a layer from other things.
const FIRST_BYTES: usize = 512;

/// A write stream's layer.
#[derive(Debug)]
pub(super) enum Along {
    /// Nobody unpacks it.
    No,
    /// Nobody unpacks it yet.
    Undecided(Ahead),
    /// It is being unpacked, until this is dropped.
    Unpacking(Arriving, Guess),
}

impl Along {
    /// A stream that writes under a ref.
    pub(super) fn new(ahead: Option<Ahead>, reference: &str) -> Along {
        match ahead {
            Some(ahead) if REFS.iter().any(|start| reference.starts_with(start)) => Along::Undecided(ahead),
            _ => Along::No,
        }
    }

    /// So many bytes of `total` are in the ingest.
    pub(super) fn written(&mut self, ingest: &Ingest, bytes: u64, total: u64) {
        if let Along::Undecided(ahead) = self {
            if total < AHEAD_FROM_BYTES {
                *self = Along::No;
            } else if bytes >= FIRST_BYTES as u64 {
                let ahead = ahead.clone();
                self.begin(&ahead, ingest, bytes, total);
            }
        }
        if let Along::Unpacking(arriving, _) = self {
            arriving.written(bytes);
        }
    }

    fn begin(&mut self, ahead: &Ahead, ingest: &Ingest, bytes: u64, total: u64) {
        // Whoever has not begun by then would only be in the way.
        let is_late = bytes > total / 2 && bytes > 4 * AHEAD_FROM_BYTES;
        let partial = if is_late {
            None
        } else {
            ingest.partial().ok().flatten()
        };
        let mut first = [0; FIRST_BYTES];
        let read = partial.as_ref().map(|partial| partial.read_at(&mut first, 0));
        let Some((partial, Ok(read))) = partial.zip(read) else {
            *self = Along::No;
            return;
        };
        if !may_be_layer(&first[..read]) {
            *self = Along::No;
            return;
        }
        let arriving = Arriving::new(partial, bytes);
        let guess = ahead.begin(total, |cancel| Box::new(arriving.reader(cancel)));
        if let Some(guess) = guess {
            *self = Along::Unpacking(arriving, guess);
        }
    }

    /// The blob is whole, and its digest right.
    pub(super) fn committed(&mut self, digest: &Digest) {
        if let Along::Unpacking(arriving, guess) = std::mem::replace(self, Along::No) {
            guess.committed(digest);
            arriving.whole();
        }
    }

    /// What was written does not count any more.
    pub(super) fn lost(&mut self) {
        *self = Along::No;
    }
}
