//! The configuration file: TOML, all keys known, defaults for all but `[storage]`.
//!
//! `docs/guides/registry.md` describes every key. [`Config::parse`] reads it, `run` makes a registry of it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::server::{ClientCertificates, TlsFiles};
use crate::settings::{Mistake, Period, SetupError};
use crate::store::{Collection, Options};
use crate::{admission, auth, index, limits, notify, policy, proxy};

mod plugins;

pub use plugins::{Breaker, Plugins};

/// Everything that can be configured.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The driver and its parameters.
    pub storage: Map<String, Value>,
    /// Where and how it is spoken to.
    #[serde(default)]
    pub http: Http,
    /// What can be deleted, and what is deleted by itself.
    #[serde(default)]
    pub delete: Delete,
    /// When garbage is collected.
    #[serde(default)]
    pub gc: Gc,
    /// The index of lists.
    #[serde(default)]
    pub index: index::Settings,
    /// What is logged.
    #[serde(default)]
    pub log: Log,
    /// The listener for operators.
    pub metrics: Option<Metrics>,
    /// How much.
    #[serde(default)]
    pub limits: Limits,
    /// What manifests may be.
    #[serde(default)]
    pub manifests: Manifests,
    /// Begin with nothing that can be changed.
    #[serde(default)]
    pub read_only: bool,
    /// Whether a blob may be mounted without saying where from. Without this: only where everybody may read everything.
    pub mount_from_anywhere: Option<bool>,
    /// Who clients are.
    #[serde(default)]
    pub auth: auth::Settings,
    /// What they may.
    pub policy: Option<policy::Settings>,
    /// What must hold of what they push.
    #[serde(default)]
    pub admission: admission::Settings,
    /// How plugins are treated. In a daemon that is up to its own `[plugins]`.
    #[serde(default)]
    pub plugins: Plugins,
    /// Who is told what has happened.
    #[serde(default)]
    pub notifications: Vec<notify::Settings>,
    /// Repositories that come from other registries.
    #[serde(default)]
    pub proxy: Vec<proxy::Settings>,
    /// The folder of what is kept beside the storage: events that wait to be told, blobs that arrive from other registries,
    /// and the index.
    pub state: Option<PathBuf>,
}

/// `[http]`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// The address and port.
    pub listen: SocketAddr,
    /// The scheme and host that clients call us by, if a proxy stands between.
    pub host: Option<String>,
    /// Whether `Location` is a path only.
    pub relative_urls: bool,
    /// How long requests may go on after the signal to stop.
    pub drain: Period,
    /// What to send with every answer.
    pub headers: BTreeMap<String, Vec<String>>,
    /// Speak HTTP/2 with TLS.
    pub http2: bool,
    /// Speak HTTP/2 without TLS, to clients that know.
    pub h2c: bool,
    /// Send clients to the store where it has URLs.
    pub redirect: bool,
    /// TLS.
    pub tls: Option<Tls>,
}

/// `[http.tls]`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The chain of certificates.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
    /// The authorities of clients' certificates.
    pub client_ca: Option<PathBuf>,
    /// Whether every client must have one.
    #[serde(default = "yes")]
    pub client_required: bool,
}

/// `[delete]`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Delete {
    /// Whether clients can delete.
    pub enabled: bool,
    /// When an upload that did not end is deleted; 0 for never.
    pub uploads_after: Period,
    /// How often they are looked for.
    pub uploads_every: Period,
}

/// `[gc]`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Gc {
    /// How often; 0 for never.
    pub every: Period,
    /// How long what nothing leads to is kept.
    pub grace: Period,
    /// How long a request may take that saw a link just before it was removed.
    pub settle: Period,
    /// When a manifest is deleted that no tag leads to; 0 for never.
    pub untagged_after: Period,
}

/// `[log]`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// The least level.
    pub level: LogLevel,
    /// How a line is written.
    pub format: LogFormat,
    /// A line for each request.
    pub access: bool,
}

