//! The configuration file: TOML, all of it optional. A mistake names its line, and all mistakes are named at once.
//!
//! [`layers`] is the part about layers, [`mod@plugins`] about plugins of every kind, [`snapshots`] the one about snapshotters, [`transfer`] the one about registries of others,
//! [`registry`] the one about our own. `text` writes the commented file of
//! `transomd config default`, `section` reads tables key by key, `setting` says what each kind of value looks like.

pub mod content;
pub mod layers;
pub mod plugins;
pub mod registry;
mod section;
mod setting;
pub mod snapshots;
mod text;
pub mod transfer;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use transom_layer::exec::ExternalProcessor;
use transom_meta::kv::Kind;
use transom_meta::metadata::Sharing;

use crate::limits;
use crate::places::{Places, SOCKET};

pub use content::Content;
use layers::{Diff, Processors};
pub use plugins::Plugins;
pub use registry::Registry;
use section::{Faults, Section};
pub use snapshots::{Snapshots, Snapshotter};
pub use transfer::{Admission, Transfer, Verifiers};

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where everything that lasts is kept.
    pub root: PathBuf,
    /// Where what is of this run only is kept.
    pub state: PathBuf,
    /// The socket; [`Config::socket_path`] says where if `None`.
    pub address: Option<PathBuf>,
    /// Serve a containerd as its content store, differ and snapshotters, and nothing else.
    pub proxy_backend: bool,
    /// How long requests may go on after the signal to stop.
    pub shutdown_timeout: Duration,
    /// Who may use the socket.
    pub socket: Socket,
    /// What is logged.
    pub log: Log,
    /// Records and what they allow.
    pub metadata: Metadata,
    /// Which snapshotters there are, and how they behave.
    pub snapshots: Snapshots,
    /// When garbage is collected.
    pub gc: Gc,
    /// How much at once.
    pub limits: Limits,
    /// Where metrics are served over HTTP; nowhere if `None`.
    pub metrics: Option<SocketAddr>,
    /// Where traces are sent.
    pub traces: Traces,
    /// What holds for plugins of every kind.
    pub plugins: Plugins,
    /// The folders that filter plugins are loaded from.
    pub filters: Vec<PathBuf>,
    /// Pulls and pushes.
    pub transfer: Transfer,
    /// Who is asked before an image is pulled.
    pub verifiers: Verifiers,
    /// What must hold of an image before it gets a name.
    pub admission: Admission,
    /// The differs.
    pub diff: Diff,
    /// The WASM plugins that layers may pass through.
    pub processors: Processors,
    /// The programs that layers may pass through, in the order of the file.
    pub stream_processors: Vec<ExternalProcessor>,
    /// Where blobs are kept.
    pub content: Content,
    /// The registry that runs here; none if `None`.
    pub registry: Option<Registry>,
}

/// Who may use the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Its owner; unchanged if `None`.
    pub uid: Option<u32>,
    /// Its group; unchanged if `None`.
    pub gid: Option<u32>,
    /// Its permissions.
    pub mode: u32,
    /// Users that are served besides root and the daemon's own.
    pub allowed_uids: Vec<u32>,
    /// Groups whose processes are served.
    pub allowed_gids: Vec<u32>,
}

/// What is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least level that is logged.
    pub level: LogLevel,
    /// How a line is written.
    pub format: LogFormat,
}

/// A level of logging.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogLevel {
    /// Everything, bytes excepted.
    Trace,
    /// Every request.
    Debug,
    /// What is done without being asked for.
    Info,
    /// What may become a problem.
    Warn,
    /// What went wrong.
    Error,
}

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Records and what they allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The key-value store.
    pub store: Kind,
    /// Whether namespaces share blobs.
    pub sharing: Sharing,
    /// How long content is kept that was ingested without a lease and that nothing has referenced yet.
    pub grace: Duration,
    /// How long an ingest without a lease is kept since it was last opened.
    pub ingest_expiry: Duration,
}

