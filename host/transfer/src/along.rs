//! A layer that may be unpacked while it is still being written.

use transom_content::Partial;
use transom_diff::ahead::{Ahead, Guess};
use transom_diff::limits::AHEAD_FROM_BYTES;
use transom_layer::native::may_be_layer;
use transom_oci::Digest;

use crate::arriving::Arriving;

/// Bytes that tell a layer from other things.
const FIRST_BYTES: usize = 512;

/// A blob that is being written. Dropping it before its commit throws away what was unpacked.
#[derive(Debug)]
pub struct Along {
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nobody unpacks it.
    No,
    /// Nobody unpacks it yet.
    Undecided(Ahead),
    /// It is being unpacked, until this is dropped.
    Unpacking(Arriving, Guess),
}

impl Along {
    /// A blob of which nothing is written; without `ahead` it will not be unpacked.
    #[must_use]
    pub fn new(ahead: Option<Ahead>) -> Along {
        Along {
            state: ahead.map_or(State::No, State::Undecided),
        }
    }

    /// So many bytes of `total` are written; `partial` is asked for them once it is to be decided what the blob is.
    pub fn written(&mut self, bytes: u64, total: u64, partial: impl FnOnce() -> Option<Partial>) {
        match &self.state {
            State::No => {}
            State::Unpacking(arriving, _) => arriving.written(bytes),
            State::Undecided(_) if total < AHEAD_FROM_BYTES || is_late(bytes, total) => self.lost(),
            State::Undecided(ahead) if bytes < FIRST_BYTES as u64 || !ahead.has_place() => {}
            State::Undecided(ahead) => self.state = begun(ahead, bytes, total, partial()),
        }
    }

    /// The blob is whole, and its digest right.
    pub fn committed(&mut self, digest: &Digest) {
        if let State::Unpacking(arriving, guess) = std::mem::replace(&mut self.state, State::No) {
            guess.committed(digest);
            arriving.whole();
        }
    }

    /// What was written does not count any more.
    pub fn lost(&mut self) {
        self.state = State::No;
    }
}

/// Whoever has not begun by then would only be in the way.
fn is_late(bytes: u64, total: u64) -> bool {
    bytes > total / 2 && bytes > 4 * AHEAD_FROM_BYTES
}

/// Begins with a layer, if there is a place for it; it is asked again until it is late.
fn begun(ahead: &Ahead, bytes: u64, total: u64, partial: Option<Partial>) -> State {
    let mut first = [0; FIRST_BYTES];
    let read = partial.as_ref().map(|partial| partial.read_at(&mut first, 0));
    let Some((partial, Ok(read))) = partial.zip(read) else {
        return State::No;
    };
    if !may_be_layer(&first[..read]) {
        return State::No;
    }
    let arriving = Arriving::new(partial, bytes);
    match ahead.begin(total, |cancel| Box::new(arriving.reader(cancel))) {
        Some(guess) => State::Unpacking(arriving, guess),
        None => State::Undecided(ahead.clone()),
    }
}
