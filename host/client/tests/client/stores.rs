//! Blobs into a content store: after crashes, for several at once, in several ranges.

use std::sync::Arc;
use std::sync::Mutex;

use transom_client::fetch::{Follow, Followed, Follower};
use transom_client::{Client, Error, Got, Options, Repository, ingest_ref};
use transom_content::{IngestOptions, Partial, Store};
use transom_oci::Descriptor;

use crate::fake::{Fake, Fault};
use crate::support::{noise, options, remote, remote_with};

fn store() -> (tempfile::TempDir, Store) {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    (root, store)
}

fn holds(store: &Store, descriptor: &Descriptor, bytes: &[u8]) {
    assert!(std::fs::read(store.blob_path(&descriptor.digest)).unwrap() == bytes);
    assert_eq!(store.statuses(|_| true).unwrap().count(), 0);
}

/// Ranges of 64 KiB, four at once.
fn small_pieces() -> Options {
    Options {
        piece_bytes: 64 << 10,
        pieces: 4,
        ..options()
    }
}

fn ranges(fake: &Fake) -> Vec<String> {
    let range = |seen: &crate::fake::Seen| seen.header("range").map(str::to_owned);
    fake.seen().iter().filter_map(range).collect()
}

#[tokio::test]
async fn a_blob_comes_into_the_store_once() {
    let fake = Fake::start().await;
    let (_root, store) = store();
    let bytes = noise(2_500_000, 1);
    let descriptor = fake.add_blob(bytes.clone());
    let told = Mutex::new(Vec::new());
    let watch = |offset| told.lock().unwrap().push(offset);
    let got = remote(&fake)
        .fetch_into(&descriptor, &store, &watch)
        .await
        .unwrap();
    assert_eq!(got, Got::Fetched { resumed_at: 0 });
    holds(&store, &descriptor, &bytes);
    let told = told.into_inner().unwrap();
    assert!(told.is_sorted() && told.last() == Some(&2_500_000), "{told:?}");
    let got = remote(&fake)
        .fetch_into(&descriptor, &store, &|_| {})
        .await
        .unwrap();
    assert_eq!(got, Got::Present);
    assert_eq!(fake.seen().len(), 1);
    let empty = fake.add_blob(Vec::new());
    remote(&fake).fetch_into(&empty, &store, &|_| {}).await.unwrap();
    holds(&store, &empty, b"");
}

#[tokio::test]
async fn what_a_dead_process_left_is_not_fetched_again() {
    let fake = Fake::start().await;
    let (root, store) = store();
    let bytes = noise(500_000, 2);
    let descriptor = fake.add_blob(bytes.clone());
    let options = IngestOptions {
        total: Some(descriptor.size),
        expected: Some(descriptor.digest.clone()),
    };
    let mut writer = store.ingest(&ingest_ref(&descriptor), options).unwrap();
    writer.write(&bytes[..123_456]).unwrap();
    drop(writer);
    drop(store);
    let store = Store::open(root.path()).unwrap();
    let got = remote(&fake)
        .fetch_into(&descriptor, &store, &|_| {})
        .await
        .unwrap();
    assert_eq!(got, Got::Fetched { resumed_at: 123_456 });
    holds(&store, &descriptor, &bytes);
    assert_eq!(ranges(&fake), ["bytes=123456-499999"]);
}

#[tokio::test]
async fn a_failed_fetch_keeps_what_came() {
    let fake = Fake::start().await;
    let (_root, store) = store();
    let bytes = noise(500_000, 3);
    let descriptor = fake.add_blob(bytes.clone());
    let mut cut = false;
    fake.plan(move |_| {
        if std::mem::replace(&mut cut, true) {
            crate::fake::reply(404, &[], "")
        } else {
            Fault::Cut(200_000)
        }
    });
    let error = remote(&fake)
        .fetch_into(&descriptor, &store, &|_| {})
        .await
        .unwrap_err();
    assert!(error.is_not_found(), "{error}");
    let left = store.status(&ingest_ref(&descriptor)).unwrap().offset;
    assert!(left > 0 && left <= 200_000, "{left}");
    fake.plan(|_| Fault::None);
    let got = remote(&fake)
        .fetch_into(&descriptor, &store, &|_| {})
        .await
        .unwrap();
    assert_eq!(got, Got::Fetched { resumed_at: left });
    holds(&store, &descriptor, &bytes);
}

