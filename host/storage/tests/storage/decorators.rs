//! What each decorator does besides passing calls on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_stream::StreamExt;
use transom_storage::decorators::cache::{Cache, Sizes};
use transom_storage::decorators::faults::{Fault, Faults, faulty};
use transom_storage::decorators::metrics::{Counters, observed};
use transom_storage::decorators::retry::{Policy, retried};
use transom_storage::decorators::{Action, Replaceable, limit, read_only, verify};
use transom_storage::{Capabilities, Condition, Error, Memory, StorageDriver, StoragePath, WriteMode};

fn path(text: &str) -> StoragePath {
    StoragePath::new(text).unwrap()
}

async fn put(driver: &dyn StorageDriver, at: &str, content: &'static str) {
    driver
        .put(
            &path(at),
            Bytes::from_static(content.as_bytes()),
            Condition::Always,
        )
        .await
        .unwrap();
}

/// A memory that fails on order.
fn ordered() -> (Arc<dyn StorageDriver>, Arc<Faults>) {
    let faults = Arc::<Faults>::default();
    (faulty(Arc::new(Memory::default()), Arc::clone(&faults)), faults)
}

const LATER: Fault = Fault::Unavailable {
    retry_after: Some(Duration::from_secs(7)),
};

#[tokio::test(start_paused = true)]
async fn what_may_happen_twice_is_tried_again() {
    let (inner, faults) = ordered();
    let driver = retried(inner, Policy::default());
    let begin = tokio::time::Instant::now();
    faults.fail(Action::Put, LATER, 2);
    put(&*driver, "/a", "x").await;
    assert!(
        begin.elapsed() >= Duration::from_secs(14),
        "the store asked for 7 seconds, twice"
    );
    assert_eq!(faults.calls(), 3);
    for action in [
        Action::Get,
        Action::Stat,
        Action::Read,
        Action::List,
        Action::Walk,
        Action::OpenWriter,
    ] {
        faults.fail(action, Fault::AnswerLost, 1);
    }
    assert_eq!(driver.get(&path("/a"), 9).await.unwrap(), "x");
    driver.stat(&path("/a")).await.unwrap();
    driver.read(&path("/a"), 0).await.unwrap();
    driver.list(&path("/")).await.unwrap();
    driver.walk(&path("/"), None).await.unwrap();
    driver
        .writer(&path("/b"), WriteMode::Create)
        .await
        .unwrap()
        .commit()
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_tries_end() {
    let (inner, faults) = ordered();
    let driver = retried(inner, Policy::default());
    faults.fail(Action::Stat, LATER, 100);
    let error = driver.stat(&path("/a")).await.unwrap_err();
    assert!(error.is_temporary());
    assert_eq!(faults.calls(), 5);
}

#[tokio::test(start_paused = true)]
async fn what_may_not_happen_twice_is_not() {
    let (inner, faults) = ordered();
    let driver = retried(inner, Policy::default());
    put(&*driver, "/a", "x").await;
    let before = faults.calls();
    for action in [
        Action::PutIfAbsent,
        Action::Rename,
        Action::Delete,
        Action::Write,
        Action::Commit,
    ] {
        faults.fail(action, Fault::AnswerLost, 1);
    }
    let absent = driver.put(&path("/new"), Bytes::new(), Condition::Absent).await;
    assert!(absent.unwrap_err().is_temporary());
    assert!(
        driver
            .rename(&path("/a"), &path("/b"))
            .await
            .unwrap_err()
            .is_temporary()
    );
    assert!(driver.delete(&path("/b")).await.unwrap_err().is_temporary());
    let mut writer = driver.writer(&path("/c"), WriteMode::Create).await.unwrap();
    assert!(
        writer
            .write(Bytes::from_static(b"x"))
            .await
            .unwrap_err()
            .is_temporary()
    );
    assert!(writer.commit().await.unwrap_err().is_temporary());
    assert_eq!(faults.calls() - before, 6);
    // Other errors are nobody's to hide.
    faults.fail(Action::Stat, Fault::Denied, 1);
    assert!(matches!(
        driver.stat(&path("/c")).await,
        Err(Error::Denied { .. })
    ));
}

#[tokio::test]
async fn read_only_refuses_every_change() {
    let memory = Memory::default();
    put(&memory, "/a", "x").await;
    let driver = read_only::read_only(Arc::new(memory.clone()));
    let denied =
        |result: Result<(), Error>| assert!(matches!(result, Err(Error::Denied { .. })), "{result:?}");
    denied(driver.put(&path("/b"), Bytes::new(), Condition::Always).await);
    denied(driver.put(&path("/b"), Bytes::new(), Condition::Absent).await);
    denied(driver.rename(&path("/a"), &path("/b")).await);
    denied(driver.delete(&path("/a")).await);
    denied(driver.writer(&path("/b"), WriteMode::Create).await.map(drop));
    denied(driver.writer(&path("/a"), WriteMode::Append).await.map(drop));
    assert_eq!(driver.get(&path("/a"), 9).await.unwrap(), "x");
    assert_eq!(driver.list(&path("/")).await.unwrap().len(), 1);
    assert!(!driver.capabilities().put_if_absent);
}

#[tokio::test]
async fn the_limit_holds_and_nobody_is_forgotten() {
    let (inner, faults) = ordered();
    let driver = limit::limited(inner, 2);
    faults.fail(Action::Get, Fault::Hang, 2);
    let get = |driver: Arc<dyn StorageDriver>| tokio::spawn(async move { driver.get(&path("/a"), 1).await });
    let hanging = [get(Arc::clone(&driver)), get(Arc::clone(&driver))];
    while faults.calls() < 2 {
        tokio::task::yield_now().await;
    }
    let third = get(Arc::clone(&driver));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!((faults.calls(), third.is_finished()), (2, false));
    hanging.iter().for_each(tokio::task::JoinHandle::abort);
    assert!(third.await.unwrap().unwrap_err().is_not_found());
}

#[tokio::test]
async fn calls_are_counted() {
    let (inner, faults) = ordered();
    let counters = Arc::<Counters>::default();
    let driver = observed(inner, Arc::clone(&counters) as _);
    put(&*driver, "/a", "four").await;
    let mut writer = driver.writer(&path("/b"), WriteMode::Create).await.unwrap();
    writer.write(Bytes::from_static(b"and more")).await.unwrap();
    writer.commit().await.unwrap();
    faults.fail(Action::Get, Fault::Denied, 1);
    assert!(driver.get(&path("/a"), 9).await.is_err());
    assert!(driver.get(&path("/nothing"), 9).await.unwrap_err().is_not_found());
    assert_eq!(counters.written(), 12);
    let count = |action| (counters.count(action).calls, counters.count(action).errors);
    assert_eq!(count(Action::Get), (2, 1));
    assert_eq!(
        (count(Action::Put), count(Action::Write), count(Action::Commit)),
        ((1, 0), (1, 0), (1, 0))
    );
    assert_eq!(count(Action::Delete), (0, 0));
}

/// The path of a blob with these bytes.
fn blob(content: &str) -> StoragePath {
    let mut hasher = transom_oci::Hasher::new(transom_oci::Algorithm::Sha256);
    hasher.update(content.as_bytes());
    let digest = hasher.finish();
    path(&format!(
        "/docker/registry/v2/blobs/sha256/{}/{}/data",
        &digest.hex()[..2],
        digest.hex()
    ))
}

#[tokio::test]
async fn a_blob_that_is_not_what_its_path_says_is_found() {
    let memory = Memory::default();
    let driver = verify::verified(Arc::new(memory.clone()));
    let (good, bad) = (blob("good"), blob("other"));
    put(&memory, good.as_str(), "good").await;
    put(&memory, bad.as_str(), "bad").await;
    assert_eq!(driver.get(&good, 9).await.unwrap(), "good");
    assert!(matches!(driver.get(&bad, 9).await, Err(Error::Damaged { .. })));
    assert_eq!(
        driver.read(&good, 0).await.unwrap().collect("", 9).await.unwrap(),
        "good"
    );
    let mut reader = driver.read(&bad, 0).await.unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap(), "bad");
    assert!(matches!(reader.next().await, Some(Err(Error::Damaged { .. }))));
    // From the middle on nothing can be said.
    assert_eq!(
        driver.read(&bad, 1).await.unwrap().collect("", 9).await.unwrap(),
        "ad"
    );
}

