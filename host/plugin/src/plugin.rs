//! A plugin that is loaded, checked and ready.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use transom_layer::cancel::Cancel;
use transom_layer::stage::Handler;
use transom_oci::Digest;
use wasmtime::Engine;

use crate::config::{self, Values};
use crate::decrypt;
use crate::engine::Ticker;
use crate::error::LoadError;
use crate::limits::{DESCRIBE_CPU, Limits};
use crate::log::{Log, LogRate};
use crate::manifest::Manifest;
use crate::stage::{self, WasmHandler};
use crate::state::State;
use crate::wit::v0_1::Ready;

/// A media type that a plugin accepts and the one that it returns for it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conversion {
    /// The media type of the input, compared byte by byte.
    pub accepts: String,
    /// The media type of the output; the same for an inspector.
    pub returns: String,
}

/// What a plugin says of itself.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Info {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it can do.
    pub conversions: Vec<Conversion>,
}

/// What the plugins of a host share.
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) ticker: Ticker,
}

/// A plugin that is ready to run. Clones are the same plugin.
#[derive(Clone)]
pub struct Plugin {
    pub(crate) shared: Arc<Shared>,
    pub(crate) ready: Arc<Ready>,
    pub(crate) digest: Digest,
    pub(crate) info: Arc<Info>,
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) imports: Arc<Vec<String>>,
    pub(crate) limits: Limits,
    pub(crate) log_rate: LogRate,
}

impl Plugin {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.info.name
    }

    /// Its version.
    pub fn version(&self) -> &str {
        &self.info.version
    }

    /// The digest of the component.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// What it says of itself.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// Its `plugin.toml`, or what stands for it.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The interfaces that it imports.
    pub fn imports(&self) -> &[String] {
        &self.imports
    }

    /// What one job of it may cost.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The same plugin under other limits, by the operator's word.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Lines of its log that were dropped because there were too many.
    pub fn dropped_lines(&self) -> u64 {
        self.log_rate.dropped()
    }

    /// A handler for a chain of stages, with the operator's configuration of it.
    ///
    /// # Errors
    ///
    /// [`LoadError::Config`] for a key that the manifest does not declare, a value of the wrong type, or a required key that
    /// is missing.
    pub fn handler(&self, config: &Values) -> Result<Arc<dyn Handler>, LoadError> {
        self.handler_with(config, decrypt::Grants::default())
    }

    /// The same, with what the operator grants it besides. What the manifest does not ask for it does not get.
    ///
    /// # Errors
    ///
    /// As [`handler`](Plugin::handler).
    pub fn handler_with(
        &self,
        config: &Values,
        grants: decrypt::Grants,
    ) -> Result<Arc<dyn Handler>, LoadError> {
        let config = config::resolve(&self.manifest, config)?;
        Ok(Arc::new(WasmHandler {
            plugin: self.clone(),
            config: Arc::new(config),
            grants,
        }))
    }

    /// Makes an instance, asks it who it is and drops it: what a layer costs before its first byte, to be measured.
    ///
    /// # Errors
    ///
    /// [`LoadError::Describe`], [`LoadError::Info`].
    pub fn start(&self) -> Result<(), LoadError> {
        describe(&self.shared, &self.ready, &self.limits).map(drop)
    }

    /// Whether its manifest asks for a capability.
    pub fn asks_for(&self, capability: &str) -> bool {
        self.manifest.capabilities.iter().any(|asked| asked == capability)
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("info", &self.info)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

/// Asks a component what it is, in an instance of its own and within a second.
pub(crate) fn describe(shared: &Shared, ready: &Ready, limits: &Limits) -> Result<Info, LoadError> {
    let limits = Limits {
        cpu: DESCRIBE_CPU,
        stall: DESCRIBE_CPU,
        wall: 10 * DESCRIBE_CPU,
        ..limits.clone()
    };
    let log = Log::of_unknown(limits.log_lines);
    let state = State::new(limits.clone(), Cancel::new(), log);
    let mut store = state.into_store(&shared.engine);
    let ticking = shared.ticker.tick();
    let described = ready.describe(&mut store);
    drop(ticking);
    let mut state = store.into_data();
    let info =
        described.map_err(|error| LoadError::Describe(stage::fault_of(&error, &mut state, &limits)))?;
    check(&info).map_err(LoadError::Info)?;
    Ok(info)
}

/// Checks what the interfaces demand of every plugin's description.
pub(crate) fn check_identity(name: &str, version: &str) -> Result<(), String> {
    let name_is_good = name.len() <= 64
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if !name_is_good {
        return Err(format!(
            "its name must be lower-case letters, digits and `-`, not {:?}",
            shorten(name)
        ));
    }
    if semver::Version::parse(version).is_err() || version.len() > 64 {
        return Err(format!(
            "its version must follow semver.org, {:?} does not",
            shorten(version)
        ));
    }
    Ok(())
}

/// Checks what the interface demands of a processor's description.
fn check(info: &Info) -> Result<(), String> {
    check_identity(&info.name, &info.version)?;
    if info.conversions.is_empty() || info.conversions.len() > 64 {
        return Err(format!(
            "it must have 1 to 64 conversions, not {}",
            info.conversions.len()
        ));
    }
    for (at, conversion) in info.conversions.iter().enumerate() {
        for media_type in [&conversion.accepts, &conversion.returns] {
            let good = media_type.len() <= 255
                && media_type.contains('/')
                && media_type.bytes().all(|byte| byte.is_ascii_graphic());
            if !good {
                return Err(format!("{:?} is no media type", shorten(media_type)));
            }
        }
        if info.conversions[..at]
            .iter()
            .any(|earlier| earlier.accepts == conversion.accepts)
        {
            return Err(format!("it accepts {} twice", conversion.accepts));
        }
    }
    Ok(())
}

fn shorten(text: &str) -> &str {
    &text[..text.floor_char_boundary(80)]
}

/// Why a component and its manifest do not belong together, if they do not.
pub(crate) fn mismatch(manifest: &Manifest, info: &Info) -> Option<LoadError> {
    let differs = |field, manifest: String, component: String| {
        (manifest != component).then_some(LoadError::Mismatch {
            field,
            manifest,
            component,
        })
    };
    let words = |conversions: &[Conversion]| {
        let mut words: Vec<String> = conversions
            .iter()
            .map(|conversion| format!("{} → {}", conversion.accepts, conversion.returns))
            .collect();
        words.sort();
        words.join(", ")
    };
    differs("name", manifest.name.clone(), info.name.clone())
        .or_else(|| differs("version", manifest.version.clone(), info.version.clone()))
        .or_else(|| differs("converts", words(&manifest.converts), words(&info.conversions)))
}
