//! A process killed in the middle of its work, many times, and what the next one finds.
//!
//! After the kill alone, everything is there that the kernel has. A cut of the power is made with a file system of its own
//! on a loop device: the device's file, copied after the kill, holds only what was written back or flushed, and is what a
//! disk would hold.

use std::fs::File;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use transom_meta::kv::{self, Kind};

use crate::kv::run;
use crate::kv_workload::{Acknowledged, Dice, TASKS, check, work};

const FOLDER: &str = "TRANSOM_META_CRASH_FOLDER";
const KIND: &str = "TRANSOM_META_CRASH_KIND";

/// More rounds than the tests do by themselves, for a person who wants to know it better.
const ROUNDS: &str = "TRANSOM_META_CRASH_ROUNDS";

/// Where the dice start, to see other crashes.
const SEED: &str = "TRANSOM_META_CRASH_SEED";

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap())
}

/// Runs in a process of its own: works and says what is acknowledged until it is killed.
#[test]
#[ignore = "the process that the tests of this file kill"]
fn child() {
    let variable = |name| std::env::var(name).unwrap();
    let kind: Kind = variable(KIND).parse().unwrap();
    let kv = kv::open(kind, Path::new(&variable(FOLDER))).unwrap();
    run(async {
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| tokio::spawn(work(kv.clone(), task, acknowledge)))
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

/// One line, written at once: the kill may come between any two.
fn acknowledge(task: usize, number: u64) {
    std::io::stdout()
        .write_all(format!("acknowledged {task} {number}\n").as_bytes())
        .unwrap();
}

struct Victim {
    process: Child,
}

impl Victim {
    fn start(kind: Kind, folder: &Path) -> Victim {
        let process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kv_crash::child", "--ignored", "--nocapture"])
            .env(FOLDER, folder)
            .env(KIND, kind.name())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Victim { process }
    }

    /// Kills it after some acknowledgements, or before the first; takes down all of them.
    fn kill(mut self, dice: &mut Dice, acknowledged: &mut Acknowledged) {
        let mut lines = BufReader::new(self.process.stdout.take().unwrap()).lines();
        if dice.roll(8) == 0 {
            std::thread::sleep(Duration::from_millis(dice.roll(40)));
        } else {
            let enough = 1 + usize::try_from(dice.roll(1200)).unwrap();
            for line in lines.by_ref().take(enough) {
                note(&line.unwrap(), acknowledged);
            }
            std::thread::sleep(Duration::from_micros(dice.roll(1000)));
        }
        self.process.kill().unwrap();
        for line in lines {
            note(&line.unwrap(), acknowledged);
        }
        let status = self.process.wait().unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(9),
            "{status}"
        );
    }
}

fn note(line: &str, acknowledged: &mut Acknowledged) {
    // The test harness prints before the first line of ours, without an end.
    if let Some((_, rest)) = line.split_once("acknowledged ") {
        let (task, number) = rest.split_once(' ').unwrap();
        acknowledged[task.parse::<usize>().unwrap()] = number.parse().unwrap();
    }
}

/// What the next process finds; the counters from which the next round goes on.
fn check_folder(kind: Kind, folder: &Path, acknowledged: &Acknowledged) -> Result<Acknowledged, String> {
    let kv = kv::open(kind, folder).map_err(|error| error.to_string())?;
    run(check(&*kv, acknowledged))
}

fn killed_many_times(kind: Kind) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("meta");
    let mut dice = Dice(number(SEED, 0x5eed));
    let mut acknowledged = [0; TASKS];
    for round in 0..number(ROUNDS, 8) {
        Victim::start(kind, &folder).kill(&mut dice, &mut acknowledged);
        acknowledged = check_folder(kind, &folder, &acknowledged)
            .unwrap_or_else(|reason| panic!("{kind}, round {round}: {reason}"));
    }
    assert!(acknowledged.iter().all(|count| *count > 0), "{acknowledged:?}");
}

#[test]
fn sled_survives_kills() {
    killed_many_times(Kind::Sled);
}

#[test]
fn redb_survives_kills() {
    killed_many_times(Kind::Redb);
}

/// A file system in a file, mounted while this lives.
struct Disk {
    image: PathBuf,
    mounted: PathBuf,
}

impl Disk {
    fn make(dir: &Path) -> Result<Disk, String> {
        let image = dir.join("disk-0");
        // Sparse, and large: sled does not give back all that it no longer needs.
        File::create(&image).unwrap().set_len(1 << 30).unwrap();
        command("mkfs.ext4", &["-q", "-F", path(&image)])?;
        Disk::mount(dir, image)
    }

    fn mount(dir: &Path, image: PathBuf) -> Result<Disk, String> {
        let mounted = dir.join("mounted");
        std::fs::create_dir_all(&mounted).unwrap();
        // The journal is written when it is asked for, and not every few seconds besides.
        command("mount", &["-o", "loop,commit=300", path(&image), path(&mounted)])?;
        Ok(Disk { image, mounted })
    }

    /// The disk as it is without power now, mounted in place of this one.
    fn cut_power(self, dir: &Path, round: u64) -> Disk {
        let copy = dir.join(format!("disk-{}", round + 1));
        command("cp", &["--sparse=always", path(&self.image), path(&copy)]).unwrap();
        let old = self.image.clone();
        drop(self);
        std::fs::remove_file(old).unwrap();
        Disk::mount(dir, copy).unwrap()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(error) = command("umount", &[path(&self.mounted)]) {
            eprintln!("{error}");
        }
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn command(program: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(args).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    ))
}

fn power_cut_many_times(kind: Kind) {
    if !transom_tests::require_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut disk = match Disk::make(dir.path()) {
        Ok(disk) => disk,
        Err(reason) => {
            transom_tests::skip(&format!("needs a file system on a loop device: {reason}"));
            return;
        }
    };
    let mut dice = Dice(number(SEED, 0xd15c));
    let mut acknowledged = [0; TASKS];
    for round in 0..number(ROUNDS, 5) {
        Victim::start(kind, &disk.mounted.join("meta")).kill(&mut dice, &mut acknowledged);
        disk = disk.cut_power(dir.path(), round);
        acknowledged = check_folder(kind, &disk.mounted.join("meta"), &acknowledged)
            .unwrap_or_else(|reason| panic!("{kind}, round {round}: {reason}"));
    }
    assert!(acknowledged.iter().all(|count| *count > 0), "{acknowledged:?}");
}

#[test]
#[ignore = "sled loses acknowledged transactions now and then: docs/decisions/0006-metadata-store.md"]
fn sled_survives_power_cuts() {
    power_cut_many_times(Kind::Sled);
}

#[test]
fn redb_survives_power_cuts() {
    power_cut_many_times(Kind::Redb);
}
