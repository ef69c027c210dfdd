//! The calls about mounts as the recording fake makes them, or pretends to.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountFlags, MountPropagationFlags, UnmountFlags};

use super::calls::{Ended, LoopOptions, MountSys, Setting};
use super::options::REMOUNT;
use crate::calls::Result;
use crate::recorded::{Op, Recorded};

/// The mounts that were pretended: the places, in the order they were mounted, and how often something was.
#[derive(Debug, Default)]
pub(crate) struct Pretended {
    places: Vec<(u32, Vec<u8>)>,
    count: u32,
    statfs: (u64, u64),
    ended: Option<Ended>,
}

impl Pretended {
    fn mount(&mut self, target: &[u8]) {
        self.count += 1;
        self.places.push((self.count, real(target)));
    }

    fn unmount(&mut self, target: &[u8], flags: UnmountFlags) -> Result<()> {
        let target = real(target);
        let last = self.places.iter().rposition(|(_, place)| *place == target);
        let Some(last) = last else {
            return Err(Errno::INVAL);
        };
        if flags.contains(UnmountFlags::DETACH) {
            // With all that is on it.
            let below = [target.as_slice(), b"/"].concat();
            let mut index = 0;
            self.places.retain(|(_, place)| {
                index += 1;
                index - 1 < last || !place.starts_with(&below)
            });
        }
        self.places.remove(last);
        Ok(())
    }

    fn run(&mut self, program: &str, arguments: &[OsString]) -> Ended {
        let well = Ended {
            success: true,
            output: String::new(),
        };
        let mut ended = self.ended.clone().unwrap_or(well);
        if let (true, Some(target)) = (ended.success, arguments.get(1)) {
            if program.starts_with("mount.") {
                self.mount(target.as_bytes());
            } else {
                ended.success = self.unmount(target.as_bytes(), UnmountFlags::empty()).is_ok();
            }
        }
        ended
    }

    fn info(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for (number, place) in &self.places {
            text.extend(format!("{number} 0 0:1 / ").bytes());
            text.extend(place);
            text.extend(b" rw - pretended none rw\n");
        }
        text
    }
}

/// Where `/proc/self/fd/N` leads; anything else as it is.
fn real(target: &[u8]) -> Vec<u8> {
    if !target.starts_with(b"/proc/self/fd/") {
        return target.to_vec();
    }
    rustix::fs::readlinkat(CWD, target, Vec::new()).map_or_else(|_| target.to_vec(), CString::into_bytes)
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&real(bytes)).into_owned()
}

