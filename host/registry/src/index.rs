//! An index of tags, repositories and referrers beside the driver, which stays the truth: lists are answered from it where
//! something proves that the driver would say the same, and walk the driver everywhere else.
//!
//! Two things prove it. A driver that knows when a folder has changed gives it a stamp, and the index keeps what was listed
//! with the stamp from before the list: while the folder still has it, nobody has changed anything. Where the configuration
//! says that nobody but this process writes, what the process has listed itself since its start, and kept in step with each of
//! its own changes, is proved, too. `docs/decisions/0014-registry-index.md` has the reasons.
//!
//! Read in this order: `record` (what proves a list), `set` (many names in few pairs), `tags`, `folders` (what the catalog is
//! found in), `subjects` (referrers that the driver has no links of), `change` (what this process changes itself),
//! [`settings`], `place` (the folder of the index). The store does the listing: `store/indexed.rs`, `store/folders.rs`,
//! `store/build.rs`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::RwLock;
use tokio::time::Instant;
use transom_meta::kv::{Condition, Durability, Kv, KvError, Outcome, Range, Transaction, Write};

use crate::names::RepositoryName;

mod change;
mod folders;
mod place;
mod record;
mod set;
pub mod settings;
mod subjects;
mod tags;

pub(crate) use change::Change;
pub(crate) use folders::Folder;
pub use place::Place;
pub(crate) use record::{Listed, Proof};
pub use settings::Settings;

/// What all keys of tags begin with, and so on; `docs/formats/registry.md` describes them.
mod prefix {
    pub(super) const FOLDER: &[u8] = b"c/";
    pub(super) const LIST: &[u8] = b"l/";
    pub(super) const TAGS: &[u8] = b"t/";
    pub(super) const LOOKED_AT: &[u8] = b"m/";
    pub(super) const REFERRER: &[u8] = b"r/";
}

/// The index of one store. It is made for one process at a time.
#[derive(Debug)]
pub struct Index {
    kv: Arc<dyn Kv>,
    /// Nobody but this process writes into the store.
    only_writer: bool,
    era: Mutex<Era>,
    numbers: AtomicU64,
    suspects: Mutex<HashMap<RepositoryName, Instant>>,
    /// Held alone while everything is forgotten: what belongs together is in several pairs.
    whole: RwLock<()>,
    /// Too much went wrong: everything is walked until the next start.
    given_up: AtomicBool,
    counts: Counts,
}

/// The state of a record before the driver is listed, and the era of that.
#[derive(Debug)]
pub(crate) struct Before {
    value: Option<Bytes>,
    era: Era,
}

/// What a process has listed itself is proved within its era only.
type Era = [u8; 16];

/// How lists were answered since the start.
#[derive(Debug, Default)]
struct Counts {
    answered: [AtomicU64; 2],
    walked: [AtomicU64; 2],
}

/// A list that the index may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// The tags of a repository.
    Tags,
    /// The repositories.
    Catalog,
}

impl List {
    /// Both.
    pub const ALL: [List; 2] = [List::Tags, List::Catalog];

    /// Its name in the metrics: `tags`, `catalog`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            List::Tags => "tags",
            List::Catalog => "catalog",
        }
    }
}

impl Index {
    /// An index that keeps itself in `kv`, which nothing else uses. `only_writer` says that nobody but this process, with this
    /// index, writes into the store.
    #[must_use]
    pub fn new(kv: Arc<dyn Kv>, only_writer: bool) -> Index {
        Index {
            kv,
            only_writer,
            era: Mutex::new(new_era()),
            numbers: AtomicU64::new(0),
            suspects: Mutex::default(),
            whole: RwLock::default(),
            given_up: AtomicBool::new(false),
            counts: Counts::default(),
        }
    }

    /// How many lists were answered from the index, and how many walked the driver.
    #[must_use]
    pub fn counted(&self, list: List) -> (u64, u64) {
        let of = |counts: &[AtomicU64; 2]| counts[list as usize].load(Ordering::Relaxed);
        (of(&self.counts.answered), of(&self.counts.walked))
    }

    pub(crate) fn count(&self, list: List, answered: bool) {
        let counts = match answered {
            true => &self.counts.answered,
            false => &self.counts.walked,
        };
        counts[list as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn only_writer(&self) -> bool {
        self.only_writer
    }

    /// Nothing that was listed until now is proved any more, unless a stamp proves it.
    pub(crate) fn begin_era(&self) {
        *self.era.lock().unwrap_or_else(PoisonError::into_inner) = new_era();
    }

    /// Forgets everything that it knows of the store.
    pub(crate) async fn forget(&self) -> Result<(), KvError> {
        let store = self.kv.get(place::STORE).await?;
        self.clear().await?;
        match store {
            Some(store) => self.name_store(store).await,
            None => Ok(()),
        }
    }

    /// Says of which store it is.
    async fn name_store(&self, store: Bytes) -> Result<(), KvError> {
        let write = Write::Put {
            key: Bytes::from_static(place::STORE),
            value: store,
        };
        self.commit(Vec::new(), vec![write]).await.map(drop)
    }

    /// Deletes every pair.
    async fn clear(&self) -> Result<(), KvError> {
        let _alone = self.whole.write().await;
        let all = Range::prefix(Bytes::new());
        loop {
            let page = self.kv.range(&all, PAGE).await?;
            if page.is_empty() {
                return Ok(());
            }
            let delete = |pair: transom_meta::kv::Pair| Write::Delete { key: pair.key };
            self.commit(Vec::new(), page.into_iter().map(delete).collect())
                .await?;
        }
    }

    /// Whether the index says anything about lists at the moment.
    pub(crate) fn speaks(&self) -> bool {
        !self.given_up.load(Ordering::Relaxed)
    }

    /// Something could not be read or written. Without space it goes on when there is some.
    pub(crate) fn failed(&self, error: &KvError) {
        match error {
            KvError::NoSpace => tracing::debug!(%error, "the index was not written"),
            error => self.give_up(&error.to_string()),
        }
    }

    fn give_up(&self, reason: &str) {
        if !self.given_up.swap(true, Ordering::Relaxed) {
            tracing::error!(
                reason,
                "the index is not used until the next start: lists walk the storage"
            );
        }
    }

    fn era(&self) -> Era {
        *self.era.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn suspects(&self) -> MutexGuard<'_, HashMap<RepositoryName, Instant>> {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A record that no other one equals, of what was listed in an era.
    fn listed(&self, proof: Proof, era: Era) -> Listed {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        Listed { proof, era, number }
    }

    /// To be called before a folder is listed.
    async fn before(&self, key: &Bytes) -> Result<Before, KvError> {
        let era = self.era();
        let value = self.kv.get(key).await?;
        Ok(Before { value, era })
    }

    /// Writes, if all of the conditions hold; says whether they did.
    async fn commit(&self, conditions: Vec<Condition>, writes: Vec<Write>) -> Result<bool, KvError> {
        let transaction = Transaction {
            conditions,
            writes,
            // After a crash an older state is as good: stamps prove it, or a new era begins.
            durability: Durability::Eventual,
        };
        Ok(self.kv.commit(transaction).await? == Outcome::Committed)
    }
}

/// Pairs that are read at a time.
const PAGE: usize = 512;

fn new_era() -> Era {
    let mut era = Era::default();
    crate::instance::random(&mut era);
    era
}

fn is(key: &Bytes, value: Option<&Bytes>) -> Condition {
    Condition::Is {
        key: key.clone(),
        value: value.cloned(),
    }
}

/// The parts of a key one after the other.
fn key(parts: &[&[u8]]) -> Bytes {
    parts.concat().into()
}