#[tokio::test]
async fn a_dropped_fetch_leaves_an_ingest_that_can_be_resumed() {
    let fake = Fake::start().await;
    let (_root, store) = store();
    let bytes = noise(4_000_000, 4);
    let descriptor = fake.add_blob(bytes.clone());
    fake.next(vec![Fault::Stall(3_000_000)]);
    let reached = Arc::new(tokio::sync::Notify::new());
    let tell = Arc::clone(&reached);
    let watch = move |offset: u64| {
        if offset > 2_500_000 {
            tell.notify_one();
        }
    };
    {
        let remote = remote(&fake);
        tokio::select! {
            _ = remote.fetch_into(&descriptor, &store, &watch) => panic!("it stalls"),
            () = reached.notified() => {}
        }
    }
    let got = remote(&fake)
        .fetch_into(&descriptor, &store, &|_| {})
        .await
        .unwrap();
    let Got::Fetched { resumed_at } = got else {
        panic!()
    };
    assert!(resumed_at > 0, "at least a megabyte was written");
    holds(&store, &descriptor, &bytes);
}

#[tokio::test]
async fn wrong_bytes_are_thrown_away() {
    let fake = Fake::start().await;
    let (_root, store) = store();
    let bytes = noise(300_000, 5);
    let descriptor = fake.add_blob(bytes.clone());
    // Once: all of it is fetched again.
    fake.next(vec![Fault::Flip(1_000)]);
    let got = remote(&fake).fetch_into(&descriptor, &store, &|_| {}).await;
    assert!(got.is_ok());
    holds(&store, &descriptor, &bytes);
    store.delete(&descriptor.digest).unwrap();
    // Always: nothing of it is there afterwards.
    fake.plan(|_| Fault::Flip(1_000));
    let error = remote(&fake)
        .fetch_into(&descriptor, &store, &|_| {})
        .await
        .unwrap_err();
    assert!(matches!(error, Error::WrongDigest { .. }), "{error}");
    assert!(store.info(&descriptor.digest).is_err());
    assert_eq!(store.status(&ingest_ref(&descriptor)).unwrap().offset, 0);
}

#[tokio::test]
async fn a_damaged_leftover_is_fetched_again() {
    let fake = Fake::start().await;
    let (_root, store) = store();
    let bytes = noise(100_000, 6);
    let descriptor = fake.add_blob(bytes.clone());
    let mut writer = store
        .ingest(&ingest_ref(&descriptor), IngestOptions::default())
        .unwrap();
    writer.write(&[0; 50_000]).unwrap();
    drop(writer);
    remote(&fake)
        .fetch_into(&descriptor, &store, &|_| {})
        .await
        .unwrap();
    holds(&store, &descriptor, &bytes);
    // And one that is longer than the blob.
    store.delete(&descriptor.digest).unwrap();
    let mut writer = store
        .ingest(&ingest_ref(&descriptor), IngestOptions::default())
        .unwrap();
    writer.write(&[0; 150_000]).unwrap();
    drop(writer);
    remote(&fake)
        .fetch_into(&descriptor, &store, &|_| {})
        .await
        .unwrap();
    holds(&store, &descriptor, &bytes);
}

