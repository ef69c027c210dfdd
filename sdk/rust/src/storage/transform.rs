//! A driver that stands on another and changes its bytes: encryption, compression, or nothing at all.
//!
//! [`Codec`] says how content becomes what is kept, and back. [`Transform`] makes a [`Store`] of it, uploads included: what has to be
//! known of them between two writers is kept as content of the inner store, which any other instance, and any other process, finds.
//!
//! An upload to `/a/b` is written to `/a/.NAME/b/new`, where `.NAME` is [`Codec::OWN`], and a commit makes that the content of its
//! path in one step. Closed, it becomes a piece, `/a/.NAME/b/piece-00000000`, which is whole by itself; the next writer makes the
//! next piece. A commit moves a single piece to its path; several are read and written as one. Nobody sees these folders, and
//! they are deleted with the path or with a folder above it.
//!
//! The inner store need not be able to append.

mod writer;

use std::io::Read;
use std::rc::Rc;

use self::writer::TransformWriter;
use super::words::is_below;
use super::{
    Capabilities, Condition, Content, Entries, Entry, File, Kind, RedirectMethod, StorageError, Store,
    Upload, WriteMode,
};

/// How content becomes what the inner store keeps, and back.
pub trait Codec: 'static {
    /// The name of the folders with what is not committed: a part of a path, beginning with a dot, that nobody else uses.
    const OWN: &'static str;

    /// Begins to change content that will be at `path`.
    ///
    /// # Errors
    ///
    /// Any.
    fn encoder(&self, path: &str) -> Result<Box<dyn Encoder>, StorageError>;

    /// How large the content is, of which the inner store keeps `file`.
    ///
    /// # Errors
    ///
    /// [`StorageError::Damaged`] if this cannot be content of the codec's.
    fn size(&self, inner: &Rc<dyn Store>, path: &str, file: File) -> Result<u64, StorageError>;

    /// The content from `offset` on, as [`Store::read`]. `path` is where the inner store has it, `meant` where it belongs.
    ///
    /// # Errors
    ///
    /// Those of [`Store::read`], and [`StorageError::Damaged`].
    fn read(
        &self,
        inner: &Rc<dyn Store>,
        path: &str,
        meant: &str,
        offset: u64,
    ) -> Result<Content, StorageError>;

    /// Whether what is kept for one path is right for another, too; else it is decoded and encoded again.
    fn fits(&self, _from: &str, _to: &str) -> bool {
        true
    }
}

/// Changes the bytes of one content.
pub trait Encoder {
    /// Takes some of the content, and appends what is ready of what is kept.
    ///
    /// # Errors
    ///
    /// Any.
    fn write(&mut self, content: &[u8], kept: &mut Vec<u8>) -> Result<(), StorageError>;

    /// Appends the rest of what is kept.
    ///
    /// # Errors
    ///
    /// Any.
    fn finish(self: Box<Self>, kept: &mut Vec<u8>) -> Result<(), StorageError>;
}

/// Changes nothing: for a store that needs no more than uploads.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Codec for Plain {
    const OWN: &'static str = ".transom-uploads";

    fn encoder(&self, _: &str) -> Result<Box<dyn Encoder>, StorageError> {
        Ok(Box::new(AsItIs))
    }

    fn size(&self, _: &Rc<dyn Store>, _: &str, file: File) -> Result<u64, StorageError> {
        Ok(file.size)
    }

    fn read(&self, inner: &Rc<dyn Store>, path: &str, _: &str, offset: u64) -> Result<Content, StorageError> {
        inner.read(path, offset)
    }
}

/// A store that stands on another.
pub struct Transform<C> {
    inner: Rc<dyn Store>,
    codec: Rc<C>,
}

impl<C> std::fmt::Debug for Transform<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transform").finish_non_exhaustive()
    }
}

impl<C> Clone for Transform<C> {
    fn clone(&self) -> Self {
        Self {
            inner: Rc::clone(&self.inner),
            codec: Rc::clone(&self.codec),
        }
    }
}

impl<C: Codec> Transform<C> {
    /// A store on `inner`.
    pub fn new(inner: Rc<dyn Store>, codec: C) -> Self {
        Self {
            inner,
            codec: Rc::new(codec),
        }
    }

    /// A path with the codec's own folder in it is nobody's.
    fn check(&self, path: &str) -> Result<(), StorageError> {
        match path.split('/').any(|part| part == C::OWN) {
            true => Err(StorageError::InvalidPath(format!(
                "{} is the driver's own",
                C::OWN
            ))),
            false => Ok(()),
        }
    }

    /// The folder with what was written to a path and not committed.
    fn uploads(path: &str) -> String {
        let (folder, name) = path.rsplit_once('/').unwrap_or_default();
        format!("{folder}/{}/{name}", C::OWN)
    }

    /// An entry of the inner store's as the content that it is.
    fn entry(&self, entry: Entry) -> Result<Entry, StorageError> {
        let Kind::File(file) = entry.kind else {
            return Ok(entry);
        };
        let size = self.codec.size(&self.inner, &entry.path, file)?;
        Ok(Entry::file(entry.path, File { size, ..file }))
    }

