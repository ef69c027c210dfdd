//! Leases: they keep what they list from the collector, until they are deleted or expire.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::SystemTime;

use crate::filter::Filters;
use crate::key::{self, Kind};
use crate::kv::Durability;
use crate::metadata::{Inner, matching};
use crate::names::{self, Caller, Labels, Namespace};
use crate::record::{LeaseRecord, Time, time};
use crate::transaction::{Tries, Txn};
use crate::{Error, Metadata, Node, gc};

mod view;

/// The type of a lease's resource that is content; its id is a digest.
pub const CONTENT: &str = "content";
/// The type of a resource that is an image.
pub const IMAGES: &str = "images";
/// The type of a resource that is an ingest; its id is the client's ref.
pub const INGESTS: &str = "ingests";
/// The type of a resource that is a snapshot is this, a slash and the name of the snapshotter.
pub const SNAPSHOTS: &str = "snapshots";

/// A lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its name.
    pub id: String,
    /// Its labels: `containerd.io/gc.expire` and `containerd.io/gc.flat` have a meaning.
    pub labels: Labels,
    /// When it was made.
    pub created: SystemTime,
}

/// What a lease keeps.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    /// [`CONTENT`], [`IMAGES`], [`INGESTS`] or `snapshots/<snapshotter>`.
    pub kind: String,
    /// The digest, name, ref or key.
    pub id: String,
}

impl Metadata {
    /// Makes a lease; with an empty `id` it gets a random one.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::Invalid`] if the id is too long.
    pub async fn create_lease(
        &self,
        namespace: &Namespace,
        id: &str,
        labels: Labels,
    ) -> Result<Lease, Error> {
        names::length("lease id", id)?;
        let labels = names::without_empty(labels);
        let mut tries = Tries::new();
        loop {
            let lease = Lease {
                id: if id.is_empty() { random_id() } else { id.to_owned() },
                labels: labels.clone(),
                created: SystemTime::now(),
            };
            tries.next(|| object(&lease.id))?;
            let mut txn = self.inner.begin().await;
            let key = key::of(Kind::Lease, namespace, &lease.id);
            if txn.has(&key).await? {
                if id.is_empty() {
                    continue;
                }
                return Err(Error::AlreadyExists { object: object(id) });
            }
            txn.enter(namespace).await?;
            let record = LeaseRecord {
                labels: lease.labels.clone(),
                created: Some(Time::from(lease.created)),
                closing: 0,
            };
            txn.put(key, &record);
            txn.touch(Node::Lease(namespace.clone(), lease.id.clone()));
            if txn.commit().await? {
                return Ok(lease);
            }
        }
    }

    /// Deletes a lease with the list of its resources; the resources themselves are the collector's.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn delete_lease(&self, namespace: &Namespace, id: &str) -> Result<(), Error> {
        let inner = &*self.inner;
        let mut tries = Tries::new();
        loop {
            tries.next(|| object(id))?;
            let Some(closing) = inner.close_lease(namespace, id).await? else {
                continue;
            };
            // As with a namespace: what is listed from here on is all there is, or this fails.
            let mut txn = inner.begin().await;
            let key = key::of(Kind::Lease, namespace, id);
            if txn.get::<LeaseRecord>(&key).await?.as_ref() != Some(&closing) {
                continue;
            }
            let resources = inner.keys(key::resources(namespace, id)).await?;
            let kept = resources.iter().filter_map(|key| {
                let (namespace, _, kind, id) = key::parse_resource(key)?;
                gc::labels::resource(&namespace, kind, id)
            });
            let dropped = kept.collect();
            resources.into_iter().for_each(|resource| txn.delete(resource));
            txn.delete(key);
            txn.removes();
            if txn.commit().await? {
                inner.try_end_grace(namespace, dropped).await;
                return Ok(());
            }
        }
    }

    /// The leases that match a filter, in byte order of their ids. Fields: `id`, `labels`.
    ///
    /// # Errors
    /// [`Error::Filter`].
    pub async fn leases(&self, namespace: &Namespace, filters: &[String]) -> Result<Vec<Lease>, Error> {
        let filters = Arc::new(Filters::compile(filters, &self.inner.options.plugins)?);
        let mut leases = Vec::new();
        let mut rest = Some(key::all(Kind::Lease, namespace));
        while let Some(range) = rest {
            let (page, more) = self.inner.page::<LeaseRecord>(&range).await?;
            let page = page.into_iter().filter_map(read).collect();
            leases.append(&mut matching(&filters, page).await?);
            rest = more;
        }
        Ok(leases)
    }

    /// Lets a lease keep something, which need not exist yet.
    ///
    /// # Errors
    /// [`Error::NotFound`] without the lease, [`Error::Invalid`] or [`Error::Unimplemented`] for a type or id that is none.
    pub async fn add_resource(
        &self,
        namespace: &Namespace,
        lease: &str,
        kind: &str,
        id: &str,
    ) -> Result<(), Error> {
        let mut tries = Tries::new();
        loop {
            tries.next(|| object(lease))?;
            let mut txn = self.inner.begin().await;
            if !txn.has(&key::of(Kind::Lease, namespace, lease)).await? {
                return Err(Error::NotFound {
                    object: object(lease),
                });
            }
            let node = resource(namespace, kind, id)?;
            txn.enter(namespace).await?;
            add(&mut txn, namespace, lease, kind, id).await?;
            txn.touch(node);
            if txn.commit().await? {
                return Ok(());
            }
        }
    }

    /// Lets a lease no longer keep something. It is no error if it does not.
    ///
    /// # Errors
    /// As [`add_resource`](Self::add_resource).
    pub async fn delete_resource(
        &self,
        namespace: &Namespace,
        lease: &str,
        kind: &str,
        id: &str,
    ) -> Result<(), Error> {
        let mut tries = Tries::new();
        loop {
            tries.next(|| object(lease))?;
            let mut txn = self.inner.begin().await;
            if !txn.has(&key::of(Kind::Lease, namespace, lease)).await? {
                return Err(Error::NotFound {
                    object: object(lease),
                });
            }
            let node = resource(namespace, kind, id)?;
            let key = key::resource(namespace, lease, kind, id);
            if txn.has(&key).await? {
                txn.delete(key);
                txn.removes();
            }
            if txn.commit().await? {
                self.inner.try_end_grace(namespace, vec![node]).await;
                return Ok(());
            }
        }
    }

    /// What a lease keeps: content, images, ingests, snapshots.
    ///
    /// # Errors
    /// [`Error::NotFound`] without the lease.
    pub async fn resources(&self, namespace: &Namespace, lease: &str) -> Result<Vec<Resource>, Error> {
        let key = key::of(Kind::Lease, namespace, lease);
        if self.inner.kv.get(&key).await?.is_none() {
            return Err(Error::NotFound {
                object: object(lease),
            });
        }
        let keys = self.inner.keys(key::resources(namespace, lease)).await?;
        let resource = |key: &bytes::Bytes| {
            let (_, _, kind, id) = key::parse_resource(key)?;
            Some(Resource {
                kind: kind.to_owned(),
                id: id.to_owned(),
            })
        };
        // The order of the keys is the order of the types.
        Ok(keys.iter().filter_map(resource).collect())
    }
}

