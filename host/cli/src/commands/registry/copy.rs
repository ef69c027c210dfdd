//! `transom image copy`: between registries and layout folders.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde_json::json;
use transom_client::images::Observer;
use transom_client::{Reference, Remote};
use transom_oci::{Descriptor, Platform};

use super::layout::Layout;
use super::{blocking, settings};
use crate::arguments::{ImageCopy, Progress};
use crate::commands::{print, print_json};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::places;
use crate::progress::{Bars, Follower};
use crate::show::{duration, printable, size};

/// One end of a copy.
enum End {
    Registry(Box<Reference>),
    Folder(PathBuf, Option<String>),
}

impl End {
    fn parse(text: &OsStr) -> Result<End, Failure> {
        let wrong = || {
            Failure::usage(format!(
                "{:?}: want docker://NAME[:TAG][@DIGEST] or oci:FOLDER[:NAME]",
                text.to_string_lossy()
            ))
        };
        let text = text.to_str().ok_or_else(wrong)?;
        if text.starts_with("docker://") {
            let name: Reference = text.parse()?;
            return Ok(End::Registry(Box::new(name.with_default_tag())));
        }
        let rest = text
            .strip_prefix("oci:")
            .filter(|rest| !rest.is_empty())
            .ok_or_else(wrong)?;
        // As skopeo has it: a folder has no colon in its name.
        match rest.split_once(':') {
            Some((folder, name)) => Ok(End::Folder(folder.into(), Some(name.to_owned()))),
            None => Ok(End::Folder(rest.into(), None)),
        }
    }
}

pub(crate) fn run(command: &ImageCopy, json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    let start = Instant::now();
    let (source, destination) = (End::parse(&command.source)?, End::parse(&command.destination)?);
    let shown = Shown::new(command.progress);
    let observer: Arc<dyn Observer> = Arc::clone(&shown) as _;
    let image = blocking(interrupt, copy(command, source, destination, &observer))?;
    let (blobs, bytes) = shown.moved();
    if json {
        return print_json(&json!({
            "image": image,
            "blobs": blobs,
            "bytes": bytes,
            "seconds": start.elapsed().as_secs_f64(),
        }));
    }
    print(&format!(
        "copied {} to {}: {blobs} blobs moved, {} in {}\n",
        image.digest,
        printable(&command.destination.to_string_lossy()),
        size(bytes),
        duration(start.elapsed()),
    ))
}

async fn copy(
    command: &ImageCopy,
    source: End,
    destination: End,
    observer: &Arc<dyn Observer>,
) -> Result<Descriptor, Failure> {
    let remote = |name: &Reference| -> Result<Remote, Failure> {
        let registry = name.repository.registry();
        Ok(settings::client(&command.registries, registry)?.remote(&name.repository)?)
    };
    // What goes from one registry to another lies on this disk for a while.
    let between = tempfile::Builder::new()
        .prefix("transom-")
        .tempdir_in(places::temporary());
    let between = between.map_err(|error| Failure::io(places::temporary().display(), &error))?;
    let (layout, image, from) = match (&source, &destination) {
        (End::Registry(name), End::Folder(folder, _)) => {
            fetch(command, &remote(name)?, name, folder, observer).await?
        }
        (End::Registry(name), End::Registry(_)) => {
            fetch(command, &remote(name)?, name, between.path(), observer).await?
        }
        (End::Folder(folder, name), End::Registry(_)) => {
            if command.platform.is_some() {
                return Err(Failure::usage(
                    "--platform chooses from a registry: a folder is copied as it is",
                ));
            }
            let layout = Layout::open(folder)?;
            let image = layout.find(name.as_deref())?;
            (layout, image, Vec::new())
        }
        (End::Folder(..), End::Folder(..)) => {
            return Err(Failure::usage("from a folder to a folder: cp -r does that"));
        }
    };
    match &destination {
        End::Folder(_, name) => layout.list(image.clone(), name.as_deref())?,
        End::Registry(name) => {
            let to = remote(name)?;
            to.push_image(&image, &name.target(), &layout.store, &from, observer)
                .await?;
        }
    }
    Ok(image)
}

/// Fetches into a layout; its images' repository may have what the other registry lacks.
async fn fetch(
    command: &ImageCopy,
    remote: &Remote,
    name: &Reference,
    folder: &Path,
    observer: &Arc<dyn Observer>,
) -> Result<(Layout, Descriptor, Vec<transom_client::Repository>), Failure> {
    let layout = Layout::open(folder)?;
    let mut image = remote.resolve(&name.target()).await?;
    if let Some(platform) = &command.platform {
        let platform: &Platform = platform;
        image = remote.for_platform(image, platform).await?;
    }
    remote.fetch_image(&image, &layout.store, observer).await?;
    Ok((layout, image, vec![name.repository.clone()]))
}

/// A bar for all blobs together, and what was moved in the end.
#[derive(Debug)]
pub(super) struct Shown {
    bytes: Arc<AtomicU64>,
    seen: Mutex<std::collections::HashMap<String, u64>>,
    blobs: AtomicU64,
    _bar: Follower,
}

impl Shown {
    pub(super) fn new(progress: Progress) -> Arc<Shown> {
        let bytes = Arc::<AtomicU64>::default();
        Arc::new(Shown {
            _bar: Bars::new(progress).follow("copying", None, &bytes),
            bytes,
            seen: Mutex::default(),
            blobs: AtomicU64::new(0),
        })
    }

    /// Blobs and bytes that were moved.
    fn moved(&self) -> (u64, u64) {
        (
            self.blobs.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        )
    }
}

impl Observer for Shown {
    fn moved(&self, blob: &Descriptor, bytes: u64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = seen.entry(blob.digest.to_string()).or_default();
        self.bytes
            .fetch_add(bytes.saturating_sub(*before), Ordering::Relaxed);
        *before = bytes.max(*before);
    }

    fn done(&self, _: &Descriptor, moved: bool) {
        self.blobs.fetch_add(u64::from(moved), Ordering::Relaxed);
    }
}
