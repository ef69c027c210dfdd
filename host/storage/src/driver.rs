//! [`StorageDriver`]: what a registry asks of the place where its bytes are.

use std::fmt;
use std::fs::File;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::{Entry, Error, Reader, StoragePath, Walk};

/// A future that a trait object can return.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A tree of content by path.
///
/// What holds for every driver, and the [conformance suite](crate::conformance) checks:
///
/// - Content is seen whole or not at all: by [`put`](StorageDriver::put), or when a [`Writer`] commits. What was there
///   before is there until then. A reader that is open goes on with what it began with, or fails; it never mixes.
/// - When a call that changes something returns `Ok`, everybody sees it, and it survives a power cut if
///   [`Capabilities::durable`] says so.
/// - Folders come with what is below them and are never made. Whether an empty one remains when the last content below
///   it is gone is up to the driver.
/// - Lists and walks are in the order of [`StoragePath`], on every driver.
/// - The root is always a folder. Content cannot be at the root ([`Error::InvalidPath`]).
/// - A call that is dropped before it answers may have happened or not, and nothing in between.
pub trait StorageDriver: Send + Sync + fmt::Debug + 'static {
    /// The name that errors and lists show: the one that it is registered by.
    fn name(&self) -> &str;

    /// What this driver can do beyond the rest.
    fn capabilities(&self) -> Capabilities;

    /// The whole content, for what is small.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::TooLarge`] above `limit` bytes, [`Error::IsFolder`] (or `NotFound` where
    /// [`Capabilities::flat`]).
    fn get<'a>(&'a self, path: &'a StoragePath, limit: u64) -> Pending<'a, Bytes>;

    /// Sets the whole content, in one step.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] with [`Condition::Absent`] if there is content, [`Error::IsFolder`], [`Error::NotFolder`],
    /// [`Error::NoSpace`], [`Error::Unsupported`] with a condition that the driver cannot hold.
    fn put<'a>(&'a self, path: &'a StoragePath, content: Bytes, condition: Condition) -> Pending<'a, ()>;

    /// The content from `offset` bytes on.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::InvalidOffset`] beyond the end, [`Error::IsFolder`] (or `NotFound` where
    /// [`Capabilities::flat`]).
    fn read<'a>(&'a self, path: &'a StoragePath, offset: u64) -> Pending<'a, Reader>;

    /// Opens content for writing. Nobody sees what is written before it is committed.
    ///
    /// # Errors
    /// [`Error::Busy`] if another writer has the path open and the driver knows; otherwise each writes for itself, and
    /// the last commit stays. [`Error::NotFound`] with [`WriteMode::Append`] where there is nothing to go on with,
    /// [`Error::IsFolder`], [`Error::NotFolder`], [`Error::NoSpace`].
    fn writer<'a>(&'a self, path: &'a StoragePath, mode: WriteMode) -> Pending<'a, Box<dyn Writer>>;

    /// What is at a path.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    fn stat<'a>(&'a self, path: &'a StoragePath) -> Pending<'a, Entry>;

    /// What is directly in a folder, ordered by name.
    ///
    /// # Errors
    /// [`Error::NotFound`], but never for the root; [`Error::NotFolder`] for content (or `NotFound` where
    /// [`Capabilities::flat`]).
    fn list<'a>(&'a self, folder: &'a StoragePath) -> Pending<'a, Vec<Entry>>;

    /// Moves content. What is at `to` is replaced. Folders are not moved.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is nothing at `from`; `to` is then as it was. [`Error::IsFolder`] for either path (or
    /// `NotFound` for `from` where [`Capabilities::flat`]), [`Error::NotFolder`].
    fn rename<'a>(&'a self, from: &'a StoragePath, to: &'a StoragePath) -> Pending<'a, ()>;

    /// Deletes content, or a folder with all that is below it, and what was written at or below the path but not
    /// committed. What begins with the same letters only is left alone.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there was nothing.
    fn delete<'a>(&'a self, path: &'a StoragePath) -> Pending<'a, ()>;

    /// A URL where a client gets the content by itself; `None` if the caller must serve it. Whether there is content at
    /// the path is not checked.
    ///
    /// # Errors
    /// Those of the store, if it is asked.
    fn redirect<'a>(&'a self, path: &'a StoragePath, request: &'a Redirect) -> Pending<'a, Option<String>>;

    /// Everything below a folder, the folder itself not, in order. With `after`, only what comes after that path in the
    /// order, which need not exist. What others change meanwhile may be seen or not.
    ///
    /// # Errors
    /// As [`list`](StorageDriver::list); at the latest from the first [`Walk::next`].
    fn walk<'a>(
        &'a self,
        from: &'a StoragePath,
        after: Option<&'a StoragePath>,
    ) -> Pending<'a, Box<dyn Walk>>;

    /// For each folder what proves, as long as it stays the same, that nothing came into the folder or left it, whoever
    /// might have done that. `None` for what is no folder, where the driver cannot tell, and for a while after a change.
    ///
    /// Whoever lists a folder after it had a stamp, and finds the same stamp later, knows what a list would say then.
    /// Links among the entries are not covered: what one leads to may change.
    ///
    /// # Errors
    /// Those of the store.
    fn stamps<'a>(&'a self, folders: &'a [StoragePath]) -> Pending<'a, Vec<Option<Stamp>>> {
        Box::pin(async move { Ok(vec![None; folders.len()]) })
    }
}

