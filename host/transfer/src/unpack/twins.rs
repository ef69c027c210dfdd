//! What is known of the images of each namespace, kept from one question to the next.
//!
//! What is behind a digest never changes, so an image is looked at once; again if it names something else, or when a
//! document has come that was not there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use transom_meta::{Caller, Class, Metadata};

use super::leading::{Looked, look};
use super::{UnpackError, Unpackable};

/// The images of all namespaces that were asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Twins {
    namespaces: Arc<Mutex<HashMap<String, Arc<Images>>>>,
}

/// The images of one namespace.
#[derive(Debug, Default)]
pub(super) struct Images {
    generation: u64,
    images: Vec<Known>,
}

/// An image.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// Its name.
    pub(super) name: String,
    /// What is behind it.
    pub(super) looked: Arc<Looked>,
    digest: String,
}

impl Images {
    pub(super) fn iter(&self) -> std::slice::Iter<'_, Known> {
        self.images.iter()
    }

    /// All images of all platforms that everybody can read.
    pub(super) fn plain(&self) -> Vec<&Unpackable> {
        let all = self.images.iter().map(|known| &known.looked.plain);
        all.flatten().collect()
    }
}

impl Twins {
    /// The images of a namespace as they are now. One whose documents are damaged cannot be used, and is left out.
    ///
    /// # Errors
    /// [`UnpackError::Meta`].
    pub(super) async fn of(&self, metadata: &Metadata, caller: &Caller) -> Result<Arc<Images>, UnpackError> {
        let namespace = caller.namespace.to_string();
        let before = self.lock().get(&namespace).cloned();
        // Read before the images: a change while they are read is seen the next time.
        let generation = metadata.images_generation();
        if let Some(before) = &before
            && before.generation == generation
            && !has_any_come(metadata, caller, before).await?
        {
            return Ok(Arc::clone(before));
        }
        let now = listed(metadata, caller, before.as_deref()).await?;
        let now = Arc::new(Images {
            generation,
            images: now,
        });
        self.lock().insert(namespace, Arc::clone(&now));
        Ok(now)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Images>>> {
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All images, those that are known not looked at again.
async fn listed(
    metadata: &Metadata,
    caller: &Caller,
    before: Option<&Images>,
) -> Result<Vec<Known>, UnpackError> {
    let known = before.into_iter().flat_map(Images::iter);
    let known: HashMap<&str, &Known> = known.map(|known| (known.digest.as_str(), known)).collect();
    let all = metadata.images(caller, &[]).await.map_err(Box::new)?;
    let mut images = Vec::with_capacity(all.len());
    for image in all {
        let looked = match known.get(image.target.digest.as_str()) {
            Some(known) if !has_come(metadata, caller, &known.looked).await? => Arc::clone(&known.looked),
            _ => match look(metadata, caller, &image).await {
                Ok(looked) => Arc::new(looked),
                Err(UnpackError::Meta(error)) => return Err(UnpackError::Meta(error)),
                Err(error) => {
                    tracing::debug!(image = image.name, %error, "an image cannot be looked at");
                    continue;
                }
            },
        };
        images.push(Known {
            name: image.name,
            digest: image.target.digest,
            looked,
        });
    }
    Ok(images)
}

async fn has_any_come(metadata: &Metadata, caller: &Caller, images: &Images) -> Result<bool, UnpackError> {
    for known in images.iter() {
        if has_come(metadata, caller, &known.looked).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a document is there that was missing.
async fn has_come(metadata: &Metadata, caller: &Caller, looked: &Looked) -> Result<bool, UnpackError> {
    for missing in &looked.missing {
        match metadata.content_info(caller, missing).await {
            Ok(_) => return Ok(true),
            Err(error) if error.class() == Class::NotFound => {}
            Err(error) => return Err(Box::new(error).into()),
        }
    }
    Ok(false)
}
