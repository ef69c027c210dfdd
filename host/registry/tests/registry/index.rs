//! The index: its answers are those of a walk, whoever changes what, and whatever goes wrong.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Runtime;
use transom_meta::kv::memory::Memory as MemoryKv;
use transom_meta::kv::{Kv, Range, Transaction, Write};
use transom_oci::{Algorithm, Digest};
use transom_registry::index::List;
use transom_registry::names::{RepositoryName, Tag};
use transom_registry::store::{ManifestPush, Referrers};
use transom_registry::{Error, Index, Options, Store};
use transom_storage::filesystem::Filesystem;
use transom_storage::{StorageDriver, StoragePath};

use crate::serving::INDEX;

#[path = "index/chance.rs"]
mod chance;
#[path = "index/failing.rs"]
mod failing;
#[path = "index/stamped.rs"]
mod stamped;

use stamped::Stamped;

const REPOSITORIES: [&str; 7] = ["a", "a/b", "a/b/c", "a-b", "b", "b/c", "c/d/e"];

fn name(text: &str) -> RepositoryName {
    RepositoryName::new(text).unwrap()
}

fn tags(all: &[&str]) -> Vec<Tag> {
    all.iter().map(|tag| Tag::new(tag).unwrap()).collect()
}

/// A manifest that needs nothing; each number is another one.
fn manifest(number: u32) -> String {
    format!(r#"{{"schemaVersion":2,"manifests":[],"annotations":{{"number":"{number}"}}}}"#)
}

fn digest(number: u32) -> Digest {
    Digest::of(Algorithm::Sha256, manifest(number).as_bytes())
}

async fn push(store: &Store, repository: &str, all: &[&str], number: u32) -> Result<(), Error> {
    let push = ManifestPush {
        digest: None,
        tags: &tags(all),
        media_type: Some(INDEX),
        bytes: manifest(number).into(),
    };
    store.push_manifest(&name(repository), push).await.map(drop)
}

/// What is the same if an error is.
async fn listed(store: &Store, repository: &str, last: Option<&str>, most: usize) -> (Vec<String>, bool) {
    match store.tags(&name(repository), last, most).await {
        Ok(page) => (page.items, page.more),
        Err(Error::RepositoryUnknown(_)) => (vec!["none".to_owned()], false),
        Err(error) => panic!("{error}"),
    }
}

async fn catalog(store: &Store, last: Option<&str>, most: usize) -> (Vec<String>, bool) {
    let last = last.map(name);
    let page = store.catalog(last.as_ref(), most).await.unwrap();
    (page.items, page.more)
}

/// A store on a driver with an index in memory, which is given, too.
fn indexed(driver: Arc<dyn StorageDriver>, only_writer: bool) -> (Store, Arc<MemoryKv>) {
    let kv = Arc::new(MemoryKv::new());
    (with(driver, Arc::clone(&kv) as Arc<dyn Kv>, only_writer), kv)
}

fn with(driver: Arc<dyn StorageDriver>, kv: Arc<dyn Kv>, only_writer: bool) -> Store {
    let store = walking(driver);
    store.use_index(Index::new(kv, only_writer));
    store
}

/// A store that walks.
fn walking(driver: Arc<dyn StorageDriver>) -> Store {
    let options = Options {
        grace: Duration::ZERO,
        ..Options::default()
    };
    Store::new(driver, options)
}

fn answered(store: &Store, list: List) -> u64 {
    store.index().unwrap().counted(list).0
}

#[tokio::test]
async fn a_long_list_is_not_listed_twice() {
    for (stamps, only_writer) in [(true, false), (false, true), (true, true)] {
        let driver = Stamped::new(stamps);
        let (store, _) = indexed(Arc::new(driver.clone()), only_writer);
        let all: Vec<String> = (0..1_000).map(|number| format!("v{number:04}")).collect();
        for some in all.chunks(50) {
            let some: Vec<&str> = some.iter().map(String::as_str).collect();
            push(&store, "a/b", &some, 1).await.unwrap();
        }
        for number in 0..200 {
            push(&store, &format!("many/r{number:03}"), &["latest"], 1)
                .await
                .unwrap();
        }
        let built = store.build_index().await.unwrap();
        assert_eq!((built.repositories, built.tags, built.unproved), (201, 1_200, 0));
        assert_eq!(built.manifests, 201);
        driver.lists();
        let mut found = Vec::new();
        loop {
            let last = found.last().cloned();
            let (items, more) = listed(&store, "a/b", last.as_deref(), 130).await;
            found.extend(items);
            if !more {
                break;
            }
        }
        assert_eq!(found, all);
        let (items, more) = catalog(&store, Some("many/r149"), 20).await;
        assert_eq!((items.len(), &items[0][..], more), (20, "many/r150", true));
        assert_eq!(driver.lists(), 0, "{stamps} {only_writer}");
        assert_eq!(
            (answered(&store, List::Tags), answered(&store, List::Catalog)),
            (8, 1)
        );
        // Building again reads no manifest twice.
        assert_eq!(store.build_index().await.unwrap().manifests, 0);
        driver.lists();
        // One more tag and one more repository: the only writer knows, the other one lists what has changed.
        push(&store, "a/b", &["w"], 1).await.unwrap();
        push(&store, "many/z", &["latest"], 1).await.unwrap();
        driver.lists();
        assert_eq!(
            listed(&store, "a/b", Some("v0999"), 9).await,
            (vec!["w".to_owned()], false)
        );
        assert_eq!(
            catalog(&store, Some("many/r199"), 9).await,
            (vec!["many/z".to_owned()], false)
        );
        let lists = driver.lists();
        assert_eq!(lists, if only_writer { 0 } else { 3 }, "{stamps}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_did_not_end_makes_lists_walk_until_it_cannot_come_about() {
    let driver = Stamped::new(false);
    let (store, _) = indexed(Arc::new(driver.clone()), true);
    push(&store, "a", &["one"], 1).await.unwrap();
    push(&store, "b", &["one"], 1).await.unwrap();
    store.build_index().await.unwrap();
    driver.failing.store(true, Ordering::SeqCst);
    push(&store, "a", &["two"], 2).await.unwrap_err();
    driver.failing.store(false, Ordering::SeqCst);
    driver.lists();
    // What came of it comes late: the driver does it when the client has its error.
    let walking = walking(Arc::new(driver.clone()));
    assert_eq!(listed(&store, "a", None, 9).await.0, ["one"]);
    push(&walking, "a", &["late"], 3).await.unwrap();
    assert_eq!(listed(&store, "a", None, 9).await.0, ["late", "one"]);
    assert!(driver.lists() >= 2);
    // Others are not concerned.
    assert_eq!(listed(&store, "b", None, 9).await.0, ["one"]);
    assert_eq!(driver.lists(), 0);
    tokio::time::advance(Duration::from_secs(601)).await;
    for _ in 0..2 {
        assert_eq!(listed(&store, "a", None, 9).await.0, ["late", "one"]);
        assert_eq!(catalog(&store, None, 9).await.0, ["a", "b"]);
    }
    assert!(driver.lists() > 0);
    assert_eq!(listed(&store, "a", None, 9).await.0, ["late", "one"]);
    assert_eq!(catalog(&store, None, 9).await.0, ["a", "b"]);
    assert_eq!(driver.lists(), 0);
}

/// Takes a tag out of the index behind its back.
async fn tamper(kv: &MemoryKv) {
    let pairs = kv.range(&Range::prefix(&b"t/"[..]), 10).await.unwrap();
    let text = String::from_utf8(pairs[0].value.to_vec()).unwrap();
    let writes = vec![Write::Put {
        key: pairs[0].key.clone(),
        value: text.replace("two", "").into(),
    }];
    let transaction = Transaction {
        writes,
        ..Transaction::default()
    };
    kv.commit(transaction).await.unwrap();
}

#[tokio::test]
async fn an_index_that_was_tampered_with_is_found_and_built_anew() {
    let driver = Stamped::new(true);
    let (store, kv) = indexed(Arc::new(driver.clone()), false);
    push(&store, "a", &["one", "two"], 1).await.unwrap();
    store.build_index().await.unwrap();
    let compared = store.compare_index().await.unwrap();
    assert!(compared.good(), "{compared:?}");
    // The top folder, the repository and its tags.
    assert_eq!((compared.proved, compared.unproved), (3, 0));
    tamper(&kv).await;
    let compared = store.compare_index().await.unwrap();
    assert_eq!(compared.wrong, ["tags of a"]);
    store.rebuild_index();
    store.build_index().await.unwrap();
    assert!(store.compare_index().await.unwrap().good());
    assert_eq!(listed(&store, "a", None, 9).await.0, ["one", "two"]);
}

#[tokio::test]
async fn a_rebuild_finds_what_came_behind_the_only_writers_back() {
    let driver = Stamped::new(false);
    let (store, _) = indexed(Arc::new(driver.clone()), true);
    push(&store, "a", &["one"], 1).await.unwrap();
    store.build_index().await.unwrap();
    let other = walking(Arc::new(driver.clone()));
    push(&other, "a", &["two"], 1).await.unwrap();
    push(&other, "b", &["one"], 1).await.unwrap();
    assert_eq!(listed(&store, "a", None, 9).await.0, ["one"]);
    assert_eq!(
        store.compare_index().await.unwrap().wrong,
        ["folder \"\"", "tags of a"]
    );
    store.rebuild_index();
    assert_eq!(listed(&store, "a", None, 9).await.0, ["one", "two"]);
    assert_eq!(catalog(&store, None, 9).await.0, ["a", "b"]);
    // And a process that begins believes nothing of an earlier one.
    let (store, kv) = indexed(Arc::new(driver.clone()), true);
    store.build_index().await.unwrap();
    push(&other, "a", &["three"], 1).await.unwrap();
    let next = with(Arc::new(driver), kv, true);
    assert_eq!(listed(&next, "a", None, 9).await.0, ["one", "three", "two"]);
}

/// Lists until the index has answered, so that the last change is long enough ago.
async fn settle(store: &Store, repository: &str) -> Vec<String> {
    let before = answered(store, List::Tags);
    loop {
        let found = listed(store, repository, None, usize::MAX - 1).await.0;
        if answered(store, List::Tags) > before {
            return found;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn instances_on_one_folder_see_what_the_others_do() {
    let folder = tempfile::tempdir().unwrap();
    let open = || -> Arc<dyn StorageDriver> { Arc::new(Filesystem::open(folder.path(), 25).unwrap()) };
    if !crate::index::has_stamps(folder.path()) {
        eprintln!("skipped: the folder for temporary files is on a file system that has no stamps");
        return;
    }
    let ((one, _), (other, _)) = (indexed(open(), false), indexed(open(), false));
    for round in 0..4 {
        let (own, theirs) = (format!("own-{round}"), format!("theirs-{round}"));
        push(&one, "a/b", &[&own], 1).await.unwrap();
        push(&other, "a/b", &[&theirs], 1).await.unwrap();
        // Right after the change, and from the index.
        let wanted = listed(&walking(open()), "a/b", None, 100).await.0;
        assert_eq!(wanted.len(), 2 * round + 2);
        for store in [&one, &other] {
            assert_eq!(listed(store, "a/b", None, 100).await.0, wanted);
            assert_eq!(settle(store, "a/b").await, wanted);
        }
    }
    let by_hand = folder
        .path()
        .join("docker/registry/v2/repositories/a/b/_manifests/tags");
    std::fs::remove_dir_all(by_hand.join("own-0")).unwrap();
    std::fs::create_dir_all(by_hand.join("new/current")).unwrap();
    let found = settle(&one, "a/b").await;
    assert!(
        found.contains(&"new".to_owned()) && !found.contains(&"own-0".to_owned()),
        "{found:?}"
    );
    assert_eq!(catalog(&other, None, 9).await.0, ["a/b"]);
    push(&one, "c", &["latest"], 1).await.unwrap();
    assert_eq!(catalog(&other, None, 9).await.0, ["a/b", "c"]);
    std::fs::remove_dir_all(folder.path().join("docker/registry/v2/repositories/a")).unwrap();
    assert_eq!(catalog(&other, None, 9).await.0, ["c"]);
    assert_eq!(listed(&other, "a/b", None, 9).await.0, ["none"]);
}

/// Whether a folder is on a file system that has stamps.
pub(crate) fn has_stamps(folder: &Path) -> bool {
    let kind = rustix::fs::statfs(folder).unwrap().f_type;
    [0xef53, 0x0102_1994, 0x794c_7630, 0x5846_5342, 0x9123_683e].contains(&kind)
}

/// A manifest about another one as docker-registry keeps it: no link says so.
async fn plant_referrer(driver: &dyn StorageDriver, repository: &str, subject: &Digest) -> Digest {
    let text = format!(
        r#"{{"schemaVersion":2,"manifests":[],"artifactType":"x/sign","subject":{{"mediaType":"{INDEX}","digest":"{subject}","size":1}}}}"#
    );
    let digest = Digest::of(Algorithm::Sha256, text.as_bytes());
    let hex = digest.hex();
    let put = |path: String, content: Bytes| async move {
        let path = StoragePath::new(&format!("/docker/registry/v2/{path}")).unwrap();
        driver.put(&path, content, Default::default()).await.unwrap();
    };
    put(format!("blobs/sha256/{}/{hex}/data", &hex[..2]), text.into()).await;
    let link = format!("repositories/{repository}/_manifests/revisions/sha256/{hex}/link");
    put(link, digest.to_string().into()).await;
    digest
}

async fn referrers(store: &Store, repository: &str, subject: &Digest) -> Vec<Digest> {
    let asked = Referrers {
        subject,
        artifact_type: Some("x/sign"),
        last: None,
        most: 10,
    };
    let page = store.referrers(&name(repository), asked).await.unwrap();
    page.items
        .into_iter()
        .map(|descriptor| descriptor.digest)
        .collect()
}

#[tokio::test]
async fn referrers_that_a_docker_registry_took_are_found_when_the_index_is_built() {
    for (stamps, only_writer) in [(true, false), (false, true), (false, false)] {
        let driver = Stamped::new(stamps);
        let (store, kv) = indexed(Arc::new(driver.clone()), only_writer);
        push(&store, "a", &["one"], 1).await.unwrap();
        let subject = digest(1);
        let referrer = plant_referrer(&driver, "a", &subject).await;
        // One without its bytes is read again the next time.
        let gone = StoragePath::new(&format!(
            "/docker/registry/v2/blobs/sha256/{}/{}",
            &referrer.hex()[..2],
            referrer.hex()
        ))
        .unwrap();
        let bytes = driver.get(&gone.join("data").unwrap(), 1 << 20).await.unwrap();
        driver.delete(&gone).await.unwrap();
        store.build_index().await.unwrap();
        assert!(referrers(&store, "a", &subject).await.is_empty());
        driver
            .put(&gone.join("data").unwrap(), bytes, Default::default())
            .await
            .unwrap();
        let built = store.build_index().await.unwrap();
        assert_eq!((built.manifests, built.referrers), (1, 1));
        // Also after a restart, and where it was only found by the process before.
        let next = with(Arc::new(driver.clone()), kv, only_writer);
        for store in [&store, &next] {
            assert_eq!(
                referrers(store, "a", &subject).await,
                std::slice::from_ref(&referrer)
            );
            assert!(referrers(store, "b", &subject).await.is_empty());
        }
        assert_eq!(next.build_index().await.unwrap().manifests, 0);
        next.delete_manifest(&name("a"), &referrer).await.unwrap();
        assert!(referrers(&next, "a", &subject).await.is_empty());
    }
}

#[test]
fn many_at_once_leave_a_right_index() {
    for only_writer in [false, true] {
        let driver = Stamped::new(!only_writer);
        let (store, _) = indexed(Arc::new(driver.clone()), only_writer);
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let tasks = (0..8u32).map(|task| {
                let store = store.clone();
                tokio::spawn(async move {
                    for round in 0..40u32 {
                        let repository = REPOSITORIES[((task + round) % 7) as usize];
                        let tag = format!("{task}-{}", round % 5);
                        match round % 4 {
                            3 => drop(
                                store
                                    .delete_tag(&name(repository), &Tag::new(&tag).unwrap())
                                    .await,
                            ),
                            2 if task % 3 == 0 => {
                                drop(store.delete_manifest(&name(repository), &digest(round % 3)).await);
                            }
                            _ => push(&store, repository, &[&tag], round % 3).await.unwrap(),
                        }
                        let _ = store.tags(&name(repository), None, 5).await;
                        let _ = store.catalog(None, 5).await;
                        if round % 10 == task {
                            store.build_index().await.unwrap();
                        }
                    }
                })
            });
            for task in tasks.collect::<Vec<_>>() {
                task.await.unwrap();
            }
            let walking = walking(Arc::new(driver));
            for repository in REPOSITORIES {
                assert_eq!(
                    listed(&store, repository, None, 99).await,
                    listed(&walking, repository, None, 99).await
                );
            }
            assert_eq!(catalog(&store, None, 99).await, catalog(&walking, None, 99).await);
            let compared = store.compare_index().await.unwrap();
            assert!(compared.good(), "{only_writer} {compared:?}");
        });
    }
}
