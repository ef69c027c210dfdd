//! `transom registry import-config`.

use std::collections::BTreeMap;
use std::{env, fs};

use serde_json::json;
use transom_registry::import::{Imported, Untranslated, import};

use crate::arguments::RegistryImport;
use crate::commands::{print, print_json};
use crate::failure::Failure;

pub(super) fn run(command: &RegistryImport, json: bool) -> Result<(), Failure> {
    let text = match &command.config {
        Some(file) => fs::read_to_string(file).map_err(|error| Failure::io(file.display(), &error))?,
        None => String::new(),
    };
    // What is not UTF-8 is no variable of docker-registry.
    let own = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let variables: BTreeMap<String, String> = own.chain(command.variables.iter().cloned()).collect();
    let imported = import(&text, &variables).map_err(|error| match &command.config {
        Some(file) => Failure::usage(format!("{}: {error}", file.display())),
        None => Failure::usage(error.to_string()),
    })?;
    match json {
        true => print_json(&document(&imported)),
        false => {
            print(&imported.toml)?;
            for entry in &imported.untranslated {
                let weight = if entry.matters {
                    "not translated"
                } else {
                    "not needed"
                };
                eprintln!("transom: {weight}: {entry}");
            }
            Ok(())
        }
    }
}

fn document(imported: &Imported) -> serde_json::Value {
    let entry = |entry: &Untranslated| {
        json!({
            "key": entry.key,
            "origin": entry.origin.to_string(),
            "reason": entry.reason,
            "matters": entry.matters,
        })
    };
    let untranslated: Vec<_> = imported.untranslated.iter().map(entry).collect();
    json!({ "toml": imported.toml, "untranslated": untranslated })
}
