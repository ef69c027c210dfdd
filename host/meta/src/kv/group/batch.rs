//! The transactions of one flush: their conditions are checked in order, against the store and what was written before.

use bytes::Bytes;
use crossbeam_channel::Receiver;
use tokio::sync::broadcast;

use super::{Engine, Job, Writes};
use crate::kv::{Change, Condition, Durability, KvError, Outcome, Range, Write};
use crate::limits;

/// What the stores write at least when a key changes.
const PAGE_BYTES: usize = 4096;

/// Transactions that are written and flushed together.
pub(super) struct Batch {
    jobs: Vec<Job>,
    /// Those that do not happen, until they are answered.
    refused: Vec<(Job, Result<Outcome, KvError>)>,
    writes: Writes,
}

impl Batch {
    /// The first job and all that wait behind it, up to the limit.
    pub(super) fn gather(first: Job, waiting: &Receiver<Job>) -> Batch {
        let mut bytes = first.bytes();
        let mut jobs = vec![first];
        while bytes < limits::KV_BATCH_BYTES {
            let Ok(job) = waiting.try_recv() else {
                break;
            };
            bytes += job.bytes();
            jobs.push(job);
        }
        Batch {
            jobs,
            refused: Vec::new(),
            writes: Writes::new(),
        }
    }

    /// Sets every transaction apart that does not happen; how many are left, and how many conflicts there were. What
    /// deletes nothing needs room on the disk.
    pub(super) fn check(&mut self, engine: &impl Engine) -> Result<(u64, u64), KvError> {
        let mut room = engine.room();
        let mut conflicts = 0;
        // Kept in `self` until all are checked, so that an error on the way answers all of them.
        let mut happens = Vec::with_capacity(self.jobs.len());
        for job in &self.jobs {
            let space = job.space();
            let outcome = if space > room && !job.deletes() {
                Err(KvError::NoSpace)
            } else if holds(&job.transaction.conditions, engine, &self.writes)? {
                room = room.saturating_sub(space);
                for write in &job.transaction.writes {
                    self.writes.insert(write.key().clone(), write.value().cloned());
                }
                Ok(Outcome::Committed)
            } else {
                conflicts += 1;
                Ok(Outcome::Conflict)
            };
            happens.push(outcome);
        }
        let jobs = std::mem::take(&mut self.jobs);
        for (job, outcome) in jobs.into_iter().zip(happens) {
            match outcome {
                Ok(Outcome::Committed) => self.jobs.push(job),
                other => self.refused.push((job, other)),
            }
        }
        Ok((self.jobs.len() as u64, conflicts))
    }

    /// Answers what [`check`](Self::check) set apart.
    pub(super) fn answer_refused(&mut self) {
        for (mut job, outcome) in self.refused.drain(..) {
            job.answer(outcome);
        }
    }

    pub(super) fn writes(&self) -> &Writes {
        &self.writes
    }

    /// Durable if one of them is to be.
    pub(super) fn durability(&self) -> Durability {
        let mut durabilities = self.jobs.iter().map(|job| job.transaction.durability);
        if durabilities.any(|durability| durability == Durability::Durable) {
            Durability::Durable
        } else {
            Durability::Eventual
        }
    }

    /// Answers those that need no flush, before it.
    pub(super) fn confirm_eventual(&mut self) {
        for job in &mut self.jobs {
            if job.transaction.durability == Durability::Eventual {
                job.answer(Ok(Outcome::Committed));
            }
        }
    }

    /// Tells the watchers, in the order in which it happened.
    pub(super) fn announce(&self, changes: &broadcast::Sender<Change>) {
        for job in &self.jobs {
            job.announce(changes);
        }
    }

    pub(super) fn confirm(self) {
        for mut job in self.jobs {
            job.answer(Ok(Outcome::Committed));
        }
    }

    pub(super) fn refuse_all(self, error: &KvError) {
        for mut job in self.jobs {
            job.answer(Err(error.clone()));
        }
    }
}

impl Job {
    /// About what it takes in memory.
    fn bytes(&self) -> usize {
        let write = |write: &Write| write.key().len() + write.value().map_or(0, Bytes::len);
        self.transaction.writes.iter().map(write).sum()
    }

    /// More than it takes on the disk: its bytes, and copies of the pages that they are in.
    fn space(&self) -> u64 {
        let pages = self.transaction.writes.len() * 4 * PAGE_BYTES;
        (self.bytes() * 2 + pages) as u64
    }

    fn deletes(&self) -> bool {
        let delete = |write: &Write| matches!(write, Write::Delete { .. });
        self.transaction.writes.iter().any(delete)
    }

    fn announce(&self, changes: &broadcast::Sender<Change>) {
        if changes.receiver_count() == 0 {
            return;
        }
        for write in &self.transaction.writes {
            // The last watcher may have gone.
            let _ = changes.send(Change {
                key: write.key().clone(),
                value: write.value().cloned(),
            });
        }
    }

    /// The first answer counts.
    fn answer(&mut self, outcome: Result<Outcome, KvError>) {
        if let Some(answer) = self.answer.take() {
            // Whoever asked may have gone.
            let _ = answer.send(outcome);
        }
    }
}

fn holds(conditions: &[Condition], engine: &impl Engine, written: &Writes) -> Result<bool, KvError> {
    for condition in conditions {
        let holds = match condition {
            Condition::Is { key, value } => match written.get(key) {
                Some(now) => now == value,
                None => engine.get(key)? == *value,
            },
            Condition::Empty { prefix } => is_empty(&Range::prefix(prefix.clone()), engine, written)?,
        };
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_empty(range: &Range, engine: &impl Engine, written: &Writes) -> Result<bool, KvError> {
    let later = written.range(range.start.clone()..);
    let inside = later.take_while(|(key, _)| range.end.as_ref().is_none_or(|end| *key < end));
    let mut removed = 0;
    for (_, value) in inside {
        if value.is_some() {
            return Ok(false);
        }
        removed += 1;
    }
    // All that is there may be what this batch removes.
    let there = engine.range(range, removed + 1)?;
    Ok(there.iter().all(|pair| written.contains_key(&pair.key)))
}
