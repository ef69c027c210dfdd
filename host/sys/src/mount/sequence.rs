//! One mount, from its description to what is there: the order of the calls.

use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use super::calls::{LoopOptions, MountSys};
use super::description::{Mount, refuse_nul};
use super::error::MountError;
use super::options::{self, Options, REMOUNT};
use super::place::Place;
use super::{fuse, idmap, layers, loops};

/// The flags of `statvfs` that a read-only remount keeps, and what they are called to `mount(2)`. In a user namespace
/// all of them may be locked, and leaving one out is refused; elsewhere leaving one out would take a protection away.
const KEPT: [(u64, MountFlags); 7] = [
    (1, MountFlags::RDONLY),
    (2, MountFlags::NOSUID),
    (4, MountFlags::NODEV),
    (8, MountFlags::NOEXEC),
    (1024, MountFlags::NOATIME),
    (2048, MountFlags::NODIRATIME),
    (4096, MountFlags::RELATIME),
];

/// One mount on its way.
#[derive(Debug)]
pub(super) struct One<'a, S> {
    pub(super) sys: &'a S,
    pub(super) mount: &'a Mount,
    /// Where the caller mounts; the mount's own target is in there.
    pub(super) root: &'a Path,
}

/// Mounts `mount` and says where, unless it only changed what was there. What was mounted is gone again if a later step
/// fails.
pub(super) fn mount<S: MountSys>(sys: &S, mount: &Mount, root: &Path) -> Result<Option<PathBuf>, MountError> {
    refuse_nul("type", &mount.kind)?;
    refuse_nul("source", &mount.source)?;
    options::check(&mount.options)?;
    let one = One { sys, mount, root };
    let place = one.place()?;
    if let Some(helper) = fuse::helper(&mount.kind) {
        fuse::mount(sys, helper, mount, &place.path)?;
        return Ok(Some(place.path));
    }
    let options = Options::parse(mount)?;
    let ids = options.ids.as_ref();
    let attached = match ids {
        Some(ids) if mount.is_overlay() => {
            idmap::overlay(&one, &place, &options, ids)?;
            true
        }
        _ => one.first(&place, &options)?,
    };
    let mut rest = Ok(());
    if let Some(ids) = ids
        && !mount.is_overlay()
    {
        rest = idmap::remap(&one, &place, ids);
    }
    if let Err(error) = rest.and_then(|()| one.adjust(&options)) {
        if attached {
            // What counts is the error that came first.
            let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
            let _ = sys.unmount(place.path.as_os_str().as_bytes(), flags);
        }
        return Err(error);
    }
    Ok(attached.then_some(place.path))
}

