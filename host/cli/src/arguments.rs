//! What can be typed. The help texts are these doc comments.

mod content;
mod daemon;
mod distribution;
mod driver;
mod plugin;
mod plugin_state;
mod pull;
mod registry;
mod serve;
mod snapshot;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use transom_oci::Platform;

pub(crate) use content::{Abort, Active, Content, Edit, Get, Ingest, Label, List, Prune, References, Remove};
pub(crate) use daemon::{
    Completion, Events, Gc, Image, ImageCheck, ImageLabel, ImageList, ImageRemove, ImageTag, Lease,
    LeaseCreate, LeaseList, LeaseRemove, LeaseResource, LeaseResources, Man, Names, Namespace,
    NamespaceLabels, NamespaceList, PluginList,
};
pub(crate) use distribution::{
    PluginFolder, PluginInstall, PluginInstalled, PluginNames, PluginPackage, PluginPull, PluginPush,
    PluginSign, PluginVerify, Trusted, Wanted,
};
pub(crate) use driver::{Driver, DriverCheck, DriverList, DriverPlugins};
pub(crate) use plugin::{
    Language, PluginBench, PluginBuild, PluginJob, PluginNew, PluginRun, PluginTest, TemplateKind,
};
pub(crate) use plugin_state::{PluginGrants, PluginStatus};
pub(crate) use pull::{ContentFetch, Fetch, ImagePull, ImagePush};
pub(crate) use registry::{
    FetchObject, ImageCopy, Login, Logout, LsTags, PushObject, Referrers, Registries, Registry,
};
pub(crate) use serve::{
    PolicyCheck, RegistryCheck, RegistryGc, RegistryImport, RegistryPolicy, RegistryReindex, RegistryServe,
};
pub(crate) use snapshot::{
    Diff, ImageExport, ImageImport, ImageMount, ImageUnmount, ImageUnpack, ImageUsage, Snapshot,
    SnapshotList, SnapshotMake, Snapshots,
};

/// Unpack, inspect and store container images, through plugins in a sandbox.
#[derive(Debug, Parser)]
#[command(
    name = "transom",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
