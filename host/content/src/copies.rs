//! The copies that a store on a [remote](crate::remote) has in its folder: fetched once for all who ask, let go when there are many.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use transom_oci::{Digest, Hasher};

use crate::inner::is_absent;
use crate::remote::{FromStart, Remote};
use crate::walk::Walk;
use crate::{Error, Info, layout, limits};

/// In the root: which remote has the blobs. Written when it has all of them.
const MARKER: &str = "remote";

/// Before the name of a copy that is being fetched.
const PARTIAL: &str = ".fetch-";

/// The remote, and what of it is here.
#[derive(Debug)]
pub(crate) struct Copies {
    pub(crate) remote: Arc<dyn Remote>,
    root: PathBuf,
    /// Bytes that copies may have together.
    max: u64,
    state: Mutex<State>,
    fetched: Condvar,
}

/// Which copies there are, from the one that nobody has read for longest.
#[derive(Debug, Default)]
struct State {
    by_digest: HashMap<Digest, (u64, u64)>,
    by_use: BTreeMap<u64, Digest>,
    bytes: u64,
    uses: u64,
    /// Those that are on their way here, and whether they were deleted meanwhile.
    fetching: HashMap<Digest, bool>,
}

impl Copies {
    /// Takes stock of the folder. What is in it and not on the remote is brought there first, so that a store that was a folder
    /// can be put on a remote as it is.
    pub(crate) fn open(root: &Path, remote: Arc<dyn Remote>, max: u64) -> Result<Copies, Error> {
        let copies = Copies {
            remote,
            root: root.to_path_buf(),
            max,
            state: Mutex::default(),
            fetched: Condvar::new(),
        };
        copies.remove_partial()?;
        let name = copies.remote.name();
        let there = match remote_of(root)? {
            Some(other) if other != name => {
                return Err(Error::OtherRemote {
                    root: root.to_path_buf(),
                    has: other,
                    wanted: name,
                });
            }
            Some(_) => None,
            None => Some(copies.listed()?),
        };
        let mut found = Vec::new();
        for info in Walk::new(&root.join(layout::BLOBS))? {
            let info = info?;
            if there.as_ref().is_some_and(|there| !there.contains(&info.digest)) {
                copies.upload(&info)?;
            }
            found.push(info);
        }
        if there.is_some() {
            copies.mark(&root.join(MARKER), &name)?;
        }
        found.sort_by_key(|info| info.updated);
        found
            .into_iter()
            .for_each(|info| copies.add(&info.digest, info.size));
        Ok(copies)
    }

    /// What no process has in use: a store on a remote is the only one in its folder.
    fn remove_partial(&self) -> Result<(), Error> {
        let folders = match std::fs::read_dir(self.root.join(layout::BLOBS)) {
            Ok(folders) => folders,
            Err(e) if is_absent(&e) => return Ok(()),
            Err(e) => return Err(Error::io("list", &self.root, e)),
        };
        let remove = |folder: io::Result<std::fs::DirEntry>| -> io::Result<()> {
            let folder = folder?;
            if !folder.file_type()?.is_dir() {
                return Ok(());
            }
            for file in std::fs::read_dir(folder.path())? {
                let file = file?;
                if file.file_name().to_string_lossy().starts_with(PARTIAL) {
                    std::fs::remove_file(file.path())?;
                }
            }
            Ok(())
        };
        for folder in folders {
            remove(folder).map_err(|e| Error::io("remove what was being fetched in", &self.root, e))?;
        }
        Ok(())
    }

    fn listed(&self) -> Result<HashSet<Digest>, Error> {
        let failed = |e| Error::io("list the remote of", &self.root, e);
        let list = self.remote.walk().map_err(failed)?;
        list.map(|info| info.map(|info| info.digest).map_err(failed))
            .collect()
    }

    fn upload(&self, info: &Info) -> Result<(), Error> {
        let path = self.path(&info.digest);
        let put = |file: File| {
            self.remote
                .put(&info.digest, info.size, &mut FromStart::new(&file))
        };
        File::open(&path)
            .and_then(put)
            .map_err(|e| Error::io("bring to the remote", &path, e))
    }

    fn mark(&self, marker: &Path, name: &str) -> Result<(), Error> {
        let write = || -> io::Result<()> {
            layout::make_folder(&self.root)?;
            let mut file = File::create(marker)?;
            file.write_all(name.as_bytes())?;
            file.sync_all()?;
            layout::sync_folder(&self.root)
        };
        write().map_err(|e| Error::io("write", marker, e))
    }

    /// Counts a blob that has its name here, and lets others go for it.
    pub(crate) fn add(&self, digest: &Digest, size: u64) {
        let mut state = self.lock();
        state.forget(digest);
        state.put(digest, size);
        while state.bytes > self.max
            && let Some(oldest) = state.oldest_but(digest)
        {
            state.forget(&oldest);
            let path = self.path(&oldest);
            if let Err(error) = std::fs::remove_file(&path)
                && !is_absent(&error)
            {
                tracing::warn!(path = %path.display(), %error, "could not let a copy go");
            }
        }
    }

    /// Notes that a blob was read.
    pub(crate) fn used(&self, digest: &Digest) {
        let mut state = self.lock();
        if let Some(size) = state.forget(digest) {
            state.put(digest, size);
        }
    }

