//! `transom plugin grants`: what a plugin asks for and what the configuration grants it, of a daemon or from files.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use transom_api::plugins::{Grant, GrantsRequest, PluginGrants as Answer};
use transom_plugin::grants::{self, Given};

use crate::arguments::{Place, PluginGrants};
use crate::client::{self, Target};
use crate::commands::{print, print_json};
use crate::failure::{Failure, Kind};
use crate::handlers;
use crate::interrupt::Interrupt;
use crate::show::printable;

/// Where a daemon that is a system's service is configured.
const CONFIG: &str = "/etc/transom/config.toml";

/// What matters here of a daemon's configuration; the daemon checks all of it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    processors: Processors,
    registry: Registry,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Processors {
    keys: std::collections::BTreeMap<String, Vec<PathBuf>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Registry {
    storage: Map<String, Value>,
}

pub(super) fn run(
    command: &PluginGrants,
    place: &Place,
    json: bool,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let file = command.plugin.as_deref().map(Path::new);
    let plugins = match file.filter(|path| path.exists()) {
        Some(path) => vec![of_files(path, command.config.as_deref())?],
        None => of_daemon(command.plugin.clone(), &Target::new(place)?, interrupt)?,
    };
    if json {
        return plugins
            .iter()
            .try_for_each(|plugin| print_json(&document(plugin)));
    }
    print(&plugins.iter().map(text).collect::<String>())
}

fn of_daemon(name: Option<String>, target: &Target, interrupt: &Interrupt) -> Result<Vec<Answer>, Failure> {
    let name = name.unwrap_or_default();
    client::run(target, interrupt, async |client| {
        let response = client.plugins().grants(GrantsRequest { name }).await?;
        Ok(response.into_inner().plugins)
    })
}

fn of_files(plugin: &Path, config: Option<&Path>) -> Result<Answer, Failure> {
    let usual = Path::new(CONFIG);
    let config = match config.or(usual.exists().then_some(usual)) {
        Some(file) => {
            let text = fs::read_to_string(file).map_err(|error| Failure::io(file.display(), &error))?;
            toml::from_str(&text).map_err(|error| {
                Failure::new(
                    Kind::Other,
                    format!(
                        "{}: {}; see transomd config check",
                        file.display(),
                        error.message()
                    ),
                )
            })?
        }
        None => Config::default(),
    };
    let loaded = handlers::host()?.load_any_path(plugin)?;
    let keys = config.processors.keys.get(loaded.name());
    let given = Given {
        keys: keys.cloned().unwrap_or_default(),
        ..Given::default()
    };
    let given = given.with_storage(&config.registry.storage, loaded.name());
    let grants = grants::of(loaded.manifest(), &given)
        .into_iter()
        .map(|grant| Grant {
            capability: grant.capability.to_owned(),
            asked: grant.asked,
            granted: grant.granted,
            what: grant.what,
            add: grant.add,
        });
    Ok(Answer {
        name: loaded.name().to_owned(),
        kind: loaded.kind().as_str().to_owned(),
        grants: grants.collect(),
    })
}

fn document(plugin: &Answer) -> Value {
    let grants = plugin.grants.iter().map(|grant| {
        json!({
            "capability": grant.capability,
            "asked": grant.asked,
            "granted": grant.granted,
            "what": grant.what,
            "add": grant.add,
        })
    });
    json!({ "name": plugin.name, "kind": plugin.kind, "grants": grants.collect::<Vec<_>>() })
}

fn text(plugin: &Answer) -> String {
    let mut text = format!("{} ({})\n", printable(&plugin.name), printable(&plugin.kind));
    let mut nothing = true;
    for grant in plugin.grants.iter().filter(|grant| grant.asked || grant.granted) {
        nothing = false;
        let state = match (grant.asked, grant.granted) {
            (true, true) => format!("asked for, granted: {}", printable(&grant.what)),
            (true, false) => "asked for, not granted; add to the configuration:".to_owned(),
            _ => format!("not asked for, granted in vain: {}", printable(&grant.what)),
        };
        let _ = writeln!(text, "  {:<8} {state}", printable(&grant.capability));
        for line in grant.add.lines() {
            let _ = writeln!(text, "             {}", printable(line));
        }
    }
    if nothing {
        text.push_str("  asks for nothing, and was granted nothing\n");
    }
    text
}
