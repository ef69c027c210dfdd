//! For processors that decompress: a decoder of some crate between the streams of the host.

use std::io::{self, BufRead, Read, Write};

use crate::Error;

/// Bytes decoded at a time, as many as the host likes to be given.
const CHUNK: usize = 128 * 1024;

/// The input, with a count of what was taken from it, for messages on what is damaged.
pub struct Counted<'a> {
    input: &'a mut dyn BufRead,
    offset: u64,
    ended: bool,
}

impl<'a> Counted<'a> {
    /// Counts from here.
    pub fn new(input: &'a mut dyn BufRead) -> Self {
        Self {
            input,
            offset: 0,
            ended: false,
        }
    }

    /// How many bytes were taken.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether more was asked for than there is.
    pub fn has_ended(&self) -> bool {
        self.ended
    }
}

impl std::fmt::Debug for Counted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Counted")
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.offset += count as u64;
        self.ended |= count == 0 && !buffer.is_empty();
        Ok(count)
    }
}

impl BufRead for Counted<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let chunk = self.input.fill_buf()?;
        self.ended |= chunk.is_empty();
        Ok(chunk)
    }

    fn consume(&mut self, amount: usize) {
        self.offset += amount as u64;
        self.input.consume(amount);
    }
}

/// Hands everything that a decoder gives to the output.
///
/// # Errors
///
/// What either said. What a decoder says of its input is [`Error::Corrupt`], also where it has no kind of its own for some damage;
/// [`Error::near`] adds the place.
pub fn copy(decoder: &mut dyn Read, output: &mut dyn Write) -> Result<(), Error> {
    let mut chunk = vec![0; CHUNK];
    loop {
        match decoder.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(count) => output.write_all(&chunk[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(match Error::from(error) {
                    Error::Other(message) => Error::Corrupt {
                        offset: None,
                        message,
                    },
                    other => other,
                });
            }
        }
    }
}
