//! `transom image pull` and `push`, and `transom content fetch`: images between registries and a daemon. The daemon speaks with the
//! registry if it can, otherwise this program does; see `local`.

mod local;

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::json;
use transom_api::transfer_types::{ImageStore, Progress as Said, UnpackConfiguration};
use transom_client::Reference;
use transom_oci::Platform;

use crate::arguments::{ContentFetch, Fetch, ImagePull, ImagePush};
use crate::client::registry::{Reach, Way};
use crate::client::snapshot::Snapshots;
use crate::client::transfer::platform;
use crate::client::{Client, Labels};
use crate::commands::registry::settings;
use crate::commands::{print, print_json};
use crate::failure::{Failure, Kind};
use crate::progress::BlobBars;
use crate::show::{duration, printable, size};

/// What is fetched.
#[derive(Debug)]
struct Wanted {
    /// The image's whole name.
    name: Reference,
    platform: Platform,
    all_platforms: bool,
    labels: BTreeMap<String, String>,
    /// Where it is unpacked.
    snapshots: Option<Snapshots>,
}

/// What was moved.
#[derive(Debug, Default)]
struct Moved {
    digest: String,
    blobs: u64,
    bytes: u64,
}

pub(super) async fn pull(client: &Client, command: ImagePull, json: bool) -> Result<(), Failure> {
    let snapshots = match command.no_unpack {
        true => None,
        false => Some(Snapshots::new(client, command.keeper.snapshotter).await?),
    };
    let wanted = Wanted {
        name: whole(&command.name)?,
        platform: command.platform.unwrap_or_else(Platform::host),
        all_platforms: command.all_platforms,
        labels: Labels::parse(&command.label)?.values,
        snapshots,
    };
    get(client, &wanted, &command.fetch, json).await
}

pub(crate) async fn fetch(client: &Client, command: ContentFetch, json: bool) -> Result<(), Failure> {
    let wanted = Wanted {
        name: whole(&command.name)?,
        platform: command.platform.unwrap_or_else(Platform::host),
        all_platforms: command.all_platforms,
        labels: Labels::parse(&command.label)?.values,
        snapshots: None,
    };
    get(client, &wanted, &command.fetch, json).await
}

fn whole(name: &str) -> Result<Reference, Failure> {
    Ok(name.parse::<Reference>()?.with_default_tag())
}

async fn get(client: &Client, wanted: &Wanted, how: &Fetch, json: bool) -> Result<(), Failure> {
    let start = Instant::now();
    let mut shown = Shown::new(how);
    let name = wanted.name.to_string();
    if is_local(client, how).await? {
        local::pull(client, wanted, how, &mut shown).await?;
    } else {
        let store = ImageStore {
            name: name.clone(),
            labels: wanted.labels.clone(),
            platforms: match wanted.all_platforms {
                true => Vec::new(),
                false => vec![platform(&wanted.platform)],
            },
            unpacks: unpacks(wanted),
            ..ImageStore::default()
        };
        let reach = reach(how, &wanted.name)?;
        client
            .move_image(&reach, Way::Pull(store), |said| shown.tell(&said))
            .await?;
    }
    let moved = shown.moved;
    if json {
        return print_json(&json!({
            "name": name,
            "digest": moved.digest,
            "blobs": moved.blobs,
            "bytes": moved.bytes,
            "snapshotter": wanted.snapshots.as_ref().map(|snapshots| &snapshots.snapshotter),
            "seconds": start.elapsed().as_secs_f64(),
        }));
    }
    say("pulled", &name, &moved, start)
}

fn unpacks(wanted: &Wanted) -> Vec<UnpackConfiguration> {
    let unpack = wanted.snapshots.iter().map(|snapshots| UnpackConfiguration {
        platform: Some(platform(&wanted.platform)),
        snapshotter: snapshots.snapshotter.clone(),
    });
    unpack.collect()
}

