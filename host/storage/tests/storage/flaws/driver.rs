//! A driver with any of the flaws, on top of the memory driver.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use transom_storage::driver::{Capabilities, Condition, Put, Redirect, StorageDriver, WriteMode, Writer};
use transom_storage::{Entry, Error, Kind, Memory, Pending, Reader, StoragePath, Walk};

use super::Flaw;

#[derive(Clone, Debug)]
pub(super) struct Flawed {
    pub(super) inner: Arc<Memory>,
    pub(super) flaw: Flaw,
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug, Default)]
pub(super) struct Shared {
    calls: AtomicUsize,
    writers: AtomicUsize,
    ticks: AtomicUsize,
    uploads: Mutex<HashMap<StoragePath, Vec<u8>>>,
}

/// What an answer of the memory driver is; it never waits.
fn now<T>(mut pending: Pending<'_, T>) -> Result<T, Error> {
    match pending.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("the memory driver does not wait"),
    }
}

impl Flawed {
    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    /// Where a driver that confuses names looks.
    fn path(&self, path: &StoragePath) -> StoragePath {
        let part = |part: &str| match self.flaw {
            Flaw::LowerCase => part.to_lowercase(),
            _ => part.chars().take(100).collect(),
        };
        match self.flaw {
            Flaw::LowerCase | Flaw::CutNames => {
                let parts: Vec<String> = path.parts().map(part).collect();
                StoragePath::new(&format!("/{}", parts.join("/"))).unwrap()
            }
            _ => path.clone(),
        }
    }

    /// Whether other calls are under way, once those that begin now have begun.
    async fn crowded(&self) -> bool {
        self.shared.calls.fetch_add(1, Ordering::SeqCst);
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
        let crowded = self.shared.calls.load(Ordering::SeqCst) > 1;
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
        self.shared.calls.fetch_sub(1, Ordering::SeqCst);
        crowded
    }

    fn entries(&self, from: &StoragePath) -> Result<Vec<Entry>, Error> {
        let mut walk = now(self.inner.walk(from, None))?;
        let mut entries = Vec::new();
        while let Some(entry) = now(walk.next())? {
            entries.push(entry);
        }
        Ok(entries)
    }

    fn put_now(&self, path: &StoragePath, content: impl Into<Bytes>) -> Result<(), Error> {
        now(self.inner.put(path, content.into(), Condition::Always))
    }

    fn flawed_entry(&self, entry: Entry) -> Entry {
        let Kind::File { size, .. } = entry.kind else {
            return entry;
        };
        let tick = self.shared.ticks.fetch_add(1, Ordering::SeqCst) as u64;
        let modified = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - tick));
        Entry {
            kind: Kind::File { size, modified },
            ..entry
        }
    }

    async fn flawed_put(
        &self,
        path: &StoragePath,
        content: Bytes,
        condition: Condition,
    ) -> Result<(), Error> {
        let path = &self.path(path);
        let mut content = content.to_vec();
        match self.flaw {
            Flaw::LosesLastByte if content.len() > 1000 => drop(content.pop()),
            Flaw::OnlyTruncates => {
                if let Ok(old) = now(self.inner.get(path, u64::MAX)) {
                    let kept = old.len().min(content.len());
                    content[..kept].copy_from_slice(&old[..kept]);
                }
            }
            Flaw::TearsPuts if self.crowded().await => content.truncate(content.len() / 2),
            Flaw::AbsentRaces if condition == Condition::Absent && now(self.inner.stat(path)).is_err() => {
                self.crowded().await;
                return self.put_now(path, content);
            }
            Flaw::IgnoresCondition => return self.put_now(path, content),
            _ => {}
        }
        self.inner.put(path, content.into(), condition).await
    }

    fn flawed_delete(&self, path: &StoragePath) -> Result<(), Error> {
        let wanted = |entry: &Entry| match self.flaw {
            Flaw::DeletesPrefix => entry.path.as_str().starts_with(path.as_str()),
            Flaw::DeletesShallow => entry.path.parent().as_ref() == Some(path) || entry.path == *path,
            _ => entry.path.is_below(path) || entry.path == *path,
        };
        let mut found = false;
        for entry in self.entries(&StoragePath::root())? {
            if !entry.is_folder() && wanted(&entry) {
                found = true;
                now(self.inner.delete(&entry.path))?;
            }
        }
        match found {
            true => Ok(()),
            false => now(self.inner.delete(path)),
        }
    }

    fn flawed_walk(&self, from: &StoragePath, after: Option<&StoragePath>) -> Result<Box<dyn Walk>, Error> {
        let entries = match self.entries(from) {
            Err(Error::NotFound { .. }) if self.is(Flaw::WalksNothing) => Vec::new(),
            other => other?,
        };
        let wanted = |entry: &Entry| match (self.flaw, after) {
            (_, None) => true,
            (Flaw::AfterIncludes, Some(after)) => entry.path >= *after,
            (_, Some(after)) => entry.path > *after,
        };
        let mut entries: Vec<Entry> = entries.into_iter().filter(wanted).collect();
        if self.is(Flaw::WalksBytes) {
            entries.sort_by(|a, b| a.path.as_str().cmp(b.path.as_str()));
        }
        if self.is(Flaw::AfterLosesOne) && after.is_some() && !entries.is_empty() {
            entries.remove(0);
        }
        Ok(Box::new(Entries(entries.into_iter())))
    }
}

