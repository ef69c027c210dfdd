//! Blobs: streams that go on after cuts, ranges, and lies about both.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use transom_client::{Error, Options, Timeouts};
use transom_oci::Descriptor;

use crate::fake::{Fake, Fault, reply};
use crate::support::{noise, options, read, remote, remote_with, same};

#[tokio::test]
async fn a_blob_is_read_and_checked() {
    let fake = Fake::start().await;
    let bytes = noise(300_000, 1);
    let descriptor = fake.add_blob(bytes.clone());
    let empty = fake.add_blob(Vec::new());
    let remote = remote(&fake);
    same(&remote, &descriptor, &bytes).await;
    same(&remote, &empty, b"").await;
    assert_eq!(remote.blob_size(&descriptor.digest).await.unwrap(), 300_000);
    assert_eq!(fake.seen()[0].header("accept-encoding"), Some("identity"));
    assert!(fake.seen()[0].header("range").is_none());
}

#[tokio::test]
async fn a_cut_blob_goes_on_where_it_was_cut() {
    let fake = Fake::start().await;
    let bytes = noise(3_000_000, 2);
    let descriptor = fake.add_blob(bytes.clone());
    // More cuts than tries: what counts is that it goes on.
    fake.plan(|_| Fault::Cut(400_000));
    same(&remote(&fake), &descriptor, &bytes).await;
    let starts: Vec<u64> = fake
        .seen()
        .iter()
        .filter_map(|seen| seen.header("range").map(str::to_owned))
        .map(|range| {
            range
                .trim_start_matches("bytes=")
                .split('-')
                .next()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    assert!(starts.len() >= 7, "{starts:?}");
    assert!(
        starts.is_sorted() && starts.windows(2).all(|pair| pair[0] < pair[1]),
        "{starts:?}"
    );
    // Nothing is trusted but the range itself.
    assert!(fake.seen().iter().all(|seen| seen.header("if-range").is_none()));
}

#[tokio::test]
async fn cuts_without_progress_come_to_an_end() {
    let fake = Fake::start().await;
    let descriptor = fake.add_blob(noise(1_000_000, 3));
    fake.plan(|_| Fault::Cut(100));
    let error = read(&remote(&fake), &descriptor).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert_eq!(fake.seen().len(), 3);
}

#[tokio::test]
async fn a_host_without_ranges_is_read_again_from_the_start() {
    for fault in [
        || Fault::NoRange,
        || reply(416, &[], ""),
        || Fault::Shift(7),
        || Fault::Without("content-range"),
        || Fault::With("content-range", "bytes 0-1/x".to_owned()),
    ] {
        let fake = Fake::start().await;
        let bytes = noise(200_000, 4);
        let descriptor = fake.add_blob(bytes.clone());
        let mut first = true;
        fake.plan(move |seen| {
            if seen.header("range").is_some() {
                fault()
            } else if std::mem::take(&mut first) {
                Fault::Cut(50_000)
            } else {
                Fault::None
            }
        });
        same(&remote(&fake), &descriptor, &bytes).await;
    }
}

#[tokio::test]
async fn wrong_bytes_and_lengths_never_count() {
    let fake = Fake::start().await;
    let bytes = noise(100_000, 5);
    let descriptor = fake.add_blob(bytes.clone());
    let remote = remote(&fake);
    fake.plan(|_| Fault::Flip(77_777));
    let error = read(&remote, &descriptor).await.unwrap_err();
    assert!(matches!(error, Error::WrongDigest { .. }), "{error}");
    let short = String::from_utf8_lossy(&bytes[..10]).into_owned();
    fake.plan(move |_| reply(200, &[], &short));
    assert!(matches!(
        read(&remote, &descriptor).await,
        Err(Error::WrongSize { .. })
    ));
    fake.plan(|_| Fault::None);
    let larger = Descriptor {
        size: 100_001,
        ..descriptor.clone()
    };
    assert!(matches!(
        read(&remote, &larger).await,
        Err(Error::WrongSize { .. })
    ));
    let smaller = Descriptor {
        size: 99_999,
        ..descriptor.clone()
    };
    assert!(matches!(
        read(&remote, &smaller).await,
        Err(Error::WrongSize { .. })
    ));
    // No length in the head: then it shows at the end.
    fake.plan(|_| Fault::Without("content-length"));
    assert!(matches!(
        read(&remote, &smaller).await,
        Err(Error::WrongDigest { .. })
    ));
    assert!(read(&remote, &larger).await.is_err());
    same(&remote, &descriptor, &bytes).await;
}

#[tokio::test]
async fn a_total_that_changes_is_noticed() {
    let fake = Fake::start().await;
    let descriptor = fake.add_blob(noise(100_000, 6));
    let mut first = true;
    fake.plan(move |seen| match seen.header("range") {
        None if std::mem::take(&mut first) => Fault::Cut(40_000),
        Some(range) => {
            let range = range.trim_start_matches("bytes=").to_owned();
            Fault::With("content-range", format!("bytes {range}/999999"))
        }
        None => Fault::None,
    });
    let error = read(&remote(&fake), &descriptor).await.unwrap_err();
    assert!(
        matches!(error, Error::WrongSize { actual: 999_999, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_stalled_blob_goes_on_elsewhere_in_time() {
    let fake = Fake::start().await;
    let bytes = noise(100_000, 7);
    let descriptor = fake.add_blob(bytes.clone());
    fake.next(vec![Fault::Stall(30_000)]);
    let options = Options {
        timeouts: Timeouts {
            connect: Duration::from_secs(20),
            stall: Duration::from_millis(300),
        },
        ..options()
    };
    same(&remote_with(&fake, options), &descriptor, &bytes).await;
    assert!(fake.seen().len() >= 2);
}

#[tokio::test]
async fn a_dropped_reader_ends_its_download() {
    let fake = Fake::start().await;
    let descriptor = fake.add_blob(noise(100_000, 8));
    fake.plan(|_| Fault::Stall(10_000));
    let mut reader = remote(&fake).blob(&descriptor).unwrap();
    assert!(reader.chunk().await.unwrap().is_some());
    let again = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&again);
    fake.plan(move |_| {
        asked.fetch_add(1, Ordering::SeqCst);
        Fault::None
    });
    drop(reader);
    tokio::task::yield_now().await;
    assert_eq!(again.load(Ordering::SeqCst), 0);
}
