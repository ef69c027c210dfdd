//! Decompresses layers in the xz format: several streams, several blocks, padding, all checks and branch filters.

use std::io::{BufRead, Write};

use lzma_rust2::XzReader;
use transom_sdk::decode::{Counted, copy};
use transom_sdk::media_type::LAYER_TAR;
use transom_sdk::{Error, Info, Job, Outcome, Processor};

/// The media types that it accepts.
pub const ACCEPTS: [&str; 3] = [
    "application/vnd.oci.image.layer.v1.tar+xz",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+xz",
    "application/vnd.docker.image.rootfs.diff.tar.xz",
];

/// The processor. See `plugin.toml`.
#[derive(Debug, Default)]
pub struct Xz;

#[derive(serde::Deserialize)]
struct Config {
    memory_mib: u32,
}

impl Processor for Xz {
    fn describe() -> Info {
        let info = Info::new("xz", env!("CARGO_PKG_VERSION"));
        ACCEPTS
            .iter()
            .fold(info, |info, accepts| info.converts(*accepts, LAYER_TAR))
    }

    fn run(&mut self, job: &Job, input: &mut dyn BufRead, output: &mut dyn Write) -> Result<Outcome, Error> {
        let Config { memory_mib } = job.config()?;
        let mut input = Counted::new(input);
        let decoded = copy(
            &mut XzReader::new_mem_limit(&mut input, true, memory_mib.saturating_mul(1024)),
            output,
        );
        match decoded {
            Ok(()) if input.offset() == 0 => Err(Error::corrupt_at(0, "an xz file cannot be empty")),
            Ok(()) => Ok(Outcome::default()),
            Err(Error::Limit(_)) => Err(Error::Limit(format!(
                "the xz dictionary needs more than {memory_mib} MiB; raise memory_mib of the plugin xz, and its memory limit with it"
            ))),
            Err(error) => Err(error.near(input.offset())),
        }
    }
}

transom_sdk::register_processor!(Xz);

#[cfg(test)]
mod tests {
    use lzma_rust2::{XzOptions, XzWriter};
    use transom_sdk::testing::Harness;

    use super::*;

    fn compress(bytes: &[u8], preset: u32) -> Vec<u8> {
        let mut writer = XzWriter::new(Vec::new(), XzOptions::with_preset(preset)).unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn sample() -> Vec<u8> {
        (0..200_000u32)
            .flat_map(|at| (at.wrapping_mul(at) % 1013).to_le_bytes())
            .collect()
    }

    fn harness() -> Harness {
        Harness::new().config("memory_mib", 128)
    }

    #[test]
    fn streams_one_after_another_are_one_layer() {
        let (first, second) = (sample(), b"and more".to_vec());
        let mut blob = compress(&first, 6);
        blob.extend(compress(&second, 1));
        // Padding between and after streams, in fours.
        blob.extend([0; 8]);
        let run = harness().run::<Xz>(&blob);
        run.outcome();
        assert!(run.output == [first, second].concat());
    }

    #[test]
    fn chunking_makes_no_difference() {
        harness().assert_chunking_invariant::<Xz>(&compress(&sample()[..70_000], 6));
    }

    #[test]
    fn damage_is_reported_with_its_place() {
        let mut blob = compress(&sample(), 6);
        let middle = blob.len() / 2;
        blob[middle] ^= 0x10;
        let run = harness().run::<Xz>(&blob);
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
        let blob = compress(b"a short text, a short text", 0);
        for length in 0..blob.len() {
            let run = harness().run::<Xz>(&blob[..length]);
            assert!(
                matches!(run.result, Err(Error::Corrupt { .. })),
                "{length}: {:?}",
                run.result
            );
        }
    }

    #[test]
    fn a_dictionary_beyond_the_limit_names_the_key() {
        let blob = compress(&sample(), 9);
        let run = Harness::new().config("memory_mib", 8).run::<Xz>(&blob);
        let Err(Error::Limit(message)) = run.result else {
            panic!("{:?}", run.result)
        };
        assert!(message.contains("memory_mib"), "{message}");
    }
}
