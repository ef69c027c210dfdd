//! Collections beside writers: what is referenced is never lost, and what is found is found whole.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use transom_meta::images::NewImage;
use transom_meta::leases::CONTENT;
use transom_meta::{Labels, Metadata};

use crate::content::put;
use crate::gc::{gc, hours, image, stage};
use crate::records::{caller, digest, keys, labels, namespace, texts};

/// Images that have expired, each of which refers to the next one.
async fn chain(metadata: &Metadata, length: usize) {
    let past = hours(-1);
    for count in (0..length).rev() {
        let next = format!("i{}", count + 1);
        let mut of = vec![("expire", past.as_str())];
        if count + 1 < length {
            of.push(("ref.image", &next));
        }
        image(metadata, &format!("i{count}"), &digest("x"), gc(&of)).await;
    }
}

async fn images(metadata: &Metadata) -> usize {
    let keys = keys(metadata).await;
    keys.iter().filter(|key| key.starts_with("i/")).count()
}

/// The store in memory never waits, so on one thread a run goes on only while the test yields: each number of yields is
/// another moment of the run.
#[tokio::test]
async fn an_image_that_comes_back_at_any_moment_of_a_run_comes_back_whole() {
    let (mut kept, mut gone) = (0, 0);
    for yields in 0..60 {
        let (metadata, _fake, _dir) = stage(Duration::ZERO).await;
        chain(&metadata, 1200).await;
        let collecting = {
            let metadata = metadata.clone();
            tokio::spawn(async move { metadata.collect().await.unwrap() })
        };
        for _ in 0..yields {
            tokio::task::yield_now().await;
        }
        let new = NewImage {
            name: "i0".to_owned(),
            ..NewImage::default()
        };
        let paths = texts(["labels.containerd.io/gc.expire"]);
        let updated = metadata.update_image(&caller(), new, &paths, None).await;
        collecting.await.unwrap();
        let left = images(&metadata).await;
        assert_eq!(
            left,
            if updated.is_ok() { 1200 } else { 0 },
            "after {yields} yields"
        );
        if updated.is_ok() { kept += 1 } else { gone += 1 }
    }
    assert!(kept > 1 && gone > 1, "{kept} kept, {gone} gone");
}

#[tokio::test]
async fn content_that_is_referenced_at_any_moment_of_a_run_is_whole_or_gone() {
    let (metadata, _fake, _dir) = stage(Duration::ZERO).await;
    let name = namespace("testing");
    let (mut kept, mut gone) = (0, 0);
    for yields in 0..60 {
        metadata.create_lease(&name, "l", Labels::new()).await.unwrap();
        let leased = caller().with_lease("l");
        for text in ["layer", "manifest"] {
            let layer = digest("layer").to_string();
            let of = labels([(
                "containerd.io/gc.ref.content",
                if text == "manifest" { &layer } else { "" },
            )]);
            put(&metadata, &leased, text, of).await.unwrap();
        }
        metadata.delete_lease(&name, "l").await.unwrap();
        let collecting = {
            let metadata = metadata.clone();
            tokio::spawn(async move { metadata.collect().await.unwrap() })
        };
        for _ in 0..yields {
            tokio::task::yield_now().await;
        }
        image(&metadata, "i", &digest("manifest"), Labels::new()).await;
        let found = metadata
            .content_info(&caller(), &digest("manifest"))
            .await
            .is_ok();
        collecting.await.unwrap();
        for text in ["manifest", "layer"] {
            let read = metadata.content_reader(&caller(), &digest(text)).await;
            assert_eq!(read.is_ok(), found, "{text} after {yields} yields");
        }
        metadata.delete_image(&caller(), "i", None).await.unwrap();
        metadata.collect().await.unwrap();
        let left = metadata.blobs().walk().unwrap().count();
        assert_eq!(left, 0, "after {yields} yields");
        if found { kept += 1 } else { gone += 1 }
    }
    assert!(kept > 1 && gone > 1, "{kept} kept, {gone} gone");
}

/// Makes an image the way clients do: content under a lease, then the image, then the lease goes.
async fn pull(metadata: &Metadata, task: usize, round: usize) -> [String; 3] {
    let name = namespace("testing");
    let id = format!("lease {task}");
    metadata.create_lease(&name, &id, Labels::new()).await.unwrap();
    let leased = caller().with_lease(&id);
    // Layers are shared between tasks, so that some are found and some are new.
    let layer = format!("layer {}", (task + round) % 3);
    let config = format!("config {task} {round}");
    let manifest = format!("manifest {task} {round}");
    for text in [&layer, &config] {
        let wrote = put(metadata, &leased, text, Labels::new()).await;
        if wrote.is_err() {
            // It is there, or another task is writing it: wait for it under our lease.
            let blob = digest(text).to_string();
            metadata.add_resource(&name, &id, CONTENT, &blob).await.unwrap();
            while metadata.content_info(&leased, &digest(text)).await.is_err() {
                let _ = put(metadata, &leased, text, Labels::new()).await;
                tokio::task::yield_now().await;
            }
        }
    }
    let (layer_digest, config_digest) = (digest(&layer).to_string(), digest(&config).to_string());
    let of = gc(&[
        ("ref.content.l.0", &layer_digest),
        ("ref.content.config", &config_digest),
    ]);
    put(metadata, &leased, &manifest, of).await.unwrap();
    image(
        metadata,
        &format!("image {task} {round}"),
        &digest(&manifest),
        Labels::new(),
    )
    .await;
    metadata.delete_lease(&name, &id).await.unwrap();
    [layer, config, manifest]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_that_an_image_needs_is_lost_while_many_write_and_collect() {
    const TASKS: usize = 4;
    let (metadata, _fake, _dir) = stage(Duration::ZERO).await;
    let done = Arc::new(AtomicBool::new(false));
    let collecting = {
        let (metadata, done) = (metadata.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            while !done.load(Ordering::Relaxed) {
                metadata.collect().await.unwrap();
            }
        })
    };
    let mut writers = Vec::new();
    for task in 0..TASKS {
        let metadata = metadata.clone();
        writers.push(tokio::spawn(async move {
            let mut kept = BTreeSet::new();
            for round in 0..25 {
                let parts = pull(&metadata, task, round).await;
                for text in &parts {
                    let blob = metadata.content_reader(&caller(), &digest(text)).await;
                    assert_eq!(blob.unwrap().size(), text.len() as u64, "{text}");
                }
                if round % 2 == 0 {
                    let name = format!("image {task} {round}");
                    metadata.delete_image(&caller(), &name, None).await.unwrap();
                } else {
                    kept.extend(parts);
                }
            }
            kept
        }));
    }
    let mut kept = BTreeSet::new();
    for writer in writers {
        kept.append(&mut writer.await.unwrap());
    }
    done.store(true, Ordering::Relaxed);
    collecting.await.unwrap();
    metadata.collect().await.unwrap();
    let wanted: BTreeSet<_> = kept.iter().map(|text| digest(text)).collect();
    let blobs = metadata.blobs().walk().unwrap();
    let found: BTreeSet<_> = blobs.map(|info| info.unwrap().digest).collect();
    assert_eq!(found, wanted);
    for digest in &wanted {
        metadata.content_info(&caller(), digest).await.unwrap();
    }
}
