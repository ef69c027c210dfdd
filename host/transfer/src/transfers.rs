//! The front door: everything that moves images, over the stores of one daemon.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};
use transom_diff::Ahead;
use transom_meta::images::Image;
use transom_meta::kv::Pending;
use transom_meta::{Caller, Metadata};

use crate::bytes::{ByteSink, ByteSource};
use crate::error::TransferError;
use crate::image_store::ImageStore;
use crate::progress::ProgressSink;
use crate::registry::Registry;
use crate::unpack::Unpacker;
use crate::verify::Verifiers;
use crate::{ExportOptions, ImportOptions, export, import, limits, pull, push, tag};

/// Moves images. Clones share what limits them.
#[derive(Clone, Debug)]
pub struct Transfers {
    metadata: Metadata,
    unpacker: Option<Unpacker>,
    verifiers: Verifiers,
    ahead: Option<Ahead>,
    turns: Arc<Semaphore>,
}

impl Transfers {
    /// Transfers over `metadata`; without an unpacker images can be imported but not unpacked.
    #[must_use]
    pub fn new(metadata: Metadata, unpacker: Option<Unpacker>) -> Transfers {
        Transfers {
            metadata,
            unpacker,
            verifiers: Verifiers::default(),
            ahead: None,
            turns: Arc::new(Semaphore::new(limits::TRANSFERS)),
        }
    }

    /// The same, where all of these must allow an image before it is pulled.
    #[must_use]
    pub fn verified_by(mut self, verifiers: Verifiers) -> Transfers {
        self.verifiers = verifiers;
        self
    }

    /// The same, where layers of archives are unpacked while they arrive.
    #[must_use]
    pub fn unpacking_ahead(mut self, ahead: Option<Ahead>) -> Transfers {
        self.ahead = ahead;
        self
    }

    /// Fetches an image, and unpacks its layers while they arrive. Gives the images that were saved.
    ///
    /// Dropping the future cancels the pull; what has come until then is kept for some time for the next one.
    ///
    /// # Errors
    /// [`TransferError`]. Nothing of the image is unpacked then that was not before.
    pub fn pull<'a>(
        &'a self,
        caller: &'a Caller,
        from: &'a Registry,
        into: &'a ImageStore,
        progress: Arc<dyn ProgressSink>,
    ) -> Pending<'a, Result<Vec<Image>, TransferError>> {
        Box::pin(async move {
            into.check()?;
            let _turn = self.turn().await?;
            let pull = pull::Pull {
                metadata: &self.metadata,
                unpacker: self.unpacker.as_ref(),
                verifiers: &self.verifiers,
                from,
                into,
                progress,
            };
            pull.run(caller).await
        })
    }

    /// Sends an image to a registry: what that lacks of it, what is listed before what lists it.
    ///
    /// # Errors
    /// [`TransferError`].
    pub fn push<'a>(
        &'a self,
        caller: &'a Caller,
        image: &'a ImageStore,
        to: &'a Registry,
        progress: Arc<dyn ProgressSink>,
    ) -> Pending<'a, Result<(), TransferError>> {
        Box::pin(async move {
            let _turn = self.turn().await?;
            push::push(&self.metadata, caller, image, to, progress).await
        })
    }

    /// Takes an archive apart: its blobs become content while it arrives, and in the end images name them. Gives the images.
    ///
    /// Dropping the future cancels the import; what has come until then is left to the collector.
    ///
    /// # Errors
    /// [`TransferError`].
    pub fn import<'a>(
        &'a self,
        caller: &'a Caller,
        archive: Box<dyn ByteSource>,
        options: ImportOptions,
        into: &'a ImageStore,
        progress: Arc<dyn ProgressSink>,
    ) -> Pending<'a, Result<Vec<Image>, TransferError>> {
        Box::pin(async move {
            into.check()?;
            let _turn = self.turn().await?;
            let import = import::Import {
                metadata: &self.metadata,
                ahead: self.ahead.as_ref(),
                unpacker: self.unpacker.as_ref(),
                options,
                into,
                progress,
            };
            import.run(caller, archive).await
        })
    }

    /// Writes images into an archive, to its very end.
    ///
    /// # Errors
    /// [`TransferError`]; what is missing is found out before the first byte.
    pub fn export<'a>(
        &'a self,
        caller: &'a Caller,
        images: &'a ImageStore,
        options: &'a ExportOptions,
        archive: &'a mut dyn ByteSink,
        progress: &'a dyn ProgressSink,
    ) -> Pending<'a, Result<(), TransferError>> {
        Box::pin(async move {
            let _turn = self.turn().await?;
            export::export(&self.metadata, caller, images, options, archive, progress).await
        })
    }

    /// Gives an image further names; gives what was saved.
    ///
    /// # Errors
    /// [`TransferError`].
    pub async fn tag(
        &self,
        caller: &Caller,
        from: &ImageStore,
        to: &ImageStore,
    ) -> Result<Vec<Image>, TransferError> {
        tag::tag(&self.metadata, caller, from, to).await
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, TransferError> {
        // Nobody closes it.
        let turn = self.turns.acquire().await;
        turn.map_err(|_| TransferError::Panicked { what: "the queue" })
    }
}
