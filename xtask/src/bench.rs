//! `cargo xtask bench`: ours and the peers in turn on the same data, as ratios.
//!
//! Read in this order: [`data`] (what is unpacked), [`place`] (a file system of its own, so that nothing before or
//! beside it counts), [`measure`] (one run of a command), [`peers`] (containerd, pipes of command-line tools),
//! [`daemon`] (requests to both daemons), [`images`] (images into snapshots and back),
//! [`pull`] (images from a registry into snapshots), [`registry`] (requests to registries), [`filters`] (label filters), [`mod@plugins`] (processors), [`report`] (medians and ratios). The figures of the day are written down in `docs/benchmarks.md` by hand.

mod daemon;
mod data;
mod filters;
mod images;
pub(crate) mod measure;
mod memory;
mod peers;
mod place;
mod plugins;
mod pull;
mod registry;
mod report;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use transom_tests::needs::{target_dir, workspace_dir};

use crate::debian;
use crate::plugins as guests;
use crate::run::{Error, Result, cargo, run};
use crate::target;
use data::{Codec, Image, SMALL_LAYERS};
use measure::{Run, measure};
use peers::Containerd;
use place::Place;
use report::{Series, heading, row};

/// Programs that are peers or that measure, and the Debian packages that have them.
const PROGRAMS: [(&str, &str); 9] = [
    ("containerd", "containerd"),
    ("docker-registry", "docker-registry"),
    ("ctr", "containerd"),
    ("pigz", "pigz"),
    ("zstd", "zstd"),
    ("openssl", "openssl"),
    ("strace", "strace"),
    ("mkfs.ext4", "e2fsprogs"),
    ("debootstrap", "debootstrap"),
];

/// The media type that every chain ends with.
pub(crate) const LAYER_TAR: &str = "application/vnd.oci.image.layer.v1.tar";

/// A program as it is installed.
fn program(name: &str) -> PathBuf {
    target_dir().join("release").join(name)
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Whole images against `ctr images import`, and the CPU time of a pipe of tools.
    Unpack,
    /// How well the stages overlap, and peak memory.
    Overlap,
    /// What a pass-through WASM stage costs on a large layer, and to start on small ones.
    Wasm,
    /// System calls for each small file.
    Calls,
    /// The daemon's requests against containerd's.
    Daemon,
    /// Import, unpack and compare by the daemon against containerd.
    Images,
    /// Pull and unpack from a registry by the daemon against containerd, also over slow and far links.
    Pull,
    /// Records that label filters match in a second.
    Filters,
    /// Starting and feeding processors, many of them, and a host under attack.
    Plugins,
    /// The registry's requests against docker-registry's.
    Registry,
}

/// What `cargo xtask bench` was asked for.
#[derive(Debug)]
pub(crate) struct Options {
    /// The parts; all when empty.
    pub(crate) parts: Vec<Part>,
    /// Runs of each command; the median counts.
    pub(crate) runs: usize,
}

/// What every part works with.
struct Bench {
    transom: PathBuf,
    plugins: PathBuf,
    place: Place,
    runs: usize,
}

pub(crate) fn bench(options: &Options) -> Result<()> {
    let missing = debian::missing(&[&PROGRAMS[..], &plugins::PROGRAMS].concat());
    if !missing.is_empty() {
        debian::install(&missing).map_err(Error::Other)?;
    }
    let without_images = |part: &Part| matches!(part, Part::Daemon | Part::Registry);
    let no_images = !options.parts.is_empty() && options.parts.iter().all(without_images);
    if !no_images {
        guests::build(&target::set_up(None)?)?;
    }
    // They need no data, no peer and no place on disk.
    let small = |part: &Part| matches!(part, Part::Filters | Part::Plugins);
    if !options.parts.is_empty() && options.parts.iter().all(small) {
        report::machine(options.runs);
        return alone(options);
    }
    run(cargo()
        .args([
            "build",
            "--release",
            "-p",
            "transom",
            "-p",
            "transomd",
            "-p",
            "transom-load",
        ])
        .current_dir(workspace_dir()))?;
    let folder = target_dir().join("bench");
    let images = if no_images {
        Vec::new()
    } else {
        data::images(&folder.join("data"))?
    };
    let bench = Bench {
        transom: program("transom"),
        plugins: target_dir().join("plugins"),
        place: Place::mount(&folder)?,
        runs: options.runs,
    };
    if !no_images {
        bench.warm_up()?;
    }
    report::machine(options.runs);
    bench.measure(options, &images, &folder)
}

