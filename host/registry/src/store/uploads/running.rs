//! What is known in memory of uploads: the running hash, and whether a request works on one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use transom_oci::{Algorithm, Hasher};

use super::UploadId;
use crate::limits;
use crate::names::RepositoryName;

/// Which upload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::store) struct Key(RepositoryName, UploadId);

impl Key {
    pub(in crate::store) fn new(repository: &RepositoryName, id: UploadId) -> Key {
        Key(repository.clone(), id)
    }
}

/// The uploads that this process knows of.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct Running(Arc<Mutex<HashMap<Key, Slot>>>);

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all of them wait")]
enum Slot {
    /// A request works on it.
    Taken,
    /// Nobody does; the hash of its first bytes.
    Waiting {
        hasher: Hasher,
        size: u64,
        since: Instant,
    },
}

/// An upload that a request works on. Others are refused until this is dropped.
#[derive(Debug)]
pub(in crate::store) struct Taken {
    running: Running,
    key: Key,
    /// The hash of all bytes; `None` if it was lost.
    pub(super) hasher: Option<Hasher>,
    /// How many bytes were hashed.
    pub(super) size: u64,
}

impl Running {
    /// A new upload.
    pub(in crate::store) fn begin(&self, key: Key, algorithm: Algorithm) -> Taken {
        self.lock().insert(key.clone(), Slot::Taken);
        Taken {
            running: self.clone(),
            key,
            hasher: Some(Hasher::new(algorithm)),
            size: 0,
        }
    }

    /// An upload to go on with; `None` if another request works on it.
    pub(in crate::store) fn take(&self, key: Key) -> Option<Taken> {
        let mut slots = self.lock();
        let (hasher, size) = match slots.insert(key.clone(), Slot::Taken) {
            Some(Slot::Taken) => return None,
            Some(Slot::Waiting { hasher, size, .. }) => (Some(hasher), size),
            None => (None, 0),
        };
        Some(Taken {
            running: self.clone(),
            key,
            hasher,
            size,
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// The driver has so many bytes. If others were hashed, the hash is worth nothing.
    pub(super) fn fit(&mut self, size: u64) {
        if self.size != size {
            self.hasher = None;
        }
        if size == 0 && self.hasher.is_none() {
            self.hasher = Some(Hasher::new(Algorithm::Sha256));
        }
        self.size = size;
    }

    /// Keeps the hash for the next request.
    pub(super) fn keep(mut self) {
        self.put_back();
    }

    /// There is nothing to go on with.
    pub(super) fn forget(&mut self) {
        self.hasher = None;
    }

    fn put_back(&mut self) {
        let mut slots = self.running.lock();
        slots.remove(&self.key);
        let Some(hasher) = self.hasher.take() else {
            return;
        };
        if slots.len() >= limits::UPLOADS_HASHED {
            drop_oldest(&mut slots);
        }
        let (size, since) = (self.size, Instant::now());
        slots.insert(self.key.clone(), Slot::Waiting { hasher, size, since });
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.put_back();
    }
}

/// Makes room: nine in ten stay, so that it happens rarely.
fn drop_oldest(slots: &mut HashMap<Key, Slot>) {
    let mut times: Vec<Instant> = slots
        .values()
        .filter_map(|slot| match slot {
            Slot::Waiting { since, .. } => Some(*since),
            Slot::Taken => None,
        })
        .collect();
    let tenth = times.len() / 10;
    if times.is_empty() {
        return;
    }
    let (_, &mut limit, _) = times.select_nth_unstable(tenth);
    slots.retain(|_, slot| !matches!(slot, Slot::Waiting { since, .. } if *since <= limit));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_at_a_time() {
        let running = Running::default();
        let key = Key::new(&RepositoryName::new("a").unwrap(), UploadId::new());
        let mut taken = running.begin(key.clone(), Algorithm::Sha512);
        assert!(running.take(key.clone()).is_none());
        taken.hasher.as_mut().unwrap().update(b"abc");
        taken.size = 3;
        drop(taken);
        let mut taken = running.take(key.clone()).unwrap();
        taken.fit(3);
        assert_eq!(taken.hasher.as_ref().unwrap().algorithm(), Algorithm::Sha512);
        taken.fit(2);
        assert!(taken.hasher.is_none());
        drop(taken);
        assert!(running.lock().is_empty());
    }

    #[test]
    fn the_oldest_make_room() {
        let running = Running::default();
        let name = RepositoryName::new("a").unwrap();
        let mut newest = Key::new(&name, UploadId::new());
        for _ in 0..=limits::UPLOADS_HASHED {
            newest = Key::new(&name, UploadId::new());
            drop(running.begin(newest.clone(), Algorithm::Sha256));
        }
        let left = running.lock().len();
        assert!(left > limits::UPLOADS_HASHED / 2 && left < limits::UPLOADS_HASHED);
        assert!(running.take(newest).unwrap().hasher.is_some());
    }
}