/// A walk of what was collected, which cannot skip.
#[derive(Debug)]
struct Entries(std::vec::IntoIter<Entry>);

impl Walk for Entries {
    fn next(&mut self) -> Pending<'_, Option<Entry>> {
        let next = self.0.next();
        Box::pin(async move { Ok(next) })
    }

    fn skip(&mut self) {}
}

/// Chunks that are looked up when they are asked for: the first half, then the second.
struct Follows {
    driver: Flawed,
    path: StoragePath,
    half: usize,
}

impl tokio_stream::Stream for Follows {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.half == 2 {
            return Poll::Ready(None);
        }
        let half = self.half;
        self.half += 1;
        let content = now(self.driver.inner.get(&self.path, u64::MAX));
        Poll::Ready(Some(content.map(|content| {
            let middle = content.len() / 2;
            if half == 0 {
                content.slice(..middle)
            } else {
                content.slice(middle..)
            }
        })))
    }
}

impl StorageDriver for Flawed {
    fn name(&self) -> &str {
        "flawed"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            local_files: self.is(Flaw::PromisesFiles),
            redirects: self.is(Flaw::PromisesUrls),
            ..self.inner.capabilities()
        }
    }

    fn get<'a>(&'a self, path: &'a StoragePath, limit: u64) -> Pending<'a, Bytes> {
        Box::pin(async move {
            let limit = if self.is(Flaw::NoLimit) { u64::MAX } else { limit };
            match self.inner.get(&self.path(path), limit).await {
                Err(Error::NotFound { .. }) if self.is(Flaw::EmptyForMissing) => Ok(Bytes::new()),
                Err(Error::IsFolder { .. }) if self.is(Flaw::FolderIsContent) => Ok(Bytes::new()),
                other => other,
            }
        })
    }

    fn put<'a>(&'a self, path: &'a StoragePath, content: Bytes, condition: Condition) -> Pending<'a, ()> {
        Box::pin(self.flawed_put(path, content, condition))
    }

    fn put_all(&self, mut groups: Vec<Vec<Put>>) -> Pending<'_, ()> {
        if self.is(Flaw::PutsOneGroup) {
            groups.truncate(1);
        }
        Box::pin(async move {
            for put in groups.into_iter().flatten() {
                self.put(&put.path, put.content, Condition::Always).await?;
            }
            Ok(())
        })
    }

    fn read<'a>(&'a self, path: &'a StoragePath, offset: u64) -> Pending<'a, Reader> {
        Box::pin(async move {
            let path = &self.path(path);
            if self.is(Flaw::MixesReads) && self.crowded().await {
                let entry = now(self.inner.stat(path))?;
                let reader = self.inner.read(path, 0).await?;
                return Ok(Reader::from_chunks(entry, offset, Box::pin(reader)));
            }
            if self.is(Flaw::ReaderFollows) && offset == 0 {
                let follows = Follows {
                    driver: self.clone(),
                    path: path.clone(),
                    half: 0,
                };
                return Ok(Reader::from_chunks(
                    now(self.inner.stat(path))?,
                    0,
                    Box::pin(follows),
                ));
            }
            match self.inner.read(path, offset).await {
                Err(Error::InvalidOffset { size, .. }) if self.is(Flaw::ReadsBeyondEnd) => {
                    self.inner.read(path, size).await
                }
                other => other,
            }
        })
    }

    fn writer<'a>(&'a self, path: &'a StoragePath, mode: WriteMode) -> Pending<'a, Box<dyn Writer>> {
        Box::pin(async move {
            let path = &self.path(path);
            let open = self.shared.writers.load(Ordering::SeqCst);
            let most = match self.flaw {
                Flaw::OneWriterAtAll => 0,
                Flaw::CountsDropped => 256,
                _ => usize::MAX,
            };
            if open > most {
                let (driver, path) = ("flawed".into(), path.clone());
                return Err(Error::Busy { driver, path });
            }
            let inner = match (self.flaw, mode) {
                (Flaw::AppendsFromNothing, WriteMode::Append) => {
                    self.inner.writer(path, WriteMode::Create).await
                }
                (Flaw::RefusesCommitted, WriteMode::Append) if now(self.inner.stat(path)).is_ok() => {
                    let (driver, path) = ("flawed".into(), path.clone());
                    Err(Error::NotFound { driver, path })
                }
                (Flaw::CreatesByAppending, WriteMode::Create) => {
                    match self.inner.writer(path, WriteMode::Append).await {
                        Err(Error::NotFound { .. }) => self.inner.writer(path, WriteMode::Create).await,
                        other => other,
                    }
                }
                // Writes into what all share; the inner writer is one of another path.
                (Flaw::SharesUpload, _) => {
                    let other = path.join(&format!("writer-{open}"))?;
                    self.inner.writer(&other, WriteMode::Create).await
                }
                (_, mode) => self.inner.writer(path, mode).await,
            }?;
            self.shared.writers.fetch_add(1, Ordering::SeqCst);
            Ok(Box::new(FlawedWriter {
                driver: self.clone(),
                inner: Some(inner),
                path: path.clone(),
                all: Vec::new(),
            }) as Box<dyn Writer>)
        })
    }

    fn stat<'a>(&'a self, path: &'a StoragePath) -> Pending<'a, Entry> {
        Box::pin(async move {
            if path.is_root() && self.is(Flaw::NoRoot) {
                let (driver, path) = ("flawed".into(), path.clone());
                return Err(Error::NotFound { driver, path });
            }
            let entry = self.inner.stat(&self.path(path)).await?;
            let path = path.clone();
            match self.flaw {
                Flaw::TimeGoesBack => Ok(self.flawed_entry(entry)),
                _ => Ok(Entry { path, ..entry }),
            }
        })
    }

    fn list<'a>(&'a self, folder: &'a StoragePath) -> Pending<'a, Vec<Entry>> {
        Box::pin(async move {
            let mut entries = self.inner.list(folder).await?;
            match self.flaw {
                Flaw::ListsBackwards => entries.reverse(),
                Flaw::ListsSome => entries.truncate(100),
                _ => {}
            }
            Ok(entries)
        })
    }

    fn rename<'a>(&'a self, from: &'a StoragePath, to: &'a StoragePath) -> Pending<'a, ()> {
        Box::pin(async move {
            match self.flaw {
                Flaw::RenameCopies => {
                    let content = self.inner.get(from, u64::MAX).await?;
                    self.put_now(to, content)
                }
                Flaw::RenameKeepsTarget if now(self.inner.stat(to)).is_ok() => Ok(()),
                Flaw::RenamesNothing => match self.inner.rename(from, to).await {
                    Err(Error::NotFound { .. }) => Ok(()),
                    other => other,
                },
                _ => self.inner.rename(from, to).await,
            }
        })
    }

    fn delete<'a>(&'a self, path: &'a StoragePath) -> Pending<'a, ()> {
        Box::pin(async move {
            match self.flaw {
                Flaw::DeletesPrefix | Flaw::DeletesShallow | Flaw::DeleteKeepsUploads => {
                    self.flawed_delete(path)
                }
                _ => self.inner.delete(&self.path(path)).await,
            }
        })
    }

    fn redirect<'a>(&'a self, path: &'a StoragePath, request: &'a Redirect) -> Pending<'a, Option<String>> {
        self.inner.redirect(path, request)
    }

    fn walk<'a>(
        &'a self,
        from: &'a StoragePath,
        after: Option<&'a StoragePath>,
    ) -> Pending<'a, Box<dyn Walk>> {
        Box::pin(async move {
            match self.flaw {
                Flaw::WalksBytes
                | Flaw::IgnoresSkip
                | Flaw::AfterIncludes
                | Flaw::WalksNothing
                | Flaw::AfterLosesOne => self.flawed_walk(from, after),
                _ => self.inner.walk(from, after).await,
            }
        })
    }
}

