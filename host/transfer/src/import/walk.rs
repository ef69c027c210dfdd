//! Everything that an index lists: its parents keep it from then on, and what is wanted of it is found.

use std::collections::HashSet;

use transom_image::limits::{DESCRIPTORS_MAX, INDEX_DEPTH_MAX};
use transom_meta::{Caller, Error, Metadata};
use transom_oci::{Descriptor, media_type};

use crate::children::{self, children};
use crate::error::TransferError;
use crate::image_store::ImageStore;
use crate::progress::key;
use crate::reference::SUBJECT;
use crate::unpack::Unpackable;

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What the root lists and is wanted, with its annotations.
    pub(super) listed: Vec<Descriptor>,
    /// The images that can be unpacked.
    pub(super) images: Vec<Unpackable>,
    /// Configurations and layers that are listed and not there.
    pub(super) missing: Vec<Descriptor>,
    /// Every blob once, with the names of what lists it.
    pub(super) blobs: Vec<(Descriptor, Vec<String>)>,
}

/// One walk.
pub(super) struct Walk<'a> {
    metadata: &'a Metadata,
    caller: &'a Caller,
    store: &'a ImageStore,
    skip_missing: bool,
    seen: HashSet<String>,
    descriptors: usize,
    found: Found,
}

/// A descriptor to look at.
struct Step {
    descriptor: Descriptor,
    parent: Option<String>,
    depth: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        metadata: &'a Metadata,
        caller: &'a Caller,
        store: &'a ImageStore,
        skip_missing: bool,
    ) -> Walk<'a> {
        Walk {
            metadata,
            caller,
            store,
            skip_missing,
            seen: HashSet::new(),
            descriptors: 0,
            found: Found::default(),
        }
    }

    pub(super) async fn run(mut self, root: &Descriptor) -> Result<Found, TransferError> {
        let mut steps = vec![Step {
            descriptor: root.clone(),
            parent: None,
            depth: 0,
        }];
        let mut empty = true;
        while let Some(step) = steps.pop() {
            if !self.enter(&step)? {
                continue;
            }
            let children = self.look(&step).await?;
            empty &= children.is_empty();
            if step.depth == 0 {
                let images = |child: &&Descriptor| !child.annotations.contains_key(SUBJECT);
                self.found.listed = children.iter().filter(images).cloned().collect();
            }
            // The first child is looked at first.
            for descriptor in children.into_iter().rev() {
                steps.push(Step {
                    descriptor,
                    parent: Some(key(&step.descriptor)),
                    depth: step.depth + 1,
                });
            }
        }
        if empty {
            return Err(TransferError::NotFound {
                object: "image might be filtered out".to_owned(),
            });
        }
        Ok(self.found)
    }

    /// Counts a step; whether it is the first one to this blob.
    fn enter(&mut self, step: &Step) -> Result<bool, TransferError> {
        let exceeded = |what: &str, limit| {
            Err(TransferError::Limit {
                what: format!("the {what} of the archive"),
                limit,
            })
        };
        self.descriptors += 1;
        if self.descriptors > DESCRIPTORS_MAX {
            return exceeded("descriptors", DESCRIPTORS_MAX as u64);
        }
        if step.depth > INDEX_DEPTH_MAX + 2 {
            return exceeded("indexes in indexes", INDEX_DEPTH_MAX as u64);
        }
        let Step {
            descriptor, parent, ..
        } = step;
        let platform = descriptor.platform.as_ref().map(ToString::to_string);
        let id = format!("{} {} {platform:?}", descriptor.digest, descriptor.media_type);
        let first = self.seen.insert(id);
        if first {
            let parents = parent.iter().cloned().collect();
            self.found.blobs.push((descriptor.clone(), parents));
        }
        Ok(first)
    }

    /// The children of a blob that are wanted.
    async fn look(&mut self, step: &Step) -> Result<Vec<Descriptor>, TransferError> {
        let of = &step.descriptor;
        let children = match children(self.metadata, self.caller, of).await {
            Ok(children) => children,
            Err(TransferError::Meta(Error::NotFound { .. })) if self.skip_missing && step.depth > 0 => {
                self.found.missing.push(of.clone());
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        children::keep(self.metadata, self.caller, of, &children).await?;
        if children.is_empty() {
            self.check(of).await?;
            return Ok(children);
        }
        let children = self.store.wanted(of, children)?;
        if media_type::is_manifest(&of.media_type) {
            self.found.images.extend(Unpackable::of(of, &children));
        }
        Ok(children)
    }

    /// Notes what is not there: that is no error, an archive may leave out what other platforms need.
    async fn check(&mut self, blob: &Descriptor) -> Result<(), TransferError> {
        match self.metadata.content_info(self.caller, &blob.digest).await {
            Ok(_) => {}
            Err(Error::NotFound { .. }) => self.found.missing.push(blob.clone()),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
