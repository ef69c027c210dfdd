//! Files mounted through loop devices.

use std::fs::{self, File};
use std::process::Command;
use std::time::{Duration, Instant};

use transom_sys::mount::{self, UnmountFlags, mount_all, unmount_all};
use transom_sys::{Errno, Linux, Op, Recorded};
use transom_tests::needs;

use crate::{Room, described, text};

/// A file with an ext4 file system in it; `None` if the test must be left out.
fn image(room: &Room) -> Option<String> {
    let mkfs = needs::require_program("mkfs.ext4")?;
    let path = room.path("image");
    File::create(&path).unwrap().set_len(4 << 20).unwrap();
    let made = Command::new(mkfs)
        .args(["-q", "-F", "-O", "^has_journal"])
        .arg(&path)
        .status();
    assert!(made.unwrap().success());
    Some(text(&path))
}

/// The loop device that is mounted, as `/sys` knows it.
fn attribute(room: &Room, name: &str) -> Option<String> {
    let mounted = room.mounted().pop().unwrap();
    let device = mounted.source.strip_prefix("/dev/").unwrap().to_owned();
    let value = fs::read_to_string(format!("/sys/block/{device}/loop/{name}")).ok()?;
    Some(value.trim_end().to_owned())
}

#[test]
fn a_file_is_mounted_and_its_device_goes_with_the_mount() {
    let Some(room) = Room::new() else { return };
    let Some(image) = image(&room) else { return };
    let target = room.folder("target");
    for old_kernel in [false, true] {
        for read_only in [false, true] {
            let sys = Recorded::new(Linux);
            if old_kernel {
                sys.fail_from(Op::LoopConfigure, 0, Errno::INVAL);
            }
            let options: &[&str] = if read_only { &["loop", "ro"] } else { &["loop"] };
            mount::on(&sys, &[described("ext4", &image, options)], &target).unwrap();
            assert_eq!(sys.counts().contains_key(&Op::LoopSetStatus), old_kernel);
            assert_eq!(attribute(&room, "backing_file").unwrap(), image);
            assert_eq!(attribute(&room, "autoclear").unwrap(), "1");
            assert_eq!(fs::write(target.join("file"), "x").is_err(), read_only);
            unmount_all(&target, UnmountFlags::empty()).unwrap();
            until_free(&image);
        }
    }
}

#[test]
fn a_file_that_is_no_file_system_leaves_no_device() {
    let Some(room) = Room::new() else { return };
    let (path, target) = (room.path("image"), room.folder("target"));
    File::create(&path).unwrap().set_len(1 << 20).unwrap();
    let mount = described("ext4", &text(&path), &["loop"]);
    let error = mount_all(&[mount], &target).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::INVAL));
    let missing = described("ext4", "/no/such/file", &["loop"]);
    let error = mount_all(&[missing], &target).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::NOENT));
    until_free(&text(&path));
}

/// Waits until no device has the file any more: a child that another test is just starting has the device open, too, until it
/// runs its own program.
fn until_free(image: &str) {
    let has_it = |device: std::io::Result<fs::DirEntry>| {
        let file = device.unwrap().path().join("loop/backing_file");
        fs::read_to_string(file).unwrap_or_default().trim_end() == image
    };
    let begun = Instant::now();
    while fs::read_dir("/sys/block").unwrap().any(has_it) {
        assert!(begun.elapsed() < Duration::from_secs(60), "{image} has a device");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn direct_io_is_asked_of_the_device() {
    let Some(room) = Room::new() else { return };
    let Some(image) = image(&room) else { return };
    // Not every file system that holds the file can do it: what counts is what the kernel was asked for.
    let target = room.folder("target");
    let sys = Recorded::new(Linux);
    mount::on(
        &sys,
        &[described("ext4", &image, &["loop", "direct-io"])],
        &target,
    )
    .unwrap();
    let calls = sys.calls();
    let call = calls.iter().find(|call| call.op == Op::LoopConfigure).unwrap();
    assert!(String::from_utf8_lossy(&call.name).contains("direct_io: true"));
}
