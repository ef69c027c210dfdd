//! A storage driver as the place of the content store's blobs (`[content.driver]`).
//!
//! The content store works on threads that may block, a driver in tasks: each call is a task that its thread waits for. The layout is
//! the one of the local folder, `blobs/<algorithm>/<hex>`.

use std::fmt;
use std::future::Future;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::SystemTime;

use bytes::{Buf, Bytes};
use serde_json::{Map, Value};
use tokio::runtime::Handle;
use tokio_stream::StreamExt;
use transom_content::remote::Listed;
use transom_content::{Info, Remote};
use transom_oci::Digest;
use transom_storage::{
    Condition, Entry, Error, Factory, Reader, StorageDriver, StoragePath, Walk, WriteMode,
};

use crate::Failure;

/// The folder of all blobs.
const BLOBS: &str = "/blobs";

/// Blobs up to this size are put in one call; longer ones are written in pieces of it.
const PIECE: usize = 4 << 20;

/// Blobs on a driver. Clones are the same.
#[derive(Clone)]
pub(crate) struct OnDriver {
    driver: Arc<dyn StorageDriver>,
    name: String,
    runtime: Handle,
}

impl OnDriver {
    /// Opens the driver of a table, whose work is done in this runtime.
    pub(crate) fn open(
        factory: &Factory,
        table: &Map<String, Value>,
        runtime: Handle,
    ) -> Result<OnDriver, Failure> {
        let driver = factory
            .open(table)
            .map_err(|error| Failure::ContentDriver(error.to_string()))?;
        Ok(OnDriver {
            driver,
            name: name(table),
            runtime,
        })
    }

    /// What a task makes of the driver. Not by blocking on it: whoever asks may be on a thread of the runtime.
    fn wait<T: Send + 'static, F>(&self, work: impl FnOnce(Arc<dyn StorageDriver>) -> F) -> io::Result<T>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let (answer, answered) = sync_channel(1);
        let work = work(Arc::clone(&self.driver));
        self.runtime.spawn(async move {
            // Nobody waits any more only if their thread panicked.
            drop(answer.send(work.await));
        });
        match answered.recv() {
            Ok(done) => done.map_err(failed),
            Err(_) => Err(io::Error::other("the daemon is stopping")),
        }
    }
}

impl Remote for OnDriver {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn info(&self, digest: &Digest) -> io::Result<Option<Info>> {
        let path = path(digest)?;
        let found = self.wait(|driver| async move { driver.stat(&path).await });
        match found {
            Ok(entry) => Ok(info(&entry)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn read(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send>> {
        let path = path(digest)?;
        let reader = self.wait(|driver| async move { driver.read(&path, 0).await })?;
        Ok(Box::new(Reading {
            on: self.clone(),
            content: Some(reader),
            current: Bytes::new(),
        }))
    }

    fn put(&self, digest: &Digest, size: u64, content: &mut dyn Read) -> io::Result<()> {
        let path = path(digest)?;
        if size <= PIECE as u64 {
            let whole = piece(content)?;
            return self.wait(|driver| async move { driver.put(&path, whole, Condition::Always).await });
        }
        let mut writer = self.wait(|driver| async move { driver.writer(&path, WriteMode::Create).await })?;
        loop {
            let bytes = match piece(content) {
                Ok(bytes) => bytes,
                Err(error) => {
                    drop(self.wait(|_| writer.cancel()));
                    return Err(error);
                }
            };
            if bytes.is_empty() {
                return self.wait(|_| writer.commit());
            }
            writer = self.wait(|_| async move {
                writer.write(bytes).await?;
                Ok(writer)
            })?;
        }
    }

    fn delete(&self, digest: &Digest) -> io::Result<bool> {
        let path = path(digest)?;
        match self.wait(|driver| async move { driver.delete(&path).await }) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn walk(&self) -> io::Result<Listed> {
        let from = StoragePath::new(BLOBS).map_err(failed)?;
        let walk = self.wait(|driver| async move { driver.walk(&from, None).await });
        let walk = match walk {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Box::new(std::iter::empty())),
            walk => walk?,
        };
        Ok(Box::new(Walking {
            on: self.clone(),
            walk: Some(walk),
        }))
    }
}

impl fmt::Debug for OnDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnDriver")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Content that arrives in chunks.
struct Reading {
    on: OnDriver,
    /// Away while a task has it, and gone at the end.
    content: Option<Reader>,
    current: Bytes,
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            let Some(mut content) = self.content.take() else {
                return Ok(0);
            };
            let next = self.on.wait(|_| async move {
                let chunk = content.next().await.transpose()?;
                Ok(chunk.map(|chunk| (chunk, content)))
            });
            let Some((chunk, content)) = next? else {
                return Ok(0);
            };
            self.current = chunk;
            self.content = Some(content);
        }
        let count = self.current.len().min(buffer.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// A list that is read entry by entry.
struct Walking {
    on: OnDriver,
    walk: Option<Box<dyn Walk>>,
}

impl Iterator for Walking {
    type Item = io::Result<Info>;

    fn next(&mut self) -> Option<io::Result<Info>> {
        loop {
            let mut walk = self.walk.take()?;
            let next = self.on.wait(|_| async move {
                let entry = walk.next().await?;
                Ok((entry, walk))
            });
            match next {
                Ok((None, _)) => return None,
                Ok((Some(entry), walk)) => {
                    self.walk = Some(walk);
                    if let Some(info) = info(&entry) {
                        return Some(Ok(info));
                    }
                }
                // A list of nothing.
                Err(e) if e.kind() == io::ErrorKind::NotFound => return None,
                Err(e) => return Some(Err(e)),
            }
        }
    }
}

/// Up to [`PIECE`] bytes; none at the end.
fn piece(content: &mut dyn Read) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    content.take(PIECE as u64).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

fn path(digest: &Digest) -> io::Result<StoragePath> {
    StoragePath::new(&format!("{BLOBS}/{}/{}", digest.algorithm(), digest.hex())).map_err(failed)
}

/// What an entry says of a blob; `None` for a folder and for what is foreign.
fn info(entry: &Entry) -> Option<Info> {
    if entry.is_folder() {
        return None;
    }
    let algorithm = entry.path.parent()?;
    let digest = format!("{}:{}", algorithm.name(), entry.path.name()).parse();
    let created = entry.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    Some(Info {
        digest: digest.ok()?,
        size: entry.size(),
        created,
        updated: created,
    })
}

/// What tells a driver from others: its parameters, those that are secret not.
fn name(table: &Map<String, Value>) -> String {
    let mut shown: Vec<String> = Vec::new();
    for (key, value) in table {
        match value {
            Value::Object(inner) => shown.push(format!("{key} = {{ {} }}", name(inner))),
            _ if TELLING.contains(&key.as_str()) => shown.push(format!("{key} = {value}")),
            _ => {}
        }
    }
    shown.sort();
    shown.join(", ")
}

/// Parameters that say where blobs are.
const TELLING: [&str; 8] = [
    "driver",
    "rootdirectory",
    "bucket",
    "container",
    "accountname",
    "regionendpoint",
    "region",
    "url",
];

fn failed(error: Error) -> io::Error {
    match error {
        Error::NotFound { .. } => io::Error::new(io::ErrorKind::NotFound, error),
        Error::NoSpace { .. } => io::Error::new(io::ErrorKind::StorageFull, error),
        error => io::Error::other(error),
    }
}
