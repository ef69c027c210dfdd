//! What one request does in the middle of another: each test puts a whole operation between the reads of another one and
//! its commit.

use std::fmt;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::sync::{Notify, broadcast};
use transom_meta::kv::memory::Memory;
use transom_meta::kv::{Change, Kv, KvError, Outcome, Pair, Pending, Range, Stats, Transaction};
use transom_meta::leases::IMAGES;
use transom_meta::{Class, Labels, Metadata};

use crate::records::{caller, image, keys, labels, metadata_on, namespace, refused, subscribe, texts};
use crate::snapshotter::Fake;

type Action = Box<dyn FnOnce() -> Pending<'static, ()> + Send>;

/// A store that does something else before the first commit that writes a certain key, and has certain value or deletes it.
struct Interposed {
    store: Memory,
    armed: Mutex<Option<(&'static str, bool, Action)>>,
}

impl fmt::Debug for Interposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Interposed").field(&self.store).finish()
    }
}

impl Interposed {
    fn due(&self, transaction: &Transaction) -> Option<Action> {
        let mut armed = self.armed.lock().unwrap();
        let hits = |(key, deletes, _): &mut (&str, bool, Action)| {
            let mut writes = transaction.writes.iter();
            writes.any(|write| write.key() == key.as_bytes() && write.value().is_none() == *deletes)
        };
        armed.take_if(hits).map(|(_, _, action)| action)
    }
}

impl Kv for Interposed {
    fn name(&self) -> &'static str {
        "interposed"
    }

    fn get<'a>(&'a self, key: &'a [u8]) -> Pending<'a, Result<Option<bytes::Bytes>, KvError>> {
        self.store.get(key)
    }

    fn range<'a>(&'a self, range: &'a Range, limit: usize) -> Pending<'a, Result<Vec<Pair>, KvError>> {
        self.store.range(range, limit)
    }

    fn commit(&self, transaction: Transaction) -> Pending<'_, Result<Outcome, KvError>> {
        Box::pin(async move {
            if let Some(action) = self.due(&transaction) {
                action().await;
            }
            self.store.commit(transaction).await
        })
    }

    fn watch(&self) -> broadcast::Receiver<Change> {
        self.store.watch()
    }

    fn size(&self) -> Pending<'_, Result<u64, KvError>> {
        self.store.size()
    }

    fn stats(&self) -> Stats {
        self.store.stats()
    }
}

struct Stage {
    kv: Arc<Interposed>,
    metadata: Metadata,
    _dir: TempDir,
}

/// Metadata with the namespace `testing`, in which is the lease `l`.
async fn stage() -> Stage {
    let kv = Arc::new(Interposed {
        store: Memory::new(),
        armed: Mutex::default(),
    });
    let (metadata, dir) = metadata_on(kv.clone()).await;
    metadata
        .create_lease(&namespace("testing"), "l", Labels::new())
        .await
        .unwrap();
    Stage {
        kv,
        metadata,
        _dir: dir,
    }
}

impl Stage {
    /// Does `action` before the commit that deletes (or else sets) `key`.
    fn before<F>(&self, deletes: bool, key: &'static str, action: impl FnOnce(Metadata) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let metadata = self.metadata.clone();
        let action: Action = Box::new(move || Box::pin(action(metadata)));
        *self.kv.armed.lock().unwrap() = Some((key, deletes, action));
    }

    /// All keys but those that every store has; the action must have been done.
    async fn left(&self) -> Vec<String> {
        assert!(self.kv.armed.lock().unwrap().is_none());
        let mut keys = keys(&self.metadata).await;
        keys.retain(|key| key != "v" && key != "q");
        keys
    }
}

const DELETES: bool = true;
const SETS: bool = false;

async fn new_lease(metadata: Metadata) {
    let name = namespace("testing");
    let made = metadata.create_lease(&name, "late", Labels::new()).await;
    made.unwrap();
}

async fn new_resource(metadata: Metadata) {
    let name = namespace("testing");
    let added = metadata.add_resource(&name, "l", IMAGES, "late").await;
    added.unwrap();
}

async fn delete_namespace(metadata: Metadata) {
    metadata.delete_namespace(&namespace("testing")).await.unwrap();
}

async fn delete_lease(metadata: Metadata) {
    metadata.delete_lease(&namespace("testing"), "l").await.unwrap();
}

#[tokio::test]
async fn a_namespace_is_deleted_with_the_lease_that_comes_while_it_is() {
    let stage = stage().await;
    stage.before(DELETES, "n/testing", new_lease);
    delete_namespace(stage.metadata.clone()).await;
    assert_eq!(stage.left().await, [""; 0]);
}

#[tokio::test]
async fn a_namespace_in_which_an_image_comes_is_not_deleted() {
    let stage = stage().await;
    stage.before(DELETES, "n/testing", |metadata| async move {
        metadata.create_image(&caller(), image("a"), None).await.unwrap();
    });
    let deleted = stage.metadata.delete_namespace(&namespace("testing")).await;
    assert_eq!(refused(deleted).0, Class::FailedPrecondition);
    assert_eq!(stage.left().await, ["i/testing/a", "l/testing/l", "n/testing"]);
}

#[tokio::test]
async fn a_namespace_is_deleted_once_by_two() {
    let stage = stage().await;
    stage.before(DELETES, "n/testing", delete_namespace);
    let deleted = stage.metadata.delete_namespace(&namespace("testing")).await;
    assert_eq!(refused(deleted).0, Class::NotFound);
    assert_eq!(stage.left().await, [""; 0]);
}

