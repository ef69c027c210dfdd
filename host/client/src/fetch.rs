//! Blobs from a registry into a content store.
//!
//! What an earlier process left of a blob is taken up again where it ends; a blob that two want at the same time is fetched
//! once; digest and size are the store's to check, and what does not have them is thrown away. Read [`store`] (what a content
//! store has to do), then [`content`] (the one of `transom-content`).

pub mod content;
pub mod store;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use transom_oci::{Descriptor, Digest, media_type};

use crate::registry::Remote;
use crate::{Error, limits};
pub use content::{Follow, Followed, Follower};
pub use store::{Ingest, Opening, Pending, Store, StoreError};

/// What became of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Got {
    /// It was there.
    Present,
    /// It is there now.
    Fetched {
        /// Bytes that an earlier try had left.
        resumed_at: u64,
    },
}

/// Is told how many bytes of a blob are there.
pub type Watch<'a> = dyn Fn(u64) + Send + Sync + 'a;

/// The blobs on their way, by store and digest: who holds the lock fetches, the others wait and then find it.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<HashMap<(String, Digest), Weak<Flight>>>);

/// Held by whoever fetches.
type Flight = tokio::sync::Mutex<()>;

impl Flights {
    fn of(&self, store: &str, digest: &Digest) -> Arc<Flight> {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        flights.retain(|_, flight| flight.strong_count() > 0);
        let key = (store.to_owned(), digest.clone());
        if let Some(flight) = flights.get(&key).and_then(Weak::upgrade) {
            return flight;
        }
        let flight = Arc::default();
        flights.insert(key, Arc::downgrade(&flight));
        flight
    }
}

/// The ref under which a blob is ingested: containerd's, so that each resumes what the other left.
#[must_use]
pub fn ingest_ref(descriptor: &Descriptor) -> String {
    let kind = match descriptor.media_type.as_str() {
        kind if media_type::is_index(kind) => "index",
        kind if media_type::is_manifest(kind) => "manifest",
        kind if media_type::is_layer(kind) => "layer",
        kind if media_type::is_known_config(kind) => "config",
        _ => "unknown",
    };
    format!("{kind}-{}", descriptor.digest)
}

impl Remote {
    /// Brings a blob (or a manifest, named by its digest) into a content store. When this returns `Ok`, it is there and
    /// durable. Dropping it keeps what came so far, for the next try.
    ///
    /// # Errors
    /// [`Error::WrongDigest`] and [`Error::WrongSize`] if the registry has other bytes, twice; [`Error::Store`]; and those of
    /// the registry.
    pub async fn fetch_into(
        &self,
        descriptor: &Descriptor,
        store: &dyn Store,
        watch: &Watch<'_>,
    ) -> Result<Got, Error> {
        let flight = self
            .client
            .inner
            .shared
            .flights
            .of(&store.identity(), &descriptor.digest);
        let _alone = flight.lock().await;
        // Before anything is opened: an image may have more layers than a process may have files.
        let permit = self.client.inner.shared.turn(descriptor).await;
        let Some(mut ingest) = open(descriptor, store, watch).await? else {
            watch(descriptor.size);
            return Ok(Got::Present);
        };
        let result = self.fill(descriptor, &mut *ingest, watch).await;
        drop(permit);
        match result {
            Ok(resumed_at) => Ok(Got::Fetched { resumed_at }),
            Err(error) => {
                // What came is kept, also what is not written yet.
                if let Err(error) = ingest.close().await {
                    tracing::warn!(digest = %descriptor.digest, %error, "could not keep a part of a blob");
                }
                Err(error)
            }
        }
    }

    /// Fetches what is missing and commits it. Bytes that turn out to be wrong are fetched again once, all of them and from
    /// another host if there is one.
    async fn fill(
        &self,
        descriptor: &Descriptor,
        ingest: &mut dyn Ingest,
        watch: &Watch<'_>,
    ) -> Result<u64, Error> {
        let failed = |error| store_failed(descriptor, error);
        if ingest.offset() > descriptor.size {
            ingest.truncate().await.map_err(failed)?;
        }
        let resumed_at = ingest.offset();
        let mut again = true;
        loop {
            watch(ingest.offset());
            let mut pieces = self.pieces(descriptor, ingest.offset())?;
            while let Some(chunk) = pieces.chunk().await? {
                ingest.write(chunk).await.map_err(failed)?;
                watch(ingest.offset());
            }
            match ingest.commit(descriptor).await {
                Ok(()) => return Ok(resumed_at),
                Err(StoreError::Wrong { actual }) => {
                    ingest.truncate().await.map_err(failed)?;
                    pieces.distrust();
                    if !again {
                        return Err(Error::WrongDigest {
                            host: self.repository().registry().to_owned(),
                            expected: descriptor.digest.clone(),
                            actual,
                        });
                    }
                    tracing::warn!(digest = %descriptor.digest, %actual, "wrong bytes; fetching all of them again");
                    again = false;
                }
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

/// Opens the ingest; `None` if the blob is there. If another process has it open, its end is waited for, as long as it
/// goes on.
async fn open(
    descriptor: &Descriptor,
    store: &dyn Store,
    watch: &Watch<'_>,
) -> Result<Option<Box<dyn Ingest>>, Error> {
    let reference = ingest_ref(descriptor);
    let (mut seen, mut idle, mut pause) = (0, Duration::ZERO, limits::BUSY_FIRST);
    loop {
        match store.open(&reference, descriptor).await {
            Ok(Opening::Present) => return Ok(None),
            Ok(Opening::Ready(ingest)) => return Ok(Some(ingest)),
            Ok(Opening::Busy { offset }) => {
                idle = if offset == seen {
                    idle + pause
                } else {
                    Duration::ZERO
                };
                if idle > limits::BUSY_IDLE {
                    let error = format!("another process has {reference} open and does not go on");
                    return Err(store_failed(descriptor, StoreError::Other(error.into())));
                }
                seen = offset;
                watch(offset);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(limits::BUSY_LONGEST);
            }
            Err(error) => return Err(store_failed(descriptor, error)),
        }
    }
}

fn store_failed(descriptor: &Descriptor, error: StoreError) -> Error {
    match error {
        StoreError::Wrong { actual } => Error::WrongDigest {
            host: "the store".to_owned(),
            expected: descriptor.digest.clone(),
            actual,
        },
        StoreError::Other(source) => Error::Store {
            digest: descriptor.digest.clone(),
            source,
        },
    }
}
