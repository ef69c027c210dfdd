//! The real calls about mounts.
#![allow(
    unsafe_code,
    reason = "neither rustix nor nix has mount_setattr and the calls of loop devices"
)]

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::libc;
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{CWD, MemfdFlags, OFlags, memfd_create};
use rustix::io::Errno;
use rustix::mount::{
    self, FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};

use super::calls::{Ended, LoopOptions, MountSys, Setting};
use super::limits::{HELPER_OUTPUT_MAX, KERNEL_LOG_MAX, MOUNT_INFO_MAX};
use super::userns;
use crate::calls::{Result, Sys as _};
use crate::linux::Linux;

/// `loop_info64` of `linux/loop.h`.
#[repr(C)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `loop_config` of `linux/loop.h`.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

const LOOP_SET_FD: u32 = 0x4C00;
const LOOP_CLR_FD: u32 = 0x4C01;
const LOOP_SET_STATUS64: u32 = 0x4C04;
const LOOP_SET_DIRECT_IO: u32 = 0x4C08;
const LOOP_CONFIGURE: u32 = 0x4C0A;
const LOOP_CTL_GET_FREE: u32 = 0x4C82;

const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_DIRECT_IO: u32 = 16;

impl LoopInfo {
    fn new(name: &[u8], flags: u32) -> Self {
        let mut info = LoopInfo {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            size_limit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: flags | LO_FLAGS_AUTOCLEAR,
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        };
        // For people only; the last byte stays NUL.
        let length = name.len().min(info.file_name.len() - 1);
        info.file_name[..length].copy_from_slice(&name[..length]);
        info
    }
}

fn read_only_flag(read_only: bool) -> u32 {
    if read_only { LO_FLAGS_READ_ONLY } else { 0 }
}

/// `ioctl(2)` with an argument that the request takes; the answer is not negative.
fn ioctl(fd: BorrowedFd<'_>, request: u32, argument: libc::c_ulong) -> Result<u32> {
    // SAFETY: every caller passes a number, or a pointer to the very structure that its request reads, alive until this
    // returns; none of the requests writes to memory.
    let answer = unsafe { libc::ioctl(fd.as_raw_fd(), request as _, argument) };
    u32::try_from(answer).map_err(|_| last_error())
}

/// What the C library last failed with on this thread.
pub(super) fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}

fn number(fd: BorrowedFd<'_>) -> libc::c_ulong {
    // A descriptor is never negative.
    fd.as_raw_fd().unsigned_abs().into()
}

