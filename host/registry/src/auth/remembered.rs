//! What was found out about passwords and tokens, remembered for a short time and never under the secret itself.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use ring::hmac;
use ring::rand::SystemRandom;

use super::limits;

/// What stands for a secret and what it was checked against: an HMAC with a key of this process only. So nobody who sees the
/// memory finds a password faster than by the file, and what it was checked against cannot change unnoticed.
pub(super) type Tag = [u8; 32];

/// Values under tags.
pub(super) struct Remembered<V> {
    key: hmac::Key,
    values: Mutex<HashMap<Tag, (V, Instant)>>,
}

impl<V> fmt::Debug for Remembered<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remembered").finish_non_exhaustive()
    }
}

impl<V: Clone> Remembered<V> {
    pub(super) fn new() -> Remembered<V> {
        #[allow(
            clippy::expect_used,
            reason = "a machine without random numbers cannot keep a secret"
        )]
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .expect("the system has random numbers");
        Remembered {
            key,
            values: Mutex::default(),
        }
    }

    /// The tag of all these parts, in this order.
    pub(super) fn tag(&self, parts: &[&[u8]]) -> Tag {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut tag = Tag::default();
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }

    pub(super) fn find(&self, tag: &Tag, now: Instant) -> Option<V> {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let (value, until) = values.get(tag)?;
        (*until > now).then(|| value.clone())
    }

    pub(super) fn remember(&self, tag: Tag, value: V, now: Instant) {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        if values.len() >= limits::REMEMBERED {
            values.retain(|_, (_, until)| *until > now);
        }
        // Still full: the oldest half goes, so that this is not done for each.
        if values.len() >= limits::REMEMBERED {
            let mut times: Vec<Instant> = values.values().map(|(_, until)| *until).collect();
            let (_, middle, _) = times.select_nth_unstable(limits::REMEMBERED / 2);
            let middle = *middle;
            values.retain(|_, (_, until)| *until > middle);
        }
        values.insert(tag, (value, now + limits::REMEMBERED_FOR));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_forgets_in_time_and_stays_small() {
        let remembered = Remembered::new();
        let start = Instant::now();
        let tag = |number: usize| remembered.tag(&[&number.to_be_bytes()]);
        remembered.remember(tag(0), 7, start);
        assert_eq!(remembered.find(&tag(0), start), Some(7));
        assert_eq!(remembered.find(&tag(1), start), None);
        assert_eq!(remembered.find(&tag(0), start + limits::REMEMBERED_FOR), None);
        for number in 0..3 * limits::REMEMBERED {
            let now = start + Duration::from_millis(number as u64);
            remembered.remember(tag(number), number, now);
            assert_eq!(remembered.find(&tag(number), now), Some(number));
        }
        assert!(remembered.values.lock().unwrap().len() <= limits::REMEMBERED);
    }

    #[test]
    fn parts_cannot_flow_into_each_other() {
        let remembered = Remembered::<()>::new();
        assert_ne!(remembered.tag(&[b"ab", b"c"]), remembered.tag(&[b"a", b"bc"]));
        assert_ne!(remembered.tag(&[b"a", b"b"]), remembered.tag(&[b"a", b"b", b""]));
        assert_ne!(remembered.tag(&[b"a"]), Remembered::<()>::new().tag(&[b"a"]));
    }
}
