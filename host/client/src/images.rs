//! Whole images: from a registry into a content store, and back.
//!
//! An image is a tree: an index, maybe with indexes in it, then manifests, then configurations and layers. Manifests come first
//! on the way in, and last, from the leaves up, on the way out, so that nobody sees one whose parts are missing.

use std::collections::{HashSet, VecDeque};
use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;
use transom_content::Store;
use transom_oci::limits::{LAYERS_MAX, MANIFEST_BYTES_MAX};
use transom_oci::{Descriptor, Digest, Index, Manifest, Platform, media_type};

use crate::registry::push::Pushed;
use crate::registry::{Remote, Upwards};
use crate::{Error, Got, Repository, limits};

/// Is told how a blob goes.
pub trait Observer: Send + Sync {
    /// So many bytes of it are there. What is told first was there before.
    fn moved(&self, blob: &Descriptor, bytes: u64);

    /// It is done; `moved` is whether anything had to be done.
    fn done(&self, blob: &Descriptor, moved: bool);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn moved(&self, _: &Descriptor, _: u64) {}

    fn done(&self, _: &Descriptor, _: bool) {}
}

/// The way through an image, level by level: who has the documents hands them in one by one.
struct Walk {
    root: Descriptor,
    /// Documents to look into, each with its depth.
    open: VecDeque<(usize, Descriptor)>,
    depth: usize,
    seen: HashSet<Digest>,
    /// Documents that were looked into, from the root down.
    documents: Vec<Descriptor>,
    /// Configurations and layers, each once.
    blobs: Vec<Descriptor>,
}

impl Walk {
    fn from(root: &Descriptor) -> Walk {
        let mut walk = Walk {
            root: root.clone(),
            open: VecDeque::new(),
            depth: 0,
            seen: HashSet::new(),
            documents: Vec::new(),
            blobs: Vec::new(),
        };
        walk.add(0, root.clone());
        walk
    }

    /// The next document to look into.
    fn next(&mut self) -> Result<Option<Descriptor>, Error> {
        let Some((depth, descriptor)) = self.open.pop_front() else {
            return Ok(None);
        };
        if depth >= limits::TREE_DEPTH {
            return Err(too_deep(&self.root));
        }
        self.depth = depth;
        Ok(Some(descriptor))
    }

    /// Takes up what a document lists. Layers that registries do not carry are left out.
    fn found(&mut self, descriptor: &Descriptor, bytes: &[u8]) -> Result<(), Error> {
        let wrong = |reason: String| Error::Protocol {
            host: "the image".to_owned(),
            reason: format!("{} is not what it says: {reason}", descriptor.digest),
        };
        let mut below = if media_type::is_index(&descriptor.media_type) {
            let index: Index = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
            index.manifests
        } else {
            let manifest: Manifest =
                serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
            if manifest.layers.len() > LAYERS_MAX {
                return Err(wrong(format!("it has more than {LAYERS_MAX} layers")));
            }
            let mut blobs = vec![manifest.config];
            blobs.extend(manifest.layers);
            blobs
        };
        below.retain(|blob| !media_type::is_nondistributable(&blob.media_type));
        self.documents.push(descriptor.clone());
        for descriptor in below {
            self.add(self.depth + 1, descriptor);
        }
        if self.seen.len() > limits::TREE_NODES {
            return Err(too_large(&self.root));
        }
        Ok(())
    }

    fn add(&mut self, depth: usize, descriptor: Descriptor) {
        if !self.seen.insert(descriptor.digest.clone()) {
            return;
        }
        if is_document(&descriptor) {
            self.open.push_back((depth, descriptor));
        } else {
            self.blobs.push(descriptor);
        }
    }
}

fn is_document(descriptor: &Descriptor) -> bool {
    media_type::is_index(&descriptor.media_type) || media_type::is_manifest(&descriptor.media_type)
}

