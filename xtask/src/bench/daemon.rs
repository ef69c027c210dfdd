//! Requests to our daemon and to containerd in turn, by the same client, on the same file system.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::memory;
use super::peers::{containerd_config, process_cpu, process_status};
use super::place::Place;
use super::report::{heading, median};
use crate::run::{Error, Result, check, file_error, not_started};

/// Images and blobs of the large store.
const MANY: u32 = 10_000;
/// Bytes of the large blob.
const LARGE: u64 = 1 << 30;
/// How long a daemon is left alone before its memory is looked at.
const IDLE: Duration = Duration::from_secs(2);
/// How long a daemon may take to stop.
const STOP_MAX: Duration = Duration::from_secs(20);
/// Seconds that a rate is measured for.
const SECONDS: &str = "2";

/// Which daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Ours,
    Theirs,
}

pub(super) const BOTH: [Which; 2] = [Which::Ours, Which::Theirs];

/// A running daemon with a folder of its own; it is stopped when dropped.
pub(super) struct Daemon {
    which: Which,
    folder: PathBuf,
    /// A configuration of ours beside the folders.
    config: Option<String>,
    child: Option<Child>,
}

/// What one load gave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) operations: f64,
    pub(super) bytes: f64,
    pub(super) seconds: f64,
    /// CPU seconds of the daemon.
    pub(super) cpu: f64,
}

pub(super) fn bench(place: &Place, runs: usize) -> Result<()> {
    place.renew()?;
    let mut daemons = BOTH
        .into_iter()
        .map(|which| Daemon::new(which, place))
        .collect::<Result<Vec<_>>>()?;
    start_and_idle(&mut daemons, runs, "empty", (65.0, 17.0))?;
    heading("Requests: rate, and CPU time of the daemon for each");
    for daemon in &daemons {
        daemon.load("seed", &["--count", "1000"])?;
    }
    let rates = [
        ("Content.Info", "info", "1", "2 and 1/3"),
        ("Content.Info", "info", "16", "2 and 1/3"),
        ("Images.Get", "get-image", "1", "2 and 1/3"),
        ("Images.Get", "get-image", "16", "2 and 1/3"),
        ("4 KiB blob committed", "put-blob", "1", "2"),
        ("4 KiB blob committed", "put-blob", "16", "6"),
        ("Images.Update", "update-image", "1", "no figure"),
        ("Images.Update", "update-image", "16", "3"),
    ];
    for (title, job, clients, wanted) in rates {
        rate(&daemons, runs, title, job, clients, wanted)?;
    }
    large_blob(&daemons, runs)?;
    heading(&format!("{MANY} images and blobs"));
    for daemon in &daemons {
        let many = MANY.to_string();
        let seeded = daemon.load("seed", &["--count", &many])?;
        println!("  {}: made in {:.1} s", daemon.name(), seeded.seconds);
    }
    for (title, job) in [
        ("listing images", "list-images"),
        ("walking blobs", "list-content"),
    ] {
        lists(&daemons, runs, title, job)?;
    }
    start_and_idle(&mut daemons, runs, "with them", (150.0, 53.0))
}

/// A rate of requests, ours and theirs in turn.
fn rate(daemons: &[Daemon], runs: usize, title: &str, job: &str, clients: &str, wanted: &str) -> Result<()> {
    let mut loads = [Vec::new(), Vec::new()];
    for run in 0..runs {
        for (daemon, loads) in daemons.iter().zip(&mut loads) {
            let salt = run.to_string();
            let arguments = ["--clients", clients, "--seconds", SECONDS, "--salt", &salt];
            loads.push(daemon.load(job, &arguments)?);
        }
    }
    rate_row(title, clients, &loads, wanted);
    Ok(())
}

fn large_blob(daemons: &[Daemon], runs: usize) -> Result<()> {
    heading("A blob of 1 GiB, MB/s and CPU time of the daemon");
    let size = LARGE.to_string();
    let (mut written, mut read) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    let (mut ingested, mut got) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for run in 0..runs {
        for (index, daemon) in daemons.iter().enumerate() {
            let salt = (run + 1).to_string();
            memory::warm();
            written[index].push(daemon.load("ingest", &["--size", &size, "--salt", &salt])?);
            read[index].push(daemon.load("read", &[])?);
            let (into, out) = daemon.ctr_round(run)?;
            ingested[index].push(into);
            got[index].push(out);
        }
    }
    for (title, loads) in [
        ("written by 1 MiB", written),
        ("ctr content ingest", ingested),
        ("read by 1 MiB", read),
        ("ctr content get", got),
    ] {
        speed_row(title, &loads, "2.5");
    }
    Ok(())
}

