//! Loop devices: a file mounted as if it were a disk.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;

use super::calls::{LoopOptions, MountSys};
use super::error::MountError;
use super::limits::{LOOP_PAUSE, LOOP_TRIES};

/// A loop device with a file in it. It goes when this is dropped and nothing is mounted from it (autoclear).
#[derive(Debug)]
pub(super) struct LoopDevice {
    /// Its path.
    pub(super) path: String,
    _open: OwnedFd,
}

/// A step that failed, and how.
type Failed = (&'static str, Errno);

/// Puts `file` into a free loop device.
pub(super) fn attach<S: MountSys>(
    sys: &S,
    file: &str,
    options: LoopOptions,
) -> Result<LoopDevice, MountError> {
    let failed = |(step, errno)| MountError::Loop {
        file: file.to_owned(),
        step,
        errno,
    };
    let access = if options.read_only {
        OFlags::RDONLY
    } else {
        OFlags::RDWR
    };
    let backing = sys
        .openat(CWD, file.as_bytes(), access, 0)
        .map_err(|errno| failed(("opening it", errno)))?;
    for attempt in 1..=LOOP_TRIES {
        match attempt_one(sys, backing.as_fd(), file, options) {
            // Between the question for a free device and taking it, somebody else took it.
            Err((_, Errno::BUSY)) => sys.pause(jitter(LOOP_PAUSE * attempt)),
            answer => return answer.map_err(failed),
        }
    }
    Err(failed(("taking a free device", Errno::BUSY)))
}

fn attempt_one<S: MountSys>(
    sys: &S,
    file: BorrowedFd<'_>,
    name: &str,
    options: LoopOptions,
) -> Result<LoopDevice, Failed> {
    let number = sys
        .loop_free()
        .map_err(|errno| ("finding a free device", errno))?;
    let device = sys
        .loop_open(number, options.read_only)
        .map_err(|errno| ("opening the device", errno))?;
    match sys.loop_configure(device.as_fd(), file, name.as_bytes(), options) {
        Ok(()) => {}
        // Linux before 5.8 does not know the call.
        Err(Errno::INVAL | Errno::NOTTY | Errno::NOSYS) => {
            configure_in_steps(sys, device.as_fd(), file, name, options)?;
        }
        Err(errno) => return Err(("LOOP_CONFIGURE", errno)),
    }
    Ok(LoopDevice {
        path: format!("/dev/loop{number}"),
        _open: device,
    })
}

fn configure_in_steps<S: MountSys>(
    sys: &S,
    device: BorrowedFd<'_>,
    file: BorrowedFd<'_>,
    name: &str,
    options: LoopOptions,
) -> Result<(), Failed> {
    sys.loop_set_file(device, file)
        .map_err(|errno| ("LOOP_SET_FD", errno))?;
    let mut result = sys
        .loop_set_status(device, name.as_bytes(), options.read_only)
        .map_err(|errno| ("LOOP_SET_STATUS64", errno));
    if result.is_ok() && options.direct_io {
        result = sys
            .loop_set_direct_io(device)
            .map_err(|errno| ("LOOP_SET_DIRECT_IO", errno));
    }
    if result.is_err() {
        // Without autoclear the file would stay in it. That this fails too changes nothing.
        let _ = sys.loop_clear(device);
    }
    result
}

/// Some part of `most`, so that two that lost a race do not meet again.
fn jitter(most: Duration) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let part = now.map_or(0, |now| now.subsec_nanos() % 1000);
    most * part / 1000
}
