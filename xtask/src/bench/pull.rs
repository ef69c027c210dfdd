//! Images from a registry into snapshots, by our daemon and by containerd in turn, both with empty stores. The registry is ours, on
//! loopback; in front of it, for some rows, a [link](Link) that is slow or far away.

mod link;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use transom_tests::sample::{Compression, ImageBuilder, Meta, Shape};

use super::daemon::{Daemon, Which};
use super::data::{Codec, Image, digest_of};
use super::measure::{Run, measure};
use super::memory;
use super::peers::{process_cpu, process_status};
use super::place::Place;
use super::registry::{self, Registry};
use super::report::{Series, heading, median, row};
use crate::run::{Error, Result, file_error, run};
use link::Link;

/// containerd 1.6 does not bring a snapshot's files to the disk when it is committed, and cannot be told to; ours does by default.
const UNSYNCED: &str = "[snapshots]\nsync = false\n";

/// Bytes a second of the slow link.
const SLOW: u64 = 50_000_000;

/// From a request to the first byte of its answer, on the far link.
const FAR: Duration = Duration::from_millis(50);

/// Layers of the image for the far link, and bytes of each, which do not compress.
const FAR_LAYERS: usize = 30;
const FAR_BYTES: usize = 1_000_000;

/// What a pull may take of memory, in MiB.
const MEMORY: f64 = 150.0;

/// Which daemon pulls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Puller {
    Ours,
    Synced,
    Theirs,
}

pub(super) fn bench(place: &Place, images: &[Image], folder: &Path, runs: usize) -> Result<()> {
    // Not on the place, which is renewed for every image.
    let storage = folder.join("registry");
    drop(fs::remove_dir_all(&storage));
    fs::create_dir(&storage).map_err(file_error(&storage))?;
    let mut registry = Registry::in_folder(registry::Which::Ours, storage)?;
    registry.start()?;
    for image in images {
        offer(&image.archive, "oci-archive", registry.address(), &name(image))?;
    }
    offer(&far_image(folder)?, "oci", registry.address(), "far")?;
    loopback(place, &registry, images, runs)?;
    slow(place, &registry, images, runs)?;
    far(place, &registry, runs)
}

/// An image's repository.
fn name(image: &Image) -> String {
    match image.codec {
        Codec::Gzip => format!("{}-gzip", image.name),
        Codec::Zstd => format!("{}-zstd", image.name),
    }
}

/// Brings an image to the registry.
fn offer(image: &Path, transport: &str, address: &str, name: &str) -> Result<()> {
    let source = format!("{transport}:{}", image.display());
    run(Command::new(super::program("transom"))
        .args([
            "image",
            "copy",
            "--plain-http",
            "--progress",
            "none",
            "--json",
            &source,
        ])
        .arg(format!("docker://{address}/bench/{name}:latest"))
        .stdout(Stdio::null()))
}

