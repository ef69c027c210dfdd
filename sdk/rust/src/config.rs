//! Configuration: the keys that `plugin.toml` declares, as a type of the plugin's own.

use std::collections::{BTreeMap, btree_map};
use std::fmt;

use serde::de::value::{SeqDeserializer, StrDeserializer};
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use crate::error::Error;

/// Configuration values by key. The host has put in defaults and checked types by what `plugin.toml` declares.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config(BTreeMap<String, ConfigValue>);

impl Config {
    /// The value of `key`, if there is one.
    pub fn get(&self, key: &str) -> Option<&ConfigValue> {
        self.0.get(key)
    }

    /// Sets `key`, for tests.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<ConfigValue>) {
        self.0.insert(key.into(), value.into());
    }

    /// All keys and values, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ConfigValue)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The values as a type of the plugin's own.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] naming the key that is missing or does not fit.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, Error> {
        T::deserialize(Fields(&self.0)).map_err(|fault| Error::Config {
            message: if fault.message.is_empty() {
                "is not set".into()
            } else {
                fault.message
            },
            key: fault.key.unwrap_or_default(),
        })
    }
}

impl FromIterator<(String, ConfigValue)> for Config {
    fn from_iter<I: IntoIterator<Item = (String, ConfigValue)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// The value of a configuration key.
#[derive(Clone, Debug, PartialEq)]
pub enum ConfigValue {
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

impl From<bool> for ConfigValue {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<i64> for ConfigValue {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<f64> for ConfigValue {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<&str> for ConfigValue {
    fn from(value: &str) -> Self {
        Self::Text(value.into())
    }
}

impl From<Vec<String>> for ConfigValue {
    fn from(value: Vec<String>) -> Self {
        Self::Texts(value)
    }
}

impl<const N: usize> From<[&str; N]> for ConfigValue {
    fn from(value: [&str; N]) -> Self {
        Self::Texts(value.map(str::to_owned).to_vec())
    }
}

/// What serde says, and of which key.
#[derive(Debug)]
struct Fault {
    key: Option<String>,
    message: String,
}

impl Fault {
    fn at(mut self, key: &str) -> Self {
        self.key.get_or_insert_with(|| key.to_owned());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            key: None,
            message: message.to_string(),
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self {
            key: Some(field.to_owned()),
            message: "is not set and has no default in plugin.toml".into(),
        }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self {
            key: Some(field.to_owned()),
            message: format!("is not known; known are {}", expected.join(", ")),
        }
    }
}

struct Fields<'de>(&'de BTreeMap<String, ConfigValue>);

impl<'de> Deserializer<'de> for Fields<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_map(FieldAccess {
            rest: self.0.iter(),
            current: None,
        })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct FieldAccess<'de> {
    rest: btree_map::Iter<'de, String, ConfigValue>,
    current: Option<(&'de String, &'de ConfigValue)>,
}

impl<'de> de::MapAccess<'de> for FieldAccess<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        self.current = self.rest.next();
        match self.current {
            Some((key, _)) => seed.deserialize(StrDeserializer::new(key)).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        match self.current {
            Some((key, value)) => seed.deserialize(Value(value)).map_err(|fault| fault.at(key)),
            None => Err(de::Error::custom("a value was asked for before its key")),
        }
    }
}

struct Value<'de>(&'de ConfigValue);

impl<'de> Deserializer<'de> for Value<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            ConfigValue::Boolean(value) => visitor.visit_bool(*value),
            ConfigValue::Integer(value) => visitor.visit_i64(*value),
            ConfigValue::Number(value) => visitor.visit_f64(*value),
            ConfigValue::Text(value) => visitor.visit_borrowed_str(value),
            ConfigValue::Texts(values) => {
                visitor.visit_seq(SeqDeserializer::new(values.iter().map(String::as_str)))
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.0 {
            ConfigValue::Text(text) => {
                let unit: StrDeserializer<'_, Fault> = text.as_str().into_deserializer();
                unit.deserialize_enum(name, variants, visitor)
            }
            _ => Err(de::Error::custom(format!(
                "must be one of {}",
                variants.join(", ")
            ))),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        refuse: bool,
        limit: u32,
        ratio: f64,
        severity: crate::Severity,
        ignore: Vec<String>,
        note: Option<String>,
    }

    fn full() -> Config {
        let mut config = Config::default();
        config.set("refuse", true);
        config.set("limit", 7);
        config.set("ratio", 1.5);
        config.set("severity", "warning");
        config.set("ignore", ["a", "b"]);
        config
    }

    #[test]
    fn every_type_arrives() {
        let settings: Settings = full().to().unwrap();
        let ignore = vec!["a".to_owned(), "b".to_owned()];
        let severity = crate::Severity::Warning;
        assert_eq!(
            settings,
            Settings {
                refuse: true,
                limit: 7,
                ratio: 1.5,
                severity,
                ignore,
                note: None
            }
        );
    }

    fn faulty(change: impl FnOnce(&mut Config)) -> (String, String) {
        let mut config = full();
        change(&mut config);
        match config.to::<Settings>() {
            Err(Error::Config { key, message }) => (key, message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_missing_key_is_named() {
        let (key, message) = faulty(|config| {
            config.0.remove("limit");
        });
        assert_eq!(key, "limit");
        assert!(message.contains("not set"), "{message}");
    }

    #[test]
    fn a_value_of_the_wrong_type_or_range_is_named() {
        assert_eq!(faulty(|config| config.set("refuse", 3)).0, "refuse");
        assert_eq!(faulty(|config| config.set("limit", -1)).0, "limit");
        assert_eq!(faulty(|config| config.set("severity", "awful")).0, "severity");
        assert_eq!(faulty(|config| config.set("severity", 1)).0, "severity");
        assert_eq!(faulty(|config| config.set("what", 1)).0, "what");
    }
}