pub(super) async fn push(client: &Client, command: &ImagePush, json: bool) -> Result<(), Failure> {
    let start = Instant::now();
    let mut shown = Shown::new(&command.fetch);
    let to = whole(&command.name)?;
    let image = command.image.clone().unwrap_or_else(|| to.to_string());
    let pushed = send(client, command, &image, &to, &mut shown).await;
    pushed.map_err(|failure| match (failure.kind(), &command.platform) {
        (Kind::NotFound, None) => {
            failure.advise("if only one platform of it is here, name that with --platform")
        }
        _ => failure,
    })?;
    let moved = shown.moved;
    if json {
        return print_json(&json!({
            "name": to.to_string(),
            "image": image,
            "digest": moved.digest,
            "blobs": moved.blobs,
            "bytes": moved.bytes,
            "seconds": start.elapsed().as_secs_f64(),
        }));
    }
    say("pushed", &to.to_string(), &moved, start)
}

async fn send(
    client: &Client,
    command: &ImagePush,
    image: &str,
    to: &Reference,
    shown: &mut Shown,
) -> Result<(), Failure> {
    let wanted = command.platform.as_ref();
    if is_local(client, &command.fetch).await? {
        return local::push(client, (image, wanted), to, &command.fetch, shown).await;
    }
    let store = ImageStore {
        name: image.to_owned(),
        platforms: wanted.map(platform).into_iter().collect(),
        ..ImageStore::default()
    };
    let reach = reach(&command.fetch, to)?;
    let way = Way::Push(store);
    client.move_image(&reach, way, |said| shown.tell(&said)).await
}

fn say(what: &str, name: &str, moved: &Moved, start: Instant) -> Result<(), Failure> {
    print(&format!(
        "{what} {}: {} blobs, {} in {}\n{}\n",
        printable(name),
        moved.blobs,
        size(moved.bytes),
        duration(start.elapsed()),
        printable(&moved.digest),
    ))
}

/// Whether this program speaks with the registry.
async fn is_local(client: &Client, how: &Fetch) -> Result<bool, Failure> {
    // What a daemon cannot be told.
    let only_here = how.registries.skip_verify || how.registries.hosts_dir.len() > 1;
    Ok(how.local || only_here || !client.has_transfers().await?)
}

fn reach(how: &Fetch, name: &Reference) -> Result<Reach, Failure> {
    let options = settings::options(&how.registries, name.repository.registry())?;
    let hosts_dir = how.registries.hosts_dir.first();
    // The daemon is in another folder.
    let hosts_dir = hosts_dir.map(std::path::absolute).transpose();
    Ok(Reach {
        name: name.to_string(),
        credentials: options.credentials,
        hosts_dir: hosts_dir.map_err(|error| Failure::io("--hosts-dir", &error))?,
        plain_http: how.registries.plain_http,
    })
}

/// What is seen of it, and counted.
#[derive(Debug)]
struct Shown {
    bars: BlobBars,
    moved: Moved,
}

impl Shown {
    fn new(how: &Fetch) -> Shown {
        Shown {
            bars: BlobBars::new(how.progress),
            moved: Moved::default(),
        }
    }

    /// What a daemon says of a transfer.
    fn tell(&mut self, said: &Said) {
        let number = |count: i64| u64::try_from(count).unwrap_or_default();
        let Some(target) = &said.desc else { return };
        match said.event.as_str() {
            "saved" | "pushed content" => self.moved.digest.clone_from(&target.digest),
            // Of the image as a whole.
            event if said.parents.is_empty() && event.contains("content") => {}
            event => {
                let total = number(said.total);
                self.bars.tell(&said.name, event, number(said.progress), total);
                if event == "complete" {
                    self.moved.blobs += 1;
                    self.moved.bytes += total;
                }
            }
        }
    }

    /// A blob that this program moves.
    fn blob(&mut self, name: &str, event: &str, done: u64, total: u64) {
        self.bars.tell(name, event, done, total);
        if event == "complete" {
            self.moved.blobs += 1;
            self.moved.bytes += total;
        }
    }
}

/// The name of a blob in what is shown.
fn key(blob: &transom_oci::Descriptor) -> String {
    transom_transfer::progress::key(blob)
}