#[derive(Debug)]
struct FlawedWriter {
    driver: Flawed,
    inner: Option<Box<dyn Writer>>,
    path: StoragePath,
    all: Vec<u8>,
}

impl FlawedWriter {
    fn take(&mut self) -> Box<dyn Writer> {
        self.inner.take().expect("it is taken once")
    }

    fn flawed_write(&mut self, bytes: Bytes) -> Result<(), Error> {
        let bytes = match self.driver.flaw {
            Flaw::LosesPieces if !self.all.is_empty() => return Ok(()),
            Flaw::CutsLargePieces => bytes.slice(..bytes.len().min(1 << 16)),
            _ => bytes,
        };
        self.all.extend_from_slice(&bytes);
        if self.driver.is(Flaw::ShowsEarly) {
            self.driver.put_now(&self.path, self.all.clone())?;
        }
        if self.driver.is(Flaw::SharesUpload) {
            let mut uploads = self.driver.shared.uploads.lock().unwrap();
            uploads
                .entry(self.path.clone())
                .or_default()
                .extend_from_slice(&bytes);
        }
        now(self.inner.as_mut().expect("it is not ended").write(bytes))
    }
}

impl Writer for FlawedWriter {
    fn size(&self) -> u64 {
        self.inner.as_ref().map_or(0, |inner| inner.size())
    }

