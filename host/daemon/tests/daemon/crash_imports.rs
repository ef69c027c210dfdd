//! The real program, killed and its power cut while it imports and unpacks images: what was acknowledged is whole, what was not
//! can be imported again, and when it has collected, nothing is there that no image keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::Mutex;
use tonic::transport::Channel;
use transom_api::content::content_client::ContentClient;
use transom_api::content::{ListContentRequest, ListStatusesRequest};
use transom_api::images::ListImagesRequest;
use transom_api::images::images_client::ImagesClient;
use transom_api::leases::leases_client::LeasesClient;
use transom_api::leases::{DeleteRequest, ListRequest};
use transom_api::snapshots as api;
use transom_api::transfer_types::{ImageStore, UnpackConfiguration};

use crate::crash::{cut_under, killed, rooted, rounds, whole};
use crate::crash_snapshots::{collect, listed, snapshotter};
use crate::layers::{Layer, TAR_GZIP, gzip, mounts_below};
use crate::program::Program;
use crate::rig::{channel, here, sha256};
use crate::transfer::prefix;
use crate::transfer_client::{image_of, import_as};

const CLIENTS: u64 = 4;

/// The numbers of the images whose import was answered.
type Acknowledged = Arc<Mutex<BTreeSet<u64>>>;

#[tokio::test(flavor = "multi_thread")]
async fn no_import_is_lost_or_leaked_by_a_kill() {
    let (acknowledged, next) = (Acknowledged::default(), Arc::new(AtomicU64::new(0)));
    killed(
        async |socket, round| load(&socket, &acknowledged, &next, round).await,
        async |folder| check(folder, &acknowledged, next.load(Ordering::Relaxed)).await,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_import_is_lost_or_leaked_by_a_power_cut() {
    if !transom_tests::needs::require_root() {
        return;
    }
    for round in 0..rounds() {
        let (acknowledged, next) = (Acknowledged::default(), Arc::new(AtomicU64::new(0)));
        let load = async |socket: PathBuf| load(&socket, &acknowledged, &next, round).await;
        let disk = cut_under(load).await;
        check(
            rooted(&disk.mount("cut")),
            &acknowledged,
            next.load(Ordering::Relaxed),
        )
        .await;
    }
}

/// Lets clients import images for a while that differs from round to round.
async fn load(socket: &Path, acknowledged: &Acknowledged, next: &Arc<AtomicU64>, round: u64) {
    let mut tasks = Vec::new();
    for _ in 0..CLIENTS {
        let channel = channel(socket).await;
        let (acknowledged, next) = (Arc::clone(acknowledged), Arc::clone(next));
        tasks.push(tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                // What ends with the daemon is what the test is about.
                if !bring(&channel, number).await {
                    return;
                }
                acknowledged.lock().await.insert(number);
            }
        }));
    }
    let before = acknowledged.lock().await.len();
    while acknowledged.lock().await.len() < before + 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(100 + round * 37 % 100)).await;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}

/// A layer that all images share, and one of its own.
fn tars(number: u64) -> [Vec<u8>; 2] {
    let own = format!("this is {number}").repeat(20_000);
    [
        Layer::new().file("shared", &[7; 50_000]).end(),
        Layer::new().file("own", own.as_bytes()).end(),
    ]
}

fn name(number: u64) -> String {
    format!("registry.test/image:{number}")
}

/// The snapshots of an image, lowest first.
fn chain(number: u64) -> [String; 2] {
    let [lower, upper] = tars(number).each_ref().map(|tar| sha256(tar));
    let top = sha256(format!("{lower} {upper}").as_bytes());
    [lower, top]
}

/// The digests of all blobs of an image that an archive has.
fn blobs(archive: &[u8]) -> BTreeSet<String> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive
        .entries()
        .expect("a tar")
        .map(|entry| entry.expect("an entry"));
    let paths = entries.map(|entry| entry.path().expect("a path").display().to_string());
    let blobs = paths.filter_map(|path| Some(format!("sha256:{}", path.strip_prefix("blobs/sha256/")?)));
    blobs.collect()
}

fn archive(number: u64) -> Vec<u8> {
    let tars = tars(number);
    let diff_ids: Vec<String> = tars.iter().map(|tar| sha256(tar)).collect();
    image_of(
        &name(number),
        &diff_ids,
        &tars.each_ref().map(|tar| (TAR_GZIP, gzip(tar))),
    )
}

/// Imports an image and unpacks it. Whether that was answered.
async fn bring(channel: &Channel, number: u64) -> bool {
    let into = ImageStore {
        extra_references: prefix("unused", [true, false, false]).into_iter().collect(),
        unpacks: vec![UnpackConfiguration {
            platform: None,
            snapshotter: snapshotter(),
        }],
        ..ImageStore::default()
    };
    let done = import_as(channel, &format!("-{number}"), archive(number), &into).await;
    done.is_ok()
}