fn lists(daemons: &[Daemon], runs: usize, title: &str, job: &str) -> Result<()> {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..runs.max(3) {
        for (daemon, times) in daemons.iter().zip(&mut times) {
            times.push(daemon.load(job, &[])?);
        }
    }
    let times = times
        .each_ref()
        .map(|loads| middle(loads, |load| load.seconds * 1e3));
    println!(
        "  {title:<24} {:7.1} and {:7.1} ms, ratio {:.2}   (wanted: 0.33)",
        times[0],
        times[1],
        times[0] / times[1]
    );
    Ok(())
}

/// From the start of the process to its first answer, and its memory when it has been left alone.
fn start_and_idle(daemons: &mut [Daemon], runs: usize, title: &str, wanted: (f64, f64)) -> Result<()> {
    heading(&format!("Start to first answer, and memory at rest, {title}"));
    let mut starts = [Vec::new(), Vec::new()];
    let mut sizes = [Vec::new(), Vec::new()];
    for run in 0..runs {
        for (index, daemon) in daemons.iter_mut().enumerate() {
            daemon.stop()?;
            starts[index].push(daemon.start()? * 1e3);
            if run == 0 {
                sleep(IDLE);
                #[allow(clippy::cast_precision_loss, reason = "mebibytes are shown")]
                sizes[index].push(process_status(daemon.pid()?, "VmRSS:")? as f64 / 1024.0);
            }
        }
    }
    let (starts, sizes) = (
        starts.map(|mut all| median(&mut all)),
        sizes.map(|mut all| median(&mut all)),
    );
    println!(
        "  start {:.0} and {:.0} ms (wanted: under {:.0})   memory {:.1} and {:.1} MiB (wanted: at most {:.0})",
        starts[0], starts[1], wanted.0, sizes[0], sizes[1], wanted.1
    );
    Ok(())
}

pub(super) fn middle(loads: &[Load], figure: impl Fn(&Load) -> f64) -> f64 {
    median(&mut loads.iter().map(figure).collect::<Vec<_>>())
}

/// What two servers gave under the same loads, ours first.
pub(super) type Loads = [Vec<Load>; 2];

/// A row of rates, and what each request cost the server.
pub(super) fn rate_row(title: &str, clients: &str, loads: &Loads, wanted: &str) {
    let rates = loads
        .each_ref()
        .map(|loads| middle(loads, |load| load.operations / load.seconds));
    let costs = loads
        .each_ref()
        .map(|loads| middle(loads, |load| load.cpu / load.operations * 1e6));
    println!(
        "  {title:<30} {clients:>2} clients   {:8.0}/s and {:8.0}/s, ratio {:.2}   {:5.0} and {:5.0} µs, ratio {:.2}   (wanted: {wanted})",
        rates[0],
        rates[1],
        rates[0] / rates[1],
        costs[0],
        costs[1],
        costs[0] / costs[1],
    );
}

/// A row of speeds, and the server's CPU time.
pub(super) fn speed_row(title: &str, loads: &Loads, wanted: &str) {
    let speeds = loads
        .each_ref()
        .map(|loads| middle(loads, |load| load.bytes / load.seconds / 1e6));
    let costs = loads.each_ref().map(|loads| middle(loads, |load| load.cpu));
    println!(
        "  {title:<30} {:7.0} and {:7.0} MB/s, ratio {:.2}   CPU {:.2} and {:.2} s   (wanted: {wanted})",
        speeds[0],
        speeds[1],
        speeds[0] / speeds[1],
        costs[0],
        costs[1]
    );
}

impl Daemon {
    pub(super) fn new(which: Which, place: &Place) -> Result<Daemon> {
        Ok(Daemon {
            which,
            folder: place.fresh_folder("daemon")?,
            config: None,
            child: None,
        })
    }

    /// Ours with a configuration.
    pub(super) fn configured(place: &Place, config: String) -> Result<Daemon> {
        let mut daemon = Daemon::new(Which::Ours, place)?;
        daemon.config = Some(config);
        Ok(daemon)
    }