/// The entry of an index that serves a platform best.
#[must_use]
pub fn choose<'a>(index: &'a Index, platform: &Platform) -> Option<&'a Descriptor> {
    let ranked = index.manifests.iter().filter_map(|entry| {
        let rank = platform.rank(entry.platform.as_ref()?)?;
        Some((rank, entry))
    });
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, entry)| entry)
}

impl Remote {
    /// The manifest for a platform, through as many indexes as there are; the image itself if it is no index.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none for this platform, and those of the registry.
    pub async fn for_platform(&self, image: Descriptor, platform: &Platform) -> Result<Descriptor, Error> {
        let mut image = image;
        for _ in 0..limits::TREE_DEPTH {
            if !media_type::is_index(&image.media_type) {
                return Ok(image);
            }
            let fetched = self.manifest(image.digest.as_str()).await?;
            let index: Index = serde_json::from_slice(&fetched.bytes).map_err(|error| Error::Protocol {
                host: self.repository().registry().to_owned(),
                reason: format!("{} is no index: {error}", image.digest),
            })?;
            let Some(entry) = choose(&index, platform) else {
                return Err(Error::NotFound {
                    host: self.repository().registry().to_owned(),
                    what: format!("an image for {platform} in {}", self.named(image.digest.as_str())),
                    reason: String::new(),
                });
            };
            image = entry.clone();
        }
        Err(too_deep(&image))
    }

    /// Brings an image with all that it lists into a store; in the store, a manifest comes after what it lists. Returns all
    /// blobs, each once.
    ///
    /// # Errors
    /// Those of [`fetch_into`](Remote::fetch_into) and of the registry.
    pub async fn fetch_image(
        &self,
        image: &Descriptor,
        store: &Store,
        observer: &Arc<dyn Observer>,
    ) -> Result<Vec<Descriptor>, Error> {
        let (mut blobs, mut documents) = self.look_through(image).await?;
        self.fetch_all(&blobs, store, observer).await?;
        documents.reverse();
        self.fetch_all(&documents, store, observer).await?;
        blobs.extend(documents);
        Ok(blobs)
    }

    /// What an image consists of: configurations and layers, then documents from the root down.
    async fn look_through(&self, image: &Descriptor) -> Result<(Vec<Descriptor>, Vec<Descriptor>), Error> {
        let mut walk = Walk::from(image);
        while let Some(descriptor) = walk.next()? {
            let fetched = self.manifest(descriptor.digest.as_str()).await?;
            walk.found(&descriptor, &fetched.bytes)?;
        }
        Ok((walk.blobs, walk.documents))
    }

    /// Fetches blobs, as many at once as the client may.
    async fn fetch_all(
        &self,
        blobs: &[Descriptor],
        store: &Store,
        observer: &Arc<dyn Observer>,
    ) -> Result<(), Error> {
        let mut fetches = JoinSet::new();
        for blob in blobs {
            let (remote, store, blob) = (self.clone(), store.clone(), blob.clone());
            let observer = Arc::clone(observer);
            fetches.spawn(async move {
                let watch = |bytes| observer.moved(&blob, bytes);
                let got = remote.fetch_into(&blob, &store, &watch).await?;
                observer.done(&blob, got != Got::Present);
                Ok(())
            });
        }
        all(fetches).await
    }

    /// Brings an image from a store to the registry: what it lacks of the blobs, then the manifests, then the image itself under
    /// a tag or its digest. `from` are repositories that may have some of it.
    ///
    /// # Errors
    /// [`Error::Store`] if something of the image is not there, and those of [`push_blob`](Remote::push_blob).
    pub async fn push_image(
        &self,
        image: &Descriptor,
        target: &str,
        store: &Store,
        from: &[Repository],
        observer: &Arc<dyn Observer>,
    ) -> Result<(), Error> {
        let Kept { documents, blobs } = Kept::walk(image, store)?;
        self.push_all(&blobs, store, from, observer).await?;
        // The root last: then everything below it is there.
        for (descriptor, bytes) in documents.into_iter().rev() {
            let name = if descriptor.digest == image.digest {
                target
            } else {
                descriptor.digest.as_str()
            };
            self.put_manifest(name, &descriptor.media_type, bytes).await?;
            observer.done(&descriptor, true);
        }
        Ok(())
    }

