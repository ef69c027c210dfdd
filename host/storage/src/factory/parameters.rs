//! The parameters of a driver: which there are, and what a table says.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::{ConfigError, Secret, nearest};

/// A parameter that a driver has.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its name in the table.
    pub name: Cow<'static, str>,
    /// What it must be.
    pub kind: Type,
    /// Whether it must be there.
    pub required: bool,
    /// What it is, and what holds without it.
    pub about: Cow<'static, str>,
}

impl Parameter {
    /// One that must be there.
    #[must_use]
    pub const fn required(name: &'static str, kind: Type, about: &'static str) -> Parameter {
        Parameter {
            name: Cow::Borrowed(name),
            kind,
            required: true,
            about: Cow::Borrowed(about),
        }
    }

    /// One that may be left out.
    #[must_use]
    pub const fn optional(name: &'static str, kind: Type, about: &'static str) -> Parameter {
        Parameter {
            name: Cow::Borrowed(name),
            kind,
            required: false,
            about: Cow::Borrowed(about),
        }
    }
}

/// What a parameter must be. Numbers and switches may also be written as text, as in docker-registry's variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Text; numbers are taken as text too.
    Text,
    /// A whole number, not negative.
    Integer,
    /// `true` or `false`.
    Bool,
    /// A time as text: `250ms`, `30s`, `5m`, `1h`.
    Duration,
    /// A table.
    Map,
    /// A number, also with a fraction.
    Number,
    /// A list of texts; one text is a list of one.
    Texts,
    /// A text that is not shown, or a table `{ file = "PATH" }` with where it is.
    Secret,
    /// A list of secrets; one is a list of one.
    Secrets,
}

impl Type {
    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Type::Text => "text",
            Type::Integer => "a whole number",
            Type::Bool => "true or false",
            Type::Duration => "a time such as \"250ms\", \"30s\", \"5m\", \"1h\"",
            Type::Map => "a table",
            Type::Number => "a number",
            Type::Texts => "a list of texts",
            Type::Secret => "text, or { file = \"PATH\" }",
            Type::Secrets => "a list of texts, or of { file = \"PATH\" }",
        }
    }
}

/// The parameters of a table, known by name and of the right type.
#[derive(Clone, Debug)]
pub struct Parameters<'a> {
    driver: &'a str,
    table: &'a Map<String, Value>,
    values: BTreeMap<&'a str, Given<'a>>,
}

#[derive(Clone, Debug)]
enum Given<'a> {
    Text(String),
    Integer(u64),
    Bool(bool),
    Duration(Duration),
    Map(&'a Map<String, Value>),
    Number(f64),
    Texts(Vec<String>),
    Secrets(Vec<Secret>),
}

