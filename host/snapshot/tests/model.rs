//! Sequences of calls against a naive model.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use transom_meta::error::Class;
use transom_meta::names::Labels;
use transom_meta::snapshots::{Kind, SnapshotError, Snapshotter as _};
use transom_sys::Mount;

use crate::helpers::{Which, World, on, own_files, write};

/// The keys and names that are used; few, so that they meet.
const KEYS: [&str; 5] = ["a", "b", "a/b", "c", "d"];

#[derive(Clone, Debug)]
enum Call {
    Prepare {
        key: &'static str,
        parent: &'static str,
    },
    View {
        key: &'static str,
        parent: &'static str,
    },
    Commit {
        name: &'static str,
        key: &'static str,
        parent: &'static str,
    },
    Remove {
        key: &'static str,
    },
    Update {
        key: &'static str,
        value: u8,
    },
    Write {
        key: &'static str,
        file: u8,
    },
    Reopen,
}

fn call() -> impl Strategy<Value = Call> {
    let key = || proptest::sample::select(&KEYS[..]);
    let parent = || prop_oneof![2 => Just(""), 3 => key()];
    prop_oneof![
        4 => (key(), parent()).prop_map(|(key, parent)| Call::Prepare { key, parent }),
        2 => (key(), parent()).prop_map(|(key, parent)| Call::View { key, parent }),
        4 => (key(), key(), prop_oneof![3 => Just(""), 1 => key()])
            .prop_map(|(name, key, parent)| Call::Commit { name, key, parent }),
        2 => key().prop_map(|key| Call::Remove { key }),
        1 => (key(), 0_u8..3).prop_map(|(key, value)| Call::Update { key, value }),
        3 => (key(), any::<u8>()).prop_map(|(key, file)| Call::Write { key, file }),
        1 => Just(Call::Reopen),
    ]
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Snapshot {
    kind: Kind,
    parent: String,
    own: BTreeSet<String>,
    labels: Labels,
}

#[derive(Default)]
struct Model {
    snapshots: BTreeMap<String, Snapshot>,
    rebases: bool,
}

impl Model {
    fn parent(&self, parent: &str) -> Result<(), Class> {
        match self.snapshots.get(parent) {
            _ if parent.is_empty() => Ok(()),
            None => Err(Class::NotFound),
            Some(found) if found.kind != Kind::Committed => Err(Class::InvalidArgument),
            Some(_) => Ok(()),
        }
    }

    fn create(&mut self, kind: Kind, key: &str, parent: &str) -> Result<(), Class> {
        self.parent(parent)?;
        if self.snapshots.contains_key(key) {
            return Err(Class::AlreadyExists);
        }
        let snapshot = Snapshot {
            kind,
            parent: parent.to_owned(),
            own: BTreeSet::new(),
            labels: Labels::new(),
        };
        self.snapshots.insert(key.to_owned(), snapshot);
        Ok(())
    }

    fn commit(&mut self, name: &str, key: &str, parent: &str) -> Result<(), Class> {
        let mut snapshot = self.snapshots.get(key).cloned().ok_or(Class::NotFound)?;
        if self.snapshots.contains_key(name) {
            return Err(Class::AlreadyExists);
        }
        if snapshot.kind != Kind::Active {
            return Err(Class::FailedPrecondition);
        }
        if !parent.is_empty() && parent != snapshot.parent {
            if !snapshot.parent.is_empty() || !self.rebases {
                return Err(Class::InvalidArgument);
            }
            self.parent(parent)?;
            snapshot.parent = parent.to_owned();
        }
        snapshot.kind = Kind::Committed;
        snapshot.labels = Labels::new();
        self.snapshots.remove(key);
        self.snapshots.insert(name.to_owned(), snapshot);
        Ok(())
    }

    fn remove(&mut self, key: &str) -> Result<(), Class> {
        if !self.snapshots.contains_key(key) {
            return Err(Class::NotFound);
        }
        if self.snapshots.values().any(|snapshot| snapshot.parent == key) {
            return Err(Class::FailedPrecondition);
        }
        self.snapshots.remove(key);
        Ok(())
    }

    /// The files that are seen in a snapshot.
    fn files(&self, key: &str) -> BTreeSet<String> {
        let Some(snapshot) = self.snapshots.get(key) else {
            return BTreeSet::new();
        };
        let mut files = self.files(&snapshot.parent);
        files.extend(snapshot.own.iter().cloned());
        files
    }
}

/// Does a call with both; both must answer the same.
async fn step(world: &mut World, model: &mut Model, call: &Call) -> Result<(), TestCaseError> {
    let local = &world.local;
    let class = |result: Result<(), SnapshotError>| result.map_err(|error| error.class());
    let (got, wanted) = match call {
        Call::Prepare { key, parent } => (
            class(local.prepare(key, parent, Labels::new()).await.map(drop)),
            model.create(Kind::Active, key, parent),
        ),
        Call::View { key, parent } => (
            class(local.view(key, parent, Labels::new()).await.map(drop)),
            model.create(Kind::View, key, parent),
        ),
        Call::Commit { name, key, parent } => (
            class(local.commit(name, key, parent, Labels::new()).await),
            model.commit(name, key, parent),
        ),
        Call::Remove { key } => (class(local.remove(key).await), model.remove(key)),
        Call::Update { key, value } => {
            let text = value
                .checked_sub(1)
                .map_or_else(String::new, |value| value.to_string());
            let labels: Labels = [("l".to_owned(), text)].into();
            let found = model.snapshots.get_mut(*key).map(|snapshot| {
                snapshot.labels = labels.clone();
                snapshot.labels.retain(|_, value| !value.is_empty());
            });
            (
                class(local.update(key, labels, false).await.map(drop)),
                found.ok_or(Class::NotFound),
            )
        }
        Call::Write { key, file } => {
            if let Some(snapshot) = model.snapshots.get_mut(*key).filter(|s| s.kind == Kind::Active) {
                snapshot.own.insert(file.to_string());
                write(&world.files(key).await.join(file.to_string()), "x");
            }
            return Ok(());
        }
        Call::Reopen => {
            world.local = world.which.open(&world.kv, &world.root(), None).await.unwrap();
            prop_assert!(world.local.found().garbage.is_empty());
            return Ok(());
        }
    };
    prop_assert_eq!(got, wanted, "{:?}", call);
    Ok(())
}

/// The folders that are laid over each other by some mounts.
fn layers(mounts: &[Mount]) -> Vec<PathBuf> {
    let lower = mounts[0].options.iter().find_map(|o| o.strip_prefix("lowerdir="));
    let lower = lower.into_iter().flat_map(|folders| folders.split(':'));
    let upper = (mounts[0].kind == "bind" || mounts[0].options.iter().any(|o| o.starts_with("upperdir=")))
        .then(|| own_files(mounts));
    upper.into_iter().chain(lower.map(PathBuf::from)).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Both hold the same.
async fn compare(world: &World, model: &Model) -> Result<(), TestCaseError> {
    let mut listed = BTreeMap::new();
    for info in world.list().await {
        let files = match info.kind {
            Kind::Committed => model.files(&info.name),
            _ => {
                let mounts = world.local.mounts(&info.name).await.unwrap();
                layers(&mounts).iter().flat_map(|folder| names(folder)).collect()
            }
        };
        prop_assert_eq!(&files, &model.files(&info.name), "{}", info.name);
        listed.insert(info.name, (info.kind, info.parent, info.labels));
    }
    let wanted: BTreeMap<_, _> = model
        .snapshots
        .iter()
        .map(|(key, s)| (key.clone(), (s.kind, s.parent.clone(), s.labels.clone())))
        .collect();
    prop_assert_eq!(listed, wanted);
    let folders = model
        .snapshots
        .values()
        .filter(|s| world.which == Which::Overlayfs || s.kind != Kind::View || s.parent.is_empty());
    prop_assert_eq!(world.folders().len(), folders.count());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn calls_do_what_the_model_does(calls in proptest::collection::vec(call(), 1..60), native: bool) {
        let which = if native { Which::Native } else { Which::Overlayfs };
        let mut outcome = Ok(());
        on(which, async |mut world: World| {
            let mut model = Model { rebases: which == Which::Overlayfs, ..Model::default() };
            for call in &calls {
                outcome = step(&mut world, &mut model, call).await;
                if outcome.is_ok() {
                    outcome = compare(&world, &model).await;
                }
                if outcome.is_err() {
                    break;
                }
            }
        });
        outcome?;
    }
}
