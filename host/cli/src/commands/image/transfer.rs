//! `transom image import` and `export`: images between archives and a daemon's stores.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use serde_json::json;
use transom_api::transfer_types::{
    ImageExportStream, ImageImportStream, ImageReference, ImageStore, Progress as Said, UnpackConfiguration,
};
use transom_content::timestamp;
use transom_oci::Platform;

use crate::ahead::read_ahead;
use crate::arguments::{ImageExport, ImageImport, Progress};
use crate::client::Client;
use crate::client::snapshot::Snapshots;
use crate::client::transfer::{packed, platform};
use crate::commands::{print, print_json};
use crate::failure::{Failure, Kind};
use crate::interrupt::Interrupt;
use crate::progress::Bars;
use crate::show::printable;

/// What a daemon says of a name that it has stored an image under.
const SAVED: &str = "saved";

pub(super) async fn import(
    client: &Client,
    command: ImageImport,
    json: bool,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    // Before anything is asked of the daemon: a file that is not there must leave nothing.
    let (input, length) = open(&command.file, interrupt)?;
    let store = store(client, &command).await?;
    let pipe = client.pipe("import").await?;
    let source = packed(&ImageImportStream {
        stream: pipe.id.clone(),
        force_compress: command.compress_blobs,
        ..ImageImportStream::default()
    });
    let counter = Arc::new(AtomicU64::new(0));
    let bar = Bars::new(Progress::Auto).follow("import", length, &counter);
    let mut saved = Vec::new();
    {
        let said = |said| keep(&mut saved, said);
        let mut transfer = std::pin::pin!(client.transfer(source, packed(&store), said));
        let mut send = std::pin::pin!(pipe.send(read_ahead(input), &counter));
        tokio::select! {
            biased;
            sent = &mut send => sent.and(transfer.await),
            done = &mut transfer => done,
        }?;
    }
    drop(bar);
    saved.iter().try_for_each(|said| show(said, json))
}

/// Remembers what was stored, each name once.
fn keep(saved: &mut Vec<Said>, said: Said) {
    if said.event == SAVED && saved.iter().all(|other| other.name != said.name) {
        saved.push(said);
    }
}

fn show(said: &Said, json: bool) -> Result<(), Failure> {
    if json {
        let digest = said.desc.as_ref().map(|target| &target.digest);
        return print_json(&json!({ "name": said.name, "digest": digest }));
    }
    print(&format!("{}\n", printable(&said.name)))
}

/// The archive, and how long it is if that is known.
fn open(path: &Path, interrupt: &Interrupt) -> Result<(Box<dyn Read + Send>, Option<u64>), Failure> {
    if path.as_os_str() == "-" {
        return Ok((Box::new(interrupt.stdin()), None));
    }
    let failed = |error: io::Error| Failure::io(path.display(), &error);
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        let text = format!(
            "{} is a folder; pack it first, as with tar -C {} -c .",
            path.display(),
            path.display()
        );
        return Err(Failure::usage(text));
    }
    let length = metadata.is_file().then_some(metadata.len());
    Ok((Box::new(file), length))
}

/// Where the images go, and what they are called.
async fn store(client: &Client, command: &ImageImport) -> Result<ImageStore, Failure> {
    let made_up = || format!("import-{}", today());
    let prefix = command.base_name.clone().unwrap_or_else(made_up);
    let mut extra_references = vec![ImageReference {
        name: prefix.clone(),
        is_prefix: true,
        // Names in the archive that do not begin with one that was asked for are left out; one that is made up gives way to them.
        allow_overwrite: command.base_name.is_none(),
        ..ImageReference::default()
    }];
    if command.digests {
        extra_references.push(ImageReference {
            name: prefix,
            is_prefix: true,
            allow_overwrite: true,
            add_digest: true,
            ..ImageReference::default()
        });
    }
    let wanted = command.platform.clone().unwrap_or_else(Platform::host);
    let unpacks = if command.no_unpack {
        Vec::new()
    } else {
        let snapshots = Snapshots::new(client, command.keeper.snapshotter.clone()).await?;
        vec![UnpackConfiguration {
            platform: Some(platform(&wanted)),
            snapshotter: snapshots.snapshotter,
        }]
    };
    let platforms = if command.all_platforms {
        Vec::new()
    } else {
        vec![platform(&wanted)]
    };
    Ok(ImageStore {
        name: command.index_name.clone().unwrap_or_default(),
        all_metadata: command.all_platforms,
        platforms,
        extra_references,
        unpacks,
        ..ImageStore::default()
    })
}

