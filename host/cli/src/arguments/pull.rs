//! Images between registries and a daemon.

use clap::Args;
use transom_oci::Platform;

use super::Progress;
use super::registry::Registries;
use super::snapshot::Keeper;

#[derive(Debug, Args)]
pub(crate) struct ImagePull {
    #[command(flatten)]
    pub(crate) keeper: Keeper,
    /// The platform to fetch and to unpack [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<Platform>,
    /// Fetch all platforms; unpack the one of --platform.
    #[arg(long)]
    pub(crate) all_platforms: bool,
    /// Do not unpack into snapshots.
    #[arg(long)]
    pub(crate) no_unpack: bool,
    /// A label for the image.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) label: Vec<String>,
    #[command(flatten)]
    pub(crate) fetch: Fetch,
    /// The image, such as docker.io/library/debian:12.
    #[arg(value_name = "NAME[:TAG][@DIGEST]")]
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct ContentFetch {
    /// The platform to fetch [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<Platform>,
    /// Fetch all platforms.
    #[arg(long)]
    pub(crate) all_platforms: bool,
    /// A label for the image.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) label: Vec<String>,
    #[command(flatten)]
    pub(crate) fetch: Fetch,
    /// The image, such as docker.io/library/debian:12.
    #[arg(value_name = "NAME[:TAG][@DIGEST]")]
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct ImagePush {
    /// Only the image for this platform, which gets the name as it is, without an index [default: all that it lists]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<Platform>,
    #[command(flatten)]
    pub(crate) fetch: Fetch,
    /// Where to.
    #[arg(value_name = "NAME[:TAG]")]
    pub(crate) name: String,
    /// The daemon's image [default: the one of the same name]
    #[arg(value_name = "IMAGE")]
    pub(crate) image: Option<String>,
}

/// Who speaks with the registry, and how.
#[derive(Debug, Args)]
pub(crate) struct Fetch {
    /// Speak with the registry from here, and hand the daemon only blobs. This is done by itself with a daemon that cannot
    /// speak with registries, and with --skip-verify.
    #[arg(long)]
    pub(crate) local: bool,
    #[command(flatten)]
    pub(crate) registries: Registries,
    /// What to show while it runs.
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub(crate) progress: Progress,
}
