//! Storage drivers that are plugins, watched at their work: a call is a job, and so is a reader, a writer or a walk until its end.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio_stream::Stream;
use transom_storage::{
    Capabilities, Chunks, Condition, Entry, Error, Pending, Put, Reader, Redirect, StorageDriver,
    StoragePath, Walk, WriteMode, Writer,
};

use super::{Around, DriverError, DriverPlugin};
use crate::breaker::Ending;
use crate::watch::{self, Call, Watch};

/// Puts a watch around each driver that the plugin opens.
#[must_use]
pub fn watched(plugin: &DriverPlugin, watch: &Arc<Watch>) -> Around {
    let (version, watch) = (plugin.version().to_owned(), Arc::clone(watch));
    Arc::new(move |inner| {
        Arc::new(WatchedDriver {
            inner,
            version: version.clone(),
            watch: Arc::clone(&watch),
        })
    })
}

/// A driver, watched.
struct WatchedDriver {
    inner: Arc<dyn StorageDriver>,
    version: String,
    watch: Arc<Watch>,
}

impl WatchedDriver {
    /// A job wants to begin.
    fn begin(&self, path: &StoragePath) -> Result<Job, Error> {
        let call = self.watch.begin().map_err(|suspended| Error::Unavailable {
            driver: self.inner.name().to_owned().into(),
            reason: format!(
                "the plugin {} {} is not asked: {suspended}",
                self.inner.name(),
                self.version
            ),
            retry_after: Some(suspended.wait),
        })?;
        Ok(Job {
            call: Some(call),
            path: path.clone(),
        })
    }

    /// A job of one call.
    fn once<'a, T: Send + 'a>(
        &'a self,
        path: &'a StoragePath,
        call: impl FnOnce(&'a dyn StorageDriver) -> Pending<'a, T> + Send + 'a,
    ) -> Pending<'a, T> {
        self.once_with(path, call, |_, _| {})
    }

    /// The same, which says what went through it if it is done.
    fn once_with<'a, T: Send + 'a>(
        &'a self,
        path: &'a StoragePath,
        call: impl FnOnce(&'a dyn StorageDriver) -> Pending<'a, T> + Send + 'a,
        count: impl FnOnce(&mut Job, &T) + Send + 'a,
    ) -> Pending<'a, T> {
        Box::pin(async move {
            let mut job = self.begin(path)?;
            let done = call(&*self.inner).await;
            if let Ok(done) = &done {
                count(&mut job, done);
            }
            job.end(done.as_ref().err());
            done
        })
    }
}

impl fmt::Debug for WatchedDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedDriver")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

/// A job under way; dropped before its end, it says nothing.
#[derive(Debug)]
struct Job {
    /// Gone after the end.
    call: Option<Call>,
    path: StoragePath,
}

impl Job {
    /// What was asked of it on the way.
    fn step<T>(&mut self, done: Result<T, Error>) -> Result<T, Error> {
        match &done {
            Ok(_) => self.works(),
            Err(error) => self.end(Some(error)),
        }
        done
    }

    /// Bytes were read by its user.
    fn read(&mut self, bytes: &Bytes) {
        self.bytes(bytes.len(), 0);
    }

    /// Its user has written bytes.
    fn written(&mut self, bytes: usize) {
        self.bytes(0, bytes);
    }

    fn bytes(&mut self, read: usize, written: usize) {
        if let Some(call) = &mut self.call {
            call.bytes(read as u64, written as u64);
        }
    }

    fn works(&mut self) {
        if let Some(call) = &mut self.call {
            call.works();
        }
    }

    /// The end, by the error or without one.
    fn end(&mut self, error: Option<&Error>) {
        let Some(call) = self.call.take() else { return };
        let fault = error.and_then(DriverError::of).map(|error| &error.fault);
        let (result, ending) = match (error, fault) {
            (Some(_), Some(fault)) if fault.is_crash() => (watch::result(fault), Ending::Crash),
            (Some(error), _) if error.is_temporary() => ("refused", Ending::Unknown),
            (Some(error), _) if !error.is_not_found() => ("refused", Ending::Well),
            _ => ("ok", Ending::Well),
        };
        // That something is not there, or a disk is full, is an answer.
        let failure = error.filter(|_| ending == Ending::Crash);
        call.end(
            result,
            ending,
            failure.map(|error| (self.path.to_string(), error.to_string())),
        );
    }
}

impl StorageDriver for WatchedDriver {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn get<'a>(&'a self, path: &'a StoragePath, limit: u64) -> Pending<'a, Bytes> {
        self.once_with(path, move |inner| inner.get(path, limit), Job::read)
    }

    fn put<'a>(&'a self, path: &'a StoragePath, content: Bytes, condition: Condition) -> Pending<'a, ()> {
        let length = content.len();
        let put = move |inner: &'a dyn StorageDriver| inner.put(path, content, condition);
        self.once_with(path, put, move |job, ()| job.written(length))
    }