/// When garbage is collected; containerd's five settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Gc {
    /// The share of time that collections may take, 0 to 0.5.
    pub pause_threshold: f64,
    /// Deletions after which a collection is due at once; 0 for never.
    pub deletion_threshold: u64,
    /// Changes after which a collection is due at the next interval.
    pub mutation_threshold: u64,
    /// From what makes a collection due to the collection.
    pub schedule_delay: Duration,
    /// From the start to the first collection.
    pub startup_delay: Duration,
}

/// Where traces are sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Traces {
    /// The collector, which speaks OTLP over gRPC; none if `None`.
    pub endpoint: Option<http::Uri>,
    /// The share of the traces that begin here, 0 to 1. Those that begin with a client go by its choice.
    pub share: f64,
}

/// How much at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open write streams.
    pub writers: usize,
    /// Read streams.
    pub readers: usize,
    /// Layers that are applied and mounts that are compared.
    pub diffs: usize,
}

impl Config {
    /// The configuration without a file.
    #[must_use]
    pub fn defaults(places: &Places) -> Config {
        Config {
            root: places.root.clone(),
            state: places.state.clone(),
            address: None,
            proxy_backend: false,
            shutdown_timeout: Duration::from_secs(30),
            socket: Socket {
                uid: None,
                gid: None,
                mode: 0o660,
                allowed_uids: Vec::new(),
                allowed_gids: Vec::new(),
            },
            log: Log {
                level: LogLevel::Info,
                format: LogFormat::Text,
            },
            metadata: Metadata {
                store: Kind::default(),
                sharing: Sharing::Shared,
                grace: Duration::from_secs(3600),
                ingest_expiry: Duration::from_secs(24 * 3600),
            },
            snapshots: Snapshots::default(),
            gc: Gc {
                pause_threshold: 0.02,
                deletion_threshold: 0,
                mutation_threshold: 100,
                schedule_delay: Duration::ZERO,
                startup_delay: Duration::from_millis(100),
            },
            limits: Limits {
                writers: limits::WRITERS,
                readers: limits::READERS,
                diffs: limits::DIFFS,
            },
            metrics: None,
            traces: Traces {
                endpoint: None,
                share: 1.0,
            },
            plugins: Plugins::default(),
            filters: Vec::new(),
            transfer: Transfer::default(),
            verifiers: Verifiers::default(),
            admission: Admission::default(),
            diff: Diff::default(),
            processors: Processors::default(),
            stream_processors: Vec::new(),
            content: Content::default(),
            registry: None,
        }
    }

