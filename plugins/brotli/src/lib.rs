//! Decompresses layers in the Brotli format (RFC 7932).

use std::io::{BufRead, Write};

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use transom_sdk::media_type::LAYER_TAR;
use transom_sdk::{Error, Info, Job, Outcome, Processor};

/// The media types that it accepts.
pub const ACCEPTS: [&str; 5] = [
    "application/vnd.oci.image.layer.v1.tar+brotli",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+brotli",
    "application/vnd.oci.image.layer.v1.tar+br",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+br",
    "application/vnd.docker.image.rootfs.diff.tar.brotli",
];

/// Bytes decompressed at a time, as many as the host likes to be given.
const CHUNK: usize = 128 * 1024;

/// The processor. See `plugin.toml`.
#[derive(Debug, Default)]
pub struct Brotli;

impl Processor for Brotli {
    fn describe() -> Info {
        let info = Info::new("brotli", env!("CARGO_PKG_VERSION"));
        ACCEPTS
            .iter()
            .fold(info, |info, accepts| info.converts(*accepts, LAYER_TAR))
    }

    fn run(&mut self, _job: &Job, input: &mut dyn BufRead, output: &mut dyn Write) -> Result<Outcome, Error> {
        // Windows beyond the RFC's 16 MiB are another format.
        let allocators = [(); 3].map(|()| StandardAlloc::default());
        let [bytes, words, codes] = allocators;
        let mut state = BrotliState::new_strict(bytes, words, codes);
        let (mut offset, mut total) = (0u64, 0);
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = input.fill_buf()?;
            let (mut left, mut taken) = (read.len(), 0);
            let (mut room, mut written) = (chunk.len(), 0);
            let result = BrotliDecompressStream(
                &mut left,
                &mut taken,
                read,
                &mut room,
                &mut written,
                &mut chunk,
                &mut total,
                &mut state,
            );
            let at_end = read.is_empty();
            input.consume(taken);
            offset += taken as u64;
            output.write_all(&chunk[..written])?;
            match result {
                BrotliResult::ResultSuccess => break,
                BrotliResult::NeedsMoreOutput => {}
                BrotliResult::NeedsMoreInput if at_end => {
                    return Err(Error::corrupt_at(offset, "the input ends too early"));
                }
                BrotliResult::NeedsMoreInput => {}
                BrotliResult::ResultFailure => {
                    return Err(Error::corrupt_at(
                        offset,
                        "this is no Brotli stream, or a damaged one",
                    ));
                }
            }
        }
        if input.fill_buf()?.is_empty() {
            Ok(Outcome::default())
        } else {
            Err(Error::corrupt_at(
                offset,
                "more bytes follow the end of the Brotli stream",
            ))
        }
    }
}

transom_sdk::register_processor!(Brotli);

#[cfg(test)]
mod tests {
    use transom_sdk::testing::Harness;

    use super::*;

    fn compress(bytes: &[u8], window_bits: u32) -> Vec<u8> {
        let mut blob = Vec::new();
        let mut writer = brotli::CompressorWriter::new(&mut blob, 4096, 5, window_bits);
        writer.write_all(bytes).unwrap();
        drop(writer);
        blob
    }

    fn sample() -> Vec<u8> {
        (0..200_000u32)
            .flat_map(|at| (at.wrapping_mul(at) % 1013).to_le_bytes())
            .collect()
    }

    #[test]
    fn every_window_is_read() {
        for bits in [10, 16, 22, 24] {
            let run = Harness::new().run::<Brotli>(&compress(&sample(), bits));
            run.outcome();
            assert!(run.output == sample(), "{bits}");
        }
        assert!(Harness::new().run::<Brotli>(&compress(b"", 16)).result.is_ok());
    }

    #[test]
    fn chunking_makes_no_difference() {
        Harness::new().assert_chunking_invariant::<Brotli>(&compress(&sample()[..200_000], 18));
    }

    #[test]
    fn damage_never_crashes_it() {
        // There is no check sum: what is damaged may still be a stream of something. The layer's digest tells.
        let blob = compress(&sample()[..4000], 16);
        let mut refused = 0;
        for at in 0..blob.len() {
            let mut damaged = blob.clone();
            damaged[at] ^= 0x10;
            let run = Harness::new().run::<Brotli>(&damaged);
            refused += usize::from(matches!(run.result, Err(Error::Corrupt { offset: Some(_), .. })));
        }
        assert!(refused > 0);
    }

    #[test]
    fn every_truncation_and_every_surplus_is_an_error() {
        let mut blob = compress(b"a short text, a short text", 16);
        for length in 0..blob.len() {
            let run = Harness::new().run::<Brotli>(&blob[..length]);
            assert!(
                matches!(run.result, Err(Error::Corrupt { .. })),
                "{length}: {:?}",
                run.result
            );
        }
        blob.push(0);
        let run = Harness::new().run::<Brotli>(&blob);
        assert!(
            matches!(run.result, Err(Error::Corrupt { .. })),
            "{:?}",
            run.result
        );
    }
}
