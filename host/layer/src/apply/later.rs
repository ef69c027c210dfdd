//! The times of folders, which every entry created in them would change: set when all entries are there.

use transom_sys::{Times, Timespec};

/// The folders to finish, packed: each path as what it adds to the one before it, so that a million folders take tens of
/// megabytes and not hundreds.
#[derive(Debug, Default)]
pub(super) struct Later {
    records: Vec<u8>,
    last: Vec<u8>,
}

/// One folder to finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Finish {
    /// Nanoseconds since 1970; the times of a layer are bounded to what fits.
    pub(super) accessed: u64,
    /// Nanoseconds since 1970.
    pub(super) modified: u64,
    /// The mode to set, where the folder had to stay writable until now.
    pub(super) mode: Option<u16>,
}

impl Finish {
    /// The times as `utimensat` wants them.
    pub(super) fn times(&self) -> Times {
        Times {
            accessed: timespec(self.accessed),
            modified: timespec(self.modified),
        }
    }
}

/// Nanoseconds since 1970 as the kernel wants them.
pub(super) fn timespec(nanos: u64) -> Timespec {
    Timespec {
        tv_sec: (nanos / 1_000_000_000).cast_signed(),
        tv_nsec: (nanos % 1_000_000_000).cast_signed(),
    }
}

/// No mode: twelve bits never make this.
const NO_MODE: u16 = u16::MAX;

/// Two lengths, two times, one mode.
const FIXED: usize = 2 + 2 + 8 + 8 + 2;

impl Later {
    /// Adds the folder `path`, a cleaned path, which is shorter than 64 KiB.
    pub(super) fn add(&mut self, path: &[u8], finish: Finish) {
        let same = self.last.iter().zip(path).take_while(|(a, b)| a == b).count();
        let (same_length, added) = (length(same), length(path.len() - same));
        self.records.extend_from_slice(&same_length.to_le_bytes());
        self.records.extend_from_slice(&added.to_le_bytes());
        self.records.extend_from_slice(&finish.accessed.to_le_bytes());
        self.records.extend_from_slice(&finish.modified.to_le_bytes());
        self.records
            .extend_from_slice(&finish.mode.unwrap_or(NO_MODE).to_le_bytes());
        self.records.extend_from_slice(&path[same..]);
        self.last.clear();
        self.last.extend_from_slice(path);
    }

    /// Calls `each` with every folder, in the order they were added.
    pub(super) fn for_each<E>(&self, mut each: impl FnMut(&[u8], Finish) -> Result<(), E>) -> Result<(), E> {
        let mut rest = &self.records[..];
        let mut path = Vec::new();
        while let Some((fixed, after)) = rest.split_at_checked(FIXED) {
            let short = |at: usize| u16::from_le_bytes([fixed[at], fixed[at + 1]]);
            let long = |at: usize| {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(&fixed[at..at + 8]);
                u64::from_le_bytes(bytes)
            };
            let mode = Some(short(20)).filter(|&mode| mode != NO_MODE);
            let (added, after) = after.split_at(usize::from(short(2)));
            path.truncate(usize::from(short(0)));
            path.extend_from_slice(added);
            each(
                &path,
                Finish {
                    accessed: long(4),
                    modified: long(12),
                    mode,
                },
            )?;
            rest = after;
        }
        Ok(())
    }
}

fn length(length: usize) -> u16 {
    u16::try_from(length).expect("cleaned paths are shorter than 4096 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let mut later = Later::default();
        let folders = [
            (
                "usr",
                Finish {
                    accessed: 1,
                    modified: 2,
                    mode: None,
                },
            ),
            (
                "usr/share",
                Finish {
                    accessed: u64::MAX >> 1,
                    modified: 0,
                    mode: Some(0o555),
                },
            ),
            (
                "usr/share/doc",
                Finish {
                    accessed: 3,
                    modified: 4,
                    mode: Some(0),
                },
            ),
            (
                "var",
                Finish {
                    accessed: 5,
                    modified: 6,
                    mode: None,
                },
            ),
            (
                "v",
                Finish {
                    accessed: 7,
                    modified: 8,
                    mode: None,
                },
            ),
        ];
        for (path, finish) in folders {
            later.add(path.as_bytes(), finish);
        }
        let mut seen = Vec::new();
        let all: Result<(), ()> = later.for_each(|path, finish| {
            seen.push((String::from_utf8(path.to_vec()).unwrap(), finish));
            Ok(())
        });
        assert_eq!(all, Ok(()));
        assert_eq!(seen, folders.map(|(path, finish)| (path.to_owned(), finish)));
    }
}
