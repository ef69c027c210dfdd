//! The tree of blobs that an image is made of, as far as a daemon has it.

use std::collections::BTreeMap;
use std::pin::Pin;

use serde::de::DeserializeOwned;
use tonic::Code;
use transom_api::content::InfoRequest;
use transom_api::images::{GetImageRequest, Image, ListImagesRequest};
use transom_api::types;
use transom_oci::limits::{CONFIG_BYTES_MAX, MANIFEST_BYTES_MAX};
use transom_oci::media_type::{self, is_image_config, is_index, is_manifest};
use transom_oci::{Descriptor, Digest, ImageConfig, Index, Manifest, Platform};

use super::Client;
use crate::failure::{Failure, Kind};
use crate::limits;

/// A blob of an image, and what it refers to.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) descriptor: Descriptor,
    pub(crate) state: State,
    pub(crate) children: Vec<Node>,
    /// The configuration of a manifest, if it has one of an image and that is there.
    pub(crate) config: Option<Box<ImageConfig>>,
    /// Artifacts that refer to a manifest and that it keeps, such as what plugins wrote about its layers.
    pub(crate) referrers: Vec<Referrer>,
}

/// An artifact that refers to a manifest.
#[derive(Clone, Debug)]
pub(crate) struct Referrer {
    pub(crate) digest: String,
    /// What it is, if it is there.
    pub(crate) artifact_type: Option<String>,
    /// Its documents.
    pub(crate) documents: Vec<Descriptor>,
}

/// The labels by which a manifest keeps its referrers, up to a part of the digest.
const REFERRER: &str = "containerd.io/gc.ref.content.referrer.";

/// Whether the daemon has a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Present,
    Missing,
    /// It is there, but not what its type says.
    Unreadable(String),
}

/// The blobs of one tree that were met.
#[derive(Debug, Default)]
struct Walk {
    nodes: usize,
}

type Walked<'a> = Pin<Box<dyn Future<Output = Result<Node, Failure>> + 'a>>;

impl Client {
    /// The record of an image.
    pub(crate) async fn image(&self, name: &str) -> Result<Image, Failure> {
        let request = GetImageRequest {
            name: name.to_owned(),
        };
        let response = self.images().get(request).await?.into_inner();
        response.image.ok_or_else(|| Failure::silent("the image"))
    }

    /// All records that one of the filters matches, by name.
    pub(crate) async fn image_list(&self, filters: Vec<String>) -> Result<Vec<Image>, Failure> {
        let response = self.images().list(ListImagesRequest { filters }).await?;
        Ok(response.into_inner().images)
    }

    /// What an image is made of.
    pub(crate) async fn tree(&self, image: &Image) -> Result<Node, Failure> {
        let target = image.target.clone().unwrap_or_default();
        let descriptor = descriptor(target).map_err(|failure| failure.about(&image.name))?;
        self.node(descriptor, limits::TREE_DEPTH, &mut Walk::default())
            .await
    }

    fn node<'a>(&'a self, descriptor: Descriptor, depth: usize, walk: &'a mut Walk) -> Walked<'a> {
        Box::pin(async move {
            walk.nodes += 1;
            if depth == 0 || walk.nodes > limits::TREE_NODES {
                let message = format!(
                    "{} is part of an image too deep or too large to follow",
                    descriptor.digest
                );
                return Err(Failure::new(Kind::Limit, message));
            }
            let mut node = Node {
                descriptor,
                state: State::Present,
                children: Vec::new(),
                config: None,
                referrers: Vec::new(),
            };
            let Some(labels) = self.labels(&node.descriptor.digest).await? else {
                node.state = State::Missing;
                return Ok(node);
            };
            node.referrers = self.referrers(&labels).await?;
            if is_index(&node.descriptor.media_type) {
                self.follow_index(&mut node, depth, walk).await?;
            } else if is_manifest(&node.descriptor.media_type) {
                self.follow_manifest(&mut node, depth, walk).await?;
            }
            Ok(node)
        })
    }

    async fn follow_index(&self, node: &mut Node, depth: usize, walk: &mut Walk) -> Result<(), Failure> {
        match self.parsed::<Index>(&node.descriptor, MANIFEST_BYTES_MAX).await? {
            Ok(index) => {
                for child in index.manifests {
                    let child = self.node(child, depth - 1, walk).await?;
                    node.children.push(child);
                }
            }
            Err(problem) => node.state = State::Unreadable(problem),
        }
        Ok(())
    }

    async fn follow_manifest(&self, node: &mut Node, depth: usize, walk: &mut Walk) -> Result<(), Failure> {
        let manifest = match self
            .parsed::<Manifest>(&node.descriptor, MANIFEST_BYTES_MAX)
            .await?
        {
            Ok(manifest) => manifest,
            Err(problem) => {
                node.state = State::Unreadable(problem);
                return Ok(());
            }
        };
        for child in std::iter::once(manifest.config).chain(manifest.layers) {
            let mut child = self.node(child, depth - 1, walk).await?;
            if is_image_config(&child.descriptor.media_type) && child.state == State::Present {
                match self.parsed(&child.descriptor, CONFIG_BYTES_MAX).await? {
                    Ok(config) => node.config = Some(Box::new(config)),
                    Err(problem) => child.state = State::Unreadable(problem),
                }
            }
            node.children.push(child);
        }
        Ok(())
    }

