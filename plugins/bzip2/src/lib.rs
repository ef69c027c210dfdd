//! Decompresses layers in the bzip2 format, of one stream or several one after another.

use std::io::{BufRead, Write};

use bzip2::bufread::MultiBzDecoder;
use transom_sdk::decode::{Counted, copy};
use transom_sdk::media_type::LAYER_TAR;
use transom_sdk::{Error, Info, Job, Outcome, Processor};

/// The media types that it accepts.
pub const ACCEPTS: [&str; 5] = [
    "application/vnd.oci.image.layer.v1.tar+bzip2",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+bzip2",
    "application/vnd.oci.image.layer.v1.tar+bz2",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+bz2",
    "application/vnd.docker.image.rootfs.diff.tar.bzip2",
];

/// The processor. See `plugin.toml`.
#[derive(Debug, Default)]
pub struct Bzip2;

impl Processor for Bzip2 {
    fn describe() -> Info {
        let info = Info::new("bzip2", env!("CARGO_PKG_VERSION"));
        ACCEPTS
            .iter()
            .fold(info, |info, accepts| info.converts(*accepts, LAYER_TAR))
    }

    fn run(&mut self, _job: &Job, input: &mut dyn BufRead, output: &mut dyn Write) -> Result<Outcome, Error> {
        let mut input = Counted::new(input);
        if input.fill_buf()?.is_empty() {
            return Err(Error::corrupt_at(0, "a bzip2 file cannot be empty"));
        }
        let decoded = copy(&mut MultiBzDecoder::new(&mut input), output);
        decoded.map_err(|error| error.near(input.offset()))?;
        Ok(Outcome::default())
    }
}

transom_sdk::register_processor!(Bzip2);

#[cfg(test)]
mod tests {
    use bzip2::Compression;
    use bzip2::write::BzEncoder;
    use transom_sdk::testing::Harness;

    use super::*;

    fn compress(bytes: &[u8], level: u32) -> Vec<u8> {
        let mut writer = BzEncoder::new(Vec::new(), Compression::new(level));
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn sample() -> Vec<u8> {
        (0..200_000u32)
            .flat_map(|at| (at.wrapping_mul(at) % 1013).to_le_bytes())
            .collect()
    }

    #[test]
    fn streams_one_after_another_are_one_layer() {
        let (first, second) = (sample(), b"and more".to_vec());
        let mut blob = compress(&first, 9);
        blob.extend(compress(&second, 1));
        blob.extend(compress(b"", 1));
        let run = Harness::new().run::<Bzip2>(&blob);
        run.outcome();
        assert!(run.output == [first, second].concat());
        blob.extend(b"what is no stream");
        let run = Harness::new().run::<Bzip2>(&blob);
        assert!(
            matches!(run.result, Err(Error::Corrupt { .. })),
            "{:?}",
            run.result
        );
    }

    #[test]
    fn chunking_makes_no_difference() {
        Harness::new().assert_chunking_invariant::<Bzip2>(&compress(&sample()[..120_000], 1));
    }

    #[test]
    fn damage_is_reported_with_its_place() {
        let mut blob = compress(&sample(), 9);
        let middle = blob.len() / 2;
        blob[middle] ^= 0x10;
        let run = Harness::new().run::<Bzip2>(&blob);
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
        let blob = compress(b"a short text, a short text", 1);
        for length in 0..blob.len() {
            let run = Harness::new().run::<Bzip2>(&blob[..length]);
            assert!(
                matches!(run.result, Err(Error::Corrupt { .. })),
                "{length}: {:?}",
                run.result
            );
        }
    }
}
