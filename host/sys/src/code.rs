//! Handing back the memory of code that has run.
#![expect(
    unsafe_code,
    reason = "no crate in use has dl_iterate_phdr(3), and madvise(2) on what a program runs from needs a reason"
)]

use std::ffi::{CStr, c_int, c_void};
use std::io;

use nix::libc;

/// Hands the pages of this program's code and constants, and of its libraries', back to the kernel, which keeps them in its
/// cache of files: what runs again comes back by a fault without a disk. A program that has started has run much that it
/// does not run again, and the kernel brings in 15 pages around each that it needs.
///
/// Answers how many bytes of address space were meant, resident or not.
///
/// # Errors
/// The kernel's, of the last range that it refused, as it does for memory that is locked; all others were handed back.
pub fn release_code() -> io::Result<usize> {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    // SAFETY: the callback gets this vector and nothing else, and it is borrowed for the call alone.
    unsafe { libc::dl_iterate_phdr(Some(note), (&raw mut ranges).cast()) };
    let page = rustix::param::page_size();
    let (mut meant, mut refused) = (0, Ok(()));
    for (start, end) in ranges {
        // Only whole pages, so that no neighbour is touched.
        let (start, end) = (start.next_multiple_of(page), end / page * page);
        if start >= end {
            continue;
        }
        // SAFETY: the range lies in a segment that is mapped without the right to write. Its pages are those of its file, and
        // nothing in them can be lost: the next access brings the same bytes.
        let answer = unsafe { libc::madvise(start as *mut c_void, end - start, libc::MADV_DONTNEED) };
        if answer == 0 {
            meant += end - start;
        } else {
            refused = Err(io::Error::last_os_error());
        }
    }
    refused.map(|()| meant)
}

/// Notes the segments of one object that come from its file and cannot be written, relocated ones not among them.
unsafe extern "C" fn note(info: *mut libc::dl_phdr_info, _size: usize, ranges: *mut c_void) -> c_int {
    // SAFETY: the loader hands out a valid description, and `ranges` is the vector of `release_code`.
    let (info, ranges) = unsafe { (&*info, &mut *ranges.cast::<Vec<(usize, usize)>>()) };
    if info.dlpi_phdr.is_null() || is_of_the_kernel(info) {
        return 0;
    }
    // SAFETY: the description says how many headers there are.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    for header in headers {
        if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0 {
            let start = usize::try_from(info.dlpi_addr + header.p_vaddr);
            let size = usize::try_from(header.p_memsz);
            if let (Ok(start), Ok(size)) = (start, size) {
                ranges.push((start, start + size));
            }
        }
    }
    0
}

/// Whether the object is the one that the kernel itself maps, which has no file.
fn is_of_the_kernel(info: &libc::dl_phdr_info) -> bool {
    if info.dlpi_name.is_null() {
        return false;
    }
    // SAFETY: a name that is not null is a C string of the loader's.
    let name = unsafe { CStr::from_ptr(info.dlpi_name) };
    name.to_bytes().starts_with(b"linux-vdso") || name.to_bytes().starts_with(b"linux-gate")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn resident() -> u64 {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("RssFile:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[test]
    fn the_program_runs_on_with_less() {
        let before = resident();
        assert!(release_code().unwrap() > 0);
        let after = resident();
        assert!(after < before, "{before} KiB, then {after}");
        assert_eq!(format!("{:?}", "still".to_owned() + " here"), r#""still here""#);
    }
}
