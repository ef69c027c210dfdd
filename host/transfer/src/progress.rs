//! What a transfer tells of itself while it runs: containerd's events, with the texts that its clients render.

use std::borrow::Cow;

use transom_meta::Labels;
use transom_oci::{Descriptor, media_type};

/// An event of a transfer.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// What happens: one of the constants here, or a text for the whole transfer. Without a `name` it is about that.
    pub event: Cow<'static, str>,
    /// What it happens to: an image's name, or a key made of kind and digest.
    pub name: String,
    /// The names of what lists it.
    pub parents: Vec<String>,
    /// How many bytes of it are done.
    pub progress: u64,
    /// How many bytes it has.
    pub total: u64,
    /// What it is.
    pub descriptor: Option<Descriptor>,
}

/// An import has begun; with [`Progress::progress`], how many bytes of the archive have come.
pub const IMPORTING: &str = "Importing";
/// An image was saved.
pub const SAVED: &str = "saved";
/// An import has come to its good end.
pub const IMPORTED: &str = "Completed import";
/// An export has begun.
pub const EXPORTING: &str = "Exporting";
/// An export has come to its good end.
pub const EXPORTED: &str = "Completed export";
/// The content of an image is being fetched.
pub const FETCHING: &str = "fetching image content";
/// A blob will be moved.
pub const WAITING: &str = "waiting";
/// A blob is on its way in.
pub const DOWNLOADING: &str = "downloading";
/// A blob was where it should be.
pub const EXISTS: &str = "already exists";
/// The content of an image is being sent.
pub const PUSHING: &str = "pushing content";
/// The content of an image was sent.
pub const PUSHED: &str = "pushed content";
/// A blob is on its way out.
pub const UPLOADING: &str = "uploading";
/// A blob is where it should be.
pub const COMPLETE: &str = "complete";
/// A layer is becoming a snapshot.
pub const EXTRACTING: &str = "extracting";
/// A layer is a snapshot.
pub const EXTRACTED: &str = "extracted";

/// Told of everything that happens in a transfer.
pub trait ProgressSink: Send + Sync + 'static {
    /// Takes an event without waiting. It may forget those that only say how far something is: see [`Progress::passing`].
    fn tell(&self, progress: Progress);
}

/// Nobody listens.
impl ProgressSink for () {
    fn tell(&self, _: Progress) {}
}

impl Progress {
    /// An event of the whole transfer.
    #[must_use]
    pub fn of_all(event: impl Into<Cow<'static, str>>) -> Progress {
        Progress {
            event: event.into(),
            name: String::new(),
            parents: Vec::new(),
            progress: 0,
            total: 0,
            descriptor: None,
        }
    }

    /// An event of a blob of which `done` bytes are done.
    #[must_use]
    pub fn of_blob(event: &'static str, descriptor: &Descriptor, parents: &[String], done: u64) -> Progress {
        Progress {
            event: Cow::Borrowed(event),
            name: key(descriptor),
            parents: parents.to_vec(),
            progress: done,
            total: descriptor.size,
            descriptor: Some(descriptor.clone()),
        }
    }

    /// An image that was saved.
    #[must_use]
    pub fn of_image(name: &str, target: &Descriptor) -> Progress {
        Progress {
            name: name.to_owned(),
            descriptor: Some(target.clone()),
            ..Progress::of_all(SAVED)
        }
    }

    /// Whether a later event of the same thing makes this one worthless.
    #[must_use]
    pub fn passing(&self) -> bool {
        matches!(&*self.event, DOWNLOADING | UPLOADING | EXTRACTING)
            || self.event == IMPORTING && self.progress > 0
    }
}

/// The name of a blob in events; containerd's `MakeRefKey`.
#[must_use]
pub fn key(descriptor: &Descriptor) -> String {
    let kind = descriptor.media_type.as_str();
    let prefix = if media_type::is_manifest(kind) {
        "manifest"
    } else if media_type::is_index(kind) {
        "index"
    } else if media_type::is_layer(kind) {
        "layer"
    } else if media_type::is_known_config(kind) {
        "config"
    } else if kind == "application/vnd.in-toto+json" {
        "attestation"
    } else {
        "unknown"
    };
    let digest = &descriptor.digest;
    match name(&descriptor.annotations) {
        Some(name) => format!("{prefix}-{name}@{digest}"),
        None => format!("{prefix}-{digest}"),
    }
}

fn name(annotations: &Labels) -> Option<&str> {
    annotations.get(crate::reference::REF_NAME).map(String::as_str)
}
