//! The bytes of a file: shared where the file system can, copied by the kernel where that can, else by us.

use std::os::fd::BorrowedFd;

use rustix::fs::{SeekFrom, copy_file_range, ioctl_ficlone, seek};
use rustix::io::retry_on_intr;
use transom_sys::{Errno, Linux, Sys as _};

use crate::limits::COPY_CHUNK;

/// What a copy has learned about the two file systems.
#[derive(Debug, Default)]
pub(super) struct Data {
    /// Sharing was refused once.
    no_clone: bool,
    /// So was copying in the kernel.
    no_range: bool,
    buffer: Vec<u8>,
}

impl Data {
    /// Copies `length` bytes into an empty file. Holes stay holes.
    pub(super) fn copy(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        length: u64,
    ) -> Result<(), Errno> {
        if length == 0 {
            return Ok(());
        }
        if !self.no_clone {
            match ioctl_ficlone(to, from) {
                Ok(()) => return Ok(()),
                Err(error) if cannot(error) => self.no_clone = true,
                Err(error) => return Err(error),
            }
        }
        Linux.ftruncate(to, length)?;
        let mut at = 0;
        while at < length {
            let start = match seek(from, SeekFrom::Data(at)) {
                Ok(start) => start,
                // Nothing but a hole is left.
                Err(Errno::NXIO) => break,
                // The file system knows of no holes.
                Err(Errno::INVAL) => at,
                Err(error) => return Err(error),
            };
            let end = seek(from, SeekFrom::Hole(start)).unwrap_or(length).min(length);
            self.range(from, to, start, end)?;
            at = end.max(start + 1);
        }
        Ok(())
    }

    fn range(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        mut at: u64,
        end: u64,
    ) -> Result<(), Errno> {
        while at < end && !self.no_range {
            let (mut read, mut write) = (at, at);
            let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(1 << 30);
            match retry_on_intr(|| copy_file_range(from, Some(&mut read), to, Some(&mut write), wanted)) {
                Ok(0) => return Ok(()),
                Ok(copied) => at += copied as u64,
                Err(error) if cannot(error) => self.no_range = true,
                Err(error) => return Err(error),
            }
        }
        self.buffer.resize(COPY_CHUNK, 0);
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(COPY_CHUNK);
            let read = retry_on_intr(|| rustix::io::pread(from, &mut self.buffer[..wanted], at))?;
            if read == 0 {
                return Ok(());
            }
            let mut written = 0;
            while written < read {
                written += Linux.pwrite(to, &self.buffer[written..read], at + written as u64)?;
            }
            at += read as u64;
        }
        Ok(())
    }
}

/// Whether the file system, or this pair of them, does not do it at all.
fn cannot(error: Errno) -> bool {
    matches!(
        error,
        Errno::NOTSUP | Errno::XDEV | Errno::INVAL | Errno::NOTTY | Errno::NOSYS | Errno::PERM
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Seek as _, Write as _};
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::MetadataExt as _;

    /// 1 MiB of hole, some bytes, 1 MiB of hole.
    fn holey() -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.seek(std::io::SeekFrom::Start(1 << 20)).unwrap();
        file.write_all(&vec![7; 300_000]).unwrap();
        file.set_len((2 << 20) + 300_000).unwrap();
        file
    }

    fn bytes(file: &File) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
        std::os::unix::fs::FileExt::read_exact_at(file, &mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn every_way_copies_the_same_and_keeps_holes() {
        let from = holey();
        let length = from.metadata().unwrap().len();
        for (no_clone, no_range) in [(false, false), (true, false), (true, true)] {
            let to = tempfile::tempfile().unwrap();
            let mut data = Data {
                no_clone,
                no_range,
                buffer: Vec::new(),
            };
            data.copy(from.as_fd(), to.as_fd(), length).unwrap();
            assert!(bytes(&to) == bytes(&from), "{no_clone} {no_range}");
            let blocks = |file: &File| file.metadata().unwrap().blocks();
            assert!(blocks(&to) <= blocks(&from) + 16, "{no_clone} {no_range}");
        }
    }
}
