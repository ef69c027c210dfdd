//! From a stream or a compressed file to a plain file that can be read at any place: an unlinked temporary
//! copy, made once.

use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;

use crate::error::ImageError;
use crate::limits;
use crate::source::OpenOptions;

const BUFFER_BYTES: usize = 256 << 10;

/// Enough bytes to tell a compression by.
pub const MAGIC_BYTES: usize = 6;

/// What a stream's first bytes say about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
    /// Not built in; the name of the program that reads it.
    Foreign(&'static str),
}

/// Tells a compression by the first [`MAGIC_BYTES`]; none if it is plain, or nothing that is known.
pub fn sniff(start: &[u8]) -> Option<Compression> {
    const ZSTD_SKIPPABLE: &[u8] = &[0x2a, 0x4d, 0x18];
    if start.starts_with(&[0x1f, 0x8b]) {
        return Some(Compression::Gzip);
    }
    let skippable = start.len() >= 4 && start[0] & 0xf0 == 0x50 && &start[1..4] == ZSTD_SKIPPABLE;
    if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || skippable {
        return Some(Compression::Zstd);
    }
    if start.starts_with(b"\xfd7zXZ\0") {
        return Some(Compression::Foreign("xz"));
    }
    start.starts_with(b"BZh").then_some(Compression::Foreign("bzip2"))
}

/// Copies `input`, decompressed if it is compressed, into an unlinked file in the temporary folder.
pub(crate) fn spool(
    input: &mut dyn Read,
    origin: &str,
    options: &OpenOptions<'_>,
) -> Result<File, ImageError> {
    let mut start = Vec::new();
    let head = &mut (&mut *input).take(MAGIC_BYTES as u64);
    head.read_to_end(&mut start)
        .map_err(|source| read_failed(origin, source))?;
    let compression = sniff(&start);
    let whole = io::Cursor::new(start).chain(input);
    match compression {
        None => copy(whole, None, origin, options),
        Some(Compression::Gzip) => {
            let decoder = flate2::read::MultiGzDecoder::new(whole);
            copy(decoder, Some("gzip"), origin, options)
        }
        Some(Compression::Zstd) => {
            let failed = |source| decompress_failed(origin, "zstd", source);
            let mut decoder = zstd::stream::read::Decoder::new(whole).map_err(failed)?;
            decoder
                .window_log_max(limits::ZSTD_WINDOW_LOG_MAX)
                .map_err(failed)?;
            copy(decoder, Some("zstd"), origin, options)
        }
        Some(Compression::Foreign(program)) => Err(foreign(origin, program)),
    }
}

pub(crate) fn foreign(origin: &str, program: &str) -> ImageError {
    ImageError::NotAnImage {
        origin: origin.to_owned(),
        reason: format!("it is compressed with {program}: decompress it with `{program} -d` first"),
    }
}

fn copy(
    mut input: impl Read,
    compression: Option<&'static str>,
    origin: &str,
    options: &OpenOptions<'_>,
) -> Result<File, ImageError> {
    let spool_failed = |source| ImageError::Spool {
        folder: options.temp_folder.to_owned(),
        source,
    };
    let mut file = tempfile::tempfile_in(options.temp_folder).map_err(spool_failed)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut copied = 0;
    loop {
        let read = match input.read(&mut buffer) {
            Ok(0) => return Ok(file),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(match compression {
                    Some(compression) => decompress_failed(origin, compression, error),
                    None => read_failed(origin, error),
                });
            }
        };
        copied += read as u64;
        if copied > options.spool_bytes_max {
            return Err(ImageError::SpoolLimit {
                origin: origin.to_owned(),
                limit: options.spool_bytes_max,
            });
        }
        file.write_all(&buffer[..read]).map_err(spool_failed)?;
        if let Some(progress) = options.progress
            && progress(copied) == ControlFlow::Break(())
        {
            return Err(ImageError::Cancelled);
        }
    }
}

fn read_failed(origin: &str, source: io::Error) -> ImageError {
    ImageError::Io {
        action: "read",
        path: origin.into(),
        source,
    }
}

fn decompress_failed(origin: &str, compression: &'static str, source: io::Error) -> ImageError {
    ImageError::Decompress {
        origin: origin.to_owned(),
        compression,
        source,
    }
}
