//! Images into snapshots and back, by our daemon and by containerd in turn: import and unpack by `ctr`, small layers,
//! a comparison of a large root filesystem with a few changes, snapshots made and removed.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::LAYER_TAR;
use super::daemon::{Daemon, Which, middle, rate_row};
use super::data::{Codec, Image};
use super::measure::{Run, measure};
use super::memory;
use super::peers::{process_cpu, process_status, shell};
use super::place::Place;
use super::report::{Series, heading, median, row};
use crate::run::{Error, Result, check, file_error, not_started};

/// containerd 1.6 does not bring a snapshot's files to the disk when it is committed, and cannot be told to; ours does by default.
const UNSYNCED: &str = "[snapshots]\nsync = false\n";
/// Small layers that are applied.
const LAYERS: &str = "500";
/// Files that are changed before the comparison.
const CHANGES: usize = 100;

pub(super) fn bench(place: &Place, images: &[Image], plugins: &Path, runs: usize) -> Result<()> {
    imports(place, images, runs)?;
    small_layers(place, runs)?;
    one_more_stage(place, plugins, runs)?;
    comparison(place, images, runs)
}

/// Both daemons, new and running, as durable as each other.
fn started(place: &Place) -> Result<Vec<Daemon>> {
    let mut daemons = Vec::new();
    for mut daemon in [
        Daemon::configured(place, UNSYNCED.to_owned())?,
        Daemon::new(Which::Theirs, place)?,
    ] {
        daemon.start()?;
        daemons.push(daemon);
    }
    Ok(daemons)
}

fn imports(place: &Place, images: &[Image], runs: usize) -> Result<()> {
    heading("Import and unpack: ctr images import (overlayfs) into transomd and into containerd, wall time");
    for image in images {
        place.renew()?;
        let (mut ours, mut theirs, mut synced) = (Series::new(), Series::new(), Series::new());
        for _ in 0..runs {
            for (mut daemon, series) in [
                (Daemon::configured(place, UNSYNCED.to_owned())?, &mut ours),
                (Daemon::new(Which::Theirs, place)?, &mut theirs),
                (Daemon::new(Which::Ours, place)?, &mut synced),
            ] {
                daemon.start()?;
                series.push(import(&daemon, &image.archive)?);
            }
        }
        let wanted = match image.codec {
            Codec::Gzip => "at most 0.3",
            Codec::Zstd => "at most 0.5",
        };
        row(&image.title(), "transomd", &ours, "containerd", &theirs, wanted);
        row(
            "  synced at commit, as by default",
            "transomd",
            &synced,
            "containerd",
            &theirs,
            "no figure",
        );
    }
    peak(place, images)
}

/// The peak of the daemons' memory when all gzip images have been imported one after the other.
fn peak(place: &Place, images: &[Image]) -> Result<()> {
    place.renew()?;
    let mut peaks = Vec::new();
    for mut daemon in started(place)? {
        for image in images.iter().filter(|image| image.codec == Codec::Gzip) {
            import(&daemon, &image.archive)?;
        }
        #[allow(clippy::cast_precision_loss, reason = "mebibytes are shown")]
        peaks.push(process_status(daemon.pid()?, "VmHWM:")? as f64 / 1024.0);
        daemon.stop()?;
    }
    println!(
        "  peak memory of the daemons over all gzip images: {:.0} and {:.0} MiB, ratio {:.2}   (wanted: at most 0.5)",
        peaks[0],
        peaks[1],
        peaks[0] / peaks[1]
    );
    Ok(())
}

/// Imports an archive; CPU time is the client's and the daemon's.
fn import(daemon: &Daemon, archive: &Path) -> Result<Run> {
    rustix::fs::sync();
    memory::warm();
    let before = process_cpu(daemon.pid()?)?;
    let mut command = ctr(daemon);
    command
        .args(["images", "import", "--snapshotter", "overlayfs"])
        .arg(archive);
    let mut run = measure(&command)?;
    run.cpu += process_cpu(daemon.pid()?)? - before;
    run.peak_kib = process_status(daemon.pid()?, "VmHWM:")?;
    Ok(run)
}

fn ctr(daemon: &Daemon) -> Command {
    let mut command = Command::new("ctr");
    command.arg("-a").arg(daemon.socket()).args(["-n", "load"]);
    command
}

fn small_layers(place: &Place, runs: usize) -> Result<()> {
    heading(&format!(
        "{LAYERS} layers of one small file, and snapshots prepared and removed, by one client"
    ));
    place.renew()?;
    let daemons = started(place)?;
    let jobs = [
        ("applied onto one snapshot", "apply", "1", "4"),
        ("prepared, applied, committed", "unpack", "1", "4"),
        ("prepared and removed", "prepare-remove", "1", "no figure"),
        ("prepared and removed", "prepare-remove", "16", "no figure"),
    ];
    for (title, job, clients, wanted) in jobs {
        let mut loads = [Vec::new(), Vec::new()];
        for run in 0..runs {
            for (daemon, loads) in daemons.iter().zip(&mut loads) {
                let salt = format!("{run}{clients}");
                let arguments = ["--count", LAYERS, "--clients", clients, "--salt", &salt];
                loads.push(daemon.load(job, &arguments)?);
            }
        }
        rate_row(title, clients, &loads, wanted);
    }
    Ok(())
}

