//! A driver around another that sees every call.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::driver::{
    Capabilities, Condition, Pending, Put, Redirect, Stamp, StorageDriver, WriteMode, Writer, put_groups,
};
use crate::walk::Walk;
use crate::{Entry, Error, Reader, StoragePath};

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Action {
    /// [`StorageDriver::get`].
    Get,
    /// [`StorageDriver::put`].
    Put,
    /// [`StorageDriver::put`] with [`Condition::Absent`].
    PutIfAbsent,
    /// [`StorageDriver::put_all`], where that is one call.
    PutAll,
    /// [`StorageDriver::read`].
    Read,
    /// [`StorageDriver::writer`].
    OpenWriter,
    /// [`StorageDriver::stat`].
    Stat,
    /// [`StorageDriver::list`].
    List,
    /// [`StorageDriver::rename`].
    Rename,
    /// [`StorageDriver::delete`].
    Delete,
    /// [`StorageDriver::redirect`].
    Redirect,
    /// [`StorageDriver::walk`].
    Walk,
    /// [`Walk::next`].
    WalkNext,
    /// [`Writer::write`].
    Write,
    /// [`Writer::commit`], [`Writer::commit_to`] and [`Writer::commit_with`].
    Commit,
    /// [`Writer::close`].
    Close,
    /// [`Writer::cancel`].
    Cancel,
}

impl Action {
    /// Every action.
    pub const ALL: [Action; 17] = [
        Action::Get,
        Action::Put,
        Action::PutIfAbsent,
        Action::PutAll,
        Action::Read,
        Action::OpenWriter,
        Action::Stat,
        Action::List,
        Action::Rename,
        Action::Delete,
        Action::Redirect,
        Action::Walk,
        Action::WalkNext,
        Action::Write,
        Action::Commit,
        Action::Close,
        Action::Cancel,
    ];

    /// Its name in metrics and traces.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Action::Get => "get",
            Action::Put => "put",
            Action::PutIfAbsent => "put-if-absent",
            Action::PutAll => "put-all",
            Action::Read => "read",
            Action::OpenWriter => "open-writer",
            Action::Stat => "stat",
            Action::List => "list",
            Action::Rename => "rename",
            Action::Delete => "delete",
            Action::Redirect => "redirect",
            Action::Walk => "walk",
            Action::WalkNext => "walk-next",
            Action::Write => "write",
            Action::Commit => "commit",
            Action::Close => "close",
            Action::Cancel => "cancel",
        }
    }

    /// Whether it changes what is stored.
    #[must_use]
    pub fn changes(self) -> bool {
        matches!(
            self,
            Action::Put
                | Action::PutIfAbsent
                | Action::PutAll
                | Action::OpenWriter
                | Action::Rename
                | Action::Delete
                | Action::Write
                | Action::Commit
                | Action::Close
                | Action::Cancel
        )
    }
}

/// A call that is about to be made.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// What it does.
    pub action: Action,
    /// To what; the first of several puts, the source of a rename, the folder of a walk.
    pub path: &'a StoragePath,
    /// Bytes that are written by it; 0 if none are.
    pub bytes: u64,
}

/// What an [`Intercepted`] does with each call.
pub trait Interceptor: Send + Sync + fmt::Debug + 'static {
    /// The driver's name. The name of the inner one unless said otherwise.
    fn name<'a>(&'a self, inner: &'a str) -> &'a str {
        inner
    }

    /// What the driver can do. What the inner one can unless said otherwise.
    fn capabilities(&self, inner: Capabilities) -> Capabilities {
        inner
    }

    /// Makes a call, or does not.
    fn once<'a, T: Send + 'a>(&'a self, call: Call<'a>, run: Pending<'a, T>) -> Pending<'a, T>;

    /// Makes a call that may be made several times; each `run` is one.
    fn again<'a, T, F>(&'a self, call: Call<'a>, run: F) -> Pending<'a, T>
    where
        T: Send + 'a,
        F: Fn() -> Pending<'a, T> + Send + Sync + 'a,
    {
        self.once(call, run())
    }

    /// Looks at content that was got whole.
    ///
    /// # Errors
    /// What it finds.
    fn got(&self, path: &StoragePath, content: &Bytes) -> Result<(), Error> {
        let _ = (path, content);
        Ok(())
    }

    /// Puts itself between a reader and who reads. `offset` is where it begins.
    fn reading(&self, reader: Reader, offset: u64) -> Reader {
        let _ = offset;
        reader
    }
}

