//! The driver that keeps content as files below a folder, as docker-registry does.
//!
//! `root` finds and makes what is below the folder, `content` does the calls, `stamp` tells whether a folder has changed,
//! `upload` is the writer, `flush` brings it all to the disk, `journal` what is small before that, [`Options`] say how, [`Step`] names the points where the crash tests
//! kill. Committed content is a file at its path, so docker-registry's folders open as they are and the other way round. Two kinds
//! of files are this driver's own, and no path leads to them: `NAME~upload` is content that is not committed, and `~transom` in the
//! root holds temporary files, what is being deleted, and journals.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustix::io::Errno;
use tokio::sync::Semaphore;
use tokio::task::JoinError;

use crate::driver::{
    Capabilities, Condition, Pending, Put, Redirect, Stamp, StorageDriver, WriteMode, Writer,
};
use crate::walk::{Folders, Listing, TreeWalk, Walk};
use crate::{Entry, Error, Reader, StoragePath};

mod content;
mod flush;
mod journal;
mod options;
mod root;
mod stamp;
mod steps;
mod upload;

pub use options::{FlushBy, Options};
pub use steps::{Observer, Step};

use content::Staged;
use flush::Ticket;
use root::Root;
use steps::Steps;
use upload::FileWriter;

pub(crate) const NAME: &str = "filesystem";

/// The folder of temporary files, in the root.
const TEMPORARY: &str = "~transom";

/// Temporary files of an age that no put takes are what a crash left.
const LEFT: Duration = Duration::from_secs(3600);

/// Content as files. A clone is another handle of the same folder.
#[derive(Clone, Debug)]
pub struct Filesystem {
    root: Arc<Root>,
    threads: Arc<Semaphore>,
}

impl Filesystem {
    /// Opens the folder `root`, which is made if need be, and removes what a crash left. At most `threads` calls work at
    /// a time.
    ///
    /// # Errors
    /// What the system says of the folder.
    pub fn open(root: impl AsRef<Path>, threads: usize) -> std::io::Result<Filesystem> {
        let options = Options {
            threads,
            ..Options::default()
        };
        Filesystem::open_with(root, options)
    }

    /// The same, with all that can be chosen.
    ///
    /// # Errors
    /// Those of [`open`](Filesystem::open).
    pub fn open_with(root: impl AsRef<Path>, options: Options) -> std::io::Result<Filesystem> {
        let path = root.as_ref();
        let mut root = Root::open(path, options.flush, Steps(options.observer))?;
        root.join(options.journal)?;
        if let Err(error) = content::sweep(&root, LEFT) {
            // A folder that can only be read is of use too.
            tracing::warn!(path = %path.display(), %error, "cannot sweep temporary files");
        }
        Ok(Filesystem {
            root: Arc::new(root),
            threads: Arc::new(Semaphore::new(options.threads.clamp(1, Semaphore::MAX_PERMITS))),
        })
    }

    /// Does a job on a thread that may wait for the disk.
    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Root) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        // It is never closed; without a permit the job is done all the same.
        let permit = Arc::clone(&self.threads).acquire_owned().await.ok();
        let root = Arc::clone(&self.root);
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            job(&root)
        });
        ended(task.await)
    }

    /// Does a job that changes something, and returns when that is on the disk.
    async fn change(
        &self,
        job: impl FnOnce(&Root) -> Result<Vec<Ticket>, Error> + Send + 'static,
    ) -> Result<(), Error> {
        let tickets = self.run(job).await?;
        flush::flush(Arc::clone(&self.root), tickets).await
    }

    /// Sets contents by the journal, if it can; gives back what is to be done without.
    async fn journaled(
        &self,
        puts: Vec<Put>,
        job: impl FnOnce(&Root, &[Put]) -> Result<bool, Error> + Send + 'static,
    ) -> Result<Option<Vec<Put>>, Error> {
        if !self
            .root
            .journal
            .as_ref()
            .is_some_and(|journal| journal.takes(&puts))
        {
            return Ok(Some(puts));
        }
        let left = self
            .run(move |root| Ok((!job(root, &puts)?).then_some(puts)))
            .await?;
        if left.is_none() {
            flush::others(&self.root).await?;
        }
        Ok(left)
    }

    /// Sets contents without the journal.
    async fn put_files(&self, puts: Vec<Put>, condition: Condition) -> Result<(), Error> {
        let staged = self.stage(puts).await?;
        flush::written(&self.root).await?;
        self.change(move |root| content::place_all(root, staged, condition))
            .await
    }

    /// Writes contents to temporary files.
    async fn stage(&self, puts: Vec<Put>) -> Result<Vec<Staged>, Error> {
        match puts.is_empty() {
            true => Ok(Vec::new()),
            false => self.run(move |root| content::stage_all(root, puts)).await,
        }
    }
}

