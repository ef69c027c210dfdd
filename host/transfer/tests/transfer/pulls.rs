//! Pulls from a registry that does what it should. Snapshots and applier are fakes here; `transomd`'s tests do it with real ones.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use transom_client::{Client, Hosts, Options, Retry};
use transom_meta::Class;
use transom_meta::snapshots::Kind;
use transom_oci::{Descriptor, Platform, media_type};
use transom_transfer::{ImageStore, Platforms, Registry, UnpackTo};

use crate::fake::{Fake, Fault, Seen};
use crate::stage::{Sample, Stage, caller, descriptor, digest, gzip, image_names, refused, tar};
use crate::unpacking::{Bench, bench, chain, sample};

/// Nothing here takes long; this ends a test that hangs.
const NEVER: Duration = Duration::from_secs(120);

const MANIFEST: &str = media_type::MANIFEST;
const INDEX: &str = media_type::INDEX;

/// Settings that lose no time, with so many tries.
pub(crate) fn client(tries: u32) -> Client {
    Client::new(Options {
        hosts: Hosts {
            plain_http: true,
            ..Hosts::default()
        },
        retry: Retry {
            tries,
            first: Duration::from_millis(1),
            longest: Duration::from_millis(5),
            longest_asked: Duration::from_secs(1),
        },
        ..Options::default()
    })
}

pub(crate) fn registry(fake: &Fake, client: &Client, tag: &str) -> Registry {
    Registry::new(client.clone(), &format!("{}/team/app:{tag}", fake.address)).unwrap()
}

/// Has an image in a registry under a tag.
pub(crate) fn offer(fake: &Fake, sample: &Sample, tag: &str) {
    for blob in sample.layers.iter().chain([&sample.config]) {
        fake.add_blob(blob.clone());
    }
    let manifest = std::str::from_utf8(&sample.manifest).unwrap();
    fake.add_manifest("team/app", tag, MANIFEST, manifest);
}

pub(crate) fn into(name: &str) -> ImageStore {
    ImageStore {
        platforms: Platforms(vec![Platform::host()]),
        unpacks: vec![UnpackTo {
            platform: Platform::host(),
            snapshotter: String::new(),
        }],
        ..ImageStore::named(name)
    }
}

/// Bytes that do not compress, so that a layer has some pieces.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}

pub(crate) fn large(layers: u64, bytes: usize) -> Sample {
    let tars: Vec<Vec<u8>> = (0..layers)
        .map(|layer| tar(&[(&format!("file{layer}"), &noise(bytes, layer + 1))]))
        .collect();
    Sample::of_tars(&Platform::host().to_string(), &tars)
}

impl Stage {
    pub(crate) async fn pull(
        &self,
        from: &Registry,
        into: &ImageStore,
    ) -> Result<Vec<String>, transom_transfer::TransferError> {
        let who = caller();
        let pulled = self.transfers.pull(&who, from, into, self.told.clone());
        let images = tokio::time::timeout(NEVER, pulled).await.expect("it ends")?;
        Ok(image_names(&images).into_iter().map(str::to_owned).collect())
    }
}

/// Bytes of blobs that were asked for and sent whole, by path.
pub(crate) fn fetches(fake: &Fake) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for seen in fake.seen() {
        if seen.method == http::Method::GET && seen.path.contains("/blobs/") {
            *counts.entry(seen.path).or_default() += 1;
        }
    }
    counts
}

