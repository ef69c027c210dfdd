//! A umask of the calling thread's own, so that files get the mode they are created with.

use std::marker::PhantomData;

use nix::sched::{CloneFlags, unshare};
use rustix::fs::Mode;
use rustix::io::Errno;

/// While it lives, the calling thread creates files with exactly the mode it asks for; the rest of the process keeps
/// its umask.
///
/// The thread stops sharing its umask and working folder with the process (`unshare(CLONE_FS)`) and does not share them
/// again later; dropping this restores the umask only. A thread that relies on another thread's `chdir` must not use it.
#[derive(Debug)]
pub struct PrivateUmask {
    before: Mode,
    /// The umask is the thread's: the guard must not leave it.
    thread: PhantomData<*const ()>,
}

impl PrivateUmask {
    /// Clears the calling thread's umask.
    ///
    /// # Errors
    /// `EPERM` or `ENOSYS` where a sandbox forbids `unshare(2)`; nothing has changed then, and modes must be set after
    /// creation.
    pub fn clear() -> Result<Self, Errno> {
        unshare(CloneFlags::CLONE_FS).map_err(|error| Errno::from_raw_os_error(error as i32))?;
        Ok(Self {
            before: rustix::process::umask(Mode::empty()),
            thread: PhantomData,
        })
    }
}

impl Drop for PrivateUmask {
    fn drop(&mut self) {
        rustix::process::umask(self.before);
    }
}
