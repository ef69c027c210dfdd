//! `plugin.toml`: what a plugin says about itself and asks for, beside its component.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Kind, Value};
use crate::decrypt;
use crate::error::LoadError;
use crate::limits::{Limits, MANIFEST_BYTES_MAX};
use crate::plugin::{Conversion, Info};

/// A plugin's manifest. Without a `plugin.toml` it is made from what the component says of itself.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The plugin's name, the same as the component's own.
    pub name: String,
    /// The plugin's version, the same as the component's own.
    pub version: String,
    /// What kind of plugin it is.
    pub kind: PluginKind,
    /// The world that it was built for.
    pub world: String,
    /// What it is for, in a sentence.
    #[serde(default)]
    pub description: String,
    /// The licence under which it is given, as an SPDX expression.
    #[serde(default)]
    pub license: Option<String>,
    /// The component's file in the same folder; `<name>.wasm` if not given.
    #[serde(default)]
    pub component: Option<String>,
    /// The media types that a processor accepts and returns, the same as the component's own.
    #[serde(default)]
    pub converts: Vec<Conversion>,
    /// Powers that it asks for: of a storage driver, some of [`DRIVER_CAPABILITIES`]; of a processor, [`decrypt::CAPABILITY`]. Others
    /// cannot have any.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// The configuration keys that it knows.
    #[serde(default)]
    pub config: BTreeMap<String, ConfigKey>,
    /// The secrets that a storage driver knows.
    #[serde(default)]
    pub secrets: BTreeMap<String, SecretKey>,
    /// Limits that it needs to differ from the host's.
    #[serde(default)]
    pub limits: LimitsAsked,
    /// Whether there was a `plugin.toml`.
    #[serde(skip)]
    pub declared: bool,
}

/// The kinds of plugins.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PluginKind {
    /// A stage in the way of a layer's bytes.
    Processor,
    /// A label filter: an expression about the records of a list.
    Filter,
    /// A storage driver.
    Driver,
}

impl PluginKind {
    /// As manifests have it.
    pub fn as_str(self) -> &'static str {
        match self {
            PluginKind::Processor => "processor",
            PluginKind::Filter => "filter",
            PluginKind::Driver => "driver",
        }
    }
}

/// The powers that a storage driver can ask for. Each is used only where the configuration of the driver grants it, too.
pub const DRIVER_CAPABILITIES: [&str; 4] = ["inner", "http", "keys", "secrets"];

/// What the table of a driver has besides its own keys and secrets.
const DRIVER_WORDS: [&str; 5] = ["driver", "inner", "hosts", "masterkeys", "maxinstances"];

/// A configuration key that a plugin knows.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigKey {
    /// What its value may be.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The value if the operator gives none.
    #[serde(default)]
    pub default: Option<Value>,
    /// Whether the operator must give one; then there is no default.
    #[serde(default)]
    pub required: bool,
    /// What it does, in a sentence.
    pub doc: String,
}

/// A secret that a storage driver knows.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretKey {
    /// Whether the operator must give it.
    #[serde(default)]
    pub required: bool,
    /// What it is, in a sentence.
    pub doc: String,
}

/// Limits that a plugin asks for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsAsked {
    /// Mebibytes of linear memory.
    pub memory_mib: Option<u32>,
    /// Seconds of CPU time for a whole layer.
    pub cpu_seconds: Option<u32>,
    /// Seconds of CPU time without reading or writing.
    pub stall_seconds: Option<u32>,
    /// Bytes of output for a byte of input.
    pub ratio: Option<u64>,
}

impl Manifest {
    /// Reads a manifest from its text. `path` is for messages only.
    ///
    /// # Errors
    ///
    /// [`LoadError::Manifest`] with the line, [`LoadError::TooLarge`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, LoadError> {
        let size = text.len() as u64;
        if size > MANIFEST_BYTES_MAX {
            return Err(LoadError::TooLarge {
                what: "plugin.toml",
                size,
                limit: MANIFEST_BYTES_MAX,
            });
        }
        let mut manifest: Manifest = toml::from_str(text).map_err(|error| LoadError::Manifest {
            path: path.to_owned(),
            line: error.span().map_or(0, |span| line_of(text, span.start)),
            message: error.message().to_owned(),
        })?;
        manifest.declared = true;
        manifest
            .check()
            .map_err(|(needle, message)| LoadError::Manifest {
                path: path.to_owned(),
                line: text.find(&needle).map_or(0, |at| line_of(text, at)),
                message,
            })?;
        Ok(manifest)
    }

    /// What a component without a `plugin.toml` amounts to.
    pub(crate) fn from_info(info: &Info, world: &str) -> Self {
        Self {
            name: info.name.clone(),
            version: info.version.clone(),
            kind: PluginKind::Processor,
            world: world.to_owned(),
            description: String::new(),
            license: None,
            component: None,
            converts: info.conversions.clone(),
            capabilities: Vec::new(),
            config: BTreeMap::new(),
            secrets: BTreeMap::new(),
            limits: LimitsAsked::default(),
            declared: false,
        }
    }

    /// Checks what its types cannot say. The error has a text near which the fault is, and the message.
    fn check(&mut self) -> Result<(), (String, String)> {
        self.check_capabilities()?;
        self.check_kind()?;
        if let Some(component) = &self.component
            && (component.contains('/') || component.starts_with('.'))
        {
            return Err((
                "component".into(),
                "`component` must name a file in the same folder".into(),
            ));
        }
        for (key, declared) in &mut self.config {
            let place = format!("config.{key}");
            let Some(default) = &declared.default else {
                continue;
            };
            if declared.required {
                return Err((
                    place,
                    format!("the key {key:?} is required, so it cannot have a default"),
                ));
            }
            match declared.kind.accept(default) {
                Some(default) => declared.default = Some(default),
                None => {
                    let message = format!("the default of {key:?} must be {}", declared.kind.as_str());
                    return Err((place, message));
                }
            }
        }
        Ok(())
    }
}