/// Starts the daemon on what is left and compares; gives its folder back.
async fn check(folder: TempDir, acknowledged: &Acknowledged, next: u64) -> TempDir {
    let program = Program::in_folder(folder, &[]);
    let channel = channel(&program.socket()).await;
    let mut acknowledged = acknowledged.lock().await;
    let images = images(&channel).await;
    for number in &*acknowledged {
        assert!(
            images.contains(&name(*number)),
            "image {number} of {acknowledged:?}"
        );
        unpacked(&channel, *number).await;
    }
    // One that was under way is imported as if nothing had been.
    let again = (0..next).find(|number| !acknowledged.contains(number));
    if let Some(number) = again {
        assert!(
            bring(&channel, number).await,
            "image {number} cannot be imported again"
        );
        unpacked(&channel, number).await;
        acknowledged.insert(number);
    }
    tidy(&channel).await;
    nothing_else(&program, &channel, next).await;
    program.stop().0
}

async fn images(channel: &Channel) -> BTreeSet<String> {
    let mut client = ImagesClient::new(channel.clone());
    let all = client.list(here(ListImagesRequest::default())).await;
    let all = all.expect("a list").into_inner().images;
    all.into_iter().map(|image| image.name).collect()
}

/// Its files are there.
async fn unpacked(channel: &Channel, number: u64) {
    let mut client = api::snapshots_client::SnapshotsClient::new(channel.clone());
    let [lower, top] = chain(number);
    for (name, parent) in [(&lower, ""), (&top, lower.as_str())] {
        let request = api::StatSnapshotRequest {
            snapshotter: snapshotter(),
            key: name.clone(),
        };
        let info = client
            .stat(here(request))
            .await
            .expect("unpacked")
            .into_inner()
            .info;
        let info = info.expect("it is set");
        assert_eq!(
            (info.kind(), &*info.parent),
            (api::Kind::Committed, parent),
            "image {number}"
        );
    }
    let request = api::UsageRequest {
        snapshotter: snapshotter(),
        key: top,
    };
    let usage = client.usage(here(request)).await.expect("a size").into_inner();
    assert!(usage.size >= 20_000, "image {number}: {usage:?}");
}

/// Takes away what the interrupted requests held, and collects.
async fn tidy(channel: &Channel) {
    let mut leases = LeasesClient::new(channel.clone());
    let all = leases.list(here(ListRequest::default())).await;
    for lease in all.expect("a list").into_inner().leases {
        let request = DeleteRequest {
            id: lease.id,
            sync: false,
        };
        leases.delete(here(request)).await.expect("deleted");
    }
    collect(channel).await;
}

/// Content and snapshots are those of the images, whose blobs are whole; nothing else lies in the folders.
async fn nothing_else(program: &Program, channel: &Channel, next: u64) {
    let images = images(channel).await;
    let there = (0..next).filter(|number| images.contains(&name(*number)));
    let (mut expected, mut snapshots) = (BTreeSet::new(), BTreeSet::new());
    for number in there {
        expected.append(&mut blobs(&archive(number)));
        snapshots.extend(chain(number));
    }
    let content = contents(channel).await;
    for digest in &content {
        whole(channel, digest).await;
    }
    // The archive's own index is kept by no image.
    assert_eq!(
        content.difference(&expected).collect::<Vec<_>>(),
        Vec::<&String>::new()
    );
    assert_eq!(
        expected.difference(&content).collect::<Vec<_>>(),
        Vec::<&String>::new()
    );
    let found: BTreeMap<String, api::Kind> = listed(channel).await;
    let unknown = found.keys().filter(|name| !snapshots.contains(*name));
    assert_eq!(unknown.collect::<Vec<_>>(), Vec::<&String>::new());
    let mut client = ContentClient::new(channel.clone());
    let statuses = client.list_statuses(here(ListStatusesRequest::default())).await;
    assert_eq!(statuses.expect("a list").into_inner().statuses, []);
    let root = program.folder.path().join("root");
    let count = |folder: &str| std::fs::read_dir(root.join(folder)).map_or(0, Iterator::count);
    assert_eq!(count("io.containerd.content.v1.content/ingest"), 0);
    assert_eq!(
        count("io.containerd.content.v1.content/blobs/sha256"),
        content.len()
    );
    let folders = format!("io.containerd.snapshotter.v1.{}/snapshots", snapshotter());
    assert_eq!(count(&folders), found.len());
    assert_eq!(mounts_below(&root), Vec::<PathBuf>::new());
}

async fn contents(channel: &Channel) -> BTreeSet<String> {
    let mut content = ContentClient::new(channel.clone());
    let pages = content.list(here(ListContentRequest::default())).await;
    let mut pages = pages.expect("a list").into_inner();
    let mut all = BTreeSet::new();
    while let Some(page) = pages.message().await.expect("a page") {
        all.extend(page.info.into_iter().map(|info| info.digest));
    }
    all
}
