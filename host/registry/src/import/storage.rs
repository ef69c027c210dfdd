//! `storage`.

use transom_storage::Factory;

use super::ImportError;
use super::work::Work;

/// What stands in `storage` and is no driver.
const OTHERS: [&str; 5] = ["cache", "delete", "maintenance", "redirect", "tag"];

pub(super) fn translate(work: &mut Work) -> Result<(), ImportError> {
    // docker-registry forbids what nobody allowed.
    let delete = work.switch("storage.delete.enabled").unwrap_or(false);
    work.put("delete.enabled", delete);
    if let Some(disabled) = work.switch("storage.redirect.disable") {
        work.put("http.redirect", !disabled);
    }
    maintenance(work);
    let mut drivers = work.keys("storage");
    drivers.retain(|key| !OTHERS.contains(&key.as_str()));
    match &drivers[..] {
        [] => Ok(()),
        [driver] => {
            translate_driver(work, driver);
            Ok(())
        }
        _ => Err(ImportError::Several {
            what: "storage driver",
            found: drivers,
        }),
    }
}

/// Parameters have docker-registry's names, so they are copied: those that the driver has.
fn translate_driver(work: &mut Work, driver: &str) {
    let path = format!("storage.{driver}");
    let factory = Factory::builtin();
    let kind = match factory.kind(driver) {
        Ok(kind) => kind,
        Err(error) => {
            if let Some(node) = work.take(&path) {
                let reason = format!("{error}; the configuration needs another [storage]");
                work.note(&path, &node.origin, reason, true);
            }
            return;
        }
    };
    work.put("storage.driver", driver);
    for parameter in work.keys(&path) {
        // The others are listed at the end.
        if kind.parameters.iter().any(|known| known.name == parameter) {
            let value = work.take(&format!("{path}.{parameter}"));
            work.put_some(
                &format!("storage.{parameter}"),
                value.and_then(|node| node.to_toml()),
            );
        }
    }
}

fn maintenance(work: &mut Work) {
    let read_only = "storage.maintenance.readonly.enabled";
    if work.switch(read_only) == Some(true) {
        work.put("read_only", true);
    }
    let purging = "storage.maintenance.uploadpurging";
    let enabled = work.switch(&format!("{purging}.enabled")).unwrap_or(true);
    let age = work.period(&format!("{purging}.age"));
    let interval = work.period(&format!("{purging}.interval"));
    if !enabled {
        work.put("delete.uploads_after", "0s");
        return;
    }
    work.put_some("delete.uploads_after", age);
    work.put_some("delete.uploads_every", interval);
}
