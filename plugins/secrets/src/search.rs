//! Finds where a rule's literal starts, quickly.
//!
//! The method of Wu and Manber: a table tells for each pair of bytes how far the window may jump because no literal has the
//! pair further left. All literals have four bytes or more, so most steps jump three bytes, with one load each. It is
//! few bytes of text are looked at at all.

use crate::rules::Rule;

/// The length of the shortest literal, and of the window.
pub(crate) const SHORTEST: usize = 4;
/// How far the window can jump when its last two bytes are in no literal.
const FARTHEST: u8 = (SHORTEST - 1) as u8;

/// The table.
#[derive(Debug)]
pub(crate) struct Search {
    rules: Vec<Rule>,
    jumps: Box<[u8; 1 << 16]>,
}

impl Search {
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        let mut jumps = Box::new([FARTHEST; 1 << 16]);
        for rule in &rules {
            let window = &rule.literal[..SHORTEST];
            for (at, pair) in window.windows(2).enumerate() {
                let distance = (SHORTEST - 2 - at) as u8;
                let jump = &mut jumps[index(pair[0], pair[1])];
                *jump = distance.min(*jump);
            }
        }
        Self { rules, jumps }
    }

    /// Calls `found` for each literal that starts before `limit` and lies wholly in `bytes`, from left to right.
    pub(crate) fn each(&self, bytes: &[u8], limit: usize, mut found: impl FnMut(usize, &Rule)) {
        // `end` is the last byte of the window.
        let mut end = SHORTEST - 1;
        let limit = limit.saturating_add(SHORTEST - 1).min(bytes.len());
        while end < limit {
            match self.jumps[index(bytes[end - 1], bytes[end])] {
                0 => {
                    let start = end + 1 - SHORTEST;
                    let begins = |rule: &&Rule| bytes[start..].starts_with(&rule.literal);
                    for rule in self.rules.iter().filter(begins) {
                        found(start, rule);
                    }
                    end += 1;
                }
                jump => end += usize::from(jump),
            }
        }
    }
}

fn index(first: u8, second: u8) -> usize {
    usize::from(first) << 8 | usize::from(second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::RULES;

    #[test]
    fn it_finds_what_a_plain_search_finds() {
        // A small alphabet of pieces, so that literals are often cut, overlapped and complete.
        let pieces: [&[u8]; 9] = [
            b"AKIA", b"AKI", b"-----", b"BEGIN ", b"gh", b"p_", b"eyJhbG", b"ci", b"x",
        ];
        let mut seed = 7u64;
        for _ in 0..500 {
            let mut text = Vec::new();
            for _ in 0..40 {
                seed = seed
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                text.extend_from_slice(pieces[(seed >> 33) as usize % pieces.len()]);
            }
            let mut plain = Vec::new();
            for start in 0..text.len() {
                let rules = RULES
                    .iter()
                    .filter(|rule| text[start..].starts_with(&rule.literal));
                plain.extend(rules.map(|rule| (start, rule.literal.clone())));
            }
            let mut quick = Vec::new();
            Search::new(RULES.to_vec()).each(&text, text.len(), |start, rule| {
                quick.push((start, rule.literal.clone()));
            });
            assert_eq!(quick, plain);
        }
    }
}
