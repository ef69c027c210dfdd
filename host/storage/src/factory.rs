//! Drivers by name, with the parameters of a configuration.
//!
//! A driver is a table: its `driver` is the name, all else its parameters, which are docker-registry's where that has the
//! driver. One that stands on another has that one's table as `inner`.
//!
//! `parameters` checks what a table holds, `secret` what is not shown of it, `nearest` finds what was meant, `builtin` lists the drivers of this crate.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::{StorageDriver, limits};

mod builtin;
mod nearest;
mod parameters;
mod secret;

use nearest::nearest;
pub use parameters::{Parameter, Parameters, Type};
pub use secret::Secret;

/// Opens a driver of one kind.
pub type Opener = Arc<
    dyn Fn(&Parameters<'_>, Option<Arc<dyn StorageDriver>>) -> Result<Arc<dyn StorageDriver>, ConfigError>
        + Send
        + Sync,
>;

/// A kind of driver.
#[derive(Clone)]
pub struct DriverKind {
    /// The name in the configuration.
    pub name: String,
    /// Other names for the same.
    pub aliases: Vec<String>,
    /// What it is, in a few words.
    pub about: String,
    /// Whether it stands on another driver.
    pub stacks: bool,
    /// What can be configured.
    pub parameters: Vec<Parameter>,
    /// Opens one.
    pub open: Opener,
}

impl fmt::Debug for DriverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriverKind")
            .field("name", &self.name)
            .field("stacks", &self.stacks)
            .finish_non_exhaustive()
    }
}

impl DriverKind {
    /// Opens one of this kind by a table, on a driver that is open already if it stands on one. What the table says of that
    /// one counts for nothing.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn open_on(
        &self,
        table: &Map<String, Value>,
        inner: Option<Arc<dyn StorageDriver>>,
    ) -> Result<Arc<dyn StorageDriver>, ConfigError> {
        let parameters = Parameters::check(&self.name, &self.parameters, self.stacks, table)?;
        if self.stacks && inner.is_none() {
            let driver = self.name.clone();
            return Err(ConfigError::NoInner { driver });
        }
        (self.open)(&parameters, inner)
    }
}

/// The kinds of drivers that a program knows.
#[derive(Clone, Debug, Default)]
pub struct Factory {
    kinds: BTreeMap<String, Arc<DriverKind>>,
}

impl Factory {
    /// No kind at all.
    #[must_use]
    pub fn empty() -> Factory {
        Factory::default()
    }

    /// The drivers and decorators of this crate. Fault injection is not among them.
    #[must_use]
    pub fn builtin() -> Factory {
        let mut factory = Factory::empty();
        for kind in builtin::kinds() {
            factory.insert(Arc::new(kind));
        }
        factory
    }

    /// Adds a kind.
    ///
    /// # Errors
    /// [`ConfigError::NameTaken`] if there is one of the name or an alias already.
    pub fn register(&mut self, kind: DriverKind) -> Result<(), ConfigError> {
        for name in [&kind.name].into_iter().chain(&kind.aliases) {
            if self.kinds.contains_key(name) {
                let name = name.clone();
                return Err(ConfigError::NameTaken { name });
            }
        }
        self.insert(Arc::new(kind));
        Ok(())
    }

    fn insert(&mut self, kind: Arc<DriverKind>) {
        for alias in &kind.aliases {
            self.kinds.insert(alias.clone(), Arc::clone(&kind));
        }
        self.kinds.insert(kind.name.clone(), kind);
    }

    /// Every kind once, by name.
    pub fn kinds(&self) -> impl Iterator<Item = &DriverKind> {
        self.kinds
            .iter()
            .filter(|(name, kind)| **name == kind.name)
            .map(|(_, kind)| &**kind)
    }

    /// The kind of a name or an alias.
    ///
    /// # Errors
    /// [`ConfigError::UnknownDriver`].
    pub fn kind(&self, name: &str) -> Result<&DriverKind, ConfigError> {
        self.kinds
            .get(name)
            .map(|kind| &**kind)
            .ok_or_else(|| ConfigError::UnknownDriver {
                name: name.to_owned(),
                known: nearest(name, self.kinds.keys().map(String::as_str)),
            })
    }

    /// Opens what a table describes.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn open(&self, table: &Map<String, Value>) -> Result<Arc<dyn StorageDriver>, ConfigError> {
        self.open_at(table, 1)
    }

    /// Opens a driver by its name, with its parameters only.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn open_named(
        &self,
        name: &str,
        parameters: &Map<String, Value>,
    ) -> Result<Arc<dyn StorageDriver>, ConfigError> {
        let mut table = parameters.clone();
        table.insert("driver".to_owned(), Value::from(name));
        self.open(&table)
    }

    fn open_at(
        &self,
        table: &Map<String, Value>,
        depth: usize,
    ) -> Result<Arc<dyn StorageDriver>, ConfigError> {
        if depth > limits::STACK {
            return Err(ConfigError::TooDeep);
        }
        let Some(name) = table.get("driver").and_then(Value::as_str) else {
            return Err(ConfigError::NoName);
        };
        let kind = self.kind(name)?;
        let parameters = Parameters::check(name, &kind.parameters, kind.stacks, table)?;
        let inner = match (kind.stacks, table.get("inner")) {
            (false, _) => None,
            (true, Some(Value::Object(inner))) => Some(self.open_at(inner, depth + 1)?),
            (true, _) => {
                let driver = name.to_owned();
                return Err(ConfigError::NoInner { driver });
            }
        };
        (kind.open)(&parameters, inner)
    }
}

/// Why a driver cannot be opened as it is configured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The table has no `driver`, or it is not text.
    #[error("a storage driver needs driver = \"NAME\"")]
    NoName,
    /// No driver has this name.
    #[error("there is no storage driver {name:?}; {known}")]
    UnknownDriver {
        /// The name.
        name: String,
        /// The name that was probably meant, or all there are.
        known: String,
    },
    /// The driver has no parameter of this name.
    #[error("the storage driver {driver} has no parameter {parameter:?}; {known}")]
    UnknownParameter {
        /// The driver.
        driver: String,
        /// The parameter.
        parameter: String,
        /// The name that was probably meant, or all there are.
        known: String,
    },
    /// A parameter that must be there is not.
    #[error("the storage driver {driver} needs the parameter {parameter}: {about}")]
    Missing {
        /// The driver.
        driver: String,
        /// The parameter.
        parameter: String,
        /// What it is.
        about: String,
    },
    /// A parameter is of another type, out of its bounds, or does not fit the others.
    #[error("the parameter {parameter} of the storage driver {driver} is not usable: {problem}")]
    BadParameter {
        /// The driver.
        driver: String,
        /// The parameter.
        parameter: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A driver that stands on another has none.
    #[error("the storage driver {driver} stands on another: give it inner = {{ driver = \"NAME\", … }}")]
    NoInner {
        /// The driver.
        driver: String,
    },
    /// Too many drivers stand on each other.
    #[error("more than {} storage drivers stand on each other", limits::STACK)]
    TooDeep,
    /// A name that is to be registered is registered already.
    #[error("there is a storage driver {name:?} already")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The driver cannot be opened.
    #[error("cannot open the storage driver {driver}: {source}")]
    Open {
        /// The driver.
        driver: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
