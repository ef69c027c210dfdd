//! Images: a name for a target, which is a descriptor of content.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use crate::events::{Envelope, Event};
use crate::filter::Filters;
use crate::key::{self, Kind};
use crate::leases::{self, lease_add, lease_remove};
use crate::metadata::matching;
use crate::names::{self, Caller, Labels, Namespace};
use crate::record::{ImageRecord, Time, time};
use crate::transaction::{Tries, Txn};
use crate::{Error, Metadata, Node, gc};

mod admission;
mod change;
mod view;

pub use admission::Admission;

/// An image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its name, such as `docker.io/library/debian:12`.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// What it names.
    pub target: Target,
    /// When it was made; never changes.
    pub created: SystemTime,
    /// When it was last changed.
    pub updated: SystemTime,
}

/// A descriptor, as it is on the wire: of an [`Image`] it is valid, of a [`NewImage`] it may not be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The media type.
    pub media_type: String,
    /// The digest.
    pub digest: String,
    /// Bytes.
    pub size: i64,
    /// Annotations.
    pub annotations: Labels,
}

/// An image to be made, or the new values for an update.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewImage {
    /// The name.
    pub name: String,
    /// The labels; empty values are not stored.
    pub labels: Labels,
    /// The target. An update of labels needs none.
    pub target: Option<Target>,
}

impl Metadata {
    /// The image of this name.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn image(&self, caller: &Caller, name: &str) -> Result<Image, Error> {
        let key = key::of(Kind::Image, &caller.namespace, name);
        match self.inner.get::<ImageRecord>(&key).await? {
            Some(record) => Ok(Image::read(name, record)),
            None => Err(Error::NotFound { object: object(name) }),
        }
    }

    /// The images that match a filter, in byte order of their names. Fields: `name`, `target.digest`, `target.mediatype`,
    /// `labels`, `annotations`.
    ///
    /// # Errors
    /// [`Error::Filter`].
    pub async fn images(&self, caller: &Caller, filters: &[String]) -> Result<Vec<Image>, Error> {
        let filters = Arc::new(Filters::compile(filters, &self.inner.options.plugins)?);
        let mut images = Vec::new();
        let mut rest = Some(key::all(Kind::Image, &caller.namespace));
        while let Some(range) = rest {
            let (page, more) = self.inner.page::<ImageRecord>(&range).await?;
            let image = |(key, record): (Bytes, _)| Some(Image::read(key::name(&key)?, record));
            let page = page.into_iter().filter_map(image).collect();
            images.append(&mut matching(&filters, page).await?);
            rest = more;
        }
        Ok(images)
    }

    /// Makes an image. Its target need not be there. `epoch` stands for the time of now if given.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Label`], [`Error::AlreadyExists`]; [`Error::NotFound`] if the image expires and the
    /// caller's lease does not exist; [`Error::Refused`].
    pub async fn create_image(
        &self,
        caller: &Caller,
        image: NewImage,
        epoch: Option<SystemTime>,
    ) -> Result<Image, Error> {
        let now = epoch.unwrap_or_else(SystemTime::now);
        let image = image.into_image(now)?;
        self.admit(caller, &image).await?;
        let mut tries = Tries::new();
        loop {
            tries.next(|| object(&image.name))?;
            let mut txn = self.inner.begin().await;
            let key = key::of(Kind::Image, &caller.namespace, &image.name);
            let exists = txn.has(&key).await?;
            image.enlist(&mut txn, caller).await?;
            if exists {
                return Err(Error::AlreadyExists {
                    object: object(&image.name),
                });
            }
            let event = Event::ImageCreate {
                name: image.name.clone(),
                labels: image.labels.clone(),
            };
            image.store(&mut txn, caller, key, event).await?;
            if txn.commit().await? {
                return Ok(image);
            }
        }
    }

    /// Changes an image: the fields that `paths` name (`labels`, `labels.<key>`, `target`, `annotations`,
    /// `annotations.<key>`), or everything but its name and time of creation if there are no paths.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Immutable`], and those of [`create_image`](Self::create_image).
    pub async fn update_image(
        &self,
        caller: &Caller,
        image: NewImage,
        paths: &[String],
        epoch: Option<SystemTime>,
    ) -> Result<Image, Error> {
        image.check_name()?;
        let mut admitted = None;
        let mut tries = Tries::new();
        loop {
            tries.next(|| object(&image.name))?;
            let mut txn = self.inner.begin().await;
            let key = key::of(Kind::Image, &caller.namespace, &image.name);
            let Some(record) = txn.get::<ImageRecord>(&key).await? else {
                return Err(Error::NotFound {
                    object: object(&image.name),
                });
            };
            let mut updated = Image::read(&image.name, record);
            let mut dropped = updated.keeps(&caller.namespace);
            updated.change(&image, paths)?;
            if self.inner.asks() && admitted.as_ref() != Some(&updated) {
                // No transaction waits for a plugin; if the image changes meanwhile, it is asked again.
                drop(txn);
                self.admit(caller, &updated).await?;
                admitted = Some(updated);
                continue;
            }
            updated.updated = epoch.unwrap_or_else(SystemTime::now);
            updated.enlist(&mut txn, caller).await?;
            let event = Event::ImageUpdate {
                name: updated.name.clone(),
                labels: updated.labels.clone(),
            };
            updated.store(&mut txn, caller, key, event).await?;
            if txn.commit().await? {
                let kept = updated.keeps(&caller.namespace);
                dropped.retain(|node| !kept.contains(node));
                self.inner.try_end_grace(&caller.namespace, dropped).await;
                return Ok(updated);
            }
        }
    }

    /// Deletes an image, if it has this target when one is given. Its content is the collector's.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn delete_image(&self, caller: &Caller, name: &str, target: Option<&str>) -> Result<(), Error> {
        let mut tries = Tries::new();
        loop {
            tries.next(|| object(name))?;
            let mut txn = self.inner.begin().await;
            let key = key::of(Kind::Image, &caller.namespace, name);
            let Some(record) = txn.get::<ImageRecord>(&key).await? else {
                return Err(Error::NotFound { object: object(name) });
            };
            if let Some(target) = target.filter(|target| !target.is_empty() && *target != record.digest) {
                return Err(Error::NotFound {
                    object: format!("{} has target {}, not {target}", object(name), record.digest),
                });
            }
            lease_remove(&mut txn, caller, leases::IMAGES, name);
            txn.delete(key);
            txn.removes();
            let image = Image::read(name, record);
            let dropped = image.keeps(&caller.namespace);
            let event = Event::ImageDelete { name: image.name };
            txn.publish(Envelope::now(&caller.namespace, event));
            if txn.commit().await? {
                self.inner.try_end_grace(&caller.namespace, dropped).await;
                return Ok(());
            }
        }
    }
}

