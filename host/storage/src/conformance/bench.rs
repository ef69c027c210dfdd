//! What the cases share: a driver and a folder for each, and the words to say what must hold.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::cases::Case;
use super::{Open, Options, Outcome};
use crate::{Condition, Entry, Error, StorageDriver, StoragePath, WriteMode, Writer};

/// Longer than any content of the suite.
const LIMIT: u64 = 1 << 30;

/// What a case gives.
pub(super) type Check<T = ()> = Result<T, Failure>;

/// Why a case failed, or is not for this driver.
#[derive(Debug)]
pub(super) enum Failure {
    /// What was seen.
    Seen(String),
    /// Why the case is left out.
    Skip(&'static str),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Seen(seen) => f.write_str(seen),
            Failure::Skip(why) => f.write_str(why),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Seen(format!("unexpected error: {error}"))
    }
}

/// Ends the case if a condition does not hold.
macro_rules! ensure {
    ($condition:expr, $($seen:tt)+) => {
        if !$condition {
            return Err($crate::conformance::bench::Failure::Seen(format!($($seen)+)));
        }
    };
}

/// Ends the case if a call does not fail, or not with this error.
macro_rules! refused {
    ($call:expr, $error:pat, $what:literal) => {
        match $call {
            Err($error) => {}
            Err(error) => {
                let seen = format!("{}: the error is not the right one: {error}", format!($what));
                return Err($crate::conformance::bench::Failure::Seen(seen));
            }
            Ok(_) => {
                let seen = format!("{} was accepted", format!($what));
                return Err($crate::conformance::bench::Failure::Seen(seen));
            }
        }
    };
}

pub(super) use {ensure, refused};

/// A driver, and the folder of one case.
pub(super) struct Bench {
    pub(super) driver: Arc<dyn StorageDriver>,
    pub(super) open: Open,
    pub(super) options: Options,
    pub(super) folder: StoragePath,
}

impl Bench {
    pub(super) async fn set_up(open: &Open, options: &Options, name: &str) -> Check<Bench> {
        let bench = Bench {
            driver: open().await?,
            open: Arc::clone(open),
            options: options.clone(),
            folder: options.folder.join(name)?,
        };
        // What an earlier run left that was cut off.
        bench.clear().await?;
        Ok(bench)
    }

    /// Runs the case, and sees that its folder can be removed.
    pub(super) async fn hold(&self, case: &Case) -> Outcome {
        let held = (case.run)(self).await;
        let cleared = self.clear().await;
        match (held, cleared) {
            (Ok(()), Ok(())) => Outcome::Passed,
            (Err(Failure::Seen(seen)), _) => Outcome::Failed(seen),
            (_, Err(failure)) => Outcome::Failed(format!("cannot clean up: {failure}")),
            (Err(Failure::Skip(why)), Ok(())) => Outcome::Skipped(why),
        }
    }

    async fn clear(&self) -> Check {
        match self.driver.delete(&self.folder).await {
            Ok(()) | Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        match self.driver.list(&self.folder).await {
            Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(left) if left.is_empty() => Ok(()),
            Ok(left) => Err(Failure::Seen(format!("a deleted folder still has {left:?}"))),
        }
    }

    /// A path in the folder of this case.
    pub(super) fn path(&self, name: &str) -> Check<StoragePath> {
        Ok(self.folder.join(name)?)
    }

    pub(super) async fn put(&self, name: &str, content: &[u8]) -> Check<StoragePath> {
        let path = self.path(name)?;
        let content = Bytes::copy_from_slice(content);
        self.driver.put(&path, content, Condition::Always).await?;
        Ok(path)
    }

    pub(super) async fn writer(&self, path: &StoragePath, mode: WriteMode) -> Check<Box<dyn Writer>> {
        Ok(self.driver.writer(path, mode).await?)
    }

    /// Writes content and commits it.
    pub(super) async fn write(&self, path: &StoragePath, content: &[u8]) -> Check {
        let mut writer = self.writer(path, WriteMode::Create).await?;
        writer.write(Bytes::copy_from_slice(content)).await?;
        Ok(writer.commit().await?)
    }

    /// Sees that exactly `content` is at a path, by every way to read it.
    pub(super) async fn expect(&self, path: &StoragePath, content: &[u8]) -> Check {
        let got = self.driver.get(path, LIMIT).await?;
        same(&got, content, &format!("{path} by get"))?;
        let read = self.read(path, 0).await?;
        same(&read, content, &format!("{path} by read"))?;
        let entry = self.driver.stat(path).await?;
        ensure!(!entry.is_folder(), "stat says that {path} is a folder");
        ensure!(entry.path == *path, "stat of {path} names {}", entry.path);
        ensure!(
            entry.size() == content.len() as u64,
            "stat says that {path} has {} bytes, not {}",
            entry.size(),
            content.len()
        );
        Ok(())
    }

    pub(super) async fn read(&self, path: &StoragePath, offset: u64) -> Check<Bytes> {
        let reader = self.driver.read(path, offset).await?;
        Ok(reader.collect(self.driver.name(), LIMIT).await?)
    }

    /// Sees that nothing is at a path.
    pub(super) async fn expect_nothing(&self, path: &StoragePath) -> Check {
        refused!(
            self.driver.stat(path).await,
            Error::NotFound { .. },
            "stat of {path}, where nothing should be,"
        );
        refused!(
            self.driver.get(path, LIMIT).await,
            Error::NotFound { .. },
            "get of {path}, where nothing should be,"
        );
        refused!(
            self.driver.read(path, 0).await,
            Error::NotFound { .. },
            "read of {path}, where nothing should be,"
        );
        Ok(())
    }

    /// The whole walk of the folder, as paths relative to it; folders end with a slash.
    pub(super) async fn walk(&self, after: Option<&StoragePath>) -> Check<Vec<String>> {
        let mut walk = self.driver.walk(&self.folder, after).await?;
        let mut seen = Vec::new();
        while let Some(entry) = walk.next().await? {
            seen.push(self.relative(&entry));
        }
        Ok(seen)
    }

    pub(super) fn relative(&self, entry: &Entry) -> String {
        let name = entry.path.as_str().strip_prefix(self.folder.as_str());
        let slash = if entry.is_folder() { "/" } else { "" };
        format!(
            "{}{slash}",
            name.unwrap_or(entry.path.as_str()).trim_start_matches('/')
        )
    }
}

/// Sees that two contents are the same, without showing megabytes if not.
pub(super) fn same(found: &[u8], wanted: &[u8], what: &str) -> Check {
    ensure!(
        found.len() == wanted.len(),
        "{what}: {} bytes, not {}",
        found.len(),
        wanted.len()
    );
    let differs = found.iter().zip(wanted).position(|(a, b)| a != b);
    ensure!(
        differs.is_none(),
        "{what}: other bytes from {} on",
        differs.unwrap_or_default()
    );
    Ok(())
}

/// Bytes that differ for each seed at every place, so that one content is never the beginning of another.
pub(super) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
