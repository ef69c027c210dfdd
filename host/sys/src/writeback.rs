//! Telling the disk to begin, without waiting for it, and asking what became of it.
#![expect(
    unsafe_code,
    reason = "no crate in use has sync_file_range(2); it takes a descriptor and three numbers"
)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use nix::libc;

/// Begins to write `length` bytes from `offset` on to the disk, if they are not there yet (`sync_file_range(2)`). Nothing is
/// durable by that: the flush that makes it so has less left to wait for.
///
/// # Errors
/// Those of the call; on a file system that cannot do it, nothing is lost.
pub fn write_back(file: &File, offset: u64, length: u64) -> io::Result<()> {
    sync_file_range(file, offset, length, libc::SYNC_FILE_RANGE_WRITE)
}

/// Waits for what is on its way to the disk, and tells whether anything of the file failed to get there since it was opened, or
/// since that was last told. After `syncfs(2)`, which does not say whose an error was, this says that it was not this file's.
///
/// # Errors
/// The error of the write that failed; those of the call.
pub fn check_written(file: &File) -> io::Result<()> {
    sync_file_range(file, 0, 0, libc::SYNC_FILE_RANGE_WAIT_BEFORE)
}

/// A length of 0 is up to the end.
fn sync_file_range(file: &File, offset: u64, length: u64, flags: libc::c_uint) -> io::Result<()> {
    let number = |value: u64| i64::try_from(value).map_err(|_| io::ErrorKind::InvalidInput);
    let (offset, length) = (number(offset)?, number(length)?);
    // SAFETY: the descriptor is open as long as the file is borrowed, and the call touches no memory of ours.
    let answer = unsafe { libc::sync_file_range(file.as_raw_fd(), offset, length, flags) };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_can_be_told_and_a_pipe_not() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[1; 10_000]).unwrap();
        write_back(&file, 0, 10_000).unwrap();
        write_back(&file, 0, u64::MAX).unwrap_err();
        let (_reader, writer) = std::io::pipe().unwrap();
        let pipe = File::from(std::os::fd::OwnedFd::from(writer));
        write_back(&pipe, 0, 1).unwrap_err();
        check_written(&file).unwrap();
        check_written(&pipe).unwrap_err();
    }
}
