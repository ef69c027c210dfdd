//! YAML as values that know where they come from.

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};

use super::Origin;
use crate::settings::Mistake;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file.
    Map(Vec<(String, Node)>),
}

impl Node {
    pub(super) fn empty(origin: Origin) -> Node {
        Node {
            origin,
            value: Value::Map(Vec::new()),
        }
    }

    pub(super) fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// Text, and what YAML took for something else though it stood for itself.
    pub(super) fn as_text(&self) -> Option<String> {
        match &self.value {
            Value::Text(text) => Some(text.clone()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Integer(number) => Some(number.to_string()),
            Value::Float(number) => Some(number.to_string()),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// `true` and `false`, and what was so in YAML 1.1.
    pub(super) fn as_bool(&self) -> Option<bool> {
        match &self.value {
            Value::Bool(value) => Some(*value),
            Value::Text(text) => match text.to_lowercase().as_str() {
                "true" | "yes" | "on" | "y" => Some(true),
                "false" | "no" | "off" | "n" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn as_integer(&self) -> Option<i64> {
        match &self.value {
            Value::Integer(number) => Some(*number),
            Value::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The texts of a list; one text is a list of one.
    pub(super) fn as_texts(&self) -> Option<Vec<String>> {
        match &self.value {
            Value::List(nodes) => nodes.iter().map(Node::as_text).collect(),
            _ => self.as_text().map(|text| vec![text]),
        }
    }

    /// As TOML, which has no null.
    pub(super) fn to_toml(&self) -> Option<toml::Value> {
        Some(match &self.value {
            Value::Null => return None,
            Value::Bool(value) => (*value).into(),
            Value::Integer(number) => (*number).into(),
            Value::Float(number) => (*number).into(),
            Value::Text(text) => text.clone().into(),
            Value::List(nodes) => nodes.iter().filter_map(Node::to_toml).collect::<Vec<_>>().into(),
            Value::Map(nodes) => {
                let pair = |(key, node): &(String, Node)| Some((key.clone(), node.to_toml()?));
                nodes.iter().filter_map(pair).collect::<toml::Table>().into()
            }
        })
    }
}

/// Reads a file of one document, which is a map; an empty one is an empty map.
pub(super) fn parse(text: &str) -> Result<Node, Mistake> {
    let root = document(text)?;
    match root.value {
        Value::Map(_) => Ok(root),
        Value::Null => Ok(Node::empty(Origin::Line(1))),
        _ => Err(Mistake {
            line: 1,
            message: "this is no configuration of docker-registry: it must begin with `version: 0.1`"
                .to_owned(),
        }),
    }
}

/// Reads one document of any kind.
pub(super) fn document(text: &str) -> Result<Node, Mistake> {
    let documents = MarkedYaml::load_from_str(text).map_err(|error| Mistake {
        line: error.marker().line(),
        message: format!("this is no YAML: {}", error.info()),
    })?;
    match &documents[..] {
        [] => Ok(Node {
            origin: Origin::Line(1),
            value: Value::Null,
        }),
        [document] => node(document),
        [_, second, ..] => Err(mistake(second, "there is a second document")),
    }
}

fn mistake(yaml: &MarkedYaml<'_>, message: &str) -> Mistake {
    Mistake {
        line: yaml.span.start.line(),
        message: message.to_owned(),
    }
}

fn node(yaml: &MarkedYaml<'_>) -> Result<Node, Mistake> {
    let value = match &yaml.data {
        YamlData::Value(scalar) => match scalar {
            Scalar::Null => Value::Null,
            Scalar::Boolean(value) => Value::Bool(*value),
            Scalar::Integer(number) => Value::Integer(*number),
            Scalar::FloatingPoint(number) => Value::Float(number.into_inner()),
            Scalar::String(text) => Value::Text(text.clone().into_owned()),
        },
        YamlData::Representation(text, ..) => Value::Text(text.clone().into_owned()),
        YamlData::Sequence(nodes) => Value::List(nodes.iter().map(node).collect::<Result<_, _>>()?),
        YamlData::Mapping(pairs) => Value::Map(map(pairs.iter())?),
        YamlData::Tagged(_, inner) => node(inner)?.value,
        YamlData::Alias(_) | YamlData::BadValue => return Err(mistake(yaml, "this value cannot be read")),
    };
    Ok(Node {
        origin: Origin::Line(yaml.span.start.line()),
        value,
    })
}

/// With what `<<` brings in, as far as the map does not say it itself. A value's line is its key's.
fn map<'y>(
    pairs: impl Iterator<Item = (&'y MarkedYaml<'y>, &'y MarkedYaml<'y>)>,
) -> Result<Vec<(String, Node)>, Mistake> {
    let mut map: Vec<(String, Node)> = Vec::new();
    let mut merged = Vec::new();
    for (key, value) in pairs {
        let line = key.span.start.line();
        let name = node(key)?
            .as_text()
            .ok_or_else(|| mistake(key, "a key must be text"))?;
        let mut value = node(value)?;
        if name == "<<" {
            merged.push(value);
            continue;
        }
        value.origin = Origin::Line(line);
        map.push((name, value));
    }
    for node in merged {
        let nodes = match node.value {
            Value::List(nodes) => nodes,
            _ => vec![node],
        };
        let pairs = nodes.into_iter().filter_map(|node| match node.value {
            Value::Map(pairs) => Some(pairs),
            _ => None,
        });
        for (name, value) in pairs.flatten() {
            if !map.iter().any(|(known, _)| *known == name) {
                map.push((name, value));
            }
        }
    }
    Ok(map)
}