/// The date in UTC, as containerd's client puts it into names.
fn today() -> String {
    timestamp::format(SystemTime::now())
        .split('T')
        .next()
        .unwrap_or_default()
        .to_owned()
}

pub(super) async fn export(client: &Client, command: ImageExport, json: bool) -> Result<(), Failure> {
    if command.file.as_os_str() == "-" {
        if io::stdout().is_terminal() {
            return Err(Failure::usage(
                "an archive on a terminal is of no use; name a file, or lead stdout to one",
            ));
        }
        let mut stdout = io::stdout().lock();
        write(client, &command, &mut stdout).await?;
        return Ok(());
    }
    let folder = match command.file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let failed = |error: &io::Error| Failure::io(command.file.display(), error);
    // Under its name there is never half an archive.
    let mut file = tempfile::Builder::new()
        .prefix(".transom-export-")
        .permissions(std::fs::Permissions::from_mode(0o666)) // less what the umask takes away
        .tempfile_in(folder)
        .map_err(|error| failed(&error))?;
    let bytes = write(client, &command, file.as_file_mut()).await?;
    file.persist(&command.file)
        .map_err(|error| failed(&error.error))?;
    if json {
        return print_json(&json!({ "file": command.file, "size": bytes, "images": command.names }));
    }
    Ok(())
}

/// Writes the archive; gives its bytes.
async fn write(client: &Client, command: &ImageExport, out: &mut impl Write) -> Result<u64, Failure> {
    let pipe = client.pipe("export").await?;
    let references = command.names.iter().map(|name| ImageReference {
        name: name.clone(),
        ..ImageReference::default()
    });
    let source = packed(&ImageStore {
        extra_references: references.collect(),
        ..ImageStore::default()
    });
    let platforms = if command.platform.is_empty() && !command.all_platforms {
        vec![Platform::host()]
    } else {
        command.platform.clone()
    };
    let destination = packed(&ImageExportStream {
        stream: pipe.id.clone(),
        platforms: platforms.iter().map(platform).collect(),
        all_platforms: command.all_platforms,
        skip_compatibility_manifest: command.skip_manifest_json,
        skip_non_distributable: command.skip_non_distributable,
        ..ImageExportStream::default()
    });
    let counter = Arc::new(AtomicU64::new(0));
    let bar = Bars::new(Progress::Auto).follow("export", None, &counter);
    let receive = pipe.receive(|data| {
        counter.fetch_add(data.len() as u64, Ordering::Relaxed);
        out.write_all(data).map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::StorageFull => Kind::NoSpace,
                _ => Kind::Other,
            };
            Failure::new(kind, format!("cannot write the archive: {error}"))
        })
    });
    let mut receive = std::pin::pin!(receive);
    let mut transfer = std::pin::pin!(client.transfer(source, destination, drop));
    tokio::select! {
        biased;
        done = &mut transfer => {
            done?;
            // What it has sent before it was done is still on its way.
            receive.await?;
        }
        received = &mut receive => {
            // Why the stream ended early, if it did, is the transfer's to say.
            let done = transfer.await;
            received.and(done)?;
        }
    }
    drop(bar);
    Ok(counter.load(Ordering::Relaxed))
}