fn loopback(place: &Place, registry: &Registry, images: &[Image], runs: usize) -> Result<()> {
    heading(
        "Pull and unpack from a registry on loopback: transom image pull against ctr images pull (overlayfs), wall time",
    );
    let mut peak = 0.0_f64;
    for image in images {
        place.renew()?;
        let name = name(image);
        let (mut ours, mut theirs, mut synced) = (Series::new(), Series::new(), Series::new());
        for _ in 0..runs {
            ours.push(pull(place, Puller::Ours, registry.address(), &name)?);
            theirs.push(pull(place, Puller::Theirs, registry.address(), &name)?);
            synced.push(pull(place, Puller::Synced, registry.address(), &name)?);
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
        peak = peak.max(ours.peak_mib()).max(synced.peak_mib());
    }
    println!("  peak memory of transomd over all of them: {peak:.0} MiB   (wanted: under {MEMORY:.0})");
    Ok(())
}

fn slow(place: &Place, registry: &Registry, images: &[Image], runs: usize) -> Result<()> {
    heading(&format!(
        "Pull and unpack over a link of {} MB/s, against a bare download of the layer over it, wall time",
        SLOW / 1_000_000
    ));
    for image in images.iter().filter(|image| image.codec == Codec::Gzip) {
        place.renew()?;
        let (name, link) = (
            name(image),
            Link::to(registry.address(), Some(SLOW), Duration::ZERO)?,
        );
        let path = format!("/v2/bench/{name}/blobs/{}", digest_of(&image.blob)?.0);
        let (mut ours, mut bare) = (Series::new(), Series::new());
        for _ in 0..runs {
            ours.push(pull(place, Puller::Ours, link.address(), &name)?);
            bare.push(download(link.address(), &path)?);
        }
        row(
            &image.title(),
            "transomd",
            &ours,
            "download",
            &bare,
            "at most 1.1",
        );
    }
    Ok(())
}

fn far(place: &Place, registry: &Registry, runs: usize) -> Result<()> {
    heading(&format!(
        "Pull and unpack of {FAR_LAYERS} layers of {} MB over a link with {} ms from a request to its answer, wall time",
        FAR_BYTES / 1_000_000,
        FAR.as_millis()
    ));
    place.renew()?;
    let link = Link::to(registry.address(), None, FAR)?;
    let (mut ours, mut theirs) = (Series::new(), Series::new());
    for _ in 0..runs {
        ours.push(pull(place, Puller::Ours, link.address(), "far")?);
        theirs.push(pull(place, Puller::Theirs, link.address(), "far")?);
    }
    row("far", "transomd", &ours, "containerd", &theirs, "at most 0.5");
    Ok(())
}

/// Pulls into a new daemon. CPU time is the client's and the daemon's, the peak that of whoever unpacks and fetches: of our
/// daemon, and of the larger of containerd and ctr.
fn pull(place: &Place, puller: Puller, address: &str, name: &str) -> Result<Run> {
    let mut daemon = match puller {
        Puller::Ours => Daemon::configured(place, UNSYNCED.to_owned())?,
        Puller::Synced => Daemon::new(Which::Ours, place)?,
        Puller::Theirs => Daemon::new(Which::Theirs, place)?,
    };
    daemon.start()?;
    rustix::fs::sync();
    memory::warm();
    let image = format!("{address}/bench/{name}:latest");
    let mut command = match puller {
        Puller::Theirs => {
            let mut command = Command::new("ctr");
            command.arg("-a").arg(daemon.socket());
            command.args([
                "-n",
                "load",
                "images",
                "pull",
                "--plain-http",
                "--snapshotter",
                "overlayfs",
            ]);
            command
        }
        Puller::Ours | Puller::Synced => {
            let mut command = Command::new(super::program("transom"));
            command.arg("-a").arg(daemon.socket());
            command.args([
                "-n",
                "load",
                "image",
                "pull",
                "--plain-http",
                "--progress",
                "none",
                "--json",
            ]);
            command
        }
    };
    command.arg(&image);
    let before = process_cpu(daemon.pid()?)?;
    let mut run = measure(&command)?;
    run.cpu += process_cpu(daemon.pid()?)? - before;
    let peak = process_status(daemon.pid()?, "VmHWM:")?;
    run.peak_kib = match puller {
        Puller::Theirs => run.peak_kib.max(peak),
        Puller::Ours | Puller::Synced => peak,
    };
    daemon.stop()?;
    Ok(run)
}

/// Reads a blob over HTTP and does nothing with it.
fn download(address: &str, path: &str) -> Result<Run> {
    let failed = |error: std::io::Error| Error::Other(format!("downloading {path}: {error}"));
    let start = Instant::now();
    let mut stream = TcpStream::connect(address).map_err(failed)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut block = vec![0; 1 << 20];
    let count = stream.read(&mut block).map_err(failed)?;
    if !block[..count].starts_with(b"HTTP/1.1 200") {
        return Err(Error::Other(format!("no download of {path}")));
    }
    while stream.read(&mut block).map_err(failed)? > 0 {}
    Ok(Run {
        wall: start.elapsed().as_secs_f64(),
        ..Run::default()
    })
}

/// An image for the far link, as a layout folder.
fn far_image(folder: &Path) -> Result<PathBuf> {
    let layout = folder.join("far");
    drop(fs::remove_dir_all(&layout));
    let mut builder = ImageBuilder::new();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for number in 0..FAR_LAYERS {
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .take(FAR_BYTES)
        .collect();
        let added = builder.layer(&format!("noise {number}"), Compression::Gzip, |layer| {
            let name = format!("noise-{number}");
            layer.file(name.as_bytes(), &Meta::new(0o644), &noise);
            Ok(())
        });
        added.map_err(file_error(&layout))?;
    }
    let written = builder.write(&layout, "latest", Shape::Flat);
    written.map_err(file_error(&layout))?;
    Ok(layout)
}

impl Series {
    /// The median of the peaks, in MiB.
    fn peak_mib(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "mebibytes are shown")]
        let mut peaks: Vec<f64> = self
            .runs()
            .iter()
            .map(|run| run.peak_kib as f64 / 1024.0)
            .collect();
        median(&mut peaks)
    }
}
