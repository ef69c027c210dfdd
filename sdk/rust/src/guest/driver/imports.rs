//! What the host offers, as the SDK's traits.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use super::bindings::transom::storage::{clock, driver, http, keys, random as host_random, settings};
use crate::storage::{
    Capabilities, Condition, Content, Entries, Entry, Http, Key, Keys, RedirectMethod, Request, Response,
    Sending, StorageError, Store, Upload, WriteMode,
};
use crate::{Config, Instant};

/// What is asked of the host in one read, the most that it gives.
const READ: u32 = 256 * 1024;
/// The most that goes to the host in one write.
const WRITE: usize = 1024 * 1024;
/// Entries in a page.
const PAGE: u32 = 500;

pub(crate) fn config() -> Config {
    let config = settings::config().into_iter();
    config.map(|(key, value)| (key, value.into())).collect()
}

pub(crate) fn secret(name: &str) -> Option<String> {
    settings::secret_of(name).map(|secret| secret.reveal())
}

pub(crate) fn random(count: usize) -> Vec<u8> {
    host_random::bytes(u32::try_from(count).unwrap_or(u32::MAX))
}

pub(crate) fn now() -> Instant {
    clock::now().into()
}

/// Bytes that come in chunks, as a reader.
struct Chunked<F> {
    next: F,
    chunk: Vec<u8>,
    taken: usize,
}

impl<F: FnMut() -> Result<Vec<u8>, StorageError>> Chunked<F> {
    fn new(next: F) -> Self {
        Self {
            next,
            chunk: Vec::new(),
            taken: 0,
        }
    }
}

impl<F: FnMut() -> Result<Vec<u8>, StorageError>> Read for Chunked<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.chunk.len() && !buffer.is_empty() {
            // Freed first, so that the allocator can give the same memory again.
            self.chunk = Vec::new();
            self.taken = 0;
            self.chunk = (self.next)()?;
        }
        let length = (&self.chunk[self.taken..]).read(buffer)?;
        self.taken += length;
        Ok(length)
    }
}

/// The driver that this one stands on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostStore;

impl Store for HostStore {
    fn capabilities(&self) -> Capabilities {
        driver::capabilities_of().into()
    }

    fn get(&self, path: &str, limit: u64) -> Result<Vec<u8>, StorageError> {
        Ok(driver::get(path, limit)?)
    }

    fn put(&self, path: &str, content: &[u8], condition: Condition) -> Result<(), StorageError> {
        Ok(driver::put(path, content, condition.into())?)
    }

    fn read(&self, path: &str, offset: u64) -> Result<Content, StorageError> {
        let driver::Content { file, reader } = driver::read(path, offset)?;
        let body = Chunked::new(move || Ok(reader.read(READ)?));
        Ok(Content {
            file: file.into(),
            body: Box::new(body),
        })
    }

    fn writer(&self, path: &str, mode: WriteMode) -> Result<Box<dyn Upload>, StorageError> {
        Ok(Box::new(HostUpload(driver::open_writer(path, mode.into())?)))
    }

    fn stat(&self, path: &str) -> Result<Entry, StorageError> {
        Ok(driver::stat(path)?.into())
    }

    fn children(&self, folder: &str) -> Result<Box<dyn Entries>, StorageError> {
        Ok(HostEntries::boxed(driver::children(folder)?))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        Ok(driver::rename(from, to)?)
    }

    fn delete(&self, path: &str) -> Result<(), StorageError> {
        Ok(driver::delete(path)?)
    }

    fn redirect(
        &self,
        path: &str,
        method: RedirectMethod,
        seconds: u32,
    ) -> Result<Option<String>, StorageError> {
        Ok(driver::redirect(path, method.into(), seconds)?)
    }

    fn walk(&self, folder: &str, after: Option<&str>) -> Result<Box<dyn Entries>, StorageError> {
        Ok(HostEntries::boxed(driver::walk(folder, after)?))
    }
}

struct HostEntries {
    entries: driver::Entries,
    page: VecDeque<Entry>,
    ended: bool,
}

impl HostEntries {
    fn boxed(entries: driver::Entries) -> Box<dyn Entries> {
        Box::new(HostEntries {
            entries,
            page: VecDeque::new(),
            ended: false,
        })
    }
}

impl Entries for HostEntries {
    fn next(&mut self) -> Result<Option<Entry>, StorageError> {
        if self.page.is_empty() && !self.ended {
            let page = self.entries.next(PAGE)?;
            self.ended = page.is_empty();
            self.page = page.into_iter().map(Entry::from).collect();
        }
        Ok(self.page.pop_front())
    }

    fn skip(&mut self, folder: &str) {
        self.page
            .retain(|entry| !crate::storage::is_below(&entry.path, folder));
        if self.page.is_empty() {
            self.entries.skip(folder);
        }
    }
}

struct HostUpload(driver::Writer);

impl Write for HostUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(WRITE)];
        self.0.write(bytes).map_err(StorageError::from)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for HostUpload {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn commit(self: Box<Self>) -> Result<(), StorageError> {
        Ok(driver::Writer::commit(self.0)?)
    }

    fn commit_to(self: Box<Self>, to: &str) -> Result<(), StorageError> {
        Ok(driver::Writer::commit_to(self.0, to)?)
    }

    fn close(self: Box<Self>) -> Result<(), StorageError> {
        Ok(driver::Writer::close(self.0)?)
    }

    fn cancel(self: Box<Self>) -> Result<(), StorageError> {
        Ok(driver::Writer::cancel(self.0)?)
    }
}

/// The keys that the host holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostKeys;

impl Keys for HostKeys {
    fn create(&self, context: &str) -> Result<Box<dyn Key>, StorageError> {
        Ok(Box::new(HostKey(keys::create(context)?)))
    }

    fn restore(&self, token: &[u8]) -> Result<Box<dyn Key>, StorageError> {
        Ok(Box::new(HostKey(keys::restore(token)?)))
    }

    fn is_for(&self, token: &[u8], context: &str) -> bool {
        keys::is_for(token, context)
    }
}

struct HostKey(keys::Key);

impl Key for HostKey {
    fn token(&self) -> Vec<u8> {
        self.0.token()
    }

    fn seal(&self, associated: &[u8], message: &[u8]) -> Result<Vec<u8>, StorageError> {
        Ok(self.0.seal(associated, message)?)
    }

    fn open(&self, associated: &[u8], sealed: &[u8]) -> Result<Vec<u8>, StorageError> {
        Ok(self.0.open(associated, sealed)?)
    }
}

/// HTTP by the host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostHttp;

fn request(request: &Request) -> http::Request {
    http::Request {
        method: request.method.clone(),
        url: request.url.clone(),
        headers: request.headers.clone(),
    }
}

fn response(response: http::Response) -> Response {
    Response {
        status: response.status(),
        headers: response.headers(),
        body: Box::new(Chunked::new(move || Ok(response.read(READ)?))),
    }
}

impl Http for HostHttp {
    fn send(&self, ask: &Request, body: &[u8]) -> Result<Response, StorageError> {
        Ok(response(http::send(&request(ask), body)?))
    }

    fn upload(&self, ask: &Request, length: Option<u64>) -> Result<Box<dyn Sending>, StorageError> {
        Ok(Box::new(HostSending(http::send_upload(&request(ask), length)?)))
    }
}

struct HostSending(http::Upload);

impl Write for HostSending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(WRITE)];
        self.0.write(bytes).map_err(StorageError::from)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sending for HostSending {
    fn finish(self: Box<Self>) -> Result<Response, StorageError> {
        Ok(response(http::Upload::finish(self.0)?))
    }
}
