//! Which blobs an archive has: everything is looked up before the first byte is sent, so that what is missing is an error and
//! not half an archive.

use std::collections::{BTreeMap, HashMap};

use transom_image::limits::{DESCRIPTORS_MAX, INDEX_DEPTH_MAX};
use transom_meta::{Caller, Error, Metadata};
use transom_oci::{Descriptor, Digest, media_type};

use super::ExportOptions;
use super::listing::{self, DockerImage};
use crate::children::children;
use crate::document;
use crate::error::TransferError;
use crate::progress::key;
use crate::reference::IMAGE_NAME;

/// What goes into an archive.
#[derive(Debug)]
pub(super) struct Plan {
    /// `index.json`.
    pub(super) index: Vec<u8>,
    /// `manifest.json`, unless it is left out.
    pub(super) docker: Option<Vec<u8>>,
    /// The blobs, with the names of what lists them.
    pub(super) blobs: BTreeMap<Digest, (Descriptor, Vec<String>)>,
}

/// Makes a plan.
struct Planner<'a> {
    metadata: &'a Metadata,
    caller: &'a Caller,
    options: &'a ExportOptions,
    blobs: BTreeMap<Digest, (Descriptor, Vec<String>)>,
    descriptors: usize,
}

/// Whose platform an image has that docker can load, and under which names.
struct Chosen {
    manifest: Descriptor,
    names: Vec<String>,
}

impl Plan {
    pub(super) async fn make(
        metadata: &Metadata,
        caller: &Caller,
        mut targets: Vec<Descriptor>,
        options: &ExportOptions,
    ) -> Result<Plan, TransferError> {
        let mut planner = Planner {
            metadata,
            caller,
            options,
            blobs: BTreeMap::new(),
            descriptors: 0,
        };
        // The choice for each target's digest: one target may have several names.
        let mut choices: HashMap<Digest, Option<usize>> = HashMap::new();
        let mut chosen: Vec<Chosen> = Vec::new();
        for target in &mut targets {
            planner.sources(target).await?;
            let choice = match choices.get(&target.digest) {
                Some(choice) => *choice,
                None => planner.image(target).await?.map(|manifest| {
                    let same = |other: &Chosen| other.manifest.digest == manifest.digest;
                    chosen.iter().position(same).unwrap_or_else(|| {
                        let names = Vec::new();
                        chosen.push(Chosen { manifest, names });
                        chosen.len() - 1
                    })
                }),
            };
            choices.insert(target.digest.clone(), choice);
            if let (Some(at), Some(name)) = (choice, target.annotations.get(IMAGE_NAME)) {
                chosen[at].names.push(name.clone());
            }
        }
        let docker = match options.skip_docker {
            true => None,
            false => planner.docker(chosen).await?,
        };
        Ok(Plan {
            index: listing::index(targets)?,
            docker,
            blobs: planner.blobs,
        })
    }
}

impl Planner<'_> {
    /// Where an image came from goes with it; also finds out whether it is there.
    async fn sources(&self, target: &mut Descriptor) -> Result<(), TransferError> {
        let info = self.metadata.content_info(self.caller, &target.digest).await?;
        let sources = info.labels.into_iter();
        let sources = sources.filter(|(key, _)| key.starts_with("containerd.io/distribution.source"));
        target.annotations.extend(sources);
        Ok(())
    }

    /// Everything of one image. Gives the manifest that docker loads, if there is one.
    async fn image(&mut self, target: &Descriptor) -> Result<Option<Descriptor>, TransferError> {
        let kind = target.media_type.as_str();
        if media_type::is_manifest(kind) {
            self.tree(target.clone(), Vec::new()).await?;
            return Ok(Some(target.clone()));
        }
        if !media_type::is_index(kind) {
            return Err(TransferError::Invalid {
                what: format!("only manifests may be exported, {} is a {kind:?}", target.digest),
            });
        }
        self.add(target, &[]).await?;
        let mut wanted = Vec::new();
        for child in children(self.metadata, self.caller, target).await? {
            let rank = match &child.platform {
                Some(platform) => self.options.rank(platform),
                None => Some(usize::MAX),
            };
            if let Some(rank) = rank {
                wanted.push((rank, child.clone()));
            } else if !self.options.all_platforms {
                continue;
            }
            self.tree(child, vec![key(target)]).await?;
        }
        let best = wanted.into_iter().min_by_key(|(rank, _)| *rank);
        match best {
            Some((_, manifest)) => {
                Ok(Some(manifest).filter(|best| media_type::is_manifest(&best.media_type)))
            }
            None => Err(TransferError::NotFound {
                object: format!("no manifest found for platform in {}", target.digest),
            }),
        }
    }

    /// A blob and everything that it lists.
    async fn tree(&mut self, root: Descriptor, parents: Vec<String>) -> Result<(), TransferError> {
        let mut rest = vec![(root, parents, 0)];
        while let Some((of, parents, depth)) = rest.pop() {
            if depth > INDEX_DEPTH_MAX {
                return Err(TransferError::Limit {
                    what: "the indexes in indexes of the image".to_owned(),
                    limit: INDEX_DEPTH_MAX as u64,
                });
            }
            if !self.add(&of, &parents).await? {
                continue;
            }
            let children = children(self.metadata, self.caller, &of).await?;
            if self.options.skip_missing
                && media_type::is_manifest(&of.media_type)
                && !self.all(&children).await?
            {
                continue;
            }
            let parents = vec![key(&of)];
            rest.extend(
                children
                    .into_iter()
                    .map(|child| (child, parents.clone(), depth + 1)),
            );
        }
        Ok(())
    }

    /// Adds a blob; whether that was new, and what it lists is to be looked at.
    async fn add(&mut self, of: &Descriptor, parents: &[String]) -> Result<bool, TransferError> {
        self.descriptors += 1;
        if self.descriptors > DESCRIPTORS_MAX {
            return Err(TransferError::Limit {
                what: "the descriptors of the images".to_owned(),
                limit: DESCRIPTORS_MAX as u64,
            });
        }
        if self.options.skip_nondistributable && media_type::is_nondistributable(&of.media_type) {
            return Ok(false);
        }
        if self.blobs.contains_key(&of.digest) {
            return Ok(false);
        }
        let info = match self.metadata.content_info(self.caller, &of.digest).await {
            Err(Error::NotFound { .. }) if self.options.skip_missing => return Ok(false),
            info => info?,
        };
        if info.size != of.size {
            let problem = format!("it has {} bytes, its descriptor says {}", info.size, of.size);
            return Err(document::refused(of.digest.as_str(), &problem));
        }
        self.blobs
            .insert(of.digest.clone(), (of.clone(), parents.to_vec()));
        Ok(true)
    }

    /// Whether all of these are there.
    async fn all(&self, blobs: &[Descriptor]) -> Result<bool, TransferError> {
        for blob in blobs {
            match self.metadata.content_info(self.caller, &blob.digest).await {
                Ok(_) => {}
                Err(Error::NotFound { .. }) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// `manifest.json`, if there is an image for it.
    async fn docker(&self, chosen: Vec<Chosen>) -> Result<Option<Vec<u8>>, TransferError> {
        let mut images = Vec::new();
        for Chosen { manifest, names } in chosen {
            if !self.blobs.contains_key(&manifest.digest) {
                continue;
            }
            let bytes = document::load(self.metadata, self.caller, &manifest).await?;
            let read = document::manifest(&bytes, manifest.digest.as_str())?;
            images.push(DockerImage::new(&read, &names));
        }
        if images.is_empty() {
            return Ok(None);
        }
        listing::docker(&images).map(Some)
    }
}