/// A driver with an interceptor around it.
#[derive(Debug)]
pub struct Intercepted<I> {
    inner: Arc<dyn StorageDriver>,
    interceptor: Arc<I>,
}

impl<I: Interceptor> Intercepted<I> {
    /// Puts `interceptor` around `inner`.
    pub fn new(inner: Arc<dyn StorageDriver>, interceptor: Arc<I>) -> Intercepted<I> {
        Intercepted { inner, interceptor }
    }

    fn call<'a, T, F>(&'a self, action: Action, path: &'a StoragePath, run: F) -> Pending<'a, T>
    where
        T: Send + 'a,
        F: Fn() -> Pending<'a, T> + Send + Sync + 'a,
    {
        let bytes = 0;
        self.interceptor.again(Call { action, path, bytes }, run)
    }
}

impl<I: Interceptor> StorageDriver for Intercepted<I> {
    fn name(&self) -> &str {
        self.interceptor.name(self.inner.name())
    }

    fn capabilities(&self) -> Capabilities {
        self.interceptor.capabilities(self.inner.capabilities())
    }

    fn get<'a>(&'a self, path: &'a StoragePath, limit: u64) -> Pending<'a, Bytes> {
        Box::pin(async move {
            let got = self
                .call(Action::Get, path, move || self.inner.get(path, limit))
                .await?;
            self.interceptor.got(path, &got)?;
            Ok(got)
        })
    }

    fn put<'a>(&'a self, path: &'a StoragePath, content: Bytes, condition: Condition) -> Pending<'a, ()> {
        let action = match condition {
            Condition::Always => Action::Put,
            Condition::Absent => Action::PutIfAbsent,
        };
        let bytes = content.len() as u64;
        let run = move || self.inner.put(path, content.clone(), condition);
        self.interceptor.again(Call { action, path, bytes }, run)
    }

    fn put_all(&self, groups: Vec<Vec<Put>>) -> Pending<'_, ()> {
        Box::pin(async move {
            if !self.inner.capabilities().together {
                return put_groups(self, &groups).await;
            }
            let Some(first) = groups.iter().flatten().next() else {
                return Ok(());
            };
            let action = Action::PutAll;
            let bytes = groups.iter().flatten().map(|put| put.content.len() as u64).sum();
            let path = &first.path;
            let run = || self.inner.put_all(groups.clone());
            self.interceptor.again(Call { action, path, bytes }, run).await
        })
    }

    fn read<'a>(&'a self, path: &'a StoragePath, offset: u64) -> Pending<'a, Reader> {
        Box::pin(async move {
            let reader = self
                .call(Action::Read, path, move || self.inner.read(path, offset))
                .await?;
            Ok(self.interceptor.reading(reader, offset))
        })
    }

    fn writer<'a>(&'a self, path: &'a StoragePath, mode: WriteMode) -> Pending<'a, Box<dyn Writer>> {
        Box::pin(async move {
            let inner = self
                .call(Action::OpenWriter, path, move || self.inner.writer(path, mode))
                .await?;
            Ok(Box::new(InterceptedWriter {
                inner,
                path: path.clone(),
                interceptor: Arc::clone(&self.interceptor),
            }) as Box<dyn Writer>)
        })
    }

    fn stat<'a>(&'a self, path: &'a StoragePath) -> Pending<'a, Entry> {
        self.call(Action::Stat, path, move || self.inner.stat(path))
    }

    fn list<'a>(&'a self, folder: &'a StoragePath) -> Pending<'a, Vec<Entry>> {
        self.call(Action::List, folder, move || self.inner.list(folder))
    }

    fn rename<'a>(&'a self, from: &'a StoragePath, to: &'a StoragePath) -> Pending<'a, ()> {
        self.call(Action::Rename, from, move || self.inner.rename(from, to))
    }

    fn delete<'a>(&'a self, path: &'a StoragePath) -> Pending<'a, ()> {
        self.call(Action::Delete, path, move || self.inner.delete(path))
    }

    fn redirect<'a>(&'a self, path: &'a StoragePath, request: &'a Redirect) -> Pending<'a, Option<String>> {
        self.call(Action::Redirect, path, move || self.inner.redirect(path, request))
    }

    fn walk<'a>(
        &'a self,
        from: &'a StoragePath,
        after: Option<&'a StoragePath>,
    ) -> Pending<'a, Box<dyn Walk>> {
        Box::pin(async move {
            let inner = self
                .call(Action::Walk, from, move || self.inner.walk(from, after))
                .await?;
            Ok(Box::new(InterceptedWalk {
                inner,
                from: from.clone(),
                interceptor: Arc::clone(&self.interceptor),
            }) as Box<dyn Walk>)
        })
    }

    /// One look, at the first of the folders.
    fn stamps<'a>(&'a self, folders: &'a [StoragePath]) -> Pending<'a, Vec<Option<Stamp>>> {
        match folders.first() {
            Some(first) => self.call(Action::Stat, first, move || self.inner.stamps(folders)),
            None => Box::pin(async { Ok(Vec::new()) }),
        }
    }
}

