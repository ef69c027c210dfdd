//! The kinds of drivers of this crate.

use std::sync::Arc;

use super::{ConfigError, DriverKind, Parameter, Parameters, Type};
use crate::filesystem::{self, Filesystem, FlushBy, Options};
use crate::memory::{self, Memory};
use crate::object::{azure, gcs, s3};
use crate::{StorageDriver, limits};

static FILESYSTEM: &[Parameter] = &[
    Parameter::optional("rootdirectory", Type::Text, "the folder; /var/lib/registry"),
    Parameter::optional(
        "maxthreads",
        Type::Integer,
        "calls that work at the same time; 100, at least 25",
    ),
    Parameter::optional(
        "flush",
        Type::Text,
        "`filesystem` brings everything of the file system to the disk at once, `folders` each file and folder; what suits the file \
         system",
    ),
    Parameter::optional(
        "journal",
        Type::Bool,
        "small changes wait for the disk once instead of twice; true",
    ),
];

static MEMORY: &[Parameter] = &[Parameter::optional(
    "maxbytes",
    Type::Integer,
    "bytes of content, uploads and paths; 1073741824",
)];

type Inner = Option<Arc<dyn StorageDriver>>;
type Opened = Result<Arc<dyn StorageDriver>, ConfigError>;

pub(super) fn kinds() -> Vec<DriverKind> {
    let mut kinds = vec![
        leaf(
            filesystem::NAME,
            &[],
            "files below a folder",
            FILESYSTEM,
            open_filesystem,
        ),
        leaf(
            memory::NAME,
            &["memory"],
            "the memory of the process",
            MEMORY,
            open_memory,
        ),
        leaf(
            s3::NAME,
            &["s3aws"],
            "S3 and what speaks its protocol",
            s3::PARAMETERS,
            |parameters| Ok(Arc::new(s3::open(parameters)?)),
        ),
        leaf(
            gcs::NAME,
            &[],
            "Google Cloud Storage",
            gcs::PARAMETERS,
            |parameters| Ok(Arc::new(gcs::open(parameters)?)),
        ),
        leaf(
            azure::NAME,
            &[],
            "Azure Blob Storage",
            azure::PARAMETERS,
            |parameters| Ok(Arc::new(azure::open(parameters)?)),
        ),
    ];
    kinds.extend(crate::decorators::kinds());
    kinds
}

fn leaf(
    name: &str,
    aliases: &[&str],
    about: &str,
    parameters: &[Parameter],
    open: fn(&Parameters<'_>) -> Opened,
) -> DriverKind {
    DriverKind {
        name: name.to_owned(),
        aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
        about: about.to_owned(),
        stacks: false,
        parameters: parameters.to_vec(),
        open: Arc::new(move |parameters: &Parameters<'_>, _: Inner| open(parameters)),
    }
}

fn open_filesystem(parameters: &Parameters<'_>) -> Opened {
    let root = parameters.text("rootdirectory")?.unwrap_or("/var/lib/registry");
    if root.is_empty() {
        return Err(parameters.bad("rootdirectory", "it must not be empty"));
    }
    // As in docker-registry, fewer than the least are the least.
    let threads = parameters.integer("maxthreads", 0, u64::from(u32::MAX))?;
    let threads = threads.unwrap_or(limits::THREADS).max(limits::THREADS_MIN);
    let options = Options {
        threads: threads as usize,
        flush: match parameters.text("flush")? {
            None => None,
            Some("filesystem") => Some(FlushBy::Filesystem),
            Some("folders") => Some(FlushBy::Folders),
            Some(_) => return Err(parameters.bad("flush", "it is `filesystem` or `folders`")),
        },
        journal: parameters.bool("journal")?.unwrap_or(true),
        ..Options::default()
    };
    let driver = Filesystem::open_with(root, options)
        .map_err(|error| parameters.failed(format!("{root}: {error}")))?;
    Ok(Arc::new(driver))
}

fn open_memory(parameters: &Parameters<'_>) -> Opened {
    let limit = parameters.integer("maxbytes", 0, u64::MAX)?;
    Ok(Arc::new(Memory::new(limit.unwrap_or(limits::MEMORY_BYTES))))
}