/// What tells one state of a folder from all others: bytes that only the driver understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp(Bytes);

impl Stamp {
    /// A stamp of these bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Bytes>) -> Stamp {
        Stamp(bytes.into())
    }

    /// The bytes, to be kept.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

/// Content that is being written.
///
/// Dropping it keeps what was written, for [`WriteMode::Append`], but does not promise it.
pub trait Writer: Send + fmt::Debug {
    /// How many bytes there are, with those that were there when it was opened to append.
    fn size(&self) -> u64;

    /// A file of this machine in which everything that was written can be read while more is written, and after the content
    /// was committed or thrown away, too. `None` where there is none.
    fn file(&self) -> Option<Arc<File>> {
        None
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// [`Error::NoSpace`], and others; [`size`](Writer::size) then says what was taken.
    /// [`Error::Interrupted`] after a call that was dropped before it answered.
    fn write(&mut self, bytes: Bytes) -> Pending<'_, ()>;

    /// Makes everything that was written the content of the path.
    ///
    /// # Errors
    /// [`Error::IsFolder`], [`Error::NoSpace`], and others: the content is then as it was before, and what was written is
    /// kept as by [`close`](Writer::close) if that can be. [`Error::NotFound`] if the path was deleted meanwhile and the
    /// driver knows.
    fn commit(self: Box<Self>) -> Pending<'static, ()>;

    /// Makes everything that was written the content of another path; there is then nothing at the path that was written
    /// to, but for what was committed there before. Spares the [`rename`](StorageDriver::rename) after a commit, and
    /// costs as much as a commit where [`Capabilities::quick_rename`].
    ///
    /// # Errors
    /// Those of [`commit`](Writer::commit), and [`Error::NotFolder`].
    fn commit_to(self: Box<Self>, to: &StoragePath) -> Pending<'static, ()>;

    /// Keeps what was written for [`WriteMode::Append`], as durably as content.
    ///
    /// # Errors
    /// Those of the store.
    fn close(self: Box<Self>) -> Pending<'static, ()>;

    /// Throws away what was written. Content that was there before stays.
    ///
    /// # Errors
    /// Those of the store.
    fn cancel(self: Box<Self>) -> Pending<'static, ()>;
}

/// What a driver can do beyond the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// [`put`](StorageDriver::put) takes [`Condition::Absent`].
    pub put_if_absent: bool,
    /// [`Reader::into_file`] gives a file of this machine.
    pub local_files: bool,
    /// [`redirect`](StorageDriver::redirect) gives URLs.
    pub redirects: bool,
    /// [`rename`](StorageDriver::rename) is one step and costs the same for any size.
    pub quick_rename: bool,
    /// What was acknowledged survives a power cut.
    pub durable: bool,
    /// Paths are keys: content may be at `/a` and at `/a/b`, nothing is ever [`Error::NotFolder`], and whether a path is
    /// a folder is known to `stat`, `list` and `walk` only.
    pub flat: bool,
}

/// When content may be set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Always; what is there is replaced.
    #[default]
    Always,
    /// Only if there is no content. Of several at the same time, one succeeds.
    Absent,
}

/// How content is opened for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteMode {
    /// From nothing; what was written before and not committed is thrown away.
    Create,
    /// After what was written before and not committed. Where there is no such thing, after the committed content, which
    /// is copied and stays as it is until this writer commits.
    Append,
}

/// What a redirect is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The method that the client will use.
    pub method: RedirectMethod,
    /// How long the URL should work.
    pub expires: Duration,
}

/// The methods of a redirect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RedirectMethod {
    /// `GET`.
    #[default]
    Get,
    /// `HEAD`.
    Head,
}

impl Default for Redirect {
    /// `GET` within 20 minutes, as docker-registry's drivers sign.
    fn default() -> Redirect {
        Redirect {
            method: RedirectMethod::Get,
            expires: Duration::from_secs(20 * 60),
        }
    }
}
