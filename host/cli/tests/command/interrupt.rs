//! Ctrl-C in the middle of the work.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use rustix::process::Signal;
use transom_oci::media_type::LAYER_TAR;
use transom_tests::sample::Compression;

use crate::image::{RawImage, RawLayer, Tar};
use crate::support::{INTERRUPTED, assert_empty, finish, signal, unpack_command, wait_until};

/// Starts to unpack an image whose second layer comes through a program that stops in the middle, and waits until a
/// part of that layer is there.
fn begin(folder: &Path, target: &Path, more: &[&str]) -> Child {
    let tar = Tar::new()
        .file("early", b"x")
        .file("late", &vec![b'x'; 1_000_000])
        .end();
    let below = RawLayer::new(&Tar::new().file("below", b"x").end(), Compression::Zstd);
    let strange = RawLayer::typed("application/x-strange", tar.clone(), &tar);
    let image = RawImage::write(&folder.join("image"), &[below, strange]);
    let script = folder.join("script");
    fs::write(&script, "head -c 500000\nsleep 1000\n").unwrap();
    let processor = format!(
        "id=p,accepts=application/x-strange,returns={LAYER_TAR},path=sh,arg={}",
        script.display()
    );
    let mut command = unpack_command(&image.layout, target, &["--processor", &processor]);
    command.args(more).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    wait_until("the first file is unpacked", || target.join("early").exists());
    child
}

#[test]
fn the_folder_is_as_it_was_before() {
    for sent in [Signal::INT, Signal::TERM] {
        let folder = tempfile::tempdir().unwrap();
        let (empty, absent) = (folder.path().join("empty"), folder.path().join("absent"));
        fs::create_dir(&empty).unwrap();
        for target in [&empty, &absent] {
            let child = begin(folder.path(), target, &[]);
            signal(&child, sent);
            finish(child).fails(INTERRUPTED, &["cancelled"]);
        }
        assert_empty(&empty);
        assert!(!absent.exists());
    }
}

#[test]
fn what_is_there_stays_when_it_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("root");
    let child = begin(folder.path(), &target, &["--keep-partial"]);
    signal(&child, Signal::INT);
    finish(child).fails(INTERRUPTED, &[]);
    assert_eq!(fs::read(target.join("below")).unwrap(), b"x");
    assert!(target.join("early").exists());
}

#[test]
fn reading_stdin_can_be_interrupted_too() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("root");
    let mut command = unpack_command("-", &target, &[]);
    let mut child = command
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all(&Tar::new().file("oci-layout", b"{}").end()[..512])
        .unwrap();
    let process = child.id();
    // It handles signals from the moment on that it catches them.
    wait_until("signals are caught", || catches_interrupts(process));
    signal(&child, Signal::INT);
    // It waits for more, which never comes.
    finish(child).fails(INTERRUPTED, &[]);
    drop(stdin);
    assert!(!target.exists());
}

fn catches_interrupts(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let caught = status
        .lines()
        .find_map(|line| line.strip_prefix("SigCgt:"))
        .unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << (Signal::INT.as_raw() - 1)) != 0
}
