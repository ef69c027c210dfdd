//! What a filter sees of an image.

use std::borrow::Cow;

use super::Image;
use crate::filter::{Facts, Fields, label};

impl Fields for Image {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        let value = match path {
            ["name", ..] => &self.name,
            ["target", "digest", ..] => &self.target.digest,
            ["target", "mediatype", ..] => &self.target.media_type,
            ["labels", key @ ..] => return label(&self.labels, key),
            ["annotations", key @ ..] => return label(&self.target.annotations, key),
            _ => return None,
        };
        (!value.is_empty()).then_some(Cow::Borrowed(value))
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            kind: "image",
            name: Some(Cow::Borrowed(&self.name)),
            digest: Some(Cow::Borrowed(&self.target.digest)),
            media_type: Some(Cow::Borrowed(&self.target.media_type)),
            size: u64::try_from(self.target.size).ok(),
            created: Some(self.created),
            updated: Some(self.updated),
            labels: Some(&self.labels),
            annotations: Some(&self.target.annotations),
            platform: None,
        }
    }
}
