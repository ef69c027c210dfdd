//! `transom image unpack`, `mount`, `unmount` and `usage`: images as snapshots, and snapshots as folders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use serde_json::json;
use transom_oci::Platform;
use transom_sys::mount::{self, UnmountFlags};

use crate::arguments::{ImageMount, ImageUnmount, ImageUnpack, ImageUsage, Progress};
use crate::client::Client;
use crate::client::snapshot::{Snapshots, mount_failure, mount_on};
use crate::client::stream::unique;
use crate::client::unpack::{Unpack, of_image};
use crate::commands::{each, print, print_json};
use crate::failure::{Failure, Kind};
use crate::limits;
use crate::progress::Bars;
use crate::show::{count, printable, size, table};

pub(super) async fn unpack(client: &Client, command: ImageUnpack, json: bool) -> Result<(), Failure> {
    let snapshots = Snapshots::new(client, command.keeper.snapshotter).await?;
    let lease = unique("unpack");
    client
        .create_lease(&lease, limits::UNPACK_LEASE, BTreeMap::new())
        .await?;
    let leased = snapshots.leased(&lease)?;
    let unpacked = unpack_image(&leased, &command.name, command.platform).await;
    let released = client.delete_lease(&lease, false).await;
    let top = unpacked?;
    released?;
    if json {
        return print_json(&json!({
            "name": command.name, "chainID": top, "snapshotter": snapshots.snapshotter,
        }));
    }
    print(&format!("{top}\n"))
}

/// Unpacks an image; gives the name of its topmost snapshot.
async fn unpack_image(
    snapshots: &Snapshots,
    name: &str,
    platform: Option<Platform>,
) -> Result<String, Failure> {
    let client = &snapshots.client;
    let tree = client.tree(&client.image(name).await?).await?;
    let platform = platform.unwrap_or_else(Platform::host);
    let unpack = Unpack::new(name, &tree, &platform).map_err(|failure| failure.about(printable(name)))?;
    let top = unpack
        .top()
        .ok_or_else(|| Failure::new(Kind::Other, format!("{} has no layers", printable(name))))?;
    let counter = Arc::new(AtomicU64::new(0));
    let bar = Bars::new(Progress::Auto).follow("unpack", Some(unpack.bytes()), &counter);
    unpack.run(snapshots, &counter).await?;
    drop(bar);
    Ok(top.to_string())
}

pub(super) async fn mount(client: &Client, command: ImageMount, json: bool) -> Result<(), Failure> {
    let target = absolute(&command.target)?;
    let key = key(&target)?;
    let snapshots = Snapshots::new(client, command.keeper.snapshotter).await?;
    // It lasts as long as the mount: a snapshot must not vanish below one.
    match client.create_lease(&key, Duration::ZERO, BTreeMap::new()).await {
        Ok(_) => {}
        Err(failure) => {
            let hint = "if nothing is mounted there any more, `transom image unmount --rm` clears it up";
            return Err(failure.advise(hint));
        }
    }
    let leased = snapshots.leased(&key)?;
    let mounted = mount_image(
        &leased,
        &command.name,
        command.platform,
        command.rw,
        &key,
        &target,
    )
    .await;
    if mounted.is_err() {
        // What failed is what is to be said.
        drop(leased.remove(&key).await);
        drop(client.delete_lease(&key, false).await);
    }
    let top = mounted?;
    if json {
        return print_json(&json!({ "name": command.name, "chainID": top, "target": target }));
    }
    print(&format!("{}\n", target.display()))
}

async fn mount_image(
    snapshots: &Snapshots,
    name: &str,
    platform: Option<Platform>,
    writable: bool,
    key: &str,
    target: &Path,
) -> Result<String, Failure> {
    let top = unpack_image(snapshots, name, platform).await?;
    let mounts = if writable {
        snapshots.prepare(key, &top, of_image(name)).await?
    } else {
        snapshots.view(key, &top, of_image(name)).await?
    };
    mount_on(mounts, target)?;
    Ok(top)
}

pub(super) async fn unmount(client: &Client, command: &ImageUnmount) -> Result<(), Failure> {
    let target = absolute(&command.target)?;
    mount::unmount_all(&target, UnmountFlags::empty()).map_err(|error| mount_failure(&error))?;
    if !command.rm {
        return Ok(());
    }
    let key = key(&target)?;
    let snapshots = Snapshots::new(client, command.keeper.snapshotter.clone()).await?;
    if snapshots.find(&key).await?.is_some() {
        snapshots.remove(&key).await?;
    }
    match client.delete_lease(&key, false).await {
        Err(failure) if failure.kind() != Kind::NotFound => Err(failure),
        _ => Ok(()),
    }
}

/// The folder without links and dots, for what is mounted on it is recorded under its name.
fn absolute(target: &Path) -> Result<PathBuf, Failure> {
    target
        .canonicalize()
        .map_err(|error| Failure::io(target.display(), &error))
}

/// What snapshot and lease of a mount are called, as `ctr` calls them.
fn key(target: &Path) -> Result<String, Failure> {
    target
        .to_str()
        .map(str::to_owned)
        .ok_or_else(|| Failure::usage(format!("{} is no text in UTF-8", target.display())))
}

/// What a snapshot takes, layer by layer.
#[derive(Default)]
struct Taken {
    size: u64,
    inodes: u64,
    /// Whether all layers are there.
    whole: bool,
}

pub(super) async fn usage(client: &Client, command: ImageUsage, json: bool) -> Result<(), Failure> {
    let snapshots = Snapshots::new(client, command.keeper.snapshotter).await?;
    let platform = command.platform.unwrap_or_else(Platform::host);
    let mut rows = Vec::new();
    each(&command.names, async |name| {
        let tree = client.tree(&client.image(name).await?).await?;
        let taken = taken(&snapshots, &Unpack::new(name, &tree, &platform)?).await?;
        if json {
            return print_json(&json!({
                "name": name,
                "blobs": tree.size_here(),
                "snapshots": { "size": taken.size, "inodes": taken.inodes, "complete": taken.whole },
                "snapshotter": snapshots.snapshotter,
            }));
        }
        rows.push(vec![
            printable(name),
            size(tree.size_here()),
            size(taken.size),
            count(taken.inodes),
            if taken.whole { "yes" } else { "no" }.to_owned(),
        ]);
        Ok(())
    })
    .await?;
    if json {
        return Ok(());
    }
    print(&table(
        &["NAME", "BLOBS", "SNAPSHOTS", "INODES", "UNPACKED"],
        &rows,
    ))
}

async fn taken(snapshots: &Snapshots, unpack: &Unpack<'_>) -> Result<Taken, Failure> {
    let mut taken = Taken {
        whole: true,
        ..Taken::default()
    };
    for name in unpack.chain() {
        let name = name.to_string();
        if snapshots.find(&name).await?.is_none() {
            taken.whole = false;
            continue;
        }
        let usage = snapshots.usage(&name).await?;
        taken.size += u64::try_from(usage.size).unwrap_or_default();
        taken.inodes += u64::try_from(usage.inodes).unwrap_or_default();
    }
    Ok(taken)
}
