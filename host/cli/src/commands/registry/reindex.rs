//! `transom registry reindex`.

use serde_json::{Value, json};
use transom_meta::kv::KvError;
use transom_registry::Store;
use transom_registry::config::Config;
use transom_registry::index::Place;
use transom_registry::store::{Built, Compared};

use super::serve::based_on;
use crate::arguments::RegistryReindex;
use crate::commands::driver::factory;
use crate::commands::{print, print_json};
use crate::failure::{Failure, Kind};
use crate::interrupt::Interrupt;

/// What was done.
enum Done {
    Built(Built),
    Compared(Compared),
}

pub(super) fn reindex(command: &RegistryReindex, json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    let config = based_on(command.config.as_deref(), command.storage.as_deref())?;
    let place = config
        .index()
        .map_err(|error| Failure::usage(error.to_string()))?;
    let Some(place) = place else {
        return Err(Failure::usage(
            "the registry has no index: [index] does not want one, or the driver has no use for it",
        ));
    };
    let drivers = factory(&command.plugins)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("cannot start the index", &error))?;
    let done = runtime.block_on(async {
        let store = Store::new(drivers.open(&config.storage)?, config.options(false));
        store.use_index(place.open().await.map_err(|error| unopened(&error, &config))?);
        tokio::select! {
            done = work(&store, command.check) => done,
            () = interrupt.requested() => Err(Failure::interrupted()),
        }
    })?;
    report(&done, &place, json)
}

async fn work(store: &Store, check: bool) -> Result<Done, Failure> {
    let failed = |error: transom_registry::Error| Failure::new(Kind::Other, error.to_string());
    let done = match check {
        true => Done::Compared(store.compare_index().await.map_err(failed)?),
        false => {
            store.rebuild_index();
            Done::Built(store.build_index().await.map_err(failed)?)
        }
    };
    match store.index() {
        Some(_) => Ok(done),
        None => Err(Failure::new(
            Kind::Other,
            "the index could not be read or written; see above, and try again",
        )),
    }
}

/// Why the index cannot be opened, and what to do.
fn unopened(error: &KvError, config: &Config) -> Failure {
    match error {
        KvError::InUse { .. } => {
            let ask = match &config.metrics {
                Some(metrics) => format!("; or ask it: curl -X POST http://{}/reindex", metrics.listen),
                None => String::new(),
            };
            let message =
                format!("index: the registry that serves has it open: stop it first{ask} ({error})");
            Failure::new(Kind::Unavailable, message)
        }
        KvError::NoSpace => Failure::new(Kind::NoSpace, format!("index: {error}")),
        error => Failure::new(Kind::Other, format!("index: {error}")),
    }
}

fn report(done: &Done, place: &Place, json: bool) -> Result<(), Failure> {
    let folder = place.folder.display();
    let (document, text) = match done {
        Done::Built(built) => (serde_json::to_value(built), built_text(built)),
        Done::Compared(compared) => (serde_json::to_value(compared), compared_text(compared)),
    };
    match json {
        true => {
            let mut document = document.unwrap_or_default();
            if let Value::Object(fields) = &mut document {
                fields.insert("folder".to_owned(), json!(folder.to_string()));
            }
            print_json(&document)?;
        }
        false => print(&format!("{folder}: {text}\n"))?,
    }
    match done {
        Done::Compared(compared) if !compared.good() => {
            let count = compared.wrong.len();
            let message = format!("{count} lists are wrong; build the index anew without --check");
            Err(Failure::new(Kind::Damaged, message))
        }
        _ => Ok(()),
    }
}

fn built_text(built: &Built) -> String {
    format!(
        "{} repositories with {} tags; {} manifests read, {} referrers found without a link; {} lists walk the storage",
        built.repositories, built.tags, built.manifests, built.referrers, built.unproved
    )
}

fn compared_text(compared: &Compared) -> String {
    let mut text = format!(
        "{} repositories with {} tags; {} lists are right, {} walk the storage, {} are wrong",
        compared.repositories,
        compared.tags,
        compared.proved,
        compared.unproved,
        compared.wrong.len()
    );
    for wrong in &compared.wrong {
        text.push_str(&format!("\nwrong: {wrong}"));
    }
    text
}
