//! A file system of its own for what is unpacked: a journalled ext4 in a sparse file. On a shared root file system,
//! whatever was deleted before slows down what is created next.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::run::{Error, Result, file_error, run_quietly};

/// Bytes that the file system may grow to; it takes what is used.
const SIZE: u64 = 40 << 30;

/// How long making it may take.
const MAKE_MAX: Duration = Duration::from_secs(120);

/// The mounted file system; unmounted when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    disk: PathBuf,
    root: PathBuf,
    next: AtomicU32,
}

impl Place {
    pub(crate) fn mount(folder: &Path) -> Result<Place> {
        if !rustix::process::geteuid().is_root() {
            return Err(Error::Other(
                "the benchmark mounts file systems and starts containerd: run it as root".into(),
            ));
        }
        let place = Place {
            disk: folder.join("disk"),
            root: folder.join("mnt"),
            next: AtomicU32::new(0),
        };
        fs::create_dir_all(&place.root).map_err(file_error(&place.root))?;
        place.renew()?;
        Ok(place)
    }

    /// Starts over with an empty file system: deleting what is there would cost the next runs more than this.
    pub(crate) fn renew(&self) -> Result<()> {
        self.clear();
        File::create(&self.disk)
            .and_then(|file| file.set_len(SIZE))
            .map_err(file_error(&self.disk))?;
        run_quietly(
            Command::new("mkfs.ext4")
                .args(["-q", "-E", "lazy_itable_init=0"])
                .arg(&self.disk),
            MAKE_MAX,
        )
        .map_err(Error::Other)?;
        run_quietly(
            Command::new("mount")
                .args(["-o", "loop"])
                .arg(&self.disk)
                .arg(&self.root),
            MAKE_MAX,
        )
        .map_err(Error::Other)?;
        self.past_the_cache();
        Ok(())
    }

    /// Lets the loop device write to the disk itself: through the cache of the file system below, a flush waits three times as
    /// long as on a disk. Where that cannot be done it stays as it is, for all who are measured.
    fn past_the_cache(&self) {
        let device = Command::new("findmnt")
            .args(["-no", "SOURCE"])
            .arg(&self.root)
            .output();
        if let Ok(device) = device {
            let device = String::from_utf8_lossy(&device.stdout).trim().to_owned();
            let mut set = Command::new("losetup");
            set.arg("--direct-io=on").arg(&device);
            if run_quietly(&mut set, MAKE_MAX).is_err() {
                println!("note: {device} goes through the cache of the file system that it lies on");
            }
        }
    }

    /// Also what a benchmark that was killed has left.
    fn clear(&self) {
        drop(
            Command::new("umount")
                .arg("-l")
                .arg(&self.root)
                .stderr(Stdio::null())
                .status(),
        );
        drop(fs::remove_file(&self.disk));
    }

    /// A path on it that nothing has used; everything written before is on the disk.
    pub(crate) fn fresh(&self, name: &str) -> Result<PathBuf> {
        rustix::fs::sync();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Ok(self.root.join(format!("{name}-{number}")))
    }

    /// The same as an empty folder.
    pub(crate) fn fresh_folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.fresh(name)?;
        fs::create_dir(&path).map_err(file_error(&path))?;
        Ok(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clear();
    }
}
