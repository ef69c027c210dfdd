//! What can go wrong: when a plugin is loaded ([`LoadError`]) and when it works on a layer ([`PluginError`]).

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use transom_oci::Digest;

use crate::breaker::Suspended;
use crate::inspect::ForbiddenImport;
use crate::world::VersionMismatch;

/// Why a plugin cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is larger than any plugin is.
    #[error("{what} has {size} bytes, the limit is {limit}")]
    TooLarge {
        /// Which file: the component or `plugin.toml`.
        what: &'static str,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// `plugin.toml` is wrong.
    #[error("{}:{line}: {message}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// The line, from 1; 0 when it is about the file as a whole.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// The bytes are no WebAssembly at all.
    #[error("this is no WebAssembly: it does not start with the magic bytes of a component")]
    NotWasm,
    /// A core module where a component belongs.
    #[error(
        "this is a core module, not a component; make one of it with `wasm-tools component new`, \
         or build it with the plugin SDK"
    )]
    CoreModule,
    /// The bytes are no valid component.
    #[error("not a valid component, at byte {offset}: {message}")]
    Invalid {
        /// Where.
        offset: u64,
        /// What the validator said.
        message: String,
    },
    /// The component imports what no plugin of its kind may use.
    #[error("the component imports what a plugin of its kind may not use:{}", lines(.0))]
    Forbidden(Vec<ForbiddenImport>),
    /// The component was built for another version of an interface.
    #[error("{0}")]
    Version(VersionMismatch),
    /// The component does not export the interface of any kind of plugin.
    #[error("the component does not export {wanted}, so it is no plugin of that kind; it exports {}", list(.found))]
    MissingExport {
        /// The interface that is missing.
        wanted: String,
        /// What it exports.
        found: Vec<String>,
    },
    /// The component's names are right but its types are not.
    #[error("the component does not fit the interface: {0}")]
    Types(String),
    /// The component cannot be compiled, or something in it is beyond a limit.
    #[error("cannot compile the component: {0}")]
    Compile(String),
    /// The folder for compiled code cannot be trusted.
    #[error("will not use the cache folder {}: {reason}", path.display())]
    Cache {
        /// The folder.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// `describe` failed.
    #[error("the plugin cannot describe itself: {0}")]
    Describe(Fault),
    /// `describe` returned something that makes no sense.
    #[error("the plugin describes itself wrongly: {0}")]
    Info(String),
    /// `plugin.toml` and the component do not say the same.
    #[error(
        "plugin.toml says {field} is {manifest}, the component says {component}; rebuild it or correct plugin.toml"
    )]
    Mismatch {
        /// What differs.
        field: &'static str,
        /// In `plugin.toml`.
        manifest: String,
        /// In the component.
        component: String,
    },
    /// `plugin.toml` asks for more than the operator grants.
    #[error("the plugin asks for {asked}, which was not granted: {hint}")]
    NotGranted {
        /// What it asks for.
        asked: String,
        /// What the operator can do about it.
        hint: String,
    },
    /// The operator's configuration of the plugin is wrong.
    #[error("configuration of the plugin {plugin}, key {key:?}: {message}")]
    Config {
        /// The plugin's name.
        plugin: String,
        /// The key.
        key: String,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// Two plugins have one name, so that a filter could mean either.
    #[error("two filter plugins have the name {0}; give each its own")]
    Twice(String),
    /// The engine cannot be started on this machine.
    #[error("cannot start the WebAssembly engine: {0}")]
    Engine(String),
}

fn lines(imports: &[ForbiddenImport]) -> String {
    imports.iter().map(|import| format!("\n  {import}")).collect()
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "nothing".into()
    } else {
        names.join(", ")
    }
}

/// Why a plugin failed on a layer: who, on what, and how.
#[derive(Debug, thiserror::Error)]
#[error("plugin {name} {version} ({digest}) on layer {layer}: {fault}")]
pub struct PluginError {
    /// The plugin's name.
    pub name: String,
    /// The plugin's version.
    pub version: String,
    /// The digest of the component.
    pub digest: Digest,
    /// The digest of the layer's blob.
    pub layer: Digest,
    /// What happened.
    #[source]
    pub fault: Fault,
}

