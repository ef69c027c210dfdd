//! What an image leads to: its manifests, configurations and layers, artifacts that refer to the manifests, and nothing else.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use transom_content::Blob;
use transom_meta::{Caller, Metadata};
use transom_oci::limits::MANIFEST_BYTES_MAX;
use transom_oci::media_type::{MANIFEST, is_index, is_manifest};
use transom_oci::{Descriptor, Digest};
use transom_registry::manifest::Manifest;
use transom_transfer::artifacts;

use super::images::Trouble;
use crate::limits::{IMAGE_NODES, KNOWN_MANIFESTS};

/// What manifests refer to, of those that were read lately. It never changes under a digest.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<Digest, Arc<Vec<Descriptor>>>>);

impl Known {
    fn get(&self, digest: &Digest) -> Option<Arc<Vec<Descriptor>>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(digest)
            .cloned()
    }

    fn insert(&self, digest: &Digest, children: &Arc<Vec<Descriptor>>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MANIFESTS {
            known.clear();
        }
        known.insert(digest.clone(), Arc::clone(children));
    }
}

/// Finds a digest in what a target leads to; gives its descriptor. What refers to its manifests is looked at last: few ask for it.
pub(super) async fn find(
    metadata: &Metadata,
    known: &Known,
    caller: &Caller,
    target: Descriptor,
    wanted: &Digest,
) -> Result<Option<Descriptor>, Trouble> {
    let mut seen = HashSet::new();
    let found = follow(metadata, known, caller, vec![target], &mut seen, wanted).await?;
    if found.is_some() {
        return Ok(found);
    }
    let mut way = Vec::new();
    for subject in seen.clone() {
        way.extend(referrers(metadata, caller, &subject).await?);
    }
    follow(metadata, known, caller, way, &mut seen, wanted).await
}

/// What refers to a manifest, described as it is listed, in the order of digests.
pub(super) async fn referrers(
    metadata: &Metadata,
    caller: &Caller,
    subject: &Digest,
) -> Result<Vec<Descriptor>, Trouble> {
    let mut listed = Vec::new();
    for digest in artifacts::referrers(metadata, caller, subject)
        .await
        .map_err(Trouble::of)?
    {
        let bytes = match read(metadata, caller, &digest).await {
            Ok(bytes) => bytes,
            Err(Trouble::Absent) => continue,
            Err(trouble) => return Err(trouble),
        };
        let Ok(manifest) = Manifest::read(&bytes) else {
            continue;
        };
        // A client may have written the label onto anything.
        if manifest.subject.as_ref().is_none_or(|of| of.digest != *subject) {
            continue;
        }
        let kind = manifest.shown_type().unwrap_or(MANIFEST).to_owned();
        let mut descriptor = Descriptor::new(kind, digest, bytes.len() as u64);
        descriptor.artifact_type = manifest.artifact().map(str::to_owned);
        descriptor.annotations = manifest.annotations;
        listed.push(descriptor);
    }
    Ok(listed)
}

async fn follow(
    metadata: &Metadata,
    known: &Known,
    caller: &Caller,
    mut way: Vec<Descriptor>,
    seen: &mut HashSet<Digest>,
    wanted: &Digest,
) -> Result<Option<Descriptor>, Trouble> {
    while let Some(node) = way.pop() {
        if node.digest == *wanted {
            return Ok(Some(node));
        }
        let leads = is_index(&node.media_type) || is_manifest(&node.media_type);
        // What refers to itself must end, and what is too large is no image.
        if !leads || !seen.insert(node.digest.clone()) || seen.len() > IMAGE_NODES {
            continue;
        }
        let children = children(metadata, known, caller, &node.digest).await?;
        way.extend(children.iter().cloned());
    }
    Ok(None)
}

/// What a manifest refers to; nothing if it is not here.
async fn children(
    metadata: &Metadata,
    known: &Known,
    caller: &Caller,
    digest: &Digest,
) -> Result<Arc<Vec<Descriptor>>, Trouble> {
    if let Some(children) = known.get(digest) {
        return Ok(children);
    }
    let bytes = match read(metadata, caller, digest).await {
        Ok(bytes) => bytes,
        Err(Trouble::Absent) => return Ok(Arc::default()),
        Err(trouble) => return Err(trouble),
    };
    let manifest = Manifest::read(&bytes).ok();
    let children = Arc::new(manifest.map(|manifest| manifest.references()).unwrap_or_default());
    known.insert(digest, &children);
    Ok(children)
}

/// Reads a manifest whole, and compares its digest.
pub(super) async fn read(metadata: &Metadata, caller: &Caller, digest: &Digest) -> Result<Bytes, Trouble> {
    let blob = open(metadata, caller, digest).await?;
    let size = blob.size();
    if size > MANIFEST_BYTES_MAX {
        let reason = format!("{digest} has {size} bytes, too many for a manifest");
        return Err(Trouble::Broken(reason));
    }
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
        blob.into_file().read_exact_at(&mut bytes, 0).map(|()| bytes)
    });
    let read = read
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    let bytes = read.map_err(|error| Trouble::Broken(error.to_string()))?;
    match Digest::of(digest.algorithm(), &bytes) == *digest {
        true => Ok(bytes.into()),
        false => Err(Trouble::Broken(format!("{digest} is damaged"))),
    }
}

/// Opens a blob that the namespace has.
pub(super) async fn open(metadata: &Metadata, caller: &Caller, digest: &Digest) -> Result<Blob, Trouble> {
    metadata.content_reader(caller, digest).await.map_err(Trouble::of)
}
