//! `transom events`: what changes.

use transom_api::events::SubscribeRequest;

use super::{print, print_json};
use crate::arguments::{Events, Place};
use crate::client::event::document;
use crate::client::{self, Client, Target};
use crate::failure::{Failure, Kind};
use crate::interrupt::Interrupt;
use crate::show::printable;

/// Runs until it is interrupted, which is how it is meant to end.
pub(crate) fn run(command: Events, place: &Place, json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    let target = Target::new(place)?;
    client::run_to_end(&target, async |client| {
        tokio::select! {
            ended = follow(client, command.filters, json) => ended,
            () = interrupt.requested() => Ok(()),
        }
    })
}

async fn follow(client: &Client, filters: Vec<String>, json: bool) -> Result<(), Failure> {
    let mut events = client
        .events()
        .subscribe(SubscribeRequest { filters })
        .await?
        .into_inner();
    while let Some(envelope) = events.message().await? {
        let document = document(&envelope);
        if json {
            print_json(&document)?;
            continue;
        }
        let event = printable(&document["event"].to_string());
        print(&format!(
            "{} {} {} {event}\n",
            document["timestamp"].as_str().unwrap_or("-"),
            printable(&envelope.namespace),
            printable(&envelope.topic),
        ))?;
    }
    Err(Failure::new(Kind::Unavailable, "the daemon has ended the events"))
}
