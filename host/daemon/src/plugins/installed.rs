//! Installed plugins: artifacts in the content store, each version kept by an image of a namespace of their own, and the record of
//! which is used.
//!
//! The order of writing is what makes it safe: first the images, then the record, then images that the record does not name go. What a
//! crash leaves is at most an image too much, which the next start removes.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use transom_meta::images::{NewImage, Target};
use transom_meta::{Caller, Error, Labels, Metadata, Namespace};
use transom_oci::{Descriptor, Digest};
use transom_plugin::artifact::{self, Artifact, ArtifactError, Signature};

use super::record::{Pin, Record};
use super::trouble::Trouble;

/// The namespace of artifacts and of the images that keep them.
pub const NAMESPACE: &str = "plugins.transom";

/// What keeps a blob that a manifest names, in the labels of the manifest.
const REFERENCE: &str = "containerd.io/gc.ref.content";

/// Installed plugins of a daemon.
#[derive(Debug)]
pub struct Installed {
    metadata: Metadata,
    caller: Caller,
    file: PathBuf,
    /// What is installed.
    pub record: Record,
}

/// An artifact that was found, with its signatures.
#[derive(Clone, Debug)]
pub struct Found {
    /// The artifact.
    pub artifact: Artifact,
    /// What its signatures say.
    pub signatures: Vec<Signature>,
    /// The manifests of signatures, and the blobs that each names.
    manifests: Vec<(Digest, Vec<Digest>)>,
}

impl Installed {
    /// What is installed below a root, and the content store that has it.
    ///
    /// # Errors
    /// [`Trouble::Record`], [`Trouble::Meta`].
    pub async fn open(metadata: Metadata, root: &Path) -> Result<Installed, Trouble> {
        let file = crate::places::installed(root);
        let installed = Installed {
            metadata,
            caller: Caller::new(Namespace::new(NAMESPACE)?),
            record: Record::read(&file)?,
            file,
        };
        installed.sweep().await?;
        Ok(installed)
    }

    /// Reads an artifact and its signatures. All of it must be in the namespace.
    ///
    /// # Errors
    /// [`Trouble::NoBlob`], [`Trouble::Artifact`], [`Trouble::Meta`].
    pub async fn find(&self, manifest: &Digest, signatures: &[Digest]) -> Result<Found, Trouble> {
        let bytes = self.manifest("the manifest", manifest).await?;
        let (known, store) = (manifest.clone(), self.metadata.blobs().clone());
        let artifact = super::blocking(move || {
            Artifact::read(&bytes, Some(&known), &mut |blob: &Descriptor| open(&store, blob))
        })
        .await?;
        for blob in &artifact.blobs {
            self.has("a part of the artifact", &blob.digest).await?;
        }
        let mut found = Found {
            artifact,
            signatures: Vec::new(),
            manifests: Vec::new(),
        };
        for digest in signatures {
            self.add_signatures(&mut found, digest).await?;
        }
        Ok(found)
    }

    async fn add_signatures(&self, found: &mut Found, digest: &Digest) -> Result<(), Trouble> {
        let bytes = self.manifest("the signatures' manifest", digest).await?;
        let parts = parts(&bytes)?;
        for part in &parts {
            self.has("a part of the signatures", part).await?;
        }
        let (known, store) = (digest.clone(), self.metadata.blobs().clone());
        let read = super::blocking(move || {
            artifact::signature::read(&bytes, Some(&known), &mut |blob: &Descriptor| open(&store, blob))
        });
        found.signatures.extend(read.await?);
        found.manifests.push((digest.clone(), parts));
        Ok(())
    }

    async fn has(&self, what: &'static str, digest: &Digest) -> Result<u64, Trouble> {
        let digest = digest.clone();
        match self.metadata.content_info(&self.caller, &digest).await {
            Ok(record) => Ok(record.size),
            Err(Error::NotFound { .. }) => Err(Trouble::NoBlob { what, digest }),
            Err(error) => Err(error.into()),
        }
    }

