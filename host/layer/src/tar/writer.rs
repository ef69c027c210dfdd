//! Writing a tar stream: headers, data, filling, the end.

use std::io;

use super::block::BLOCK;
use super::encode::{Header, WriteError, encode, filling};
use super::entry::EntryKind;

/// What takes a tar's bytes.
pub trait TarSink {
    /// Takes all of `bytes`.
    ///
    /// # Errors
    /// Whatever keeps the sink from going on.
    fn put(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Lets `fill` write into the sink's own memory, once, and takes as many bytes as it says.
    ///
    /// # Errors
    /// What `fill` answers, or as [`TarSink::put`].
    fn fill(&mut self, fill: &mut dyn FnMut(&mut [u8]) -> io::Result<usize>) -> io::Result<usize>;
}

/// A tar in memory: for tests, and where it is small.
impl TarSink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }

    fn fill(&mut self, fill: &mut dyn FnMut(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
        let start = self.len();
        self.resize(start + 64 * BLOCK, 0);
        let filled = fill(&mut self[start..]);
        self.truncate(start + *filled.as_ref().unwrap_or(&0));
        filled
    }
}

/// Writes entries, one after the other.
#[derive(Debug)]
pub struct Writer<S> {
    sink: S,
    /// Bytes of the entry's data that are still to come.
    remaining: u64,
    /// Zeros that follow them.
    filling: usize,
    /// Memory for headers.
    scratch: Vec<u8>,
}

impl<S: TarSink> Writer<S> {
    /// Nothing written yet.
    pub fn new(sink: S) -> Writer<S> {
        Writer {
            sink,
            remaining: 0,
            filling: 0,
            scratch: Vec::new(),
        }
    }

    /// Writes an entry's header; if it is a file, [`Header::size`] bytes of data must follow.
    ///
    /// # Errors
    /// [`WriteError`]; after one of the sink nothing more can be written.
    pub fn entry(&mut self, header: &Header<'_>) -> Result<(), WriteError> {
        if self.remaining > 0 {
            return Err(WriteError::WrongSize);
        }
        self.scratch.clear();
        encode(header, &mut self.scratch)?;
        self.sink.put(&self.scratch)?;
        if header.kind == EntryKind::File {
            self.remaining = header.size;
            self.filling = filling(header.size);
        }
        Ok(())
    }

    /// Writes some of the entry's data.
    ///
    /// # Errors
    /// [`WriteError::WrongSize`] for more than the header said.
    pub fn data(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        let length = bytes.len() as u64;
        self.remaining = self.remaining.checked_sub(length).ok_or(WriteError::WrongSize)?;
        self.sink.put(bytes)?;
        self.fill_up()
    }

    /// Lets `read` write some of the entry's data straight into the sink's memory; it is never asked for more than there
    /// is to come. Answers what `read` did.
    ///
    /// # Errors
    /// What `read` or the sink answers.
    pub fn fill(
        &mut self,
        mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> Result<usize, WriteError> {
        let most = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        let count = self.sink.fill(&mut |buffer| {
            let end = buffer.len().min(most);
            read(&mut buffer[..end])
        })?;
        self.remaining -= count as u64;
        self.fill_up()?;
        Ok(count)
    }

    /// Bytes of the entry's data that are still to come.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Ends the archive and gives the sink back.
    ///
    /// # Errors
    /// [`WriteError::WrongSize`] when data are still to come.
    pub fn finish(mut self) -> Result<S, WriteError> {
        if self.remaining > 0 {
            return Err(WriteError::WrongSize);
        }
        self.sink.put(&[0; 2 * BLOCK])?;
        Ok(self.sink)
    }

    /// Fills the last block of the data up when they are complete.
    fn fill_up(&mut self) -> Result<(), WriteError> {
        if self.remaining == 0 && self.filling > 0 {
            self.sink.put(&[0; BLOCK][..self.filling])?;
            self.filling = 0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::block::text;
    use super::*;

    fn file(path: &[u8]) -> Header<'_> {
        Header {
            kind: EntryKind::File,
            path,
            link: b"",
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: 0,
            device: (0, 0),
            xattrs: &[],
        }
    }

    #[test]
    fn data_must_have_the_size_that_was_said() {
        let mut writer = Writer::new(Vec::new());
        writer
            .entry(&Header {
                size: 3,
                ..file(b"a")
            })
            .unwrap();
        assert!(matches!(writer.data(b"four"), Err(WriteError::WrongSize)));
        let mut writer = Writer::new(Vec::new());
        writer
            .entry(&Header {
                size: 3,
                ..file(b"a")
            })
            .unwrap();
        writer.data(b"on").unwrap();
        assert!(matches!(writer.entry(&file(b"b")), Err(WriteError::WrongSize)));
        assert_eq!(writer.remaining(), 1);
        let count = writer
            .fill(|buffer| {
                assert_eq!(buffer.len(), 1);
                buffer[0] = b'e';
                Ok(1)
            })
            .unwrap();
        assert_eq!(count, 1);
        let out = writer.finish().unwrap();
        assert_eq!(out.len(), 4 * BLOCK);
        assert_eq!(text(&out[BLOCK..]), b"one");
    }
}