#[tokio::test]
async fn two_who_want_the_same_fetch_it_once() {
    let fake = Fake::start().await;
    let (_root, store) = store();
    let bytes = noise(1_000_000, 7);
    let descriptor = fake.add_blob(bytes.clone());
    let client = Client::new(options());
    let address = fake.address.to_string();
    // Of two repositories, even.
    let one = client
        .remote(&Repository::new(&address, "team/app").unwrap())
        .unwrap();
    let two = client
        .remote(&Repository::new(&address, "team/other").unwrap())
        .unwrap();
    let quiet = |_| {};
    let (first, second) = tokio::join!(
        one.fetch_into(&descriptor, &store, &quiet),
        two.fetch_into(&descriptor, &store, &quiet),
    );
    let mut got = [first.unwrap(), second.unwrap()];
    got.sort_by_key(|got| *got == Got::Present);
    assert_eq!(got, [Got::Fetched { resumed_at: 0 }, Got::Present]);
    assert_eq!(fake.seen().len(), 1);
    holds(&store, &descriptor, &bytes);
}

#[tokio::test]
async fn another_process_that_fetches_it_is_waited_for() {
    let fake = Fake::start().await;
    let (root, store) = store();
    let bytes = noise(100_000, 8);
    let descriptor = fake.add_blob(bytes.clone());
    let other = Store::open(root.path()).unwrap();
    let mut writer = other
        .ingest(&ingest_ref(&descriptor), IngestOptions::default())
        .unwrap();
    writer.write(&bytes).unwrap();
    let waits = Arc::new(tokio::sync::Notify::new());
    let tell = Arc::clone(&waits);
    let watch = move |_: u64| tell.notify_one();
    let remote = remote(&fake);
    let (got, ()) = tokio::join!(remote.fetch_into(&descriptor, &store, &watch), async {
        waits.notified().await;
        writer.commit(None, Some(&descriptor.digest)).unwrap();
    });
    assert_eq!(got.unwrap(), Got::Present);
    assert!(fake.seen().is_empty());
}

#[tokio::test]
async fn large_blobs_come_in_several_ranges_at_once() {
    let fake = Fake::start().await;
    let (_root, store) = store();
    let bytes = noise(1_000_001, 9);
    let descriptor = fake.add_blob(bytes.clone());
    // Each range is cut once.
    let mut cut = std::collections::HashSet::new();
    fake.plan(move |seen| {
        let range = seen.header("range").unwrap().to_owned();
        let end = range.split('-').nth(1).unwrap().to_owned();
        if cut.insert(end) {
            Fault::Cut(20_000)
        } else {
            Fault::None
        }
    });
    remote_with(&fake, small_pieces())
        .fetch_into(&descriptor, &store, &|_| {})
        .await
        .unwrap();
    holds(&store, &descriptor, &bytes);
    let ranges = ranges(&fake);
    assert!(ranges.contains(&"bytes=0-65535".to_owned()), "{ranges:?}");
    assert!(ranges.contains(&"bytes=868929-1000000".to_owned()), "{ranges:?}");
}

