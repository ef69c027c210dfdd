//! What policies see of an image, or of whatever else has a manifest.

use std::borrow::Cow;

use crate::Labels;
use crate::filter::{Facts, Fields, label};

/// What is known of something that is to be let in.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    /// `image`; at a push also `index` and `artifact`.
    pub kind: &'static str,
    /// The name that it would have.
    pub name: String,
    /// The digest of its manifest or index.
    pub digest: String,
    /// The media type of that document.
    pub media_type: String,
    /// Bytes of that document.
    pub size: u64,
    /// Those of the documents.
    pub annotations: Labels,
    /// Those in the image's configuration, and perhaps those of a record.
    pub labels: Labels,
    /// Such as `linux/arm/v7`, if that is known.
    pub platform: Option<String>,
}

impl Fields for Judged {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match path {
            ["name", ..] => Some(Cow::Borrowed(&self.name)),
            ["digest", ..] => Some(Cow::Borrowed(&self.digest)),
            ["labels", key @ ..] => label(&self.labels, key),
            ["annotations", key @ ..] => label(&self.annotations, key),
            _ => None,
        }
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            kind: self.kind,
            name: Some(Cow::Borrowed(&self.name)),
            digest: Some(Cow::Borrowed(&self.digest)),
            media_type: Some(Cow::Borrowed(&self.media_type)),
            size: Some(self.size),
            labels: Some(&self.labels),
            annotations: Some(&self.annotations),
            platform: self.platform.as_deref().map(Cow::Borrowed),
            ..Facts::default()
        }
    }
}