/// The parts that need nothing but the plugins.
fn alone(options: &Options) -> Result<()> {
    let folder = target_dir().join("plugins");
    if options.parts.contains(&Part::Plugins) {
        plugins::bench(&folder, options.runs)?;
    }
    if options.parts.contains(&Part::Filters) {
        filters::bench(&folder, options.runs)?;
    }
    Ok(())
}

impl Bench {
    /// Every part that was asked for.
    fn measure(&self, options: &Options, images: &[Image], folder: &Path) -> Result<()> {
        let wanted = |part| options.parts.is_empty() || options.parts.contains(&part);
        if wanted(Part::Unpack) {
            self.unpack(images)?;
        }
        if wanted(Part::Overlap) {
            self.overlap(images)?;
        }
        if wanted(Part::Wasm) {
            self.wasm(images, &folder.join("data"))?;
        }
        if wanted(Part::Calls) {
            self.calls(images)?;
        }
        if wanted(Part::Daemon) {
            daemon::bench(&self.place, options.runs)?;
        }
        if wanted(Part::Images) {
            images::bench(&self.place, images, &self.plugins, options.runs)?;
        }
        if wanted(Part::Pull) {
            pull::bench(&self.place, images, &folder.join("data"), options.runs)?;
        }
        if wanted(Part::Registry) {
            registry::bench(&self.place, options.runs)?;
        }
        if wanted(Part::Filters) {
            filters::bench(&self.plugins, options.runs)?;
        }
        if wanted(Part::Plugins) {
            plugins::bench(&self.plugins, options.runs)?;
        }
        Ok(())
    }

    /// Compiles the plugins once, so that no run pays for it.
    fn warm_up(&self) -> Result<()> {
        for name in ["count", "secrets", "xz"] {
            run(Command::new(&self.transom)
                .args(["plugin", "inspect", "--json"])
                .arg(self.plugins.join(name))
                .stdout(std::process::Stdio::null()))?;
        }
        Ok(())
    }

    fn unpack_command(&self, image: &Path, target: &Path) -> Command {
        let mut command = Command::new(&self.transom);
        command
            .args(["unpack", "--json", "--progress", "none"])
            .arg(image)
            .arg(target);
        command
    }

    /// Unpacks into a fresh folder, after everything written before has reached the disk.
    fn ours(&self, image: &Path, flags: &[&str]) -> Result<Run> {
        let target = self.place.fresh("ours")?;
        let mut command = self.unpack_command(image, &target);
        command.args(flags);
        measure(&command)
    }

    fn unpack(&self, images: &[Image]) -> Result<()> {
        heading("Unpacking: transom unpack against ctr images import (overlayfs), wall time");
        for image in images {
            self.place.renew()?;
            let (mut ours, mut theirs) = (Series::new(), Series::new());
            for _ in 0..self.runs {
                ours.push(self.ours(&image.archive, &[])?);
                let containerd = Containerd::start(&self.place)?;
                theirs.push(containerd.import(&image.archive)?);
            }
            row(
                &image.title(),
                "transom",
                &ours,
                "containerd",
                &theirs,
                "at most 0.25 for gzip",
            );
        }
        heading("CPU time: transom unpack against pigz -dc | tar -x, plus openssl dgst -sha256 of the tar");
        for image in images.iter().filter(|image| image.codec == Codec::Gzip) {
            self.place.renew()?;
            let (mut ours, mut theirs) = (Series::new(), Series::new());
            for _ in 0..self.runs {
                ours.push(self.ours(&image.archive, &[])?);
                theirs.push(peers::pipe(&image.blob, &image.tar, &self.place.fresh("pipe")?)?);
            }
            report::cpu_row(&image.title(), "transom", &ours, "tools", &theirs, "below 1");
        }
        Ok(())
    }

