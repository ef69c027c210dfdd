//! What a plugin asks for and what the operator has given it: the two keys of every power, side by side, with the line that is
//! missing.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::decrypt;
use crate::manifest::{DRIVER_CAPABILITIES, Manifest, PluginKind};

/// What the operator's configuration has for one plugin.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The private keys of a processor.
    pub keys: Vec<PathBuf>,
    /// Every table of a storage configuration that names the driver.
    pub tables: Vec<Map<String, Value>>,
}

impl Given {
    /// The tables of a storage configuration, in any depth, that are for a driver.
    #[must_use]
    pub fn with_storage(mut self, storage: &Map<String, Value>, driver: &str) -> Given {
        let mut next = Some(storage);
        while let Some(table) = next {
            if table.get("driver").and_then(Value::as_str) == Some(driver) {
                self.tables.push(table.clone());
            }
            next = table.get("inner").and_then(Value::as_object);
        }
        self
    }
}

/// A power, and who is for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Grant {
    /// As `plugin.toml` names it.
    pub capability: &'static str,
    /// Whether the plugin asks for it.
    pub asked: bool,
    /// Whether the operator grants it.
    pub granted: bool,
    /// What was granted, in words; never a secret.
    pub what: String,
    /// What to add to the configuration, if the plugin asks for it and does not have it.
    pub add: String,
}

/// All powers that a plugin of this kind can have.
#[must_use]
pub fn of(manifest: &Manifest, given: &Given) -> Vec<Grant> {
    match manifest.kind {
        PluginKind::Processor => vec![keys(manifest, given)],
        PluginKind::Filter => Vec::new(),
        PluginKind::Driver => DRIVER_CAPABILITIES
            .into_iter()
            .map(|capability| driver(manifest, capability, given))
            .collect(),
    }
}

fn grant(
    manifest: &Manifest,
    capability: &'static str,
    what: &[String],
    add: impl FnOnce() -> String,
) -> Grant {
    let asked = manifest.capabilities.iter().any(|asked| asked == capability);
    let granted = !what.is_empty();
    Grant {
        capability,
        asked,
        granted,
        what: what.join(", "),
        add: if asked && !granted { add() } else { String::new() },
    }
}

fn keys(manifest: &Manifest, given: &Given) -> Grant {
    let paths = given.keys.iter().map(|path| path.display().to_string());
    grant(manifest, decrypt::CAPABILITY, &paths.collect::<Vec<_>>(), || {
        format!(
            "[processors.keys]\n{} = [\"/etc/transom/keys\"]",
            key(&manifest.name)
        )
    })
}

/// A name as a key of a table.
pub(crate) fn key(name: &str) -> String {
    let is_bare = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if is_bare {
        name.to_owned()
    } else {
        format!("{name:?}")
    }
}

fn driver(manifest: &Manifest, capability: &'static str, given: &Given) -> Grant {
    let tables = given.tables.iter();
    let what: Vec<String> = tables
        .filter_map(|table| granted(manifest, capability, table))
        .collect();
    let line = match capability {
        "inner" => "inner = { driver = \"NAME\" }".to_owned(),
        "http" => "hosts = [\"https://HOST\"]".to_owned(),
        "keys" => "masterkeys = { file = \"PATH\" }".to_owned(),
        _ => {
            let lines = manifest.secrets.keys();
            lines
                .map(|name| format!("{} = {{ file = \"PATH\" }}", key(name)))
                .collect::<Vec<_>>()
                .join("\n")
        }
    };
    grant(manifest, capability, &what, || {
        format!(
            "# in the table of storage that has driver = {:?}\n{line}",
            manifest.name
        )
    })
}

/// What a table grants, in words.
fn granted(manifest: &Manifest, capability: &str, table: &Map<String, Value>) -> Option<String> {
    match capability {
        "inner" => {
            let inner = table.get("inner")?.get("driver")?.as_str()?;
            Some(format!("the driver {inner}"))
        }
        "http" => {
            let hosts = table.get("hosts")?.as_array()?;
            let hosts: Vec<&str> = hosts.iter().filter_map(Value::as_str).collect();
            (!hosts.is_empty()).then(|| hosts.join(", "))
        }
        "keys" => table.contains_key("masterkeys").then(|| "master keys".to_owned()),
        _ => {
            let names = manifest.secrets.keys().filter(|name| table.contains_key(*name));
            let names: Vec<&str> = names.map(String::as_str).collect();
            (!names.is_empty()).then(|| names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn manifest(text: &str) -> Manifest {
        Manifest::parse(text, Path::new("plugin.toml")).unwrap()
    }

    #[test]
    fn what_is_missing_is_said_as_it_must_be_written() {
        let asks = manifest(
            "name = \"seal\"\nversion = \"1.0.0\"\nkind = \"processor\"\nworld = \"w\"\ncapabilities = [\"keys\"]\n\
             converts = [{ accepts = \"a/b\", returns = \"c/d\" }]\n",
        );
        let missing = of(&asks, &Given::default());
        assert_eq!(
            missing[0].add,
            "[processors.keys]\nseal = [\"/etc/transom/keys\"]"
        );
        let given = Given {
            keys: vec!["/k".into()],
            ..Given::default()
        };
        let grant = &of(&asks, &given)[0];
        assert_eq!(
            (grant.granted, grant.what.as_str(), grant.add.as_str()),
            (true, "/k", "")
        );
        let silent = Manifest {
            capabilities: Vec::new(),
            ..asks
        };
        let grant = &of(&silent, &Given::default())[0];
        assert!(
            !grant.asked && grant.add.is_empty(),
            "what nobody asks for is not missing"
        );
    }

    #[test]
    fn a_driver_is_found_wherever_it_stands() {
        let asks = manifest(
            "name = \"dav\"\nversion = \"1.0.0\"\nkind = \"driver\"\nworld = \"w\"\n\
             capabilities = [\"http\", \"secrets\"]\n[secrets.password]\ndoc = \"a\"\n",
        );
        let storage = serde_json::json!({
            "driver": "encrypt",
            "inner": { "driver": "dav", "hosts": ["https://dav.example.com"] }
        });
        let given = Given::default().with_storage(storage.as_object().unwrap(), "dav");
        let grants = of(&asks, &given);
        let find = |name| grants.iter().find(|grant| grant.capability == name).unwrap();
        assert_eq!(find("http").what, "https://dav.example.com");
        assert!(
            find("secrets").add.ends_with("password = { file = \"PATH\" }"),
            "{:?}",
            find("secrets")
        );
        assert!(!find("inner").asked);
    }
}
