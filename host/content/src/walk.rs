//! All blobs, one by one.

use std::fs::ReadDir;
use std::path::{Path, PathBuf};

use transom_oci::{Algorithm, Digest};

use crate::inner::{info_of, is_absent};
use crate::remote::Listed;
use crate::{Error, Info, Remote};

/// The blobs of a store; see [`Store::walk`](crate::Store::walk). Holds one folder open, and no list.
///
/// Folders of unknown algorithms, files whose name is no digest, and what is not a file are passed over. A blob that
/// comes or goes meanwhile may be given or not.
#[derive(Debug)]
pub struct Walk(Source);

#[derive(Debug)]
enum Source {
    Folder(Folders),
    Remote(OfRemote),
}

/// The list of a remote.
struct OfRemote {
    list: Listed,
    root: PathBuf,
}

/// The folders of the algorithms.
#[derive(Debug)]
struct Folders {
    blobs: PathBuf,
    left: std::slice::Iter<'static, Algorithm>,
    open: Option<(Algorithm, PathBuf, ReadDir)>,
}

impl Walk {
    pub(crate) fn new(blobs: &Path) -> Result<Walk, Error> {
        Folders::new(blobs).map(Source::Folder).map(Walk)
    }

    pub(crate) fn of_remote(remote: &dyn Remote, root: &Path) -> Result<Walk, Error> {
        let list = remote
            .walk()
            .map_err(|e| Error::io("list the remote of", root, e))?;
        let root = root.to_path_buf();
        Ok(Walk(Source::Remote(OfRemote { list, root })))
    }
}

impl Iterator for Walk {
    type Item = Result<Info, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Source::Folder(folders) => folders.next(),
            Source::Remote(of) => {
                let info = of.list.next()?;
                Some(info.map_err(|e| Error::io("list the remote of", &of.root, e)))
            }
        }
    }
}

impl std::fmt::Debug for OfRemote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OfRemote")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

impl Folders {
    fn new(blobs: &Path) -> Result<Folders, Error> {
        let mut walk = Folders {
            blobs: blobs.to_path_buf(),
            left: Algorithm::ALL.iter(),
            open: None,
        };
        walk.next_folder()?;
        Ok(walk)
    }

    /// Opens the next algorithm's folder that is there.
    fn next_folder(&mut self) -> Result<(), Error> {
        self.open = None;
        for &algorithm in self.left.by_ref() {
            let path = self.blobs.join(algorithm.as_str());
            match std::fs::read_dir(&path) {
                Ok(entries) => {
                    self.open = Some((algorithm, path, entries));
                    break;
                }
                Err(e) if is_absent(&e) => {}
                Err(e) => return Err(Error::io("list", &path, e)),
            }
        }
        Ok(())
    }
}

impl Iterator for Folders {
    type Item = Result<Info, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (algorithm, path, entries) = self.open.as_mut()?;
            let Some(entry) = entries.next() else {
                if let Err(e) = self.next_folder() {
                    return Some(Err(e));
                }
                continue;
            };
            match entry.and_then(|entry| info(*algorithm, &entry)) {
                Ok(Some(info)) => return Some(Ok(info)),
                Ok(None) => {}
                Err(e) => return Some(Err(Error::io("list", path, e))),
            }
        }
    }
}

/// `None` for a foreign file, and for one that has gone.
fn info(algorithm: Algorithm, entry: &std::fs::DirEntry) -> std::io::Result<Option<Info>> {
    let name = entry.file_name();
    let digest = name
        .to_str()
        .and_then(|hex| format!("{algorithm}:{hex}").parse::<Digest>().ok());
    let Some(digest) = digest else {
        tracing::debug!(path = %entry.path().display(), "a file among the blobs whose name is no digest");
        return Ok(None);
    };
    match std::fs::metadata(entry.path()) {
        Ok(found) if found.is_file() => Ok(Some(info_of(digest, &found))),
        Ok(_) => Ok(None),
        Err(e) if is_absent(&e) => Ok(None),
        Err(e) => Err(e),
    }
}
