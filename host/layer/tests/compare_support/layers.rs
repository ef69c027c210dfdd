//! Folders compared into tars, and tars taken apart.

use std::fmt;
use std::fs::{self, File};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use transom_layer::compare::{
    Changes, CompareError, CompareOptions, CompareReport, OverlayMarks, compare_with,
};
use transom_layer::compress::Compression;
use transom_layer::tar::{Entry, EntryKind, Reader, TarLimits};
use transom_sys::{FileType, Linux, Sys, Times, Timespec};

/// A folder's handle.
pub(crate) fn open(path: &Path) -> OwnedFd {
    File::open(path).unwrap().into()
}

/// Options for a plain tar.
pub(crate) fn plain() -> CompareOptions {
    CompareOptions {
        compression: Compression::None,
        ..CompareOptions::default()
    }
}

/// Both trees walked.
pub(crate) fn trees(lower: Option<&Path>, upper: &Path) -> Changes {
    Changes::Trees {
        lower: lower.map(open),
        upper: open(upper),
    }
}

/// An overlay's folders, the lower ones nearest first.
pub(crate) fn overlay(upper: &Path, lowers: &[impl AsRef<Path>], marks: OverlayMarks) -> Changes {
    Changes::Overlay {
        upper: open(upper),
        lowers: lowers.iter().map(|lower| open(lower.as_ref())).collect(),
        marks,
    }
}

/// The layer, with the system calls of `sys`.
pub(crate) fn layer_with<S: Sys + Send + Sync + 'static>(
    sys: &Arc<S>,
    changes: Changes,
    options: &CompareOptions,
) -> Result<(Vec<u8>, CompareReport), CompareError> {
    let mut sink = Vec::new();
    let report = compare_with(Arc::clone(sys), changes, options, &mut sink)?;
    Ok((sink, report))
}

/// The layer as a plain tar.
pub(crate) fn tar_of(changes: Changes) -> Vec<u8> {
    layer_with(&Arc::new(Linux), changes, &plain()).unwrap().0
}

/// An entry of a tar, in words.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) entry: Entry,
    pub(crate) data: Vec<u8>,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&line(self))
    }
}

/// All entries of a tar.
pub(crate) fn entries(tar: &[u8]) -> Vec<Seen> {
    let mut source = Some(Bytes::copy_from_slice(tar));
    let mut reader = Reader::new(&mut source, TarLimits::default());
    let mut seen = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let mut data = Vec::new();
        while let Some(piece) = reader.next_data().unwrap() {
            data.extend_from_slice(&piece.bytes);
        }
        seen.push(Seen { entry, data });
    }
    seen
}

/// An entry as `d 0755 name/`, `f 0644 name content`, `h name -> source`, `w name`.
pub(crate) fn line(seen: &Seen) -> String {
    let entry = &seen.entry;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (path, link, mode) = (text(&entry.path), text(&entry.link), entry.mode);
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    match entry.kind {
        EntryKind::File if name.starts_with(".wh.") => format!("w {path}"),
        EntryKind::File => format!("f {mode:04o} {path} {}", text(&seen.data)),
        EntryKind::Directory => format!("d {mode:04o} {path}"),
        EntryKind::HardLink => format!("h {path} -> {link}"),
        EntryKind::Symlink => format!("s {path} -> {link}"),
        other => format!(
            "{other:?} {mode:04o} {path} {}:{}",
            entry.dev_major, entry.dev_minor
        ),
    }
}

/// The entries of a tar as lines.
pub(crate) fn lines(tar: &[u8]) -> Vec<String> {
    entries(tar).iter().map(line).collect()
}

/// Copies a tree with times, owners and hard links.
pub(crate) fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-aT").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

/// Sets the time of the last change.
pub(crate) fn touch(path: &Path, seconds: i64, nanos: i64) {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanos,
    };
    let times = Times {
        accessed: time,
        modified: time,
    };
    let folder = File::open(path.parent().unwrap()).unwrap();
    let name = path.file_name().unwrap().as_bytes();
    Linux.utimensat(folder.as_fd(), name, times).unwrap();
}

/// Makes a special file.
pub(crate) fn make_node(path: &Path, kind: FileType, device: (u32, u32)) -> Result<(), transom_sys::Errno> {
    let folder = File::open(path.parent().unwrap()).unwrap();
    Linux.mknodat(
        folder.as_fd(),
        path.file_name().unwrap().as_bytes(),
        kind,
        0o644,
        device,
    )
}

/// Writes a file with a mode.
pub(crate) fn write(path: &Path, content: &str, mode: u32) {
    fs::write(path, content).unwrap();
    chmod(path, mode);
}

/// Makes a folder with a mode.
pub(crate) fn mkdir(path: &Path, mode: u32) {
    fs::create_dir(path).unwrap();
    chmod(path, mode);
}

/// Sets a mode.
pub(crate) fn chmod(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
