//! How long writers wait for a collection, by the number of records. Nothing is judged here.
//!
//! `cargo test --release -p transom-meta --test meta -- --ignored --nocapture gc_measure`

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use transom_content::Store;
use transom_meta::kv::{Durability, Kind, Kv, Transaction, Write};
use transom_meta::{Metadata, Options};
use transom_oci::Digest;

use crate::gc::{gc, hours, image};
use crate::records::{digest, metadata};

/// The record of an image, as this program writes it.
async fn pattern(name: &str, expired: bool) -> Vec<u8> {
    let (metadata, _dir) = metadata().await;
    let past = hours(-1);
    let of = if expired {
        gc(&[("expire", &past)])
    } else {
        gc(&[])
    };
    image(&metadata, name, &digest("x"), of).await;
    let key = format!("i/testing/{name}");
    metadata.kv().get(key.as_bytes()).await.unwrap().unwrap().to_vec()
}

/// The same record with another digest in it.
fn with_digest(pattern: &[u8], digest: &Digest, of: &Digest) -> Vec<u8> {
    let place = pattern
        .windows(71)
        .position(|bytes| bytes == of.as_str().as_bytes());
    let mut value = pattern.to_vec();
    value[place.unwrap()..][..71].copy_from_slice(digest.as_str().as_bytes());
    value
}

/// Half of the records are images, half of those have expired; the other half are what they name.
async fn fill(kv: &dyn Kv, records: u64) {
    let patterns = [pattern("a", false).await, pattern("a", true).await];
    let of = digest("x");
    let mut writes = Vec::new();
    for number in 0..records / 2 {
        let digest = digest(&number.to_string());
        let kept = usize::try_from(number % 2).unwrap();
        let mut put = |key: String, value: Vec<u8>| {
            let (key, value) = (key.into(), value.into());
            writes.push(Write::Put { key, value });
        };
        put(
            format!("i/testing/{number}"),
            with_digest(&patterns[kept], &digest, &of),
        );
        put(format!("c/testing/{digest}"), vec![1]);
        put(format!("b/{digest}/testing"), vec![1]);
        if writes.len() >= 3000 || number + 1 == records / 2 {
            let transaction = Transaction {
                writes: std::mem::take(&mut writes),
                durability: Durability::Durable,
                ..Transaction::default()
            };
            kv.commit(transaction).await.unwrap();
        }
    }
}

async fn measure(kind: Kind, folder: &Path, records: u64) {
    let kv = transom_meta::kv::open(kind, folder).unwrap();
    let blobs = Store::open(folder.join("content")).unwrap();
    let metadata = Metadata::open(Arc::clone(&kv), blobs, Options::default())
        .await
        .unwrap();
    fill(&*kv, records).await;
    let done = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (metadata, done) = (metadata.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                let (mut longest, mut count) = (Duration::ZERO, 0_u64);
                while !done.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    let name = format!("new {writer} {count}");
                    image(&metadata, &name, &digest("new"), gc(&[])).await;
                    longest = longest.max(start.elapsed());
                    count += 1;
                    if kind == Kind::Memory {
                        tokio::time::sleep(Duration::from_micros(200)).await;
                    }
                }
                (longest, count)
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let stats = metadata.collect().await.unwrap();
    done.store(true, Ordering::Relaxed);
    let (mut slowest, mut wrote) = (Duration::ZERO, 0);
    for writer in writers {
        let (longest, count) = writer.await.unwrap();
        slowest = slowest.max(longest);
        wrote += count;
    }
    println!(
        "{kind} {records}: took {:?}, {} steps, longest {:?}, mean {:?}; removed {} images, {} content; {wrote} writes, the slowest {slowest:?}",
        stats.duration,
        stats.pauses,
        stats.longest_pause,
        stats.paused / u32::try_from(stats.pauses).unwrap(),
        stats.removed.images,
        stats.removed.content,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "takes a while, and shows figures"]
async fn gc_measure() {
    for kind in Kind::ALL {
        for records in [10_000, 100_000] {
            let dir = tempfile::tempdir().unwrap();
            measure(kind, dir.path(), records).await;
        }
    }
}
