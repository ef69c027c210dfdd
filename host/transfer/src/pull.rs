//! From a registry to content, images and snapshots, all at the same time.
//!
//! ```text
//! registry ─▶ resolve ─▶ verifiers ─▶ manifests ─▶ labels, platforms ─▶ images
//!                                        ├▶ configurations
//!                                        └▶ layers ─▶ content::ingest ┬▶ commit ─▶ content
//!                                                                     └▶ decompress ─▶ apply ─▶ snapshots
//! ```
//!
//! A layer is applied beside its download: whoever applies it reads the ingest along, see [`arriving`](crate::arriving).
//! Read in this order: `content` (the content of a namespace, as what a client fetches into), `fetch` (one blob, and what is
//! told of it), this file (a whole image).

mod content;
mod fetch;

use std::collections::HashSet;
use std::sync::Arc;

use tokio::task::{JoinError, JoinSet};
use transom_client::Remote;
use transom_image::limits::{DESCRIPTORS_MAX, INDEX_DEPTH_MAX};
use transom_meta::images::Image;
use transom_meta::{Caller, Metadata};
use transom_oci::{Descriptor, media_type};

use crate::children::{self, children};
use crate::error::TransferError;
use crate::image_store::{self, ImageStore};
use crate::lease::Hold;
use crate::limits;
use crate::progress::{FETCHING, Progress, ProgressSink, key};
use crate::registry::Registry;
use crate::unpack::{Unpackable, Unpacker, Unpacking};
use crate::verify::{Subject, Verifiers};

use content::Content;
use fetch::{Blob, Fetcher};

/// One pull.
pub(crate) struct Pull<'a> {
    pub(crate) metadata: &'a Metadata,
    pub(crate) unpacker: Option<&'a Unpacker>,
    pub(crate) verifiers: &'a Verifiers,
    pub(crate) from: &'a Registry,
    pub(crate) into: &'a ImageStore,
    pub(crate) progress: Arc<dyn ProgressSink>,
}

impl Pull<'_> {
    pub(crate) async fn run(self, caller: &Caller) -> Result<Vec<Image>, TransferError> {
        let hold = Hold::begin(self.metadata, caller).await?;
        // What has come outlives a pull that fails: the next one goes on with it.
        let kept = hold.lingering(limits::PULL_KEPT);
        self.tell(format!("Resolving from {}", self.from));
        let remote = self.from.remote()?;
        let root = remote.resolve(&self.from.reference().target()).await;
        let root = root.map_err(|source| TransferError::Resolve {
            source: Box::new(source),
        })?;
        self.verify(&remote, &root).await?;
        self.tell(format!("Pulling from {}", self.from));
        let name = self.name();
        self.progress.tell(Progress {
            name: name.to_owned(),
            descriptor: Some(root.clone()),
            ..Progress::of_all(FETCHING)
        });
        self.fetch(&hold, &remote, &root, name).await?;
        let saved = self.save(hold.caller(), &root).await?;
        kept.end();
        hold.end().await?;
        self.tell(format!("Completed pull from {}", self.from));
        Ok(saved)
    }

    /// What the image is called here.
    fn name(&self) -> &str {
        match self.into.name.as_str() {
            "" => self.from.name(),
            name => name,
        }
    }

    fn tell(&self, event: String) {
        self.progress.tell(Progress::of_all(event));
    }

    async fn verify(&self, remote: &Remote, root: &Descriptor) -> Result<(), TransferError> {
        let subject = Subject {
            name: self.from.name(),
            descriptor: root,
            remote,
            platform: self.into.platforms.0.first(),
        };
        self.verifiers.verify(&subject).await
    }

    async fn fetch(
        &self,
        hold: &Hold,
        remote: &Remote,
        root: &Descriptor,
        name: &str,
    ) -> Result<(), TransferError> {
        let unpacking = self.unpacking(hold).await?;
        let arrivals = unpacking.as_ref().map(Unpacking::arrivals).unwrap_or_default();
        let content = Content::new(
            self.metadata,
            hold.caller(),
            &self.from.reference().repository,
            &arrivals,
        );
        let mut tree = Tree {
            metadata: self.metadata,
            caller: hold.caller(),
            into: self.into,
            fetcher: Arc::new(Fetcher {
                remote: remote.clone(),
                content,
                progress: Arc::clone(&self.progress),
            }),
            fetches: JoinSet::new(),
            seen: HashSet::new(),
            unpacking,
        };
        let fetched = tree.run(root, name).await;
        // Nothing is fetched any more when this returns.
        tree.fetches.shutdown().await;
        match (tree.unpacking, fetched) {
            (None, fetched) => fetched,
            (Some(unpacking), Ok(())) => Ok(unpacking.finish().await?),
            (Some(unpacking), Err(error)) => {
                unpacking.abandon().await;
                Err(error)
            }
        }
    }

    async fn unpacking(&self, hold: &Hold) -> Result<Option<Unpacking>, TransferError> {
        if self.into.unpacks.is_empty() {
            return Ok(None);
        }
        let none = || TransferError::Invalid {
            what: "this daemon has no snapshotter: pull without unpacking".to_owned(),
        };
        let unpacker = self.unpacker.ok_or_else(none)?;
        let (hold, progress) = (hold.clone(), Arc::clone(&self.progress));
        let begun = unpacker
            .begin(self.metadata, hold, &self.into.unpacks, progress)
            .await?;
        Ok(Some(begun))
    }

    async fn save(&self, caller: &Caller, root: &Descriptor) -> Result<Vec<Image>, TransferError> {
        let mut names = self.into.names_of_whole(root);
        if names.is_empty() {
            names.push((self.from.name().to_owned(), self.into.labels.clone()));
        }
        let mut saved = Vec::new();
        for name in names {
            let target = image_store::target(root);
            let image = image_store::save(self.metadata, caller, name, target).await?;
            self.progress.tell(Progress::of_image(&image.name, root));
            saved.push(image);
        }
        Ok(saved)
    }
}