    /// Notes that a blob goes, before it does: a copy that is being fetched must not get its name any more.
    pub(crate) fn going(&self, digest: &Digest) {
        let mut state = self.lock();
        state.forget(digest);
        if let Some(deleted) = state.fetching.get_mut(digest) {
            *deleted = true;
        }
    }

    /// Makes a copy of a blob, or waits for somebody who does. Then it is in the folder, if nobody has let it go since.
    pub(crate) fn fetch(&self, digest: &Digest) -> Result<(), Error> {
        let mut state = self.lock();
        if state.fetching.contains_key(digest) {
            while state.fetching.contains_key(digest) {
                state = self.fetched.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            return Ok(());
        }
        state.fetching.insert(digest.clone(), false);
        drop(state);
        let _fetching = Fetching { copies: self, digest };
        let size = self.fetch_alone(digest)?;
        self.add(digest, size);
        Ok(())
    }

    fn fetch_alone(&self, digest: &Digest) -> Result<u64, Error> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let path = self.path(digest);
        let failed = |e: io::Error| match e.kind() {
            io::ErrorKind::NotFound => Error::NotFound {
                digest: digest.clone(),
            },
            _ => Error::io("fetch", &path, e),
        };
        let info = self.remote.info(digest).map_err(failed)?;
        let info = info.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let folder = path.parent().unwrap_or(&self.root);
        layout::make_folder(folder).map_err(failed)?;
        let name = format!(
            "{PARTIAL}{}-{}",
            digest.hex(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let partial = Partial(folder.join(name));
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .open(&partial.0)
            .map_err(failed)?;
        let mut content = self.remote.read(digest).map_err(failed)?;
        let (actual, size) = copy(&mut content, &mut file, digest).map_err(failed)?;
        if actual != *digest {
            return Err(Error::Corrupt {
                digest: digest.clone(),
                actual,
                size,
            });
        }
        let times = std::fs::FileTimes::new()
            .set_modified(info.created)
            .set_accessed(SystemTime::now());
        let finish = || -> io::Result<()> {
            file.set_times(times)?;
            file.set_permissions(Permissions::from_mode(0o444))?;
            // A copy that a power cut has emptied would count as missing, one that it has holed would not.
            file.sync_data()?;
            let state = self.lock();
            match state.fetching.get(digest) {
                Some(false) => std::fs::rename(&partial.0, &path),
                _ => Err(io::ErrorKind::NotFound.into()),
            }
        };
        finish().map_err(failed)?;
        Ok(size)
    }

    /// Puts a blob aside: the bytes that are here, or else those of the remote. Then neither has it.
    pub(crate) fn set_aside(&self, digest: &Digest, to: &Path) -> Result<(), Error> {
        let path = self.path(digest);
        let missing = || Error::NotFound {
            digest: digest.clone(),
        };
        let failed = |e| Error::io("set aside blob", &path, e);
        self.going(digest);
        match std::fs::rename(&path, to) {
            Err(e) if is_absent(&e) => {
                let mut content = match self.remote.read(digest) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(missing()),
                    content => content.map_err(failed)?,
                };
                let mut file = File::create(to).map_err(failed)?;
                copy(&mut content, &mut file, digest).map_err(failed)?;
            }
            other => other.map_err(failed)?,
        }
        self.remote.delete(digest).map_err(failed)?;
        Ok(())
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let folder = self.root.join(layout::BLOBS);
        folder.join(digest.algorithm().as_str()).join(digest.hex())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes a copy out; gives its size.
    fn forget(&mut self, digest: &Digest) -> Option<u64> {
        let (at, size) = self.by_digest.remove(digest)?;
        self.by_use.remove(&at);
        self.bytes -= size;
        Some(size)
    }

    /// Puts a copy in, as the one that was read last.
    fn put(&mut self, digest: &Digest, size: u64) {
        self.uses += 1;
        self.by_digest.insert(digest.clone(), (self.uses, size));
        self.by_use.insert(self.uses, digest.clone());
        self.bytes += size;
    }

    fn oldest_but(&self, digest: &Digest) -> Option<Digest> {
        self.by_use.values().find(|oldest| *oldest != digest).cloned()
    }
}

/// A copy that is being fetched; others may go on when this is dropped.
struct Fetching<'c> {
    copies: &'c Copies,
    digest: &'c Digest,
}

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        self.copies.lock().fetching.remove(self.digest);
        self.copies.fetched.notify_all();
    }
}

/// A file that is not yet a copy; removed if it never becomes one.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

/// The remote that keeps the blobs of a folder, by its name; `None` if they are in the folder.
pub(crate) fn remote_of(root: &Path) -> Result<Option<String>, Error> {
    let marker = root.join(MARKER);
    match std::fs::read_to_string(&marker) {
        Ok(name) => Ok(Some(name)),
        Err(e) if is_absent(&e) => Ok(None),
        Err(e) => Err(Error::io("read", &marker, e)),
    }
}

/// Copies, and gives digest and length.
fn copy(from: &mut dyn Read, to: &mut File, digest: &Digest) -> io::Result<(Digest, u64)> {
    let mut hasher = Hasher::new(digest.algorithm());
    let (mut buffer, mut size) = (vec![0; limits::REHASH_CHUNK], 0);
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok((hasher.finish(), size));
        }
        hasher.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
        size += read as u64;
    }
}
