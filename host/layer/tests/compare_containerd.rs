//! The plain layer beside the one that containerd writes for the same snapshots: the same bytes.
//!
//! Debian's containerd is 1.6, which gives whiteouts the time of the comparison; containerd 2 and we give them none. That
//! time is taken out of its layer first. Sockets, which we let take away what they replaced, are left out.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "compare_support/layers.rs"]
#[expect(dead_code, reason = "shared by several test programs")]
mod layers;
#[path = "compare_support/mounts.rs"]
mod mounts;
#[path = "compare_support/ops.rs"]
mod ops;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use layers::{entries, line, lines, mkdir, overlay, tar_of, touch, trees, write};
use mounts::{Overlay, privately};
use ops::{Op, What, op, run};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use transom_layer::compare::OverlayMarks;
use transom_layer::tar::EntryKind;

const CONFIG: &str = r#"version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
"#;

/// A containerd of the test's own.
struct Containerd {
    folder: tempfile::TempDir,
    child: Child,
}

impl Containerd {
    fn start() -> Containerd {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("config.toml"), CONFIG).unwrap();
        let mut child = Command::new("containerd")
            .arg("--config")
            .arg(at("config.toml"))
            .arg("--root")
            .arg(at("root"))
            .arg("--state")
            .arg(at("state"))
            .arg("--address")
            .arg(at("sock"))
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut all = String::new();
        while !all.contains("containerd successfully booted") {
            let count = said.read_line(&mut all).unwrap();
            assert!(count > 0, "containerd did not start:\n{all}");
        }
        // It stops at a full pipe.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Containerd { folder, child }
    }

    fn ctr(&self, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("ctr")
            .arg("--address")
            .arg(self.folder.path().join("sock"))
            .args(["--namespace", "compare"])
            .args(arguments)
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ctr {arguments:?}: {error}");
        output.stdout
    }

    /// The option `name` of the mount of a snapshot, or its source.
    fn mount(&self, snapshot: &str) -> (Vec<PathBuf>, Option<(PathBuf, PathBuf)>) {
        let text = String::from_utf8(self.ctr(&["snapshots", "mounts", "/at", snapshot])).unwrap();
        let option = |name: &str| {
            let rest = text.split(&format!("{name}=")).nth(1)?;
            Some(rest.split([',', ' ', '\n']).next()?.to_owned())
        };
        match option("lowerdir") {
            Some(lowers) => {
                let lowers = lowers.split(':').map(PathBuf::from).collect();
                let upper = option("upperdir").zip(option("workdir"));
                (lowers, upper.map(|(upper, work)| (upper.into(), work.into())))
            }
            None => {
                let source = text.split_whitespace().find(|word| word.starts_with('/'));
                (vec![source.unwrap().into()], None)
            }
        }
    }

    fn diff(&self, snapshot: &str) -> Vec<u8> {
        let plain = "application/vnd.oci.image.layer.v1.tar";
        self.ctr(&["snapshots", "diff", "--media-type", plain, snapshot])
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Puts no time into the headers of whiteouts.
fn without_times_of_whiteouts(mut tar: Vec<u8>) -> Vec<u8> {
    for seen in entries(&tar) {
        if seen.entry.kind != EntryKind::File || !line(&seen).starts_with("w ") {
            continue;
        }
        let start = usize::try_from(seen.entry.offset).unwrap();
        let header = &mut tar[start..start + 512];
        header[136..148].copy_from_slice(b"00000000000\0");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    tar
}

/// The first block in which two tars differ, with the one before it.
fn other_header(ours: &[u8], theirs: &[u8]) -> Option<(String, String)> {
    let both = ours.chunks(512).zip(theirs.chunks(512));
    let at = both
        .enumerate()
        .find(|(_, (a, b))| a != b)
        .map(|(index, _)| index);
    let at = at.or((ours.len() != theirs.len()).then_some(ours.len().min(theirs.len()) / 512))?;
    let shown = |tar: &[u8]| {
        let blocks: Vec<u8> = tar
            .iter()
            .skip(at.saturating_sub(1) * 512)
            .take(1024)
            .copied()
            .collect();
        blocks.escape_ascii().to_string()
    };
    Some((shown(ours), shown(theirs)))
}

/// What a tar header finds hard.
fn hard_cases(at: &Path) {
    let long = "n".repeat(101);
    for name in [
        &long,
        "\u{e4}\u{f6}",
        "d".repeat(99).as_str(),
        "d".repeat(100).as_str(),
    ] {
        mkdir(&at.join(name), 0o755);
        write(&at.join(name).join(&long), "x", 0o644);
        write(&at.join(name).join("short"), "x", 0o600);
    }
    let deep = at.join("p".repeat(70)).join("q".repeat(70));
    fs::create_dir_all(&deep).unwrap();
    write(&deep.join("r".repeat(40)), "split", 0o644);
    write(&deep.join("s".repeat(120)), "not split", 0o644);
    symlink("t".repeat(150), at.join("long link")).unwrap();
    symlink("\u{fc}", at.join("umlaut link")).unwrap();
    write(&at.join("large ids"), "x", 0o4755);
    lchown(at.join("large ids"), Some(3_000_000), Some(4_000_000_000)).unwrap();
    write(&at.join("old"), "x", 0o644);
    touch(&at.join("old"), -5, 500_000_000);
    write(&at.join("far"), "x", 0o644);
    touch(&at.join("far"), 10_000_000_000, 0);
    fs::hard_link(at.join("large ids"), at.join(&long).join("another name")).unwrap();
    fs::write(at.join("big"), vec![b'b'; 700_001]).unwrap();
}

/// Changes that any run makes the same.
fn changes(runner: &mut TestRunner) -> Vec<Op> {
    let strategy = proptest::collection::vec(op(), 40..80);
    let mut ops = strategy.new_tree(runner).unwrap().current();
    ops.retain(|op| {
        !matches!(
            op,
            Op::Make {
                what: What::Socket,
                ..
            }
        )
    });
    ops
}

#[test]
fn layers_are_containerds_byte_for_byte() {
    if !transom_tests::require_root() || transom_tests::require_program("containerd").is_none() {
        return;
    }
    privately(|| {
        let containerd = Containerd::start();
        let mut runner = TestRunner::deterministic();
        containerd.ctr(&["snapshots", "prepare", "active0", ""]);
        let base = containerd.mount("active0").0.remove(0);
        hard_cases(&base);
        run(&base, &changes(&mut runner));
        let theirs = without_times_of_whiteouts(containerd.diff("active0"));
        let ours = tar_of(trees(None, &base));
        assert_eq!(lines(&ours), lines(&theirs));
        assert_eq!(other_header(&ours, &theirs), None, "the first layer");
        containerd.ctr(&["snapshots", "commit", "layer0", "active0"]);
        let at = tempfile::tempdir().unwrap();
        for number in 1..5 {
            let (active, parent) = (format!("active{number}"), format!("layer{}", number - 1));
            containerd.ctr(&["snapshots", "prepare", &active, &parent]);
            let (lowers, upper) = containerd.mount(&active);
            let (upper, work) = upper.unwrap();
            {
                let _mounted = Overlay::mount(at.path(), &lowers, Some((&upper, &work)), "index=off");
                run(at.path(), &changes(&mut runner));
            }
            let theirs = without_times_of_whiteouts(containerd.diff(&active));
            let ours = tar_of(overlay(&upper, &lowers, OverlayMarks::Trusted));
            assert_eq!(lines(&ours), lines(&theirs), "layer {number}");
            assert_eq!(other_header(&ours, &theirs), None, "layer {number}");
            assert!(lines(&ours).len() > 5, "layer {number} has next to nothing");
            containerd.ctr(&["snapshots", "commit", &format!("layer{number}"), &active]);
        }
    });
}
