//! What the content store has, against what is recorded.

use std::collections::HashMap;

use transom_content::{Damage, Info, Status, Store};
use transom_oci::Digest;

use super::records::{Records, without_content, without_ingest};
use super::repair::Found;
use super::{Options, Problem, Progress};
use crate::Error;
use crate::metadata::joined;

/// What was found in the content store.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) found: Vec<Found>,
    pub(super) blobs: u64,
    pub(super) bytes: u64,
    pub(super) hashed: u64,
}

/// Compares blobs and ingests with their records.
pub(super) async fn check(store: &Store, records: &Records, options: &Options) -> Result<Disk, Error> {
    let listed = {
        let store = store.clone();
        let list = move || store.walk()?.collect::<Result<Vec<_>, _>>();
        joined(tokio::task::spawn_blocking(list).await)?
    };
    let mut disk = Disk {
        blobs: listed.len() as u64,
        bytes: listed.iter().map(|info| info.size).sum(),
        ..Disk::default()
    };
    let suspects = |info: &&Info| options.verify || odd(info, records);
    let to_hash: Vec<Info> = listed.iter().filter(suspects).cloned().collect();
    disk.hashed = to_hash.len() as u64;
    let damaged = hash(store, to_hash, options.progress.clone()).await?;
    let blobs: HashMap<Digest, Info> = listed
        .into_iter()
        .map(|info| (info.digest.clone(), info))
        .collect();
    disk.blobs(&blobs, &damaged, records);
    disk.content(&blobs, &damaged, records);
    disk.ingests(store, &blobs, records).await?;
    Ok(disk)
}

/// Whether a blob does not have the size that some record says.
fn odd(info: &Info, records: &Records) -> bool {
    let of = records.content.get(&info.digest);
    of.is_some_and(|of| {
        of.iter()
            .any(|(_, size)| size.is_some_and(|size| size != info.size))
    })
}

/// Hashes blobs; those that are damaged, and how.
async fn hash(
    store: &Store,
    blobs: Vec<Info>,
    progress: Option<Progress>,
) -> Result<HashMap<Digest, String>, Error> {
    let store = store.clone();
    let all: u64 = blobs.iter().map(|info| info.size).sum();
    let work = move || {
        let mut damaged = HashMap::new();
        let mut done = 0;
        for checked in store.verify(blobs.into_iter().map(|info| info.digest)) {
            let checked = checked?;
            done += checked.size;
            if let Some(progress) = &progress {
                progress(done, all.max(done));
            }
            match checked.damage {
                // Gone since it was listed.
                None | Some(Damage::Missing) => {}
                Some(damage) => {
                    damaged.insert(checked.digest, damage.to_string());
                }
            }
        }
        Ok::<_, transom_content::Error>(damaged)
    };
    Ok(joined(tokio::task::spawn_blocking(work).await)?)
}

impl Disk {
    /// The blobs that are there.
    fn blobs(&mut self, blobs: &HashMap<Digest, Info>, damaged: &HashMap<Digest, String>, records: &Records) {
        for (digest, info) in blobs {
            if let Some(reason) = damaged.get(digest) {
                let (digest, reason) = (digest.clone(), reason.clone());
                let of = records.content.get(&digest).into_iter().flatten();
                let writes = of.flat_map(|(namespace, _)| without_content(namespace, &digest));
                let writes = writes.collect();
                let problem = Problem::DamagedBlob { digest, reason };
                self.found.push(Found::damaged(problem, writes));
            } else if !records.wants(digest) {
                let (digest, size) = (digest.clone(), info.size);
                let problem = Problem::OrphanBlob { digest, size };
                self.found.push(Found::orphan(problem, info.created));
            }
        }
    }

    /// The records of content.
    fn content(
        &mut self,
        blobs: &HashMap<Digest, Info>,
        damaged: &HashMap<Digest, String>,
        records: &Records,
    ) {
        for (digest, of) in &records.content {
            let there = blobs.get(digest);
            for (namespace, size) in of {
                let (namespace, digest) = (namespace.clone(), digest.clone());
                match (there, size) {
                    (None, _) => {
                        let writes = without_content(&namespace, &digest);
                        let problem = Problem::MissingBlob { namespace, digest };
                        self.found.push(Found::remove(problem, writes));
                    }
                    (Some(info), Some(recorded))
                        if *recorded != info.size && !damaged.contains_key(&digest) =>
                    {
                        let problem = Problem::WrongSize {
                            namespace,
                            digest,
                            recorded: *recorded,
                            actual: info.size,
                        };
                        self.found.push(Found::size(problem));
                    }
                    _ => {}
                }
            }
        }
    }

    /// Ingests, both ways.
    async fn ingests(
        &mut self,
        store: &Store,
        blobs: &HashMap<Digest, Info>,
        records: &Records,
    ) -> Result<(), Error> {
        let store = store.clone();
        let list = move || store.statuses(|_| true)?.collect::<Result<Vec<_>, _>>();
        let listed: Vec<Status> = joined(tokio::task::spawn_blocking(list).await)?;
        let there: HashMap<&str, &Status> =
            listed.iter().map(|status| (&*status.reference, status)).collect();
        for (backend, ingest) in &records.ingests {
            let whole = match &ingest.expected {
                Some(digest) => blobs.contains_key(digest),
                None => there.contains_key(&**backend),
            };
            if !whole {
                let (namespace, reference) = (ingest.namespace.clone(), ingest.reference.clone());
                let problem = Problem::EmptyIngest { namespace, reference };
                self.found.push(Found::remove(problem, without_ingest(ingest)));
            }
        }
        for status in &listed {
            if !records.ingests.contains_key(&status.reference) {
                let (backend, size) = (status.reference.clone(), status.offset);
                let problem = Problem::OrphanIngest { backend, size };
                self.found.push(Found::orphan(problem, status.updated));
            }
        }
        Ok(())
    }
}