    fn write(&mut self, bytes: Bytes) -> Pending<'_, ()> {
        let result = self.flawed_write(bytes);
        Box::pin(async move { result })
    }

    fn commit(mut self: Box<Self>) -> Pending<'static, ()> {
        let inner = self.take();
        if self.driver.is(Flaw::SharesUpload) {
            let uploads = self.driver.shared.uploads.lock().unwrap();
            let all = uploads[&self.path].clone();
            let result = now(inner.cancel()).and_then(|()| self.driver.put_now(&self.path, all));
            return Box::pin(async move { result });
        }
        inner.commit()
    }

    fn commit_to(mut self: Box<Self>, to: &StoragePath) -> Pending<'static, ()> {
        let inner = self.take();
        if self.driver.is(Flaw::CommitsToBoth) {
            let result = now(inner.commit()).and_then(|()| self.driver.put_now(to, self.all.clone()));
            return Box::pin(async move { result });
        }
        inner.commit_to(to)
    }

    fn commit_with(self: Box<Self>, to: &StoragePath, others: Vec<Put>) -> Pending<'static, Vec<Put>> {
        let loses = self.driver.is(Flaw::LosesOthers);
        let committed = self.commit_to(to);
        Box::pin(async move { committed.await.map(|()| if loses { Vec::new() } else { others }) })
    }

    fn close(mut self: Box<Self>) -> Pending<'static, ()> {
        self.take().close()
    }

    fn cancel(mut self: Box<Self>) -> Pending<'static, ()> {
        let inner = self.take();
        match self.driver.flaw {
            Flaw::CancelCloses => inner.close(),
            _ => inner.cancel(),
        }
    }
}

impl Drop for FlawedWriter {
    fn drop(&mut self) {
        if !self.driver.is(Flaw::CountsDropped) {
            self.driver.shared.writers.fetch_sub(1, Ordering::SeqCst);
        }
        if let Some(inner) = self.inner.take().filter(|_| self.driver.is(Flaw::DropCommits)) {
            now(inner.commit()).expect("memory can be written");
        }
    }
}
