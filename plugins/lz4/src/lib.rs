//! Decompresses layers in the LZ4 frame format: several frames, skippable ones among them, linked blocks, all check sums.
//!
//! Frames are begun here and not by the decoder, which takes a file that is cut between two blocks for a whole one.

use std::io::{BufRead, Read, Write};

use lz4_flex::frame::FrameDecoder;
use transom_sdk::decode::{Counted, copy};
use transom_sdk::media_type::LAYER_TAR;
use transom_sdk::{Error, Info, Job, Outcome, Processor};

/// The media types that it accepts.
pub const ACCEPTS: [&str; 3] = [
    "application/vnd.oci.image.layer.v1.tar+lz4",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+lz4",
    "application/vnd.docker.image.rootfs.diff.tar.lz4",
];

/// What a frame begins with, as a little-endian number.
const FRAME: u32 = 0x184d_2204;
/// The same of a frame that is not for us; its length follows. The last digit may be any.
const SKIPPABLE: u32 = 0x184d_2a50;
/// The same of frames as they were before 2012.
const LEGACY: u32 = 0x184c_2102;

/// The processor. See `plugin.toml`.
#[derive(Debug, Default)]
pub struct Lz4;

impl Processor for Lz4 {
    fn describe() -> Info {
        let info = Info::new("lz4", env!("CARGO_PKG_VERSION"));
        ACCEPTS
            .iter()
            .fold(info, |info, accepts| info.converts(*accepts, LAYER_TAR))
    }

    fn run(&mut self, _job: &Job, input: &mut dyn BufRead, output: &mut dyn Write) -> Result<Outcome, Error> {
        let mut input = Counted::new(input);
        let mut frames = 0u64;
        while !input.fill_buf()?.is_empty() {
            frame(&mut input, output).map_err(|error| error.near(input.offset()))?;
            frames += 1;
        }
        match frames {
            0 => Err(Error::corrupt_at(0, "an LZ4 file cannot be empty")),
            _ => Ok(Outcome::default()),
        }
    }
}

/// One frame, with its magic number.
fn frame(input: &mut Counted<'_>, output: &mut dyn Write) -> Result<(), Error> {
    let mut magic = [0; 4];
    input.read_exact(&mut magic)?;
    match u32::from_le_bytes(magic) {
        FRAME => {
            copy(&mut FrameDecoder::new(magic.chain(&mut *input)), output)?;
            if input.has_ended() {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
            Ok(())
        }
        number if number & !0xf == SKIPPABLE => skip(input),
        LEGACY => Err(Error::Unsupported("the legacy frames of LZ4".to_owned())),
        _ => Err(Error::Corrupt {
            offset: None,
            message: "there is no LZ4 frame here".to_owned(),
        }),
    }
}

fn skip(input: &mut Counted<'_>) -> Result<(), Error> {
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let length = u64::from(u32::from_le_bytes(length));
    let skipped = std::io::copy(&mut input.take(length), &mut std::io::sink())?;
    if skipped < length {
        return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
    }
    Ok(())
}

transom_sdk::register_processor!(Lz4);

#[cfg(test)]
mod tests {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    use transom_sdk::testing::Harness;

    use super::*;

    fn compress_as(bytes: &[u8], info: FrameInfo) -> Vec<u8> {
        let mut writer = FrameEncoder::with_frame_info(info, Vec::new());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn compress(bytes: &[u8]) -> Vec<u8> {
        compress_as(bytes, FrameInfo::new())
    }

    fn sample() -> Vec<u8> {
        (0..200_000u32)
            .flat_map(|at| (at.wrapping_mul(at) % 1013).to_le_bytes())
            .collect()
    }

    #[test]
    fn frames_one_after_another_are_one_layer() {
        let (first, second) = (sample(), b"and more".to_vec());
        let mut blob = compress(&first);
        blob.extend([0x5f, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
        blob.extend(compress(&second));
        blob.extend([0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]);
        let run = Harness::new().run::<Lz4>(&blob);
        run.outcome();
        assert!(run.output == [first, second].concat());
        for length in blob.len() - 7..blob.len() {
            assert!(Harness::new().run::<Lz4>(&blob[..length]).result.is_err());
        }
    }

    #[test]
    fn every_kind_of_frame_is_read() {
        let bytes = sample();
        for size in [
            BlockSize::Max64KB,
            BlockSize::Max256KB,
            BlockSize::Max1MB,
            BlockSize::Max4MB,
        ] {
            for mode in [BlockMode::Independent, BlockMode::Linked] {
                for checked in [false, true] {
                    let info = FrameInfo::new()
                        .block_size(size)
                        .block_mode(mode)
                        .block_checksums(checked)
                        .content_checksum(checked)
                        .content_size(checked.then_some(bytes.len() as u64));
                    let run = Harness::new().run::<Lz4>(&compress_as(&bytes, info));
                    run.outcome();
                    assert!(run.output == bytes);
                }
            }
        }
    }

    #[test]
    fn chunking_makes_no_difference() {
        Harness::new().assert_chunking_invariant::<Lz4>(&compress(&sample()[..200_000]));
    }

    #[test]
    fn damage_is_reported_with_its_place() {
        let info = FrameInfo::new().content_checksum(true);
        let mut blob = compress_as(&sample(), info);
        let middle = blob.len() / 2;
        blob[middle] ^= 0x10;
        let run = Harness::new().run::<Lz4>(&blob);
        let Err(Error::Corrupt {
            offset: Some(offset), ..
        }) = run.result
        else {
            panic!("{:?}", run.result)
        };
        assert!(offset > 0);
    }

    #[test]
    fn every_truncation_is_an_error() {
        // Blocks of 64 KiB, so that some cuts lie between two of them.
        let blob = compress_as(
            &sample()[..150_000],
            FrameInfo::new().block_size(BlockSize::Max64KB),
        );
        for length in 0..blob.len() {
            let run = Harness::new().run::<Lz4>(&blob[..length]);
            assert!(
                matches!(run.result, Err(Error::Corrupt { .. })),
                "{length}: {:?}",
                run.result
            );
        }
    }

    #[test]
    fn legacy_frames_are_named() {
        let run = Harness::new().run::<Lz4>(&[0x02, 0x21, 0x4c, 0x18, 0, 0, 0, 0]);
        assert!(
            matches!(run.result, Err(Error::Unsupported(_))),
            "{:?}",
            run.result
        );
    }
}
