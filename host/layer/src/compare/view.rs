//! One of the two trees: a folder, or the folders of an overlay's layers seen as one.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use transom_sys::{Errno, OFlags, Stat, Sys};

use super::limits::FOLDERS_OPEN;
use super::overlay::OverlayMarks;
use crate::apply::limits::STACK;
use crate::apply::stack::FolderStack;

/// A tree, and where in it a walk stands.
pub(super) struct View<'r> {
    /// Nearest first.
    layers: Vec<FolderStack<'r>>,
    /// The layers that have each folder on the way, the root first.
    levels: Vec<Vec<Member>>,
    marks: Option<OverlayMarks>,
}

/// A layer that has a folder.
#[derive(Clone, Copy)]
struct Member {
    layer: usize,
    xattr_whiteouts: bool,
}

/// What has a name in a view.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// The layer it is in.
    layer: usize,
    pub(super) stat: Stat,
}

/// What going into a folder came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entered {
    /// It stands in the folder now.
    Folder {
        /// Whether the nearest layer's folder hides what the layers below have.
        opaque: bool,
    },
    /// There is no such folder, or none any more.
    Nothing,
}

/// Why a view could not be looked at.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trouble {
    Errno(Errno),
    /// The layer's folder alone does not say what is there.
    Cannot(&'static str),
}

impl From<Errno> for Trouble {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

const REDIRECTED: &str = "overlayfs keeps this folder's content under another name (redirect_dir)";
const INVISIBLE: &str = "only root can see overlayfs's own attributes";

/// Opens folders for listing; a handle that was given may be for looking up only.
pub(super) fn open_roots<S: Sys>(sys: &S, given: &[OwnedFd]) -> Result<Vec<OwnedFd>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    given
        .iter()
        .map(|root| sys.openat(root.as_fd(), b".", flags, 0))
        .collect()
}

impl<'r> View<'r> {
    /// Stands at the root of the tree. With `marks` the folders are layers of an overlay, nearest first; what they say
    /// about themselves at the very top overlayfs does not heed, save for the form of whiteouts.
    pub(super) fn new<S: Sys>(
        sys: &S,
        roots: &'r [OwnedFd],
        marks: Option<OverlayMarks>,
        open: usize,
    ) -> Result<View<'r>, Trouble> {
        if marks.is_some_and(|marks| !marks.are_visible(sys)) {
            return Err(Trouble::Cannot(INVISIBLE));
        }
        let mut level = Vec::with_capacity(roots.len());
        for (layer, root) in roots.iter().enumerate() {
            let xattr_whiteouts = match marks {
                Some(marks) => marks.of_folder(sys, root.as_fd())?.xattr_whiteouts,
                None => false,
            };
            level.push(Member {
                layer,
                xattr_whiteouts,
            });
        }
        let keep = (FOLDERS_OPEN / open.max(1)).min(STACK);
        let stack = |root: &'r OwnedFd| FolderStack::keeping(root.as_fd(), OFlags::RDONLY, keep);
        Ok(View {
            layers: roots.iter().map(stack).collect(),
            levels: vec![level],
            marks,
        })
    }

    /// The layers that have the folder where the walk stands.
    fn members(&self) -> &[Member] {
        self.levels.last().map_or(&[], Vec::as_slice)
    }

    /// The marks, if this is an overlay.
    pub(super) fn marks(&self) -> Option<OverlayMarks> {
        self.marks
    }

    /// The open folder that `found` is in.
    pub(super) fn dir(&self, found: &Found) -> BorrowedFd<'_> {
        self.layers[found.layer].top()
    }

    /// The names in this folder, sorted, in all layers; among them those of whiteouts and what they hide.
    pub(super) fn names<S: Sys>(&self, sys: &S) -> Result<Vec<Vec<u8>>, Errno> {
        let mut names = Vec::new();
        let mut batch = Vec::new();
        for member in self.members() {
            let dir = self.layers[member.layer].top();
            while sys.getdents(dir, &mut batch)? {
                names.extend(batch.drain(..).map(|entry| entry.name));
            }
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// Looks a name up in this folder.
    pub(super) fn find<S: Sys>(&self, sys: &S, name: &[u8]) -> Result<Option<Found>, Errno> {
        for member in self.members() {
            let dir = self.layers[member.layer].top();
            let stat = match sys.statat(dir, name) {
                Err(Errno::NOENT) => continue,
                other => other?,
            };
            let hidden = match self.marks {
                Some(marks) => marks.is_whiteout(sys, dir, name, &stat, member.xattr_whiteouts),
                None => Ok(false),
            };
            return match hidden {
                Ok(true) => Ok(None),
                Ok(false) => Ok(Some(Found {
                    layer: member.layer,
                    stat,
                })),
                // Gone between the two calls.
                Err(Errno::NOENT) => continue,
                Err(errno) => Err(errno),
            };
        }
        Ok(None)
    }

    /// Goes into the folder `name`.
    pub(super) fn enter<S: Sys>(&mut self, sys: &S, name: &[u8]) -> Result<Entered, Trouble> {
        let mut level: Vec<Member> = Vec::new();
        let mut is_opaque = false;
        for at in 0..self.members().len() {
            let layer = self.members()[at].layer;
            match self.layers[layer].enter(sys, name) {
                Ok(()) => {}
                Err(Errno::NOENT) => continue,
                // What is no folder ends the merging, whiteout or not.
                Err(Errno::NOTDIR | Errno::LOOP) => break,
                Err(errno) => return Err(errno.into()),
            }
            let mut member = Member {
                layer,
                xattr_whiteouts: false,
            };
            let mut ends_here = false;
            if let Some(marks) = self.marks {
                let marks = marks.of_folder(sys, self.layers[layer].top())?;
                if marks.redirect {
                    return Err(Trouble::Cannot(REDIRECTED));
                }
                member.xattr_whiteouts = marks.xattr_whiteouts;
                ends_here = marks.opaque;
                is_opaque |= level.is_empty() && marks.opaque;
            }
            level.push(member);
            if ends_here {
                break;
            }
        }
        if level.is_empty() {
            return Ok(Entered::Nothing);
        }
        self.levels.push(level);
        Ok(Entered::Folder { opaque: is_opaque })
    }

    /// Goes up one folder.
    pub(super) fn leave<S: Sys>(&mut self, sys: &S) -> Result<(), Errno> {
        for member in self.levels.pop().unwrap_or_default() {
            self.layers[member.layer].leave(sys)?;
        }
        Ok(())
    }
}
