//! Uploads: pieces that are whole by themselves, and a commit.

use std::io::{self, Write};

use super::{Codec, Encoder, Transform};
use crate::storage::{Kind, StorageError, Upload, WriteMode};

/// What is kept goes to the inner store in pieces of about this size.
pub(super) const BUFFER: usize = 256 * 1024;

/// Hands on what is kept if it is more than `least` bytes.
pub(super) fn flush(out: &mut dyn Write, kept: &mut Vec<u8>, least: usize) -> io::Result<()> {
    if kept.len() > least {
        out.write_all(kept)?;
        kept.clear();
    }
    Ok(())
}

/// Content that is being written.
pub(super) struct TransformWriter<C> {
    store: Transform<C>,
    path: String,
    /// The folder with the pieces and the upload that is open.
    folder: String,
    /// The pieces of the writers before this one, by name.
    pieces: Vec<String>,
    /// Bytes of content in the pieces, and by this writer.
    before: u64,
    written: u64,
    encoder: Option<Box<dyn Encoder>>,
    kept: Vec<u8>,
    out: Box<dyn Upload>,
}

impl<C: Codec> TransformWriter<C> {
    pub(super) fn open(store: Transform<C>, path: &str, mode: WriteMode) -> Result<Self, StorageError> {
        let inner = &store.inner;
        if !inner.capabilities().flat {
            match inner.stat(path) {
                Ok(entry) if entry.is_folder() => return Err(StorageError::IsFolder),
                Ok(_) | Err(StorageError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        let folder = Transform::<C>::uploads(path);
        // First, as the inner store knows whether somebody else writes to this path.
        let out = inner.writer(&format!("{folder}/new"), WriteMode::Create)?;
        let mut writer = Self {
            pieces: pieces(&store, &folder)?,
            path: path.to_owned(),
            folder,
            before: 0,
            written: 0,
            encoder: None,
            kept: Vec::new(),
            out,
            store,
        };
        match mode {
            WriteMode::Create => {
                forget(&writer.store, &writer.pieces)?;
                writer.pieces.clear();
            }
            WriteMode::Append => {
                if writer.pieces.is_empty() {
                    writer = writer.begin_with_committed()?;
                }
                writer.before = writer.size_of_pieces()?;
            }
        }
        Ok(writer)
    }

    /// Makes a piece of the committed content, which stays as it is.
    fn begin_with_committed(mut self) -> Result<Self, StorageError> {
        let first = self.next_piece();
        let source = [(self.path.clone(), self.path.clone())];
        let through = format!("{}/copy", self.folder);
        match self.store.copy(&source, &through, &first) {
            Ok(()) => {
                self.pieces.push(first);
                Ok(self)
            }
            Err(error) => {
                self.out.cancel()?;
                Err(error)
            }
        }
    }

    fn next_piece(&self) -> String {
        let number = |path: &String| {
            path.rsplit('-')
                .next()
                .and_then(|digits| digits.parse::<u32>().ok())
        };
        let next = self.pieces.last().and_then(number).map_or(0, |last| last + 1);
        format!("{}/piece-{next:08}", self.folder)
    }

    fn size_of_pieces(&self) -> Result<u64, StorageError> {
        let mut size = 0;
        for piece in &self.pieces {
            let entry = self.store.entry(self.store.inner.stat(piece)?)?;
            size += match entry.kind {
                Kind::File(file) => file.size,
                Kind::Folder => 0,
            };
        }
        Ok(size)
    }

    fn encode(&mut self, content: &[u8]) -> Result<(), StorageError> {
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            None => self.encoder.insert(self.store.codec.encoder(&self.path)?),
        };
        encoder.write(content, &mut self.kept)
    }

    /// Ends what this writer has written, and makes it the content of a path of the inner store.
    fn end(&mut self) -> Result<(), StorageError> {
        let encoder = match self.encoder.take() {
            Some(encoder) => encoder,
            None => self.store.codec.encoder(&self.path)?,
        };
        encoder.finish(&mut self.kept)?;
        Ok(flush(&mut *self.out, &mut self.kept, 0)?)
    }

    /// Whether this writer has something that no piece has.
    fn has_news(&self) -> bool {
        self.written > 0 || self.pieces.is_empty()
    }
}

/// The pieces of an upload, in order.
fn pieces<C: Codec>(store: &Transform<C>, folder: &str) -> Result<Vec<String>, StorageError> {
    let mut entries = match store.inner.children(folder) {
        Ok(entries) => entries,
        Err(StorageError::NotFound) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut pieces = Vec::new();
    loop {
        match entries.next() {
            Ok(Some(entry)) if entry.name().starts_with("piece-") => pieces.push(entry.path),
            Ok(Some(_)) => {}
            Ok(None) | Err(StorageError::NotFound) => return Ok(pieces),
            Err(error) => return Err(error),
        }
    }
}

/// Deletes pieces.
fn forget<C: Codec>(store: &Transform<C>, pieces: &[String]) -> Result<(), StorageError> {
    for piece in pieces {
        match store.inner.delete(piece) {
            Ok(()) | Err(StorageError::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl<C: Codec> Write for TransformWriter<C> {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        if content.is_empty() {
            return Ok(0);
        }
        let part = &content[..content.len().min(BUFFER)];
        self.encode(part)?;
        flush(&mut *self.out, &mut self.kept, BUFFER)?;
        self.written += part.len() as u64;
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<C: Codec> Upload for TransformWriter<C> {
    fn size(&self) -> u64 {
        self.before + self.written
    }

    fn commit(self: Box<Self>) -> Result<(), StorageError> {
        let to = self.path.clone();
        self.commit_to(&to)
    }

    fn commit_to(mut self: Box<Self>, to: &str) -> Result<(), StorageError> {
        self.store.check(to)?;
        let fits = self.store.codec.fits(&self.path, to);
        if self.pieces.is_empty() && fits {
            self.end()?;
            return self.out.commit_to(to);
        }
        let news = self.has_news();
        if news {
            self.end()?;
            self.pieces.push(self.next_piece());
        }
        let Self {
            store,
            path,
            folder,
            pieces,
            out,
            ..
        } = *self;
        match pieces.last() {
            Some(last) if news => out.commit_to(last)?,
            _ => out.cancel()?,
        }
        match pieces.as_slice() {
            [only] if fits => store.inner.rename(only, to),
            pieces => {
                let meant = |piece: &String| (piece.clone(), path.clone());
                let sources: Vec<_> = pieces.iter().map(meant).collect();
                store.copy(&sources, &format!("{folder}/joined"), to)?;
                forget(&store, pieces)
            }
        }
    }

    fn close(mut self: Box<Self>) -> Result<(), StorageError> {
        if !self.has_news() {
            return self.out.cancel();
        }
        self.end()?;
        let piece = self.next_piece();
        self.out.commit_to(&piece)
    }

    fn cancel(self: Box<Self>) -> Result<(), StorageError> {
        forget(&self.store, &self.pieces)?;
        self.out.cancel()
    }
}