impl<'a> Parameters<'a> {
    pub(super) fn check(
        driver: &'a str,
        known: &[Parameter],
        stacks: bool,
        table: &'a Map<String, Value>,
    ) -> Result<Parameters<'a>, ConfigError> {
        let mut values = BTreeMap::new();
        for (name, value) in table {
            if name == "driver" || (name == "inner" && stacks) {
                continue;
            }
            let Some(parameter) = known.iter().find(|parameter| parameter.name == **name) else {
                return Err(ConfigError::UnknownParameter {
                    driver: driver.to_owned(),
                    parameter: name.clone(),
                    known: nearest(name, known.iter().map(|parameter| &*parameter.name)),
                });
            };
            let given = given(parameter.kind, value).map_err(|problem| ConfigError::BadParameter {
                driver: driver.to_owned(),
                parameter: name.clone(),
                problem,
            })?;
            values.insert(name.as_str(), given);
        }
        let missing = known
            .iter()
            .find(|parameter| parameter.required && !values.contains_key(&*parameter.name));
        match missing {
            Some(parameter) => Err(ConfigError::Missing {
                driver: driver.to_owned(),
                parameter: parameter.name.clone().into_owned(),
                about: parameter.about.clone().into_owned(),
            }),
            None => Ok(Parameters {
                driver,
                table,
                values,
            }),
        }
    }

    /// The name by which the driver was asked for.
    #[must_use]
    pub fn driver(&self) -> &str {
        self.driver
    }

    /// The whole table, as it was written.
    #[must_use]
    pub fn table(&self) -> &Map<String, Value> {
        self.table
    }

    /// A text, if it is there.
    ///
    /// # Errors
    /// [`ConfigError::BadParameter`] if the parameter is declared as another type.
    pub fn text(&self, name: &str) -> Result<Option<&str>, ConfigError> {
        self.value(name, Type::Text, |given| match given {
            Given::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// [`ConfigError::BadParameter`] if it is not, or is empty.
    pub fn required_text(&self, name: &str) -> Result<&str, ConfigError> {
        match self.text(name)? {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(self.bad(name, "it must not be empty")),
        }
    }

    /// A switch, if it is there.
    ///
    /// # Errors
    /// [`ConfigError::BadParameter`] if the parameter is declared as another type.
    pub fn bool(&self, name: &str) -> Result<Option<bool>, ConfigError> {
        self.value(name, Type::Bool, |given| match given {
            Given::Bool(value) => Some(*value),
            _ => None,
        })
    }

    /// A number from `least` to `most`, if it is there.
    ///
    /// # Errors
    /// [`ConfigError::BadParameter`] if it is not between them.
    pub fn integer(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, ConfigError> {
        let number = self.value(name, Type::Integer, |given| match given {
            Given::Integer(number) => Some(*number),
            _ => None,
        })?;
        match number {
            Some(number) if number < least => Err(self.bad(name, &format!("it must be at least {least}"))),
            Some(number) if number > most => Err(self.bad(name, &format!("it must be at most {most}"))),
            number => Ok(number),
        }
    }

    /// A time, if it is there.
    ///
    /// # Errors
    /// [`ConfigError::BadParameter`] if the parameter is declared as another type.
    pub fn duration(&self, name: &str) -> Result<Option<Duration>, ConfigError> {
        self.value(name, Type::Duration, |given| match given {
            Given::Duration(time) => Some(*time),
            _ => None,
        })
    }

    /// A table, if it is there.
    ///
    /// # Errors
    /// [`ConfigError::BadParameter`] if the parameter is declared as another type.
    pub fn map(&self, name: &str) -> Result<Option<&'a Map<String, Value>>, ConfigError> {
        self.value(name, Type::Map, |given| match given {
            Given::Map(map) => Some(*map),
            _ => None,
        })
    }

    /// A number that may have a fraction, if it is there.
    ///
    /// # Errors
    /// [`ConfigError::BadParameter`] if the parameter is declared as another type.
    pub fn number(&self, name: &str) -> Result<Option<f64>, ConfigError> {
        self.value(name, Type::Number, |given| match given {
            Given::Number(number) => Some(*number),
            _ => None,
        })
    }

    /// A list of texts; `None` if it is not there.
    ///
    /// # Errors
    /// [`ConfigError::BadParameter`] if the parameter is declared as another type.
    pub fn texts(&self, name: &str) -> Result<Option<&[String]>, ConfigError> {
        self.value(name, Type::Texts, |given| match given {
            Given::Texts(texts) => Some(texts.as_slice()),
            _ => None,
        })
    }

    /// A secret, or several; none if it is not there.
    ///
    /// # Errors
    /// [`ConfigError::BadParameter`] if the parameter is declared as another type.
    pub fn secrets(&self, name: &str) -> Result<&[Secret], ConfigError> {
        let secrets = self.value(name, Type::Secrets, |given| match given {
            Given::Secrets(secrets) => Some(secrets.as_slice()),
            _ => None,
        })?;
        Ok(secrets.unwrap_or_default())
    }

    /// An error about a parameter.
    #[must_use]
    pub fn bad(&self, name: &str, problem: &str) -> ConfigError {
        ConfigError::BadParameter {
            driver: self.driver.to_owned(),
            parameter: name.to_owned(),
            problem: problem.to_owned(),
        }
    }

    /// An error about the driver.
    #[must_use]
    pub fn failed(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ConfigError {
        ConfigError::Open {
            driver: self.driver.to_owned(),
            source: source.into(),
        }
    }

    fn value<'s, T>(
        &'s self,
        name: &str,
        kind: Type,
        pick: impl FnOnce(&'s Given<'a>) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(given) = self.values.get(name) else {
            return Ok(None);
        };
        pick(given).map(Some).ok_or_else(|| {
            self.bad(
                name,
                &format!("the driver declares it as something else than {}", kind.name()),
            )
        })
    }
}

/// A value as a type, or what is wrong with it.
fn given(kind: Type, value: &Value) -> Result<Given<'_>, String> {
    let secret = |value: &Value| Secret::read(value);
    let given = match (kind, value) {
        (Type::Secret, value) => return Ok(Given::Secrets(vec![secret(value)?])),
        (Type::Secrets, Value::Array(values)) => {
            return Ok(Given::Secrets(
                values.iter().map(secret).collect::<Result<_, _>>()?,
            ));
        }
        (Type::Secrets, value) => return Ok(Given::Secrets(vec![secret(value)?])),
        (Type::Text, Value::String(text)) => Some(Given::Text(text.clone())),
        (Type::Text, Value::Number(number)) => Some(Given::Text(number.to_string())),
        (Type::Integer, Value::Number(number)) => number.as_u64().map(Given::Integer),
        (Type::Integer, Value::String(text)) => text.parse().ok().map(Given::Integer),
        (Type::Bool, Value::Bool(value)) => Some(Given::Bool(*value)),
        (Type::Bool, Value::String(text)) => text.parse().ok().map(Given::Bool),
        (Type::Duration, Value::String(text)) => duration(text).map(Given::Duration),
        (Type::Map, Value::Object(map)) => Some(Given::Map(map)),
        (Type::Number, Value::Number(number)) => number.as_f64().map(Given::Number),
        (Type::Number, Value::String(text)) => text.parse().ok().map(Given::Number),
        (Type::Texts, Value::String(text)) => Some(Given::Texts(vec![text.clone()])),
        (Type::Texts, Value::Array(values)) => texts(values).map(Given::Texts),
        _ => None,
    };
    given.ok_or_else(|| format!("it must be {}", kind.name()))
}

fn texts(values: &[Value]) -> Option<Vec<String>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    values.iter().map(text).collect()
}

fn duration(text: &str) -> Option<Duration> {
    let unit = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit);
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}