impl Inner {
    /// Marks a lease as being deleted, by a number of its own; `None` if it was changed meanwhile.
    async fn close_lease(&self, namespace: &Namespace, id: &str) -> Result<Option<LeaseRecord>, Error> {
        let number = self.next_number().await? + 1;
        let mut txn = self.begin().await;
        let key = key::of(Kind::Lease, namespace, id);
        let Some(mut record) = txn.get::<LeaseRecord>(&key).await? else {
            return Err(Error::NotFound { object: object(id) });
        };
        if record.closing == 0 {
            record.closing = number;
            txn.put(key, &record);
        }
        let done = txn.commit_as(Durability::Eventual).await?;
        Ok(done.then_some(record))
    }
}

/// Adds something to the caller's lease, if it has one.
///
/// # Errors
/// [`Error::NotFound`] if there is no such lease.
pub(crate) async fn lease_add(txn: &mut Txn<'_>, caller: &Caller, kind: &str, id: &str) -> Result<(), Error> {
    match &caller.lease {
        Some(lease) => add(txn, &caller.namespace, lease, kind, id).await,
        None => Ok(()),
    }
}

/// Takes something out of the caller's lease, if it has one that has it.
pub(crate) fn lease_remove(txn: &mut Txn<'_>, caller: &Caller, kind: &str, id: &str) {
    if let Some(lease) = &caller.lease {
        txn.delete(key::resource(&caller.namespace, lease, kind, id));
    }
}

async fn add(
    txn: &mut Txn<'_>,
    namespace: &Namespace,
    lease: &str,
    kind: &str,
    id: &str,
) -> Result<(), Error> {
    let lease_key = key::of(Kind::Lease, namespace, lease);
    let Some(mut record) = txn.get::<LeaseRecord>(&lease_key).await? else {
        return Err(Error::NotFound {
            object: "lease does not exist".to_owned(),
        });
    };
    if record.closing != 0 {
        record.closing = 0;
        txn.put(lease_key, &record);
    }
    let key = key::resource(namespace, lease, kind, id);
    if !txn.has(&key).await? {
        txn.mark(key);
    }
    Ok(())
}

/// What a resource of a lease stands for.
///
/// # Errors
/// [`Error::Invalid`], [`Error::Unimplemented`].
fn resource(namespace: &Namespace, kind: &str, id: &str) -> Result<Node, Error> {
    let invalid = |what| Err(Error::Invalid { what });
    match kind.split_once('/') {
        None if matches!(kind, CONTENT | IMAGES | INGESTS) => {}
        Some((SNAPSHOTS, name)) if !name.is_empty() && !name.contains('/') => {}
        Some((CONTENT | IMAGES | INGESTS, _)) => return invalid(format!("invalid resource type {kind}")),
        Some((SNAPSHOTS, _)) => return invalid(format!("invalid snapshot resource type {kind}")),
        None if kind == SNAPSHOTS => return invalid(format!("invalid snapshot resource type {kind}")),
        _ => {
            return Err(Error::Unimplemented {
                what: format!("resource type {kind} not supported yet"),
            });
        }
    }
    names::length("resource id", id)?;
    if kind == CONTENT
        && let Err(reason) = names::digest(id)
    {
        return invalid(format!("invalid content resource id {id}: {reason}"));
    }
    match gc::labels::resource(namespace, kind, id) {
        Some(node) if !id.is_empty() => Ok(node),
        _ => invalid(format!("invalid resource id: {kind} without a name")),
    }
}

/// In containerd's form: the nanoseconds of the clock, a dash, 24 random bits.
fn random_id() -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let nanos = now.map_or(0, |now| now.subsec_nanos());
    // The standard library seeds it from the system.
    let random = RandomState::new().build_hasher().finish();
    let letters = (0..4).map(|place| char::from(LETTERS[(random >> (6 * place)) as usize & 63]));
    format!("{nanos}-{}", letters.collect::<String>())
}

fn read((key, record): (bytes::Bytes, LeaseRecord)) -> Option<Lease> {
    let id = key::name(&key)?;
    Some(Lease {
        id: id.to_owned(),
        labels: record.labels,
        created: time(record.created),
    })
}

fn object(id: &str) -> String {
    format!("lease {id:?}")
}
