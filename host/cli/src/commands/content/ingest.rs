//! `transom content ingest` into a daemon.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use transom_oci::Digest;

use super::goes_on;
use super::input::{self, Source};
use crate::ahead::read_ahead;
use crate::arguments::{Ingest, Progress};
use crate::client::Client;
use crate::client::upload::{Committed, Opened, Wanted, Writer};
use crate::commands::{print, print_json};
use crate::failure::{Failure, Kind};
use crate::interrupt::Interrupt;
use crate::limits;
use crate::progress::Bars;
use crate::show::{printable, size};

/// A lease, and whether it was made for what is stored.
pub(super) struct Lease {
    pub(super) id: String,
    own: bool,
}

impl Lease {
    /// The one that was named, or a new one.
    pub(super) async fn new(client: &Client, named: Option<String>) -> Result<Lease, Failure> {
        if let Some(id) = named {
            return Ok(Lease { id, own: false });
        }
        let lease = client
            .create_lease("", limits::INGEST_LEASE, BTreeMap::new())
            .await?;
        Ok(Lease {
            id: lease.id,
            own: true,
        })
    }
}

pub(super) async fn run(
    client: &Client,
    command: &Ingest,
    json: bool,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    // Before anything is asked of the daemon: a file that is not there must leave no lease.
    let (input, length) = input::open(command, interrupt)?;
    let lease = Lease::new(client, command.lease.clone()).await?;
    let client = client.leased(&lease.id)?;
    let wanted = Wanted {
        reference: command.reference.clone(),
        total: command.expected_size,
        expected: command.expected_digest.as_ref().map(Digest::to_string),
        labels: BTreeMap::new(),
    };
    let writer = match client.upload(&wanted).await {
        Ok(Opened::Writer(writer)) => writer,
        Ok(Opened::Exists) => {
            let digest = wanted.expected.unwrap_or_default();
            return done(
                &client,
                Committed {
                    digest,
                    existed: true,
                },
                &lease,
                json,
            )
            .await;
        }
        Err(failure) => {
            if lease.own {
                // It keeps nothing; that the ingest failed is what is to be said.
                drop(client.delete_lease(&lease.id, false).await);
            }
            return Err(failure);
        }
    };
    let written = write(*writer, input, length, command, json, interrupt).await;
    match written {
        Ok(committed) => done(&client, committed, &lease, json).await,
        Err(failure) => Err(kept(failure, &lease)),
    }
}

/// A failure, and what keeps what was stored.
fn kept(failure: Failure, lease: &Lease) -> Failure {
    if !lease.own {
        return failure;
    }
    let message = format!(
        "{} (lease {} keeps it for 24 hours: go on with --lease {})",
        failure.message(),
        printable(&lease.id),
        printable(&lease.id)
    );
    Failure::new(failure.kind(), message)
}

async fn write(
    mut writer: Writer,
    mut input: Source,
    length: Option<u64>,
    command: &Ingest,
    json: bool,
    interrupt: &Interrupt,
) -> Result<Committed, Failure> {
    let resumed = writer.offset();
    input::skip(&mut input, resumed, command, interrupt)?;
    goes_on(command, resumed, json);
    let counter = Arc::new(AtomicU64::new(resumed));
    let bar = Bars::new(Progress::Auto).follow("ingest", command.expected_size.or(length), &counter);
    let mut blocks = read_ahead(input);
    loop {
        let block = tokio::select! {
            biased;
            () = interrupt.requested() => None,
            block = blocks.recv() => Some(block),
        };
        match block {
            None => break,
            Some(Some(_)) if interrupt.is_requested() => break,
            Some(Some(block)) => {
                let block = block.map_err(|error| Failure::io("reading the input", &error))?;
                writer.write(block).await?;
                counter.store(writer.offset(), Ordering::Relaxed);
            }
            Some(None) => {
                drop(bar);
                return finish(writer, command).await;
            }
        }
    }
    writer.close().await?;
    Err(Failure::new(
        Kind::Interrupted,
        "interrupted; what was stored is kept, ingest again to go on",
    ))
}

async fn finish(writer: Writer, command: &Ingest) -> Result<Committed, Failure> {
    if let Some(total) = command.expected_size.filter(|total| writer.offset() < *total) {
        let so_far = writer.offset();
        writer.close().await?;
        return Err(input::ended_early(command, so_far, total));
    }
    writer.commit().await
}

/// Says what was stored, and for how long it is kept.
pub(super) async fn done(
    client: &Client,
    committed: Committed,
    lease: &Lease,
    json: bool,
) -> Result<(), Failure> {
    let Committed { digest, existed } = committed;
    let bytes = match digest.parse::<Digest>() {
        Ok(digest) => client.info(&digest).await?.size,
        Err(_) => return Err(Failure::silent("the digest of what was stored")),
    };
    if json {
        return print_json(&json!({
            "digest": digest, "size": bytes, "alreadyExisted": existed, "lease": lease.id,
        }));
    }
    if lease.own {
        let bytes = size(bytes.try_into().unwrap_or_default());
        let id = printable(&lease.id);
        eprintln!(
            "transom: lease {id} keeps the {bytes} for 24 hours; the label containerd.io/gc.root keeps them for good"
        );
    }
    print(&format!("{digest}\n"))
}
