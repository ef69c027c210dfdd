//! What a snapshotter has that no record names: removed, what stands on others first.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::task::JoinSet;

use super::{Info, SnapshotError, Snapshots, parse_backend};
use crate::Error;
use crate::key::{self, Kind};
use crate::limits::{PAGE, SNAPSHOT_REMOVALS};
use crate::metadata::joined;
use crate::names::Namespace;
use crate::record::SnapshotRecord;

/// A snapshotter against its records.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// What no record named when the records were read.
    pub(super) orphans: Vec<Info>,
    /// The records, by the backend's key.
    pub(super) recorded: HashMap<String, (Namespace, String)>,
    /// Records of what the snapshotter does not have, by namespace and number.
    pub(super) empty: HashMap<(Namespace, u64), String>,
}

/// Sweeps after a collection, if there may be something to sweep.
pub(super) async fn after_collection(snapshots: &Snapshots) -> Result<(), Error> {
    if !snapshots.loaded.dirty.swap(false, Ordering::SeqCst) {
        return Ok(());
    }
    snapshots.cleanup().await
}

impl Snapshots {
    /// Removes what the snapshotter has without a record, and its files. Nothing that is just being made.
    ///
    /// # Errors
    /// [`Error::Snapshot`], [`Error::Kv`]; single snapshots that cannot be removed are only logged.
    pub async fn cleanup(&self) -> Result<(), Error> {
        // Nothing is adopted meanwhile, and no other sweep is under way.
        let _alone = self.loaded.adoptions.write().await;
        let swept = self.sweep().await;
        if !matches!(swept, Ok(true)) {
            self.leaves_files();
        }
        swept?;
        Ok(self.loaded.backend.cleanup().await?)
    }

    /// Says whether everything was removed that was to be.
    async fn sweep(&self) -> Result<bool, Error> {
        let survey = self.survey().await?;
        self.finish(&survey).await?;
        let mut all = true;
        for generation in generations(&survey.orphans) {
            for some in generation.chunks(SNAPSHOT_REMOVALS) {
                let mut removals = JoinSet::new();
                for orphan in some {
                    if self.is_orphan(orphan).await? {
                        let backend = Arc::clone(&self.loaded.backend);
                        let key = orphan.clone();
                        removals.spawn(async move { (backend.remove(&key).await, key) });
                    }
                }
                while let Some(removed) = removals.join_next().await {
                    let (removed, key) = joined(removed);
                    all &= is_gone(&key, removed);
                }
            }
        }
        Ok(all)
    }

    /// Reads both. The snapshotter first: what it has by then has its record by the time those are read, unless somebody is busy
    /// with it.
    pub(super) async fn survey(&self) -> Result<Survey, Error> {
        let mut listed: HashMap<String, Info> = HashMap::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.loaded.backend.list(after.as_deref(), PAGE).await?;
            let full = page.len() == PAGE;
            after = page.last().map(|info| info.name.clone());
            listed.extend(page.into_iter().map(|info| (info.name.clone(), info)));
            if !full {
                break;
            }
        }
        let mut survey = Survey::default();
        let mut rest = Some(key::everywhere(Kind::Snapshot));
        while let Some(range) = rest {
            let (page, more) = self.inner.page::<SnapshotRecord>(&range).await?;
            for (key, record) in page {
                match key::parse_snapshot(&key) {
                    Some((namespace, snapshotter, name)) if snapshotter == self.name() => {
                        survey.add(&listed, namespace, name, record);
                    }
                    _ => {}
                }
            }
            rest = more;
        }
        listed.retain(|backend, _| !survey.recorded.contains_key(backend));
        survey.orphans = listed.into_values().collect();
        Ok(survey)
    }

    /// Looks again: nobody is busy with it, and it has no record yet.
    async fn is_orphan(&self, backend: &str) -> Result<bool, Error> {
        let Some((namespace, _, name)) = parse_backend(backend) else {
            return Ok(true);
        };
        if self.loaded.claims.has(&namespace, name) {
            self.leaves_files();
            return Ok(false);
        }
        let record = self.find(&namespace, name).await?;
        Ok(record.is_none_or(|record| record.backend != backend))
    }
}

impl Survey {
    fn add(
        &mut self,
        listed: &HashMap<String, Info>,
        namespace: Namespace,
        name: &str,
        record: SnapshotRecord,
    ) {
        if !listed.contains_key(&record.backend)
            && let Some((_, number, _)) = parse_backend(&record.backend)
        {
            self.empty.insert((namespace.clone(), number), name.to_owned());
        }
        self.recorded.insert(record.backend, (namespace, name.to_owned()));
    }
}

fn is_gone(key: &str, removed: Result<(), SnapshotError>) -> bool {
    match removed {
        Ok(()) | Err(SnapshotError::NotFound { .. }) => true,
        Err(error) => {
            tracing::warn!(snapshot = key, %error, "a snapshot without a record cannot be removed");
            false
        }
    }
}

/// The keys in an order in which none stands on a later one: all of a generation can go at once.
pub(crate) fn generations(orphans: &[Info]) -> Vec<Vec<String>> {
    let mut children: HashMap<&str, usize> = HashMap::new();
    for orphan in orphans {
        *children.entry(&orphan.parent).or_default() += 1;
    }
    let parents: HashMap<&str, &str> = orphans
        .iter()
        .map(|orphan| (&*orphan.name, &*orphan.parent))
        .collect();
    let mut seen = HashSet::new();
    let mut generations = Vec::new();
    let mut leaves: Vec<&str> = parents
        .keys()
        .copied()
        .filter(|key| !children.contains_key(key))
        .collect();
    while !leaves.is_empty() {
        let mut next = Vec::new();
        for parent in leaves.iter().filter_map(|leaf| parents.get(leaf)) {
            let left = children.entry(parent).or_default();
            *left = left.saturating_sub(1);
            if *left == 0 && parents.contains_key(parent) && seen.insert(*parent) {
                next.push(*parent);
            }
        }
        generations.push(leaves.iter().map(|leaf| (*leaf).to_owned()).collect());
        leaves = next;
    }
    generations
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn leaves_go_first() {
        let info = |(name, parent): (&str, &str)| Info {
            kind: super::super::Kind::Committed,
            name: name.to_owned(),
            parent: parent.to_owned(),
            labels: crate::Labels::new(),
            created: SystemTime::UNIX_EPOCH,
            updated: SystemTime::UNIX_EPOCH,
        };
        let orphans = [("a", ""), ("b", "a"), ("c", "b"), ("d", "a"), ("x", "kept")];
        let mut found = generations(&orphans.map(info));
        found.iter_mut().for_each(|generation| generation.sort());
        assert_eq!(found, [vec!["c", "d", "x"], vec!["b"], vec!["a"]]);
    }
}
