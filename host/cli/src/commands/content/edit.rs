//! `transom content edit`: a blob through an editor, into a new blob.

use std::env;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use transom_api::content::{AbortRequest, Info};

use super::ingest::{Lease, done};
use crate::arguments::Edit;
use crate::client::Client;
use crate::client::upload::{Committed, Opened, Wanted, Writer};
use crate::failure::{Failure, Kind};
use crate::limits;
use crate::places;

pub(super) async fn run(client: &Client, command: &Edit, json: bool) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::io("cannot keep the blob for the editor", &error);
    let info = client.info(&command.digest).await?;
    let mut file = tempfile::Builder::new()
        .prefix("transom-edit-")
        .tempfile_in(places::temporary())
        .map_err(failed)?;
    client
        .read(&command.digest, true, |piece| {
            file.write_all(piece).map(|()| true).map_err(failed)
        })
        .await?;
    edit(command, file.path())?;
    // An editor may have put another file in its place.
    let edited = File::open(file.path()).map_err(failed)?;
    store(client, edited, info, command, json).await
}

/// Runs the editor to its end. It has the terminal meanwhile.
fn edit(command: &Edit, file: &Path) -> Result<(), Failure> {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let editor = command.editor.clone();
    let editor = editor
        .or_else(|| variable("VISUAL"))
        .or_else(|| variable("EDITOR"));
    let editor = editor
        .ok_or_else(|| Failure::usage("no editor: set EDITOR, or name a program with --editor COMMAND"))?;
    // As git and others do: the variable may hold arguments too.
    let status = Command::new("sh")
        .args(["-c", &format!("{editor} \"$1\""), "sh"])
        .arg(file)
        .status()
        .map_err(|error| Failure::io("cannot run the editor", &error))?;
    if status.success() {
        return Ok(());
    }
    let message = format!("the editor {editor:?} ended with {status}; nothing was stored");
    Err(Failure::new(Kind::Other, message))
}

/// Stores what was edited, with the labels of what it was. A lease keeps it as `ingest`'s does.
async fn store(
    client: &Client,
    mut file: File,
    info: Info,
    command: &Edit,
    json: bool,
) -> Result<(), Failure> {
    let lease = Lease::new(client, None).await?;
    let client = client.leased(&lease.id)?;
    let wanted = Wanted {
        reference: format!("edit-{}", command.digest),
        labels: info.labels,
        ..Wanted::default()
    };
    // What an edit that was cut off left is not what this one wrote.
    let request = AbortRequest {
        r#ref: wanted.reference.clone(),
    };
    drop(client.content().abort(request).await);
    let Opened::Writer(writer) = client.upload(&wanted).await? else {
        return Err(Failure::silent("a writer"));
    };
    let committed = copy(&mut file, *writer).await?;
    done(&client, committed, &lease, json).await
}

async fn copy(file: &mut File, mut writer: Writer) -> Result<Committed, Failure> {
    loop {
        let mut block = vec![0; limits::BLOCK];
        let count = file
            .read(&mut block)
            .map_err(|error| Failure::io("reading what was edited", &error))?;
        if count == 0 {
            return writer.commit().await;
        }
        block.truncate(count);
        writer.write(Bytes::from(block)).await?;
    }
}
