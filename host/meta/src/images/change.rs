//! What an image may be, and how an update changes it.

use std::time::SystemTime;

use super::{Image, NewImage, Target, object};
use crate::Error;
use crate::names::{self, Labels};

impl NewImage {
    pub(super) fn check_name(&self) -> Result<(), Error> {
        if self.name.is_empty() {
            return invalid("Image.Name required".to_owned());
        }
        names::length("image name", &self.name)
    }

    /// The image that this makes.
    pub(super) fn into_image(self, now: SystemTime) -> Result<Image, Error> {
        self.check_name()?;
        let mut image = Image {
            name: self.name,
            labels: self.labels,
            target: self.target.unwrap_or_default(),
            created: now,
            updated: now,
        };
        image.settle()?;
        Ok(image)
    }
}

impl Image {
    /// Sets the fields that `paths` name to those of `new`, or all.
    pub(super) fn change(&mut self, new: &NewImage, paths: &[String]) -> Result<(), Error> {
        let nothing = Labels::new();
        let annotations = new.target.as_ref().map_or(&nothing, |target| &target.annotations);
        if paths.is_empty() {
            self.labels = new.labels.clone();
            self.target = new.target.clone().unwrap_or_default();
        }
        for path in paths {
            match path.split_once('.') {
                Some(("labels", key)) => copy(&mut self.labels, &new.labels, key),
                Some(("annotations", key)) => copy(&mut self.target.annotations, annotations, key),
                None if path == "labels" => self.labels = new.labels.clone(),
                None if path == "target" => self.target = new.target.clone().unwrap_or_default(),
                None if path == "annotations" => self.target.annotations = annotations.clone(),
                _ => {
                    return Err(Error::Immutable {
                        field: path.clone(),
                        object: object(&self.name),
                    });
                }
            }
        }
        self.settle()
    }

    /// Checks it, and drops what is not stored.
    fn settle(&mut self) -> Result<(), Error> {
        names::labels("image.Labels", &self.labels)?;
        self.target.check()?;
        self.labels = names::without_empty(std::mem::take(&mut self.labels));
        self.target.annotations = names::without_empty(std::mem::take(&mut self.target.annotations));
        Ok(())
    }
}

impl Target {
    fn check(&self) -> Result<(), Error> {
        if let Err(reason) = names::digest(&self.digest) {
            return invalid(format!("target.Digest {:?} invalid: {reason}", self.digest));
        }
        if self.size <= 0 {
            return invalid("target.Size must be greater than zero".to_owned());
        }
        if self.media_type.is_empty() {
            return invalid("target.MediaType must be set".to_owned());
        }
        Ok(())
    }
}

/// A key that the new ones do not have becomes empty, which removes it in the end.
fn copy(labels: &mut Labels, new: &Labels, key: &str) {
    labels.insert(key.to_owned(), new.get(key).cloned().unwrap_or_default());
}

fn invalid<T>(what: String) -> Result<T, Error> {
    Err(Error::Invalid { what })
}
