//! A daemon's blobs.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use transom_api::content::{AbortRequest, DeleteContentRequest, Info, ListStatusesRequest, Status};
use transom_oci::Digest;

use super::{edit, ingest, prune};
use crate::arguments::{Abort, Active, Content, Get, Label, List, Progress, Prune, Remove};
use crate::client::blob::Flow;
use crate::client::{self, Client, Labels, Target, labels, time};
use crate::commands::image::registry;
use crate::commands::{each, print, print_json};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::progress::Bars;
use crate::show::{printable, size, table};

pub(super) fn run(
    command: Content,
    target: &Target,
    json: bool,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    match command {
        Content::Ingest(command) => client::run_to_end(target, async |client| {
            ingest::run(client, &command, json, interrupt).await
        }),
        command => client::run(target, interrupt, async |client| {
            on_client(client, command, json, interrupt).await
        }),
    }
}

/// Those commands are done before a daemon is looked for.
fn no_daemon() -> Failure {
    Failure::usage("a registry's objects need no daemon")
}

async fn on_client(
    client: &Client,
    command: Content,
    json: bool,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    match command {
        Content::Ingest(command) => ingest::run(client, &command, json, interrupt).await,
        Content::Get(command) => get(client, &command).await,
        Content::Ls(command) => list(client, command, json).await,
        Content::Active(command) => active(client, &command, json).await,
        Content::Label(command) => label(client, &command, json).await,
        Content::Edit(command) => edit::run(client, &command, json).await,
        Content::Rm(command) => remove(client, &command, json).await,
        Content::Fetch(command) => registry::fetch(client, *command, json).await,
        Content::FetchObject(_) | Content::PushObject(_) => Err(no_daemon()),
        Content::Abort(command) => abort(client, command).await,
        Content::Prune(Prune::References(command)) => prune::references(client, &command, json).await,
    }
}

async fn get(client: &Client, command: &Get) -> Result<(), Failure> {
    // Asked for first also because an unknown blob is then an answer in its own words.
    let info = client.info(&command.digest).await?;
    let counter = Arc::new(AtomicU64::new(0));
    // On a terminal the blob itself is what is to be seen.
    let how = if io::IsTerminal::is_terminal(&io::stdout()) {
        Progress::None
    } else {
        Progress::Auto
    };
    let bar = Bars::new(how).follow("get", u64::try_from(info.size).ok(), &counter);
    let mut stdout = io::stdout().lock();
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(false),
        _ => Err(Failure::io("cannot write to stdout", &error)),
    };
    let flow = client
        .read(&command.digest, command.verify, |piece| {
            counter.fetch_add(piece.len() as u64, Ordering::Relaxed);
            stdout.write_all(piece).map(|()| true).or_else(failed)
        })
        .await?;
    drop(bar);
    match flow {
        Flow::Done => stdout.flush().map(|()| true).or_else(failed).map(drop),
        Flow::Enough => Ok(()),
    }
}

/// The record of a blob for programs.
pub(super) fn document(info: &Info) -> Value {
    json!({
        "digest": info.digest,
        "size": info.size,
        "created": time::text(info.created_at.as_ref()),
        "updated": time::text(info.updated_at.as_ref()),
        "labels": info.labels,
    })
}

async fn list(client: &Client, command: List, json: bool) -> Result<(), Failure> {
    let mut rows = Vec::new();
    let mut digests = Vec::new();
    let (quiet, verify) = (command.quiet, command.verify);
    let row = async |info: Info| {
        if json {
            print_json(&document(&info))?;
        } else if quiet {
            print(&format!("{}\n", info.digest))?;
        } else {
            rows.push(vec![
                info.digest.clone(),
                size(info.size.try_into().unwrap_or_default()),
                time::age(info.created_at.as_ref()),
                labels::text(&info.labels),
            ]);
        }
        digests.extend(verify.then_some(info.digest));
        Ok(())
    };
    client.list(command.filters, row).await?;
    if !json && !quiet {
        print(&table(&["DIGEST", "SIZE", "AGE", "LABELS"], &rows))?;
    }
    for digest in digests {
        let digest: Digest = digest
            .parse()
            .map_err(|error| Failure::silent(format!("a digest: {error}")))?;
        client.read(&digest, true, |_| Ok(true)).await?;
    }
    Ok(())
}

async fn active(client: &Client, command: &Active, json: bool) -> Result<(), Failure> {
    let text = command.filter.clone().unwrap_or_default();
    let is_filter = ["==", "!=", "~="].iter().any(|operator| text.contains(operator));
    let filters = if is_filter { vec![text.clone()] } else { Vec::new() };
    let statuses = client
        .content()
        .list_statuses(ListStatusesRequest { filters })
        .await?;
    let statuses = statuses.into_inner().statuses;
    let mut chosen: Vec<Status> = statuses
        .into_iter()
        .filter(|status| is_filter || status.r#ref.contains(&text))
        .collect();
    // containerd lists them as its file system does.
    chosen.sort_by(|one, other| one.r#ref.cmp(&other.r#ref));
    if json {
        return chosen
            .iter()
            .try_for_each(|status| print_json(&ingest_document(status)));
    }
    let rows: Vec<_> = chosen.iter().map(ingest_row).collect();
    print(&table(&["REF", "SIZE", "OF", "AGE"], &rows))
}

fn ingest_document(status: &Status) -> Value {
    json!({
        "ref": status.r#ref,
        "offset": status.offset,
        "total": Some(status.total).filter(|total| *total > 0),
        "startedAt": time::text(status.started_at.as_ref()),
        "updatedAt": time::text(status.updated_at.as_ref()),
    })
}

fn ingest_row(status: &Status) -> Vec<String> {
    let bytes = |count: i64| size(count.try_into().unwrap_or_default());
    vec![
        printable(&status.r#ref),
        bytes(status.offset),
        Some(status.total)
            .filter(|total| *total > 0)
            .map_or_else(|| "-".to_owned(), bytes),
        time::age(status.started_at.as_ref()),
    ]
}

async fn label(client: &Client, command: &Label, json: bool) -> Result<(), Failure> {
    let info = if command.labels.is_empty() {
        client.info(&command.digest).await?
    } else {
        client
            .label(&command.digest, Labels::parse(&command.labels)?)
            .await?
    };
    if json {
        return print_json(&document(&info));
    }
    print(&format!("{} {}\n", info.digest, labels::text(&info.labels)))
}

async fn remove(client: &Client, command: &Remove, json: bool) -> Result<(), Failure> {
    each(&command.digests, async |digest| {
        let request = DeleteContentRequest {
            digest: digest.to_string(),
        };
        client.content().delete(request).await?;
        if json {
            print_json(&json!({ "removed": digest }))
        } else {
            print(&format!("{digest}\n"))
        }
    })
    .await
}

async fn abort(client: &Client, command: Abort) -> Result<(), Failure> {
    let request = AbortRequest {
        r#ref: command.reference,
    };
    client.content().abort(request).await?;
    Ok(())
}
