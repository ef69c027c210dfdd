//! Parts of files that the kernel sends (`sendfile(2)`), so that none of their bytes pass through this process.
//!
//! The library that speaks HTTP knows nothing but bytes in memory. It does not look at them: it queues them, and hands them to the
//! connection at the address where they are. So a body gives it memory that stands for a part of a file; the connection knows it
//! by its address and sends the file's bytes instead. Nobody reads that memory. This holds for HTTP/1.1 without TLS only: HTTP/2 puts
//! bytes into frames, and TLS encrypts them. `docs/decisions/0015-registry-disk-and-socket.md` has the reasons.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rustix::fs::sendfile;
use rustix::io::Errno;

use crate::limits;

/// Stands for a part of a file. Its content means nothing.
static STAND_IN: [u8; limits::SENT_BY_KERNEL] = [0; limits::SENT_BY_KERNEL];

/// Bytes that are sent at a time where the kernel cannot.
const COPIED: usize = 64 << 10;

/// What one connection is to send of files, in the order of the bytes that stand for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outgoing(Arc<Mutex<VecDeque<Part>>>);

#[derive(Debug)]
struct Part {
    file: Arc<File>,
    position: u64,
    left: usize,
}

/// Whether these bytes stand for a part of a file.
pub(crate) fn stands_in(bytes: &[u8]) -> bool {
    !bytes.is_empty() && STAND_IN.as_ptr_range().contains(&bytes.as_ptr())
}

impl Outgoing {
    /// Bytes that stand for a part of a file, of at most [`limits::SENT_BY_KERNEL`] bytes. They must go to the connection, after
    /// those that were given before.
    pub(crate) fn stand_in(&self, file: &Arc<File>, position: u64, length: usize) -> Bytes {
        let bytes = Bytes::from_static(&STAND_IN[..length.min(STAND_IN.len())]);
        self.lock().push_back(Part {
            file: Arc::clone(file),
            position,
            left: bytes.len(),
        });
        bytes
    }

    /// Whether all was sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Sends what comes next of files, `most` bytes at most; gives how many were sent.
    ///
    /// # Errors
    /// That the socket takes nothing at the moment ([`io::ErrorKind::WouldBlock`]), or nothing any more; that the file has become
    /// shorter.
    pub(crate) fn send(&self, socket: impl AsFd, most: usize) -> io::Result<usize> {
        let mut parts = self.lock();
        let Some(part) = parts.front_mut() else {
            return Err(io::Error::other("no file is to be sent"));
        };
        let sent = part.send(socket, most)?;
        if part.left == 0 {
            parts.pop_front();
        }
        Ok(sent)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Part>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    fn send(&mut self, socket: impl AsFd, most: usize) -> io::Result<usize> {
        let most = most.min(self.left);
        // The system moves the position along.
        let sent = loop {
            match sendfile(&socket, &self.file, Some(&mut self.position), most) {
                Err(Errno::INTR) => {}
                // Not a file system that it can send from.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => break self.copy(&socket, most)?,
                other => break other?,
            }
        };
        if sent == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= sent;
        Ok(sent)
    }

    fn copy(&mut self, socket: impl AsFd, most: usize) -> io::Result<usize> {
        let mut buffer = vec![0; most.min(COPIED)];
        let read = self.file.read_at(&mut buffer, self.position)?;
        let sent = rustix::io::write(socket, &buffer[..read])?;
        self.position += sent as u64;
        Ok(sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn parts_are_sent_in_order_and_as_much_as_is_asked() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let file = Arc::new(file);
        let outgoing = Outgoing::default();
        let (here, mut there) = std::os::unix::net::UnixStream::pair().unwrap();
        let first = outgoing.stand_in(&file, 2, 5);
        let second = outgoing.stand_in(&file, 0, 1);
        assert!(stands_in(&first) && stands_in(&first[3..]) && stands_in(&second));
        assert!(!stands_in(&first[5..]) && !stands_in(b"01234"));
        assert_eq!(outgoing.send(&here, 3).unwrap(), 3);
        // Not more than is left of the first.
        assert_eq!(outgoing.send(&here, 3).unwrap(), 2);
        assert!(!outgoing.is_empty());
        assert_eq!(outgoing.send(&here, 3).unwrap(), 1);
        assert!(outgoing.is_empty());
        outgoing.send(&here, 1).unwrap_err();
        drop(here);
        let mut sent = Vec::new();
        there.read_to_end(&mut sent).unwrap();
        assert_eq!(sent, b"234560");
    }

    #[test]
    fn where_the_kernel_cannot_they_are_copied() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let (here, mut there) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut part = Part {
            file: Arc::new(file),
            position: 4,
            left: 3,
        };
        assert_eq!(part.copy(&here, 3).unwrap(), 3);
        assert_eq!(part.position, 7);
        drop(here);
        let mut sent = String::new();
        there.read_to_string(&mut sent).unwrap();
        assert_eq!(sent, "456");
    }

    #[test]
    fn a_file_that_became_shorter_is_an_error() {
        let outgoing = Outgoing::default();
        let (here, _there) = std::os::unix::net::UnixStream::pair().unwrap();
        outgoing.stand_in(&Arc::new(tempfile::tempfile().unwrap()), 0, 1);
        let error = outgoing.send(&here, 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