pub(crate) fn is_layer(seen: &Seen, layer: &[u8]) -> bool {
    seen.method == http::Method::GET && seen.path.ends_with(digest(layer).as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_becomes_content_labels_snapshots_and_a_name() {
    for rebase in [false, true] {
        let Bench { stage, snapshots, .. } = bench(rebase, usize::MAX, 2).await;
        let fake = Fake::start().await;
        let sample = large(3, 100_000);
        offer(&fake, &sample, "v1");
        let from = registry(&fake, &client(3), "v1");
        let names = stage.pull(&from, &into("app:v1")).await.unwrap();
        assert_eq!(names, ["app:v1"]);
        assert_eq!(stage.content().await, sample.digests());
        let source = format!("containerd.io/distribution.source.{}", fake.address);
        for blob in sample.blobs() {
            assert_eq!(stage.labels(blob).await[&source], "team/app");
        }
        let kept = stage.labels(&sample.manifest).await;
        let layers = sample.layers.iter().enumerate();
        for (at, layer) in layers {
            let key = format!("containerd.io/gc.ref.content.l.{at}");
            assert_eq!(kept[&key], digest(layer).to_string());
        }
        let mut committed = snapshots.names(Kind::Committed);
        committed.sort();
        let mut wanted = chain(&sample);
        wanted.sort();
        assert_eq!(committed, wanted);
        assert_eq!(
            stage.collected().await,
            sample.digests(),
            "the image keeps all of it"
        );
        let counts = fetches(&fake);
        assert_eq!(counts.len(), 4);
        assert!(counts.values().all(|count| *count == 1), "{counts:?}");
        // Nothing of it is fetched again, not even to find out.
        stage.pull(&from, &into("app:v1")).await.unwrap();
        assert_eq!(fetches(&fake), counts);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_tells_what_containerds_clients_show() {
    let Bench { stage, .. } = bench(true, usize::MAX, 2).await;
    let fake = Fake::start().await;
    let sample = sample(&["a"]);
    offer(&fake, &sample, "v1");
    let from = registry(&fake, &client(3), "v1");
    stage.pull(&from, &into("app:v1")).await.unwrap();
    let told = stage.told.0.lock().unwrap().clone();
    let whole: Vec<String> = told
        .iter()
        .filter(|progress| progress.name.is_empty())
        .map(|progress| progress.event.to_string())
        .collect();
    let name = format!("OCI Registry ({}/team/app:v1)", fake.address);
    let wanted = ["Resolving from", "Pulling from", "Completed pull from"];
    assert_eq!(whole, wanted.map(|event| format!("{event} {name}")));
    let layer = format!("layer-{}", digest(&sample.layers[0]));
    let manifest = format!("manifest-{}", digest(&sample.manifest));
    let of = |name: &str| -> Vec<(String, Vec<String>)> {
        let events = told.iter().filter(|progress| progress.name == name);
        events
            .map(|progress| (progress.event.to_string(), progress.parents.clone()))
            .collect()
    };
    let events: Vec<String> = of(&layer).into_iter().map(|(event, _)| event).collect();
    for event in ["waiting", "complete", "extracted"] {
        assert!(events.iter().any(|told| told == event), "{event} in {events:?}");
    }
    assert!(
        of(&layer)
            .iter()
            .all(|(_, parents)| *parents == [manifest.clone()])
    );
    assert_eq!(of("app:v1")[0].0, "fetching image content");
    assert_eq!(of(&manifest)[0].1, ["app:v1"]);
    assert_eq!(stage.told.names("saved"), ["app:v1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_is_applied_before_its_last_byte_is_there() {
    let Bench {
        stage,
        snapshots,
        applier,
    } = bench(true, usize::MAX, 2).await;
    let fake = Fake::start().await;
    let sample = large(1, 3 << 20);
    offer(&fake, &sample, "v1");
    let layer = sample.layers[0].clone();
    let begun = applier.begun.subscribe();
    let mut asked = 0;
    fake.plan(move |seen| {
        if !is_layer(seen, &layer) {
            return Fault::None;
        }
        asked += 1;
        if asked == 1 {
            return Fault::Cut(2 << 20);
        }
        // The rest is sent when somebody is at work on the beginning.
        Fault::When(begun.clone(), Box::new(Fault::None))
    });
    let from = registry(&fake, &client(3), "v1");
    stage.pull(&from, &into("app:v1")).await.unwrap();
    assert_eq!(applier.along.load(Ordering::SeqCst), 1);
    assert_eq!(snapshots.names(Kind::Committed), chain(&sample));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_two_pulls_want_is_fetched_once() {
    let Bench { stage, snapshots, .. } = bench(true, usize::MAX, 2).await;
    let fake = Fake::start().await;
    let sample = large(3, 500_000);
    offer(&fake, &sample, "v1");
    fake.add_manifest(
        "team/app",
        "v2",
        MANIFEST,
        std::str::from_utf8(&sample.manifest).unwrap(),
    );
    let client = client(3);
    let (one, two) = (
        registry(&fake, &client, "v1"),
        registry(
            &fake,
            &client.beside(Options {
                hosts: Hosts {
                    plain_http: true,
                    ..Hosts::default()
                },
                ..Options::default()
            }),
            "v2",
        ),
    );
    let (into_one, into_two) = (into("one"), into("two"));
    let (first, second) = tokio::join!(stage.pull(&one, &into_one), stage.pull(&two, &into_two));
    assert_eq!(
        (first.unwrap(), second.unwrap()),
        (vec!["one".to_owned()], vec!["two".to_owned()])
    );
    let counts = fetches(&fake);
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
    assert_eq!(snapshots.names(Kind::Committed).len(), 3);
    assert!(snapshots.names(Kind::Active).is_empty());
}

/// A manifest of its own for a platform, in the registry.
fn offered(fake: &Fake, platform: &str, layer: &str) -> Descriptor {
    let sample = Sample::new(platform, &[layer]);
    offer(fake, &sample, &format!("only-{layer}"));
    sample.with_platform()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_index_the_platforms_that_are_wanted_come() {
    let host = Platform::host().to_string();
    for (all_metadata, platforms, layers, manifests) in [
        (false, vec![Platform::host()], 1, 2),
        (true, vec![Platform::host()], 1, 4),
        (false, Vec::new(), 3, 4),
    ] {
        let stage = Stage::new().await;
        let fake = Fake::start().await;
        let listed = ["linux/s390x", "linux/riscv64"]
            .map(|platform| offered(&fake, platform, platform.rsplit('/').next().unwrap()));
        let inner = serde_json::json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [offered(&fake, &host, "here")] }).to_string();
        fake.add_manifest("team/app", "inner", INDEX, &inner);
        let nested = descriptor(INDEX, inner.as_bytes());
        let outer = serde_json::json!({ "schemaVersion": 2, "mediaType": INDEX,
            "manifests": [listed[0], nested, listed[1]] })
        .to_string();
        fake.add_manifest("team/app", "v1", INDEX, &outer);
        let into = ImageStore {
            platforms: Platforms(platforms.clone()),
            all_metadata,
            ..ImageStore::named("app:v1")
        };
        stage
            .pull(&registry(&fake, &client(3), "v1"), &into)
            .await
            .unwrap();
        let fetched = stage.content().await;
        let count = |text: &str| fake.lines().iter().filter(|line| line.contains(text)).count();
        let configs = if all_metadata || platforms.is_empty() {
            3
        } else {
            1
        };
        // Two indexes, and the manifests.
        assert_eq!(fetched.len(), layers + configs + manifests + 1, "{fetched:?}");
        assert_eq!(count("/blobs/"), layers + configs);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_for_other_machines_alone_is_not_found() {
    let stage = Stage::new().await;
    let fake = Fake::start().await;
    let listed = offered(&fake, "linux/s390x", "there");
    let index =
        serde_json::json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [listed] }).to_string();
    fake.add_manifest("team/app", "v1", INDEX, &index);
    let into = ImageStore {
        platforms: Platforms(vec!["linux/riscv64".parse().unwrap()]),
        ..ImageStore::named("app:v1")
    };
    let failed = stage.pull(&registry(&fake, &client(3), "v1"), &into).await;
    let (class, text) = refused(failed);
    assert_eq!(class, Class::NotFound);
    assert!(text.starts_with("no match for platform in manifest"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_images_and_foreign_layers_come_too() {
    let Bench { stage, snapshots, .. } = bench(true, usize::MAX, 2).await;
    let (fake, elsewhere) = (Fake::start().await, Fake::start().await);
    let plain = tar(&[("foreign", b"elsewhere")]);
    let layer = gzip(&plain);
    elsewhere.add_blob(layer.clone());
    let host = Platform::host();
    let config = serde_json::json!({ "os": host.os, "architecture": host.architecture,
        "rootfs": { "type": "layers", "diff_ids": [digest(&plain)] } })
    .to_string();
    fake.add_blob(config.clone());
    let mut foreign = descriptor(
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        &layer,
    );
    foreign.urls = vec![
        "ftp://127.0.0.1/no".to_owned(),
        format!("http://{}/v2/any/blobs/{}", elsewhere.address, foreign.digest),
    ];
    let manifest = serde_json::json!({ "schemaVersion": 2, "mediaType": media_type::DOCKER_MANIFEST,
        "config": descriptor(media_type::DOCKER_IMAGE_CONFIG, config.as_bytes()), "layers": [foreign] })
    .to_string();
    fake.add_manifest("team/app", "v1", media_type::DOCKER_MANIFEST, &manifest);
    stage
        .pull(&registry(&fake, &client(1), "v1"), &into("app:v1"))
        .await
        .unwrap();
    assert_eq!(snapshots.names(Kind::Committed).len(), 1);
    assert_eq!(elsewhere.seen().len(), 1);
    assert!(elsewhere.seen()[0].header("authorization").is_none());
    assert!(
        fake.seen()
            .iter()
            .all(|seen| !seen.path.contains(digest(&layer).hex()))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_and_what_is_no_name_is_said() {
    let stage = Stage::new().await;
    let fake = Fake::start().await;
    let failed = stage.pull(&registry(&fake, &client(1), "none"), &into("a")).await;
    let (class, text) = refused(failed);
    assert_eq!(class, Class::NotFound);
    assert!(text.starts_with("failed to resolve image: "), "{text}");
    let wrong = Registry::new(client(1), "not a name");
    assert_eq!(refused(wrong).0, Class::InvalidArgument);
    assert_eq!(Arc::strong_count(&stage.told), 1, "nobody is left at work");
}