impl Image {
    /// Adds an image that expires to the caller's lease.
    async fn enlist(&self, txn: &mut Txn<'_>, caller: &Caller) -> Result<(), Error> {
        // Its lease keeps an image that expires.
        if self.labels.contains_key(gc::labels::EXPIRE) {
            lease_add(txn, caller, leases::IMAGES, &self.name).await?;
        }
        Ok(())
    }

    async fn store(&self, txn: &mut Txn<'_>, caller: &Caller, key: Bytes, event: Event) -> Result<(), Error> {
        let namespace = &caller.namespace;
        txn.enter(namespace).await?;
        txn.put(key, &self.record());
        txn.touch(Node::Image(namespace.clone(), self.name.clone()));
        self.keeps(namespace).into_iter().for_each(|node| txn.touch(node));
        txn.publish(Envelope::now(namespace, event));
        Ok(())
    }

    /// What the collector keeps because of this image.
    fn keeps(&self, namespace: &Namespace) -> Vec<Node> {
        let mut nodes = gc::labels::references(namespace, &self.labels);
        let target = names::digest(&self.target.digest).ok();
        nodes.extend(target.map(|target| Node::Content(namespace.clone(), target)));
        nodes
    }

    fn read(name: &str, record: ImageRecord) -> Image {
        Image {
            name: name.to_owned(),
            labels: record.labels,
            target: Target {
                media_type: record.media_type,
                digest: record.digest,
                size: i64::try_from(record.size).unwrap_or(i64::MAX),
                annotations: record.annotations,
            },
            created: time(record.created),
            updated: time(record.updated),
        }
    }

    fn record(&self) -> ImageRecord {
        ImageRecord {
            labels: self.labels.clone(),
            media_type: self.target.media_type.clone(),
            digest: self.target.digest.clone(),
            size: u64::try_from(self.target.size).unwrap_or_default(),
            annotations: self.target.annotations.clone(),
            created: Some(Time::from(self.created)),
            updated: Some(Time::from(self.updated)),
        }
    }
}

fn object(name: &str) -> String {
    format!("image {name:?}")
}
