//! Pulls that are cut off, given up or lied to: what of them is kept, and that nothing else is.

use transom_meta::Class;
use transom_meta::snapshots::Kind;
use transom_oci::media_type;

use crate::fake::{Fake, Fault, Seen};
use crate::pulls::{client, fetches, into, is_layer, large, offer, registry};
use crate::stage::{caller, descriptor, digest, refused};
use crate::unpacking::{Bench, bench};

/// Bytes that a registry sends in answer to a range.
fn from_byte(seen: &Seen) -> usize {
    let Some(range) = seen.header("range") else {
        return 0;
    };
    let first = range
        .strip_prefix("bytes=")
        .and_then(|range| range.split('-').next());
    first.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_is_cut_off_anywhere_goes_on_there() {
    let sample = large(2, 300_000);
    let layer = sample.layers[1].clone();
    let offsets = (0..layer.len()).step_by(layer.len() / 11);
    for offset in offsets.chain([layer.len() - 1]) {
        let Bench { stage, snapshots, .. } = bench(true, usize::MAX, 2).await;
        let fake = Fake::start().await;
        offer(&fake, &sample, "v1");
        let cut = layer.clone();
        fake.plan(move |seen| match is_layer(seen, &cut) {
            true => Fault::Cut(offset),
            false => Fault::None,
        });
        // One try, and then the whole pull has failed.
        let from = registry(&fake, &client(1), "v1");
        let failed = stage.pull(&from, &into("app:v1")).await;
        assert_eq!(refused(failed).0, Class::Unavailable, "cut at {offset}");
        assert!(snapshots.names(Kind::Active).is_empty(), "cut at {offset}");
        assert!(stage.metadata.images(&caller(), &[]).await.unwrap().is_empty());
        let before = fetches(&fake);
        fake.plan(|_| Fault::None);
        stage.pull(&from, &into("app:v1")).await.unwrap();
        assert_eq!(stage.content().await, sample.digests());
        assert_eq!(snapshots.names(Kind::Committed).len(), 2);
        let last = fake
            .seen()
            .into_iter()
            .rfind(|seen| is_layer(seen, &layer))
            .unwrap();
        assert_eq!(from_byte(&last), offset, "what had come was not kept");
        let other = format!("/v2/team/app/blobs/{}", digest(&sample.layers[0]));
        let after = fetches(&fake);
        assert!(after[&other] <= 1 + before.get(&other).copied().unwrap_or_default());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_pull_has_fetched_outlives_a_collection() {
    let Bench { stage, .. } = bench(true, usize::MAX, 2).await;
    let fake = Fake::start().await;
    let sample = large(2, 200_000);
    offer(&fake, &sample, "v1");
    let layer = sample.layers[1].clone();
    let half = layer.len() / 2;
    let mut cuts = 0;
    fake.plan(move |seen| {
        if !is_layer(seen, &layer) {
            return Fault::None;
        }
        cuts += 1;
        match cuts {
            1 => Fault::Cut(half),
            _ => Fault::None,
        }
    });
    let from = registry(&fake, &client(1), "v1");
    assert!(stage.pull(&from, &into("app:v1")).await.is_err());
    // The lease of the pull goes when another one has what it had.
    let leases = async || stage.metadata.leases(&caller().namespace, &[]).await.unwrap();
    while leases().await.len() != 1 {
        tokio::task::yield_now().await;
    }
    stage.metadata.collect().await.unwrap();
    assert_eq!(
        stage
            .metadata
            .ingest_statuses(&caller(), &[])
            .await
            .unwrap()
            .len(),
        1
    );
    stage.pull(&from, &into("app:v1")).await.unwrap();
    let layer = &sample.layers[1];
    let last = fake
        .seen()
        .into_iter()
        .rfind(|seen| is_layer(seen, layer))
        .unwrap();
    assert_eq!(from_byte(&last), half);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_never_committed_nor_left_applied() {
    let sample = large(2, 300_000);
    let layer = sample.layers[0].clone();
    for at in [0, 1_000, layer.len() / 2, layer.len() - 1] {
        let Bench { stage, snapshots, .. } = bench(true, usize::MAX, 2).await;
        let fake = Fake::start().await;
        offer(&fake, &sample, "v1");
        let from = registry(&fake, &client(3), "v1");
        let bad = layer.clone();
        fake.plan(move |seen| match is_layer(seen, &bad) {
            true => Fault::Flip(at),
            false => Fault::None,
        });
        let failed = stage.pull(&from, &into("app:v1")).await;
        assert_eq!(refused(failed).0, Class::DataLoss, "bit {at}");
        assert!(!stage.content().await.contains(digest(&layer).as_str()));
        assert!(snapshots.all.lock().unwrap().is_empty(), "bit {at}");
        // Once is not for ever: the second time it comes right.
        let (bad, mut times) = (layer.clone(), 0);
        fake.plan(move |seen| {
            times += usize::from(is_layer(seen, &bad));
            match is_layer(seen, &bad) && times == 1 {
                true => Fault::Flip(at),
                false => Fault::None,
            }
        });
        stage.pull(&from, &into("app:v1")).await.unwrap();
        assert_eq!(snapshots.names(Kind::Committed).len(), 2);
        assert!(snapshots.names(Kind::Active).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_is_given_up_leaves_nothing_applied() {
    let Bench {
        stage,
        snapshots,
        applier,
    } = bench(true, usize::MAX, 2).await;
    let fake = Fake::start().await;
    let sample = large(1, 1 << 20);
    offer(&fake, &sample, "v1");
    let layer = sample.layers[0].clone();
    fake.plan(move |seen| match is_layer(seen, &layer) {
        true => Fault::Stall(600_000),
        false => Fault::None,
    });
    let from = registry(&fake, &client(1), "v1");
    let mut begun = applier.begun.subscribe();
    let into = into("app:v1");
    tokio::select! {
        done = stage.pull(&from, &into) => panic!("it cannot end: {done:?}"),
        _ = begun.wait_for(|begun| *begun > 0) => {}
    }
    while !snapshots.all.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_whose_configuration_lies_is_not_unpacked() {
    let Bench { stage, snapshots, .. } = bench(true, usize::MAX, 2).await;
    let fake = Fake::start().await;
    let (good, other) = (large(2, 50_000), large(3, 50_000));
    let layers = [&good.layers[0], &other.layers[2]];
    let layers = layers.map(|layer| descriptor(media_type::LAYER_TAR_GZIP, layer));
    let config = descriptor(media_type::IMAGE_CONFIG, &good.config);
    let manifest = serde_json::json!({ "schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config, "layers": layers });
    let manifest = manifest.to_string();
    for blob in [&good.config, &good.layers[0], &other.layers[2]] {
        fake.add_blob(blob.clone());
    }
    fake.add_manifest("team/app", "v1", media_type::MANIFEST, &manifest);
    let failed = stage
        .pull(&registry(&fake, &client(3), "v1"), &into("app:v1"))
        .await;
    let (class, text) = refused(failed);
    assert_eq!(class, Class::InvalidArgument);
    assert!(text.contains("wrong diff id"), "{text}");
    assert!(snapshots.names(Kind::Active).is_empty());
    assert!(stage.metadata.images(&caller(), &[]).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_wrong_bytes_may_explain_waits_for_their_digest() {
    let Bench {
        stage,
        snapshots,
        applier,
    } = bench(true, usize::MAX, 2).await;
    let fake = Fake::start().await;
    let sample = large(1, 1 << 20);
    offer(&fake, &sample, "v1");
    let layer = sample.layers[0].clone();
    // The applier fails at the first try, before the blob is there; the registry sends the rest only then.
    *applier.fails_along.lock().unwrap() = true;
    let failed = applier.failed_along.subscribe();
    let mut asked = 0;
    fake.plan(move |seen| {
        if !is_layer(seen, &layer) {
            return Fault::None;
        }
        asked += 1;
        match asked {
            1 => Fault::Cut(600_000),
            2 => Fault::When(failed.clone(), Box::new(Fault::Flip(1_000))),
            _ => Fault::None,
        }
    });
    let from = registry(&fake, &client(3), "v1");
    stage.pull(&from, &into("app:v1")).await.unwrap();
    assert_eq!(snapshots.names(Kind::Committed).len(), 1);
    assert!(snapshots.names(Kind::Active).is_empty());
    assert_eq!(applier.along.load(std::sync::atomic::Ordering::SeqCst), 1);
}
