//! From an archive, as it arrives, to content and images.
//!
//! ```text
//! client ─▶ [thread: decompress, take apart] ─▶ receive (hash, write, commit) ─▶ walk (labels, platforms) ─▶ images
//!                                                    └▶ unpack, as layers are there
//! ```
//!
//! Read in this order: `archive` (the thread), `receive` (files become content), `docker` (archives without manifests),
//! `early` (unpacking while blobs still arrive), `walk` (everything that the index lists). Nothing is ever written under a
//! name that an archive gives: names are keys of a map.

mod archive;
mod docker;
mod early;
mod layers;
mod receive;
mod walk;

use std::sync::Arc;

use transom_diff::Ahead;
use transom_meta::images::Image;
use transom_meta::{Caller, Metadata};
use transom_oci::{Descriptor, media_type};

use crate::bytes::ByteSource;
use crate::error::TransferError;
use crate::image_store::{self, ImageStore};
use crate::lease::Hold;
use crate::progress::{IMPORTED, IMPORTING, Progress, ProgressSink};
use crate::unpack::{Unpacker, Unpacking};

use early::Early;
pub(crate) use receive::store;
use receive::{Received, Receiver};
use walk::{Found, Walk};

/// How an archive is imported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// Compress plain layers of archives that have no manifests.
    pub compress: bool,
    /// Take indexes whose manifests are not in the archive, as if they were of other platforms.
    pub skip_missing: bool,
}

/// One import.
pub(crate) struct Import<'a> {
    pub(crate) metadata: &'a Metadata,
    pub(crate) ahead: Option<&'a Ahead>,
    pub(crate) unpacker: Option<&'a Unpacker>,
    pub(crate) options: ImportOptions,
    pub(crate) into: &'a ImageStore,
    pub(crate) progress: Arc<dyn ProgressSink>,
}

impl Import<'_> {
    pub(crate) async fn run(
        self,
        caller: &Caller,
        source: Box<dyn ByteSource>,
    ) -> Result<Vec<Image>, TransferError> {
        let hold = Hold::begin(self.metadata, caller).await?;
        self.progress.tell(Progress::of_all(IMPORTING));
        let unpacking = match self.into.unpacks.is_empty() {
            true => None,
            false => Some(self.unpacking(&hold).await?),
        };
        let mut early = Early::new(self.metadata, self.into, unpacking);
        let receiver = Receiver::new(self.metadata, hold.caller(), &*self.progress, self.ahead());
        let received = receiver.run(source, &mut early).await?;
        let root = self.root(hold.caller(), &received).await?;
        let walk = Walk::new(self.metadata, hold.caller(), self.into, self.options.skip_missing);
        let found = walk.run(&root).await?;
        self.complain(&received, &found)?;
        self.unpack(early, &found).await?;
        let saved = self.save(hold.caller(), &root, &found).await?;
        hold.end().await?;
        self.progress.tell(Progress::of_all(IMPORTED));
        Ok(saved)
    }

    /// Who unpacks layers while they arrive, if they are to be unpacked where that is of use.
    fn ahead(&self) -> Option<Ahead> {
        let mut places = self.into.unpacks.iter().map(|to| to.snapshotter.as_str());
        let is_of_use = places.any(|snapshotter| matches!(snapshotter, "" | "overlayfs"));
        self.ahead.filter(|_| is_of_use).cloned()
    }

    async fn unpacking(&self, hold: &Hold) -> Result<Unpacking, TransferError> {
        let none = || TransferError::Invalid {
            what: "this daemon has no snapshotter: import without unpacking".to_owned(),
        };
        let unpacker = self.unpacker.ok_or_else(none)?;
        let (hold, progress) = (hold.clone(), Arc::clone(&self.progress));
        Ok(unpacker
            .begin(self.metadata, hold, &self.into.unpacks, progress)
            .await?)
    }

    /// The index of the archive, which may have to be made.
    async fn root(&self, caller: &Caller, received: &Received) -> Result<Descriptor, TransferError> {
        if let Some(root) = &received.index {
            return Ok(Descriptor::new(media_type::INDEX, root.digest.clone(), root.size));
        }
        docker::index(self.metadata, caller, received, self.options.compress).await
    }

    /// An archive without an end that lacks what it lists was cut off. With an end it may be sparse on purpose.
    fn complain(&self, received: &Received, found: &Found) -> Result<(), TransferError> {
        match found.missing.first() {
            Some(missing) if !received.complete => Err(TransferError::Truncated {
                missing: missing.digest.to_string(),
            }),
            _ => Ok(()),
        }
    }

    async fn unpack(&self, early: Early<'_>, found: &Found) -> Result<(), TransferError> {
        let unpacking = early.end();
        for (blob, parents) in &found.blobs {
            let layer = media_type::is_layer(&blob.media_type) && unpacking.is_some();
            let missing = found.missing.iter().any(|missing| missing.digest == blob.digest);
            if !layer && !missing {
                let event = Progress::of_blob(crate::progress::COMPLETE, blob, parents, blob.size);
                self.progress.tell(event);
            }
        }
        let Some(mut unpacking) = unpacking else {
            return Ok(());
        };
        for image in &found.images {
            unpacking.image(image);
        }
        Ok(unpacking.finish().await?)
    }

    async fn save(
        &self,
        caller: &Caller,
        root: &Descriptor,
        found: &Found,
    ) -> Result<Vec<Image>, TransferError> {
        let whole = self.into.names_of_whole(root).into_iter();
        let mut all: Vec<_> = whole.map(|name| (name, root)).collect();
        for listed in &found.listed {
            let names = self.into.names_of_listed(listed).into_iter();
            all.extend(names.map(|name| (name, listed)));
        }
        let mut saved = Vec::new();
        for (name, descriptor) in all {
            let target = image_store::target(descriptor);
            let image = image_store::save(self.metadata, caller, name, target).await?;
            self.progress.tell(Progress::of_image(&image.name, descriptor));
            saved.push(image);
        }
        Ok(saved)
    }
}
