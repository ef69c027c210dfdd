//! What is kept, to content.

use std::io::{self, Read};

use transom_sdk::storage::{Content, File, Key, Keys, StorageError, Store};

use crate::form::{CHUNK, HEADER, MAGIC, MORE, chunks, content_size, place, position};

/// How often content is opened again that was replaced in the meantime.
const TRIES: usize = 8;

/// How many other places are tried to say what is wrong with a chunk.
const PLACES: u64 = 1024;

/// Opens content from an offset on. `context` is whose it must be; with none it may be anybody's.
pub(crate) fn read(
    keys: &dyn Keys,
    inner: &dyn Store,
    path: &str,
    context: &str,
    offset: u64,
) -> Result<Content, StorageError> {
    for _ in 0..TRIES {
        let mut kept = inner.read(path, 0)?;
        let size = content_size(kept.file.size)?;
        if offset > size {
            return Err(StorageError::InvalidOffset(size));
        }
        let key = key(keys, &mut *kept.body, context)?;
        let chunk = (offset / CHUNK as u64).min(chunks(size) - 1);
        if chunk > 0 {
            let seen = kept.file;
            kept = inner.read(path, position(chunk))?;
            if kept.file != seen {
                continue;
            }
        }
        let mut opener = Opener {
            key,
            kept: kept.body,
            chunk,
            chunks: chunks(size),
            size,
            content: Vec::new(),
            taken: 0,
        };
        opener.skip((offset - chunk * CHUNK as u64) as usize)?;
        let file = File { size, ..kept.file };
        return Ok(Content {
            file,
            body: Box::new(opener),
        });
    }
    Err(StorageError::unavailable(
        "it is replaced again and again while it is opened",
    ))
}

/// The key by the header.
fn key(keys: &dyn Keys, kept: &mut dyn Read, context: &str) -> Result<Box<dyn Key>, StorageError> {
    let mut header = [0; HEADER];
    kept.read_exact(&mut header)?;
    let (magic, token) = header.split_at(MAGIC.len());
    let (name, version) = magic.split_at(MAGIC.len() - 1);
    if name != &MAGIC[..name.len()] {
        return Err(StorageError::damaged("it was not encrypted by this driver"));
    }
    if version != &MAGIC[name.len()..] {
        return Err(StorageError::Unsupported(format!(
            "decrypt version {}: a newer driver may",
            version[0]
        )));
    }
    if !context.is_empty() && !keys.is_for(token, context) {
        return Err(StorageError::damaged(format!(
            "it was encrypted for another repository than {context}"
        )));
    }
    keys.restore(token)
}

/// Decrypts chunk by chunk.
struct Opener {
    key: Box<dyn Key>,
    kept: Box<dyn Read>,
    /// The next chunk.
    chunk: u64,
    chunks: u64,
    size: u64,
    content: Vec<u8>,
    taken: usize,
}

impl Opener {
    /// Opens the first chunk, and leaves some of it out.
    fn skip(&mut self, bytes: usize) -> Result<(), StorageError> {
        self.next()?;
        self.taken = bytes;
        Ok(())
    }

    fn next(&mut self) -> Result<(), StorageError> {
        let last = self.chunk + 1 == self.chunks;
        let length = match last {
            true => (self.size - self.chunk * CHUNK as u64) as usize,
            false => CHUNK,
        };
        let mut sealed = vec![0; length + MORE];
        self.kept.read_exact(&mut sealed)?;
        self.content = match self.key.open(&place(self.chunk, last), &sealed) {
            Ok(content) => content,
            Err(StorageError::Damaged(_)) => {
                return Err(StorageError::damaged(self.what_is_wrong(last, &sealed)));
            }
            Err(error) => return Err(error),
        };
        self.taken = 0;
        self.chunk += 1;
        Ok(())
    }

    /// What is wrong with a chunk, as well as it can be told.
    fn what_is_wrong(&self, last: bool, sealed: &[u8]) -> String {
        let chunk = self.chunk;
        let is = |chunk, last| self.key.open(&place(chunk, last), sealed).is_ok();
        if last && is(chunk, false) {
            return format!("it was cut off after chunk {chunk}");
        }
        if !last && is(chunk, true) {
            return format!("something was added after chunk {chunk}, its last");
        }
        let mut others = (0..self.chunks.min(PLACES)).filter(|other| *other != chunk);
        match others.find(|other| is(*other, false) || is(*other, true)) {
            Some(other) => format!("chunk {other} stands where chunk {chunk} belongs"),
            None => format!("chunk {chunk} is not what was encrypted"),
        }
    }
}

impl Read for Opener {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.content.len() && self.chunk < self.chunks && !buffer.is_empty() {
            self.next()?;
        }
        let length = (&self.content[self.taken..]).read(buffer)?;
        self.taken += length;
        Ok(length)
    }
}
