//! Unpacking while blobs still arrive: as soon as an image's manifest and configuration are there.

use std::collections::{HashMap, HashSet};

use transom_image::limits::{DESCRIPTORS_MAX, INDEX_DEPTH_MAX};
use transom_meta::{Caller, Metadata};
use transom_oci::{Descriptor, Digest, media_type};

use crate::children::{children, listed};
use crate::error::TransferError;
use crate::image_store::ImageStore;
use crate::unpack::{Unpackable, Unpacking};

/// Follows an index through what has arrived. Does nothing where nothing is unpacked. It is only a head start: what it does
/// not find the walk over the whole archive does.
pub(super) struct Early<'a> {
    metadata: &'a Metadata,
    store: &'a ImageStore,
    unpacking: Option<Unpacking>,
    arrived: HashSet<Digest>,
    /// What waits for a blob: it is looked at when that has come.
    waiting: HashMap<Digest, Vec<Wait>>,
    descriptors: usize,
}

enum Wait {
    /// A manifest or index, so deep in others.
    Descriptor(Box<Descriptor>, usize),
    /// An image whose configuration it is.
    Image(Box<Unpackable>),
}

impl<'a> Early<'a> {
    pub(super) fn new(
        metadata: &'a Metadata,
        store: &'a ImageStore,
        unpacking: Option<Unpacking>,
    ) -> Early<'a> {
        Early {
            metadata,
            store,
            unpacking,
            arrived: HashSet::new(),
            waiting: HashMap::new(),
            descriptors: 0,
        }
    }

    /// The archive's index has come.
    pub(super) async fn index(&mut self, bytes: &[u8]) -> Result<(), TransferError> {
        let Some(unpacking) = &self.unpacking else {
            return Ok(());
        };
        let caller = unpacking.caller().clone();
        let root = Descriptor::new(
            media_type::INDEX,
            Digest::of(transom_oci::Algorithm::Sha256, bytes),
            bytes.len() as u64,
        );
        // What is wrong with it is told when all of the archive is there.
        let Ok(children) = listed(bytes, &root) else {
            return Ok(());
        };
        let wanted = self.wanted(children);
        let waits = wanted
            .into_iter()
            .map(|child| Wait::Descriptor(Box::new(child), 1));
        self.follow(&caller, waits.collect()).await
    }

    /// A blob has come.
    pub(super) async fn arrived(&mut self, caller: &Caller, digest: &Digest) -> Result<(), TransferError> {
        let Some(unpacking) = &self.unpacking else {
            return Ok(());
        };
        unpacking.arrived(digest);
        self.arrived.insert(digest.clone());
        let waits = self.waiting.remove(digest).unwrap_or_default();
        self.follow(caller, waits).await
    }

    /// All blobs have come.
    pub(super) fn end(self) -> Option<Unpacking> {
        if let Some(unpacking) = &self.unpacking {
            unpacking.all_arrived();
        }
        self.unpacking
    }

    async fn follow(&mut self, caller: &Caller, mut waits: Vec<Wait>) -> Result<(), TransferError> {
        while let Some(wait) = waits.pop() {
            self.descriptors += 1;
            if self.descriptors > DESCRIPTORS_MAX {
                return Ok(());
            }
            let digest = match &wait {
                Wait::Descriptor(descriptor, _) => &descriptor.digest,
                Wait::Image(image) => &image.config.digest,
            };
            if !self.arrived.contains(digest) {
                self.waiting.entry(digest.clone()).or_default().push(wait);
                continue;
            }
            match wait {
                Wait::Image(image) => {
                    if let Some(unpacking) = &mut self.unpacking {
                        unpacking.image(&image);
                    }
                }
                Wait::Descriptor(of, depth) if depth <= INDEX_DEPTH_MAX => {
                    waits.extend(self.look(caller, &of, depth).await);
                }
                Wait::Descriptor(..) => {}
            }
        }
        Ok(())
    }

    async fn look(&self, caller: &Caller, of: &Descriptor, depth: usize) -> Vec<Wait> {
        // As above: errors are the walk's.
        let Ok(children) = children(self.metadata, caller, of).await else {
            return Vec::new();
        };
        if media_type::is_manifest(&of.media_type) {
            let image = Unpackable::of(of, &children).filter(|_| self.store.platforms.take(of));
            return image
                .map(|image| Wait::Image(Box::new(image)))
                .into_iter()
                .collect();
        }
        let wanted = self.wanted(children).into_iter();
        wanted
            .map(|child| Wait::Descriptor(Box::new(child), depth + 1))
            .collect()
    }

    /// With a limit on manifests the choice is the walk's.
    fn wanted(&self, mut children: Vec<Descriptor>) -> Vec<Descriptor> {
        children.retain(|child| self.store.manifest_limit == 0 && self.store.platforms.take(child));
        children
    }
}
