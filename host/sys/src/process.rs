//! Child processes: a descriptor handed over by number, and a signal that cannot hit a stranger.
#![allow(
    unsafe_code,
    reason = "a descriptor can be placed in a child only between fork and exec"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

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

/// A child and all that it starts: a process group, which ends as a whole. Without that a shell's own children would
/// live on and keep its pipes open.
#[derive(Debug)]
pub struct ProcessGroup {
    leader: Pid,
    /// Whether the leader was waited for, so that its number may be someone else's.
    gone: Mutex<bool>,
}

impl ProcessGroup {
    /// Starts `command` as the leader of a new group. A Ctrl-C at the terminal no longer reaches it by itself.
    pub fn spawn(command: &mut Command) -> io::Result<(Child, ProcessGroup)> {
        let child = command.process_group(0).spawn()?;
        let leader = i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or(io::ErrorKind::NotFound)?;
        Ok((
            child,
            ProcessGroup {
                leader,
                gone: Mutex::new(false),
            },
        ))
    }

    /// Kills the whole group. That it has ended already is no error.
    pub fn kill(&self) -> io::Result<()> {
        let gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        if *gone {
            return Ok(());
        }
        match kill_process_group(self.leader, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for the leader, the `child` it was spawned with.
    pub fn wait(&self, child: &mut Child) -> io::Result<ExitStatus> {
        // The number stays the leader's until it is reaped, and reaping excludes kill().
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(self.leader), options) {}
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        *gone = true;
        child.wait()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
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
    fn killing_reaches_the_childs_children_and_twice_is_harmless() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "sleep 1000 & wait"]).stdout(Stdio::piped());
        let (mut child, group) = ProcessGroup::spawn(&mut command).unwrap();
        group.kill().unwrap();
        assert!(!group.wait(&mut child).unwrap().success());
        let mut output = Vec::new();
        child.stdout.take().unwrap().read_to_end(&mut output).unwrap();
        group.kill().unwrap();
    }
}
