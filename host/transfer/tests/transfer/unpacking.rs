//! Unpacking beside an import: in what order, under which names and labels, once for all who want it, and nothing left of what
//! failed. Snapshots and applier are fakes here; `transomd`'s tests do it with real ones.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::mpsc;
use transom_meta::kv::Pending;
use transom_meta::snapshots::Kind;
use transom_meta::{Class, Labels};
use transom_oci::{Digest, Platform, chain_ids};
use transom_transfer::unpack::Unpacker;
use transom_transfer::{ByteSource, ImageStore, ImportOptions, StreamError, UnpackTo};

use crate::fakes::{FakeApplier, FakeSnapshots};
use crate::stage::{
    LAYOUT, Sample, Stage, any_name, archive, blob_name, caller, digest, index, layout, named, refused, tar,
};

pub(crate) struct Bench {
    pub(crate) stage: Stage,
    pub(crate) snapshots: Arc<FakeSnapshots>,
    pub(crate) applier: Arc<FakeApplier>,
}

pub(crate) async fn bench(rebase: bool, open: usize, at_once: usize) -> Bench {
    let snapshots = Arc::new(FakeSnapshots {
        rebase,
        ..FakeSnapshots::default()
    });
    let applier = FakeApplier::new(open);
    let unpacker = Unpacker::new(snapshots.clone(), applier.clone(), applier.clone(), at_once);
    let stage = Stage::with(Some(unpacker)).await;
    applier.metadata.send_replace(Some(stage.metadata.clone()));
    Bench {
        stage,
        snapshots,
        applier,
    }
}

fn unpacked() -> ImageStore {
    ImageStore {
        unpacks: vec![UnpackTo {
            platform: Platform::host(),
            snapshotter: String::new(),
        }],
        ..any_name()
    }
}

pub(crate) fn sample(layers: &[&str]) -> Sample {
    Sample::new(&Platform::host().to_string(), layers)
}

pub(crate) fn chain(sample: &Sample) -> Vec<String> {
    chain_ids(&sample.diff_ids())
        .iter()
        .map(Digest::to_string)
        .collect()
}

#[tokio::test]
async fn layers_become_snapshots_one_upon_the_other() {
    for rebase in [false, true] {
        let Bench {
            stage,
            snapshots,
            applier,
        } = bench(rebase, usize::MAX, 4).await;
        let sample = sample(&["a", "b", "c"]);
        stage
            .import(&archive(&sample, "latest"), &unpacked())
            .await
            .unwrap();
        let (chain, diff_ids) = (chain(&sample), sample.diff_ids());
        let committed: BTreeSet<String> = snapshots.names(Kind::Committed).into_iter().collect();
        assert_eq!(committed, chain.iter().cloned().collect());
        assert!(snapshots.names(Kind::Active).is_empty());
        for (at, name) in chain.iter().enumerate() {
            let info = snapshots.get(name);
            assert_eq!(info.parent, if at == 0 { "" } else { &chain[at - 1] });
            let mut labels = Labels::from([
                ("containerd.io/snapshot.ref".to_owned(), name.clone()),
                (
                    "containerd.io/snapshot/diff-id".to_owned(),
                    diff_ids[at].to_string(),
                ),
            ]);
            if at > 0 {
                labels.insert(
                    "containerd.io/snapshot/parent-chain-id".to_owned(),
                    chain[at - 1].clone(),
                );
            }
            assert_eq!(info.labels, labels);
            let labels = stage.labels(&sample.layers[at]).await;
            assert_eq!(labels["containerd.io/uncompressed"], diff_ids[at].to_string());
        }
        let labels = stage.labels(&sample.config).await;
        assert_eq!(labels["containerd.io/gc.ref.snapshot.overlayfs"], chain[2]);
        let extracted = stage.told.names("extracted");
        assert_eq!(extracted.len(), 3, "{extracted:?}");
        let mounts = applier.mounts.lock().unwrap();
        let uppers = mounts.iter().filter(|mount| {
            mount
                .options
                .iter()
                .any(|option| option.starts_with("upperdir=/snapshots/extract-"))
        });
        assert_eq!(uppers.count(), if rebase { 2 } else { 0 }, "{mounts:?}");
        assert!(
            mounts
                .iter()
                .filter(|mount| rebase && mount.kind == "overlay")
                .all(|mount| mount.options.len() == 2)
        );
    }
}

