//! Folders that cannot be filled, and callers who may not do everything.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use transom_tests::sample::{Compression, ImageBuilder, LayerWriter, Meta, Shape};

use crate::image::{RawImage, RawLayer, Tar};
use crate::support::{Done, NO_SPACE, NOT_FOUND, OTHER, USAGE, assert_empty, is_root, unpack};

#[test]
fn a_target_that_is_no_empty_folder_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let image = RawImage::plain(&folder.path().join("image"));
    let unpack = |target: &Path| unpack(&image.layout, target, &[]);
    let used = folder.path().join("used");
    fs::create_dir(&used).unwrap();
    fs::write(used.join("mine"), "x").unwrap();
    unpack(&used).fails(USAGE, &["is not empty", "new or empty folder"]);
    assert_eq!(fs::read(used.join("mine")).unwrap(), b"x");
    assert_eq!(fs::read_dir(&used).unwrap().count(), 1);

    unpack(&folder.path().join("no/parent")).fails(NOT_FOUND, &["make the folder above it first"]);
    unpack(&used.join("mine")).fails(OTHER, &["it must be a folder"]);
    unpack(&used.join("mine/below")).fails(OTHER, &["it must be a folder"]);
    assert_eq!(fs::read(used.join("mine")).unwrap(), b"x");

    // A link to an empty folder is that folder; a link to nothing is nothing.
    let (empty, link, dangling) = (
        folder.path().join("empty"),
        folder.path().join("link"),
        folder.path().join("to"),
    );
    fs::create_dir(&empty).unwrap();
    symlink(&empty, &link).unwrap();
    symlink("nowhere", &dangling).unwrap();
    unpack(&dangling).fails(NOT_FOUND, &["cannot unpack into"]);
    unpack(&link).ok();
    assert_eq!(fs::read(empty.join("file")).unwrap(), b"content");
}

#[test]
fn a_disk_that_fills_up_is_said_and_cleaned() {
    let folder = tempfile::tempdir().unwrap();
    let tar = Tar::new()
        .file("fits", b"x")
        .file("does-not-fit", &vec![b'x'; 2 << 20])
        .end();
    let image = RawImage::write(
        &folder.path().join("image"),
        &[RawLayer::new(&tar, Compression::Gzip)],
    );
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    // The disk is mounted in a namespace of its own, and goes with it.
    let mut command = Command::new("unshare");
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let script = r#"mount -t tmpfs -o size=1M tmpfs "$1" 2>/dev/null || exit 99
        "$2" unpack "$3" "$1/root"; code=$?
        [ -z "$(ls -A "$1")" ] || echo "left: $(ls -AR "$1")"
        exit $code"#;
    command.args(["--mount", "sh", "-c", script, "sh"]).args([
        disk.as_os_str(),
        env!("CARGO_BIN_EXE_transom").as_ref(),
        image.layout.as_os_str(),
    ]);
    let done = match command.output() {
        Ok(output) if output.status.code() != Some(99) && !output.stderr.starts_with(b"unshare:") => {
            Done::from(output)
        }
        _ => return transom_tests::skip("needs to mount a small disk: root, or user namespaces"),
    };
    assert_eq!(String::from_utf8_lossy(&done.stdout), "");
    done.fails(NO_SPACE, &["no space left", "does-not-fit", "free some space"]);
}

#[test]
fn a_normal_user_gets_the_files_and_no_devices() {
    // The system's folder for it, whatever TMPDIR says: another user must be able to go through.
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let mut image = ImageBuilder::new();
    let fill = |layer: &mut LayerWriter<'_>| {
        layer.file(b"owned", &Meta::new(0o4755).owned_by(12, 34), b"x");
        layer.char_device(b"device", &Meta::new(0o666), 1, 3)
    };
    image.layer("devices", Compression::Gzip, fill).unwrap();
    let sample = image
        .write(&folder.path().join("image"), "a", Shape::Flat)
        .unwrap();
    // Nobody may not go where the workspace is, perhaps.
    let program = folder.path().join("transom");
    // Not by this process: a child of another test would have it open for writing, and what is written to cannot be run.
    let copied = Command::new("cp")
        .arg(env!("CARGO_BIN_EXE_transom"))
        .arg(&program)
        .status();
    assert!(copied.unwrap().success());
    let target = folder.path().join("root");
    let mut command = Command::new(&program);
    command
        .arg("unpack")
        .args([&sample.layout, &target])
        .current_dir("/")
        .stdin(Stdio::null());
    let user = if is_root() {
        command.uid(65534).gid(65534).env_remove("HOME");
        65534
    } else {
        rustix::process::geteuid().as_raw()
    };
    let done = Done::from(command.output().unwrap());
    assert!(done.stderr.contains("not running as root"), "{}", done.stderr);
    let text = done.ok();
    assert!(text.contains("warning: device"), "{text}");
    let metadata = fs::metadata(target.join("owned")).unwrap();
    assert_eq!((metadata.uid(), metadata.mode() & 0o7777), (user, 0o4755));
    assert!(!target.join("device").exists());
}

#[test]
fn a_folder_that_may_not_be_written_is_said() {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let image = RawImage::plain(&folder.path().join("image"));
    if is_root() {
        // Root may write everywhere but where nobody can make folders.
        unpack(&image.layout, Path::new("/proc/transom"), &[]).fails(NOT_FOUND, &["/proc/transom"]);
        return;
    }
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    unpack(&image.layout, &closed, &[]).fails(OTHER, &["ermission denied"]);
    unpack(&image.layout, &closed.join("below"), &[]).fails(OTHER, &["ermission denied"]);
    assert_empty(&closed);
}
