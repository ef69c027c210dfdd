//! Requests to our registry and to docker-registry in turn, by the same client, each on a folder of its own on the same file
//! system. Both write no access log.

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::daemon::{Load, end, load, rate_row, run_load, speed_row};
use super::memory;
use super::peers::process_status;
use super::place::Place;
use super::report::{heading, median};
use crate::run::{Error, Result, file_error, not_started};

/// Bytes of the large blob.
const LARGE: u64 = 1 << 30;
/// Bytes of each of many pushes at once.
const MANY_BYTES: u64 = 100_000_000;
/// Seconds that a rate is measured for.
const SECONDS: &str = "2";
/// Tags of one repository, and repositories of the catalog.
const TAGS: u32 = 100_000;
const REPOSITORIES: u32 = 10_000;

/// Which registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Ours,
    Theirs,
}

/// A running registry; it is stopped when dropped.
pub(super) struct Registry {
    which: Which,
    folder: PathBuf,
    address: String,
    child: Option<Child>,
}

pub(super) fn bench(place: &Place, runs: usize) -> Result<()> {
    place.renew()?;
    let mut registries = [
        Registry::new(Which::Ours, place)?,
        Registry::new(Which::Theirs, place)?,
    ];
    starts(&mut registries, runs)?;
    for registry in &registries {
        registry.load("registry-seed", &["--size", &LARGE.to_string()])?;
    }
    rates(&registries, runs)?;
    large(&registries, runs)?;
    bare(place, runs)?;
    drop(registries);
    crowd(&mut empty(place)?)?;
    lists(&mut empty(place)?, runs)
}

/// Both of them, running, with nothing in them.
fn empty(place: &Place) -> Result<[Registry; 2]> {
    place.renew()?;
    let mut registries = [
        Registry::new(Which::Ours, place)?,
        Registry::new(Which::Theirs, place)?,
    ];
    for registry in &mut registries {
        registry.start()?;
    }
    Ok(registries)
}

fn starts(registries: &mut [Registry; 2], runs: usize) -> Result<()> {
    heading("Registry: start to first answer, and memory at rest");
    let (mut times, mut sizes) = ([Vec::new(), Vec::new()], [0.0; 2]);
    for _ in 0..runs {
        for (registry, times) in registries.iter_mut().zip(&mut times) {
            registry.stop()?;
            times.push(registry.start()? * 1e3);
        }
    }
    std::thread::sleep(std::time::Duration::from_secs(2));
    for (registry, size) in registries.iter().zip(&mut sizes) {
        *size = registry.memory("VmRSS:")?;
    }
    let times = times.map(|mut times| median(&mut times));
    println!(
        "  start {:.0} and {:.0} ms (wanted: under 50)   memory {:.1} and {:.1} MiB (wanted: under 22)",
        times[0], times[1], sizes[0], sizes[1]
    );
    Ok(())
}

fn rates(registries: &[Registry; 2], runs: usize) -> Result<()> {
    heading("Registry: small requests, rate and CPU time of the server for each");
    let jobs = [
        ("manifest by tag", "registry-manifest", "1", "no figure"),
        (
            "manifest by tag",
            "registry-manifest",
            "16",
            "10,000/s, under 150 µs",
        ),
        ("manifest by tag", "registry-manifest", "64", "no figure"),
        ("small blob", "registry-blob", "16", "10,000/s"),
        ("small blob by POST, PUT", "registry-put-blob", "1", "4 times"),
        ("small blob by POST, PUT", "registry-put-blob", "16", "10 times"),
    ];
    for (title, job, clients, wanted) in jobs {
        let mut loads = [Vec::new(), Vec::new()];
        for run in 0..runs {
            for (registry, loads) in registries.iter().zip(&mut loads) {
                let salt = run.to_string();
                loads.push(registry.load(
                    job,
                    &["--clients", clients, "--seconds", SECONDS, "--salt", &salt],
                )?);
            }
        }
        rate_row(title, clients, &loads, wanted);
    }
    Ok(())
}

fn large(registries: &[Registry; 2], runs: usize) -> Result<()> {
    heading("Registry: a blob of 1 GiB, MB/s and CPU time of the server");
    let size = LARGE.to_string();
    let jobs = [
        ("pull", "registry-pull", "0", "1, and no more CPU"),
        ("push, one stream", "registry-push", "0", "1.7"),
        ("push, chunks of 8 MiB", "registry-push", "8388608", "3"),
    ];
    for (number, (title, job, chunk, wanted)) in jobs.into_iter().enumerate() {
        let mut loads = [Vec::new(), Vec::new()];
        for run in 0..runs {
            for (registry, loads) in registries.iter().zip(&mut loads) {
                let salt = (run + number * 100 + 1).to_string();
                memory::warm();
                loads.push(registry.load(job, &["--size", &size, "--chunk", chunk, "--salt", &salt])?);
            }
        }
        speed_row(title, &loads, wanted);
    }
    Ok(())
}

/// The same bytes written to the same disk by nothing but writes and a sync: what no registry can be faster than.
#[allow(clippy::cast_precision_loss, reason = "megabytes are shown")]
fn bare(place: &Place, runs: usize) -> Result<()> {
    let path = place.fresh_folder("bare")?.join("file");
    let block = vec![0x5a; 1 << 20];
    let mut rates = Vec::new();
    for _ in 0..runs {
        memory::warm();
        let mut file = File::create(&path).map_err(file_error(&path))?;
        let start = Instant::now();
        let written = (0..LARGE / block.len() as u64).try_for_each(|_| file.write_all(&block));
        written
            .and_then(|()| file.sync_all())
            .map_err(file_error(&path))?;
        rates.push(LARGE as f64 / 1e6 / start.elapsed().as_secs_f64());
        fs::remove_file(&path).map_err(file_error(&path))?;
    }
    println!("  a file written and synced: {:.0} MB/s", median(&mut rates));
    Ok(())
}

