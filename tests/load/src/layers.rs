//! Requests about layers and snapshots.

use std::io::Write as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinSet;
use transom_api::diff::{ApplyRequest, DiffRequest};
use transom_api::snapshots::{
    CommitSnapshotRequest, MountsRequest, PrepareSnapshotRequest, RemoveSnapshotRequest, StatSnapshotRequest,
    ViewSnapshotRequest,
};
use transom_api::types::{Descriptor, Mount};

use crate::client::leased;
use crate::jobs::{digest, make_lease, put, sum};
use crate::{Arguments, Client, Done, Error};

/// The snapshotter that is asked.
const SNAPSHOTTER: &str = "overlayfs";

/// Layers different from each other that are applied in turn.
const LAYERS: u32 = 50;

/// Applies layers of one small file, one after the other, onto one snapshot.
pub(crate) async fn apply(arguments: &Arguments) -> Result<Done, Error> {
    let (client, layers) = small_layers(arguments).await?;
    let key = format!("apply-{}", arguments.salt);
    let mounts = prepare(&client, &key, &arguments.snapshot).await?;
    let start = Instant::now();
    for number in 0..arguments.count {
        let layer = &layers[(number % LAYERS) as usize];
        apply_one(&client, layer, mounts.clone()).await?;
    }
    Ok(done(arguments, start.elapsed()))
}

/// Applies layers of one small file, each onto a snapshot that stands on the one before, as an unpack does.
pub(crate) async fn unpack(arguments: &Arguments) -> Result<Done, Error> {
    /// Snapshots on top of each other; more than an image has would only make the mount options longer.
    const DEPTH: u32 = 20;
    let (client, layers) = small_layers(arguments).await?;
    let mut parent = String::new();
    let start = Instant::now();
    for number in 0..arguments.count {
        if number % DEPTH == 0 {
            parent.clear();
        }
        let key = format!("unpack-{}-{number}", arguments.salt);
        let name = format!("{key}-committed");
        let mounts = prepare(&client, &key, &parent).await?;
        apply_one(&client, &layers[(number % LAYERS) as usize], mounts).await?;
        let request = CommitSnapshotRequest {
            snapshotter: SNAPSHOTTER.to_owned(),
            name: name.clone(),
            key,
            ..CommitSnapshotRequest::default()
        };
        client.snapshots().commit(leased(request)).await?;
        parent = name;
    }
    Ok(done(arguments, start.elapsed()))
}

/// Compares an active snapshot with what it stands on; only the comparison is timed.
pub(crate) async fn compare(arguments: &Arguments) -> Result<Done, Error> {
    make_lease(arguments).await?;
    let client = Client::connect(&arguments.socket).await?;
    let (snapshotter, key) = (SNAPSHOTTER.to_owned(), arguments.snapshot.clone());
    let request = StatSnapshotRequest {
        snapshotter: snapshotter.clone(),
        key: key.clone(),
    };
    let stat = client.snapshots().stat(leased(request)).await?.into_inner();
    let view = format!("compare-{}", arguments.salt);
    let request = ViewSnapshotRequest {
        snapshotter: snapshotter.clone(),
        key: view.clone(),
        parent: stat.info.unwrap_or_default().parent,
        ..ViewSnapshotRequest::default()
    };
    let left = client
        .snapshots()
        .view(leased(request))
        .await?
        .into_inner()
        .mounts;
    let request = MountsRequest { snapshotter, key };
    let right = client
        .snapshots()
        .mounts(leased(request))
        .await?
        .into_inner()
        .mounts;
    let request = DiffRequest {
        left,
        right,
        ..DiffRequest::default()
    };
    let start = Instant::now();
    let compared = client.diff().diff(leased(request)).await?.into_inner();
    let time = start.elapsed();
    remove(&client, &view).await?;
    let size = compared.diff.unwrap_or_default().size;
    Ok(Done {
        operations: 1,
        bytes: u64::try_from(size).unwrap_or_default(),
        time,
    })
}

/// Prepares and removes snapshots until the time is over.
pub(crate) async fn prepare_remove(arguments: &Arguments) -> Result<Done, Error> {
    make_lease(arguments).await?;
    let until = Duration::from_secs_f64(arguments.seconds);
    let mut tasks = JoinSet::new();
    let start = Instant::now();
    for number in 0..arguments.clients {
        let arguments = arguments.clone();
        let client = Client::connect(&arguments.socket).await?;
        tasks.spawn(async move {
            let mut made = 0;
            while start.elapsed() < until {
                let key = format!("prepare-{}-{number}-{made}", arguments.salt);
                prepare(&client, &key, &arguments.snapshot).await?;
                remove(&client, &key).await?;
                made += 1;
            }
            Ok::<_, Error>(made)
        });
    }
    let operations = sum(tasks).await?;
    Ok(Done {
        operations,
        bytes: 0,
        time: start.elapsed(),
    })
}

fn done(arguments: &Arguments, time: Duration) -> Done {
    Done {
        operations: u64::from(arguments.count),
        bytes: 0,
        time,
    }
}

async fn prepare(client: &Client, key: &str, parent: &str) -> Result<Vec<Mount>, Error> {
    let request = PrepareSnapshotRequest {
        snapshotter: SNAPSHOTTER.to_owned(),
        key: key.to_owned(),
        parent: parent.to_owned(),
        ..PrepareSnapshotRequest::default()
    };
    let prepared = client.snapshots().prepare(leased(request)).await?;
    Ok(prepared.into_inner().mounts)
}

async fn remove(client: &Client, key: &str) -> Result<(), Error> {
    let request = RemoveSnapshotRequest {
        snapshotter: SNAPSHOTTER.to_owned(),
        key: key.to_owned(),
    };
    client.snapshots().remove(leased(request)).await?;
    Ok(())
}

async fn apply_one(client: &Client, layer: &Descriptor, mounts: Vec<Mount>) -> Result<(), Error> {
    let request = ApplyRequest {
        diff: Some(layer.clone()),
        mounts,
        ..ApplyRequest::default()
    };
    client.diff().apply(leased(request)).await?;
    Ok(())
}

/// Layers of one small file, in the content store.
async fn small_layers(arguments: &Arguments) -> Result<(Client, Vec<Descriptor>), Error> {
    make_lease(arguments).await?;
    let client = Client::connect(&arguments.socket).await?;
    let mut layers = Vec::new();
    for number in 0..LAYERS {
        let content = small_layer(number)?;
        layers.push(Descriptor {
            media_type: arguments.media_type.clone(),
            digest: digest(&content),
            size: i64::try_from(content.len()).unwrap_or(i64::MAX),
            ..Descriptor::default()
        });
        put(&client, &format!("layer-{number}"), content).await?;
    }
    Ok((client, layers))
}

/// A gzip-compressed tar of one file of one kibibyte.
fn small_layer(number: u32) -> Result<Bytes, Error> {
    let mut builder = tar::Builder::new(Vec::new());
    let content = format!("content of {number}\n").repeat(64);
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(1_700_000_000);
    builder.append_data(&mut header, format!("file-{number}"), content.as_bytes())?;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&builder.into_inner()?)?;
    Ok(encoder.finish()?.into())
}
