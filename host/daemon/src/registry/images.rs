//! Images of namespaces as repositories that can be read: manifests and blobs are where the daemon has them, and nothing is copied.
//!
//! Only what an image of the asked repository leads to is given: who may read one repository does not read another with it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::sync::Arc;

use transom_meta::{Caller, Metadata};
use transom_oci::{Descriptor, Digest};
use transom_registry::Error;
use transom_registry::error::Result;
use transom_registry::names::{Reference, RepositoryName, Tag};
use transom_registry::source::{Content, Pending, Readable, Source};
use transom_registry::store::{Page, Referrers, Stored};
use transom_storage::entry::Kind;
use transom_storage::{Entry, Reader, StoragePath};

use super::names::{below, has_host, place};
use super::reach::{self, Known};
use crate::Failure;

/// The name of this as a driver, in errors.
const NAME: &str = "images";

/// The images of some namespaces.
#[derive(Debug)]
pub struct Images {
    metadata: Metadata,
    /// In the order in which they are asked.
    callers: Vec<Caller>,
    known: Known,
}

/// Why something of an image cannot be given.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It is not here.
    Absent,
    /// It is, and cannot be read.
    Broken(String),
}

impl Trouble {
    pub(super) fn of(error: transom_meta::Error) -> Trouble {
        match error {
            transom_meta::Error::NotFound { .. } => Trouble::Absent,
            other => Trouble::Broken(other.to_string()),
        }
    }

    fn into_error(self, absent: impl FnOnce() -> Error) -> Error {
        match self {
            Trouble::Absent => absent(),
            Trouble::Broken(reason) => failed(io::Error::other(reason)),
        }
    }
}

fn failed(error: io::Error) -> Error {
    Error::Storage(transom_storage::Error::io(
        NAME.into(),
        "read",
        &StoragePath::root(),
        error,
    ))
}

/// An image in a repository.
struct Found {
    caller: Caller,
    tag: Option<Tag>,
    target: Descriptor,
}

impl Images {
    /// The images of namespaces, which need not be there yet.
    ///
    /// # Errors
    /// [`Failure::Meta`] for what is not the name of a namespace.
    pub fn new(metadata: Metadata, namespaces: &[String]) -> Result<Images, Failure> {
        let caller = |name: &String| transom_meta::Namespace::new(name).map(Caller::new);
        let callers = namespaces.iter().map(caller).collect::<Result<_, _>>()?;
        Ok(Images {
            metadata,
            callers,
            known: Known::default(),
        })
    }

    /// All images with their repositories, those of the first namespace first.
    async fn all(&self) -> Result<Vec<(RepositoryName, Found)>> {
        let mut all = Vec::new();
        for caller in &self.callers {
            let images = self.metadata.images(caller, &[]).await;
            let images = images.map_err(|error| failed(io::Error::other(error)))?;
            for image in images {
                let target = image.target;
                let (Some((name, tag)), Ok(digest)) = (place(&image.name), target.digest.parse()) else {
                    continue;
                };
                let size = u64::try_from(target.size).unwrap_or_default();
                let found = Found {
                    caller: caller.clone(),
                    tag,
                    target: Descriptor::new(target.media_type, digest, size),
                };
                all.push((name, found));
            }
        }
        Ok(all)
    }

    async fn of(&self, name: &RepositoryName) -> Result<Vec<Found>> {
        let all = self.all().await?.into_iter();
        Ok(all
            .filter(|(other, _)| other == name)
            .map(|(_, found)| found)
            .collect())
    }