/// Memory while 64 clients push at once.
fn crowd(registries: &mut [Registry; 2]) -> Result<()> {
    heading("Registry: 64 pushes of 100 MB at once");
    for registry in registries {
        registry.stop()?;
        registry.start()?;
        let size = MANY_BYTES.to_string();
        let arguments = [
            "--clients",
            "64",
            "--size",
            &size,
            "--chunk",
            "0",
            "--salt",
            "5000",
        ];
        let load = registry.load("registry-push", &arguments)?;
        println!(
            "  {:<16} {:5.1} s, peak memory {:.0} MiB   (wanted of ours: under 150)",
            registry.name(),
            load.seconds,
            registry.memory("VmHWM:")?
        );
    }
    Ok(())
}

/// The first page of long lists. What is listed is put there as files, as both of them have it.
fn lists(registries: &mut [Registry; 2], runs: usize) -> Result<()> {
    heading(&format!(
        "Registry: first page of {TAGS} tags and of {REPOSITORIES} repositories (wanted: under 5 ms)"
    ));
    for registry in registries.iter_mut() {
        registry.load("registry-seed", &["--size", "1000"])?;
        registry.stop()?;
        registry.plant()?;
        registry.start()?;
    }
    for (title, job) in [("tags", "registry-tags"), ("catalog", "registry-catalog")] {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..runs {
            for (registry, times) in registries.iter().zip(&mut times) {
                let load = registry.load(job, &["--clients", "1", "--seconds", SECONDS])?;
                times.push(load.seconds / load.operations * 1e3);
            }
        }
        let times = times.map(|mut times| median(&mut times));
        println!("  {title:<16} {:8.2} and {:8.1} ms", times[0], times[1]);
    }
    Ok(())
}

impl Registry {
    fn new(which: Which, place: &Place) -> Result<Registry> {
        Registry::in_folder(which, place.fresh_folder("registry")?)
    }

    /// One in a folder that is there.
    pub(super) fn in_folder(which: Which, folder: PathBuf) -> Result<Registry> {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .map_err(|error| Error::Other(format!("no port is free: {error}")))?;
        Ok(Registry {
            which,
            folder,
            address: port.to_string(),
            child: None,
        })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    fn name(&self) -> &'static str {
        match self.which {
            Which::Ours => "transom",
            Which::Theirs => "docker-registry",
        }
    }

    /// Starts it; gives the seconds until it answered.
    pub(super) fn start(&mut self) -> Result<f64> {
        let log = self.folder.join("log");
        let log = File::create(&log).map_err(file_error(&log))?;
        let storage = self.folder.join("storage");
        let config = self.folder.join("config");
        let (mut command, text) = match self.which {
            Which::Ours => {
                let mut command = Command::new(super::program("transom"));
                command.args(["registry", "serve", "--config"]).arg(&config);
                (command, ours(&storage, &self.address))
            }
            Which::Theirs => {
                let mut command = Command::new("docker-registry");
                command.arg("serve").arg(&config);
                (command, theirs(&storage, &self.address))
            }
        };
        fs::write(&config, text).map_err(file_error(&config))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let start = Instant::now();
        self.child = Some(command.spawn().map_err(not_started(&command))?);
        run_load(Path::new(&self.address), "registry-ready", &[])?;
        Ok(start.elapsed().as_secs_f64())
    }

    fn stop(&mut self) -> Result<()> {
        match self.child.take() {
            Some(child) => end(child, self.name()),
            None => Ok(()),
        }
    }

    fn pid(&self) -> Result<u32> {
        let child = self.child.as_ref().map(Child::id);
        child.ok_or_else(|| Error::Other(format!("{} does not run", self.name())))
    }

    fn load(&self, job: &str, arguments: &[&str]) -> Result<Load> {
        load(self.pid()?, Path::new(&self.address), job, arguments)
    }

    /// In MiB.
    #[allow(clippy::cast_precision_loss, reason = "mebibytes are shown")]
    fn memory(&self, key: &str) -> Result<f64> {
        Ok(process_status(self.pid()?, key)? as f64 / 1024.0)
    }

    /// Tags and repositories in docker-registry's layout, each with the one manifest that was pushed.
    fn plant(&self) -> Result<()> {
        let repositories = self.folder.join("storage/docker/registry/v2/repositories");
        let some = repositories.join("bench/app/_manifests");
        let manifests = repositories.join("bench/tags/_manifests");
        copy(&some.join("revisions"), &manifests.join("revisions"))?;
        for number in 0..TAGS {
            let tag = manifests.join(format!("tags/v{number:06}/current"));
            copy(&some.join("tags/latest/current"), &tag)?;
        }
        for number in 0..REPOSITORIES {
            copy(&some, &repositories.join(format!("many/r{number:05}/_manifests")))?;
        }
        Ok(())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.stop());
    }
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).map_err(file_error(to))?;
    for entry in fs::read_dir(from).map_err(file_error(from))? {
        let entry = entry.map_err(file_error(from))?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match from.is_dir() {
            true => copy(&from, &to)?,
            false => drop(fs::copy(&from, &to).map_err(file_error(&from))?),
        }
    }
    Ok(())
}

fn ours(storage: &Path, address: &str) -> String {
    format!(
        "[storage]\ndriver = \"filesystem\"\nrootdirectory = {storage:?}\n[http]\nlisten = {address:?}\n[log]\naccess = false\n"
    )
}

fn theirs(storage: &Path, address: &str) -> String {
    let storage = storage.display();
    format!(
        "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    rootdirectory: {storage}\n  \
         delete:\n    enabled: true\nhttp:\n  addr: {address}\n"
    )
}