pub(crate) struct Arguments {
    /// Write results as JSON, one document each, to stdout; errors too, to stderr.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) place: Place,
    /// How much to log to stderr; plugins log too.
    #[arg(long, global = true, value_name = "LEVEL", default_value = "warn")]
    pub(crate) log_level: LogLevel,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is worked on.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Work on the content store in this folder, without a daemon; for fsck, the daemon's root.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// The daemon's socket, also $TRANSOM_ADDRESS or $CONTAINERD_ADDRESS
    /// [default: /run/transom/transom.sock as root, else below $XDG_RUNTIME_DIR]
    #[arg(short, long, global = true, value_name = "SOCKET")]
    pub(crate) address: Option<PathBuf>,
    /// The namespace to work in, also $CONTAINERD_NAMESPACE [default: default]
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<LogLevel> for tracing::Level {
    fn from(level: LogLevel) -> tracing::Level {
        match level {
            LogLevel::Error => tracing::Level::ERROR,
            LogLevel::Warn => tracing::Level::WARN,
            LogLevel::Info => tracing::Level::INFO,
            LogLevel::Debug => tracing::Level::DEBUG,
            LogLevel::Trace => tracing::Level::TRACE,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Unpack an image into a folder.
    Unpack(Box<Unpack>),
    /// Show what an image is made of, and which stages its layers would pass through.
    Inspect(Inspect),
    /// Work on blobs: a daemon's, or with --root those in a folder.
    #[command(subcommand)]
    Content(Content),
    /// Work on a daemon's images.
    #[command(subcommand, visible_aliases = ["images", "i"])]
    Image(Image),
    /// Work on snapshots, the folders that layers are unpacked into.
    #[command(visible_alias = "snapshots")]
    Snapshot(Snapshots),
    /// Write what changed between two snapshots to stdout, as a layer.
    Diff(Diff),
    /// Work on leases, which keep blobs from being collected.
    #[command(subcommand, visible_alias = "leases")]
    Lease(Lease),
    /// Work on namespaces.
    #[command(subcommand, visible_aliases = ["namespaces", "ns"])]
    Namespace(Namespace),
    /// Show what changes, in all namespaces, until interrupted.
    #[command(visible_alias = "event")]
    Events(Events),
    /// Collect garbage, or show how it is collected.
    #[command(subcommand)]
    Gc(Gc),
    /// Work on plugins.
    #[command(subcommand, visible_alias = "plugins")]
    Plugin(Plugin),
    /// Check whether the records, blobs and snapshots of a daemon's --root fit together, while the daemon does not run.
    Fsck(Fsck),
    /// Work on storage drivers, where a registry keeps its bytes.
    #[command(subcommand, visible_alias = "drivers")]
    Driver(Driver),
    /// Serve a registry, or work on registries.
    #[command(subcommand)]
    Registry(Registry),
    /// Show the versions of this command and of the daemon.
    Version,
    /// Write a completion script for a shell to stdout.
    Completion(Completion),
    /// Write the manual pages into a folder.
    #[command(hide = true)]
    Man(Man),
}

#[derive(Debug, Args)]
pub(crate) struct Fsck {
    /// Hash every blob, too.
    #[arg(long)]
    pub(crate) verify: bool,
    /// Mend what can be mended: damaged blobs are set aside, so that they can be fetched again, and what belongs to nothing
    /// is removed once it is an hour old.
    #[arg(long)]
    pub(crate) repair: bool,
}

const IMAGE_HELP: &str = "An OCI layout folder, an OCI archive or a `docker save` archive, gzip- or zstd-compressed ones too, \
or - for an archive on stdin; then optionally :TAG, :NAME or @DIGEST";

const UNPACK_HELP: &str = "An OCI layout folder, an OCI archive or a `docker save` archive, gzip- or zstd-compressed ones too, \
or - for an archive on stdin; then optionally :TAG, :NAME or @DIGEST. Or docker://NAME[:TAG][@DIGEST], from a registry";

/// Takes `-`, `-:TAG` and `-@DIGEST` for stdin, but nothing else that begins like a flag.
fn image_parser() -> impl TypedValueParser<Value = OsString> {
    OsStringValueParser::new().try_map(|text| match text.as_encoded_bytes() {
        [b'-'] | [b'-', b':' | b'@', ..] => Ok(text),
        [b'-', ..] => Err("there is no such flag; for a file of that name write ./ before it"),
        _ => Ok(text),
    })
}

#[derive(Debug, Args)]
pub(crate) struct Unpack {
    #[arg(help = UNPACK_HELP, value_name = "IMAGE", allow_hyphen_values = true, value_parser = image_parser())]
    pub(crate) image: OsString,
    /// The folder to fill: a new or an empty one. If unpacking fails it is left as it was.
    #[arg(value_name = "DIR")]
    pub(crate) target: PathBuf,
    /// The platform, such as linux/arm64 [default: this machine's, or the only one]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<Platform>,
    #[command(flatten)]
    pub(crate) handlers: Handlers,
    /// Hand a file to a plugin or processor as its payload (a decryption key, say), typed by a URL.
    #[arg(long, value_name = "ID=TYPE_URL=FILE")]
    pub(crate) payload: Vec<String>,
    /// Whose the files become [default: as in the layers when root, else the caller's]
    #[arg(long, value_name = "WHOSE")]
    pub(crate) owner: Option<Owner>,
    /// Refuse a layer that unpacks to more bytes than this (suffixes K, M, G, T) [default: 256G]
    #[arg(long, value_name = "SIZE", value_parser = crate::show::parse_size)]
    pub(crate) max_layer_size: Option<u64>,
    /// Refuse a layer that unpacks to more than 1 GiB and to more than this many times its blob's size [default: 200]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_ratio: Option<u64>,
    /// Refuse a layer with more entries than this [default: 10000000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_entries: Option<u64>,
    /// Write what plugins found out about the layers (a bill of materials, say) into this folder, an OCI layout: as artifacts that
    /// refer to the image. It may be there already.
    #[arg(long, value_name = "DIR")]
    pub(crate) artifacts: Option<PathBuf>,
    /// Leave what a failed unpack made, to look at it.
    #[arg(long)]
    pub(crate) keep_partial: bool,
    #[command(flatten)]
    pub(crate) registries: Registries,
    /// What to show while it runs.
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub(crate) progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Owner {
    /// The numbers in the layers.
    Keep,
    /// The caller's; devices are left out.
    Mine,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Progress {
    /// Bars on a terminal, nothing elsewhere.
    Auto,
    /// Bars on stderr, wherever it leads.
    Bar,
    /// Nothing.
    None,
}

#[derive(Debug, Default, Args)]
pub(crate) struct Handlers {
    /// Load a plugin: a component, a folder with a plugin.toml, or an installed one by its name. Later ones are asked first.
    #[arg(long, value_name = "FILE.wasm|DIR|NAME[@DIGEST]")]
    pub(crate) plugin: Vec<PathBuf>,
    /// Where plugins are installed [default: /var/lib/transom/plugins as root, else below $XDG_DATA_HOME]
    #[arg(long, value_name = "DIR")]
    pub(crate) plugins: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) trust: Trusted,
    /// Set a plugin's configuration key; the value is a TOML value or a plain text.
    #[arg(long, value_name = "NAME.KEY=VALUE")]
    pub(crate) plugin_config: Vec<String>,
    /// Let plugins that decrypt (ocicrypt) use a private key: a file with one, PEM or DER, or a folder of such files. The key
    /// itself stays with the command.
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) decryption_key: Vec<PathBuf>,
    /// Let an external program process a media type, with containerd's contract:
    /// id=ID,accepts=TYPE,returns=TYPE,path=PROGRAM[,arg=ARG][,env=NAME=VALUE]…, or a TOML file with
    /// containerd's [stream_processors] tables.
    #[arg(long, value_name = "SPEC|FILE.toml")]
    pub(crate) processor: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    #[arg(help = IMAGE_HELP, value_name = "IMAGE", allow_hyphen_values = true, value_parser = image_parser())]
    pub(crate) image: OsString,
    /// Only images for this platform.
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<Platform>,
    #[command(flatten)]
    pub(crate) handlers: Handlers,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Plugin {
    /// Make the source of a new plugin, which builds and passes its tests.
    New(PluginNew),
    /// Build the plugin in a folder to a component, by the compiler of its language.
    Build(PluginBuild),
    /// Say whether a plugin of any kind would be loaded: its world, its imports, its size, what it asks for.
    Check(PluginInspect),
    /// Run a plugin on the cases beside its source: a processor in one piece and in small ones, a filter on records, a storage driver
    /// on the conformance suite.
    Test(PluginTest),
    /// Show what a component imports and exports, whether it would be loaded, and what it says of itself.
    Inspect(PluginInspect),
    /// Run a plugin on stdin, to stdout; what it reports goes to stderr.
    Run(PluginRun),
    /// Show how a daemon's plugins do: calls, failures, whether one is suspended.
    Status(PluginStatus),
    /// Show what plugins ask for and what they were granted, with the line that is missing.
    Grants(PluginGrants),
    /// Have a daemon read its configuration again, as SIGHUP does.
    Reload,
    /// Make one file of a plugin, or an artifact in an OCI layout.
    Package(PluginPackage),
    /// Push a plugin to a registry, as an artifact.
    Push(Box<PluginPush>),
    /// Pull a plugin from a registry.
    Pull(Box<PluginPull>),
    /// Sign an artifact, in cosign's form.
    Sign(Box<PluginSign>),
    /// Check the signatures of an artifact.
    Verify(Box<PluginVerify>),
    /// Install plugins: into a daemon while it runs, or into a folder.
    Install(Box<PluginInstall>),
    /// Remove installed plugins.
    #[command(visible_alias = "rm")]
    Remove(PluginNames),
    /// Go back to the version that was installed before; a second time forward again.
    Rollback(PluginNames),
    /// List the installed plugins.
    Installed(PluginInstalled),
    /// Write the JSON schema of plugin.toml to stdout, for editors.
    Schema,
    /// Measure a processor: MB/s, CPU per MB, time per chunk, start, memory, against a bare copy.
    Bench(PluginBench),
    /// List the parts that a daemon is made of, WASM plugins among them.
    #[command(visible_alias = "list")]
    Ls(PluginList),
}

#[derive(Debug, Args)]
pub(crate) struct PluginInspect {
    /// A component, or a folder with a plugin.toml.
    #[arg(value_name = "FILE.wasm|DIR")]
    pub(crate) plugin: PathBuf,
}
