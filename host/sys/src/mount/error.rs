//! What can go wrong with mounts, as meanings.

use std::path::PathBuf;

use rustix::io::Errno;

/// The errors of mounts. The texts are containerd's where it has one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// An option for containerd's mount manager, which should have taken it out.
    #[error("internal mount option {option:?} was not consumed by the mount manager")]
    InternalOption {
        /// The whole option.
        option: String,
    },
    /// An option that cannot be understood.
    #[error("mount option {option:?}: {reason}")]
    BadOption {
        /// The whole option.
        option: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The options do not fit into the page that `mount(2)` takes.
    #[error("mount options is too long: {bytes} bytes, the kernel takes {most}")]
    OptionsTooLong {
        /// Bytes of the options that go to the file system.
        bytes: usize,
        /// Bytes that would have passed.
        most: usize,
    },
    /// More mounts, or more lower folders of one, than are taken.
    #[error("{count} {what}: at most {most} are taken")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many would have passed.
        most: usize,
    },
    /// A part of a mount that the kernel could not be given.
    #[error("{what} {text:?} of a mount {reason}")]
    BadText {
        /// Which part.
        what: &'static str,
        /// The part.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The place to mount at cannot be opened.
    #[error("cannot mount at {inside:?} in {}: {errno}", root.display())]
    Target {
        /// The place that the caller mounts at.
        root: PathBuf,
        /// The mount's own target in it.
        inside: String,
        /// Why.
        errno: Errno,
    },
    /// The kernel refused the mount.
    #[error("cannot mount {source_name:?} ({kind}) at {}: {step}: {errno}{}", target.display(), said(detail))]
    Mount {
        /// The type of the file system.
        kind: String,
        /// What was to be mounted.
        source_name: String,
        /// Where.
        target: PathBuf,
        /// The call that failed.
        step: &'static str,
        /// Why.
        errno: Errno,
        /// What the kernel's own messages or the helper say; may be empty.
        detail: String,
    },
    /// A loop device could not be had for a file.
    #[error("cannot make a loop device of {file:?}: {step}: {errno}")]
    Loop {
        /// The file.
        file: String,
        /// The call that failed.
        step: &'static str,
        /// Why; `EBUSY` if every device that was free was taken by others at once.
        errno: Errno,
    },
    /// A `mount.fuse` program failed or is missing.
    #[error("mount helper {program} for {} failed: {output}", target.display())]
    Helper {
        /// The program.
        program: &'static str,
        /// Where it was to mount.
        target: PathBuf,
        /// What it said, or why it could not be started.
        output: String,
    },
    /// Something still uses the mount; try again when it has gone.
    #[error("failed to unmount target {}: {}", target.display(), Errno::BUSY)]
    Busy {
        /// The mount.
        target: PathBuf,
    },
    /// The kernel refused to unmount.
    #[error("failed to unmount target {}: {errno}", target.display())]
    Unmount {
        /// The mount.
        target: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// A folder for a temporary mount cannot be made, read or removed.
    #[error("folder {} for temporary mounts: {errno}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why; `ENOTEMPTY` if something was written into it while nothing was mounted there.
        errno: Errno,
    },
    /// The list of mounts cannot be read.
    #[error("cannot read /proc/self/mountinfo: {errno}")]
    MountInfo {
        /// Why.
        errno: Errno,
    },
}

impl MountError {
    /// The kernel's answer, where the error has one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Target { errno, .. }
            | Self::Mount { errno, .. }
            | Self::Loop { errno, .. }
            | Self::Unmount { errno, .. }
            | Self::Folder { errno, .. }
            | Self::MountInfo { errno } => Some(*errno),
            Self::Busy { .. } => Some(Errno::BUSY),
            _ => None,
        }
    }

    /// Whether the request itself is wrong, so that trying again is of no use.
    #[must_use]
    pub fn is_bad_request(&self) -> bool {
        matches!(
            self,
            Self::InternalOption { .. }
                | Self::BadOption { .. }
                | Self::OptionsTooLong { .. }
                | Self::TooMany { .. }
                | Self::BadText { .. }
        )
    }
}

fn said(detail: &str) -> String {
    if detail.is_empty() {
        String::new()
    } else {
        format!(" ({detail})")
    }
}