/// A level of logging.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What went wrong.
    Error,
    /// What may become a problem.
    Warn,
    /// What is done without being asked for.
    #[default]
    Info,
    /// What helps to find a fault.
    Debug,
    /// Everything.
    Trace,
}

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// `[metrics]`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// The address and port, which only operators should reach.
    pub listen: SocketAddr,
}

/// `[limits]`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Repositories on a page, at most.
    pub catalog_page: usize,
    /// Tags on a page, at most.
    pub tags_page: usize,
    /// Bytes of a manifest.
    pub manifest_bytes: u64,
}

/// `[manifests]`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Manifests {
    /// Take indexes whose manifests are not all here.
    pub sparse_indexes: bool,
}

/// The one key that must be there.
const STORAGE: &str = "storage";

fn yes() -> bool {
    true
}

/// Where it listens if nothing is said: this machine only, because nobody is asked who they are.
const LISTEN: ([u8; 4], u16) = ([127, 0, 0, 1], 5000);

impl Default for Http {
    fn default() -> Http {
        Http {
            listen: LISTEN.into(),
            host: None,
            relative_urls: true,
            drain: Period(limits::DRAIN),
            headers: BTreeMap::new(),
            http2: true,
            h2c: true,
            redirect: true,
            tls: None,
        }
    }
}

impl Default for Delete {
    fn default() -> Delete {
        Delete {
            enabled: true,
            uploads_after: Period(limits::UPLOADS_AFTER),
            uploads_every: Period(limits::UPLOADS_EVERY),
        }
    }
}

impl Default for Gc {
    fn default() -> Gc {
        Gc {
            every: Period(Duration::ZERO),
            grace: Period(limits::GRACE),
            settle: Period(limits::SETTLE),
            untagged_after: Period(Duration::ZERO),
        }
    }
}

impl Gc {
    /// A collection as it is configured.
    #[must_use]
    pub fn collection(&self, dry_run: bool) -> Collection {
        let after = self.untagged_after.0;
        Collection {
            settle: self.settle.0,
            untagged_after: (!after.is_zero()).then_some(after),
            dry_run,
        }
    }
}

impl Default for Log {
    fn default() -> Log {
        Log {
            level: LogLevel::default(),
            format: LogFormat::default(),
            access: true,
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            catalog_page: limits::CATALOG_PAGE_MAX,
            tags_page: limits::TAGS_PAGE,
            manifest_bytes: limits::MANIFEST_BYTES,
        }
    }
}