/// What one more stage costs each small layer: `count` as a WASM inspector, and `cat` as an external processor, each in a
/// daemon of its own against one without.
fn one_more_stage(place: &Place, plugins: &Path, runs: usize) -> Result<()> {
    heading(&format!(
        "One more stage on each of {LAYERS} small layers (wanted: at most 100 µs for WASM)"
    ));
    place.renew()?;
    let count = format!(
        "{UNSYNCED}[processors]\nfolders = [{:?}]\n",
        plugins.join("count")
    );
    let cat = format!(
        "{UNSYNCED}[stream_processors.cat]\naccepts = [{LAYER_TAR:?}]\nreturns = {LAYER_TAR:?}\npath = \"cat\"\n"
    );
    let mut daemons = Vec::new();
    for config in [UNSYNCED.to_owned(), count, cat] {
        let mut daemon = Daemon::configured(place, config)?;
        daemon.start()?;
        daemons.push(daemon);
    }
    // The pair without, with: what comes between two jobs costs both alike.
    for (title, with) in [("count (wasm)", 1), ("cat (program)", 2)] {
        let mut costs = Vec::new();
        for run in 0..runs.max(5) {
            let mut each = [0.0; 2];
            for (time, daemon) in each.iter_mut().zip([&daemons[0], &daemons[with]]) {
                let salt = format!("{with}{run}");
                let load = daemon.load("apply", &["--count", LAYERS, "--clients", "1", "--salt", &salt])?;
                *time = load.seconds / load.operations * 1e6;
            }
            costs.push(each);
        }
        let mut without: Vec<f64> = costs.iter().map(|each| each[0]).collect();
        let mut more: Vec<f64> = costs.iter().map(|each| each[1] - each[0]).collect();
        println!(
            "  {title:<16} {:5.0} µs more than {:.0} µs",
            median(&mut more),
            median(&mut without)
        );
    }
    Ok(())
}

fn comparison(place: &Place, images: &[Image], runs: usize) -> Result<()> {
    let Some(image) = images
        .iter()
        .find(|image| image.name == "small" && image.codec == Codec::Gzip)
    else {
        return Ok(());
    };
    heading(&format!(
        "Comparison of an active snapshot on {} with {CHANGES} changes",
        image.title()
    ));
    place.renew()?;
    let daemons = started(place)?;
    for daemon in &daemons {
        import(daemon, &image.archive)?;
        change(daemon, place, &image.diff_id()?)?;
    }
    let mut loads = [Vec::new(), Vec::new()];
    for run in 0..runs {
        for (daemon, loads) in daemons.iter().zip(&mut loads) {
            let salt = run.to_string();
            loads.push(daemon.load("compare", &["--snapshot", "changed", "--salt", &salt])?);
        }
    }
    let times = loads
        .each_ref()
        .map(|loads| middle(loads, |load| load.seconds * 1e3));
    println!(
        "  {:.1} and {:.1} ms, ratio {:.3}   (wanted: at most 0.2)",
        times[0],
        times[1],
        times[0] / times[1]
    );
    Ok(())
}

/// An active snapshot `changed` with files written to, made and removed.
fn change(daemon: &Daemon, place: &Place, parent: &str) -> Result<()> {
    let mut prepare = ctr(daemon);
    prepare
        .args(["snapshots", "prepare", "changed", parent])
        .stdout(Stdio::null());
    let status = prepare.status().map_err(not_started(&prepare))?;
    check(&prepare, status)?;
    let target = place.fresh_folder("changed")?;
    let mut mounts = ctr(daemon);
    mounts.args(["snapshots", "mounts"]).arg(&target).arg("changed");
    let output = mounts.output().map_err(not_started(&mounts))?;
    check(&mounts, output.status)?;
    // It prints the command that mounts.
    shell(&String::from_utf8_lossy(&output.stdout), &[])?;
    let changed = change_files(&target);
    shell("umount \"$0\"", &[&target])?;
    changed
}

fn change_files(root: &Path) -> Result<()> {
    for number in 0..CHANGES {
        // As `write_small_files` names them, spread over all packages.
        let module = number * 500;
        let folder = root.join(format!("pkg-{:03}/lib-{:02}", module / 200, module / 20 % 10));
        let file = folder.join(format!("module-{module}.js"));
        match number % 3 {
            0 => fs::write(&file, format!("changed {number}")),
            1 => fs::remove_file(&file),
            _ => fs::write(folder.join("new"), format!("new {number}")),
        }
        .map_err(file_error(&file))?;
    }
    Ok(())
}

impl Image {
    /// The diffID of its only layer, which is its chain ID too.
    fn diff_id(&self) -> Result<String> {
        let bytes = fs::read(&self.tar).map_err(file_error(&self.tar))?;
        let digest = transom_oci::Digest::of(transom_oci::Algorithm::Sha256, &bytes);
        if bytes.is_empty() {
            return Err(Error::Other(format!("{} is empty", self.tar.display())));
        }
        Ok(digest.to_string())
    }
}
