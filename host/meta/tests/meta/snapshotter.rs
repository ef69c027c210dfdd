//! A snapshotter in memory, for tests of what is kept about snapshots.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use tokio::sync::Semaphore;
use transom_meta::Labels;
use transom_meta::kv::Pending;
use transom_meta::snapshots::{Info, Kind, SnapshotError, Snapshotter, Usage};
use transom_sys::Mount;

/// What it can be told to do besides its work.
#[derive(Debug)]
pub(crate) struct Fake {
    name: String,
    pub(crate) all: Mutex<BTreeMap<String, Info>>,
    /// Snapshots by the label `containerd.io/snapshot.ref` that it has without having been asked for them.
    pub(crate) remote: Mutex<BTreeSet<String>>,
    /// Those who have made or committed something wait here, if it is to stop them.
    pub(crate) stops: AtomicBool,
    pub(crate) stopped: Semaphore,
    pub(crate) go_on: Semaphore,
    /// Removals fail.
    pub(crate) busy: AtomicBool,
    pub(crate) cleanups: AtomicU64,
    pub(crate) updates: AtomicU64,
}

type Result<T> = std::result::Result<T, SnapshotError>;

impl Fake {
    pub(crate) fn new(name: &str) -> Fake {
        Fake {
            name: name.to_owned(),
            all: Mutex::default(),
            remote: Mutex::default(),
            stops: AtomicBool::new(false),
            stopped: Semaphore::new(0),
            go_on: Semaphore::new(0),
            busy: AtomicBool::new(false),
            cleanups: AtomicU64::new(0),
            updates: AtomicU64::new(0),
        }
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.all.lock().unwrap().keys().cloned().collect()
    }

    pub(crate) fn get(&self, key: &str) -> Info {
        self.all.lock().unwrap()[key].clone()
    }

    /// The key, without the number, of what it has in the namespace `testing`.
    pub(crate) fn names(&self) -> Vec<String> {
        let name = |key: String| key.splitn(3, '/').nth(2).unwrap().to_owned();
        let mut names: Vec<String> = self.keys().into_iter().map(name).collect();
        names.sort();
        names
    }

    fn make(&self, kind: Kind, key: &str, parent: &str, labels: Labels) -> Result<Vec<Mount>> {
        let mut all = self.all.lock().unwrap();
        let now = SystemTime::now();
        let mut info = Info {
            kind,
            name: key.to_owned(),
            parent: parent.to_owned(),
            labels,
            created: now,
            updated: now,
        };
        if let Some(target) = info.labels.get("containerd.io/snapshot.ref")
            && self.remote.lock().unwrap().contains(target)
        {
            info.kind = Kind::Committed;
            info.name = format!("remote/0/{target}");
            info.labels
                .insert("containerd.io/snapshot/remote".to_owned(), "yes".to_owned());
            all.entry(info.name.clone()).or_insert(info);
            return Err(SnapshotError::AlreadyExists { key: key.to_owned() });
        }
        if !parent.is_empty() {
            match all.get(parent).map(|parent| parent.kind) {
                None => {
                    return Err(SnapshotError::ParentNotFound {
                        parent: parent.to_owned(),
                    });
                }
                Some(Kind::Committed) => {}
                Some(_) => {
                    return Err(SnapshotError::ParentNotCommitted {
                        parent: parent.to_owned(),
                    });
                }
            }
        }
        if all.contains_key(key) {
            return Err(SnapshotError::AlreadyExists { key: key.to_owned() });
        }
        all.insert(key.to_owned(), info);
        Ok(vec![mount(key)])
    }

    fn turn(&self, name: &str, key: &str, parent: &str, labels: Labels) -> Result<()> {
        let mut all = self.all.lock().unwrap();
        if all.contains_key(name) {
            return Err(SnapshotError::AlreadyExists { key: name.to_owned() });
        }
        if !parent.is_empty() && !all.contains_key(parent) {
            return Err(SnapshotError::ParentNotFound {
                parent: parent.to_owned(),
            });
        }
        let mut info = all.remove(key).ok_or_else(|| missing(key))?;
        info.kind = Kind::Committed;
        name.clone_into(&mut info.name);
        info.labels = labels;
        if !parent.is_empty() {
            assert_eq!(info.parent, "", "only one without a parent is given one");
            parent.clone_into(&mut info.parent);
        }
        all.insert(name.to_owned(), info);
        Ok(())
    }