impl Config {
    /// The defaults, with a driver and its parameters.
    #[must_use]
    pub fn new(storage: Map<String, Value>) -> Config {
        Config {
            storage,
            http: Http::default(),
            delete: Delete::default(),
            gc: Gc::default(),
            index: index::Settings::default(),
            log: Log::default(),
            metrics: None,
            limits: Limits::default(),
            manifests: Manifests::default(),
            read_only: false,
            mount_from_anywhere: None,
            auth: auth::Settings::default(),
            policy: None,
            admission: admission::Settings::default(),
            plugins: Plugins::default(),
            notifications: Vec::new(),
            proxy: Vec::new(),
            state: None,
        }
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// The first mistake, with its line.
    pub fn parse(text: &str) -> Result<Config, Mistake> {
        if text.len() > limits::CONFIG_BYTES {
            let message = format!("the file is larger than {} bytes", limits::CONFIG_BYTES);
            return Err(Mistake { line: 1, message });
        }
        crate::settings::parse(text)
    }

    /// Reads a table of a text, which holds other things, too. Where there is no storage, it is for the caller to choose.
    ///
    /// # Errors
    /// The first mistake, with its line in the text.
    pub fn read(text: &str, mut table: Spanned<DeTable<'_>>) -> Result<Config, Mistake> {
        let at = table.span();
        let storage = Spanned::new(at.clone(), Cow::Borrowed(STORAGE));
        let nothing = Spanned::new(at, DeValue::Table(DeTable::default()));
        table.get_mut().entry(storage).or_insert(nothing);
        crate::settings::read(text, table)
    }

    /// What the store goes by. `open` says that everybody may do everything.
    #[must_use]
    pub fn options(&self, open: bool) -> Options {
        Options {
            sparse_indexes: self.manifests.sparse_indexes,
            mount_from_anywhere: self.mount_from_anywhere.unwrap_or(open),
            manifest_bytes: self.limits.manifest_bytes,
            grace: self.gc.grace.0,
        }
    }

    /// Where the index is; `None` if there is to be none.
    ///
    /// # Errors
    /// [`SetupError::Setting`] if nothing says where.
    pub fn index(&self) -> Result<Option<index::Place>, SetupError> {
        index::Place::find(&self.index, self.state.as_deref(), &self.storage)
    }

    /// The files of TLS.
    #[must_use]
    pub fn tls(&self) -> Option<TlsFiles> {
        let tls = self.http.tls.as_ref()?;
        let clients = tls.client_ca.clone().map(|authorities| ClientCertificates {
            authorities,
            required: tls.client_required,
        });
        Some(TlsFiles {
            certificate: tls.certificate.clone(),
            key: tls.key.clone(),
            clients,
        })
    }

    /// What to send with every answer.
    ///
    /// # Errors
    /// [`SetupError::Setting`] for what is no header.
    pub fn headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, SetupError> {
        let mut headers = Vec::new();
        for (name, values) in &self.http.headers {
            let wrong = |problem: &str| SetupError::setting(format!("http.headers.{name}"), problem);
            let known: HeaderName = name.parse().map_err(|_| wrong("no header has this name"))?;
            for value in values {
                let value = value
                    .parse()
                    .map_err(|_| wrong("it has a byte that no header has"))?;
                headers.push((known.clone(), value));
            }
        }
        Ok(headers)
    }

    /// When uploads are deleted that did not end; `None` for never.
    #[must_use]
    pub fn uploads(&self) -> Option<(Duration, Duration)> {
        let (after, every) = (self.delete.uploads_after.0, self.delete.uploads_every.0);
        (!after.is_zero() && !every.is_zero()).then_some((after, every))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_enough() {
        let config = Config::parse("[storage]\ndriver = \"inmemory\"\n").unwrap();
        assert_eq!(config.http.listen.to_string(), "127.0.0.1:5000");
        assert!(config.delete.enabled && config.http.relative_urls && config.log.access);
        assert_eq!(config.tls(), None);
        assert_eq!(config.uploads().unwrap().0, Duration::from_secs(7 * 24 * 3600));
    }

    #[test]
    fn mistakes_have_lines_and_hints() {
        for (text, want) in [
            ("", "line 1: missing field `storage`"),
            (
                "[storage]\ndriver = \"x\"\n[http]\nlisen = \"a\"\n",
                "line 4: unknown key `lisen`; did you mean `listen`?",
            ),
            (
                "[storage]\n[http]\nlisten = \"localhost\"\n",
                "line 3: invalid socket address syntax",
            ),
            (
                "[storage]\n[http.tls]\nkey = \"k\"\n",
                "line 2: missing field `certificate`",
            ),
        ] {
            assert_eq!(Config::parse(text).unwrap_err().to_string(), want);
        }
    }

    #[test]
    fn headers_are_checked() {
        let config = |headers: &str| {
            Config::parse(&format!("[storage]\n[http.headers]\n{headers}"))
                .unwrap()
                .headers()
        };
        assert_eq!(config("X-A = [\"b\", \"c\"]").unwrap().len(), 2);
        assert!(config("\"a b\" = [\"c\"]").is_err());
        assert!(config("X-A = [\"a\\nb\"]").is_err());
    }
}