    /// The labels of a blob; none if it is not there.
    async fn labels(&self, digest: &Digest) -> Result<Option<BTreeMap<String, String>>, Failure> {
        let request = InfoRequest {
            digest: digest.to_string(),
        };
        match self.content().info(request).await {
            Ok(response) => Ok(Some(response.into_inner().info.unwrap_or_default().labels)),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(status.into()),
        }
    }

    /// The artifacts that the labels of a manifest keep.
    async fn referrers(&self, labels: &BTreeMap<String, String>) -> Result<Vec<Referrer>, Failure> {
        let mut referrers = Vec::new();
        for (_, digest) in labels.iter().filter(|(key, _)| key.starts_with(REFERRER)) {
            let mut referrer = Referrer {
                digest: digest.clone(),
                artifact_type: None,
                documents: Vec::new(),
            };
            let parsed = digest.parse::<Digest>().ok();
            if let Some(digest) = parsed
                && self.labels(&digest).await?.is_some()
            {
                let of = Descriptor::new(media_type::MANIFEST, digest, 0);
                if let Ok(manifest) = self.parsed::<Manifest>(&of, MANIFEST_BYTES_MAX).await? {
                    let own = manifest.artifact_type.filter(|own| !own.is_empty());
                    referrer.artifact_type = own.or(Some(manifest.config.media_type));
                    referrer.documents = manifest.layers;
                }
            }
            referrers.push(referrer);
        }
        Ok(referrers)
    }

    /// A document, or what is wrong with it.
    async fn parsed<T: DeserializeOwned>(
        &self,
        descriptor: &Descriptor,
        limit: u64,
    ) -> Result<Result<T, String>, Failure> {
        match self.document(&descriptor.digest, limit).await {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).map_err(|error| error.to_string())),
            Err(failure) if matches!(failure.kind(), Kind::Damaged | Kind::Limit) => {
                Ok(Err(failure.message().to_owned()))
            }
            Err(failure) => Err(failure),
        }
    }
}

/// A descriptor in an image's record.
fn descriptor(target: types::Descriptor) -> Result<Descriptor, Failure> {
    let digest = target.digest.parse::<Digest>();
    let digest =
        digest.map_err(|error| Failure::new(Kind::Damaged, format!("{:?}: {error}", target.digest)))?;
    Ok(Descriptor {
        annotations: target.annotations,
        ..Descriptor::new(
            target.media_type,
            digest,
            target.size.try_into().unwrap_or_default(),
        )
    })
}

impl Node {
    /// Every manifest of the image, or its target if that is something else.
    pub(crate) fn manifests(&self) -> Vec<&Node> {
        if is_index(&self.descriptor.media_type) && self.state == State::Present {
            self.children.iter().flat_map(Node::manifests).collect()
        } else {
            vec![self]
        }
    }

    /// What it runs on, as far as the index or the configuration tells. What is listed for an unknown platform is no image,
    /// but says something of one.
    pub(crate) fn platform(&self) -> Option<&Platform> {
        let listed = self.descriptor.platform.as_ref();
        let platform = listed.or_else(|| self.config.as_ref().map(|config| &config.platform));
        platform.filter(|platform| !matches!(platform.os.as_str(), "" | "unknown"))
    }

    /// The distinct blobs of this and everything below it.
    pub(crate) fn blobs(&self) -> BTreeMap<&Digest, &Node> {
        let mut blobs = BTreeMap::new();
        self.collect(&mut blobs);
        blobs
    }

    fn collect<'a>(&'a self, blobs: &mut BTreeMap<&'a Digest, &'a Node>) {
        blobs.insert(&self.descriptor.digest, self);
        for child in &self.children {
            child.collect(blobs);
        }
    }

    /// What serves a platform best, if anything does.
    pub(crate) fn best(&self, platform: &Platform) -> Option<&Node> {
        let manifests = self.manifests();
        let ranked = manifests
            .iter()
            .filter_map(|node| Some((platform.rank(node.platform()?)?, *node)));
        ranked.min_by_key(|(rank, _)| *rank).map(|(_, node)| node)
    }

    /// Bytes of all blobs of what serves this machine, or of everything if nothing does.
    pub(crate) fn size_here(&self) -> u64 {
        let best = self.best(&Platform::host()).unwrap_or(self);
        let sizes = best
            .blobs()
            .values()
            .map(|node| node.descriptor.size)
            .fold(0, u64::saturating_add);
        // The index that leads to it is needed too.
        if std::ptr::eq(best, self) {
            sizes
        } else {
            sizes.saturating_add(self.descriptor.size)
        }
    }
}