    fn overlap(&self, images: &[Image]) -> Result<()> {
        heading(
            "Overlap: wall time against the slowest stage's CPU time and half of all CPU time; peak memory with one WASM stage",
        );
        for image in images {
            self.place.renew()?;
            let mut ratios = Vec::new();
            let mut peak = 0;
            for _ in 0..self.runs {
                let run = self.ours(&image.archive, &[])?;
                ratios.push(overlap_ratio(&run)?);
                let counted = self.ours(&image.archive, &["--plugin", &self.plugin("count")])?;
                peak = peak.max(counted.peak_kib);
            }
            report::overlap_row(&image.title(), &mut ratios, peak);
        }
        Ok(())
    }

    fn plugin(&self, name: &str) -> String {
        self.plugins.join(name).display().to_string()
    }

    fn wasm(&self, images: &[Image], folder: &Path) -> Result<()> {
        heading("A pass-through WASM stage (count) on the plain tar of a gzip layer, wall time against none");
        let count = self.plugin("count");
        for image in images.iter().filter(|image| image.codec == Codec::Gzip) {
            self.place.renew()?;
            let (mut with, mut without) = (Series::new(), Series::new());
            for _ in 0..2 * self.runs {
                with.push(self.ours(&image.archive, &["--plugin", &count])?);
                without.push(self.ours(&image.archive, &[])?);
            }
            row(&image.title(), "with", &with, "without", &without, "at most 1.05");
        }
        self.stage_start(folder, &count)
    }

    /// The cost of one more stage on each of many small layers, by WASM and by a program.
    fn stage_start(&self, folder: &Path, count: &str) -> Result<()> {
        heading(&format!(
            "Starting a stage: {SMALL_LAYERS} layers of one small file, cost of one more stage for each layer"
        ));
        let image = data::many_layers(folder)?;
        let cat = format!("id=cat,accepts={LAYER_TAR},returns={LAYER_TAR},path=cat");
        let (mut plain, mut wasm, mut exec) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.runs {
            plain.push(layer_seconds(&self.ours(&image, &[])?)?);
            wasm.push(layer_seconds(&self.ours(&image, &["--plugin", count])?)?);
            exec.push(layer_seconds(&self.ours(&image, &["--processor", &cat])?)?);
        }
        report::start_rows(&mut plain, &mut wasm, &mut exec);
        Ok(())
    }

    fn calls(&self, images: &[Image]) -> Result<()> {
        heading("System calls for each entry, by strace -f -c");
        for image in images
            .iter()
            .filter(|image| image.codec == Codec::Gzip && image.name == "small")
        {
            let ours = peers::count_calls(&self.unpack_command(&image.archive, &self.place.fresh("calls")?))?;
            let mut tar = Command::new("tar");
            tar.arg("-xf")
                .arg(&image.tar)
                .arg("-C")
                .arg(self.place.fresh_folder("calls-tar")?);
            let theirs = peers::count_calls(&tar)?;
            report::calls_row(&image.title(), &ours, &theirs, image.entries);
        }
        Ok(())
    }
}

fn document(run: &Run) -> Result<Value> {
    serde_json::from_str(&run.stdout)
        .map_err(|error| Error::Other(format!("transom printed no JSON: {error}")))
}

fn layers(document: &Value) -> impl Iterator<Item = &Value> {
    document["layers"].as_array().into_iter().flatten()
}

fn layer_seconds(run: &Run) -> Result<f64> {
    let document = document(run)?;
    Ok(layers(&document)
        .filter_map(|layer| layer["seconds"].as_f64())
        .sum())
}

/// Wall time over the larger of the slowest stage and half of the sum, for all layers together.
fn overlap_ratio(run: &Run) -> Result<f64> {
    let document = document(run)?;
    let (mut wall, mut bound) = (0.0, 0.0);
    for layer in layers(&document) {
        let stages = layer["stages"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|stage| &stage["cpuSeconds"]);
        let others = ["readCpuSeconds", "hashCpuSeconds", "applyCpuSeconds"].map(|key| &layer[key]);
        let times: Vec<f64> = stages.chain(others).filter_map(Value::as_f64).collect();
        let slowest = times.iter().copied().fold(0.0, f64::max);
        wall += layer["seconds"].as_f64().unwrap_or_default();
        bound += slowest.max(times.iter().sum::<f64>() / 2.0);
    }
    Ok(wall / bound)
}
