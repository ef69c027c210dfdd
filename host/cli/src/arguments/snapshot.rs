//! Snapshots, images in and out of them, and what changed between them.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use transom_oci::Platform;

/// Which snapshotter keeps the snapshots.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Keeper {
    /// The snapshotter [default: $CONTAINERD_SNAPSHOTTER, the namespace's, or overlayfs]
    #[arg(long, value_name = "NAME")]
    pub(crate) snapshotter: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Snapshots {
    #[command(flatten)]
    pub(crate) keeper: Keeper,
    #[command(subcommand)]
    pub(crate) command: Snapshot,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Snapshot {
    /// List snapshots.
    #[command(visible_alias = "list")]
    Ls(SnapshotList),
    /// Show which snapshots stand on which.
    Tree,
    /// Show what is recorded of a snapshot.
    Info {
        /// The snapshot.
        #[arg(value_name = "KEY")]
        key: String,
    },
    /// Show what snapshots take on disk, without those that they stand on.
    Usage {
        /// The snapshots [default: all]
        #[arg(value_name = "KEY")]
        keys: Vec<String>,
    },
    /// Make an active snapshot, which can be written to and committed.
    Prepare(SnapshotMake),
    /// Make a view of a committed snapshot, which can only be read.
    View(SnapshotMake),
    /// Turn an active snapshot into a committed one.
    Commit {
        /// What it is called from then on.
        #[arg(value_name = "NAME")]
        name: String,
        /// The active snapshot.
        #[arg(value_name = "KEY")]
        key: String,
    },
    /// Show the mounts of a view or an active snapshot; with a folder, as commands that mount them there.
    Mounts {
        /// The snapshot.
        #[arg(value_name = "KEY")]
        key: String,
        /// Where they would be mounted.
        #[arg(value_name = "DIR")]
        target: Option<PathBuf>,
    },
    /// Set labels of a snapshot, or show them.
    Label {
        /// The snapshot.
        #[arg(value_name = "KEY")]
        key: String,
        /// Labels to set; one without a value is removed.
        #[arg(value_name = "KEY=VALUE")]
        labels: Vec<String>,
    },
    /// Remove snapshots that no other stands on.
    #[command(visible_aliases = ["delete", "del", "remove"])]
    Rm {
        /// The snapshots.
        #[arg(value_name = "KEY", required = true)]
        keys: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SnapshotList {
    /// Only the keys.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Only snapshots that one of these matches, such as kind==active or parent==sha256:….
    #[arg(value_name = "FILTER")]
    pub(crate) filters: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SnapshotMake {
    /// Mount it on this folder, which must be there.
    #[arg(short, long, value_name = "DIR")]
    pub(crate) target: Option<PathBuf>,
    /// Set a label.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) label: Vec<String>,
    /// What it is called.
    #[arg(value_name = "KEY")]
    pub(crate) key: String,
    /// The committed snapshot that it stands on [default: none]
    #[arg(value_name = "PARENT")]
    pub(crate) parent: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Diff {
    #[command(flatten)]
    pub(crate) keeper: Keeper,
    /// The media type of the layer: a tar of its own, or compressed by gzip or zstd.
    #[arg(
        long,
        value_name = "TYPE",
        default_value = "application/vnd.oci.image.layer.v1.tar+gzip"
    )]
    pub(crate) media_type: String,
    /// Keep the layer in the content store, and write its digest instead of its bytes.
    #[arg(long)]
    pub(crate) keep: bool,
    /// The snapshot with the changes; without B what it stands on is compared with it.
    #[arg(value_name = "A")]
    pub(crate) first: String,
    /// A second snapshot: the changes from A to B.
    #[arg(value_name = "B")]
    pub(crate) second: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ImageImport {
    #[command(flatten)]
    pub(crate) keeper: Keeper,
    /// Names for images that the archive only tags: NAME:TAG [default: import-YYYY-MM-DD]
    #[arg(long, value_name = "NAME")]
    pub(crate) base_name: Option<String>,
    /// Also a name by digest for each image: NAME@sha256:…
    #[arg(long)]
    pub(crate) digests: bool,
    /// A name for the archive's index as a whole.
    #[arg(long, value_name = "NAME")]
    pub(crate) index_name: Option<String>,
    /// Keep all platforms, not only this machine's.
    #[arg(long)]
    pub(crate) all_platforms: bool,
    /// The platform to keep and to unpack [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", conflicts_with = "all_platforms")]
    pub(crate) platform: Option<Platform>,
    /// Do not unpack into snapshots.
    #[arg(long)]
    pub(crate) no_unpack: bool,
    /// Compress layers that are not.
    #[arg(long)]
    pub(crate) compress_blobs: bool,
    /// An OCI or `docker save` archive, compressed or not; - for stdin.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ImageExport {
    /// All platforms that are there, not only this machine's.
    #[arg(long)]
    pub(crate) all_platforms: bool,
    /// Only these platforms.
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", conflicts_with = "all_platforms")]
    pub(crate) platform: Vec<Platform>,
    /// Leave out the manifest.json that Docker reads.
    #[arg(long)]
    pub(crate) skip_manifest_json: bool,
    /// Leave out layers that must not be distributed.
    #[arg(long)]
    pub(crate) skip_non_distributable: bool,
    /// The archive to write, which is replaced; - for stdout.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The images.
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ImageUnpack {
    #[command(flatten)]
    pub(crate) keeper: Keeper,
    /// The platform [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<Platform>,
    /// The image.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct ImageMount {
    #[command(flatten)]
    pub(crate) keeper: Keeper,
    /// The platform [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<Platform>,
    /// Mount it so that it can be written to; what is written stays in a snapshot that has the folder's name.
    #[arg(long)]
    pub(crate) rw: bool,
    /// The image.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The folder to mount it on.
    #[arg(value_name = "DIR")]
    pub(crate) target: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ImageUnmount {
    #[command(flatten)]
    pub(crate) keeper: Keeper,
    /// Remove the snapshot too.
    #[arg(long)]
    pub(crate) rm: bool,
    /// The folder that an image is mounted on.
    #[arg(value_name = "DIR")]
    pub(crate) target: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ImageUsage {
    #[command(flatten)]
    pub(crate) keeper: Keeper,
    /// The platform [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<Platform>,
    /// The images.
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,
}