    async fn manifest(&self, what: &'static str, digest: &Digest) -> Result<Vec<u8>, Trouble> {
        let size = self.has(what, digest).await?;
        let limit = transom_oci::limits::MANIFEST_BYTES_MAX;
        if size > limit {
            return Err(ArtifactError::TooLarge { what, size, limit }.into());
        }
        let (store, named) = (self.metadata.blobs().clone(), digest.clone());
        let read = super::blocking(move || {
            let mut bytes = Vec::new();
            let blob = store.reader(&named).map_err(io::Error::other)?;
            blob.take(limit).read_to_end(&mut bytes)?;
            Ok::<_, io::Error>(bytes)
        });
        let digest = digest.clone();
        read.await
            .map_err(|source| ArtifactError::Read { what, digest, source }.into())
    }

    /// Keeps an artifact from being collected.
    ///
    /// # Errors
    /// [`Trouble::Meta`].
    pub async fn keep(&self, name: &str, pin: &Pin, found: &Found) -> Result<(), Trouble> {
        for (manifest, parts) in &found.manifests {
            self.refer(manifest, parts.iter()).await?;
        }
        let parts = found.artifact.blobs.iter().map(|blob| &blob.digest);
        self.refer(&pin.manifest, parts.chain(&pin.signatures)).await?;
        let target = Target {
            media_type: found.artifact.descriptor.media_type.clone(),
            digest: pin.manifest.to_string(),
            size: i64::try_from(found.artifact.descriptor.size).unwrap_or_default(),
            annotations: Labels::new(),
        };
        let image = NewImage {
            name: pin.image(name),
            labels: Labels::new(),
            target: Some(target),
        };
        match self.metadata.create_image(&self.caller, image, None).await {
            Ok(_) | Err(Error::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// A manifest refers to these blobs from now on.
    async fn refer(&self, manifest: &Digest, blobs: impl Iterator<Item = &Digest>) -> Result<(), Trouble> {
        let labels: Labels = blobs
            .enumerate()
            .map(|(at, blob)| (format!("{REFERENCE}.{at}"), blob.to_string()))
            .collect();
        let paths: Vec<String> = labels.keys().map(|key| format!("labels.{key}")).collect();
        if !paths.is_empty() {
            let updated = self
                .metadata
                .content_update(&self.caller, manifest, labels, &paths);
            updated.await?;
        }
        Ok(())
    }

    /// Writes what is installed from now on, and lets go of the rest.
    ///
    /// # Errors
    /// [`Trouble::Record`]: then nothing has changed.
    pub async fn write(&mut self, record: Record) -> Result<(), Trouble> {
        let (new, file) = (record.clone(), self.file.clone());
        super::blocking(move || new.write(&file)).await?;
        self.record = record;
        if let Err(error) = self.sweep().await {
            tracing::warn!(%error, "a plugin that is not installed any more takes up room until the next start");
        }
        Ok(())
    }

    /// Removes the images that the record does not name.
    async fn sweep(&self) -> Result<(), Trouble> {
        let named = |image: &str| {
            let mut items = self.record.plugins.iter();
            items.any(|item| item.pins().any(|pin| pin.image(&item.name) == image))
        };
        for image in self.metadata.images(&self.caller, &[]).await? {
            if !named(&image.name) {
                let deleted = self.metadata.delete_image(&self.caller, &image.name, None).await;
                match deleted {
                    Ok(()) | Err(Error::NotFound { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}

fn open(store: &transom_content::Store, blob: &Descriptor) -> io::Result<Box<dyn Read>> {
    let blob = store.reader(&blob.digest).map_err(io::Error::other)?;
    Ok(Box::new(blob))
}

/// The digests that a manifest names.
fn parts(bytes: &[u8]) -> Result<Vec<Digest>, Trouble> {
    let document: transom_oci::Manifest = serde_json::from_slice(bytes)
        .map_err(|error| ArtifactError::NotAPlugin(format!("signatures: it is no manifest: {error}")))?;
    let parts = [document.config].into_iter().chain(document.layers);
    Ok(parts.map(|part| part.digest).collect())
}
