//! Makes zstd of layers in gzip. The tar in them, and so the diffID, stays what it is; which blob became which is a document.
//!
//! What comes out is a row of zstd frames, each of which can be read by itself: every reader of zstd takes that for one stream.

use std::io::{self, BufRead, Cursor, Write};

use flate2::bufread::MultiGzDecoder;
use ruzstd::encoding::{CompressionLevel, FrameCompressor, MatchGeneratorDriver};
use serde_json::json;
use sha2::{Digest, Sha256};
use transom_sdk::decode::{Counted, copy};
use transom_sdk::documents::Document;
use transom_sdk::media_type::{LAYER_TAR_GZIP, LAYER_TAR_ZSTD};
use transom_sdk::{Error, Info, Job, Outcome, Processor};

/// Docker's type of layers in gzip.
const DOCKER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// The media type of the document.
pub const MAPPING: &str = "application/vnd.transom.recompressed.v1+json";
/// Bytes of tar in a frame. Larger ones are hardly smaller together, and each is held in memory.
const FRAME: usize = 4 << 20;

/// The processor. See `plugin.toml`.
#[derive(Debug, Default)]
pub struct Recompress;

impl Processor for Recompress {
    fn describe() -> Info {
        Info::new("recompress", env!("CARGO_PKG_VERSION"))
            .converts(LAYER_TAR_GZIP, LAYER_TAR_ZSTD)
            .converts(DOCKER_GZIP, LAYER_TAR_ZSTD)
    }

    fn run(&mut self, job: &Job, input: &mut dyn BufRead, output: &mut dyn Write) -> Result<Outcome, Error> {
        let mut input = Counted::new(input);
        let mut packer = Packer::new(output);
        let decoded = copy(&mut MultiGzDecoder::new(&mut input), &mut packer);
        decoded.map_err(|error| error.near(input.offset()))?;
        if input.offset() == 0 {
            return Err(Error::corrupt_at(0, "a gzip file cannot be empty"));
        }
        let read = input.offset();
        let Packed {
            digest,
            size,
            diff_id,
        } = packer.finish()?;
        let mapping = json!({
            "from": { "mediaType": job.input_media_type, "digest": job.descriptor.digest, "size": read },
            "to": { "mediaType": job.output_media_type, "digest": digest, "size": size },
            "diffID": diff_id,
        });
        let mut document = Document::new(MAPPING, &[]);
        serde_json::to_writer(&mut document, &mapping).map_err(io::Error::from)?;
        document.finish()?;
        Ok(Outcome::default()
            .annotate("dev.transom.recompress.digest", digest)
            .annotate("dev.transom.recompress.size", size)
            .annotate("dev.transom.recompress.diff-id", diff_id))
    }
}

/// What came of it.
struct Packed {
    digest: String,
    size: u64,
    diff_id: String,
}

/// Takes the tar, gives frames, and hashes both.
struct Packer<'a> {
    output: &'a mut dyn Write,
    compressor: FrameCompressor<Cursor<Vec<u8>>, Vec<u8>, MatchGeneratorDriver>,
    pending: Vec<u8>,
    plain: Sha256,
    packed: Sha256,
    size: u64,
    frames: u64,
}

impl<'a> Packer<'a> {
    fn new(output: &'a mut dyn Write) -> Self {
        Self {
            output,
            compressor: FrameCompressor::new(CompressionLevel::Fastest),
            pending: Vec::with_capacity(FRAME),
            plain: Sha256::new(),
            packed: Sha256::new(),
            size: 0,
            frames: 0,
        }
    }

    fn frame(&mut self) -> io::Result<()> {
        let content = std::mem::replace(&mut self.pending, Vec::with_capacity(FRAME));
        self.compressor.set_source(Cursor::new(content));
        self.compressor.set_drain(Vec::new());
        self.compressor.compress();
        let packed = self.compressor.take_drain().unwrap_or_default();
        self.packed.update(&packed);
        self.size += packed.len() as u64;
        self.frames += 1;
        self.output.write_all(&packed)
    }

    fn finish(mut self) -> io::Result<Packed> {
        if !self.pending.is_empty() || self.frames == 0 {
            self.frame()?;
        }
        Ok(Packed {
            digest: digest(self.packed),
            size: self.size,
            diff_id: digest(self.plain),
        })
    }
}

impl Write for Packer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(FRAME - self.pending.len());
        self.plain.update(&bytes[..taken]);
        self.pending.extend_from_slice(&bytes[..taken]);
        if self.pending.len() == FRAME {
            self.frame()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn digest(hash: Sha256) -> String {
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

transom_sdk::register_processor!(Recompress);

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use ruzstd::decoding::StreamingDecoder;
    use transom_sdk::testing::Harness;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    /// All frames of a stream.
    fn unzstd(mut packed: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        while !packed.is_empty() {
            StreamingDecoder::new(&mut packed)
                .unwrap()
                .read_to_end(&mut all)
                .unwrap();
        }
        all
    }

    fn sample(words: u32) -> Vec<u8> {
        (0..words)
            .flat_map(|at| (at.wrapping_mul(at) % 1013).to_le_bytes())
            .collect()
    }

    #[test]
    fn the_tar_stays_the_same_and_the_mapping_is_true() {
        // Longer than a frame, and of two members.
        let plain = [sample(1_200_000), b"and more".to_vec()].concat();
        let blob = [gzip(&plain[..FRAME]), gzip(&plain[FRAME..])].concat();
        let run = Harness::new().run::<Recompress>(&blob);
        let outcome = run.outcome();
        assert!(unzstd(&run.output) == plain);
        let of = |bytes: &[u8]| digest(Sha256::new_with_prefix(bytes));
        assert_eq!(
            outcome.annotations["dev.transom.recompress.digest"],
            of(&run.output)
        );
        assert_eq!(outcome.annotations["dev.transom.recompress.diff-id"], of(&plain));
        assert_eq!(run.documents[0].media_type, MAPPING);
        let mapping: serde_json::Value = serde_json::from_slice(&run.documents[0].bytes).unwrap();
        assert_eq!(mapping["from"]["mediaType"], LAYER_TAR_GZIP);
        assert_eq!(mapping["from"]["size"], blob.len());
        assert_eq!(mapping["to"]["digest"], of(&run.output));
        assert_eq!(mapping["to"]["size"], run.output.len());
        assert_eq!(mapping["diffID"], of(&plain));
    }

    #[test]
    fn an_empty_tar_is_one_frame() {
        let run = Harness::new().run::<Recompress>(&gzip(b""));
        run.outcome();
        assert!(!run.output.is_empty() && unzstd(&run.output).is_empty());
    }

    #[test]
    fn chunking_makes_no_difference() {
        Harness::new().assert_chunking_invariant::<Recompress>(&gzip(&sample(20_000)));
    }

    #[test]
    fn damage_and_every_cut_are_errors() {
        let mut blob = gzip(&sample(5000));
        for length in 0..blob.len() {
            let run = Harness::new().run::<Recompress>(&blob[..length]);
            assert!(
                matches!(run.result, Err(Error::Corrupt { .. })),
                "{length}: {:?}",
                run.result
            );
            assert!(run.documents.is_empty());
        }
        let middle = blob.len() / 2;
        blob[middle] ^= 0x10;
        let run = Harness::new().run::<Recompress>(&blob);
        assert!(
            matches!(run.result, Err(Error::Corrupt { .. })),
            "{:?}",
            run.result
        );
    }
}
