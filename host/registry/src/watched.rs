//! A file that is read again when it changes, and whose last good state holds while it is broken.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use crate::settings::{Mistake, SetupError};

/// How often a file is looked at, at most. A look is one system call.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A file that changed less than this before it was read may change again without a new time: clocks of file systems are coarse.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

type Reader<T> = Box<dyn Fn(&str) -> Result<T, Vec<Mistake>> + Send + Sync>;

/// A file and what was read from it.
pub(crate) struct Watched<T> {
    path: PathBuf,
    most_bytes: u64,
    every: Duration,
    read: Reader<T>,
    current: RwLock<Arc<T>>,
    generation: AtomicU64,
    look: Mutex<Look>,
}

/// The last look at the file.
#[derive(Debug)]
struct Look {
    at: Instant,
    stamp: Option<Stamp>,
    text: String,
    problem: Option<String>,
}

/// What tells one state of a file from another.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl<T> Watched<T> {
    /// Reads the file for the first time. It is looked at again when it is asked for, at most once in `every`.
    pub(crate) fn open(
        path: &Path,
        most_bytes: u64,
        every: Duration,
        read: impl Fn(&str) -> Result<T, Vec<Mistake>> + Send + Sync + 'static,
    ) -> Result<Watched<T>, SetupError> {
        let (stamp, text) = load(path, most_bytes).map_err(|source| SetupError::file(path, source))?;
        let first = read(&text).map_err(|mistakes| SetupError::Mistakes {
            path: path.to_owned(),
            mistakes,
        })?;
        Ok(Watched {
            path: path.to_owned(),
            most_bytes,
            every,
            read: Box::new(read),
            current: RwLock::new(Arc::new(first)),
            generation: AtomicU64::new(0),
            look: Mutex::new(Look {
                at: Instant::now(),
                stamp,
                text,
                problem: None,
            }),
        })
    }

    /// What the file says, or said when it was last without mistakes.
    pub(crate) fn get(&self) -> Arc<T> {
        self.look();
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }

    /// How often what the file says has changed. What is got after this is as new at least.
    pub(crate) fn generation(&self) -> u64 {
        self.look();
        self.generation.load(Ordering::Acquire)
    }

    fn look(&self) {
        // Whoever finds another one looking takes what there is.
        if let Ok(mut look) = self.look.try_lock()
            && look.at.elapsed() >= self.every
        {
            self.refresh(&mut look);
        }
    }

    /// Why the file's newest state does not hold, if it does not.
    pub(crate) fn problem(&self) -> Option<String> {
        let look = self.look.lock().unwrap_or_else(PoisonError::into_inner);
        look.problem.clone()
    }

    fn refresh(&self, look: &mut Look) {
        look.at = Instant::now();
        if look.stamp.is_some() && stamp(&self.path).ok().flatten() == look.stamp {
            return;
        }
        match load(&self.path, self.most_bytes) {
            Ok((stamp, text)) => {
                look.stamp = stamp;
                if text != look.text || look.problem.is_some() {
                    self.take(look, text);
                }
            }
            Err(error) => {
                look.stamp = None;
                self.keep(look, error.to_string());
            }
        }
    }

    fn take(&self, look: &mut Look, text: String) {
        match (self.read)(&text) {
            Ok(new) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
                self.generation.fetch_add(1, Ordering::Release);
                look.problem = None;
                tracing::info!(path = %self.path.display(), "read again, as it changed");
            }
            Err(mistakes) => {
                let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
                self.keep(look, mistakes.join("; "));
            }
        }
        look.text = text;
    }

    /// Says once what is wrong, and changes nothing.
    fn keep(&self, look: &mut Look, problem: String) {
        if look.problem.as_ref() != Some(&problem) {
            let path = self.path.display();
            tracing::error!(%path, %problem, "the file changed and cannot be used; what it said before still holds");
            look.problem = Some(problem);
        }
    }
}

fn load(path: &Path, most_bytes: u64) -> std::io::Result<(Option<Stamp>, String)> {
    let before = stamp(path)?;
    let mut text = String::new();
    let read = File::open(path)?.take(most_bytes + 1).read_to_string(&mut text)?;
    if read as u64 > most_bytes {
        let problem = format!("it has more than {most_bytes} bytes");
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, problem));
    }
    Ok((before, text))
}

/// The state of the file, if it is old enough that a change would show.
fn stamp(path: &Path) -> std::io::Result<Option<Stamp>> {
    let found = std::fs::metadata(path)?;
    let newest = found
        .modified()?
        .max(SystemTime::UNIX_EPOCH + since_epoch(&found));
    let settled = newest.elapsed().is_ok_and(|age| age >= SETTLED_AFTER);
    Ok(settled.then(|| Stamp {
        inode: found.ino(),
        size: found.size(),
        modified: (found.mtime(), found.mtime_nsec()),
        changed: (found.ctime(), found.ctime_nsec()),
    }))
}

fn since_epoch(found: &std::fs::Metadata) -> Duration {
    Duration::from_secs(u64::try_from(found.ctime()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Result<u32, Vec<Mistake>> {
        let mistake = |_| Mistake {
            line: 1,
            message: "not a number".to_owned(),
        };
        text.trim().parse().map_err(|error| vec![mistake(error)])
    }

    #[test]
    fn a_change_is_seen_and_a_broken_file_keeps_the_old_state() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        let open = || Watched::open(&path, 100, Duration::ZERO, number);
        assert!(matches!(open().unwrap_err(), SetupError::File { .. }));
        std::fs::write(&path, "x").unwrap();
        assert!(matches!(open().unwrap_err(), SetupError::Mistakes { .. }));

        std::fs::write(&path, "1").unwrap();
        let watched = open().unwrap();
        assert_eq!((watched.generation(), *watched.get()), (0, 1));
        // Same size, and within the same tick of the file system's clock.
        std::fs::write(&path, "2").unwrap();
        assert_eq!((watched.generation(), *watched.get()), (1, 2));

        std::fs::write(&path, "two").unwrap();
        assert_eq!((watched.generation(), *watched.get()), (1, 2));
        assert_eq!(watched.problem().unwrap(), "line 1: not a number");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(*watched.get(), 2);
        assert!(watched.problem().unwrap().contains("No such file"));
        std::fs::write(&path, "9".repeat(101)).unwrap();
        assert_eq!(*watched.get(), 2);
        assert!(watched.problem().unwrap().contains("more than 100 bytes"));

        std::fs::write(&path, "3").unwrap();
        assert_eq!(*watched.get(), 3);
        assert_eq!(watched.problem(), None);
        // Back to a text that was read before it was broken.
        std::fs::write(&path, "x").unwrap();
        watched.get();
        std::fs::write(&path, "3").unwrap();
        watched.get();
        assert_eq!(watched.problem(), None);
    }
}
