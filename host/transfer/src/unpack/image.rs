//! The layers of one image: one after the other, or at the same time where a snapshot gets its parent at its commit.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::task::JoinHandle;
use transom_meta::Labels;
use transom_oci::limits::LAYERS_MAX;
use transom_oci::manifest::chain_ids;
use transom_oci::{Descriptor, Digest, Platform};

use super::job::{Shared, Target};
use super::layer::{Extracted, Work, extract};
use super::{UnpackError, Unpackable};
use crate::document::{self, Config};
use crate::image_store::Platforms;
use crate::progress::key;

/// Unpacks an image for every target whose platform it is for.
pub(super) async fn unpack(shared: &Arc<Shared>, image: &Unpackable) -> Result<(), UnpackError> {
    let (metadata, caller) = (&shared.metadata, shared.hold.caller());
    let arrived = shared.arrivals.wait(&image.config.digest);
    shared.unless_stopped(arrived).await?;
    let config = document::load(metadata, caller, &image.config).await;
    let config = config.map_err(Box::new)?;
    let config: Config = document::json(&config, image.config.digest.as_str()).map_err(Box::new)?;
    let Some(platform) = config.platform() else {
        return Ok(());
    };
    let suits = |target: &&Target| Platforms(vec![target.platform.clone()]).rank(&platform).is_some();
    let targets: Vec<Target> = shared.targets.iter().filter(suits).cloned().collect();
    for target in targets {
        unpack_to(shared, image, &config, &platform, &target).await?;
    }
    Ok(())
}

async fn unpack_to(
    shared: &Arc<Shared>,
    image: &Unpackable,
    config: &Config,
    platform: &Platform,
    target: &Target,
) -> Result<(), UnpackError> {
    let Some(diff_ids) = config.diff_ids() else {
        return Ok(());
    };
    check(image, diff_ids)?;
    tracing::debug!(config = %image.config.digest, %platform, snapshotter = target.snapshotter, "unpacking");
    let works = works(image, diff_ids, target);
    let top = works.last().map(|work| work.chain_id.clone());
    if target.rebase {
        at_once(shared, works).await?;
    } else {
        one_by_one(shared, works).await?;
    }
    let key = format!("containerd.io/gc.ref.snapshot.{}", target.snapshotter);
    let labels = Labels::from([(key.clone(), top.map(|top| top.to_string()).unwrap_or_default())]);
    label(shared, &image.config, labels, &key).await
}

fn check(image: &Unpackable, diff_ids: &[Digest]) -> Result<(), UnpackError> {
    let problem = if image.layers.len() != diff_ids.len() {
        format!(
            "number of layers and diffIDs don't match: {} != {}",
            image.layers.len(),
            diff_ids.len()
        )
    } else if diff_ids.len() > LAYERS_MAX {
        format!("{} layers are more than {LAYERS_MAX}", diff_ids.len())
    } else {
        return Ok(());
    };
    Err(UnpackError::Config {
        config: image.config.digest.clone(),
        problem,
    })
}

fn works(image: &Unpackable, diff_ids: &[Digest], target: &Target) -> Vec<Work> {
    let chain = chain_ids(diff_ids);
    let below = std::iter::once(None).chain(chain.iter().cloned().map(Some));
    let layers = image.layers.iter().zip(diff_ids).zip(chain.iter().zip(below));
    let work = |((descriptor, diff_id), (chain_id, below)): ((&Descriptor, &Digest), (&Digest, _))| Work {
        descriptor: descriptor.clone(),
        diff_id: diff_id.clone(),
        chain_id: chain_id.clone(),
        below,
        snapshotter: target.snapshotter.clone(),
        rebase: target.rebase,
        parents: vec![key(&image.manifest)],
    };
    layers.map(work).collect()
}

async fn one_by_one(shared: &Arc<Shared>, works: Vec<Work>) -> Result<(), UnpackError> {
    for work in works {
        if let Some(extracted) = extract(shared, work).await? {
            extracted.commit(shared).await?;
        }
    }
    Ok(())
}

type Running = JoinHandle<Result<Option<Extracted>, UnpackError>>;

/// Everything at the same time but the commits: each makes the parent of the next one.
async fn at_once(shared: &Arc<Shared>, works: Vec<Work>) -> Result<(), UnpackError> {
    let mut running: VecDeque<Running> = works
        .into_iter()
        .map(|work| {
            let shared = Arc::clone(shared);
            tokio::spawn(async move { extract(&shared, work).await })
        })
        .collect();
    while let Some(task) = running.pop_front() {
        let done = match task.await.unwrap_or(Err(UnpackError::Panicked)) {
            Ok(Some(extracted)) => extracted.commit(shared).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            shared.stop();
            return Err(undo(shared, running, error).await);
        }
    }
    Ok(())
}

/// Removes what the layers above a failed one have prepared. Gives the error that is the cause.
async fn undo(shared: &Arc<Shared>, running: VecDeque<Running>, mut error: UnpackError) -> UnpackError {
    for task in running {
        match task.await.unwrap_or(Err(UnpackError::Panicked)) {
            Ok(Some(extracted)) => extracted.remove(shared).await,
            Ok(None) => {}
            Err(other) if matches!(error, UnpackError::Stopped) => error = other,
            Err(_) => {}
        }
    }
    error
}

/// Sets one label of a blob.
pub(super) async fn label(
    shared: &Shared,
    blob: &Descriptor,
    labels: Labels,
    key: &str,
) -> Result<(), UnpackError> {
    let paths = [format!("labels.{key}")];
    let updated = shared
        .metadata
        .content_update(shared.hold.caller(), &blob.digest, labels, &paths)
        .await;
    updated.map(|_| ()).map_err(|error| Box::new(error).into())
}