    fn read<'a>(&'a self, path: &'a StoragePath, offset: u64) -> Pending<'a, Reader> {
        Box::pin(async move {
            let mut job = self.begin(path)?;
            let reader = self.inner.read(path, offset).await;
            let reader = reader.inspect_err(|error| job.end(Some(error)))?;
            let left = reader.remaining();
            Ok(reader.map_chunks(|chunks| Box::pin(WatchedChunks { chunks, left, job })))
        })
    }

    fn writer<'a>(&'a self, path: &'a StoragePath, mode: WriteMode) -> Pending<'a, Box<dyn Writer>> {
        Box::pin(async move {
            let mut job = self.begin(path)?;
            let inner = self.inner.writer(path, mode).await;
            let inner = inner.inspect_err(|error| job.end(Some(error)))?;
            Ok(Box::new(WatchedWriter { inner, job }) as Box<dyn Writer>)
        })
    }

    fn stat<'a>(&'a self, path: &'a StoragePath) -> Pending<'a, Entry> {
        self.once(path, move |inner| inner.stat(path))
    }

    fn list<'a>(&'a self, folder: &'a StoragePath) -> Pending<'a, Vec<Entry>> {
        self.once(folder, move |inner| inner.list(folder))
    }

    fn rename<'a>(&'a self, from: &'a StoragePath, to: &'a StoragePath) -> Pending<'a, ()> {
        self.once(from, move |inner| inner.rename(from, to))
    }

    fn delete<'a>(&'a self, path: &'a StoragePath) -> Pending<'a, ()> {
        self.once(path, move |inner| inner.delete(path))
    }

    fn redirect<'a>(&'a self, path: &'a StoragePath, request: &'a Redirect) -> Pending<'a, Option<String>> {
        self.once(path, move |inner| inner.redirect(path, request))
    }

    fn walk<'a>(
        &'a self,
        from: &'a StoragePath,
        after: Option<&'a StoragePath>,
    ) -> Pending<'a, Box<dyn Walk>> {
        Box::pin(async move {
            let mut job = self.begin(from)?;
            let inner = self.inner.walk(from, after).await;
            let inner = inner.inspect_err(|error| job.end(Some(error)))?;
            Ok(Box::new(WatchedWalk { inner, job }) as Box<dyn Walk>)
        })
    }
}

/// What is read, until all of it is there.
struct WatchedChunks {
    chunks: Chunks,
    left: u64,
    job: Job,
}

impl Stream for WatchedChunks {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(chunk) = ready!(self.chunks.as_mut().poll_next(context)) else {
            self.job.end(None);
            return Poll::Ready(None);
        };
        let chunk = self.job.step(chunk);
        if let Ok(bytes) = &chunk {
            self.job.read(bytes);
            self.left = self.left.saturating_sub(bytes.len() as u64);
            // Nobody needs to ask again.
            if self.left == 0 {
                self.job.end(None);
            }
        }
        Poll::Ready(Some(chunk))
    }
}

#[derive(Debug)]
struct WatchedWriter {
    inner: Box<dyn Writer>,
    job: Job,
}

impl WatchedWriter {
    fn last<T: Send + 'static>(
        mut self: Box<Self>,
        call: impl FnOnce(Box<dyn Writer>) -> Pending<'static, T> + Send + 'static,
    ) -> Pending<'static, T> {
        Box::pin(async move {
            let done = call(self.inner).await;
            self.job.end(done.as_ref().err());
            done
        })
    }
}

impl Writer for WatchedWriter {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn write(&mut self, bytes: Bytes) -> Pending<'_, ()> {
        Box::pin(async move {
            let length = bytes.len();
            let done = self.inner.write(bytes).await;
            if done.is_ok() {
                self.job.written(length);
            }
            self.job.step(done)
        })
    }

    fn commit(self: Box<Self>) -> Pending<'static, ()> {
        self.last(|inner| inner.commit())
    }

    fn commit_to(self: Box<Self>, to: &StoragePath) -> Pending<'static, ()> {
        let to = to.clone();
        self.last(move |inner| inner.commit_to(&to))
    }

    fn commit_with(self: Box<Self>, to: &StoragePath, others: Vec<Put>) -> Pending<'static, Vec<Put>> {
        let to = to.clone();
        self.last(move |inner| inner.commit_with(&to, others))
    }

    fn close(self: Box<Self>) -> Pending<'static, ()> {
        self.last(|inner| inner.close())
    }

    fn cancel(self: Box<Self>) -> Pending<'static, ()> {
        self.last(|inner| inner.cancel())
    }
}

#[derive(Debug)]
struct WatchedWalk {
    inner: Box<dyn Walk>,
    job: Job,
}

impl Walk for WatchedWalk {
    fn next(&mut self) -> Pending<'_, Option<Entry>> {
        Box::pin(async move {
            let done = self.inner.next().await;
            if let Ok(None) = &done {
                self.job.end(None);
            }
            self.job.step(done)
        })
    }

    fn skip(&mut self) {
        self.inner.skip();
    }
}
