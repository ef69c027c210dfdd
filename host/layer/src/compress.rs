//! The counterpart of [`native`](crate::native): a plain tar compressed, the same bytes for the same tar however many
//! threads there are.

use std::collections::VecDeque;
use std::io::{self, Write as _};

use bytes::{Bytes, BytesMut};
use flate2::{Compress, Crc, FlushCompress};
use transom_oci::media_type;

use crate::limits::CHUNK_BYTES;
use crate::pipe::{Input, Output};
use crate::stage::StageError;
use crate::workers::{Running, Workers};

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip at its usual level 6, without a name or a time.
    #[default]
    Gzip,
    /// zstd at its usual level 3, with a checksum.
    Zstd,
}

impl Compression {
    /// What the media type of a layer asks for; `None` for one that is not written: only OCI's own are.
    pub fn of_media_type(name: &str) -> Option<Compression> {
        match name {
            media_type::LAYER_TAR => Some(Compression::None),
            media_type::LAYER_TAR_GZIP => Some(Compression::Gzip),
            media_type::LAYER_TAR_ZSTD => Some(Compression::Zstd),
            _ => None,
        }
    }

    /// The media type of a layer that is compressed so.
    pub fn media_type(self) -> &'static str {
        match self {
            Compression::None => media_type::LAYER_TAR,
            Compression::Gzip => media_type::LAYER_TAR_GZIP,
            Compression::Zstd => media_type::LAYER_TAR_ZSTD,
        }
    }
}

/// Compresses `input` into `output`, gzip with up to `threads` of `workers` at a time.
///
/// # Errors
/// An echo of a failure at either end, or [`StageError::Corrupt`] from the compressor.
pub fn compress(
    compression: Compression,
    input: &mut Input,
    output: &mut Output,
    workers: &Workers,
    threads: usize,
) -> Result<(), StageError> {
    match compression {
        Compression::None => {
            while let Some(chunk) = input.next_chunk()? {
                output.send(chunk)?;
            }
            Ok(())
        }
        Compression::Gzip => gzip(input, output, workers, threads.max(1)),
        Compression::Zstd => {
            let result = zstd(input, output);
            result.map_err(|error| StageError::from_decoder("zstd", input.consumed(), error))
        }
    }
}

fn zstd(input: &mut Input, output: &mut Output) -> io::Result<()> {
    let mut encoder = zstd::stream::write::Encoder::new(output, zstd::DEFAULT_COMPRESSION_LEVEL)?;
    encoder.include_checksum(true)?;
    while let Some(chunk) = input.next_chunk()? {
        encoder.write_all(&chunk)?;
    }
    encoder.finish()?;
    Ok(())
}

/// gzip's header without name or time, by an unknown system (RFC 1952, 2.3.1): what Go writes.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// An empty last block of deflate.
const DEFLATE_END: [u8; 2] = [3, 0];

/// How far back deflate can refer.
const WINDOW: usize = 32 << 10;

/// zlib's own default.
const GZIP_LEVEL: u32 = 6;

/// Bytes that are compressed at a time. It decides the output, so it is not the caller's to choose.
const BLOCK: usize = CHUNK_BYTES;

/// One block, compressed.
type Deflated = Result<(Vec<u8>, Crc), String>;

/// One gzip member out of blocks that are compressed side by side. Each block knows the end of the one before as its
/// dictionary and ends on a whole byte, so that they can be strung together.
fn gzip(input: &mut Input, output: &mut Output, workers: &Workers, threads: usize) -> Result<(), StageError> {
    output.write_all(&GZIP_HEADER).map_err(echo)?;
    let mut total = Crc::new();
    let mut working: VecDeque<Running<Deflated>> = VecDeque::with_capacity(threads);
    let mut blocks = Blocks::default();
    let mut before = Bytes::new();
    while let Some(block) = blocks.next(input)? {
        if working.len() == threads {
            take(&mut working, &mut total, input, output)?;
        }
        let end = block.slice(block.len().saturating_sub(WINDOW)..);
        let dictionary = std::mem::replace(&mut before, end);
        working
            .push_back(workers.run(move || deflate(&block, &dictionary).map_err(|error| error.to_string())));
    }
    while !working.is_empty() {
        take(&mut working, &mut total, input, output)?;
    }
    let mut end = DEFLATE_END.to_vec();
    end.extend_from_slice(&total.sum().to_le_bytes());
    end.extend_from_slice(&total.amount().to_le_bytes());
    output.write_all(&end).map_err(echo)
}

/// Waits for the oldest block and passes it on.
fn take(
    working: &mut VecDeque<Running<Deflated>>,
    total: &mut Crc,
    input: &Input,
    output: &mut Output,
) -> Result<(), StageError> {
    let Some(oldest) = working.pop_front() else {
        return Ok(());
    };
    let corrupt = |reason| StageError::Corrupt {
        format: "gzip",
        offset: input.consumed(),
        reason,
    };
    let deflated = oldest
        .join()
        .unwrap_or_else(|| Err("a thread panicked".to_owned()));
    let (bytes, crc) = deflated.map_err(corrupt)?;
    total.combine(&crc);
    output.write_all(&bytes).map_err(echo)
}

/// The pipe's own error; no other comes from it.
fn echo(error: io::Error) -> StageError {
    error.downcast().unwrap_or(StageError::Downstream)
}