    /// What images of a repository lead to under a digest, and in whose namespace.
    async fn reached(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<(Caller, Descriptor)>> {
        for found in self.of(name).await? {
            let target = found.target;
            let reached = reach::find(&self.metadata, &self.known, &found.caller, target, digest).await;
            let reached = reached.map_err(|trouble| trouble.into_error(|| unknown(name, digest)))?;
            if let Some(descriptor) = reached {
                return Ok(Some((found.caller, descriptor)));
            }
        }
        Ok(None)
    }

    async fn find_manifest(&self, name: &RepositoryName, reference: &Reference) -> Result<Arc<Stored>> {
        let unknown = || Error::ManifestUnknown {
            repository: name.clone(),
            reference: reference.clone(),
        };
        let reached = match reference {
            Reference::Tag(tag) => {
                let mut images = self.of(name).await?.into_iter();
                let tagged = images.find(|found| found.tag.as_ref() == Some(tag));
                tagged.map(|found| (found.caller, found.target))
            }
            Reference::Digest(digest) => self.reached(name, digest).await?,
        };
        let (caller, descriptor) = reached.ok_or_else(unknown)?;
        let bytes = reach::read(&self.metadata, &caller, &descriptor.digest).await;
        let bytes = bytes.map_err(|trouble| trouble.into_error(unknown))?;
        Ok(Arc::new(Stored {
            digest: descriptor.digest,
            media_type: descriptor.media_type,
            bytes,
        }))
    }

    async fn open(&self, name: &RepositoryName, digest: &Digest) -> Result<Opened> {
        let unknown = || unknown(name, digest);
        let (caller, _) = self.reached(name, digest).await?.ok_or_else(unknown)?;
        let blob = reach::open(&self.metadata, &caller, digest).await;
        let blob = blob.map_err(|trouble| trouble.into_error(unknown))?;
        Ok(Opened {
            size: blob.size(),
            file: blob.into_file(),
        })
    }

    /// What plugins wrote about an image, and what else its manifests keep.
    async fn list_referrers(&self, name: &RepositoryName, asked: Referrers<'_>) -> Result<Page<Descriptor>> {
        let mut page = Page {
            items: Vec::new(),
            more: false,
        };
        let Some((caller, _)) = self.reached(name, asked.subject).await? else {
            return Ok(page);
        };
        let listed = reach::referrers(&self.metadata, &caller, asked.subject).await;
        let mut listed = listed.map_err(|trouble| trouble.into_error(|| unknown(name, asked.subject)))?;
        listed.retain(|of| asked.last.is_none_or(|last| of.digest.as_str() > last));
        if let Some(wanted) = asked.artifact_type {
            listed.retain(|of| of.artifact_type.as_deref() == Some(wanted));
        }
        page.more = listed.len() > asked.most;
        listed.truncate(asked.most);
        page.items = listed;
        Ok(page)
    }

    async fn list_tags(
        &self,
        name: &RepositoryName,
        last: Option<&str>,
        most: usize,
    ) -> Result<Page<String>> {
        let images = self.of(name).await?;
        if images.is_empty() {
            return Err(Error::RepositoryUnknown(name.clone()));
        }
        let tags = images.into_iter().filter_map(|found| found.tag);
        let tags: BTreeSet<String> = tags.map(|tag| tag.as_str().to_owned()).collect();
        let after = |tag: &String| last.is_none_or(|last| tag.as_str() > last);
        let mut rest = tags.into_iter().filter(after);
        let items = rest.by_ref().take(most).collect();
        let more = rest.next().is_some();
        Ok(Page { items, more })
    }
}

fn unknown(name: &RepositoryName, digest: &Digest) -> Error {
    Error::blob_unknown(name, digest)
}

/// A blob of the daemon's, open: it can be read whatever is deleted meanwhile.
#[derive(Debug)]
struct Opened {
    size: u64,
    file: File,
}

impl Readable for Opened {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, offset: u64) -> Pending<'_, Reader> {
        Box::pin(async move {
            let entry = Entry {
                path: StoragePath::root(),
                kind: Kind::File {
                    size: self.size,
                    modified: None,
                },
            };
            let file = self.file.try_clone().map_err(failed)?;
            Ok(Reader::from_file(NAME.into(), entry, offset, file))
        })
    }
}

impl Source for Images {
    fn covers(&self, name: &RepositoryName) -> bool {
        has_host(name)
    }

    fn mirrored(&self, host: &str, name: &RepositoryName) -> Option<RepositoryName> {
        below(host, name.as_str()).filter(has_host)
    }

    fn refusal(&self, _name: &RepositoryName) -> String {
        "names that begin with a host are those of the daemon's images; import or pull the image there"
            .to_owned()
    }

    fn is_cache(&self, _name: &RepositoryName) -> bool {
        false
    }

    fn manifest<'a>(
        &'a self,
        name: &'a RepositoryName,
        reference: &'a Reference,
    ) -> Pending<'a, Arc<Stored>> {
        Box::pin(self.find_manifest(name, reference))
    }

    fn blob_size<'a>(&'a self, name: &'a RepositoryName, digest: &'a Digest) -> Pending<'a, u64> {
        Box::pin(async move { Ok(self.open(name, digest).await?.size) })
    }

    fn blob<'a>(&'a self, name: &'a RepositoryName, digest: &'a Digest) -> Pending<'a, Content> {
        Box::pin(async move {
            let opened = self.open(name, digest).await?;
            Ok(Content::Elsewhere(Arc::new(opened)))
        })
    }

    fn tags<'a>(
        &'a self,
        name: &'a RepositoryName,
        last: Option<&'a str>,
        most: usize,
    ) -> Pending<'a, Page<String>> {
        Box::pin(self.list_tags(name, last, most))
    }

    fn referrers<'a>(
        &'a self,
        name: &'a RepositoryName,
        asked: Referrers<'a>,
    ) -> Pending<'a, Page<Descriptor>> {
        Box::pin(self.list_referrers(name, asked))
    }

    fn catalog(&self) -> Pending<'_, Vec<RepositoryName>> {
        Box::pin(async {
            let names: BTreeSet<RepositoryName> =
                self.all().await?.into_iter().map(|(name, _)| name).collect();
            Ok(names.into_iter().collect())
        })
    }
}