/// The blobs of an image, each fetched as soon as it is known of.
struct Tree<'a> {
    metadata: &'a Metadata,
    caller: &'a Caller,
    into: &'a ImageStore,
    fetcher: Arc<Fetcher>,
    fetches: JoinSet<Result<Blob, TransferError>>,
    seen: HashSet<String>,
    unpacking: Option<Unpacking>,
}

impl Tree<'_> {
    /// Fetches everything; ends early, without an error, if the unpacking has failed: that has the error.
    async fn run(&mut self, root: &Descriptor, name: &str) -> Result<(), TransferError> {
        self.begin(root.clone(), name.to_owned(), 0)?;
        let failed = self.unpacking.as_ref().map(Unpacking::failed);
        let failed = async move {
            match failed {
                Some(failed) => failed.await,
                None => std::future::pending().await,
            }
        };
        let mut failed = std::pin::pin!(failed);
        loop {
            tokio::select! {
                done = self.fetches.join_next() => match done {
                    Some(done) => self.fetched(done).await?,
                    None => return Ok(()),
                },
                () = &mut failed => return Ok(()),
            }
        }
    }

    fn begin(&mut self, blob: Descriptor, parent: String, depth: usize) -> Result<(), TransferError> {
        if depth > INDEX_DEPTH_MAX + 2 {
            return Err(TransferError::Limit {
                what: "the indexes in indexes of the image".to_owned(),
                limit: INDEX_DEPTH_MAX as u64,
            });
        }
        // One blob may be listed as several things.
        let platform = blob.platform.as_ref().map(ToString::to_string);
        let id = format!("{} {} {platform:?}", blob.digest, blob.media_type);
        if !self.seen.insert(id) {
            return Ok(());
        }
        if self.seen.len() > DESCRIPTORS_MAX {
            return Err(TransferError::Limit {
                what: "the descriptors of the image".to_owned(),
                limit: DESCRIPTORS_MAX as u64,
            });
        }
        let fetcher = Arc::clone(&self.fetcher);
        let blob = Blob {
            descriptor: blob,
            parent,
            depth,
        };
        blob.waits(&*fetcher.progress);
        self.fetches.spawn(async move { fetcher.fetch(blob).await });
        Ok(())
    }

    async fn fetched(
        &mut self,
        done: Result<Result<Blob, TransferError>, JoinError>,
    ) -> Result<(), TransferError> {
        let blob = done.map_err(|_| TransferError::Panicked { what: "a fetch" })??;
        let of = &blob.descriptor;
        let listed = children(self.metadata, self.caller, of).await?;
        children::keep(self.metadata, self.caller, of, &listed).await?;
        let some = !listed.is_empty();
        let wanted = self.into.wanted(of, listed)?;
        if some && wanted.is_empty() && blob.depth == 0 {
            return Err(TransferError::NotFound {
                object: format!("no match for platform in manifest {}", of.digest),
            });
        }
        if let Some(unpacking) = &mut self.unpacking
            && media_type::is_manifest(&of.media_type)
            && let Some(image) = Unpackable::of(of, &wanted)
        {
            unpacking.image(&image);
        }
        for child in wanted {
            self.begin(child, key(of), blob.depth + 1)?;
        }
        Ok(())
    }
}