fn deflate(block: &[u8], dictionary: &[u8]) -> Result<(Vec<u8>, Crc), flate2::CompressError> {
    let mut crc = Crc::new();
    crc.update(block);
    let mut deflater = Compress::new(flate2::Compression::new(GZIP_LEVEL), false);
    if !dictionary.is_empty() {
        deflater.set_dictionary(dictionary)?;
    }
    let mut out = Vec::with_capacity(block.len() / 2 + WINDOW);
    loop {
        let taken = usize::try_from(deflater.total_in()).unwrap_or(block.len());
        deflater.compress_vec(&block[taken..], &mut out, FlushCompress::Sync)?;
        // It is flushed when it had room left.
        if deflater.total_in() == block.len() as u64 && out.len() < out.capacity() {
            return Ok((out, crc));
        }
        out.reserve(WINDOW);
    }
}

/// Cuts a stream into blocks of the same size, the last one smaller, whatever the chunks it comes in.
#[derive(Default)]
struct Blocks {
    partial: BytesMut,
}

impl Blocks {
    fn next(&mut self, input: &mut Input) -> Result<Option<Bytes>, StageError> {
        loop {
            let chunk = input.read_up_to(BLOCK - self.partial.len())?;
            if chunk.is_empty() {
                let rest = std::mem::take(&mut self.partial);
                return Ok((!rest.is_empty()).then(|| rest.freeze()));
            }
            if self.partial.is_empty() && chunk.len() == BLOCK {
                return Ok(Some(chunk));
            }
            self.partial.extend_from_slice(&chunk);
            if self.partial.len() == BLOCK {
                return Ok(Some(std::mem::take(&mut self.partial).freeze()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::buffer::Pool;
    use crate::cancel::Cancel;
    use crate::limits::OutputLimits;
    use crate::pipe::{Guard, pipe};

    /// `data` in pieces of `chunk` bytes, compressed.
    fn compressed(how: Compression, data: &[u8], chunk: usize, threads: usize) -> Vec<u8> {
        let guard = Guard {
            cancel: Cancel::new(),
            limits: OutputLimits::default(),
            blob_size: 1,
        };
        let workers = Workers::new();
        let (mut head, mut tails) = pipe(1, guard.clone(), Pool::new());
        let (mut out, mut results) = pipe(1, guard, Pool::new());
        let pieces: Vec<Bytes> = data.chunks(chunk).map(Bytes::copy_from_slice).collect();
        let writing = workers.run(move || {
            pieces.into_iter().try_for_each(|piece| head.send(piece))?;
            head.finish()
        });
        let (mut input, inner) = (tails.remove(0), workers.clone());
        let working = workers.run(move || {
            compress(how, &mut input, &mut out, &inner, threads)?;
            out.finish()
        });
        let mut bytes = Vec::new();
        results.remove(0).read_to_end(&mut bytes).unwrap();
        writing.join().unwrap().unwrap();
        working.join().unwrap().unwrap();
        bytes
    }

    fn gunzip(bytes: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        // One member: what follows it would be left over.
        let mut decoder = flate2::bufread::GzDecoder::new(bytes);
        decoder.read_to_end(&mut plain).unwrap();
        assert!(decoder.into_inner().is_empty());
        plain
    }

    fn data(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        (0..length)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // Five bits, so that there is something to gain.
                (state >> 27) as u8
            })
            .collect()
    }

    #[test]
    fn gzip_is_one_member_and_the_same_for_any_threads_and_chunks() {
        for length in [0, 1, 1000, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 17] {
            let data = data(length);
            let one = compressed(Compression::Gzip, &data, BLOCK, 1);
            assert_eq!(gunzip(&one), data, "{length}");
            for (chunk, threads) in [(1 << 16, 1), (77_777, 4), (BLOCK, 16)] {
                assert_eq!(
                    compressed(Compression::Gzip, &data, chunk, threads),
                    one,
                    "{length}"
                );
            }
        }
    }

    #[test]
    fn incompressible_blocks_and_repeats_across_blocks_come_out_whole() {
        let mut noise = 0x9E37_79B9_7F4A_7C15_u64;
        let random: Vec<u8> = (0..2 * BLOCK)
            .map(|_| {
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                (noise >> 32) as u8
            })
            .collect();
        assert_eq!(gunzip(&compressed(Compression::Gzip, &random, BLOCK, 2)), random);
        // The second block repeats the end of the first, which only the dictionary can say briefly.
        let piece = &random[..WINDOW / 2];
        let repeated = [&random[..BLOCK - piece.len()], piece, piece].concat();
        let bytes = compressed(Compression::Gzip, &repeated, BLOCK, 2);
        assert_eq!(gunzip(&bytes), repeated);
        assert!(bytes.len() < BLOCK + 2000, "{}", bytes.len());
    }

    #[test]
    fn zstd_and_none_come_out_whole() {
        let data = data(2 * BLOCK + 5);
        let bytes = compressed(Compression::Zstd, &data, 10_000, 1);
        assert_eq!(zstd::decode_all(&bytes[..]).unwrap(), data);
        assert_eq!(bytes, compressed(Compression::Zstd, &data, BLOCK, 1));
        assert_eq!(compressed(Compression::None, &data, 10_000, 1), data);
    }

    #[test]
    fn media_types_are_there_and_back() {
        for how in [Compression::None, Compression::Gzip, Compression::Zstd] {
            assert_eq!(Compression::of_media_type(how.media_type()), Some(how));
        }
        assert_eq!(Compression::of_media_type(media_type::DOCKER_LAYER_GZIP), None);
    }
}
