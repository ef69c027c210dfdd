//! The peers: Debian's containerd, and pipes of command-line tools.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::measure::{Run, measure};
use super::place::Place;
use crate::run::{Error, Result, check, file_error, first_line, not_started, run};

/// How long containerd may take to answer.
const START_MAX: Duration = Duration::from_secs(30);

/// A containerd with a root of its own, killed when dropped.
#[derive(Debug)]
pub(crate) struct Containerd {
    daemon: Child,
    socket: PathBuf,
}

impl Containerd {
    pub(crate) fn start(place: &Place) -> Result<Containerd> {
        let folder = place.fresh_folder("containerd")?;
        let config = folder.join("config.toml");
        let socket = folder.join("sock");
        let text = containerd_config(&folder, &socket);
        fs::write(&config, text).map_err(file_error(&config))?;
        let mut command = Command::new("containerd");
        command
            .arg("--config")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let daemon = command.spawn().map_err(not_started(&command))?;
        let containerd = Containerd { daemon, socket };
        let start = Instant::now();
        while !containerd
            .ctr()
            .arg("version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
        {
            if start.elapsed() > START_MAX {
                return Err(Error::Other("containerd does not answer".into()));
            }
            sleep(Duration::from_millis(100));
        }
        Ok(containerd)
    }

    fn ctr(&self) -> Command {
        let mut command = Command::new("ctr");
        command.arg("-a").arg(&self.socket);
        command
    }

    /// Imports and unpacks an archive; the CPU time is the client's and the daemon's.
    pub(crate) fn import(&self, archive: &Path) -> Result<Run> {
        let before = self.cpu()?;
        let mut command = self.ctr();
        command
            .args(["images", "import", "--snapshotter", "overlayfs"])
            .arg(archive);
        let mut run = measure(&command)?;
        run.cpu += self.cpu()? - before;
        run.peak_kib = self.status("VmHWM:")?;
        Ok(run)
    }

    fn cpu(&self) -> Result<f64> {
        process_cpu(self.daemon.id())
    }

    fn status(&self, key: &str) -> Result<u64> {
        process_status(self.daemon.id(), key)
    }
}

/// A configuration with everything in one folder, and without the parts that only a kubelet needs.
pub(crate) fn containerd_config(folder: &Path, socket: &Path) -> String {
    format!(
        "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = {:?}\n",
        folder.join("root"),
        folder.join("state"),
        socket
    )
}

/// CPU seconds that a process has used, user and system.
pub(crate) fn process_cpu(pid: u32) -> Result<f64> {
    /// Clock ticks a second, the same on every Linux.
    const TICKS: f64 = 100.0;
    let path = PathBuf::from(format!("/proc/{pid}/stat"));
    let text = fs::read_to_string(&path).map_err(file_error(&path))?;
    // Fields after the name in parentheses; user and system time are the 14th and 15th of the line.
    let rest = text.rsplit(')').next().unwrap_or_default();
    let ticks = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok());
    Ok(ticks.sum::<f64>() / TICKS)
}

/// A number of `/proc/PID/status`, such as `VmRSS:` in KiB.
pub(crate) fn process_status(pid: u32, key: &str) -> Result<u64> {
    let path = PathBuf::from(format!("/proc/{pid}/status"));
    let text = fs::read_to_string(&path).map_err(file_error(&path))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .unwrap_or_default();
    Ok(line
        .split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or_default())
}

impl Drop for Containerd {
    fn drop(&mut self) {
        drop(self.daemon.kill());
        drop(self.daemon.wait());
    }
}

/// `pigz -dc BLOB | tar -x` and then `openssl dgst -sha256 TAR`, their times added.
pub(crate) fn pipe(blob: &Path, tar: &Path, target: &Path) -> Result<Run> {
    fs::create_dir(target).map_err(file_error(target))?;
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "pigz -dc \"$0\" | tar -x -C \"$1\""])
        .arg(blob)
        .arg(target);
    let unpacked = measure(&shell)?;
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", "-sha256"]).arg(tar);
    let hashed = measure(&openssl)?;
    Ok(Run {
        wall: unpacked.wall + hashed.wall,
        cpu: unpacked.cpu + hashed.cpu,
        peak_kib: unpacked.peak_kib.max(hashed.peak_kib),
        stdout: String::new(),
    })
}

/// System calls of a command by name, most frequent first.
pub(crate) fn count_calls(command: &Command) -> Result<Vec<(String, u64)>> {
    let table = transom_tests::needs::target_dir().join("bench/calls");
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-c", "-U", "calls,name", "-o"])
        .arg(&table)
        .arg(command.get_program())
        .args(command.get_args());
    run(strace.stdout(Stdio::null()))?;
    let text = fs::read_to_string(&table).map_err(file_error(&table))?;
    let row = |line: &str| {
        let mut words = line.split_whitespace();
        let (calls, name) = (words.next()?.parse().ok()?, words.next()?);
        (name != "total").then(|| (name.to_owned(), calls))
    };
    let mut calls: Vec<(String, u64)> = text.lines().filter_map(row).collect();
    calls.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    Ok(calls)
}

/// The version of a peer, for the heading.
pub(crate) fn version(program: &str) -> String {
    first_line(Command::new(program).arg("--version")).unwrap_or_else(|_| format!("{program}: no version"))
}

/// Runs a shell command that must succeed, quietly.
pub(crate) fn shell(script: &str, arguments: &[&Path]) -> Result<()> {
    let mut command = Command::new("sh");
    command.args(["-ec", script]).args(arguments);
    let status = command.status().map_err(not_started(&command))?;
    check(&command, status)
}
