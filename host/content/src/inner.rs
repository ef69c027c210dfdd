//! What all parts of a store share: where things are, and what is there.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use transom_oci::{Algorithm, Digest};

use crate::copies::Copies;
use crate::flush::Flush;
use crate::folder::remove_tree;
use crate::lock::Locks;
use crate::steps::Steps;
use crate::{Error, Info, Step, layout};

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) root: PathBuf,
    pub(crate) locks: Arc<Locks>,
    pub(crate) steps: Steps,
    /// Whether no other store writes to the folder.
    pub(crate) alone: bool,
    /// Where the blobs are, if the folder has copies only.
    pub(crate) copies: Option<Copies>,
    /// The folders that this store has brought to the disk.
    pub(crate) durable: Mutex<Vec<PathBuf>>,
    /// The syncs of the folders of blobs, in the order of [`Algorithm::ALL`].
    pub(crate) flushes: [Flush; Algorithm::ALL.len()],
}

impl Inner {
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.algorithm_path(digest.algorithm()).join(digest.hex())
    }

    pub(crate) fn algorithm_path(&self, algorithm: Algorithm) -> PathBuf {
        self.root.join(layout::BLOBS).join(algorithm.as_str())
    }

    pub(crate) fn ingests_path(&self) -> PathBuf {
        self.root.join(layout::INGEST)
    }

    pub(crate) fn ingest_path(&self, reference: &str) -> PathBuf {
        self.ingests_path().join(layout::ingest_name(reference))
    }

    /// The blob's metadata, if it is there as a file.
    pub(crate) fn find(&self, digest: &Digest) -> Result<Option<Metadata>, Error> {
        let path = self.blob_path(digest);
        match std::fs::metadata(&path) {
            Ok(found) => Ok(Some(found).filter(Metadata::is_file)),
            Err(e) if is_absent(&e) => Ok(None),
            Err(e) => Err(Error::io("look for blob", &path, e)),
        }
    }

    /// Whether the blob is there and may be whole. One that a power cut emptied, or that does not have the `size` it should,
    /// counts as missing, so that it gets replaced.
    pub(crate) fn has(&self, digest: &Digest, size: Option<u64>) -> Result<bool, Error> {
        let Some(found) = self.info(digest)? else {
            return Ok(false);
        };
        let emptied = found.size == 0 && *digest != Digest::of(digest.algorithm(), b"");
        Ok(!emptied && size.is_none_or(|size| size == found.size))
    }

    /// Size and times of a blob, if it is here or on the remote.
    pub(crate) fn info(&self, digest: &Digest) -> Result<Option<Info>, Error> {
        if let Some(found) = self.find(digest)? {
            return Ok(Some(info_of(digest.clone(), &found)));
        }
        let Some(copies) = &self.copies else {
            return Ok(None);
        };
        let found = copies.remote.info(digest);
        found.map_err(|e| Error::io("look on the remote for", &self.blob_path(digest), e))
    }

    /// Has the remote keep a blob, if there is one; before it gets its name here.
    pub(crate) fn keep(&self, digest: &Digest, size: u64, content: &mut dyn io::Read) -> Result<(), Error> {
        let Some(copies) = &self.copies else {
            return Ok(());
        };
        let put = copies.remote.put(digest, size, content);
        put.map_err(|e| Error::io("bring to the remote", &self.blob_path(digest), e))
    }

    /// Counts a blob among the copies, if they are that.
    pub(crate) fn kept(&self, digest: &Digest, size: u64) {
        if let Some(copies) = &self.copies {
            copies.add(digest, size);
        }
    }

    /// Makes a folder below the root, so that a power cut does not take it away. Done once per store and folder even if it
    /// is there: whoever made it may not have brought it to the disk yet.
    pub(crate) fn durable_folder(&self, path: &Path) -> Result<(), Error> {
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        let known = durable.iter().any(|known| known == path);
        if known && path.is_dir() {
            return Ok(());
        }
        layout::make_folder(path).map_err(|e| Error::io("make folder", path, e))?;
        let last = self.root.parent();
        for folder in path.ancestors().skip(1) {
            let named = if folder.as_os_str().is_empty() {
                Path::new(".")
            } else {
                folder
            };
            match layout::sync_folder(named) {
                // The root's parent need not be readable to us.
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {}
                other => other.map_err(|e| Error::io("sync folder", named, e))?,
            }
            if Some(folder) == last {
                break;
            }
        }
        if !known {
            durable.push(path.to_path_buf());
        }
        Ok(())
    }

    /// Brings the names of the blobs of an algorithm to the disk, in one sync for all who ask at the same time.
    pub(crate) fn sync_blobs(&self, algorithm: Algorithm) -> Result<(), Error> {
        let path = self.algorithm_path(algorithm);
        self.flushes[algorithm as usize]
            .wait(&path, layout::sync_folder)
            .map_err(|e| Error::io("sync folder", &path, e))
    }

    /// Takes an ingest folder out of everybody's sight in one step, then removes it. Its lock is not needed: a writer goes
    /// on through its handle, and finds its files gone.
    pub(crate) fn set_aside(&self, reference: &str) -> Result<(), Error> {
        let path = self.ingest_path(reference);
        if self.remove_folder(&path)? {
            Ok(())
        } else {
            Err(Error::RefNotFound {
                reference: reference.to_owned(),
            })
        }
    }

    /// As [`set_aside`](Inner::set_aside), by path; `false` if there is nothing.
    pub(crate) fn remove_folder(&self, path: &Path) -> Result<bool, Error> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let aside = path.with_file_name(layout::aside_name(&name));
        match std::fs::rename(path, &aside) {
            Err(e) if is_absent(&e) => return Ok(false),
            other => other.map_err(|e| Error::io("set aside ingest", path, e))?,
        }
        self.steps.reached(Step::SetAside);
        remove_tree(&aside).map_err(|e| Error::io("remove ingest", &aside, e))?;
        Ok(true)
    }
}

pub(crate) fn info_of(digest: Digest, found: &Metadata) -> Info {
    let created = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    let updated = found.accessed().unwrap_or(created);
    Info {
        digest,
        size: found.len(),
        created,
        updated,
    }
}

/// Whether the path leads nowhere: nothing there, or a file where a folder should be.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Removes the write and execute permissions, as containerd does: 0644 becomes 0444.
pub(crate) fn seal(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.metadata()?.mode() & 0o7777 & !0o333;
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}
