//! Pulls and pushes where this program speaks with the registry, as containerd's own client does: the daemon is handed blobs,
//! then labels, an image, and layers to apply one after another.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;
use tonic::Code;
use transom_api::images::{CreateImageRequest, Image as Record, UpdateImageRequest};
use transom_api::types;
use transom_client::{Got, Reference, Remote, Repository, Upwards};
use transom_oci::limits::MANIFEST_BYTES_MAX;
use transom_oci::{Descriptor, Platform, media_type};
use transom_transfer::{Platforms, children};

use super::{Shown, Wanted, key};
use crate::arguments::Fetch;
use crate::client::image::{Node, State};
use crate::client::registry::local::{Blob, Remote as Content};
use crate::client::snapshot::Snapshots;
use crate::client::stream::unique;
use crate::client::unpack::Unpack;
use crate::client::{Client, Labels};
use crate::commands::registry::settings;
use crate::failure::{Failure, Kind};
use crate::limits;

/// The label that says from where a blob is, but for the host.
const SOURCE: &str = "containerd.io/distribution.source.";

/// How far a blob is, from tasks that fetch and send.
#[derive(Debug)]
struct Step {
    name: String,
    event: &'static str,
    done: u64,
    total: u64,
}

type Steps = Arc<Mutex<Vec<Step>>>;

pub(super) async fn pull(
    client: &Client,
    wanted: &Wanted,
    how: &Fetch,
    shown: &mut Shown,
) -> Result<(), Failure> {
    let lease = unique("pull");
    client
        .create_lease(&lease, limits::UNPACK_LEASE, BTreeMap::new())
        .await?;
    let pulled = pull_leased(&client.leased(&lease)?, wanted, how, shown).await;
    let released = client.delete_lease(&lease, false).await;
    pulled?;
    released
}

async fn pull_leased(
    client: &Client,
    wanted: &Wanted,
    how: &Fetch,
    shown: &mut Shown,
) -> Result<(), Failure> {
    let repository = &wanted.name.repository;
    let remote = remote(how, repository)?;
    let root = remote.resolve(&wanted.name.target()).await?;
    let label = format!("{SOURCE}{}", repository.registry());
    let content = Content::new(client, (label, repository.path().to_owned()));
    let platforms = match wanted.all_platforms {
        true => Platforms::default(),
        false => Platforms(vec![wanted.platform.clone()]),
    };
    let mut level = vec![root.clone()];
    let mut seen: HashSet<_> = level.iter().map(|blob| blob.digest.clone()).collect();
    while !level.is_empty() {
        fetch(&remote, &content, &level, shown).await?;
        let mut below = Vec::new();
        for of in &level {
            let listed = look(client, of).await?;
            below.extend(listed.into_iter().filter(|child| platforms.take(child)));
        }
        below.retain(|blob| seen.insert(blob.digest.clone()));
        if seen.len() > limits::TREE_NODES {
            let text = format!("the image has more than {} blobs", limits::TREE_NODES);
            return Err(Failure::new(Kind::Limit, text));
        }
        level = below;
    }
    let name = wanted.name.to_string();
    let image = save(client, &name, &root, wanted.labels.clone()).await?;
    shown.moved.digest = root.digest.to_string();
    let Some(snapshots) = &wanted.snapshots else {
        return Ok(());
    };
    let snapshots = Snapshots {
        client: client.clone(),
        snapshotter: snapshots.snapshotter.clone(),
    };
    let tree = client.tree(&image).await?;
    let unpack = Unpack::new(&name, &tree, &wanted.platform)?;
    unpack.run(&snapshots, &Arc::default()).await
}

fn remote(how: &Fetch, repository: &Repository) -> Result<Remote, Failure> {
    Ok(settings::client(&how.registries, repository.registry())?.remote(repository)?)
}

/// Fetches blobs at the same time.
async fn fetch(
    remote: &Remote,
    content: &Content,
    blobs: &[Descriptor],
    shown: &mut Shown,
) -> Result<(), Failure> {
    let steps = Steps::default();
    let mut fetches = JoinSet::new();
    for blob in blobs {
        let (remote, content, blob) = (remote.clone(), content.clone(), blob.clone());
        let steps = Arc::clone(&steps);
        fetches.spawn(async move {
            let watch = |done| step(&steps, &blob, "downloading", done);
            let got = remote.fetch_into(&blob, &content, &watch).await?;
            let event = match got {
                Got::Present => "already exists",
                Got::Fetched { .. } => "complete",
            };
            step(&steps, &blob, event, blob.size);
            Ok(())
        });
    }
    watched(fetches, &steps, shown).await
}

/// Waits for all, and shows how far they are. The first failure ends the others.
async fn watched(
    mut tasks: JoinSet<Result<(), transom_client::Error>>,
    steps: &Steps,
    shown: &mut Shown,
) -> Result<(), Failure> {
    let mut ticks = tokio::time::interval(limits::SHOWN_EVERY);
    loop {
        let done = tokio::select! {
            done = tasks.join_next() => done,
            _ = ticks.tick() => {
                show(steps, shown);
                continue;
            }
        };
        match done {
            Some(Ok(done)) => done?,
            // Nobody aborts them but our own drop: it panicked.
            Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            None => {
                show(steps, shown);
                return Ok(());
            }
        }
    }
}