    fn name(&self) -> &'static str {
        match self.which {
            Which::Ours => "transomd",
            Which::Theirs => "containerd",
        }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.join("sock")
    }

    pub(super) fn pid(&self) -> Result<u32> {
        let child = self.child.as_ref();
        child
            .map(Child::id)
            .ok_or_else(|| Error::Other(format!("{} does not run", self.name())))
    }

    /// Starts it; gives the seconds until it answered.
    pub(super) fn start(&mut self) -> Result<f64> {
        let log = self.folder.join("log");
        let log = File::create(&log).map_err(file_error(&log))?;
        let mut command = match self.which {
            Which::Ours => {
                let mut command = Command::new(super::program("transomd"));
                command
                    .arg("--root")
                    .arg(self.folder.join("root"))
                    .arg("--state")
                    .arg(self.folder.join("state"))
                    .arg("--address")
                    .arg(self.socket());
                if let Some(text) = &self.config {
                    let config = self.folder.join("config.toml");
                    fs::write(&config, text).map_err(file_error(&config))?;
                    command.arg("--config").arg(config);
                }
                command
            }
            Which::Theirs => {
                let config = self.folder.join("config.toml");
                fs::write(&config, containerd_config(&self.folder, &self.socket()))
                    .map_err(file_error(&config))?;
                let mut command = Command::new("containerd");
                command.arg("--config").arg(config);
                command
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let start = Instant::now();
        self.child = Some(command.spawn().map_err(not_started(&command))?);
        run_load(&self.socket(), "ready", &[])?;
        Ok(start.elapsed().as_secs_f64())
    }

    pub(super) fn stop(&mut self) -> Result<()> {
        match self.child.take() {
            Some(child) => end(child, self.name()),
            None => Ok(()),
        }
    }

    /// Runs the client, and counts what it cost the daemon.
    pub(super) fn load(&self, job: &str, arguments: &[&str]) -> Result<Load> {
        load(self.pid()?, &self.socket(), job, arguments)
    }

    /// The large blob in and out by `ctr`.
    fn ctr_round(&self, run: usize) -> Result<(Load, Load)> {
        let file = self.folder.join("large");
        write_large(&file, run)?;
        let name = format!("ctr-{run}");
        memory::warm();
        let into = self.ctr(&["content", "ingest", &name], Some(&file))?;
        let digest = transom_oci::Digest::of(
            transom_oci::Algorithm::Sha256,
            &fs::read(&file).map_err(file_error(&file))?,
        );
        let out = self.ctr(&["content", "get", digest.as_str()], None)?;
        fs::remove_file(&file).map_err(file_error(&file))?;
        Ok((into, out))
    }

    fn ctr(&self, arguments: &[&str], input: Option<&Path>) -> Result<Load> {
        let mut command = Command::new("ctr");
        command
            .arg("-a")
            .arg(self.socket())
            .args(["-n", "load"])
            .args(arguments)
            .stdout(Stdio::null());
        if let Some(input) = input {
            command.stdin(File::open(input).map_err(file_error(input))?);
        }
        let before = process_cpu(self.pid()?)?;
        let start = Instant::now();
        let status = command.status().map_err(not_started(&command))?;
        check(&command, status)?;
        #[allow(clippy::cast_precision_loss, reason = "a power of two")]
        Ok(Load {
            operations: 1.0,
            bytes: LARGE as f64,
            seconds: start.elapsed().as_secs_f64(),
            cpu: process_cpu(self.pid()?)? - before,
        })
    }
}

/// Runs the client on a server's address, and counts what it cost the process that serves.
pub(super) fn load(server: u32, address: &Path, job: &str, arguments: &[&str]) -> Result<Load> {
    let before = process_cpu(server)?;
    let document = run_load(address, job, arguments)?;
    let cpu = process_cpu(server)? - before;
    let number = |key: &str| document[key].as_f64().unwrap_or_default();
    Ok(Load {
        operations: number("operations"),
        bytes: number("bytes"),
        seconds: number("seconds"),
        cpu,
    })
}

pub(super) fn run_load(address: &Path, job: &str, arguments: &[&str]) -> Result<Value> {
    let mut command = Command::new(super::program("transom-load"));
    command.arg(address).arg(job).args(arguments);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(not_started(&command))?;
    check(&command, output.status)?;
    serde_json::from_slice(&output.stdout)
        .map_err(|error| Error::Other(format!("transom-load printed no JSON: {error}")))
}

/// Tells a server to end, and waits until it has.
pub(super) fn end(mut child: Child, name: &str) -> Result<()> {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap_or_default());
    // It may have stopped by itself, which its log tells.
    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
    let start = Instant::now();
    while matches!(child.try_wait(), Ok(None)) {
        if start.elapsed() > STOP_MAX {
            drop(child.kill());
            drop(child.wait());
            return Err(Error::Other(format!("{name} does not stop")));
        }
        sleep(Duration::from_millis(10));
    }
    Ok(())
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.stop());
    }
}

/// A file of bytes that do not compress, another one for each run.
fn write_large(path: &Path, run: usize) -> Result<()> {
    use std::io::Write;
    let file = File::create(path).map_err(file_error(path))?;
    let mut file = std::io::BufWriter::with_capacity(1 << 20, file);
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ run as u64;
    for _ in 0..LARGE / 8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        file.write_all(&state.to_le_bytes()).map_err(file_error(path))?;
    }
    file.flush().map_err(file_error(path))
}
