//! A file system of its own for what is unpacked: a journalled ext4 in a sparse file. On a shared root file system,
//! whatever was deleted before slows down what is created next.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::run::{Error, Result, file_error, run};

/// Bytes that the file system may grow to; it takes what is used.
const SIZE: u64 = 40 << 30;

/// The mounted file system; unmounted when dropped.
#[derive(Debug)]
pub(crate) struct Place {
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
        fs::create_dir_all(folder).map_err(file_error(folder))?;
        let (image, root) = (folder.join("disk"), folder.join("mnt"));
        fs::create_dir_all(&root).map_err(file_error(&root))?;
        // A bench that was killed leaves its mount.
        drop(
            Command::new("umount")
                .arg("-l")
                .arg(&root)
                .stderr(Stdio::null())
                .status(),
        );
        drop(fs::remove_file(&image));
        File::create(&image)
            .and_then(|file| file.set_len(SIZE))
            .map_err(file_error(&image))?;
        run(Command::new("mkfs.ext4")
            .args(["-q", "-E", "lazy_itable_init=0"])
            .arg(&image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&root))?;
        Ok(Place {
            root,
            next: AtomicU32::new(0),
        })
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
        drop(Command::new("umount").arg("-l").arg(&self.root).status());
        drop(fs::remove_file(self.root.with_file_name("disk")));
    }
}
