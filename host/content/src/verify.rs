//! Hashing what is there, to find what a disk or a power cut damaged.

use std::io::{self, Read};

use transom_oci::Digest;

use crate::{Error, Store, limits};

/// What [`Verify`] found of one blob.
#[derive(Debug)]
pub struct Checked {
    /// The blob's name.
    pub digest: Digest,
    /// The bytes it has; 0 if it is missing or unreadable.
    pub size: u64,
    /// What is wrong with it; `None` if it is whole.
    pub damage: Option<Damage>,
}

/// What can be wrong with a blob. The cure is the same for all: delete it and fetch it again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// It is not there.
    #[error("missing")]
    Missing,
    /// It has no bytes, but should: what a power cut leaves of data that was not synced.
    #[error("empty, as a power cut leaves it")]
    Empty,
    /// Its bytes have another digest.
    #[error("its bytes have digest {actual}")]
    Differs {
        /// The digest of its bytes.
        actual: Digest,
    },
    /// It cannot be read.
    #[error("unreadable: {0}")]
    Unreadable(#[source] io::Error),
}

/// Hashes blobs, one per step; see [`Store::verify`] and [`Store::verify_all`]. Gives whole and damaged ones alike; an
/// error only if the blobs cannot be listed.
pub struct Verify {
    store: Store,
    digests: Box<dyn Iterator<Item = Result<Digest, Error>> + Send>,
}

impl Verify {
    pub(crate) fn new(
        store: Store,
        digests: impl Iterator<Item = Result<Digest, Error>> + Send + 'static,
    ) -> Verify {
        Verify {
            store,
            digests: Box::new(digests),
        }
    }

    /// Goes on to the first damaged blob; `None` if all are whole.
    ///
    /// # Errors
    /// [`Error::Io`] if the blobs cannot be listed.
    pub fn first_bad(&mut self) -> Result<Option<Checked>, Error> {
        self.find(|checked| checked.as_ref().map_or(true, |checked| checked.damage.is_some()))
            .transpose()
    }
}

impl Iterator for Verify {
    type Item = Result<Checked, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.digests.next()?.map(|digest| check(&self.store, digest)))
    }
}

impl std::fmt::Debug for Verify {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verify")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

fn check(store: &Store, digest: Digest) -> Checked {
    let blob = match store.reader(&digest) {
        Ok(blob) => blob,
        Err(Error::NotFound { .. }) => {
            return Checked {
                digest,
                size: 0,
                damage: Some(Damage::Missing),
            };
        }
        Err(e) => {
            return Checked {
                digest,
                size: 0,
                damage: Some(Damage::Unreadable(e.into())),
            };
        }
    };
    let size = blob.size();
    let mut reader = blob.verifying();
    let damage = match drain(&mut reader) {
        Ok(()) => None,
        Err(_) if reader.seen() == 0 && size == 0 => Some(Damage::Empty),
        Err(e) => Some(match e.downcast::<Error>() {
            Ok(Error::Corrupt { actual, .. }) => Damage::Differs { actual },
            Ok(other) => Damage::Unreadable(other.into()),
            Err(e) => Damage::Unreadable(e),
        }),
    };
    Checked { digest, size, damage }
}

fn drain(reader: &mut impl Read) -> io::Result<()> {
    let mut buffer = vec![0; limits::REHASH_CHUNK];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}