    /// Reads content from one path of the inner store and writes it to another, as it must be there.
    fn copy(&self, sources: &[(String, String)], through: &str, to: &str) -> Result<(), StorageError> {
        let mut out = self.inner.writer(through, WriteMode::Create)?;
        let mut encoder = self.codec.encoder(to)?;
        let (mut chunk, mut kept) = (vec![0; writer::BUFFER], Vec::new());
        for (path, meant) in sources {
            let mut content = self.codec.read(&self.inner, path, meant, 0)?.body;
            loop {
                let length = content.read(&mut chunk)?;
                if length == 0 {
                    break;
                }
                encoder.write(&chunk[..length], &mut kept)?;
                writer::flush(&mut *out, &mut kept, writer::BUFFER)?;
            }
        }
        encoder.finish(&mut kept)?;
        writer::flush(&mut *out, &mut kept, 0)?;
        out.commit_to(to)
    }
}

impl<C: Codec> Store for Transform<C> {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            redirects: false,
            ..self.inner.capabilities()
        }
    }

    fn put(&self, path: &str, content: &[u8], condition: Condition) -> Result<(), StorageError> {
        self.check(path)?;
        let mut encoder = self.codec.encoder(path)?;
        let mut kept = Vec::new();
        encoder.write(content, &mut kept)?;
        encoder.finish(&mut kept)?;
        self.inner.put(path, &kept, condition)
    }

    fn read(&self, path: &str, offset: u64) -> Result<Content, StorageError> {
        self.check(path)?;
        self.codec.read(&self.inner, path, path, offset)
    }

    fn writer(&self, path: &str, mode: WriteMode) -> Result<Box<dyn Upload>, StorageError> {
        self.check(path)?;
        Ok(Box::new(TransformWriter::open(self.clone(), path, mode)?))
    }

    fn stat(&self, path: &str) -> Result<Entry, StorageError> {
        self.check(path)?;
        self.entry(self.inner.stat(path)?)
    }

    fn children(&self, folder: &str) -> Result<Box<dyn Entries>, StorageError> {
        self.check(folder)?;
        Ok(Box::new(Seen {
            store: self.clone(),
            entries: self.inner.children(folder)?,
        }))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        self.check(from)?;
        self.check(to)?;
        if from == to || self.codec.fits(from, to) {
            return self.inner.rename(from, to);
        }
        let through = format!("{}/move", Self::uploads(to));
        self.copy(&[(from.to_owned(), from.to_owned())], &through, to)?;
        self.inner.delete(from)
    }

    fn delete(&self, path: &str) -> Result<(), StorageError> {
        self.check(path)?;
        let content = self.inner.delete(path);
        let uploads = self.inner.delete(&Self::uploads(path));
        match (content, uploads) {
            (Ok(()) | Err(StorageError::NotFound), Ok(())) => Ok(()),
            (content, Err(StorageError::NotFound | StorageError::NotFolder)) => content,
            (Ok(()), uploads) => uploads,
            (content, _) => content,
        }
    }

    fn redirect(&self, path: &str, _: RedirectMethod, _: u32) -> Result<Option<String>, StorageError> {
        self.check(path).map(|()| None)
    }

    fn walk(&self, folder: &str, after: Option<&str>) -> Result<Box<dyn Entries>, StorageError> {
        self.check(folder)?;
        Ok(Box::new(Seen {
            store: self.clone(),
            entries: self.inner.walk(folder, after)?,
        }))
    }
}

/// Entries as they are seen from above.
struct Seen<C> {
    store: Transform<C>,
    entries: Box<dyn Entries>,
}

impl<C: Codec> Entries for Seen<C> {
    fn next(&mut self) -> Result<Option<Entry>, StorageError> {
        let mut own: Option<String> = None;
        while let Some(entry) = self.entries.next()? {
            if own.as_deref().is_some_and(|own| is_below(&entry.path, own)) {
                continue;
            }
            if entry.name() == C::OWN {
                self.entries.skip(&entry.path);
                own = Some(entry.path);
                continue;
            }
            match self.store.entry(entry.clone()) {
                // It went away since it was listed.
                Err(StorageError::NotFound) => {}
                // One file that is not content must not hide the others. Whoever reads it is told.
                Err(StorageError::Damaged(what)) => {
                    log::warn!("{}: {what}", entry.path);
                    return Ok(Some(entry));
                }
                seen => return seen.map(Some),
            }
        }
        Ok(None)
    }

    fn skip(&mut self, folder: &str) {
        self.entries.skip(folder);
    }
}

/// Hands content on as it comes.
struct AsItIs;

impl Encoder for AsItIs {
    fn write(&mut self, content: &[u8], kept: &mut Vec<u8>) -> Result<(), StorageError> {
        kept.extend_from_slice(content);
        Ok(())
    }

    fn finish(self: Box<Self>, _: &mut Vec<u8>) -> Result<(), StorageError> {
        Ok(())
    }
}
