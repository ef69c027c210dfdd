//! `transom diff`: what changed from one snapshot to another, as a layer.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};

use serde_json::json;
use transom_api::diff::DiffRequest;
use transom_api::snapshots::{Info, Kind as SnapshotKind};
use transom_api::types::{Descriptor, Mount};
use transom_content::timestamp;
use transom_oci::Digest;

use super::{print, print_json};
use crate::arguments::{Diff, Place};
use crate::client::blob::Flow;
use crate::client::snapshot::Snapshots;
use crate::client::stream::unique;
use crate::client::{self, Client, ROOT, Target};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::limits;

pub(crate) fn run(command: &Diff, place: &Place, json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    if !command.keep && !json && io::stdout().is_terminal() {
        return Err(Failure::usage(
            "a layer on a terminal is of no use; lead stdout to a file, or keep it with --keep",
        ));
    }
    client::run(&Target::new(place)?, interrupt, async |client| {
        let snapshots = Snapshots::new(client, command.keeper.snapshotter.clone()).await?;
        let lease = unique("diff");
        client
            .create_lease(&lease, limits::UNPACK_LEASE, BTreeMap::new())
            .await?;
        let leased = snapshots.leased(&lease)?;
        let done = compare_and_show(&leased, command, json).await;
        // With it goes what was made for the comparison.
        let released = client.delete_lease(&lease, false).await;
        done.and(released)
    })
}

async fn compare_and_show(snapshots: &Snapshots, command: &Diff, json: bool) -> Result<(), Failure> {
    let mut views = Views {
        snapshots,
        made: Vec::new(),
    };
    let compared = compare(&mut views, command).await;
    let cleared = views.clear().await;
    let layer = compared?;
    cleared?;
    if json {
        return print_json(&json!({
            "mediaType": layer.media_type, "digest": layer.digest, "size": layer.size, "kept": command.keep,
        }));
    }
    if command.keep {
        return print(&format!("{}\n", layer.digest));
    }
    write(&snapshots.client, &layer).await
}

async fn compare(views: &mut Views<'_>, command: &Diff) -> Result<Descriptor, Failure> {
    let first = views.snapshots.stat(&command.first).await?;
    let (left, right) = match &command.second {
        Some(second) => {
            let second = views.snapshots.stat(second).await?;
            (views.mounts(&first).await?, views.mounts(&second).await?)
        }
        None => (views.below(&first.parent).await?, views.mounts(&first).await?),
    };
    let mut labels = BTreeMap::new();
    if command.keep {
        labels.insert(ROOT.to_owned(), timestamp::format(std::time::SystemTime::now()));
    }
    let request = DiffRequest {
        left,
        right,
        media_type: command.media_type.clone(),
        labels,
        ..DiffRequest::default()
    };
    let response = views.snapshots.client.diff().diff(request).await?.into_inner();
    response.diff.ok_or_else(|| Failure::silent("the layer"))
}

/// Views of committed snapshots, made for one comparison.
struct Views<'s> {
    snapshots: &'s Snapshots,
    made: Vec<String>,
}

impl Views<'_> {
    /// The mounts of a snapshot; a committed one has none of its own.
    async fn mounts(&mut self, info: &Info) -> Result<Vec<Mount>, Failure> {
        match info.kind() {
            SnapshotKind::Committed => self.below(&info.name).await,
            _ => self.snapshots.mounts(&info.name).await,
        }
    }

    /// The mounts of a view of a committed snapshot; none for nothing.
    async fn below(&mut self, name: &str) -> Result<Vec<Mount>, Failure> {
        if name.is_empty() {
            return Ok(Vec::new());
        }
        let key = unique("view");
        let mounts = self.snapshots.view(&key, name, BTreeMap::new()).await?;
        self.made.push(key);
        Ok(mounts)
    }

    async fn clear(self) -> Result<(), Failure> {
        for key in &self.made {
            self.snapshots.remove(key).await?;
        }
        Ok(())
    }
}

async fn write(client: &Client, layer: &Descriptor) -> Result<(), Failure> {
    let digest: Digest = layer
        .digest
        .parse()
        .map_err(|_| Failure::silent("the layer's digest"))?;
    let mut stdout = io::stdout().lock();
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(false),
        _ => Err(Failure::io("cannot write to stdout", &error)),
    };
    let flow = client
        .read(&digest, true, |piece| {
            stdout.write_all(piece).map(|()| true).or_else(failed)
        })
        .await?;
    match flow {
        Flow::Done => stdout.flush().map(|()| true).or_else(failed).map(drop),
        Flow::Enough => Ok(()),
    }
}