    async fn push_all(
        &self,
        blobs: &[Descriptor],
        store: &Store,
        from: &[Repository],
        observer: &Arc<dyn Observer>,
    ) -> Result<(), Error> {
        let mut pushes = JoinSet::new();
        for blob in blobs {
            let source = store.reader(&blob.digest).map_err(|error| stored(blob, error))?;
            let (remote, blob, from) = (self.clone(), blob.clone(), from.to_vec());
            let observer = Arc::clone(observer);
            pushes.spawn(async move {
                // As many up as down.
                let _permit = remote.client.inner.shared.turn(&blob).await;
                let watch = |bytes| observer.moved(&blob, bytes);
                let source = Arc::new(Arc::new(source));
                let pushed = remote
                    .push_blob(&blob, source, &from, Upwards::Auto, &watch)
                    .await?;
                observer.done(&blob, pushed == Pushed::Uploaded);
                Ok(())
            });
        }
        all(pushes).await
    }
}

/// Waits for all; the first error ends the others.
async fn all(mut tasks: JoinSet<Result<(), Error>>) -> Result<(), Error> {
    while let Some(task) = tasks.join_next().await {
        match task {
            Ok(result) => result?,
            // Nobody aborts them but our own drop: it panicked.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    Ok(())
}

/// An image in a store.
struct Kept {
    /// From the root down.
    documents: Vec<(Descriptor, Bytes)>,
    /// Configurations and layers, each once.
    blobs: Vec<Descriptor>,
}

impl Kept {
    fn walk(image: &Descriptor, store: &Store) -> Result<Kept, Error> {
        let mut walk = Walk::from(image);
        let mut documents = Vec::new();
        while let Some(descriptor) = walk.next()? {
            let bytes = document(store, &descriptor)?;
            walk.found(&descriptor, &bytes)?;
            documents.push((descriptor, bytes));
        }
        Ok(Kept {
            documents,
            blobs: walk.blobs,
        })
    }
}

/// All blobs of an image in a store, each once, what is listed before what lists it. That configurations and layers are there is
/// not looked at.
///
/// # Errors
/// [`Error::Store`] if a manifest or index is missing or damaged, [`Error::Protocol`] if it is none.
pub fn listed(image: &Descriptor, store: &Store) -> Result<Vec<Descriptor>, Error> {
    let Kept { documents, mut blobs } = Kept::walk(image, store)?;
    blobs.extend(documents.into_iter().rev().map(|(descriptor, _)| descriptor));
    Ok(blobs)
}

/// A manifest or index from a store, checked.
fn document(store: &Store, descriptor: &Descriptor) -> Result<Bytes, Error> {
    if descriptor.size > MANIFEST_BYTES_MAX {
        return Err(Error::TooLarge {
            host: "the store".to_owned(),
            what: descriptor.digest.to_string(),
            limit: MANIFEST_BYTES_MAX,
        });
    }
    let reader = store
        .reader(&descriptor.digest)
        .map_err(|error| stored(descriptor, error))?;
    let mut bytes = Vec::new();
    let read = reader
        .verifying()
        .with_size(descriptor.size)
        .read_to_end(&mut bytes);
    read.map_err(|error| stored(descriptor, error))?;
    Ok(bytes.into())
}

fn stored(descriptor: &Descriptor, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Store {
        digest: descriptor.digest.clone(),
        source: error.into(),
    }
}

fn too_deep(image: &Descriptor) -> Error {
    Error::Protocol {
        host: "the image".to_owned(),
        reason: format!(
            "{} has indexes in indexes, more than {} deep",
            image.digest,
            limits::TREE_DEPTH
        ),
    }
}

fn too_large(image: &Descriptor) -> Error {
    Error::TooLarge {
        host: "the image".to_owned(),
        what: format!("blobs of {}", image.digest),
        limit: limits::TREE_NODES as u64,
    }
}