impl MountSys for Linux {
    fn mount(
        &self,
        source: &[u8],
        target: &[u8],
        kind: &[u8],
        flags: MountFlags,
        data: &[u8],
        folder: Option<BorrowedFd<'_>>,
    ) -> Result<()> {
        let data = CString::new(data).map_err(|_| Errno::INVAL)?;
        let call = || mount::mount(source, target, kind, flags, data.as_c_str());
        let Some(folder) = folder else { return call() };
        // A working folder of its own needs a thread that stops sharing the process's.
        let in_folder = || {
            unshare(CloneFlags::CLONE_FS).map_err(|error| Errno::from_raw_os_error(error as i32))?;
            rustix::process::fchdir(folder)?;
            call()
        };
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("mount".to_owned());
            let thread = thread.spawn_scoped(scope, in_folder).map_err(|_| Errno::AGAIN)?;
            thread.join().unwrap_or(Err(Errno::IO))
        })
    }

    fn propagate(&self, target: &[u8], change: MountPropagationFlags) -> Result<()> {
        mount::mount_change(target, change)
    }

    fn unmount(&self, target: &[u8], flags: UnmountFlags) -> Result<()> {
        mount::unmount(target, flags)
    }

    fn fsopen(&self, kind: &str) -> Result<OwnedFd> {
        mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)
    }

    fn fsconfig(&self, setup: BorrowedFd<'_>, setting: Setting<'_>) -> Result<()> {
        match setting {
            Setting::Flag(name) => mount::fsconfig_set_flag(setup, name),
            Setting::Text(name, value) => mount::fsconfig_set_string(setup, name, value),
            Setting::Create => mount::fsconfig_create(setup),
        }
    }

    fn fs_messages(&self, setup: BorrowedFd<'_>) -> String {
        let mut messages = String::new();
        let mut line = [0; 1024];
        // One message for each read, then ENODATA. Each begins with its severity and a blank.
        while messages.len() < KERNEL_LOG_MAX
            && let Ok(length) = rustix::io::read(setup, &mut line)
            && length > 0
        {
            let text = String::from_utf8_lossy(&line[..length]);
            if !messages.is_empty() {
                messages.push_str("; ");
            }
            messages.push_str(text.get(2..).unwrap_or_default().trim_end());
        }
        messages
    }

    fn fsmount(&self, setup: BorrowedFd<'_>, attributes: MountAttrFlags) -> Result<OwnedFd> {
        mount::fsmount(setup, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    }

    fn clone_tree(&self, path: &[u8], recursive: bool) -> Result<OwnedFd> {
        let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        if recursive {
            flags |= OpenTreeFlags::AT_RECURSIVE;
        }
        mount::open_tree(CWD, path, flags)
    }

    fn move_mount(&self, mount: BorrowedFd<'_>, target: &[u8]) -> Result<()> {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
        mount::move_mount(mount, "", CWD, target, flags)
    }

    fn map_ids(
        &self,
        mount: BorrowedFd<'_>,
        user_namespace: BorrowedFd<'_>,
        attributes: MountAttrFlags,
    ) -> Result<()> {
        let attributes = attributes | MountAttrFlags::MOUNT_ATTR_IDMAP;
        let change = libc::mount_attr {
            attr_set: attributes.bits().into(),
            attr_clr: 0,
            propagation: libc::MS_PRIVATE,
            userns_fd: number(user_namespace),
        };
        let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
        // SAFETY: the path is an empty text, and `change` is read as what its size says.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_mount_setattr,
                mount.as_raw_fd(),
                c"".as_ptr(),
                flags,
                &raw const change,
                size_of::<libc::mount_attr>(),
            )
        };
        if answer == 0 { Ok(()) } else { Err(last_error()) }
    }

    fn user_namespace(&self, uids: &str, gids: &str) -> Result<OwnedFd> {
        userns::make(uids, gids)
    }

    fn statfs(&self, path: &[u8]) -> Result<(u64, u64)> {
        let answer = rustix::fs::statfs(path)?;
        // The kernel's word is as wide as the machine's; a magic number has 32 bits.
        #[allow(clippy::unnecessary_cast, reason = "the types differ between machines")]
        Ok((u64::from(answer.f_type as u32), answer.f_flags as u64))
    }

    fn mount_info(&self) -> Result<Vec<u8>> {
        // The thread's, which may be in a mount namespace of its own.
        let fd = self.openat(CWD, b"/proc/thread-self/mountinfo", OFlags::RDONLY, 0)?;
        let mut text = Vec::new();
        File::from(fd)
            .take(MOUNT_INFO_MAX)
            .read_to_end(&mut text)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        Ok(text)
    }

    fn loop_free(&self) -> Result<u32> {
        let control = self.openat(CWD, b"/dev/loop-control", OFlags::RDWR, 0)?;
        ioctl(control.as_fd(), LOOP_CTL_GET_FREE, 0)
    }

    fn loop_open(&self, number: u32, read_only: bool) -> Result<OwnedFd> {
        let access = if read_only { OFlags::RDONLY } else { OFlags::RDWR };
        self.openat(CWD, format!("/dev/loop{number}").as_bytes(), access, 0)
    }

    fn loop_configure(
        &self,
        device: BorrowedFd<'_>,
        file: BorrowedFd<'_>,
        name: &[u8],
        options: LoopOptions,
    ) -> Result<()> {
        let mut flags = read_only_flag(options.read_only);
        if options.direct_io {
            flags |= LO_FLAGS_DIRECT_IO;
        }
        let config = LoopConfig {
            fd: file.as_raw_fd().unsigned_abs(),
            block_size: 0,
            info: LoopInfo::new(name, flags),
            reserved: [0; 8],
        };
        ioctl(device, LOOP_CONFIGURE, (&raw const config) as libc::c_ulong).map(drop)
    }

    fn loop_set_file(&self, device: BorrowedFd<'_>, file: BorrowedFd<'_>) -> Result<()> {
        ioctl(device, LOOP_SET_FD, number(file)).map(drop)
    }

    fn loop_set_status(&self, device: BorrowedFd<'_>, name: &[u8], read_only: bool) -> Result<()> {
        let info = LoopInfo::new(name, read_only_flag(read_only));
        ioctl(device, LOOP_SET_STATUS64, (&raw const info) as libc::c_ulong).map(drop)
    }

    fn loop_set_direct_io(&self, device: BorrowedFd<'_>) -> Result<()> {
        ioctl(device, LOOP_SET_DIRECT_IO, 1).map(drop)
    }

    fn loop_clear(&self, device: BorrowedFd<'_>) -> Result<()> {
        ioctl(device, LOOP_CLR_FD, 0).map(drop)
    }

    fn run(&self, program: &str, arguments: &[OsString]) -> io::Result<Ended> {
        // Not a pipe: a file system's server lives on, and would keep it open.
        let mut output = File::from(memfd_create("output", MemfdFlags::CLOEXEC)?);
        let status = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output.try_clone()?)
            .status()?;
        let length = output.seek(SeekFrom::End(0))?;
        output.seek(SeekFrom::Start(length.saturating_sub(HELPER_OUTPUT_MAX as u64)))?;
        let mut text = Vec::new();
        output.take(HELPER_OUTPUT_MAX as u64).read_to_end(&mut text)?;
        Ok(Ended {
            success: status.success(),
            output: String::from_utf8_lossy(&text).trim_end().to_owned(),
        })
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
}
