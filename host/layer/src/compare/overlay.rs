//! What overlayfs writes into the folders of its layers (Linux, Documentation/filesystems/overlayfs.rst).

use crate::apply::OVERLAY_OPAQUE;
use std::os::fd::BorrowedFd;

use transom_sys::{Errno, FileType, Stat, Sys};

/// Which extended attributes an overlay keeps its marks in. The others are nothing but files' own: whoever is root in a
/// container can set `user.overlay.opaque`, and an overlay that goes by `trusted.*` does not care.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverlayMarks {
    /// `trusted.overlay.*`, as overlays of root do. Only root in the first user namespace can see them.
    #[default]
    Trusted,
    /// `user.overlay.*`, as with the mount option `userxattr`.
    User,
}

/// One mark's two names.
type Key = (&'static [u8], &'static [u8]);

const OPAQUE: Key = (OVERLAY_OPAQUE, b"user.overlay.opaque");
const WHITEOUT: Key = (b"trusted.overlay.whiteout", b"user.overlay.whiteout");
const REDIRECT: Key = (b"trusted.overlay.redirect", b"user.overlay.redirect");
const METACOPY: Key = (b"trusted.overlay.metacopy", b"user.overlay.metacopy");
const LINKS: Key = (b"trusted.overlay.nlink", b"user.overlay.nlink");

/// What a folder of a layer says about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FolderMarks {
    /// Nothing in it is merged with what layers below have.
    pub(super) opaque: bool,
    /// Empty files in it may be whiteouts.
    pub(super) xattr_whiteouts: bool,
    /// What is below it comes from a folder of another name.
    pub(super) redirect: bool,
}

impl OverlayMarks {
    fn key(self, key: Key) -> &'static [u8] {
        match self {
            OverlayMarks::Trusted => key.0,
            OverlayMarks::User => key.1,
        }
    }

    /// Whether this process can see the marks at all. Where it cannot, they look as if they were not there.
    pub(super) fn are_visible<S: Sys>(self, sys: &S) -> bool {
        self == OverlayMarks::User || sys.effective_ids().0 == 0 && !sys.in_user_namespace()
    }

    /// The marks of an open folder.
    pub(super) fn of_folder<S: Sys>(self, sys: &S, dir: BorrowedFd<'_>) -> Result<FolderMarks, Errno> {
        let opaque = attribute(sys, dir, b".", self.key(OPAQUE))?;
        Ok(FolderMarks {
            opaque: opaque.as_deref() == Some(b"y"),
            xattr_whiteouts: opaque.as_deref() == Some(b"x"),
            redirect: attribute(sys, dir, b".", self.key(REDIRECT))?.is_some(),
        })
    }

    /// Whether `name` hides what the layers below have by that name.
    pub(super) fn is_whiteout<S: Sys>(
        self,
        sys: &S,
        dir: BorrowedFd<'_>,
        name: &[u8],
        stat: &Stat,
        xattr_whiteouts: bool,
    ) -> Result<bool, Errno> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::CharacterDevice => Ok(stat.st_rdev == 0),
            FileType::RegularFile if xattr_whiteouts && stat.st_size == 0 => {
                Ok(attribute(sys, dir, name, self.key(WHITEOUT))?.is_some())
            }
            _ => Ok(false),
        }
    }

    /// Whether the content of this file is in another layer.
    pub(super) fn has_no_content<S: Sys>(
        self,
        sys: &S,
        dir: BorrowedFd<'_>,
        name: &[u8],
    ) -> Result<bool, Errno> {
        Ok(attribute(sys, dir, name, self.key(METACOPY))?.is_some())
    }

    /// Whether this file stands for names of other layers too, through the index of inodes.
    pub(super) fn is_indexed<S: Sys>(self, sys: &S, dir: BorrowedFd<'_>, name: &[u8]) -> Result<bool, Errno> {
        Ok(attribute(sys, dir, name, self.key(LINKS))?.is_some())
    }
}

/// The value of an extended attribute, `None` where there is none or the file system has none at all.
pub(super) fn attribute<S: Sys>(
    sys: &S,
    dir: BorrowedFd<'_>,
    name: &[u8],
    key: &[u8],
) -> Result<Option<Vec<u8>>, Errno> {
    match sys.getxattrat(dir, name, key) {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The capabilities of a program, the one extended attribute that layers carry; an empty value is none.
pub(super) fn capability<S: Sys>(
    sys: &S,
    dir: BorrowedFd<'_>,
    name: &[u8],
) -> Result<Option<Vec<u8>>, Errno> {
    let value = attribute(sys, dir, name, CAPABILITY)?;
    Ok(value.filter(|value| !value.is_empty()))
}

/// Why a file of a layer cannot be read there.
pub(super) const NO_CONTENT: &str = "overlayfs keeps this file's content in another layer (metacopy)";

/// Where file capabilities are kept.
pub(super) const CAPABILITY: &[u8] = b"security.capability";
