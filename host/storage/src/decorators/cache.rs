//! Answers in memory: what is at a path, and small content.
//!
//! What is changed through this driver is forgotten at once. What another process changes is seen after [`Sizes::ttl`] at the
//! latest. That nothing is at a path is never remembered: what others put is seen at once.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::driver::{
    Capabilities, Condition, Pending, Put, Redirect, Stamp, StorageDriver, WriteMode, Writer,
};
use crate::walk::Walk;
use crate::{Entry, Error, Reader, StoragePath, limits};

/// How much is remembered, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of content and paths.
    pub bytes: u64,
    /// Bytes of the largest content that is kept.
    pub object: u64,
    /// How old an answer may be.
    pub ttl: Duration,
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes {
            bytes: 16 << 20,
            object: 64 << 10,
            ttl: Duration::from_secs(1),
        }
    }
}

/// A driver whose answers are remembered.
#[derive(Debug)]
pub struct Cache {
    inner: Arc<dyn StorageDriver>,
    memory: Arc<Mutex<Remembered>>,
    sizes: Sizes,
}

#[derive(Debug, Default)]
struct Remembered {
    answers: BTreeMap<StoragePath, Answer>,
    bytes: u64,
    /// Counts the changes: an answer that was asked for before a change is not remembered after it.
    changes: u64,
}

#[derive(Clone, Debug)]
struct Answer {
    entry: Option<Entry>,
    content: Option<Bytes>,
    until: Instant,
}

impl Answer {
    fn cost(&self, path: &StoragePath) -> u64 {
        let content = self.content.as_ref().map_or(0, Bytes::len);
        (path.as_str().len() + content) as u64 + limits::CACHED_ANSWER
    }
}

impl Remembered {
    fn set(&mut self, path: &StoragePath, answer: Answer, most: u64) {
        self.remove(path);
        let cost = answer.cost(path);
        if self.bytes + cost > most {
            self.answers.clear();
            self.bytes = 0;
        }
        if cost <= most {
            self.bytes += cost;
            self.answers.insert(path.clone(), answer);
        }
    }

    fn remove(&mut self, path: &StoragePath) {
        if let Some(old) = self.answers.remove(path) {
            self.bytes -= old.cost(path);
        }
    }

    /// Forgets a path, what is below it, and the folders that it is in.
    fn changed(&mut self, path: &StoragePath) {
        self.changes += 1;
        let below = (Bound::Excluded(path.clone()), Bound::Unbounded);
        let below = self.answers.range(below).map(|(other, _)| other);
        let mut paths: Vec<StoragePath> = below.take_while(|other| other.is_below(path)).cloned().collect();
        paths.extend(std::iter::successors(Some(path.clone()), StoragePath::parent));
        paths.iter().for_each(|path| self.remove(path));
    }
}

/// Forgets paths when a change has ended, however it did.
struct Forget {
    memory: Arc<Mutex<Remembered>>,
    paths: Vec<StoragePath>,
}

impl Forget {
    fn begin(memory: &Arc<Mutex<Remembered>>, paths: &[&StoragePath]) -> Forget {
        let forget = Forget {
            memory: Arc::clone(memory),
            paths: paths.iter().map(|path| (*path).clone()).collect(),
        };
        forget.now();
        forget
    }

    fn now(&self) {
        let mut memory = lock(&self.memory);
        self.paths.iter().for_each(|path| memory.changed(path));
    }
}

impl Drop for Forget {
    fn drop(&mut self) {
        self.now();
    }
}

fn lock(memory: &Mutex<Remembered>) -> MutexGuard<'_, Remembered> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cache {
    /// Puts a memory of these sizes before `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn StorageDriver>, sizes: Sizes) -> Cache {
        Cache {
            inner,
            memory: Arc::default(),
            sizes,
        }
    }

    fn known(&self, path: &StoragePath) -> (Option<Answer>, u64) {
        let memory = lock(&self.memory);
        let answer = memory
            .answers
            .get(path)
            .filter(|answer| answer.until > Instant::now());
        (answer.cloned(), memory.changes)
    }

    fn learn(&self, path: &StoragePath, entry: Option<Entry>, content: Option<Bytes>, asked_at: u64) {
        let mut memory = lock(&self.memory);
        if memory.changes != asked_at {
            return;
        }
        let old = memory.answers.get(path).cloned();
        let fresh = old.filter(|old| old.until > Instant::now());
        let until = fresh
            .as_ref()
            .map_or(Instant::now() + self.sizes.ttl, |old| old.until);
        let (old_entry, old_content) = fresh.map_or((None, None), |old| (old.entry, old.content));
        let answer = Answer {
            entry: entry.or(old_entry),
            content: content.or(old_content),
            until,
        };
        memory.set(path, answer, self.sizes.bytes);
    }

    fn too_large(&self, path: &StoragePath, limit: u64) -> Error {
        Error::TooLarge {
            driver: self.inner.name().to_owned().into(),
            path: path.clone(),
            limit,
        }
    }
}

