//! `transom unpack`: an image on disk into a folder.

mod artifacts;

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use serde_json::json;
use transom_image::unpack::{Observer, UnpackError, UnpackOptions, UnpackedLayer, unpack};
use transom_image::{Image, Layer, PlatformChoice, resolve};
use transom_layer::apply::{ApplyLimits, Ownership};
use transom_layer::chain::Step;
use transom_layer::limits::OutputLimits;

use super::registry::layout::Layout;
use super::registry::pull::{self, Coming};
use super::report::{LayerJson, layer_text};
use super::{open_image, print, print_json};
use crate::arguments::{Owner, Unpack};
use crate::failure::Failure;
use crate::handlers;
use crate::interrupt::Interrupt;
use crate::places;
use crate::progress::{Bars, Follower};
use crate::show::{count, duration, printable, size};

pub(crate) fn run(command: Unpack, json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    let start = Instant::now();
    let options = options(&command, interrupt)?;
    let coming = coming(&command, interrupt)?;
    let image = coming
        .as_ref()
        .map_or(command.image.as_os_str(), |coming| coming.folder().as_os_str());
    let (mut source, selector) = open_image(image, interrupt)?;
    if coming.is_some() {
        source = source.coming();
    }
    let platform = command
        .platform
        .map_or(PlatformChoice::Host, PlatformChoice::Only);
    let image = resolve(&source, &selector, &platform)?;
    if !json && command.owner.is_none() && options.ownership == Ownership::Ignore {
        eprintln!("transom: not running as root: files will be owned by the caller, devices are left out");
    }
    let shown = Shown {
        bars: Bars::new(command.progress),
        bar: RefCell::new(None),
        layers: image.layers.len(),
        json,
    };
    let layout = command.artifacts.as_deref().map(Layout::open).transpose()?;
    let done = match &coming {
        Some(coming) => unpack_coming(coming, &image, &command.target, &options, &shown)?,
        None => unpack(&source, &image, &command.target, &options, &shown)?,
    };
    let artifacts = match &layout {
        Some(layout) => artifacts::write(layout, &image, &done)?,
        None => Vec::new(),
    };
    let target = command.target.display().to_string();
    if json {
        let layers: Vec<LayerJson<'_>> = done.iter().map(LayerJson::of).collect();
        return print_json(&json!({
            "image": image.name,
            "manifest": image.descriptor,
            "platform": image.config.platform,
            "target": target,
            "chainID": done.last().map(|layer| &layer.chain_id),
            "layers": layers,
            "artifacts": artifacts,
            "seconds": start.elapsed().as_secs_f64(),
        }));
    }
    print(&summary(&image, &done, &target, start))?;
    artifacts
        .iter()
        .try_for_each(|artifact| print(&artifact.to_string()))
}

/// Unpacks an image while it comes. That a layer could not be fetched is the failure, whatever was made of its beginning.
fn unpack_coming(
    coming: &Coming,
    image: &Image,
    target: &Path,
    options: &UnpackOptions,
    shown: &Shown,
) -> Result<Vec<UnpackedLayer>, Failure> {
    match unpack(coming, image, target, options, shown) {
        Ok(done) => Ok(done),
        Err(error @ UnpackError::Cancelled { .. }) => Err(error.into()),
        Err(error) => {
            coming.end()?;
            if !coming.has_lost() {
                return Err(error.into());
            }
            // Bytes that were wrong came right in the end.
            Ok(unpack(coming, image, target, options, shown)?)
        }
    }
}

/// An image of a registry, on its way; `None` for one that is here.
fn coming(command: &Unpack, interrupt: &Interrupt) -> Result<Option<Coming>, Failure> {
    match command.image.to_str() {
        Some(image) if pull::is_remote(&command.image) => pull::begin(
            image,
            command.platform.as_ref(),
            &command.registries,
            command.progress,
            interrupt,
        )
        .map(Some),
        _ => Ok(None),
    }
}

fn options(command: &Unpack, interrupt: &Interrupt) -> Result<UnpackOptions, Failure> {
    let owner = command.owner.unwrap_or(if places::is_root() {
        Owner::Keep
    } else {
        Owner::Mine
    });
    let output = OutputLimits::default();
    let apply = ApplyLimits::default();
    Ok(UnpackOptions {
        chain: handlers::chain(&command.handlers)?,
        payloads: handlers::payloads(&command.payload)?,
        ownership: match owner {
            Owner::Keep => Ownership::Keep,
            Owner::Mine => Ownership::Ignore,
        },
        output_limits: OutputLimits {
            bytes: command.max_layer_size.unwrap_or(output.bytes),
            ratio: command.max_ratio.unwrap_or(output.ratio),
        },
        apply_limits: ApplyLimits {
            entries: command.max_entries.unwrap_or(apply.entries),
            ..apply
        },
        keep_partial: command.keep_partial,
        cancel: interrupt.cancel(),
    })
}

fn summary(image: &Image, done: &[UnpackedLayer], target: &str, start: Instant) -> String {
    let entries = done.iter().map(|layer| layer.report.applied.entries).sum();
    let bytes = done.iter().map(|layer| layer.report.diff_size).sum();
    format!(
        "unpacked {} ({}) into {target}: {} layers, {} entries, {} of tar in {}\n",
        printable(
            image
                .name
                .as_deref()
                .unwrap_or_else(|| image.descriptor.digest.short())
        ),
        printable(&image.config.platform.to_string()),
        done.len(),
        count(entries),
        size(bytes),
        duration(start.elapsed()),
    )
}

/// Shows layers as they go: a bar for the one at work, a report for each that is done.
struct Shown {
    bars: Bars,
    bar: RefCell<Option<Follower>>,
    layers: usize,
    json: bool,
}

impl Observer for Shown {
    fn layer_started(&self, index: usize, layer: &Layer, _steps: &[Step], progress: &Arc<AtomicU64>) {
        let label = format!("layer {} of {}", index + 1, self.layers);
        *self.bar.borrow_mut() = Some(self.bars.follow(&label, Some(layer.descriptor.size), progress));
    }

    fn layer_done(&self, unpacked: &UnpackedLayer) {
        self.bar.borrow_mut().take();
        if !self.json {
            // The summary at the end would fail in the same way, and says so.
            drop(print(&layer_text(unpacked, self.layers)));
        }
    }
}