impl<S: MountSys> One<'_, S> {
    /// The place, as it is now: what was mounted there last.
    pub(super) fn place(&self) -> Result<Place, MountError> {
        Place::find(self.sys, self.root, &self.mount.target)
    }

    /// The first call, with everything but propagation. Whether it put something at the place.
    fn first(&self, place: &Place, options: &Options) -> Result<bool, MountError> {
        let flags = options.flags;
        if flags.contains(REMOUNT) {
            // A bind mount that becomes read-only does so in the second call.
            if !remounts(flags) {
                let data = options.joined();
                self.check(&data)?;
                self.attach(&self.place()?, flags, &data, None)?;
            }
            return Ok(false);
        }
        if self.mount.is_overlay() {
            layers::attach(self, place, options)?;
            return Ok(true);
        }
        let data = options.joined();
        self.check(&data)?;
        if !options.is_loop {
            self.attach(place, flags, &data, None)?;
            return Ok(true);
        }
        let wanted = LoopOptions {
            read_only: flags.contains(MountFlags::RDONLY),
            direct_io: options.direct_io,
        };
        // Held until it is mounted: without an opener it would clear itself.
        let device = loops::attach(self.sys, &self.mount.source, wanted)?;
        self.attach_source(&device.path, place, flags, &data, None)?;
        Ok(true)
    }

    /// Propagation, then read-only and what else the first call does not do for a bind mount.
    fn adjust(&self, options: &Options) -> Result<(), MountError> {
        for &change in &options.propagation {
            self.sys
                .propagate(&self.place()?.to_call(), change | MountPropagationFlags::SILENT)
                .map_err(|errno| self.refused("changing the propagation", errno))?;
        }
        if !remounts(options.flags) {
            return Ok(());
        }
        let place = self.place()?;
        let top = place.to_call();
        let mut flags = options.flags | REMOUNT;
        flags |= self.kept(&top, options)?;
        self.sys
            .mount(b"", &top, b"", flags, b"", None)
            .map_err(|errno| self.refused("remounting with the flags", errno))
    }

    fn kept(&self, top: &[u8], options: &Options) -> Result<MountFlags, MountError> {
        let (_, now) = self
            .sys
            .statfs(top)
            .map_err(|errno| self.refused("statfs", errno))?;
        let mut kept = MountFlags::empty();
        for (shown, flag) in KEPT {
            if now & shown != 0 {
                kept |= flag;
            }
        }
        if !self.sys.in_user_namespace() {
            // Times of access are kept by the kernel, unless the options say something about them; and what they clear
            // by name is not to be kept.
            kept &= MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
            kept -= options.cleared;
        }
        Ok(kept)
    }

    /// `mount(2)` of the mount's own source.
    pub(super) fn attach(
        &self,
        place: &Place,
        flags: MountFlags,
        data: &str,
        folder: Option<BorrowedFd<'_>>,
    ) -> Result<(), MountError> {
        self.attach_source(&self.mount.source, place, flags, data, folder)
    }

    fn attach_source(
        &self,
        source: &str,
        place: &Place,
        flags: MountFlags,
        data: &str,
        folder: Option<BorrowedFd<'_>>,
    ) -> Result<(), MountError> {
        let (target, kind) = (place.to_call(), self.mount.kind.as_bytes());
        self.sys
            .mount(source.as_bytes(), &target, kind, flags, data.as_bytes(), folder)
            .map_err(|errno| self.refused("mount", errno))
    }

    /// Whether `mount(2)` takes so much data: a page, whose last byte is a NUL.
    pub(super) fn fits(&self, data: &str) -> bool {
        data.len() < rustix::param::page_size()
    }

    pub(super) fn too_long(&self, data: &str) -> MountError {
        MountError::OptionsTooLong {
            bytes: data.len(),
            most: rustix::param::page_size() - 1,
        }
    }

    fn check(&self, data: &str) -> Result<(), MountError> {
        if self.fits(data) {
            Ok(())
        } else {
            Err(self.too_long(data))
        }
    }

    fn shown_target(&self) -> PathBuf {
        match self.mount.target.trim_start_matches('/') {
            "" => self.root.to_path_buf(),
            inside => self.root.join(inside),
        }
    }

    pub(super) fn refused(&self, step: &'static str, errno: Errno) -> MountError {
        self.refused_saying(step, errno, String::new())
    }

    pub(super) fn refused_saying(&self, step: &'static str, errno: Errno, detail: String) -> MountError {
        MountError::Mount {
            kind: self.mount.kind.clone(),
            source_name: self.mount.source.clone(),
            target: self.shown_target(),
            step,
            errno,
            detail,
        }
    }
}

/// Whether a second call is needed: the first one makes a bind mount with the flags of its source, whatever it is told.
/// containerd makes the second call for `ro` only, so that `bind,nosuid` is not nosuid.
fn remounts(flags: MountFlags) -> bool {
    let own = MountFlags::RDONLY
        | MountFlags::NOSUID
        | MountFlags::NODEV
        | MountFlags::NOEXEC
        | MountFlags::NOATIME
        | MountFlags::NODIRATIME
        | MountFlags::RELATIME
        | MountFlags::STRICTATIME;
    flags.contains(MountFlags::BIND) && flags.intersects(own)
}