impl StorageDriver for Cache {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn get<'a>(&'a self, path: &'a StoragePath, limit: u64) -> Pending<'a, Bytes> {
        Box::pin(async move {
            let (known, asked_at) = self.known(path);
            if let Some(content) = known.and_then(|answer| answer.content) {
                if content.len() as u64 > limit {
                    return Err(self.too_large(path, limit));
                }
                return Ok(content);
            }
            let content = self.inner.get(path, limit).await?;
            if content.len() as u64 <= self.sizes.object {
                self.learn(path, None, Some(content.clone()), asked_at);
            }
            Ok(content)
        })
    }

    fn put<'a>(&'a self, path: &'a StoragePath, content: Bytes, condition: Condition) -> Pending<'a, ()> {
        Box::pin(async move {
            let _forget = Forget::begin(&self.memory, &[path]);
            self.inner.put(path, content, condition).await
        })
    }

    fn put_all(&self, groups: Vec<Vec<Put>>) -> Pending<'_, ()> {
        Box::pin(async move {
            let paths: Vec<&StoragePath> = groups.iter().flatten().map(|put| &put.path).collect();
            let _forget = Forget::begin(&self.memory, &paths);
            self.inner.put_all(groups.clone()).await
        })
    }

    fn read<'a>(&'a self, path: &'a StoragePath, offset: u64) -> Pending<'a, Reader> {
        self.inner.read(path, offset)
    }

    fn writer<'a>(&'a self, path: &'a StoragePath, mode: WriteMode) -> Pending<'a, Box<dyn Writer>> {
        Box::pin(async move {
            Ok(Box::new(CacheWriter {
                inner: self.inner.writer(path, mode).await?,
                path: path.clone(),
                memory: Arc::clone(&self.memory),
            }) as Box<dyn Writer>)
        })
    }

    fn stat<'a>(&'a self, path: &'a StoragePath) -> Pending<'a, Entry> {
        Box::pin(async move {
            let (known, asked_at) = self.known(path);
            if let Some(entry) = known.and_then(|answer| answer.entry) {
                return Ok(entry);
            }
            let entry = self.inner.stat(path).await?;
            self.learn(path, Some(entry.clone()), None, asked_at);
            Ok(entry)
        })
    }

    fn list<'a>(&'a self, folder: &'a StoragePath) -> Pending<'a, Vec<Entry>> {
        self.inner.list(folder)
    }

    fn rename<'a>(&'a self, from: &'a StoragePath, to: &'a StoragePath) -> Pending<'a, ()> {
        Box::pin(async move {
            let _forget = Forget::begin(&self.memory, &[from, to]);
            self.inner.rename(from, to).await
        })
    }

    fn delete<'a>(&'a self, path: &'a StoragePath) -> Pending<'a, ()> {
        Box::pin(async move {
            let _forget = Forget::begin(&self.memory, &[path]);
            self.inner.delete(path).await
        })
    }

    fn redirect<'a>(&'a self, path: &'a StoragePath, request: &'a Redirect) -> Pending<'a, Option<String>> {
        self.inner.redirect(path, request)
    }

    fn stamps<'a>(&'a self, folders: &'a [StoragePath]) -> Pending<'a, Vec<Option<Stamp>>> {
        self.inner.stamps(folders)
    }

    fn walk<'a>(
        &'a self,
        from: &'a StoragePath,
        after: Option<&'a StoragePath>,
    ) -> Pending<'a, Box<dyn Walk>> {
        self.inner.walk(from, after)
    }
}

#[derive(Debug)]
struct CacheWriter {
    inner: Box<dyn Writer>,
    path: StoragePath,
    memory: Arc<Mutex<Remembered>>,
}

impl Writer for CacheWriter {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn write(&mut self, bytes: Bytes) -> Pending<'_, ()> {
        self.inner.write(bytes)
    }

    fn commit(self: Box<Self>) -> Pending<'static, ()> {
        Box::pin(async move {
            let _forget = Forget::begin(&self.memory, &[&self.path]);
            self.inner.commit().await
        })
    }

    fn commit_to(self: Box<Self>, to: &StoragePath) -> Pending<'static, ()> {
        let to = to.clone();
        Box::pin(async move {
            let _forget = Forget::begin(&self.memory, &[&self.path, &to]);
            self.inner.commit_to(&to).await
        })
    }

    fn commit_with(self: Box<Self>, to: &StoragePath, others: Vec<Put>) -> Pending<'static, Vec<Put>> {
        let to = to.clone();
        Box::pin(async move {
            let mut paths = vec![&self.path, &to];
            paths.extend(others.iter().map(|put| &put.path));
            let _forget = Forget::begin(&self.memory, &paths);
            self.inner.commit_with(&to, others).await
        })
    }

    fn close(self: Box<Self>) -> Pending<'static, ()> {
        self.inner.close()
    }

    fn cancel(self: Box<Self>) -> Pending<'static, ()> {
        self.inner.cancel()
    }
}
