//! `transom content`: a daemon's blobs, or with `--root` those in a folder.

mod daemon;
mod edit;
mod folder;
mod ingest;
mod input;
mod prune;

use serde_json::json;

use super::{print, print_json};
use crate::arguments::{Content, Ingest, Place};
use crate::client::Target;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::show::{printable, size};

pub(crate) fn run(command: Content, place: Place, json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    match &command {
        Content::FetchObject(command) => return super::registry::objects::fetch(command, interrupt),
        Content::PushObject(command) => return super::registry::objects::push(command, json, interrupt),
        _ => {}
    }
    if place.root.is_none() {
        return daemon::run(command, &Target::new(&place)?, json, interrupt);
    }
    if place.address.is_some() {
        return Err(Failure::usage(
            "--root works on a folder and --address on a daemon: leave one out",
        ));
    }
    let daemons_own = match &command {
        Content::Ingest(command) => command.lease.is_some(),
        Content::Ls(command) => !command.filters.is_empty(),
        Content::Label(_) | Content::Edit(_) | Content::Prune(_) | Content::Fetch(_) => true,
        _ => false,
    };
    match place.root {
        Some(root) if !daemons_own => folder::run(command, root, json, interrupt),
        _ => Err(Failure::usage(
            "labels, filters and leases are a daemon's, a folder has none: leave --root out",
        )),
    }
}

/// Says what was stored.
fn stored(digest: &str, bytes: u64, before: bool, json: bool) -> Result<(), Failure> {
    if json {
        return print_json(&json!({ "digest": digest, "size": bytes, "alreadyExisted": before }));
    }
    print(&format!("{digest}\n"))
}

/// Says that an ingest is taken up again.
fn goes_on(command: &Ingest, at: u64, json: bool) {
    if at > 0 && !json {
        eprintln!(
            "transom: {} goes on at {}",
            printable(&command.reference),
            size(at)
        );
    }
}