fn nothing() -> Result<OwnedFd> {
    rustix::fs::openat(
        CWD,
        "/dev/null",
        OFlags::RDWR | OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
}

impl<S> Recorded<S> {
    /// From now on the calls of [`MountSys`] succeed without being made: mounts come and go in memory only, and
    /// descriptors are of `/dev/null`. What they were asked for is noted, and failures that were asked for happen.
    pub fn pretend_mounts(&self) {
        self.notes().pretended = Some(Pretended::default());
    }

    /// Answers [`MountSys::statfs`] with this magic number and these flags, where mounts are pretended.
    pub fn pretend_statfs(&self, magic: u64, flags: u64) {
        self.notes().pretended.get_or_insert_default().statfs = (magic, flags);
    }

    /// Answers [`MountSys::run`] with this, where mounts are pretended. A program that fails mounts nothing.
    pub fn pretend_ended(&self, ended: Ended) {
        self.notes().pretended.get_or_insert_default().ended = Some(ended);
    }

    /// What is mounted where mounts are pretended, in the order it was.
    pub fn pretended_mounts(&self) -> Vec<String> {
        let notes = self.notes();
        let places = notes.pretended.iter().flat_map(|pretended| &pretended.places);
        places
            .map(|(_, place)| String::from_utf8_lossy(place).into_owned())
            .collect()
    }

    fn about_mounts<T>(
        &self,
        op: Op,
        what: &str,
        call: impl FnOnce(&S) -> Result<T>,
        pretend: impl FnOnce(&mut Pretended) -> Result<T>,
    ) -> Result<T> {
        self.make(op, what.as_bytes(), |sys| {
            let mut notes = self.notes();
            match notes.pretended.as_mut() {
                Some(pretended) => pretend(pretended),
                None => {
                    drop(notes);
                    call(sys)
                }
            }
        })
    }
}

impl<S: MountSys> MountSys for Recorded<S> {
    fn mount(
        &self,
        source: &[u8],
        target: &[u8],
        kind: &[u8],
        flags: MountFlags,
        data: &[u8],
        folder: Option<BorrowedFd<'_>>,
    ) -> Result<()> {
        let mut what = format!(
            "{} {} {} {:#x} {}",
            shown(source),
            shown(target),
            shown(kind),
            flags.bits(),
            shown(data)
        );
        if let Some(folder) = folder {
            what += &format!(
                " in {}",
                shown(format!("/proc/self/fd/{}", folder.as_raw_fd()).as_bytes())
            );
        }
        self.about_mounts(
            Op::Mount,
            &what,
            |sys| sys.mount(source, target, kind, flags, data, folder),
            |pretended| {
                if !flags.contains(REMOUNT) {
                    pretended.mount(target);
                }
                Ok(())
            },
        )
    }

    fn propagate(&self, target: &[u8], change: MountPropagationFlags) -> Result<()> {
        let what = format!("{} {:#x}", shown(target), change.bits());
        self.about_mounts(
            Op::Propagate,
            &what,
            |sys| sys.propagate(target, change),
            |_| Ok(()),
        )
    }

    fn unmount(&self, target: &[u8], flags: UnmountFlags) -> Result<()> {
        let what = format!("{} {:#x}", shown(target), flags.bits());
        self.about_mounts(
            Op::Unmount,
            &what,
            |sys| sys.unmount(target, flags),
            |pretended| pretended.unmount(target, flags),
        )
    }

    fn fsopen(&self, kind: &str) -> Result<OwnedFd> {
        self.about_mounts(Op::Fsopen, kind, |sys| sys.fsopen(kind), |_| nothing())
    }

    fn fsconfig(&self, setup: BorrowedFd<'_>, setting: Setting<'_>) -> Result<()> {
        let what = match setting {
            Setting::Flag(name) => name.to_owned(),
            Setting::Text(name, value) => format!("{name}={value}"),
            Setting::Create => "create".to_owned(),
        };
        self.about_mounts(
            Op::Fsconfig,
            &what,
            |sys| sys.fsconfig(setup, setting),
            |_| Ok(()),
        )
    }

    fn fs_messages(&self, setup: BorrowedFd<'_>) -> String {
        let answer = self.about_mounts(
            Op::FsMessages,
            "",
            |sys| Ok(sys.fs_messages(setup)),
            |_| Ok(String::new()),
        );
        answer.unwrap_or_default()
    }

    fn fsmount(&self, setup: BorrowedFd<'_>, attributes: MountAttrFlags) -> Result<OwnedFd> {
        let what = format!("{:#x}", attributes.bits());
        self.about_mounts(
            Op::Fsmount,
            &what,
            |sys| sys.fsmount(setup, attributes),
            |_| nothing(),
        )
    }

    fn clone_tree(&self, path: &[u8], recursive: bool) -> Result<OwnedFd> {
        let what = format!("{}{}", shown(path), if recursive { " recursive" } else { "" });
        self.about_mounts(
            Op::CloneTree,
            &what,
            |sys| sys.clone_tree(path, recursive),
            |_| nothing(),
        )
    }

    fn move_mount(&self, mount: BorrowedFd<'_>, target: &[u8]) -> Result<()> {
        self.about_mounts(
            Op::MoveMount,
            &shown(target),
            |sys| sys.move_mount(mount, target),
            |pretended| {
                pretended.mount(target);
                Ok(())
            },
        )
    }

    fn map_ids(
        &self,
        mount: BorrowedFd<'_>,
        user_namespace: BorrowedFd<'_>,
        attributes: MountAttrFlags,
    ) -> Result<()> {
        let what = format!("{:#x}", attributes.bits());
        self.about_mounts(
            Op::MapIds,
            &what,
            |sys| sys.map_ids(mount, user_namespace, attributes),
            |_| Ok(()),
        )
    }

    fn user_namespace(&self, uids: &str, gids: &str) -> Result<OwnedFd> {
        let what = format!("{uids}{gids}");
        self.about_mounts(
            Op::UserNamespace,
            &what,
            |sys| sys.user_namespace(uids, gids),
            |_| nothing(),
        )
    }

    fn statfs(&self, path: &[u8]) -> Result<(u64, u64)> {
        self.about_mounts(
            Op::Statfs,
            &shown(path),
            |sys| sys.statfs(path),
            |pretended| Ok(pretended.statfs),
        )
    }

    fn mount_info(&self) -> Result<Vec<u8>> {
        self.about_mounts(Op::MountInfo, "", MountSys::mount_info, |pretended| {
            Ok(pretended.info())
        })
    }

    fn loop_free(&self) -> Result<u32> {
        self.about_mounts(Op::LoopFree, "", MountSys::loop_free, |_| Ok(7))
    }

    fn loop_open(&self, number: u32, read_only: bool) -> Result<OwnedFd> {
        let what = format!("{number}{}", if read_only { " ro" } else { "" });
        self.about_mounts(
            Op::LoopOpen,
            &what,
            |sys| sys.loop_open(number, read_only),
            |_| nothing(),
        )
    }

    fn loop_configure(
        &self,
        device: BorrowedFd<'_>,
        file: BorrowedFd<'_>,
        name: &[u8],
        options: LoopOptions,
    ) -> Result<()> {
        let what = format!("{} {options:?}", shown(name));
        self.about_mounts(
            Op::LoopConfigure,
            &what,
            |sys| sys.loop_configure(device, file, name, options),
            |_| Ok(()),
        )
    }

    fn loop_set_file(&self, device: BorrowedFd<'_>, file: BorrowedFd<'_>) -> Result<()> {
        self.about_mounts(
            Op::LoopSetFile,
            "",
            |sys| sys.loop_set_file(device, file),
            |_| Ok(()),
        )
    }

    fn loop_set_status(&self, device: BorrowedFd<'_>, name: &[u8], read_only: bool) -> Result<()> {
        let what = format!("{}{}", shown(name), if read_only { " ro" } else { "" });
        self.about_mounts(
            Op::LoopSetStatus,
            &what,
            |sys| sys.loop_set_status(device, name, read_only),
            |_| Ok(()),
        )
    }

    fn loop_set_direct_io(&self, device: BorrowedFd<'_>) -> Result<()> {
        self.about_mounts(
            Op::LoopSetDirectIo,
            "",
            |sys| sys.loop_set_direct_io(device),
            |_| Ok(()),
        )
    }

    fn loop_clear(&self, device: BorrowedFd<'_>) -> Result<()> {
        self.about_mounts(Op::LoopClear, "", |sys| sys.loop_clear(device), |_| Ok(()))
    }

    fn run(&self, program: &str, arguments: &[OsString]) -> io::Result<Ended> {
        let mut what = program.to_owned();
        for argument in arguments {
            what += &format!(" {}", shown(argument.as_bytes()));
        }
        // What the program itself failed with is no call's error.
        let answer = self.about_mounts(
            Op::Run,
            &what,
            |sys| Ok(sys.run(program, arguments)),
            |pretended| Ok(Ok(pretended.run(program, arguments))),
        );
        answer.unwrap_or_else(|errno| Err(errno.into()))
    }

    fn pause(&self, time: Duration) {
        let what = format!("{time:?}");
        let call = |sys: &S| {
            sys.pause(time);
            Ok(())
        };
        let _ = self.about_mounts(Op::Pause, &what, call, |_| Ok(()));
    }
}
