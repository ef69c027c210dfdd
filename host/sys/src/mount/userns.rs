//! A user namespace for its maps alone, made with the help of a child.
#![allow(
    unsafe_code,
    reason = "a process with many threads gets a new user namespace only through a child that runs no program"
)]

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::fd::OwnedFd;

use nix::libc;
use rustix::io::Errno;

use super::linux::last_error;
use crate::calls::Result;

/// How long a child lives that nobody kills. It is needed for some milliseconds.
const LIFE_SECONDS: libc::time_t = 60;

/// A child that waits to be killed. It shares the table of descriptors, so that it keeps nothing open; and it sends no
/// signal when it ends, so that nobody else waits for it and its number stays its own until we do.
struct Child {
    number: libc::pid_t,
}

/// Makes a user namespace with these maps.
pub(super) fn make(uids: &str, gids: &str) -> Result<OwnedFd> {
    let child = Child::start()?;
    child.write("uid_map", uids)?;
    child.write("gid_map", gids)?;
    let namespace = File::open(child.path("ns/user")).map_err(|error| errno(&error))?;
    Ok(namespace.into())
}

impl Child {
    fn start() -> Result<Self> {
        let flags = libc::CLONE_NEWUSER | libc::CLONE_FILES;
        // SAFETY: without CLONE_VM the child has memory of its own, and continues on a copy of this stack. Locks that
        // other threads held stay locked in it, so it does nothing but system calls that take none: it asks to be killed
        // when this thread ends, and waits.
        let number = unsafe { libc::syscall(libc::SYS_clone, flags as libc::c_ulong, 0, 0, 0, 0) };
        match libc::pid_t::try_from(number) {
            Ok(0) => wait_for_death(),
            Ok(number) if number > 0 => Ok(Child { number }),
            _ => Err(last_error()),
        }
    }

    fn path(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.number)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        OpenOptions::new()
            .write(true)
            .open(self.path(name))
            // The kernel takes a map in one write.
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|error| errno(&error))
    }
}

/// What the child does: nothing, for far longer than it is needed. It is killed before, also if this thread ends; should
/// the thread end before the child could ask for that, the time still runs out.
fn wait_for_death() -> ! {
    let time = libc::timespec {
        tv_sec: LIFE_SECONDS,
        tv_nsec: 0,
    };
    // SAFETY: system calls with numbers, and a pointer to a time that is there until the end.
    unsafe {
        libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
        libc::syscall(libc::SYS_ppoll, 0, 0, &raw const time, 0, 0);
        loop {
            libc::syscall(libc::SYS_exit_group, 1);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: the number is that of our child until we wait for it, which happens here.
        unsafe {
            libc::kill(self.number, libc::SIGKILL);
            // `__WALL`, for a child that sends no signal.
            while libc::waitpid(self.number, std::ptr::null_mut(), libc::__WALL) < 0
                && last_error() == Errno::INTR
            {}
        }
    }
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
