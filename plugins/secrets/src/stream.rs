//! The content of one file after another, in chunks of any size.
//!
//! A candidate is judged only when [`LOOKAHEAD`] bytes behind its start are there, or the file has ended. Bytes that wait for
//! more are kept; all others are looked at where they are.

use crate::rules::{LOOKAHEAD, Rule};
use crate::search::Search;

/// What is found is told here: the rule and the offset in the file.
pub(crate) type Found<'a> = &'a mut dyn FnMut(&Rule, u64);

/// Looks through a file.
#[derive(Debug)]
pub(crate) struct Stream {
    search: Search,
    /// Bytes that were not judged yet.
    tail: Vec<u8>,
    /// Where the tail starts in the file.
    offset: u64,
    /// The byte before the tail.
    before: Option<u8>,
}

impl Stream {
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        Self {
            search: Search::new(rules),
            tail: Vec::with_capacity(8 * LOOKAHEAD),
            offset: 0,
            before: None,
        }
    }

    /// Takes the next bytes of the file.
    pub(crate) fn feed(&mut self, chunk: &[u8], found: Found<'_>) {
        if chunk.len() <= LOOKAHEAD {
            self.tail.extend_from_slice(chunk);
            if self.tail.len() > 4 * LOOKAHEAD {
                let judged = self.tail.len() - LOOKAHEAD;
                self.judge_tail(judged, found);
            }
            return;
        }
        if !self.tail.is_empty() {
            let judged = self.tail.len();
            self.tail.extend_from_slice(&chunk[..LOOKAHEAD]);
            self.judge_tail(judged, found);
            self.tail.clear();
        }
        let judged = chunk.len() - LOOKAHEAD;
        judge(&self.search, chunk, judged, self.before, self.offset, found);
        self.before = Some(chunk[judged - 1]);
        self.offset += judged as u64;
        self.tail.extend_from_slice(&chunk[judged..]);
    }

    /// The file is complete; the next bytes are another's.
    pub(crate) fn finish(&mut self, found: Found<'_>) {
        judge(
            &self.search,
            &self.tail,
            self.tail.len(),
            self.before,
            self.offset,
            found,
        );
        self.tail.clear();
        self.offset = 0;
        self.before = None;
    }

    /// Judges the first bytes of the tail and lets them go.
    fn judge_tail(&mut self, judged: usize, found: Found<'_>) {
        judge(&self.search, &self.tail, judged, self.before, self.offset, found);
        self.before = Some(self.tail[judged - 1]);
        self.offset += judged as u64;
        self.tail.drain(..judged);
    }
}

fn judge(search: &Search, bytes: &[u8], limit: usize, before: Option<u8>, offset: u64, found: Found<'_>) {
    search.each(bytes, limit, |start, rule| {
        let before = if start == 0 {
            before
        } else {
            Some(bytes[start - 1])
        };
        if rule.fits(before, &bytes[start..]) {
            found(rule, offset + start as u64);
        }
    });
}
