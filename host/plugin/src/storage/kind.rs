//! A plugin as a kind of driver of the factory: its table, and how the table becomes grants.

use std::borrow::Cow;
use std::sync::Arc;

use transom_storage::StorageDriver;
use transom_storage::factory::{ConfigError, DriverKind, Factory, Parameter, Parameters, Type};

use super::driver::WasmDriver;
use super::error::OpenError;
use super::grants::{Grants, Hosts, Masters};
use super::{DriverPlugin, Inner};
use crate::config::{self, Kind, Value};
use crate::limits::{DRIVER_INSTANCES, DRIVER_INSTANCES_MAX};
use crate::manifest::ConfigKey;

impl DriverPlugin {
    /// The plugin as a kind of driver: its parameters are the keys and secrets of its manifest and what grants it powers.
    pub fn kind(&self) -> DriverKind {
        let plugin = self.clone();
        DriverKind {
            name: self.name().to_owned(),
            aliases: Vec::new(),
            about: match self.manifest().description.as_str() {
                "" => format!("the plugin {} {}", self.name(), self.version()),
                description => format!("{description} (plugin {})", self.version()),
            },
            stacks: self.stacks(),
            parameters: parameters(&self.inner),
            open: Arc::new(move |parameters: &Parameters<'_>, inner| plugin.open_table(parameters, inner)),
        }
    }

    /// Makes the plugin's driver known to a factory.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NameTaken`].
    pub fn register(&self, factory: &mut Factory) -> Result<(), ConfigError> {
        factory.register(self.kind())
    }

    /// Opens the driver with what the operator grants.
    ///
    /// # Errors
    ///
    /// Any [`OpenError`].
    pub fn open(&self, grants: Grants) -> Result<Arc<dyn StorageDriver>, OpenError> {
        let plugin = &self.inner;
        let missing = |asked: &str, line: &str| {
            Err(OpenError::NotGranted {
                asked: asked.to_owned(),
                line: line.to_owned(),
            })
        };
        if plugin.asks_for("inner") && grants.inner.is_none() {
            return missing("inner", "inner = { driver = \"NAME\", … }");
        }
        if plugin.asks_for("keys") && grants.masters.is_empty() {
            return missing("keys", "masterkeys = { file = \"PATH\" }");
        }
        let config =
            config::resolve(&plugin.manifest, &grants.config).map_err(|error| OpenError::Config {
                key: plugin.name.clone(),
                message: error.to_string(),
            })?;
        WasmDriver::open(Arc::clone(plugin), Grants { config, ..grants })
    }

    fn open_table(
        &self,
        parameters: &Parameters<'_>,
        inner: Option<Arc<dyn StorageDriver>>,
    ) -> Result<Arc<dyn StorageDriver>, ConfigError> {
        let grants = Grants {
            inner,
            ..grants(&self.inner, parameters)?
        };
        self.open(grants).map_err(|error| wrong(parameters, error))
    }
}

/// What can be in the table.
fn parameters(plugin: &Inner) -> Vec<Parameter> {
    let manifest = &plugin.manifest;
    let mut all: Vec<Parameter> = manifest
        .config
        .iter()
        .map(|(name, key)| Parameter {
            name: Cow::Owned(name.clone()),
            kind: kind(key.kind),
            required: key.required,
            about: about(key),
        })
        .collect();
    all.extend(manifest.secrets.iter().map(|(name, secret)| Parameter {
        name: Cow::Owned(name.clone()),
        kind: Type::Secret,
        required: secret.required,
        about: Cow::Owned(secret.doc.clone()),
    }));
    if plugin.asks_for("http") {
        all.push(Parameter::required(
            "hosts",
            Type::Texts,
            "the servers that the plugin may reach, such as https://dav.example.com",
        ));
    }
    if plugin.asks_for("keys") {
        all.push(Parameter::required(
            "masterkeys",
            Type::Secrets,
            "32 bytes as 64 hexadecimal digits, as `openssl rand -hex 32` makes them; the first encrypts, the others decrypt",
        ));
    }
    all.push(Parameter::optional(
        "maxinstances",
        Type::Integer,
        "instances at a time, 2 to 256; each open reader, writer and walk has one; 64",
    ));
    all
}

fn about(key: &ConfigKey) -> Cow<'static, str> {
    let default = key.default.as_ref().map(|default| match default {
        Value::Boolean(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::Text(value) => value.clone(),
        Value::Texts(values) => values.join(", "),
    });
    Cow::Owned(match default {
        Some(default) => format!("{}; {default}", key.doc.trim_end_matches('.')),
        None => key.doc.clone(),
    })
}

fn kind(kind: Kind) -> Type {
    match kind {
        Kind::Boolean => Type::Bool,
        Kind::Integer => Type::Integer,
        Kind::Number => Type::Number,
        Kind::Text => Type::Text,
        Kind::Texts => Type::Texts,
    }
}

/// What the table grants.
fn grants(plugin: &Inner, parameters: &Parameters<'_>) -> Result<Grants, ConfigError> {
    let mut grants = Grants::default();
    for (name, key) in &plugin.manifest.config {
        if let Some(value) = value(name, key.kind, parameters)? {
            grants.config.insert(name.clone(), value);
        }
    }
    for name in plugin.manifest.secrets.keys() {
        let secret = parameters.secrets(name)?.first().cloned();
        grants.secrets.extend(secret.map(|secret| (name.clone(), secret)));
    }
    let bad = |error| wrong(parameters, error);
    if plugin.asks_for("http") {
        grants.hosts = Hosts::parse(parameters.texts("hosts")?.unwrap_or_default()).map_err(bad)?;
    }
    if plugin.asks_for("keys") {
        grants.masters = Masters::parse(parameters.secrets("masterkeys")?).map_err(bad)?;
    }
    let instances = parameters.integer("maxinstances", 2, DRIVER_INSTANCES_MAX)?;
    grants.instances = Some(instances.unwrap_or(DRIVER_INSTANCES) as usize);
    Ok(grants)
}

fn value(name: &str, kind: Kind, parameters: &Parameters<'_>) -> Result<Option<Value>, ConfigError> {
    Ok(match kind {
        Kind::Boolean => parameters.bool(name)?.map(Value::Boolean),
        Kind::Integer => parameters
            .integer(name, 0, i64::MAX as u64)?
            .map(|number| Value::Integer(number as i64)),
        Kind::Number => parameters.number(name)?.map(Value::Number),
        Kind::Text => parameters.text(name)?.map(|text| Value::Text(text.to_owned())),
        Kind::Texts => parameters.texts(name)?.map(|texts| Value::Texts(texts.to_vec())),
    })
}

/// The error in the factory's words.
fn wrong(parameters: &Parameters<'_>, error: OpenError) -> ConfigError {
    match error {
        OpenError::Config { key, message } if key != parameters.driver() => parameters.bad(&key, &message),
        error => parameters.failed(error),
    }
}