#[tokio::test]
async fn layers_are_applied_at_the_same_time_up_to_the_limit() {
    let Bench {
        stage,
        snapshots,
        applier,
    } = bench(true, 0, 2).await;
    let sample = sample(&["a", "b", "c", "d"]);
    let archive = archive(&sample, "latest");
    let into = unpacked();
    let import = stage.import(&archive, &into);
    let watch = async {
        applier
            .begun
            .subscribe()
            .wait_for(|begun| *begun == 2)
            .await
            .unwrap();
        assert!(snapshots.names(Kind::Committed).is_empty());
        applier.open.send_replace(usize::MAX);
    };
    let (done, ()) = tokio::join!(import, watch);
    done.unwrap();
    assert_eq!(applier.most.load(Ordering::SeqCst), 2);
    let log = snapshots.log.lock().unwrap();
    let commits: Vec<&str> = log
        .iter()
        .filter_map(|line| line.strip_prefix("commit "))
        .collect();
    let chain = chain(&sample);
    let wanted = [
        format!("{} ", chain[0]),
        format!("{} {}", chain[1], chain[0]),
        format!("{} {}", chain[2], chain[1]),
        format!("{} {}", chain[3], chain[2]),
    ];
    assert_eq!(commits, wanted);
}

#[tokio::test]
async fn what_is_unpacked_is_not_unpacked_again() {
    for rebase in [false, true] {
        let Bench {
            stage,
            snapshots,
            applier,
        } = bench(rebase, usize::MAX, 4).await;
        let (below, above) = (sample(&["a", "b"]), sample(&["a", "b", "c"]));
        stage
            .import(&archive(&below, "below"), &unpacked())
            .await
            .unwrap();
        stage
            .import(&archive(&above, "above"), &unpacked())
            .await
            .unwrap();
        stage
            .import(&archive(&above, "above"), &unpacked())
            .await
            .unwrap();
        assert_eq!(*applier.begun.borrow(), 3, "each layer once");
        assert_eq!(snapshots.names(Kind::Committed).len(), 3);
        assert!(snapshots.names(Kind::Active).is_empty());
    }
}

#[tokio::test]
async fn a_layer_that_two_want_is_unpacked_once() {
    for rebase in [false, true] {
        let Bench {
            stage,
            snapshots,
            applier,
        } = bench(rebase, 0, 4).await;
        let archive = archive(&sample(&["a", "b"]), "latest");
        let into = unpacked();
        let imports = async { tokio::join!(stage.import(&archive, &into), stage.import(&archive, &into)) };
        let watch = async {
            applier
                .begun
                .subscribe()
                .wait_for(|begun| *begun >= 1)
                .await
                .unwrap();
            applier.open.send_replace(usize::MAX);
        };
        let ((first, second), ()) = tokio::join!(imports, watch);
        first.unwrap();
        second.unwrap();
        assert_eq!(*applier.begun.borrow(), 2);
        assert!(snapshots.names(Kind::Active).is_empty());
    }
}

/// An archive that is sent by hand.
struct Hand(mpsc::Receiver<Bytes>);

impl ByteSource for Hand {
    fn next(&mut self) -> Pending<'_, Result<Option<Bytes>, StreamError>> {
        Box::pin(async move { Ok(self.0.recv().await) })
    }
}

#[tokio::test]
async fn a_layer_is_unpacked_while_the_next_one_arrives() {
    for rebase in [false, true] {
        let Bench { stage, snapshots, .. } = bench(rebase, usize::MAX, 4).await;
        let sample = sample(&["a", "b"]);
        let index = index(&[named(sample.descriptor(), "latest")]);
        let names: Vec<String> = sample.blobs().iter().map(|blob| blob_name(blob)).collect();
        let mut files: Vec<(&str, &[u8])> = vec![LAYOUT, ("index.json", &index)];
        files.extend([3, 2, 0].map(|at| (&*names[at], sample.blobs()[at])));
        let begin = tar(&files);
        let end = tar(&[(&*names[1], sample.blobs()[1])]);
        let (sender, receiver) = mpsc::channel(8);
        let into = unpacked();
        let nobody = caller();
        let import = stage.transfers.import(
            &nobody,
            Box::new(Hand(receiver)),
            ImportOptions::default(),
            &into,
            stage.told.clone(),
        );
        let chain = chain(&sample);
        let send = async {
            sender
                .send(begin[..begin.len() - 1024].to_vec().into())
                .await
                .unwrap();
            while snapshots.names(Kind::Committed) != chain[..1] {
                tokio::task::yield_now().await;
            }
            sender.send(end.into()).await.unwrap();
            drop(sender);
        };
        let (done, ()) = tokio::join!(import, send);
        done.unwrap();
        assert_eq!(snapshots.names(Kind::Committed).len(), 2);
    }
}

