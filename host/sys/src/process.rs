//! Child processes: a descriptor handed over by number, and a signal that cannot hit a stranger.

#![allow(
    unsafe_code,
    reason = "a descriptor can be placed in a child only between fork and exec"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// The descriptor on which containerd's stream processors find their payload.
const PAYLOAD_FD: i32 = 3;

/// Lets the child of `command` read `payload` as descriptor 3.
pub fn pass_payload(command: &mut Command, payload: OwnedFd) {
    let install = move || {
        if payload.as_raw_fd() == PAYLOAD_FD {
            return Ok(rustix::io::fcntl_setfd(&payload, rustix::io::FdFlags::empty())?);
        }
        // SAFETY: between fork and exec nothing else uses descriptor 3, and it is released unclosed below.
        let mut target = unsafe { OwnedFd::from_raw_fd(PAYLOAD_FD) };
        let duplicated = rustix::io::dup2(payload.as_fd(), &mut target);
        std::mem::forget(target);
        Ok(duplicated?)
    };
    // SAFETY: the closure makes only async-signal-safe system calls and allocates nothing.
    unsafe {
        command.pre_exec(install);
    }
}

/// A running child, addressed by a process descriptor: once it has been waited for, a signal goes nowhere rather than
/// to whoever got its number.
#[derive(Debug)]
pub struct ProcessHandle {
    descriptor: OwnedFd,
}

impl ProcessHandle {
    /// The handle of a child that has not been waited for yet. Needs Linux 5.3.
    pub fn of(child: &Child) -> io::Result<ProcessHandle> {
        let pid = i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or(io::ErrorKind::NotFound)?;
        Ok(ProcessHandle {
            descriptor: pidfd_open(pid, PidfdFlags::empty())?,
        })
    }

    /// Kills it. That it has already ended is no error.
    pub fn kill(&self) -> io::Result<()> {
        match pidfd_send_signal(&self.descriptor, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::Stdio;

    #[test]
    fn the_payload_is_read_on_descriptor_three() {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"key").unwrap();
        drop(writer);
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "cat <&3"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        pass_payload(&mut command, reader.into());
        assert_eq!(command.output().unwrap().stdout, b"key");
    }

    #[test]
    fn killing_twice_is_harmless() {
        let mut child = Command::new("/bin/sleep").arg("100").spawn().unwrap();
        let handle = ProcessHandle::of(&child).unwrap();
        handle.kill().unwrap();
        assert!(!child.wait().unwrap().success());
        handle.kill().unwrap();
    }
}