impl Manifest {
    /// Checks that it asks for nothing that its kind cannot have.
    fn check_capabilities(&self) -> Result<(), (String, String)> {
        let (gets, known): (_, &[&str]) = match self.kind {
            PluginKind::Processor => (
                "a processor gets the layer's bytes and the log",
                &[decrypt::CAPABILITY],
            ),
            PluginKind::Filter => ("a filter gets the records of a list and the log", &[]),
            PluginKind::Driver => ("a driver gets its settings and the log", &DRIVER_CAPABILITIES),
        };
        let is_unknown = |capability: &&String| !known.contains(&capability.as_str());
        let Some(unknown) = self.capabilities.iter().find(is_unknown) else {
            return Ok(());
        };
        let message = if known.is_empty() {
            format!(
                "the capability {unknown:?} cannot be had: {gets}, nothing else; leave `capabilities` empty"
            )
        } else {
            let known = known.join(", ");
            format!("there is no capability {unknown:?}: {gets}, and can ask for {known}, nothing else")
        };
        Err(("capabilities".into(), message))
    }

    /// Checks the keys and secrets of a storage driver, which stand in one table with what every driver has.
    fn check_driver(&self) -> Result<(), (String, String)> {
        if !self.secrets.is_empty() && !self.capabilities.iter().any(|capability| capability == "secrets") {
            let message = "it has secrets, so `capabilities` must have \"secrets\"".to_owned();
            return Err(("secrets".into(), message));
        }
        let mut names = self.config.keys().chain(self.secrets.keys());
        let taken = |name: &&String| DRIVER_WORDS.contains(&name.as_str());
        if let Some(name) = names.find(taken) {
            return Err((
                name.clone(),
                format!("every driver's table has {name:?} for something else"),
            ));
        }
        match self.secrets.keys().find(|name| self.config.contains_key(*name)) {
            Some(name) => Err((
                name.clone(),
                format!("{name:?} cannot be both a key and a secret"),
            )),
            None => Ok(()),
        }
    }

    /// Checks that it has what its kind needs and nothing that its kind cannot have.
    fn check_kind(&self) -> Result<(), (String, String)> {
        let fault = |place: &str, message: &str| Err((place.to_owned(), message.to_owned()));
        match self.kind {
            PluginKind::Processor if self.converts.is_empty() => fault(
                "kind",
                "missing field `converts`: what does it accept and return?",
            ),
            PluginKind::Filter if !self.converts.is_empty() => {
                fault("converts", "a filter converts nothing; leave `converts` out")
            }
            PluginKind::Filter if !self.config.is_empty() => {
                fault("config", "a filter has no configuration; leave `config` out")
            }
            PluginKind::Driver if !self.converts.is_empty() => {
                fault("converts", "a driver converts nothing; leave `converts` out")
            }
            PluginKind::Driver => self.check_driver(),
            _ if !self.secrets.is_empty() => {
                fault("secrets", "only a driver has secrets; leave `secrets` out")
            }
            _ => Ok(()),
        }
    }
}

impl LimitsAsked {
    /// Puts what is asked over `base`, if it is within `ceiling`.
    pub(crate) fn apply(&self, base: &Limits, ceiling: &Limits) -> Result<Limits, LoadError> {
        let mut limits = base.clone();
        let refused = |asked: String| LoadError::NotGranted {
            asked,
            hint: "raise the host's ceiling for plugins if you trust it with that".into(),
        };
        if let Some(mebibytes) = self.memory_mib {
            limits.memory = (mebibytes as usize) << 20;
            if limits.memory > ceiling.memory {
                return Err(refused(format!("{mebibytes} MiB of memory")));
            }
        }
        if let Some(seconds) = self.cpu_seconds {
            limits.cpu = Duration::from_secs(seconds.into());
            if limits.cpu > ceiling.cpu {
                return Err(refused(format!("{seconds} s of CPU time")));
            }
        }
        if let Some(seconds) = self.stall_seconds {
            limits.stall = Duration::from_secs(seconds.into());
            if limits.stall > ceiling.stall {
                return Err(refused(format!(
                    "{seconds} s of CPU time without reading or writing"
                )));
            }
        }
        if let Some(ratio) = self.ratio {
            limits.ratio = ratio;
            if limits.ratio > ceiling.ratio {
                return Err(refused(format!("an output of {ratio} times its input")));
            }
        }
        Ok(limits)
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()
        .iter()
        .take(offset)
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}
