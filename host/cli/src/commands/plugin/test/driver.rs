//! A storage driver and the conformance suite. It stands on a memory if it stands on anything; `cases/driver.toml` says something else.

use std::path::Path;

use serde_json::{Map, Value, json};
use transom_storage::conformance::Options;
use transom_storage::factory::Factory;

use super::case;
use crate::commands::driver::hold;
use crate::failure::Failure;
use crate::handlers;
use crate::interrupt::Interrupt;

pub(super) fn run(built: &Path, folder: &Path, as_json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    let host = handlers::host()?;
    let plugin = host.load_driver(built)?;
    let mut factory = Factory::builtin();
    plugin.register(&mut factory)?;
    let file = folder.join("driver.toml");
    let mut table: Map<String, Value> = match file.is_file() {
        true => case::toml(&file)?,
        false => Map::new(),
    };
    table.insert("driver".to_owned(), Value::from(plugin.name()));
    if plugin.stacks() && !table.contains_key("inner") {
        table.insert("inner".to_owned(), json!({ "driver": "inmemory" }));
    }
    hold(factory, table, Options::default(), as_json, interrupt)
}