#[tokio::test(start_paused = true)]
async fn the_cache_answers_and_forgets() {
    let (inner, faults) = ordered();
    let sizes = Sizes {
        bytes: 10_000,
        object: 4,
        ttl: Duration::from_secs(10),
    };
    let driver = Cache::new(Arc::clone(&inner), sizes);
    put(&driver, "/a/b", "1").await;
    let get = async |at: &'static str| driver.get(&path(at), 9).await;
    assert_eq!(get("/a/b").await.unwrap(), "1");
    driver.stat(&path("/a/b")).await.unwrap();
    let asked = faults.calls();
    assert_eq!(get("/a/b").await.unwrap(), "1");
    assert_eq!(driver.stat(&path("/a/b")).await.unwrap().size(), 1);
    assert!(matches!(
        driver.get(&path("/a/b"), 0).await,
        Err(Error::TooLarge { .. })
    ));
    assert_eq!(faults.calls(), asked, "the answers are known");
    // Another process.
    put(&*inner, "/a/b", "22").await;
    tokio::time::advance(Duration::from_secs(11)).await;
    assert_eq!(get("/a/b").await.unwrap(), "22");
    // This one, by every way; and folders take what is below them along.
    put(&driver, "/a/b", "3").await;
    assert_eq!(get("/a/b").await.unwrap(), "3");
    driver.rename(&path("/a/b"), &path("/a/c")).await.unwrap();
    assert!(get("/a/b").await.unwrap_err().is_not_found());
    assert_eq!(get("/a/c").await.unwrap(), "3");
    driver.delete(&path("/a")).await.unwrap();
    assert!(get("/a/c").await.unwrap_err().is_not_found());
    // What others put where nothing was is seen at once; what is large is not kept.
    put(&*inner, "/a/c", "large").await;
    assert_eq!(get("/a/c").await.unwrap(), "large");
    let asked = faults.calls();
    get("/a/c").await.unwrap();
    assert_eq!(faults.calls(), asked + 1);
}

