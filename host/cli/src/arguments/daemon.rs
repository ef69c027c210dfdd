//! The nouns of a daemon other than content, and what is made from the definitions themselves.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use clap_complete::Shell;

use super::pull::{ImagePull, ImagePush};
use super::registry::ImageCopy;
use super::snapshot::{ImageExport, ImageImport, ImageMount, ImageUnmount, ImageUnpack, ImageUsage};

#[derive(Debug, Subcommand)]
pub(crate) enum Image {
    /// List images, with the size of what they need on this machine.
    #[command(visible_alias = "list")]
    Ls(ImageList),
    /// Show what is recorded of an image.
    Get(ImageName),
    /// Show the tree of blobs that an image is made of.
    Inspect(ImageName),
    /// Tell whether all blobs of images are there, platform by platform, and whether they are unpacked.
    Check(ImageCheck),
    /// Fetch an image from a registry, and unpack it while it comes.
    Pull(Box<ImagePull>),
    /// Send an image to a registry.
    Push(Box<ImagePush>),
    /// Read images from an archive, and unpack them.
    Import(ImageImport),
    /// Write images to an archive.
    Export(ImageExport),
    /// Copy an image between registries, folders and archives, without a daemon.
    Copy(Box<ImageCopy>),
    /// Unpack an image into snapshots.
    Unpack(ImageUnpack),
    /// Mount an image on a folder, unpacking it first if need be.
    Mount(ImageMount),
    /// Unmount what was mounted on a folder.
    #[command(visible_alias = "umount")]
    Unmount(ImageUnmount),
    /// Show what images take on disk, as blobs and as snapshots.
    Usage(ImageUsage),
    /// Set labels of an image, or show them.
    Label(ImageLabel),
    /// Give an image further names.
    Tag(ImageTag),
    /// Remove images. Their blobs are collected when nothing else keeps them.
    #[command(visible_aliases = ["delete", "del", "remove"])]
    Rm(ImageRemove),
}

#[derive(Debug, Args)]
pub(crate) struct ImageName {
    /// The image.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct ImageList {
    /// Only the names.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Only images that one of these matches, such as name~=busybox.
    #[arg(value_name = "FILTER")]
    pub(crate) filters: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ImageCheck {
    /// Only the names of images of which a platform is complete.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// The snapshotter to ask whether the image is unpacked [default: the namespace's, or overlayfs]
    #[arg(long, value_name = "NAME")]
    pub(crate) snapshotter: Option<String>,
    /// Only images that one of these matches, such as name~=busybox.
    #[arg(value_name = "FILTER")]
    pub(crate) filters: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ImageLabel {
    /// Remove all labels that are not given.
    #[arg(short, long)]
    pub(crate) replace_all: bool,
    /// The image.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Labels to set; one without a value is removed. Without any, the labels are shown.
    #[arg(value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ImageTag {
    /// Take over a name that another image has.
    #[arg(long)]
    pub(crate) force: bool,
    /// The image.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Its further names.
    #[arg(value_name = "NEW_NAME", required = true)]
    pub(crate) new_names: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ImageRemove {
    /// Wait until what only these images kept is collected.
    #[arg(long)]
    pub(crate) sync: bool,
    /// The images.
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Lease {
    /// List leases.
    #[command(visible_alias = "list")]
    Ls(LeaseList),
    /// Make a lease, and write its id to stdout.
    Create(LeaseCreate),
    /// Remove leases. What only they kept is collected.
    #[command(visible_aliases = ["delete", "del", "remove"])]
    Rm(LeaseRemove),
    /// Work on what a lease keeps.
    #[command(subcommand, visible_alias = "resource")]
    Resources(LeaseResources),
}

#[derive(Debug, Args)]
pub(crate) struct LeaseList {
    /// Only the ids.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Only leases that one of these matches, such as id==a.
    #[arg(value_name = "FILTER")]
    pub(crate) filters: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct LeaseCreate {
    /// Its id [default: the daemon makes one up]
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// When it ends by itself, such as 90m or 24h; 0 for never.
    #[arg(short = 'x', long, value_name = "DURATION", default_value = "24h", value_parser = crate::show::parse_duration)]
    pub(crate) expires: Duration,
    /// Its labels.
    #[arg(value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct LeaseRemove {
    /// Wait until what only these leases kept is collected.
    #[arg(long)]
    pub(crate) sync: bool,
    /// The leases.
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LeaseResources {
    /// List what a lease keeps.
    #[command(visible_alias = "list")]
    Ls {
        /// The lease.
        #[arg(value_name = "LEASE")]
        lease: String,
    },
    /// Let a lease keep something, which need not be there yet.
    Add(LeaseResource),
    /// Let a lease no longer keep something.
    #[command(visible_aliases = ["delete", "del", "remove"])]
    Rm(LeaseResource),
}

#[derive(Debug, Args)]
pub(crate) struct LeaseResource {
    /// The lease.
    #[arg(value_name = "LEASE")]
    pub(crate) lease: String,
    /// content, ingests, images or snapshots/SNAPSHOTTER.
    #[arg(value_name = "TYPE")]
    pub(crate) kind: String,
    /// A digest, the REF of an ingest, or a name.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Namespace {
    /// List namespaces.
    #[command(visible_alias = "list")]
    Ls(NamespaceList),
    /// Make a namespace. One also comes to be when something is stored in it.
    Create(NamespaceLabels),
    /// Set labels of a namespace, or show them.
    Label(NamespaceLabels),
    /// Remove namespaces, which must be empty.
    #[command(visible_aliases = ["delete", "del", "remove"])]
    Rm(Names),
}

#[derive(Debug, Args)]
pub(crate) struct NamespaceList {
    /// Only the names.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct NamespaceLabels {
    /// The namespace.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Its labels; one without a value is removed.
    #[arg(value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Names {
    /// The namespaces.
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Only events that one of these matches, such as topic~=^/images/ or event.name==a.
    #[arg(value_name = "FILTER")]
    pub(crate) filters: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Gc {
    /// Collect garbage now, and wait until it is done.
    Run,
    /// Show when garbage is collected, and what was.
    Status,
}

#[derive(Debug, Args)]
pub(crate) struct PluginList {
    /// Only the ids.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Everything that the daemon says of each.
    #[arg(short, long)]
    pub(crate) detailed: bool,
    /// Only parts that one of these matches, such as type==io.containerd.content.v1.
    #[arg(value_name = "FILTER")]
    pub(crate) filters: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Completion {
    /// The shell.
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
}

#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The folder, which must be there.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
}