#[tokio::test]
async fn nothing_is_left_of_a_layer_that_failed() {
    for rebase in [false, true] {
        let Bench {
            stage,
            snapshots,
            applier,
        } = bench(rebase, usize::MAX, 4).await;
        let sample = sample(&["a", "b", "c"]);
        *applier.fails.lock().unwrap() = Some(digest(&sample.layers[1]));
        let (_, text) = refused(stage.import(&archive(&sample, "latest"), &unpacked()).await);
        assert!(
            text.starts_with("failed to extract layer") && text.ends_with("a bad layer"),
            "{text}"
        );
        assert!(snapshots.names(Kind::Active).is_empty());
        assert!(stage.metadata.images(&caller(), &[]).await.unwrap().is_empty());
        assert_eq!(stage.collected().await, BTreeSet::new());
    }
}

#[tokio::test]
async fn a_layer_that_is_not_what_the_configuration_says_is_refused() {
    for rebase in [false, true] {
        let Bench { stage, snapshots, .. } = bench(rebase, usize::MAX, 4).await;
        let (good, other) = (sample(&["a", "b"]), sample(&["a", "c"]));
        let mut wrong = good.clone();
        wrong.config = other.config.clone();
        let manifest = String::from_utf8(good.manifest.clone()).unwrap();
        let (from, to) = (digest(&good.config), digest(&other.config));
        wrong.manifest = manifest.replace(from.as_str(), to.as_str()).into_bytes();
        let (class, text) = refused(stage.import(&archive(&wrong, "latest"), &unpacked()).await);
        assert_eq!(class, Class::InvalidArgument);
        assert!(text.starts_with("wrong diff id"), "{text}");
        assert_eq!(snapshots.names(Kind::Active), [] as [String; 0]);
        let mut short = good.clone();
        short.config = sample(&["a"]).config;
        let to = digest(&short.config);
        let size = format!("\"size\":{}", good.config.len());
        let manifest = manifest.replace(from.as_str(), to.as_str());
        short.manifest = manifest
            .replacen(&size, &format!("\"size\":{}", short.config.len()), 1)
            .into_bytes();
        let (_, text) = refused(stage.import(&archive(&short, "latest"), &unpacked()).await);
        assert!(
            text.contains("number of layers and diffIDs don't match: 2 != 1"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_missing_layer_cannot_be_unpacked() {
    let Bench { stage, snapshots, .. } = bench(true, usize::MAX, 4).await;
    let sample = sample(&["a", "b"]);
    let index = index(&[named(sample.descriptor(), "latest")]);
    let archive = layout(&sample.blobs()[1..], &index);
    stage.import(&archive, &any_name()).await.unwrap();
    let (class, text) = refused(stage.import(&archive, &unpacked()).await);
    assert_eq!(class, Class::NotFound, "{text}");
    assert!(snapshots.names(Kind::Active).is_empty());
}

#[tokio::test]
async fn only_the_wanted_platform_is_unpacked() {
    let Bench { stage, snapshots, .. } = bench(true, usize::MAX, 4).await;
    let (here, there) = (sample(&["a"]), Sample::new("linux/s390x", &["b"]));
    let index = index(&[
        named(here.with_platform(), "here"),
        named(there.with_platform(), "there"),
    ]);
    let mut blobs = here.blobs();
    blobs.extend(there.blobs());
    stage.import(&layout(&blobs, &index), &unpacked()).await.unwrap();
    assert_eq!(snapshots.names(Kind::Committed), chain(&here));
}

#[tokio::test]
async fn a_cancelled_unpack_removes_what_it_prepared() {
    for rebase in [false, true] {
        let Bench {
            stage,
            snapshots,
            applier,
        } = bench(rebase, 1, 4).await;
        let (archive, into) = (archive(&sample(&["a", "b", "c"]), "latest"), unpacked());
        {
            let import = stage.import(&archive, &into);
            let mut begun = applier.begun.subscribe();
            tokio::select! {
                done = import => panic!("it cannot end: {done:?}"),
                _ = begun.wait_for(|begun| *begun >= 2) => {}
            }
        }
        while !snapshots.names(Kind::Active).is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(stage.collected().await, BTreeSet::new());
    }
}

#[tokio::test]
async fn a_snapshotter_must_be_there() {
    let Bench { stage, .. } = bench(true, usize::MAX, 4).await;
    let archive = archive(&sample(&["a"]), "latest");
    let mut into = unpacked();
    into.unpacks[0].snapshotter = "none".to_owned();
    let (class, text) = refused(stage.import(&archive, &into).await);
    assert_eq!(
        (class, &*text),
        (Class::InvalidArgument, "snapshotter not loaded: none")
    );
    // The namespace names one.
    let labels = Labels::from([(
        "containerd.io/defaults/snapshotter".to_owned(),
        "other".to_owned(),
    )]);
    stage
        .metadata
        .update_namespace(&caller().namespace, labels, &[])
        .await
        .unwrap();
    let (_, text) = refused(stage.import(&archive, &unpacked()).await);
    assert_eq!(text, "snapshotter not loaded: other");
    let (class, text) = refused(Stage::new().await.import(&archive, &unpacked()).await);
    assert_eq!(class, Class::InvalidArgument);
    assert!(text.starts_with("this daemon has no snapshotter"), "{text}");
}

/// The same image with layers that are encrypted, for the applier that is a fake.
fn sealed(sample: &Sample) -> Sample {
    let manifest = String::from_utf8(sample.manifest.clone()).unwrap();
    Sample {
        layers: sample.layers.clone(),
        config: sample.config.clone(),
        manifest: manifest.replace("tar+gzip", "tar+gzip+encrypted").into_bytes(),
        platform: sample.platform.clone(),
    }
}

#[tokio::test]
async fn encrypted_layers_that_are_unpacked_are_asked_for() {
    for rebase in [false, true] {
        let Bench {
            stage,
            snapshots,
            applier,
        } = bench(rebase, usize::MAX, 4).await;
        let plain = sample(&["a", "b", "c"]);
        let sealed = archive(&sealed(&plain), "sealed");
        for archive in [&archive(&plain, "plain"), &archive(&plain, "again")] {
            stage.import(archive, &unpacked()).await.unwrap();
        }
        assert!(applier.asked.lock().unwrap().is_empty());
        let digests: Vec<Digest> = plain.layers.iter().map(|layer| digest(layer)).collect();
        *applier.fails.lock().unwrap() = Some(digests[2].clone());
        let (class, text) = refused(stage.import(&sealed, &unpacked()).await);
        assert_eq!(class, Class::PermissionDenied, "{text}");
        let layer = format!("layer {}", digests[2]);
        assert!(text.contains(&layer) && text.ends_with("no key"), "{text}");
        assert_eq!(snapshots.names(Kind::Committed).len(), 3);
        assert!(snapshots.names(Kind::Active).is_empty());
        *applier.fails.lock().unwrap() = None;
        applier.asked.lock().unwrap().clear();
        stage.import(&sealed, &unpacked()).await.unwrap();
        let asked: BTreeSet<Digest> = applier.asked.lock().unwrap().iter().cloned().collect();
        assert_eq!(asked, digests.into_iter().collect());
        assert_eq!(*applier.begun.borrow(), 3, "nothing is unpacked again");
    }
}

#[tokio::test]
async fn encrypted_layers_that_nobody_has_unpacked_are_unpacked() {
    let Bench {
        stage,
        snapshots,
        applier,
    } = bench(false, usize::MAX, 1).await;
    let sealed = archive(&sealed(&sample(&["a", "b"])), "sealed");
    stage.import(&sealed, &unpacked()).await.unwrap();
    assert_eq!(snapshots.names(Kind::Committed).len(), 2);
    assert!(applier.asked.lock().unwrap().is_empty());
}
