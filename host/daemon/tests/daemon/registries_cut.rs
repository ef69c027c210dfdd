//! A registry that lies and cuts in front of a daemon with real snapshots; and a daemon that is killed in the middle of a pull:
//! the next one goes on where it stopped.

use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;
use tonic::Code;
use transom_api::content::content_client::ContentClient;
use transom_api::content::{InfoRequest, ListStatusesRequest};
use transom_api::snapshots::ListSnapshotsRequest;
use transom_api::snapshots::snapshots_client::SnapshotsClient;
use transom_api::transfer::TransferRequest;
use transom_api::transfer::transfer_client::TransferClient;
use transom_api::transfer_types::{ImageStore, OciRegistry, RegistryResolver, UnpackConfiguration};
use transom_oci::{Algorithm, Descriptor, Digest, Platform, media_type};

use crate::fake::{Fake, Fault, Seen};
use crate::layers::{Layer, gzip};
use crate::program::Program;
use crate::rig::{Rig, channel, here, refused, sha256};
use crate::transfer_client::{NEVER, types};

/// Bytes of the layer that come before the registry falls silent.
const SENT: usize = 3 << 20;

/// Bytes that are surely written by then.
const WRITTEN: i64 = 2 << 20;

fn noise(length: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn described(kind: &str, bytes: &[u8]) -> Descriptor {
    Descriptor::new(kind, Digest::of(Algorithm::Sha256, bytes), bytes.len() as u64)
}

/// An image of a small and a large layer in the registry; the layers.
fn offer(fake: &Fake) -> [Vec<u8>; 2] {
    let tars = [
        Layer::new().file("small", b"small").end(),
        Layer::new().file("large", &noise(6 << 20)).end(),
    ];
    let host = Platform::host();
    let config = serde_json::json!({ "os": host.os, "architecture": host.architecture,
        "rootfs": { "type": "layers", "diff_ids": tars.each_ref().map(|tar| sha256(tar)) } })
    .to_string();
    let layers = tars.map(|tar| gzip(&tar));
    let listed = layers
        .each_ref()
        .map(|layer| described(media_type::LAYER_TAR_GZIP, layer));
    let manifest = serde_json::json!({ "schemaVersion": 2, "mediaType": media_type::MANIFEST,
        "config": described(media_type::IMAGE_CONFIG, config.as_bytes()), "layers": listed });
    fake.add_blob(config);
    for layer in &layers {
        fake.add_blob(layer.clone());
    }
    fake.add_manifest("team/app", "v1", media_type::MANIFEST, &manifest.to_string());
    layers
}

fn of_layer(seen: &Seen, layer: &[u8]) -> bool {
    seen.method == http::Method::GET && seen.path.ends_with(&sha256(layer))
}

async fn pull(socket: &Path, fake: &Fake) -> Result<(), tonic::Status> {
    let from = OciRegistry {
        reference: format!("{}/team/app:v1", fake.address),
        resolver: Some(RegistryResolver {
            default_scheme: "http".to_owned(),
            ..RegistryResolver::default()
        }),
    };
    let into = ImageStore {
        name: "app:v1".to_owned(),
        unpacks: vec![UnpackConfiguration::default()],
        ..ImageStore::default()
    };
    let request = TransferRequest {
        source: Some(types("OCIRegistry", &from)),
        destination: Some(types("ImageStore", &into)),
        options: None,
    };
    let mut client = TransferClient::new(channel(socket).await);
    client.transfer(here(request)).await.map(drop)
}

/// The largest number of bytes that an ingest has, once a blob is content.
async fn written(program: &Program, blob: &[u8]) -> i64 {
    let mut content = ContentClient::new(channel(&program.socket()).await);
    let request = InfoRequest { digest: sha256(blob) };
    if content.info(here(request)).await.is_err() {
        return 0;
    }
    let statuses = content.list_statuses(here(ListStatusesRequest::default())).await;
    let statuses = statuses.expect("a list").into_inner().statuses;
    statuses
        .into_iter()
        .map(|status| status.offset)
        .max()
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_daemon_goes_on_with_the_bytes_that_it_had() {
    if !transom_tests::require_root() {
        return;
    }
    let fake = Fake::start().await;
    let layers = offer(&fake);
    let large = layers[1].clone();
    fake.plan(move |seen| match of_layer(seen, &large) {
        true => Fault::Stall(SENT),
        false => Fault::None,
    });
    let mut program = Program::start(&[]);
    let socket = program.socket();
    let pulling = async {
        tokio::select! {
            done = pull(&socket, &fake) => panic!("it cannot end: {done:?}"),
            () = async {
                while written(&program, &layers[0]).await < WRITTEN {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            } => {}
        }
    };
    timeout(NEVER, pulling).await.expect("bytes come");
    program.child.kill().expect("it runs");
    program.child.wait().expect("it ends");
    let folder = std::mem::replace(&mut program.folder, tempfile::tempdir().expect("a folder"));
    fake.plan(|_| Fault::None);
    let before = fake.seen().len();
    let program = Program::in_folder(folder, &[]);
    timeout(NEVER, pull(&program.socket(), &fake))
        .await
        .expect("it ends")
        .expect("pulled");
    let seen = fake.seen().split_off(before);
    assert!(
        seen.iter().all(|seen| !of_layer(seen, &layers[0])),
        "a whole blob is not fetched again"
    );
    let ranges: Vec<&str> = seen
        .iter()
        .filter(|seen| of_layer(seen, &layers[1]))
        .filter_map(|seen| seen.header("range"))
        .collect();
    let first: i64 = ranges[0]
        .strip_prefix("bytes=")
        .and_then(|range| range.split('-').next())
        .and_then(|first| first.parse().ok())
        .expect("a range");
    assert!(first >= WRITTEN, "{ranges:?}");
    program.stop();
}

/// The keys of all snapshots.
async fn snapshots(rig: &Rig) -> Vec<String> {
    let request = ListSnapshotsRequest {
        snapshotter: "overlayfs".to_owned(),
        filters: Vec::new(),
    };
    let mut client = SnapshotsClient::new(rig.channel.clone());
    let mut pages = client.list(here(request)).await.expect("a list").into_inner();
    let mut keys = Vec::new();
    while let Some(page) = pages.message().await.expect("a page") {
        keys.extend(page.info.into_iter().map(|info| info.name));
    }
    keys
}

async fn has(rig: &Rig, blob: &[u8]) -> bool {
    let request = InfoRequest { digest: sha256(blob) };
    let mut content = ContentClient::new(rig.channel.clone());
    content.info(here(request)).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_layer_with_a_flipped_bit_nothing_is_left() {
    if !transom_tests::require_root() {
        return;
    }
    let rig = Rig::start().await;
    let fake = Fake::start().await;
    let layers = offer(&fake);
    // In the head of gzip, in what it holds, and in its sum at the end.
    for at in [1, 100, 3 << 20, layers[1].len() - 5] {
        let bad = layers[1].clone();
        fake.plan(move |seen| match of_layer(seen, &bad) {
            true => Fault::Flip(at),
            false => Fault::None,
        });
        let pulled = timeout(NEVER, pull(&rig.socket(), &fake)).await.expect("it ends");
        let (code, text) = refused(pulled);
        assert_eq!(code, Code::DataLoss, "{at}: {text}");
        assert!(!has(&rig, &layers[1]).await);
        // The other layer may have been committed: it is what it should be.
        let left = snapshots(&rig).await;
        assert!(
            left.iter().all(|key| key.starts_with("sha256:")),
            "{at}: {left:?}"
        );
        assert!(left.len() < 2, "{at}: {left:?}");
    }
    // Cut again and again, and wrong once: it comes right in the end.
    let (bad, mut asked) = (layers[1].clone(), 0);
    fake.plan(move |seen| {
        if !of_layer(seen, &bad) {
            return Fault::None;
        }
        asked += 1;
        match asked {
            1 => Fault::Cut(1 << 20),
            2 => Fault::Flip(1 << 20),
            3 => Fault::Cut(2 << 20),
            _ => Fault::None,
        }
    });
    timeout(NEVER, pull(&rig.socket(), &fake))
        .await
        .expect("it ends")
        .expect("pulled");
    assert!(has(&rig, &layers[1]).await);
    assert_eq!(snapshots(&rig).await.len(), 2);
}
