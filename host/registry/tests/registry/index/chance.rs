//! Whatever is done in whatever order, the answers are those of a walk.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::prelude::*;
use transom_meta::kv::Kv;
use transom_meta::kv::memory::Memory as MemoryKv;
use transom_registry::names::Tag;
use transom_registry::store::{Arrived, Collection};
use transom_registry::{Error, Store};
use transom_storage::{StorageDriver, StoragePath};

use super::stamped::Stamped;
use super::{REPOSITORIES, catalog, digest, indexed, listed, manifest, name, push, walking, with};
use crate::serving::INDEX;

const TAGS: [&str; 8] = ["1", "2", "a", "a-b", "a.b", "B", "_", "z"];

/// Something that is done to a registry.
#[derive(Clone, Debug)]
enum Deed {
    Push(usize, Vec<usize>, u32),
    /// A manifest comes from another registry, perhaps under a tag.
    Arrive(usize, Option<usize>, u32),
    /// What came and nobody uses goes.
    Evict(usize),
    DeleteTag(usize, usize),
    DeleteManifest(usize, u32),
    Collect,
    /// The same by another process, without an index.
    Elsewhere(Box<Deed>),
    /// Without a word to anybody: a folder below a repository is gone.
    Vanish(usize, &'static str),
    /// The answer of the driver is lost.
    Fail(Box<Deed>),
    Build,
    Restart,
}

fn deed() -> impl Strategy<Value = Deed> {
    let (repository, tag, number) = (0..REPOSITORIES.len(), 0..TAGS.len(), 0..4u32);
    let several = prop::collection::vec(tag.clone(), 0..4);
    let perhaps = prop::option::of(tag.clone());
    prop_oneof![
        5 => (repository.clone(), several, number.clone()).prop_map(|(at, tags, number)| Deed::Push(at, tags, number)),
        2 => (repository.clone(), perhaps, number.clone()).prop_map(|(at, tag, number)| Deed::Arrive(at, tag, number)),
        1 => repository.clone().prop_map(Deed::Evict),
        2 => (repository.clone(), tag).prop_map(|(at, tag)| Deed::DeleteTag(at, tag)),
        2 => (repository, number).prop_map(|(at, number)| Deed::DeleteManifest(at, number)),
        1 => Just(Deed::Collect),
    ]
}

/// What may happen where several write.
fn shared_deed() -> impl Strategy<Value = Deed> {
    let folders = prop_oneof![
        Just(""),
        Just("/_manifests"),
        Just("/_manifests/tags"),
        Just("/_manifests/revisions")
    ];
    prop_oneof![
        4 => deed(),
        4 => deed().prop_map(|deed| Deed::Elsewhere(Box::new(deed))),
        1 => (0..REPOSITORIES.len(), folders).prop_map(|(at, folder)| Deed::Vanish(at, folder)),
        1 => deed().prop_map(|deed| Deed::Fail(Box::new(deed))),
        1 => Just(Deed::Build),
        1 => Just(Deed::Restart),
    ]
}

/// What may happen where only one process writes.
fn own_deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        12 => deed(),
        1 => deed().prop_map(|deed| Deed::Fail(Box::new(deed))),
        1 => Just(Deed::Build),
        1 => Just(Deed::Restart),
    ]
}

/// Two stores on one driver, of which one has an index.
struct Pair {
    driver: Stamped,
    kv: Arc<MemoryKv>,
    only_writer: bool,
    indexed: Store,
    walking: Store,
}

impl Pair {
    fn new(stamps: bool, only_writer: bool) -> Pair {
        let driver = Stamped::new(stamps);
        let (indexed, kv) = indexed(Arc::new(driver.clone()), only_writer);
        let walking = walking(Arc::new(driver.clone()));
        Pair {
            driver,
            kv,
            only_writer,
            indexed,
            walking,
        }
    }