    fn take(&self, key: &str) -> Result<()> {
        let mut all = self.all.lock().unwrap();
        let state = |what: &str| {
            Err(SnapshotError::State {
                what: what.to_owned(),
            })
        };
        if self.busy.load(Ordering::Relaxed) {
            return state("the device is busy");
        }
        if all.values().any(|info| info.parent == key) {
            return state("cannot remove snapshot with child");
        }
        all.remove(key).map(drop).ok_or_else(|| missing(key))
    }

    async fn stop(&self) {
        if self.stops.load(Ordering::SeqCst) {
            self.stopped.add_permits(1);
            self.go_on.acquire().await.unwrap().forget();
        }
    }

    /// Waits until somebody has stopped.
    pub(crate) async fn until_stopped(&self) {
        self.stopped.acquire().await.unwrap().forget();
    }

    /// Lets those go on who have stopped, and nobody stops any more.
    pub(crate) fn release(&self, count: usize) {
        self.stops.store(false, Ordering::SeqCst);
        self.go_on.add_permits(count);
    }
}

pub(crate) fn mount(key: &str) -> Mount {
    Mount {
        kind: "bind".to_owned(),
        source: format!("/{key}"),
        ..Mount::default()
    }
}

fn missing(key: &str) -> SnapshotError {
    SnapshotError::NotFound { key: key.to_owned() }
}

fn at_once<'a, T: Send + 'a>(value: T) -> Pending<'a, T> {
    Box::pin(std::future::ready(value))
}

impl Snapshotter for Fake {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> Vec<String> {
        vec!["rebase".to_owned()]
    }

    fn root(&self) -> Option<&Path> {
        None
    }

    fn prepare<'a>(
        &'a self,
        key: &'a str,
        parent: &'a str,
        labels: Labels,
    ) -> Pending<'a, Result<Vec<Mount>>> {
        Box::pin(async move {
            let made = self.make(Kind::Active, key, parent, labels);
            self.stop().await;
            made
        })
    }

    fn view<'a>(&'a self, key: &'a str, parent: &'a str, labels: Labels) -> Pending<'a, Result<Vec<Mount>>> {
        at_once(self.make(Kind::View, key, parent, labels))
    }

    fn mounts<'a>(&'a self, key: &'a str) -> Pending<'a, Result<Vec<Mount>>> {
        let there = self.all.lock().unwrap().contains_key(key);
        at_once(if there {
            Ok(vec![mount(key)])
        } else {
            Err(missing(key))
        })
    }

    fn commit<'a>(
        &'a self,
        name: &'a str,
        key: &'a str,
        parent: &'a str,
        labels: Labels,
    ) -> Pending<'a, Result<()>> {
        Box::pin(async move {
            let turned = self.turn(name, key, parent, labels);
            self.stop().await;
            turned
        })
    }

    fn remove<'a>(&'a self, key: &'a str) -> Pending<'a, Result<()>> {
        at_once(self.take(key))
    }

    fn stat<'a>(&'a self, key: &'a str) -> Pending<'a, Result<Info>> {
        at_once(
            self.all
                .lock()
                .unwrap()
                .get(key)
                .cloned()
                .ok_or_else(|| missing(key)),
        )
    }

    fn update<'a>(&'a self, key: &'a str, labels: Labels, replace: bool) -> Pending<'a, Result<Info>> {
        self.updates.fetch_add(1, Ordering::Relaxed);
        let mut all = self.all.lock().unwrap();
        let updated = all.get_mut(key).ok_or_else(|| missing(key)).map(|info| {
            if replace {
                info.labels.clear();
            }
            info.labels.extend(labels);
            info.clone()
        });
        at_once(updated)
    }

    fn list<'a>(&'a self, after: Option<&'a str>, limit: usize) -> Pending<'a, Result<Vec<Info>>> {
        let all = self.all.lock().unwrap();
        let later = all
            .iter()
            .filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
        at_once(Ok(later.map(|(_, info)| info.clone()).take(limit).collect()))
    }

    fn usage<'a>(&'a self, key: &'a str) -> Pending<'a, Result<Usage>> {
        let there = self.all.lock().unwrap().contains_key(key);
        let usage = Usage {
            size: 4096,
            inodes: 1,
        };
        at_once(if there { Ok(usage) } else { Err(missing(key)) })
    }

    fn cleanup(&self) -> Pending<'_, Result<()>> {
        self.cleanups.fetch_add(1, Ordering::Relaxed);
        at_once(Ok(()))
    }
}