#[derive(Debug)]
struct InterceptedWriter<I> {
    inner: Box<dyn Writer>,
    path: StoragePath,
    interceptor: Arc<I>,
}

impl<I: Interceptor> InterceptedWriter<I> {
    fn end<T: Send + 'static>(
        self: Box<Self>,
        action: Action,
        run: impl FnOnce(Box<dyn Writer>) -> Pending<'static, T> + Send + 'static,
    ) -> Pending<'static, T> {
        Box::pin(async move {
            let (path, inner, bytes) = (&self.path, self.inner, 0);
            // Begun only when it is let through: a writer that is refused is dropped.
            let run = Box::pin(async move { run(inner).await });
            self.interceptor.once(Call { action, path, bytes }, run).await
        })
    }
}

impl<I: Interceptor> Writer for InterceptedWriter<I> {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn write(&mut self, bytes: Bytes) -> Pending<'_, ()> {
        let call = Call {
            action: Action::Write,
            path: &self.path,
            bytes: bytes.len() as u64,
        };
        self.interceptor.once(call, self.inner.write(bytes))
    }

    fn commit(self: Box<Self>) -> Pending<'static, ()> {
        self.end(Action::Commit, |writer| writer.commit())
    }

    fn commit_to(self: Box<Self>, to: &StoragePath) -> Pending<'static, ()> {
        let to = to.clone();
        self.end(Action::Commit, move |writer| writer.commit_to(&to))
    }

    fn commit_with(self: Box<Self>, to: &StoragePath, others: Vec<Put>) -> Pending<'static, Vec<Put>> {
        let to = to.clone();
        self.end(Action::Commit, move |writer| writer.commit_with(&to, others))
    }

    fn close(self: Box<Self>) -> Pending<'static, ()> {
        self.end(Action::Close, |writer| writer.close())
    }

    fn cancel(self: Box<Self>) -> Pending<'static, ()> {
        self.end(Action::Cancel, |writer| writer.cancel())
    }
}

#[derive(Debug)]
struct InterceptedWalk<I> {
    inner: Box<dyn Walk>,
    from: StoragePath,
    interceptor: Arc<I>,
}

impl<I: Interceptor> Walk for InterceptedWalk<I> {
    fn next(&mut self) -> Pending<'_, Option<Entry>> {
        let call = Call {
            action: Action::WalkNext,
            path: &self.from,
            bytes: 0,
        };
        self.interceptor.once(call, self.inner.next())
    }

    fn skip(&mut self) {
        self.inner.skip();
    }
}
