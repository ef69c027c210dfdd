//! `transom image copy`: between registries, layout folders and archives of them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde_json::json;
use transom_client::images::Observer;
use transom_client::{Reference, Remote};
use transom_layer::cancel::Cancel;
use transom_oci::{Descriptor, Platform};

use super::layout::{self, Layout};
use super::{archive, blocking, settings};
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
    Archive(PathBuf, Option<String>),
}

impl End {
    fn parse(text: &OsStr) -> Result<End, Failure> {
        let wrong = || {
            Failure::usage(format!(
                "{:?}: want docker://NAME[:TAG][@DIGEST], oci:FOLDER[:NAME] or oci-archive:FILE[:NAME]",
                text.to_string_lossy()
            ))
        };
        let text = text.to_str().ok_or_else(wrong)?;
        if text.starts_with("docker://") {
            let name: Reference = text.parse()?;
            return Ok(End::Registry(Box::new(name.with_default_tag())));
        }
        // As skopeo has it: neither a folder nor a file has a colon in its name.
        let split = |rest: &str| match rest.split_once(':') {
            Some((path, name)) => (PathBuf::from(path), Some(name.to_owned())),
            None => (PathBuf::from(rest), None),
        };
        match text.split_once(':') {
            Some(("oci", rest)) if !rest.is_empty() => {
                let (folder, name) = split(rest);
                Ok(End::Folder(folder, name))
            }
            Some(("oci-archive", rest)) if !rest.is_empty() => {
                let (file, name) = split(rest);
                Ok(End::Archive(file, name))
            }
            _ => Err(wrong()),
        }
    }
}

pub(crate) fn run(command: &ImageCopy, json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    let start = Instant::now();
    let (source, destination) = (End::parse(&command.source)?, End::parse(&command.destination)?);
    let shown = Shown::new(command.progress);
    let observer: Arc<dyn Observer> = Arc::clone(&shown) as _;
    let image = blocking(
        interrupt,
        copy(command, source, destination, &observer, interrupt.cancel()),
    )?;
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
    cancel: Cancel,
) -> Result<Descriptor, Failure> {
    let remote = |name: &Reference| -> Result<Remote, Failure> {
        let registry = name.repository.registry();
        Ok(settings::client(&command.registries, registry)?.remote(&name.repository)?)
    };
    // What does not end in a folder lies in one for a while.
    let between = tempfile::Builder::new()
        .prefix("transom-")
        .tempdir_in(places::temporary());
    let between = between.map_err(|error| Failure::io(places::temporary().display(), &error))?;
    let into = match &destination {
        End::Folder(folder, _) => folder.as_path(),
        _ => between.path(),
    };
    if command.platform.is_some() && !matches!(source, End::Registry(_)) {
        let reason = "--platform chooses from a registry: folders and archives are copied as they are";
        return Err(Failure::usage(reason));
    }
    let (layout, image, from) = match &source {
        End::Registry(name) => fetch(command, &remote(name)?, name, into, observer).await?,
        End::Archive(file, name) => {
            let layout = Layout::open(into)?;
            let index = archive::read(file, &layout, cancel.clone()).await?;
            let image = layout.find_in(&index, name.as_deref())?;
            (layout, image, Vec::new())
        }
        End::Folder(..) if matches!(destination, End::Folder(..)) => {
            return Err(Failure::usage("from a folder to a folder: cp -r does that"));
        }
        End::Folder(folder, name) => {
            let layout = Layout::open(folder)?;
            let image = layout.find(name.as_deref())?;
            (layout, image, Vec::new())
        }
    };
    match &destination {
        End::Folder(_, name) => layout.list(image.clone(), name.as_deref())?,
        End::Archive(file, name) => {
            let listed = layout::named(image.clone(), name.as_deref());
            archive::write(file, &layout, listed, cancel).await?;
        }
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
        let before = seen.entry(blob.digest.to_string()).or_insert(bytes);
        self.bytes
            .fetch_add(bytes.saturating_sub(*before), Ordering::Relaxed);
        *before = bytes.max(*before);
    }

    fn done(&self, _: &Descriptor, moved: bool) {
        self.blobs.fetch_add(u64::from(moved), Ordering::Relaxed);
    }
}
