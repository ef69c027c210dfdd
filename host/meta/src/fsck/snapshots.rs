//! What a snapshotter has, against what is recorded.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Problem;
use super::records::{Records, Snapshot};
use super::repair::Found;
use crate::Error;
use crate::limits::PAGE;
use crate::snapshots::{Info, Snapshotter, generations, numbered};

/// Compares both ways.
pub(super) async fn check(
    snapshotter: &Arc<dyn Snapshotter>,
    records: &Records,
    found: &mut Vec<Found>,
) -> Result<(), Error> {
    let listed = list(&**snapshotter).await?;
    let its = |snapshot: &&Snapshot| snapshot.snapshotter == snapshotter.name();
    let recorded: Vec<&Snapshot> = records.snapshots.iter().filter(its).collect();
    let known: HashSet<&str> = recorded.iter().map(|snapshot| &*snapshot.backend).collect();
    let (kept, orphans): (Vec<_>, Vec<_>) = listed.into_iter().partition(|info| known.contains(&*info.name));
    let kept: HashSet<String> = kept.into_iter().map(|info| info.name).collect();
    let mut cut_off: HashSet<&str> = orphans.iter().filter_map(|info| numbered(&info.name)).collect();
    let mut half: HashSet<&str> = HashSet::new();
    for snapshot in recorded
        .into_iter()
        .filter(|snapshot| !kept.contains(&snapshot.backend))
    {
        let problem = Problem::MissingFiles {
            namespace: snapshot.namespace.clone(),
            snapshotter: snapshot.snapshotter.clone(),
            key: snapshot.key.clone(),
        };
        found.push(
            match numbered(&snapshot.backend).filter(|number| cut_off.contains(number)) {
                Some(number) => {
                    half.insert(number);
                    Found::left(
                        problem,
                        "a commit was cut off; the daemon finishes it when it starts",
                    )
                }
                None => Found::remove(problem, snapshot.without()),
            },
        );
    }
    cut_off.retain(|number| half.contains(number));
    let times: HashMap<String, _> = orphans
        .iter()
        .map(|info| (info.name.clone(), info.updated))
        .collect();
    let left: Vec<Info> = orphans
        .iter()
        .filter(|info| numbered(&info.name).is_none_or(|number| !cut_off.contains(number)))
        .cloned()
        .collect();
    // What stands on others goes before them.
    for key in generations(&left).into_iter().flatten() {
        let changed = times
            .get(&key)
            .copied()
            .unwrap_or(std::time::SystemTime::UNIX_EPOCH);
        found.push(Found::snapshot(snapshotter, key, changed));
    }
    Ok(())
}

async fn list(snapshotter: &dyn Snapshotter) -> Result<Vec<Info>, Error> {
    let mut listed: Vec<Info> = Vec::new();
    loop {
        let after = listed.last().map(|last| last.name.as_str());
        let mut page = snapshotter.list(after, PAGE).await?;
        let full = page.len() == PAGE;
        listed.append(&mut page);
        if !full {
            return Ok(listed);
        }
    }
}
