//! A layer that is unpacked beside the snapshots, and its way to where it belongs.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{RenameFlags, XattrFlags};
use transom_layer::apply::{self as tar, ApplyReport, OVERLAY_OPAQUE, WhiteoutFormat};
use transom_layer::native;
use transom_layer::pump::LayerReport;
use transom_layer::workers::Workers;
use transom_sys::{Errno, Linux, Sys as _};

use crate::apply::open;
use crate::place::Folder;

/// An unpacked layer. Dropping it removes it, in the background.
pub(crate) struct Tree {
    path: PathBuf,
    report: Option<Box<LayerReport<ApplyReport>>>,
    workers: Workers,
}

impl Tree {
    pub(super) fn new(path: PathBuf, report: Box<LayerReport<ApplyReport>>, workers: Workers) -> Tree {
        Tree {
            path,
            report: Some(report),
            workers,
        }
    }

    /// Moves everything into `root`, an empty folder. `None` if the result would not be what applying the layer there gives, or if it cannot
    /// be moved; then the folder is empty again.
    pub(crate) fn move_to(
        mut self,
        root: BorrowedFd<'_>,
        folder: &Folder,
        media_type: &str,
    ) -> Option<LayerReport<ApplyReport>> {
        let report = self.report.take()?;
        if !fits(&report, folder, media_type) || !takes(root).unwrap_or(false) {
            return None;
        }
        let implicit = &report.applied.implicit;
        let moved = self.rename_all(root);
        let adopted = moved.and_then(|()| tar::adopt(root, &folder.parents, implicit));
        if !matches!(adopted, Ok(true)) {
            // If that fails, applying fails too, and says why.
            let _ = tar::remove_contents(root);
            return None;
        }
        Some(*report)
    }

    fn rename_all(&self, root: BorrowedFd<'_>) -> Result<(), Errno> {
        let from = open(&self.path).map_err(|_| Errno::NOENT)?;
        let failed = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        for entry in std::fs::read_dir(&self.path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            rustix::fs::renameat_with(from.as_fd(), &name, root, &name, RenameFlags::NOREPLACE)?;
        }
        match Linux.getxattr(from.as_fd(), OVERLAY_OPAQUE) {
            Ok(value) => Linux.fsetxattr(root, OVERLAY_OPAQUE, &value, XattrFlags::empty()),
            Err(_) => Ok(()),
        }
    }
}

/// Whether the layer would become the same there.
fn fits(report: &LayerReport<ApplyReport>, folder: &Folder, media_type: &str) -> bool {
    let counts = &report.applied.counts;
    let whiteouts = match folder.whiteouts {
        WhiteoutFormat::Overlay => true,
        WhiteoutFormat::Plain | WhiteoutFormat::Keep => counts.whiteouts == 0,
    };
    // Not every media type has the built-in handler look at the first bytes.
    let detail = report
        .stages
        .first()
        .and_then(|stage| stage.outcome.detail.as_deref());
    whiteouts
        && counts.implicit == report.applied.implicit.len() as u64
        && (detail == Some(native::PLAIN) || native::detects(media_type))
}

/// Whether `root` gives nothing on to what is created in it, and is empty.
fn takes(root: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(!tar::gives_on(root)? && tar::is_empty(root)?)
}

impl Drop for Tree {
    fn drop(&mut self) {
        remove(std::mem::take(&mut self.path), &self.workers);
    }
}

/// Makes the folder of all trees, and has removed what is in it.
pub(super) fn open_folder(folder: &Path, workers: &Workers) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    for entry in std::fs::read_dir(folder)? {
        remove(entry?.path(), workers);
    }
    Ok(())
}

/// Removes a tree in the background.
pub(super) fn remove(path: PathBuf, workers: &Workers) {
    workers.run(move || match std::fs::remove_dir_all(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "could not remove what was unpacked ahead");
        }
        _ => {}
    });
}