fn step(steps: &Steps, blob: &Descriptor, event: &'static str, done: u64) {
    let step = Step {
        name: key(blob),
        event,
        done,
        total: blob.size,
    };
    let mut steps = steps.lock().unwrap_or_else(PoisonError::into_inner);
    // Only the newest of a blob is of interest.
    steps.retain(|earlier| earlier.name != step.name);
    steps.push(step);
}

fn show(steps: &Steps, shown: &mut Shown) {
    let news = std::mem::take(&mut *steps.lock().unwrap_or_else(PoisonError::into_inner));
    for step in news {
        shown.blob(&step.name, step.event, step.done, step.total);
    }
}

/// What a document lists, which it keeps from now on.
async fn look(client: &Client, of: &Descriptor) -> Result<Vec<Descriptor>, Failure> {
    if !media_type::is_manifest(&of.media_type) && !media_type::is_index(&of.media_type) {
        return Ok(Vec::new());
    }
    let bytes = client.document(&of.digest, MANIFEST_BYTES_MAX).await?;
    let listed = children::listed(&bytes, of);
    let listed = listed.map_err(|error| Failure::new(Kind::Damaged, error.to_string()))?;
    if !listed.is_empty() {
        let labels = Labels::set(children::labels(&listed));
        client.label(&of.digest, labels).await?;
    }
    Ok(listed)
}

/// Makes an image of this name, or lets it name the target from now on.
async fn save(
    client: &Client,
    name: &str,
    root: &Descriptor,
    labels: BTreeMap<String, String>,
) -> Result<Record, Failure> {
    let image = Record {
        name: name.to_owned(),
        labels,
        target: Some(types::Descriptor {
            media_type: root.media_type.clone(),
            digest: root.digest.to_string(),
            size: i64::try_from(root.size).unwrap_or(i64::MAX),
            annotations: root.annotations.clone(),
        }),
        ..Record::default()
    };
    let create = CreateImageRequest {
        image: Some(image.clone()),
        ..CreateImageRequest::default()
    };
    let saved = match client.images().create(create).await {
        Ok(response) => response.into_inner().image,
        Err(status) if status.code() == Code::AlreadyExists => {
            let update = UpdateImageRequest {
                image: Some(image),
                ..UpdateImageRequest::default()
            };
            client.images().update(update).await?.into_inner().image
        }
        Err(status) => return Err(status.into()),
    };
    saved.ok_or_else(|| Failure::silent("the image"))
}

pub(super) async fn push(
    client: &Client,
    (image, platform): (&str, Option<&Platform>),
    to: &Reference,
    how: &Fetch,
    shown: &mut Shown,
) -> Result<(), Failure> {
    let tree = client.tree(&client.image(image).await?).await?;
    let tree = match platform {
        None => &tree,
        Some(platform) => tree.best(platform).ok_or_else(|| {
            let text = format!("the image has nothing for the platform {platform}");
            Failure::new(Kind::NotFound, text)
        })?,
    };
    let remote = remote(how, &to.repository)?;
    let (documents, blobs) = sorted(tree)?;
    let steps = Steps::default();
    let mut uploads = JoinSet::new();
    for blob in blobs {
        let (remote, source, blob) = (remote.clone(), Blob::new(client, &blob.digest), blob.clone());
        let steps = Arc::clone(&steps);
        uploads.spawn(async move {
            let watch = |done| step(&steps, &blob, "uploading", done);
            let pushed = remote
                .push_blob(&blob, source, &[], Upwards::Auto, &watch)
                .await?;
            let event = match pushed {
                transom_client::Pushed::Present => "already exists",
                _ => "complete",
            };
            step(&steps, &blob, event, blob.size);
            Ok(())
        });
    }
    watched(uploads, &steps, shown).await?;
    for document in documents.iter().rev() {
        let bytes = client.document(&document.digest, MANIFEST_BYTES_MAX).await?;
        let name = match document.digest == tree.descriptor.digest {
            true => to.target(),
            false => document.digest.to_string(),
        };
        remote.put_manifest(&name, &document.media_type, bytes).await?;
        shown.blob(&key(document), "complete", document.size, document.size);
    }
    shown.moved.digest = tree.descriptor.digest.to_string();
    Ok(())
}

/// Documents, what lists others before those, and all other blobs, each once. Layers that registries do not carry are left out.
/// Something that is missing is found out before anything is sent.
fn sorted(tree: &Node) -> Result<(Vec<Descriptor>, Vec<Descriptor>), Failure> {
    let (mut documents, mut blobs, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    let mut level = vec![tree];
    while !level.is_empty() {
        let mut below = Vec::new();
        for node in level {
            let of = &node.descriptor;
            if !seen.insert(of.digest.clone()) || media_type::is_nondistributable(&of.media_type) {
                continue;
            }
            if node.state == State::Missing {
                let text = format!("the blob {} is not there", of.digest);
                return Err(Failure::new(Kind::NotFound, text));
            }
            match media_type::is_manifest(&of.media_type) || media_type::is_index(&of.media_type) {
                true => documents.push(of.clone()),
                false => blobs.push(of.clone()),
            }
            below.extend(&node.children);
        }
        level = below;
    }
    Ok((documents, blobs))
}