    /// Reads a file's text over the defaults.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(text: &str, places: &Places) -> Result<Config, Mistakes> {
        let mut config = Config::defaults(places);
        let mut faults = Faults::default();
        if text.len() > limits::CONFIG_BYTES {
            faults.add(
                1,
                format!("the file is larger than {} bytes", limits::CONFIG_BYTES),
            );
            return Err(faults.into_mistakes());
        }
        let mut top = Section::parse(text, &mut faults);
        config.read(&mut top, &mut faults);
        if faults.is_empty() {
            Ok(config)
        } else {
            Err(faults.into_mistakes())
        }
    }

    /// The socket: what was configured, or else in the state folder.
    #[must_use]
    pub fn socket_path(&self) -> PathBuf {
        self.address.clone().unwrap_or_else(|| self.state.join(SOCKET))
    }

    /// A commented file that says the same as this.
    #[must_use]
    pub fn to_text(&self) -> String {
        text::write(self)
    }

    fn read(&mut self, top: &mut Section<'_>, faults: &mut Faults) {
        top.set("root", &mut self.root, faults);
        top.set("state", &mut self.state, faults);
        top.set("address", &mut self.address, faults);
        top.set("proxy_backend", &mut self.proxy_backend, faults);
        top.set("shutdown_timeout", &mut self.shutdown_timeout, faults);
        self.socket.read(&mut top.section("socket", faults), faults);
        self.log.read(&mut top.section("log", faults), faults);
        self.metadata.read(&mut top.section("metadata", faults), faults);
        self.snapshots.read(&mut top.section("snapshots", faults), faults);
        self.gc.read(&mut top.section("gc", faults), faults);
        self.limits.read(&mut top.section("limits", faults), faults);
        let mut metrics = top.section("metrics", faults);
        metrics.set("address", &mut self.metrics, faults);
        metrics.end(faults);
        let mut traces = top.section("traces", faults);
        traces.set("endpoint", &mut self.traces.endpoint, faults);
        let mut share = setting::Share::<1>(self.traces.share);
        traces.set("share", &mut share, faults);
        self.traces.share = share.0;
        traces.end(faults);
        self.plugins.read(&mut top.section("plugins", faults), faults);
        let mut filters = top.section("filters", faults);
        filters.set("folders", &mut self.filters, faults);
        filters.end(faults);
        self.transfer.read(&mut top.section("transfer", faults), faults);
        self.verifiers.read(&mut top.section("verifiers", faults), faults);
        self.admission.read(&mut top.section("admission", faults), faults);
        self.diff.read(&mut top.section("diff", faults), faults);
        self.processors
            .read(&mut top.section("processors", faults), faults);
        self.stream_processors = layers::read_programs(top, faults);
        self.content.read(&mut top.section("content", faults), faults);
        self.registry = Registry::read(top, faults).or(self.registry.take());
        top.end(faults);
    }
}

impl Socket {
    fn read(&mut self, section: &mut Section<'_>, faults: &mut Faults) {
        section.set("uid", &mut self.uid, faults);
        section.set("gid", &mut self.gid, faults);
        let mut mode = setting::Mode(self.mode);
        section.set("mode", &mut mode, faults);
        self.mode = mode.0;
        section.set("allowed_uids", &mut self.allowed_uids, faults);
        section.set("allowed_gids", &mut self.allowed_gids, faults);
        section.end(faults);
    }
}

impl Log {
    fn read(&mut self, section: &mut Section<'_>, faults: &mut Faults) {
        section.set("level", &mut self.level, faults);
        section.set("format", &mut self.format, faults);
        section.end(faults);
    }
}

impl Metadata {
    fn read(&mut self, section: &mut Section<'_>, faults: &mut Faults) {
        section.set("store", &mut self.store, faults);
        section.set("sharing", &mut self.sharing, faults);
        section.set("grace", &mut self.grace, faults);
        section.set("ingest_expiry", &mut self.ingest_expiry, faults);
        section.end(faults);
    }
}

impl Gc {
    fn read(&mut self, section: &mut Section<'_>, faults: &mut Faults) {
        let mut pause = setting::Share::<2>(self.pause_threshold);
        section.set("pause_threshold", &mut pause, faults);
        self.pause_threshold = pause.0;
        section.set("deletion_threshold", &mut self.deletion_threshold, faults);
        section.set("mutation_threshold", &mut self.mutation_threshold, faults);
        section.set("schedule_delay", &mut self.schedule_delay, faults);
        section.set("startup_delay", &mut self.startup_delay, faults);
        section.end(faults);
    }
}

impl Limits {
    fn read(&mut self, section: &mut Section<'_>, faults: &mut Faults) {
        let mut writers = setting::Count(self.writers);
        section.set("writers", &mut writers, faults);
        self.writers = writers.0;
        let mut readers = setting::Count(self.readers);
        section.set("readers", &mut readers, faults);
        self.readers = readers.0;
        let mut diffs = setting::Count(self.diffs);
        section.set("diffs", &mut diffs, faults);
        self.diffs = diffs.0;
        section.end(faults);
    }
}

/// All mistakes of a file, in the order of their lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}line {}: {}", mistake.line, mistake.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
