//! `transom registry gc`.

use transom_registry::Store;

use super::serve::based_on;
use crate::arguments::RegistryGc;
use crate::commands::driver::factory;
use crate::commands::{print, print_json};
use crate::failure::{Failure, Kind};
use crate::interrupt::Interrupt;

pub(super) fn collect(command: &RegistryGc, json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    let mut config = based_on(command.config.as_deref(), command.storage.as_deref())?;
    if let Some(after) = command.untagged_after {
        config.gc.untagged_after = after;
    }
    let drivers = factory(&command.plugins)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("cannot start the collection", &error))?;
    let collected = runtime.block_on(async {
        let driver = drivers.open(&config.storage)?;
        let store = Store::new(driver, config.options(false));
        let collection = config.gc.collection(command.dry_run);
        tokio::select! {
            collected = store.collect(&collection) => {
                collected.map_err(|error| Failure::new(Kind::Other, error.to_string()))
            }
            () = interrupt.requested() => Err(Failure::interrupted()),
        }
    })?;
    if json {
        let report = serde_json::to_value(&collected);
        return print_json(&report.unwrap_or_default());
    }
    let would = if command.dry_run {
        "would delete"
    } else {
        "deleted"
    };
    let mut text = format!(
        "{would} {} blobs of {} bytes, {} links, {} untagged manifests\n{} repositories have {} manifests and {} blobs\n",
        collected.deleted_blobs,
        collected.deleted_bytes,
        collected.deleted_links,
        collected.deleted_manifests,
        collected.repositories,
        collected.manifests,
        collected.blobs,
    );
    for name in &collected.unreadable {
        text.push_str(&format!(
            "{name} has a manifest that cannot be read: all its blobs stay\n"
        ));
    }
    print(&text)
}