#[tokio::test]
async fn a_namespace_that_came_back_is_another_one() {
    let stage = stage().await;
    // Deleted, made again with what the first deletion has not seen, and about to be deleted again.
    stage.before(DELETES, "n/testing", |metadata| async move {
        delete_namespace(metadata.clone()).await;
        new_lease(metadata).await;
    });
    delete_namespace(stage.metadata.clone()).await;
    assert_eq!(stage.left().await, [""; 0]);
}

#[tokio::test]
async fn labels_that_come_while_a_namespace_is_deleted_go_with_it() {
    let stage = stage().await;
    stage.before(DELETES, "n/testing", |metadata| async move {
        let name = namespace("testing");
        let paths = texts(["labels.a"]);
        metadata
            .update_namespace(&name, labels([("a", "1")]), &paths)
            .await
            .unwrap();
    });
    delete_namespace(stage.metadata.clone()).await;
    assert_eq!(stage.left().await, [""; 0]);
}

#[tokio::test]
async fn a_write_during_which_its_namespace_is_deleted_makes_it_again() {
    let stage = stage().await;
    stage.before(SETS, "l/testing/late", delete_namespace);
    new_lease(stage.metadata.clone()).await;
    assert_eq!(stage.left().await, ["l/testing/late", "n/testing"]);
}

#[tokio::test]
async fn a_write_that_began_before_a_deletion_that_fails_goes_through() {
    let stage = stage().await;
    stage.before(SETS, "i/testing/a", |metadata| async move {
        metadata.create_image(&caller(), image("b"), None).await.unwrap();
        refused(metadata.delete_namespace(&namespace("testing")).await);
    });
    stage
        .metadata
        .create_image(&caller(), image("a"), None)
        .await
        .unwrap();
    let left = ["i/testing/a", "i/testing/b", "l/testing/l", "n/testing"];
    assert_eq!(stage.left().await, left);
}

#[tokio::test]
async fn a_lease_is_deleted_with_the_resource_that_comes_while_it_is() {
    let stage = stage().await;
    stage.before(DELETES, "l/testing/l", new_resource);
    delete_lease(stage.metadata.clone()).await;
    assert_eq!(stage.left().await, ["n/testing"]);
}

#[tokio::test]
async fn a_resource_does_not_outlive_a_lease_that_is_deleted_meanwhile() {
    let stage = stage().await;
    stage.before(SETS, "r/testing/0001limages/late", delete_lease);
    let added = stage
        .metadata
        .add_resource(&namespace("testing"), "l", IMAGES, "late")
        .await;
    assert_eq!(refused(added), (Class::NotFound, r#"lease "l""#.to_owned()));
    assert_eq!(stage.left().await, ["n/testing"]);
}

#[tokio::test]
async fn an_image_that_changes_while_its_target_is_checked_is_not_deleted() {
    let stage = stage().await;
    stage
        .metadata
        .create_image(&caller(), image("a"), None)
        .await
        .unwrap();
    let target = image("a").target.unwrap().digest;
    stage.before(DELETES, "i/testing/a", |metadata| async move {
        let mut change = image("a");
        change.target = image("b").target;
        metadata.update_image(&caller(), change, &[], None).await.unwrap();
    });
    let deleted = stage.metadata.delete_image(&caller(), "a", Some(&target)).await;
    assert_eq!(refused(deleted).0, Class::NotFound);
    assert_eq!(stage.left().await, ["i/testing/a", "l/testing/l", "n/testing"]);
}

#[tokio::test]
async fn what_the_store_was_given_happens_with_its_event_when_the_client_hangs_up() {
    let stage = stage().await;
    let mut subscription = subscribe(&stage.metadata, []);
    let (given, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (given.clone(), go_on.clone());
    stage.before(SETS, "i/testing/a", |_| async move {
        tell.notify_one();
        wait.notified().await;
    });
    let metadata = stage.metadata.clone();
    let request = tokio::spawn(async move { metadata.create_image(&caller(), image("a"), None).await });
    given.notified().await;
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    assert_eq!(stage.left().await, ["l/testing/l", "n/testing"]);

    go_on.notify_one();
    let event = subscription.next().await.unwrap();
    assert_eq!(event.topic, "/images/create");
    assert_eq!(stage.left().await, ["i/testing/a", "l/testing/l", "n/testing"]);
}

#[tokio::test]
async fn a_sweep_that_has_still_seen_a_snapshot_is_not_the_last_one() {
    let stage = stage().await;
    let fake = Arc::new(Fake::new("fake"));
    stage.metadata.add_snapshotter(fake.clone()).await.unwrap();
    let snapshots = stage.metadata.snapshots("fake").unwrap();
    snapshots
        .prepare(&caller(), "a", "", Labels::new())
        .await
        .unwrap();
    stage.before(DELETES, "s/testing/fake/a", |metadata| async move {
        metadata.snapshots("fake").unwrap().cleanup().await.unwrap();
    });
    snapshots.remove(&caller(), "a").await.unwrap();
    assert_eq!(stage.left().await, ["l/testing/l", "n/testing"]);
    assert_eq!(fake.names(), ["a"]);
    stage.metadata.collect().await.unwrap();
    assert_eq!(fake.names(), [""; 0]);
}
