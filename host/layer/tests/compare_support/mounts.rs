//! Overlays in a mount namespace of the calling thread's own.

use std::path::{Path, PathBuf};
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

/// Runs `work` on a thread whose mounts nobody else sees, and which go with it. `None` where that is not allowed.
pub(crate) fn privately<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    // A skip names the test by its thread.
    let name = thread::current().name().unwrap_or_default().to_owned();
    thread::scope(|scope| {
        let builder = thread::Builder::new().name(name);
        let running = builder.spawn_scoped(scope, || {
            if let Err(errno) = unshare(CloneFlags::CLONE_NEWNS) {
                transom_tests::skip(&format!("needs a mount namespace: {errno}"));
                return None;
            }
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
            Some(work())
        });
        running
            .unwrap()
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A mounted overlay, unmounted when this is dropped.
pub(crate) struct Overlay(PathBuf);

impl Overlay {
    /// Lower folders nearest first; with an upper folder and a work folder it can be written to.
    pub(crate) fn mount(
        at: &Path,
        lowers: &[PathBuf],
        upper: Option<(&Path, &Path)>,
        options: &str,
    ) -> Overlay {
        let lowers: Vec<&str> = lowers.iter().map(|lower| lower.to_str().unwrap()).collect();
        let mut data = format!("lowerdir={}", lowers.join(":"));
        if let Some((upper, work)) = upper {
            data.push_str(&format!(
                ",upperdir={},workdir={}",
                upper.display(),
                work.display()
            ));
        }
        if !options.is_empty() {
            data.push(',');
            data.push_str(options);
        }
        mount(
            Some("overlay"),
            at,
            Some("overlay"),
            MsFlags::empty(),
            Some(data.as_str()),
        )
        .unwrap_or_else(|errno| panic!("mount {data}: {errno}"));
        Overlay(at.to_path_buf())
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        // Handles may still be open elsewhere; the mount goes with the last of them.
        umount2(&self.0, MntFlags::MNT_DETACH).unwrap();
    }
}