    async fn run(&mut self, deed: &Deed) {
        match deed {
            Deed::Elsewhere(deed) => drop(simple(&self.walking, deed).await),
            Deed::Vanish(at, folder) => {
                let path = format!("/docker/registry/v2/repositories/{}{folder}", REPOSITORIES[*at]);
                let _ = self.driver.delete(&StoragePath::new(&path).unwrap()).await;
            }
            Deed::Fail(deed) => {
                self.driver.failing.store(true, Ordering::SeqCst);
                let _ = simple(&self.indexed, deed).await;
                self.driver.failing.store(false, Ordering::SeqCst);
            }
            Deed::Build => drop(self.indexed.build_index().await.unwrap()),
            Deed::Restart => {
                let kv = Arc::clone(&self.kv) as Arc<dyn Kv>;
                self.indexed = with(Arc::new(self.driver.clone()), kv, self.only_writer);
            }
            deed => drop(simple(&self.indexed, deed).await),
        }
    }

    async fn compare(&self, at: usize, most: usize) -> Result<(), TestCaseError> {
        let repository = REPOSITORIES[at % REPOSITORIES.len()];
        for last in [None, Some(TAGS[at % TAGS.len()])] {
            let (found, wanted) = (
                listed(&self.indexed, repository, last, most).await,
                listed(&self.walking, repository, last, most).await,
            );
            prop_assert_eq!(found, wanted, "tags of {} after {:?}", repository, last);
        }
        for last in [None, Some(repository), Some("a/b-c")] {
            let (found, wanted) = (
                catalog(&self.indexed, last, most).await,
                catalog(&self.walking, last, most).await,
            );
            prop_assert_eq!(found, wanted, "catalog after {:?}", last);
        }
        Ok(())
    }
}

/// Does what a client can do.
async fn simple(store: &Store, deed: &Deed) -> Result<(), Error> {
    match deed {
        Deed::Push(at, set, number) => {
            let set: BTreeSet<&str> = set.iter().map(|tag| TAGS[*tag]).collect();
            let set: Vec<&str> = set.into_iter().collect();
            push(store, REPOSITORIES[*at], &set, *number).await
        }
        Deed::Arrive(at, tag, number) => {
            let tag = tag.map(|tag| Tag::new(TAGS[tag]).unwrap());
            let arrived = Arrived {
                digest: digest(*number),
                media_type: INDEX.to_owned(),
                bytes: manifest(*number).into(),
            };
            let repository = name(REPOSITORIES[*at]);
            store
                .keep_arrived(&repository, tag.as_ref(), arrived)
                .await
                .map(drop)
        }
        Deed::Evict(at) => store
            .evict(&name(REPOSITORIES[*at]), Duration::ZERO)
            .await
            .map(drop),
        Deed::DeleteTag(at, tag) => {
            let tag = Tag::new(TAGS[*tag]).unwrap();
            store.delete_tag(&name(REPOSITORIES[*at]), &tag).await.map(drop)
        }
        Deed::DeleteManifest(at, number) => {
            let (repository, digest) = (name(REPOSITORIES[*at]), digest(*number));
            store.delete_manifest(&repository, &digest).await.map(drop)
        }
        Deed::Collect => {
            let collection = Collection {
                settle: Duration::ZERO,
                untagged_after: Some(Duration::ZERO),
                dry_run: false,
            };
            store.collect(&collection).await.map(drop)
        }
        deed => panic!("{deed:?} is not simple"),
    }
}

fn run_all(pair: Pair, deeds: &[Deed], most: usize) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut pair = pair;
        for (at, deed) in deeds.iter().enumerate() {
            pair.run(deed).await;
            pair.compare(at, most).await?;
        }
        for at in 0..REPOSITORIES.len() {
            pair.compare(at, usize::MAX - 1).await?;
        }
        let compared = pair.indexed.compare_index().await.unwrap();
        prop_assert_eq!(&compared.wrong, &Vec::<String>::new(), "{:?}", compared);
        Ok(())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answers_are_those_of_a_walk_where_several_write(
        deeds in prop::collection::vec(shared_deed(), 1..40),
        most in 0..5usize,
    ) {
        run_all(Pair::new(true, false), &deeds, most)?;
    }

    #[test]
    fn answers_are_those_of_a_walk_where_one_writes(
        deeds in prop::collection::vec(own_deed(), 1..40),
        most in 0..5usize,
        stamps in any::<bool>(),
    ) {
        run_all(Pair::new(stamps, true), &deeds, most)?;
    }

    #[test]
    fn a_driver_that_cannot_tell_is_walked(
        deeds in prop::collection::vec(shared_deed(), 1..20),
        most in 0..5usize,
    ) {
        run_all(Pair::new(false, false), &deeds, most)?;
    }
}
