//! Passwords that bcrypt has checked, remembered for a short time and never as such.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use ring::hmac;
use ring::rand::SystemRandom;

use crate::auth::limits;

/// What stands for a name, a password and the hash it was checked against: an HMAC with a key of this process only. So nobody
/// who sees the memory finds a password faster than by the file, and a new hash in the file makes the old entry useless.
pub(super) type Tag = [u8; 32];

pub(super) struct Verified {
    key: hmac::Key,
    until: Mutex<HashMap<Tag, Instant>>,
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").finish_non_exhaustive()
    }
}

impl Verified {
    pub(super) fn new() -> Verified {
        #[allow(
            clippy::expect_used,
            reason = "a machine without random numbers cannot keep a secret"
        )]
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .expect("the system has random numbers");
        Verified {
            key,
            until: Mutex::default(),
        }
    }

    pub(super) fn tag(&self, name: &str, password: &str, hash: &str) -> Tag {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [name, password, hash] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut tag = Tag::default();
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }

    pub(super) fn knows(&self, tag: &Tag, now: Instant) -> bool {
        let until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.get(tag).is_some_and(|until| *until > now)
    }

    pub(super) fn remember(&self, tag: Tag, now: Instant) {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.len() >= limits::VERIFIED {
            until.retain(|_, until| *until > now);
        }
        // Still full: the oldest half goes, so that this is not done for each.
        if until.len() >= limits::VERIFIED {
            let mut times: Vec<Instant> = until.values().copied().collect();
            let (_, middle, _) = times.select_nth_unstable(limits::VERIFIED / 2);
            let middle = *middle;
            until.retain(|_, until| *until > middle);
        }
        until.insert(tag, now + limits::VERIFIED_FOR);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_forgets_in_time_and_stays_small() {
        let verified = Verified::new();
        let start = Instant::now();
        let tag = |number: usize| verified.tag("u", &number.to_string(), "h");
        verified.remember(tag(0), start);
        assert!(verified.knows(&tag(0), start));
        assert!(!verified.knows(&tag(1), start));
        assert!(!verified.knows(&tag(0), start + limits::VERIFIED_FOR));
        for number in 0..3 * limits::VERIFIED {
            let now = start + Duration::from_millis(number as u64);
            verified.remember(tag(number), now);
            assert!(verified.knows(&tag(number), now));
        }
        assert!(verified.until.lock().unwrap().len() <= limits::VERIFIED);
    }

    #[test]
    fn parts_cannot_flow_into_each_other() {
        let verified = Verified::new();
        assert_ne!(verified.tag("ab", "c", "h"), verified.tag("a", "bc", "h"));
        assert_ne!(verified.tag("a", "b", "h"), verified.tag("a", "b", "i"));
        assert_ne!(verified.tag("a", "b", "h"), Verified::new().tag("a", "b", "h"));
    }
}