impl StorageDriver for Filesystem {
    fn name(&self) -> &str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            put_if_absent: true,
            local_files: true,
            quick_rename: true,
            durable: true,
            together: true,
            redirects: false,
            flat: false,
        }
    }

    fn get<'a>(&'a self, path: &'a StoragePath, limit: u64) -> Pending<'a, Bytes> {
        let path = path.clone();
        Box::pin(self.run(move |root| content::get(root, &path, limit)))
    }

    fn put<'a>(&'a self, path: &'a StoragePath, content: Bytes, condition: Condition) -> Pending<'a, ()> {
        let path = path.clone();
        Box::pin(async move {
            let puts = vec![Put { path, content }];
            let left = match condition {
                Condition::Always => self.journaled(puts, content::put_journaled).await?,
                // Whether it succeeds is known when it has its name only.
                Condition::Absent => Some(puts),
            };
            match left {
                Some(puts) => self.put_files(puts, condition).await,
                None => Ok(()),
            }
        })
    }

    fn put_all(&self, groups: Vec<Vec<Put>>) -> Pending<'_, ()> {
        Box::pin(async move {
            let puts: Vec<Put> = groups.into_iter().flatten().collect();
            if puts.is_empty() {
                return Ok(());
            }
            match self.journaled(puts, content::put_journaled).await? {
                Some(puts) => self.put_files(puts, Condition::Always).await,
                None => Ok(()),
            }
        })
    }

    fn read<'a>(&'a self, path: &'a StoragePath, offset: u64) -> Pending<'a, Reader> {
        Box::pin(async move {
            let wanted = path.clone();
            let (file, entry) = self.run(move |root| content::open(root, &wanted)).await?;
            if offset > entry.size() {
                return Err(Error::InvalidOffset {
                    driver: NAME.into(),
                    path: path.clone(),
                    offset,
                    size: entry.size(),
                });
            }
            Ok(Reader::from_file(NAME.into(), entry, offset, file))
        })
    }

    fn writer<'a>(&'a self, path: &'a StoragePath, mode: WriteMode) -> Pending<'a, Box<dyn Writer>> {
        Box::pin(async move {
            let path = path.clone();
            let (upload, size) = self.run(move |root| upload::open(root, &path, mode)).await?;
            let writer = FileWriter::new(self.clone(), upload, size);
            Ok(Box::new(writer) as Box<dyn Writer>)
        })
    }

    fn stat<'a>(&'a self, path: &'a StoragePath) -> Pending<'a, Entry> {
        let path = path.clone();
        Box::pin(self.run(move |root| content::stat(root, &path)))
    }

    fn list<'a>(&'a self, folder: &'a StoragePath) -> Pending<'a, Vec<Entry>> {
        let folder = folder.clone();
        Box::pin(self.run(move |root| content::list(root, &folder)))
    }

    fn rename<'a>(&'a self, from: &'a StoragePath, to: &'a StoragePath) -> Pending<'a, ()> {
        let (from, to) = (from.clone(), to.clone());
        Box::pin(self.change(move |root| content::rename(root, &from, &to)))
    }

    fn delete<'a>(&'a self, path: &'a StoragePath) -> Pending<'a, ()> {
        let (driver, path) = (self.clone(), path.clone());
        let delete = async move {
            let (ticket, aside) = driver.run(move |root| content::delete(root, &path)).await?;
            flush::flush(Arc::clone(&driver.root), vec![ticket]).await?;
            match aside {
                Some(aside) => driver.run(move |_| content::remove(&aside)).await,
                None => Ok(()),
            }
        };
        // On its own: what was taken aside must be removed also if nobody waits any more.
        Box::pin(async move { ended(tokio::spawn(delete).await) })
    }

    fn redirect<'a>(&'a self, path: &'a StoragePath, _: &'a Redirect) -> Pending<'a, Option<String>> {
        Box::pin(async move { path.not_root().map(|_| None) })
    }

    fn walk<'a>(
        &'a self,
        from: &'a StoragePath,
        after: Option<&'a StoragePath>,
    ) -> Pending<'a, Box<dyn Walk>> {
        Box::pin(async move {
            let walk = TreeWalk::new(self.clone(), from, after);
            Ok(Box::new(walk) as Box<dyn Walk>)
        })
    }

    fn stamps<'a>(&'a self, folders: &'a [StoragePath]) -> Pending<'a, Vec<Option<Stamp>>> {
        let folders = folders.to_vec();
        Box::pin(self.run(move |root| Ok(folders.iter().map(|folder| stamp::of(root, folder)).collect())))
    }
}

impl Folders for Filesystem {
    fn read<'a>(&'a self, folder: &'a StoragePath) -> Pending<'a, Listing> {
        Box::pin(async move {
            let entries = self.list(folder).await?;
            Ok(Listing { entries, deep: false })
        })
    }
}

/// What a task gave.
fn ended<T>(task: Result<Result<T, Error>, JoinError>) -> Result<T, Error> {
    match task {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(Error::Unavailable {
                driver: NAME.into(),
                reason: format!("the program is ending: {error}"),
                retry_after: None,
            }),
        },
    }
}

/// The file of what is written and not committed, beside the content. No [`StoragePath`] has a `~`.
fn upload_name(path: &StoragePath) -> String {
    format!("{}~upload", path.name())
}

fn failed(doing: &'static str, path: &StoragePath) -> impl Fn(Errno) -> Error + use<> {
    let path = path.clone();
    move |errno| Error::io(NAME.into(), doing, &path, errno.into())
}

fn not_found(path: &StoragePath) -> Error {
    let (driver, path) = (NAME.into(), path.clone());
    Error::NotFound { driver, path }
}

fn is_folder(path: &StoragePath) -> Error {
    let (driver, path) = (NAME.into(), path.clone());
    Error::IsFolder { driver, path }
}

fn not_folder(path: &StoragePath) -> Error {
    let (driver, path) = (NAME.into(), path.clone());
    Error::NotFolder { driver, path }
}
