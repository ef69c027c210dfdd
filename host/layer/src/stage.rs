//! What a stage is: bytes of one media type in, bytes of another out, and what it found on the way.
//!
//! Native decompressors, WASM components and external programs are all [`Stage`]s, opened by [`Handler`]s that say
//! which media types they take. A stage runs on its own thread and reads a plain loop over [`Input`] and [`Output`];
//! back-pressure, limits and cancellation live in those two.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use serde::Serialize;
use transom_oci::{Descriptor, Digest};

use crate::cancel::Cancel;
use crate::pipe::{Input, Output};

/// What a stage is asked to do.
#[derive(Clone, Debug)]
pub struct Job {
    /// The media type of what comes in.
    pub input_media_type: String,
    /// The media type of what must go out.
    pub output_media_type: String,
    /// The layer, with its annotations.
    pub descriptor: Descriptor,
    /// What the client sent along for this handler (a decryption key, say).
    pub payload: Option<Payload>,
    /// The request to stop.
    pub cancel: Cancel,
}

/// A typed message for one handler: containerd's `google.protobuf.Any`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// What the value is.
    pub type_url: String,
    /// The message itself.
    pub value: Bytes,
}

/// How a handler does its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HandlerKind {
    /// In this process.
    Native,
    /// In a WASM component.
    Wasm,
    /// In a program of its own.
    Exec,
}

impl HandlerKind {
    /// Its name, for people.
    pub fn as_str(self) -> &'static str {
        match self {
            HandlerKind::Native => "native",
            HandlerKind::Wasm => "wasm",
            HandlerKind::Exec => "exec",
        }
    }
}

/// Opens stages for the media types it takes. Shared by all jobs.
pub trait Handler: Send + Sync {
    /// Its name: payloads are addressed by it, and reports show it.
    fn name(&self) -> &str;

    /// How it does its work.
    fn kind(&self) -> HandlerKind;

    /// The media type it would put out for this one, or `None` if it does not take it.
    fn offer(&self, media_type: &str) -> Option<String>;

    /// Whether a payload under this id is for it: its name is, and ids under which clients know another program that does the
    /// same.
    fn takes_payload(&self, id: &str) -> bool {
        id == self.name()
    }

    /// A stage for one layer.
    fn open(&self, job: &Job) -> Result<Box<dyn Stage>, StageError>;
}

/// The work on one layer.
pub trait Stage: Send {
    /// Reads all of `input` and writes `output`. The pump says that the output is complete only when this returns
    /// `Ok` with [`Verdict::Continue`]; whatever was written before an error is discarded.
    fn run(self: Box<Self>, input: &mut Input, output: &mut Output) -> Result<Outcome, StageError>;
}

/// What a stage reports when it is through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// What did the work, where the handler has several ways (`gzip`, `zstd`, `none`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Annotations to record for the layer.
    pub annotations: BTreeMap<String, String>,
    /// What it found.
    pub findings: Vec<Finding>,
    /// Documents that it made of the layer, for whoever keeps them with the image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub documents: Vec<Document>,
    /// Bytes of memory that the stage had for itself at most, where the handler knows it.
    #[serde(skip)]
    pub memory: Option<u64>,
    /// Whether the layer may be used.
    pub verdict: Verdict,
}

/// A document that a stage made of a layer, such as a bill of materials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// What it is.
    pub media_type: String,
    /// Said about it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Its length in bytes.
    pub size: u64,
    /// The document itself; a report leaves it out.
    #[serde(skip)]
    pub bytes: Bytes,
}

/// One thing that a stage found in a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Which of the stage's rules it broke.
    pub rule: String,
    /// Where, usually a path and a line.
    pub location: String,
    /// What, for a person.
    pub message: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Look at it.
    Warning,
    /// Do not use the layer without looking.
    Critical,
}

/// Whether a layer may be used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It may.
    #[default]
    Continue,
    /// It may not.
    Refuse {
        /// Why, for a person.
        reason: String,
    },
}

/// Why a stage failed.
///
/// The first three say that someone else did, and carry no news: the pump reports the stage that did.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The stage before this one stopped without completing its output.
    #[error("the stage before failed")]
    Upstream,
    /// The stage after this one stopped reading.
    #[error("the stage after failed")]
    Downstream,
    /// The job was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// The data do not follow their format.
    #[error("corrupt {format} data near input byte {offset}: {reason}")]
    Corrupt {
        /// The format.
        format: &'static str,
        /// Bytes of input consumed when it was noticed.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// A stage put out more than a layer may.
    #[error(
        "the layer's output exceeds the limit of {limit} bytes; if it is meant to be that large, raise the limit (--max-layer-size, or max_layer_size in [diff])"
    )]
    OutputLimit {
        /// Bytes allowed.
        limit: u64,
    },
    /// A stage put out too much for what went in.
    #[error(
        "{output} bytes from a blob of {blob} bytes exceed the ratio of {limit}; if this is no decompression bomb, raise the limit (--max-ratio, or max_ratio in [diff])"
    )]
    RatioLimit {
        /// Output bytes for each byte of the blob allowed.
        limit: u64,
        /// Bytes put out so far.
        output: u64,
        /// Bytes of the blob.
        blob: u64,
    },
    /// An external program could not be started, fed or read.
    #[error("external processor {program}: {source}")]
    Spawn {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// An external program said no.
    #[error("external processor {program} failed ({status}): {stderr}")]
    Program {
        /// The program.
        program: String,
        /// How it ended.
        status: String,
        /// The end of what it wrote to stderr.
        stderr: String,
    },
    /// The blob could not be read.
    #[error("reading the blob: {0}")]
    Read(#[source] io::Error),
    /// The blob is shorter or longer than its descriptor says.
    #[error("blob {digest} has the wrong size: the descriptor says {expected} bytes, there are {actual}{}", if actual > expected { " or more" } else { "" })]
    BlobSize {
        /// The blob.
        digest: Digest,
        /// What the descriptor says.
        expected: u64,
        /// What was read.
        actual: u64,
    },
    /// The blob's bytes are not the ones its digest names.
    #[error("blob {expected} is damaged: its bytes have the digest {actual}; fetch it again")]
    BlobDigest {
        /// What the descriptor says.
        expected: Digest,
        /// What was read.
        actual: Digest,
    },
    /// A plugin failed; the source says which and how.
    #[error(transparent)]
    Plugin(Box<dyn std::error::Error + Send + Sync>),
}

impl StageError {
    /// Whether it only passes on that someone else failed or asked to stop.
    pub fn is_echo(&self) -> bool {
        matches!(
            self,
            StageError::Upstream | StageError::Downstream | StageError::Cancelled
        )
    }

    /// Whether damaged bytes could have caused it, so that a look at the blob's digest explains more.
    pub fn may_be_damage(&self) -> bool {
        matches!(
            self,
            StageError::Corrupt { .. } | StageError::Program { .. } | StageError::Plugin(_)
        )
    }

    /// Finds the stage error that [`Input`] or [`Output`] wrapped into an I/O error for a decoder's sake; other
    /// errors are the decoder's own and mean damaged data.
    pub fn from_decoder(format: &'static str, offset: u64, error: io::Error) -> StageError {
        match error.downcast::<StageError>() {
            Ok(ours) => ours,
            Err(theirs) => StageError::Corrupt {
                format,
                offset,
                reason: theirs.to_string(),
            },
        }
    }
}

impl From<StageError> for io::Error {
    fn from(error: StageError) -> io::Error {
        io::Error::other(error)
    }
}
