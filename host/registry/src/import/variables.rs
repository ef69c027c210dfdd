//! `REGISTRY_HTTP_TLS_KEY=…` and the like, laid over the file as docker-registry does it.

use std::collections::BTreeMap;

use super::tree::{self, Node, Value};
use super::{ImportError, Origin, Untranslated};

/// What all variables begin with.
const PREFIX: &str = "REGISTRY_";

/// Where docker-registry itself looks for its file.
const PLACE: &str = "REGISTRY_CONFIGURATION_PATH";

/// Variables go by the names of fields in docker-registry's program, which are not always the keys of the file.
const FIELDS: [(&str, &str); 4] = [
    ("EVENTCONFIG", "events"),
    ("FILECHECKERS", "file"),
    ("HTTPCHECKERS", "http"),
    ("TCPCHECKERS", "tcp"),
];

/// Tables whose value may also be the name of one table in them: `REGISTRY_AUTH=htpasswd`.
const NAMED: [&str; 2] = ["storage", "auth"];

/// Lays variables over the tree, in the order of their names, so that the more general ones come first. Returns those that lead
/// nowhere.
pub(super) fn apply(
    root: &mut Node,
    variables: &BTreeMap<String, String>,
) -> Result<Vec<Untranslated>, ImportError> {
    let mut unknown = Vec::new();
    let ours = variables.iter().filter(|(name, _)| *name != PLACE);
    for (name, text) in ours {
        let Some(path) = name.strip_prefix(PREFIX) else {
            continue;
        };
        let wrong = |problem: String| ImportError::Variable {
            name: name.clone(),
            problem,
        };
        let mut value = tree::document(text).map_err(|mistake| wrong(mistake.message))?;
        set_origin(&mut value, name);
        let parts: Vec<&str> = path.split('_').collect();
        if parts.iter().any(|part| part.is_empty()) {
            unknown.push(Untranslated {
                key: path.to_lowercase().replace('_', "."),
                origin: Origin::Variable(name.clone()),
                reason: "no key has such a name".to_owned(),
                matters: true,
            });
            continue;
        }
        set(root, &parts, value, name).map_err(wrong)?;
    }
    Ok(unknown)
}

fn set_origin(node: &mut Node, variable: &str) {
    node.origin = Origin::Variable(variable.to_owned());
    match &mut node.value {
        Value::List(nodes) => nodes.iter_mut().for_each(|node| set_origin(node, variable)),
        Value::Map(pairs) => pairs.iter_mut().for_each(|(_, node)| set_origin(node, variable)),
        _ => {}
    }
}

fn set(node: &mut Node, path: &[&str], value: Node, variable: &str) -> Result<(), String> {
    let Some((part, rest)) = path.split_first() else {
        *node = value;
        return Ok(());
    };
    let origin = Origin::Variable(variable.to_owned());
    if let Value::List(nodes) = &mut node.value {
        let problem = || format!("{part} is not the number of an entry, from 0, or of the first new one");
        let index: usize = part.parse().map_err(|_| problem())?;
        if index == nodes.len() {
            nodes.push(Node::empty(origin));
        }
        let entry = nodes.get_mut(index).ok_or_else(problem)?;
        return set(entry, rest, value, variable);
    }
    if !matches!(node.value, Value::Map(_)) {
        node.value = as_map(node, part, &origin);
    }
    match &mut node.value {
        Value::Map(pairs) => set(entry(pairs, part, origin), rest, value, variable),
        // A number begins a list.
        _ => set(node, path, value, variable),
    }
}

/// What a value becomes when a variable names something in it.
fn as_map(node: &Node, part: &str, origin: &Origin) -> Value {
    match &node.value {
        Value::Text(name) => Value::Map(vec![(name.clone(), Node::empty(origin.clone()))]),
        _ if part.parse::<usize>().is_ok() => Value::List(Vec::new()),
        _ => Value::Map(Vec::new()),
    }
}

/// The entry that a part names, by letters of any case; a new one in small letters if there is none.
fn entry<'m>(pairs: &'m mut Vec<(String, Node)>, part: &str, origin: Origin) -> &'m mut Node {
    let field = FIELDS.into_iter().find(|(field, _)| *field == part);
    let name = field.map_or_else(|| part.to_lowercase(), |(_, key)| key.to_owned());
    let at = pairs.iter().position(|(key, _)| key.to_lowercase() == name);
    let at = at.unwrap_or_else(|| {
        let value = Value::Null;
        pairs.push((name, Node { origin, value }));
        pairs.len() - 1
    });
    &mut pairs[at].1
}

/// Makes `storage: inmemory` what it stands for.
pub(super) fn expand(root: &mut Node) {
    let Value::Map(pairs) = &mut root.value else {
        return;
    };
    for (key, node) in pairs {
        if let (true, Value::Text(name)) = (NAMED.contains(&key.as_str()), &node.value) {
            node.value = Value::Map(vec![(name.clone(), Node::empty(node.origin.clone()))]);
        }
    }
}