/// What happened inside a plugin.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Fault {
    /// It trapped: a bug in the plugin.
    #[error("it crashed: {reason}{}", note(.message))]
    Trap {
        /// The trap, in words.
        reason: String,
        /// The last error that it logged, which is the panic message of a plugin in Rust.
        message: Option<String>,
        /// The functions it was in, innermost first, as far as the component has names.
        backtrace: Vec<String>,
    },
    /// It wanted more memory than it may have, and gave up.
    #[error("it needs more than {limit} bytes of memory; raise its memory limit if the input justifies that")]
    Memory {
        /// The limit in bytes.
        limit: usize,
    },
    /// It took too much CPU time.
    #[error("it took more than {} s of CPU time", .limit.as_secs_f32())]
    Cpu {
        /// The limit.
        limit: Duration,
    },
    /// It computed for too long without reading or writing anything.
    #[error("it computed for {} s without reading or writing anything", .limit.as_secs_f32())]
    Stall {
        /// The limit.
        limit: Duration,
    },
    /// It took too long.
    #[error("it took longer than {} s", .limit.as_secs_f32())]
    Wall {
        /// The limit.
        limit: Duration,
    },
    /// It wrote too much.
    #[error("it wrote more than {limit} bytes")]
    Output {
        /// The limit in bytes.
        limit: u64,
    },
    /// It wrote too much for what it read.
    #[error("it made {output} bytes of {input}, more than {limit} to one: a decompression bomb?")]
    Ratio {
        /// The limit, in bytes of output for a byte of input.
        limit: u64,
        /// Bytes read.
        input: u64,
        /// Bytes written.
        output: u64,
    },
    /// It recursed too deep.
    #[error("its stack overflowed {limit} bytes")]
    Stack {
        /// The limit in bytes.
        limit: usize,
    },
    /// It could not be started.
    #[error("it could not be started: {0}")]
    Start(String),
    /// It broke a rule of the interface.
    #[error("it broke the rules of the interface: {0}")]
    Protocol(String),
    /// It returned an error of its own.
    #[error("{0}")]
    Guest(GuestError),
    /// It was not asked, because it crashed again and again.
    #[error(transparent)]
    Suspended(#[from] Suspended),
}

impl Fault {
    /// Whether it is the plugin's doing, and cost what a plugin should not cost. An error that it returned is not, nor
    /// is an output that is too large: that is the input's.
    pub fn is_crash(&self) -> bool {
        match self {
            Fault::Trap { .. }
            | Fault::Memory { .. }
            | Fault::Cpu { .. }
            | Fault::Stall { .. }
            | Fault::Wall { .. }
            | Fault::Stack { .. }
            | Fault::Start(_)
            | Fault::Protocol(_) => true,
            Fault::Output { .. } | Fault::Ratio { .. } | Fault::Guest(_) | Fault::Suspended(_) => false,
        }
    }
}

fn note(message: &Option<String>) -> String {
    message
        .as_ref()
        .map(|message| format!(": {message}"))
        .unwrap_or_default()
}

/// An error that a plugin returned, as the interface has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum GuestError {
    /// The input uses something that the plugin does not do.
    Unsupported(String),
    /// The input is damaged.
    Corrupt {
        /// Where, in bytes from the start of the stage's input.
        offset: Option<u64>,
        /// What was found.
        message: String,
    },
    /// It was not granted something.
    Denied(String),
    /// A configuration value is wrong.
    Config {
        /// The key.
        key: String,
        /// What is wrong.
        message: String,
    },
    /// A limit of its own was met.
    Limit(String),
    /// It says that a stream failed, though none did.
    Io(String),
    /// Anything else.
    Other(String),
}

impl fmt::Display for GuestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(text) => write!(f, "not supported: {text}"),
            Self::Corrupt {
                offset: Some(offset),
                message,
            } => {
                write!(f, "the input is damaged near byte {offset}: {message}")
            }
            Self::Corrupt {
                offset: None,
                message,
            } => write!(f, "the input is damaged: {message}"),
            Self::Denied(text) => write!(f, "denied: {text}"),
            Self::Config { key, message } => write!(f, "configuration key {key:?}: {message}"),
            Self::Limit(text) => write!(f, "limit met: {text}"),
            Self::Io(text) => write!(f, "stream: {text}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}
