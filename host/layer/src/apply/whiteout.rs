//! What a layer takes away from the layers below (OCI image specification, "Whiteouts").

use std::os::fd::AsFd as _;

use transom_sys::{Errno, FileType, OFlags, Sys, XattrFlags};

use super::attributes::Wanted;
use super::error::ApplyError;
use super::remove;
use super::worker::{Place, Worker};
use super::{Ownership, WhiteoutFormat};
use crate::tar::Entry;

/// The mark of an opaque folder for overlayfs.
pub const OVERLAY_OPAQUE: &[u8] = b"trusted.overlay.opaque";

impl<S: Sys> Worker<'_, S> {
    /// Hides `hidden`, which stands in the same folder as the whiteout.
    pub(super) fn whiteout(
        &mut self,
        place: &Place<'_, '_>,
        hidden: &[u8],
        entry: &Entry,
    ) -> Result<(), ApplyError> {
        self.report.counts.whiteouts += 1;
        let place = Place {
            folder: place.folder.clone(),
            facts: place.facts,
            base: hidden,
            path: place.path,
        };
        match self.options.whiteouts {
            WhiteoutFormat::Plain => self.take_away(&place),
            WhiteoutFormat::Overlay => self.overlay_whiteout(&place, entry),
            // The loop over the entries makes these as it makes any file.
            WhiteoutFormat::Keep => Ok(()),
        }
    }

    /// Removes a name that lower layers left, save what this layer has put there.
    fn take_away(&mut self, place: &Place<'_, '_>) -> Result<(), ApplyError> {
        let Some(unpacked) = &self.unpacked else {
            return Ok(());
        };
        let cannot = place.cannot("apply the whiteout");
        let stat = match self.sys.statat(place.dir(), place.base) {
            Err(Errno::NOENT) => return Ok(()),
            other => other.map_err(&cannot)?,
        };
        if self.cleared.contains(&(stat.st_ino, false)) {
            return Ok(());
        }
        let kind = FileType::from_raw_mode(stat.st_mode);
        let is_gone = remove::remove(self.sys, place.dir(), place.base, Some(unpacked)).map_err(cannot)?;
        if !is_gone && kind == FileType::Directory {
            self.cleared.insert((stat.st_ino, false));
        }
        self.note_removal(kind);
        Ok(())
    }

    fn overlay_whiteout(&mut self, place: &Place<'_, '_>, entry: &Entry) -> Result<(), ApplyError> {
        let cannot = place.cannot("create the whiteout");
        let kind = FileType::CharacterDevice;
        match self.sys.mknodat(place.dir(), place.base, kind, 0, (0, 0)) {
            Err(Errno::EXIST) => {
                let is_ours = self
                    .unpacked
                    .as_ref()
                    .is_none_or(|unpacked| unpacked.contains(place.facts.inode, place.base));
                if is_ours {
                    // A whiteout is about lower layers only, and those it hides already.
                    return Ok(());
                }
                self.clear_away(place)?;
                self.sys
                    .mknodat(place.dir(), place.base, kind, 0, (0, 0))
                    .map_err(&cannot)?;
            }
            other => other.map_err(&cannot)?,
        }
        let (uid, gid) = Wanted::of(entry, place.path, self.options.ownership)?.owner;
        let created = (self.ids.0, place.facts.group.unwrap_or(self.ids.1));
        if self.options.ownership == Ownership::Keep && (uid, gid) != created {
            self.sys
                .fchownat(place.dir(), place.base, uid, gid)
                .map_err(cannot)?;
        }
        Ok(())
    }

    /// Hides everything that lower layers have in the folder of the marker.
    pub(super) fn opaque(&mut self, place: &Place<'_, '_>) -> Result<(), ApplyError> {
        self.report.counts.whiteouts += 1;
        let is_overlay = self.options.whiteouts == WhiteoutFormat::Overlay;
        if !is_overlay && (self.unpacked.is_none() || !self.cleared.insert((place.facts.inode, true))) {
            return Ok(());
        }
        let cannot = place.cannot("apply the opaque whiteout");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let dir = self.sys.openat(place.dir(), b".", flags, 0).map_err(&cannot)?;
        if is_overlay {
            self.sys
                .fsetxattr(dir.as_fd(), OVERLAY_OPAQUE, b"y", XattrFlags::empty())
                .map_err(cannot)?;
        } else {
            remove::empty(self.sys, dir.as_fd(), self.unpacked.as_ref()).map_err(cannot)?;
            self.note_removal(FileType::Directory);
        }
        self.sys.close(dir);
        Ok(())
    }
}
