//! `transom registry`, and what else speaks with registries.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use transom_oci::Platform;

use super::{
    Progress, RegistryCheck, RegistryGc, RegistryImport, RegistryPolicy, RegistryReindex, RegistryServe,
};

/// How registries are found and spoken with.
#[derive(Debug, Args)]
pub(crate) struct Registries {
    /// Where hosts and mirrors are configured, as containerd does it; can be repeated
    /// [default: /etc/transom/certs.d, /etc/containerd/certs.d, /etc/docker/certs.d]
    #[arg(long, value_name = "DIR")]
    pub(crate) hosts_dir: Vec<PathBuf>,
    /// Speak plain HTTP with hosts that nothing else is configured for.
    #[arg(long)]
    pub(crate) plain_http: bool,
    /// Believe any certificate of hosts that nothing else is configured for.
    #[arg(short = 'k', long)]
    pub(crate) skip_verify: bool,
    /// A user for the registry, also with a password; better is `transom registry login`.
    #[arg(short, long, value_name = "USER[:PASSWORD]")]
    pub(crate) user: Option<String>,
    /// The file of credentials, also $REGISTRY_AUTH_FILE
    /// [default: containers' auth.json, then docker's config.json]
    #[arg(long, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Registry {
    /// Serve a registry until interrupted.
    Serve(Box<RegistryServe>),
    /// Collect garbage, also while registries serve the same store: blobs that no manifest needs, and, if that is wanted,
    /// manifests that no tag leads to.
    Gc(RegistryGc),
    /// Build the index of tags, repositories and referrers anew, or compare it with the storage.
    Reindex(RegistryReindex),
    /// Read a configuration file of a registry and say what is wrong with it.
    Check(RegistryCheck),
    /// Work with the file that says who may do what.
    #[command(subcommand)]
    Policy(RegistryPolicy),
    /// Translate docker-registry's config.yml and REGISTRY_ variables, to stdout; what has no translation is said on stderr.
    ImportConfig(RegistryImport),
    /// List the tags of a repository.
    LsTags(LsTags),
    /// List what refers to an image: signatures, lists of contents.
    Referrers(Referrers),
    /// Check a user and password with a registry, and keep them.
    Login(Login),
    /// Forget the user and password of a registry.
    Logout(Logout),
}

#[derive(Debug, Args)]
pub(crate) struct LsTags {
    /// The repository, such as docker.io/library/debian.
    #[arg(value_name = "REPOSITORY")]
    pub(crate) repository: String,
    #[command(flatten)]
    pub(crate) registries: Registries,
}

#[derive(Debug, Args)]
pub(crate) struct Referrers {
    /// The image, such as docker.io/library/debian:12.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Only those of this type.
    #[arg(long, value_name = "TYPE")]
    pub(crate) artifact_type: Option<String>,
    #[command(flatten)]
    pub(crate) registries: Registries,
}

#[derive(Debug, Args)]
pub(crate) struct Login {
    /// The registry, such as docker.io or localhost:5000.
    #[arg(value_name = "HOST")]
    pub(crate) host: String,
    /// The user.
    #[arg(long, value_name = "USER")]
    pub(crate) username: String,
    /// Read the password from stdin. There is no other way: what is typed as a flag, others can see.
    #[arg(long, required = true)]
    pub(crate) password_stdin: bool,
    #[command(flatten)]
    pub(crate) registries: Registries,
}

#[derive(Debug, Args)]
pub(crate) struct Logout {
    /// The registry.
    #[arg(value_name = "HOST")]
    pub(crate) host: String,
    /// The file of credentials, also $REGISTRY_AUTH_FILE
    /// [default: containers' auth.json, then docker's config.json]
    #[arg(long, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct FetchObject {
    /// The object: a manifest by tag or digest, or a blob by digest.
    #[arg(value_name = "NAME[:TAG][@DIGEST]")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) registries: Registries,
}

#[derive(Debug, Args)]
pub(crate) struct PushObject {
    /// Where to: a repository, with a tag for a manifest.
    #[arg(value_name = "NAME[:TAG]")]
    pub(crate) name: String,
    /// The object: a file.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Its media type; those of manifests and indexes are put as such, everything else is a blob.
    #[arg(value_name = "TYPE", default_value = "application/octet-stream")]
    pub(crate) media_type: String,
    #[command(flatten)]
    pub(crate) registries: Registries,
}

#[derive(Debug, Args)]
pub(crate) struct ImageCopy {
    /// From where: docker://NAME[:TAG][@DIGEST], oci:FOLDER[:NAME] or oci-archive:FILE[:NAME].
    #[arg(value_name = "SOURCE")]
    pub(crate) source: OsString,
    /// To where, likewise. A folder is made if need be, and added to if it is there; a file is replaced.
    #[arg(value_name = "DESTINATION")]
    pub(crate) destination: OsString,
    /// Only the image for this platform [default: all that there are]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<Platform>,
    #[command(flatten)]
    pub(crate) registries: Registries,
    /// What to show while it runs.
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub(crate) progress: Progress,
}