#[tokio::test]
async fn without_ranges_there_is_one_stream() {
    let fake = Fake::start().await;
    let (_root, store) = store();
    let bytes = noise(1_000_000, 10);
    let descriptor = fake.add_blob(bytes.clone());
    fake.plan(|_| Fault::NoRange);
    remote_with(&fake, small_pieces())
        .fetch_into(&descriptor, &store, &|_| {})
        .await
        .unwrap();
    holds(&store, &descriptor, &bytes);
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn ranges_take_no_more_memory_than_there_is() {
    for (memory, most) in [(0, 1), (64 << 10, 2), (128 << 10, 3), (64 << 20, 4)] {
        let fake = Fake::start().await;
        let (_root, store) = store();
        let bytes = noise(1_000_000, 11);
        let descriptor = fake.add_blob(bytes.clone());
        // The first range stalls: what is asked for besides is what fits into memory.
        fake.plan(|seen| match seen.header("range") {
            Some("bytes=0-65535") => Fault::Stall(1_000),
            _ => Fault::None,
        });
        let remote = remote_with(
            &fake,
            Options {
                memory,
                ..small_pieces()
            },
        );
        let fetch = remote.fetch_into(&descriptor, &store, &|_| {});
        let asked = async {
            while fake.seen().len() < most {
                tokio::task::yield_now().await;
            }
            for _ in 0..1_000 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            result = fetch => panic!("{result:?}"),
            () = asked => {}
        }
        assert_eq!(fake.seen().len(), most, "{memory} bytes of memory");
    }
}

#[tokio::test]
async fn no_more_blobs_at_once_than_allowed() {
    // Of large ones as many as there may be, of small ones six times as many.
    for (bytes, most) in [(7 << 20, 2), (100_000, 12)] {
        let fake = Fake::start().await;
        let (_root, store) = store();
        let descriptors: Vec<_> = (0..15).map(|blob| fake.add_blob(vec![blob; bytes])).collect();
        fake.plan(|_| Fault::Stall(1_000));
        let remote = remote_with(
            &fake,
            Options {
                downloads: 2,
                ..options()
            },
        );
        let (remote, store) = (&remote, &store);
        let fetches = descriptors.iter().map(|descriptor| {
            Box::pin(async move {
                drop(remote.fetch_into(descriptor, store, &|_| {}).await);
            })
        });
        let mut fetches: Vec<_> = fetches.collect();
        let all = std::future::poll_fn(|context| {
            for fetch in &mut fetches {
                let _ = fetch.as_mut().poll(context);
            }
            std::task::Poll::<()>::Pending
        });
        let asked = async {
            while fake.seen().len() < most {
                tokio::task::yield_now().await;
            }
            for _ in 0..1_000 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = all => {}
            () = asked => {}
        }
        assert_eq!(fake.seen().len(), most, "{bytes} bytes each");
    }
}

/// Notes what it is told of blobs that come.
#[derive(Debug, Default)]
struct Noting(Arc<Mutex<Vec<String>>>);

impl Follower for Noting {
    fn begun(&self, _: &Descriptor, partial: Partial, written: u64) -> Arc<dyn Follow> {
        self.0.lock().unwrap().push(format!("begun at {written}"));
        Arc::new(Note {
            told: Arc::clone(&self.0),
            partial,
        })
    }
}

struct Note {
    told: Arc<Mutex<Vec<String>>>,
    partial: Partial,
}

impl Follow for Note {
    fn written(&self, bytes: u64) {
        // What is said to be there is there.
        let mut byte = [0];
        assert_eq!(self.partial.read_at(&mut byte, bytes - 1).unwrap(), 1);
        self.told.lock().unwrap().push(format!("{bytes}"));
    }

    fn whole(&self) {
        self.told.lock().unwrap().push("whole".to_owned());
    }

    fn lost(&self) {
        self.told.lock().unwrap().push("lost".to_owned());
    }
}

#[tokio::test]
async fn who_follows_is_told_what_is_there_and_what_does_not_count() {
    let fake = Fake::start().await;
    let (_root, store) = store();
    let bytes = noise(200_000, 12);
    let descriptor = fake.add_blob(bytes.clone());
    let told = Arc::<Mutex<Vec<String>>>::default();
    let followed = Followed {
        store: store.clone(),
        follower: Arc::new(Noting(Arc::clone(&told))),
    };
    fake.next(vec![Fault::Flip(100_000)]);
    let got = remote(&fake).fetch_into(&descriptor, &followed, &|_| {}).await;
    assert_eq!(got.unwrap(), Got::Fetched { resumed_at: 0 });
    holds(&store, &descriptor, &bytes);
    let told = std::mem::take(&mut *told.lock().unwrap());
    assert_eq!(
        told,
        ["begun at 0", "200000", "lost"],
        "after a loss nothing is to be read along"
    );
    let second = fake.add_blob(noise(200_000, 13));
    let told = Arc::<Mutex<Vec<String>>>::default();
    let followed = Followed {
        store,
        follower: Arc::new(Noting(Arc::clone(&told))),
    };
    remote(&fake)
        .fetch_into(&second, &followed, &|_| {})
        .await
        .unwrap();
    let told = std::mem::take(&mut *told.lock().unwrap());
    // Before the disk has it, and after.
    assert_eq!(told, ["begun at 0", "200000", "whole", "whole"]);
}
