//! `transom content`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use transom_oci::Digest;

use super::pull::ContentFetch;
use super::registry::{FetchObject, PushObject};

#[derive(Debug, Subcommand)]
pub(crate) enum Content {
    /// Store a blob under its digest, from a file or stdin. What was interrupted goes on where it stopped.
    Ingest(Ingest),
    /// Write a blob to stdout.
    Get(Get),
    /// List blobs.
    #[command(visible_alias = "list")]
    Ls(List),
    /// List ingests that were begun and not finished.
    Active(Active),
    /// Set labels of a blob, or show them.
    Label(Label),
    /// Edit a blob with $VISUAL or $EDITOR, and store the result as a new one with the same labels.
    Edit(Edit),
    /// Remove blobs. A daemon removes the bytes when no namespace has the blob any more.
    #[command(visible_aliases = ["delete", "del", "remove"])]
    Rm(Remove),
    /// Give up an ingest and remove what it had stored.
    Abort(Abort),
    /// Take away what keeps blobs from being collected.
    #[command(subcommand)]
    Prune(Prune),
    /// Fetch all blobs of an image from a registry into a daemon, without unpacking them.
    Fetch(Box<ContentFetch>),
    /// Write a manifest or blob of a registry to stdout, checked.
    FetchObject(FetchObject),
    /// Bring a blob or manifest to a registry.
    PushObject(PushObject),
}

#[derive(Debug, Args)]
pub(crate) struct Ingest {
    /// A name for this ingest, under which it can be resumed.
    #[arg(value_name = "REF")]
    pub(crate) reference: String,
    /// What to store; it must begin with the same bytes when an ingest is resumed.
    #[arg(value_name = "FILE", default_value = "-")]
    pub(crate) file: PathBuf,
    /// The bytes it must have; with fewer, the ingest is kept to be resumed.
    #[arg(long, value_name = "BYTES")]
    pub(crate) expected_size: Option<u64>,
    /// The digest it must have (sha256, sha384 or sha512).
    #[arg(long, value_name = "DIGEST")]
    pub(crate) expected_digest: Option<Digest>,
    /// The lease that keeps the blob [default: a new one of 24 hours]
    #[arg(long, value_name = "ID")]
    pub(crate) lease: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The blob.
    #[arg(value_name = "DIGEST")]
    pub(crate) digest: Digest,
    /// Hash the bytes while they are read, and fail if they are not the digest's.
    #[arg(long)]
    pub(crate) verify: bool,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only the digests.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Read and hash every blob, and fail naming the first bad one.
    #[arg(long)]
    pub(crate) verify: bool,
    /// Only blobs that one of these matches, such as labels.a==b.
    #[arg(value_name = "FILTER")]
    pub(crate) filters: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Active {
    /// Only those whose REF contains this, or that a filter such as ref~=^layer- matches.
    #[arg(value_name = "TEXT|FILTER")]
    pub(crate) filter: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Label {
    /// The blob.
    #[arg(value_name = "DIGEST")]
    pub(crate) digest: Digest,
    /// Labels to set; one without a value is removed. Without any, the labels are shown.
    #[arg(value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Edit {
    /// The blob.
    #[arg(value_name = "DIGEST")]
    pub(crate) digest: Digest,
    /// The program to edit with, in place of $VISUAL or $EDITOR.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) editor: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The blobs.
    #[arg(value_name = "DIGEST", required = true)]
    pub(crate) digests: Vec<Digest>,
}

#[derive(Debug, Args)]
pub(crate) struct Abort {
    /// The ingest.
    #[arg(value_name = "REF")]
    pub(crate) reference: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Prune {
    /// Remove the labels by which manifests keep their layers, and collect what nothing else keeps.
    /// Unpacked images go on working.
    References(References),
}

#[derive(Debug, Args)]
pub(crate) struct References {
    /// Only show which labels would be removed.
    #[arg(long)]
    pub(crate) dry: bool,
    /// Do not wait until the blobs are collected.
    #[arg(long = "async")]
    pub(crate) later: bool,
}
