//! Configuration of a plugin: values by key, checked against what its manifest declares.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::LoadError;
use crate::manifest::Manifest;

/// The value of a configuration key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Number(f64),
    /// A text.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
}

/// What a value may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer,
    /// A number with a fraction; whole ones are taken too.
    Number,
    /// A text.
    Text,
    /// A list of texts.
    Texts,
}

impl Kind {
    /// In words, for messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Boolean => "true or false",
            Kind::Integer => "a whole number",
            Kind::Number => "a number",
            Kind::Text => "a text",
            Kind::Texts => "a list of texts",
        }
    }

    /// The value as this kind, if it is one.
    pub fn accept(self, value: &Value) -> Option<Value> {
        match (self, value) {
            (Kind::Boolean, Value::Boolean(_))
            | (Kind::Integer, Value::Integer(_))
            | (Kind::Number, Value::Number(_))
            | (Kind::Text, Value::Text(_))
            | (Kind::Texts, Value::Texts(_)) => Some(value.clone()),
            #[allow(clippy::cast_precision_loss, reason = "a configured number is small")]
            (Kind::Number, Value::Integer(whole)) => Some(Value::Number(*whole as f64)),
            _ => None,
        }
    }
}

/// Values by key, as an operator gives them.
pub type Values = BTreeMap<String, Value>;

/// Puts what the operator gave over the manifest's defaults. A component without a manifest takes any key.
pub(crate) fn resolve(manifest: &Manifest, given: &Values) -> Result<Values, LoadError> {
    let fault = |key: &str, message: String| LoadError::Config {
        plugin: manifest.name.clone(),
        key: key.to_owned(),
        message,
    };
    if !manifest.declared {
        return Ok(given.clone());
    }
    let mut values = Values::new();
    for (key, declared) in &manifest.config {
        let value = match given.get(key) {
            Some(value) => declared
                .kind
                .accept(value)
                .ok_or_else(|| fault(key, format!("must be {}", declared.kind.as_str())))?,
            None => match &declared.default {
                Some(default) => default.clone(),
                None if declared.required => {
                    return Err(fault(key, format!("must be set: {}", declared.doc)));
                }
                None => continue,
            },
        };
        values.insert(key.clone(), value);
    }
    if let Some(unknown) = given.keys().find(|key| !manifest.config.contains_key(*key)) {
        let known: Vec<&str> = manifest.config.keys().map(String::as_str).collect();
        let known = if known.is_empty() {
            "it has no keys".into()
        } else {
            format!("it has {}", known.join(", "))
        };
        return Err(fault(
            unknown,
            format!("the plugin does not know this key; {known}"),
        ));
    }
    Ok(values)
}
