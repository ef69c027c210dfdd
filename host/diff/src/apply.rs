//! A layer from its blob to where it goes.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{Mode, OFlags};
use transom_layer::apply::{self as tar, ApplyError, ApplyOptions, ApplyReport, Ownership, WhiteoutFormat};
use transom_layer::chain::Step;
use transom_layer::native::needs_processor;
use transom_layer::pump::{self, LayerReport, PumpError};
use transom_oci::media_type::LAYER_TAR;
use transom_oci::{Algorithm, Descriptor};
use transom_sys::{Linux, Sys as _};

use crate::DiffError;
use crate::ahead::is_built_in;
use crate::blobs::{Blobs, Opened};
use crate::differ::{Applied, ApplyRequest};
use crate::limits::AHEAD_FROM_BYTES;
use crate::place::{self, Folder, Place};
use crate::walking::Working;

/// Applies a layer; see [`Differ::apply`](crate::Differ::apply).
pub(crate) fn apply(
    differ: &Working<'_>,
    blobs: &dyn Blobs,
    request: &ApplyRequest<'_>,
) -> Result<Applied, DiffError> {
    let descriptor = request.descriptor;
    let opened = blobs
        .open(&descriptor.digest)
        .map_err(|source| DiffError::Content {
            doing: "failed to get reader from content store",
            source,
        })?;
    let steps = plan(differ, &descriptor.media_type)?;
    let place = place::of(request.mounts, differ.in_user_namespace)?;
    let layer = Work {
        differ,
        request,
        steps: &steps,
    };
    let report = match place {
        Place::Folder(folder) => match layer.ahead(&opened, &folder)? {
            Some(report) => report,
            None => layer.straight(opened, folder)?,
        },
        Place::Mounted => layer.mounted(opened)?,
    };
    let mut descriptor = Descriptor::new(LAYER_TAR, report.diff_id.clone(), report.diff_size);
    for stage in &report.stages {
        descriptor.annotations.extend(stage.outcome.annotations.clone());
    }
    Ok(Applied {
        descriptor,
        report: Some(Box::new(report)),
    })
}

pub(crate) fn plan(differ: &Working<'_>, media_type: &str) -> Result<Vec<Step>, DiffError> {
    let planned = differ.settings.chain.plan(media_type);
    planned.map_err(|source| DiffError::NoProcessor {
        media_type: media_type.to_owned(),
        source,
    })
}

/// One layer that is being applied.
struct Work<'a> {
    differ: &'a Working<'a>,
    request: &'a ApplyRequest<'a>,
    steps: &'a [Step],
}

impl Work<'_> {
    /// What was unpacked while the blob arrived, moved to the folder.
    fn ahead(&self, opened: &Opened, folder: &Folder) -> Result<Option<LayerReport<ApplyReport>>, DiffError> {
        let descriptor = self.request.descriptor;
        let is_known = descriptor.size == 0 || descriptor.size == opened.size;
        let media_type = &descriptor.media_type;
        let Some(ahead) = self.differ.ahead.filter(|_| is_known) else {
            return Ok(None);
        };
        if opened.size < AHEAD_FROM_BYTES || !is_built_in(self.steps) || needs_processor(media_type) {
            return Ok(None);
        }
        let claimed = ahead.claim(&descriptor.digest, &self.differ.settings, self.request.cancel);
        let Some(tree) = claimed else {
            return Ok(None);
        };
        let root = open(&folder.path)?;
        let Some(report) = tree.move_to(root.as_fd(), folder, media_type) else {
            return Ok(None);
        };
        self.sync(root.as_fd(), &folder.path)?;
        ahead.used();
        self.request.progress.store(opened.size, Ordering::Relaxed);
        Ok(Some(report))
    }

    /// Into a folder that stands for the mount.
    fn straight(&self, opened: Opened, folder: Folder) -> Result<LayerReport<ApplyReport>, DiffError> {
        let root = open(&folder.path)?;
        let options = ApplyOptions {
            whiteouts: folder.whiteouts,
            ownership: Ownership::Keep,
            parents: folder.parents,
            limits: self.differ.settings.apply,
        };
        self.fill(opened, root, &folder.path, options)
    }

    /// Through the mounts, on a place of their own.
    fn mounted(&self, opened: Opened) -> Result<LayerReport<ApplyReport>, DiffError> {
        let mounted = self.differ.temp.mount(self.request.mounts)?;
        let options = ApplyOptions {
            whiteouts: WhiteoutFormat::Plain,
            ownership: Ownership::Keep,
            parents: Vec::new(),
            limits: self.differ.settings.apply,
        };
        let path = mounted.path().to_path_buf();
        // The folder must be closed again before it can be unmounted.
        let applied = open(&path).and_then(|root| self.fill(opened, root, &path, options));
        let unmounted = mounted.unmount();
        let report = applied?;
        unmounted?;
        Ok(report)
    }

    fn fill(
        &self,
        opened: Opened,
        root: OwnedFd,
        place: &Path,
        options: ApplyOptions,
    ) -> Result<LayerReport<ApplyReport>, DiffError> {
        let root = Arc::new(root);
        let report = self.pump(opened, Arc::clone(&root), options);
        let report = report.map_err(|source| self.failed(place, source))?;
        self.sync(root.as_fd(), place)?;
        Ok(report)
    }

    /// Brings the files to the disk, if somebody wants that.
    fn sync(&self, root: BorrowedFd<'_>, place: &Path) -> Result<(), DiffError> {
        if !self.request.sync_fs && !self.differ.settings.sync_fs {
            return Ok(());
        }
        Linux.syncfs(root).map_err(|errno| DiffError::Sync {
            place: place.to_path_buf(),
            errno,
        })
    }

    fn pump(
        &self,
        opened: Opened,
        root: Arc<OwnedFd>,
        options: ApplyOptions,
    ) -> Result<LayerReport<ApplyReport>, PumpError<ApplyError>> {
        let mut descriptor = self.request.descriptor.clone();
        if descriptor.size == 0 {
            descriptor.size = opened.size;
        }
        let layer = pump::Layer {
            blob: opened.bytes,
            descriptor: &descriptor,
            verify: !opened.verified,
            steps: self.steps,
            diff_algorithm: Algorithm::Sha256,
            payloads: self.request.payloads,
            limits: self.differ.settings.output,
            cancel: self.request.cancel.clone(),
            pool: self.differ.pool.clone(),
            workers: self.differ.workers.clone(),
            progress: Arc::clone(&self.request.progress),
        };
        pump::run(layer, move |input| tar::apply(input, root.as_fd(), &options))
    }

    fn failed(&self, place: &Path, source: PumpError<ApplyError>) -> DiffError {
        if matches!(source, PumpError::Cancelled) {
            return DiffError::Cancelled;
        }
        let media_type = &self.request.descriptor.media_type;
        let is_unread = is_built_in(self.steps) && needs_processor(media_type);
        let hint = match &source {
            PumpError::Sink(ApplyError::Tar(_)) if is_unread => {
                format!("; nothing built in reads {media_type}: configure a processor that accepts it")
            }
            _ => String::new(),
        };
        DiffError::Layer {
            place: place.to_path_buf(),
            source: Box::new(source),
            hint,
        }
    }
}

pub(crate) fn open(path: &Path) -> Result<OwnedFd, DiffError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| DiffError::Open {
        path: path.to_path_buf(),
        errno,
    })
}