#[tokio::test]
async fn an_answer_from_before_a_change_is_not_kept() {
    let memory = Arc::new(Memory::default());
    let driver = Cache::new(
        Arc::clone(&memory) as _,
        Sizes {
            ttl: Duration::from_secs(3600),
            ..Sizes::default()
        },
    );
    put(&driver, "/a", "old").await;
    let at = path("/a");
    let mut get = driver.get(&at, 9);
    // The answer is there, and not yet learned, when the content changes.
    let mut writer = driver.writer(&at, WriteMode::Create).await.unwrap();
    writer.write(Bytes::from_static(b"new")).await.unwrap();
    let old = std::future::poll_fn(|context| get.as_mut().poll(context))
        .await
        .unwrap();
    writer.commit().await.unwrap();
    assert_eq!(old, "old");
    assert_eq!(driver.get(&at, 9).await.unwrap(), "new");
}

#[tokio::test]
async fn who_has_begun_with_a_driver_ends_with_it_when_another_takes_its_place() {
    let (old, new) = (Arc::new(Memory::default()), Arc::new(Memory::default()));
    put(&*old, "/a/1", "old").await;
    put(&*old, "/a/2", "old").await;
    put(&*new, "/a/1", "new").await;
    let driver = Replaceable::new(old.clone());
    let (one, folder, three) = (path("/a/1"), path("/a"), path("/a/3"));
    let reader = driver.read(&one, 0).await.unwrap();
    let mut walk = driver.walk(&folder, None).await.unwrap();
    let mut writer = driver.writer(&three, WriteMode::Create).await.unwrap();
    writer.write(Bytes::from_static(b"to the ")).await.unwrap();
    let asked = driver.get(&one, 10);

    assert_eq!(driver.lacks(new.capabilities()), None);
    driver.replace(new.clone());
    assert_eq!(driver.get(&one, 10).await.unwrap(), "new");
    assert_eq!(driver.list(&folder).await.unwrap().len(), 1);
    assert_eq!(asked.await.unwrap(), "old");
    assert_eq!(reader.collect("a", 10).await.unwrap(), "old");
    let mut walked = 0;
    while walk.next().await.unwrap().is_some() {
        walked += 1;
    }
    assert_eq!(walked, 2);
    writer.write(Bytes::from_static(b"old")).await.unwrap();
    writer.commit().await.unwrap();
    assert!(driver.stat(&three).await.unwrap_err().is_not_found());
    assert_eq!(old.get(&three, 20).await.unwrap(), "to the old");
}

#[test]
fn what_can_do_less_does_not_take_the_place() {
    let driver = Replaceable::new(Arc::new(Memory::default()));
    let all = driver.capabilities();
    let more = Capabilities {
        durable: true,
        redirects: true,
        ..all
    };
    assert_eq!(driver.lacks(more), None);
    let less = Capabilities {
        put_if_absent: false,
        ..more
    };
    assert!(driver.lacks(less).unwrap().contains("absent"));
    let other = Capabilities { flat: true, ..more };
    assert!(driver.lacks(other).unwrap().contains("paths"));
}
