//! What can be wrong with an image on disk. Text that comes out of the image is quoted and escaped.

use std::fmt;
use std::io;
use std::path::PathBuf;

use transom_oci::{Digest, Platform};

use crate::limits::CHOICES_SHOWN_MAX;

/// Why an image could not be found, read or chosen.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The image argument cannot be taken apart.
    #[error("invalid image reference {text:?}: {reason}")]
    Reference {
        /// What was given.
        text: String,
        /// What is wrong with it, and what to write.
        reason: String,
    },
    /// A transport that names a place other than a disk.
    #[error(
        "transport {name:?} is not supported: copy the image to disk first, such as with `skopeo copy {name}:… oci:FOLDER`"
    )]
    Transport {
        /// The word before the colon.
        name: String,
    },
    /// Nothing is there.
    #[error("no image at {}: no such file or folder", path.display())]
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The temporary copy of a stream or compressed archive could not be written.
    #[error("cannot spool the image into {}: make room there or choose another temporary folder", folder.display())]
    Spool {
        /// The temporary folder.
        folder: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The temporary copy outgrew its limit.
    #[error(
        "{origin} is larger than {limit} bytes once decompressed: if that is right, unpack the archive to disk first"
    )]
    SpoolLimit {
        /// The archive.
        origin: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The compression around the archive is damaged.
    #[error("{origin} is damaged: its {compression} stream cannot be decompressed; fetch it again")]
    Decompress {
        /// The archive.
        origin: String,
        /// `gzip` or `zstd`.
        compression: &'static str,
        /// What the decompressor said.
        #[source]
        source: io::Error,
    },
    /// The caller asked to stop.
    #[error("stopped while reading the image")]
    Cancelled,
    /// It is there, but it is no image, or not the kind that was asked for.
    #[error("{origin} is not an image: {reason}")]
    NotAnImage {
        /// The path.
        origin: String,
        /// What was found, and what to do.
        reason: String,
    },
    /// The archive's tar structure is damaged.
    #[error("{origin} is not a valid tar archive at byte {offset}: {problem}")]
    Archive {
        /// The archive.
        origin: String,
        /// Where the header stands.
        offset: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// The archive ends inside a member.
    #[error("{origin} is cut off inside member {member:?}: fetch or save it again")]
    ArchiveTruncated {
        /// The archive.
        origin: String,
        /// The member whose data is missing.
        member: String,
    },
    /// The archive has more of something than allowed.
    #[error("{origin} has too many {what}: the limit is {limit}")]
    ArchiveLimit {
        /// The archive.
        origin: String,
        /// Members, or bytes of names.
        what: &'static str,
        /// How many are allowed.
        limit: u64,
    },
    /// A link inside the archive leads out of it, in a circle or to nothing.
    #[error("link {member:?} in {origin} {problem}")]
    ArchiveLink {
        /// The archive.
        origin: String,
        /// The name that was looked up.
        member: String,
        /// Where it leads.
        problem: &'static str,
    },
    /// A file that the listing names is not there.
    #[error("{origin} has no member {member:?}, which its manifest names: save the image again")]
    MissingMember {
        /// The source.
        origin: String,
        /// Its name in the source.
        member: String,
    },
    /// A path in a layout folder leads out of the folder.
    #[error("{} leads out of the layout folder: copy the layout with `cp -rL` if its links can be trusted", path.display())]
    OutsideLayout {
        /// The path.
        path: PathBuf,
    },
    /// A folder, device or pipe stands where a file should be.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A blob is not there.
    #[error("blob {digest} ({media_type:?}) is missing from {origin}: {advice}")]
    MissingBlob {
        /// The blob.
        digest: Digest,
        /// What it should be.
        media_type: String,
        /// The source.
        origin: String,
        /// Where to get it.
        advice: &'static str,
    },
    /// A blob is longer or shorter than its descriptor says.
    #[error(
        "blob {digest} in {origin} has {actual} bytes where its descriptor says {expected}: copy the image again"
    )]
    WrongSize {
        /// The blob.
        digest: Digest,
        /// The source.
        origin: String,
        /// Bytes according to the descriptor.
        expected: u64,
        /// Bytes there are.
        actual: u64,
    },
    /// A document's bytes do not have the digest under which it is stored.
    #[error("blob {digest} in {origin} is damaged, its bytes have {actual}: copy the image again")]
    WrongDigest {
        /// The digest it should have.
        digest: Digest,
        /// The source.
        origin: String,
        /// The digest it has.
        actual: Digest,
    },
    /// A document is larger than anyone needs.
    #[error("{document} has {size} bytes: the limit is {limit}")]
    TooLarge {
        /// Which document.
        document: String,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A document is not the JSON that it should be.
    #[error("{document} is not valid: it must be JSON as the image specification has it")]
    NotJson {
        /// Which document.
        document: String,
        /// The parser's words.
        #[source]
        source: serde_json::Error,
    },
    /// A Docker schema 1 manifest.
    #[error(
        "{document} is a Docker schema 1 manifest, which is no longer supported: convert it with `skopeo copy --format v2s2`"
    )]
    Schema1 {
        /// Which document.
        document: String,
    },
    /// A schema version that nobody has defined.
    #[error("{document} has schema version {version}: only version 2 is supported")]
    SchemaVersion {
        /// Which document.
        document: String,
        /// What it says.
        version: u64,
    },
    /// A document contradicts its media type, so that two programs might read two images from it.
    #[error("{document} is refused: {problem}")]
    Contradiction {
        /// Which document.
        document: String,
        /// What does not fit.
        problem: String,
    },
    /// Manifest and configuration do not agree on the number of layers.
    #[error(
        "{document} has {layers} layers and its configuration {diff_ids} diffIDs: the image is broken, build it again"
    )]
    LayerCount {
        /// Which manifest.
        document: String,
        /// Layers in the manifest.
        layers: usize,
        /// diffIDs in the configuration.
        diff_ids: usize,
    },
    /// More layers than any image has.
    #[error("{document} has {layers} layers: the limit is {limit}")]
    TooManyLayers {
        /// Which manifest.
        document: String,
        /// Layers it has.
        layers: usize,
        /// Layers it may have.
        limit: usize,
    },
    /// Indexes are nested too deep, or list too much.
    #[error("the indexes of {origin} {problem}")]
    IndexLimit {
        /// The source.
        origin: String,
        /// Which limit they passed.
        problem: String,
    },
    /// The source holds no image at all.
    #[error("{origin} holds no image: its index lists nothing that can be unpacked")]
    Empty {
        /// The source.
        origin: String,
    },
    /// No image has the name or digest that was asked for.
    #[error("{origin} has no image {wanted}: it has {}", list(available))]
    NoSuchImage {
        /// The source.
        origin: String,
        /// The name or digest.
        wanted: String,
        /// What there is.
        available: Vec<Choice>,
    },
    /// No image is for the platform that was asked for.
    #[error("{origin} has no image for {wanted}: it has {}", list(available))]
    NoSuchPlatform {
        /// The source.
        origin: String,
        /// The platform.
        wanted: Box<Platform>,
        /// What there is.
        available: Vec<Choice>,
        /// Why some of the source could not be looked through.
        #[source]
        unreadable: Option<Box<ImageError>>,
    },
    /// More than one image answers.
    #[error(
        "{origin} has more than one such image, name one by `:tag`, `@digest` or platform: {}",
        list(choices)
    )]
    Ambiguous {
        /// The source.
        origin: String,
        /// The images that answer.
        choices: Vec<Choice>,
    },
    /// What was chosen is not an image that can be unpacked.
    #[error("{digest} in {origin} is not an image but an artifact of type {artifact_type:?}")]
    Artifact {
        /// The source.
        origin: String,
        /// The manifest.
        digest: Digest,
        /// Its artifact type or the media type of its configuration.
        artifact_type: String,
    },
}

/// An image that could have been meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its names.
    pub names: Vec<String>,
    /// The digest of its manifest; of its configuration in docker archives.
    pub digest: Digest,
    /// Its platform, when known.
    pub platform: Option<Platform>,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in &self.names {
            write!(f, "{} ", name.escape_debug())?;
        }
        write!(f, "@{}", self.digest)?;
        let Some(platform) = &self.platform else {
            return Ok(());
        };
        write!(f, " ({}", platform.to_string().escape_debug())?;
        if let Some(version) = &platform.os_version {
            write!(f, " {}", version.escape_debug())?;
        }
        f.write_str(")")
    }
}

fn list(choices: &[Choice]) -> String {
    if choices.is_empty() {
        return "none".into();
    }
    let mut shown: Vec<String> = choices
        .iter()
        .take(CHOICES_SHOWN_MAX)
        .map(Choice::to_string)
        .collect();
    if choices.len() > shown.len() {
        shown.push(format!("and {} more", choices.len() - shown.len()));
    }
    shown.join(", ")
}
