//! What is done about a problem.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use transom_content::Store;
use transom_oci::Digest;

use super::{Action, Options, Problem, Report};
use crate::Error;
use crate::key::{self, Kind};
use crate::kv::{Durability, Kv, Transaction, Write};
use crate::metadata::joined;
use crate::record::{ContentRecord, decode, encode};
use crate::snapshots::Snapshotter;

/// A problem, and how it can be repaired.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) problem: Problem,
    fix: Fix,
}

/// How a problem can be repaired.
#[derive(Debug)]
enum Fix {
    /// By these writes; what is then to be said of it.
    Write(Vec<Write>, Action),
    /// By the size in a content record.
    Size,
    /// By moving the blob away, and then by these writes.
    SetAside(Vec<Write>),
    /// By removing a blob or ingest of the content store that is as old as this.
    Remove(SystemTime),
    /// By removing a snapshot of a snapshotter that is as old as this.
    Snapshot(Arc<dyn Snapshotter>, SystemTime),
    /// By nobody but a person.
    None(&'static str),
}

impl Found {
    pub(super) fn remove(problem: Problem, writes: Vec<Write>) -> Found {
        let fix = Fix::Write(writes, Action::RecordRemoved);
        Found { problem, fix }
    }

    pub(super) fn write(problem: Problem, writes: Vec<Write>) -> Found {
        let fix = Fix::Write(writes, Action::RecordWritten);
        Found { problem, fix }
    }

    pub(super) fn size(problem: Problem) -> Found {
        let fix = Fix::Size;
        Found { problem, fix }
    }

    pub(super) fn damaged(problem: Problem, writes: Vec<Write>) -> Found {
        let fix = Fix::SetAside(writes);
        Found { problem, fix }
    }

    pub(super) fn orphan(problem: Problem, changed: SystemTime) -> Found {
        let fix = Fix::Remove(changed);
        Found { problem, fix }
    }

    pub(super) fn snapshot(
        snapshotter: &Arc<dyn Snapshotter>,
        backend: String,
        changed: SystemTime,
    ) -> Found {
        let fix = Fix::Snapshot(Arc::clone(snapshotter), changed);
        let snapshotter = snapshotter.name().to_owned();
        let problem = Problem::OrphanSnapshot { snapshotter, backend };
        Found { problem, fix }
    }

    pub(super) fn left(problem: Problem, reason: &'static str) -> Found {
        let fix = Fix::None(reason);
        Found { problem, fix }
    }
}

/// Repairs what can be repaired. Records first, and durably, so that no blob goes whose record could come back.
pub(super) async fn all(
    kv: &Arc<dyn Kv>,
    store: &Store,
    versioned: bool,
    options: &Options,
    found: Vec<Found>,
    report: &mut Report,
) -> Result<(), Error> {
    let (later, first): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|found| matches!(found.fix, Fix::Remove(_) | Fix::Snapshot(..)));
    for found in first {
        let action = match found.fix {
            Fix::Write(writes, action) => {
                commit(kv, writes, Durability::Eventual).await?;
                action
            }
            Fix::Size => size(kv, &found.problem).await?,
            Fix::SetAside(writes) => match set_aside(store, &found.problem).await {
                Ok(path) => {
                    commit(kv, writes, Durability::Eventual).await?;
                    Action::SetAside { path }
                }
                Err(error) => failed(&error),
            },
            Fix::None(reason) => Action::Left { reason },
            Fix::Remove(_) | Fix::Snapshot(..) => Action::None,
        };
        report.note(found.problem, action);
    }
    // Takes what was written before it to the disk.
    let nothing = Write::Delete {
        key: b"y".as_slice().into(),
    };
    commit(kv, vec![nothing], Durability::Durable).await?;
    for found in later {
        let action = match found.fix {
            Fix::Remove(_) | Fix::Snapshot(..) if !versioned => Action::Left {
                reason: "the metadata has no version record, so it may be of another root",
            },
            Fix::Remove(changed) | Fix::Snapshot(_, changed)
                if changed.elapsed().unwrap_or_default() < options.margin =>
            {
                Action::TooYoung
            }
            Fix::Snapshot(snapshotter, _) => remove_snapshot(&*snapshotter, &found.problem).await,
            _ => remove(store, &found.problem).await,
        };
        report.note(found.problem, action);
    }
    Ok(())
}

async fn commit(kv: &Arc<dyn Kv>, writes: Vec<Write>, durability: Durability) -> Result<(), Error> {
    let transaction = Transaction {
        conditions: Vec::new(),
        writes,
        durability,
    };
    kv.commit(transaction).await?;
    Ok(())
}

/// Writes the blob's size into its record.
async fn size(kv: &Arc<dyn Kv>, problem: &Problem) -> Result<Action, Error> {
    let Problem::WrongSize {
        namespace,
        digest,
        actual,
        ..
    } = problem
    else {
        return Ok(Action::None);
    };
    let key = key::of(Kind::Content, namespace, digest.as_str());
    let Some(value) = kv.get(&key).await? else {
        return Ok(Action::None);
    };
    let mut record: ContentRecord = decode(&key, &value)?;
    record.size = *actual;
    let value = encode(&record);
    commit(kv, vec![Write::Put { key, value }], Durability::Eventual).await?;
    Ok(Action::RecordWritten)
}

async fn set_aside(store: &Store, problem: &Problem) -> Result<PathBuf, transom_content::Error> {
    let Problem::DamagedBlob { digest, .. } = problem else {
        return Ok(PathBuf::new());
    };
    let (store, digest): (Store, Digest) = (store.clone(), digest.clone());
    joined(tokio::task::spawn_blocking(move || store.set_aside(&digest)).await)
}

/// Removes a blob or an ingest of the content store. An ingest that another program has open stays.
async fn remove(store: &Store, problem: &Problem) -> Action {
    let (store, problem) = (store.clone(), problem.clone());
    let remove = move || match &problem {
        Problem::OrphanBlob { digest, .. } => store.delete(digest),
        Problem::OrphanIngest { backend, .. } => store.abort(backend),
        _ => Ok(()),
    };
    match joined(tokio::task::spawn_blocking(remove).await) {
        Ok(()) => Action::Removed,
        Err(error) => failed(&error),
    }
}

async fn remove_snapshot(snapshotter: &dyn Snapshotter, problem: &Problem) -> Action {
    let Problem::OrphanSnapshot { backend, .. } = problem else {
        return Action::None;
    };
    match snapshotter.remove(backend).await {
        Ok(()) => Action::Removed,
        Err(error) => failed(&error),
    }
}

fn failed(error: &impl std::error::Error) -> Action {
    Action::Failed {
        reason: error.to_string(),
    }
}
