//! The built-in handler: gzip, zstd or nothing, told by the first bytes (containerd's compression handler).
//!
//! The declared algorithm is not trusted: a layer that says gzip and is zstd is read as zstd, one that is neither is
//! taken as it is. Several gzip members and several zstd frames, skippable ones among them, make one stream.

mod frames;
mod windows;

use std::io::Read;

use flate2::bufread::MultiGzDecoder;
use transom_oci::media_type::{self, LAYER_TAR};

use crate::cancel::Cancel;
use crate::limits::ZSTD_WINDOW_LOG_MAX;
use crate::pipe::{Input, Output};
use crate::stage::{Handler, HandlerKind, Job, Outcome, Stage, StageError};

use frames::Frames;

/// What the built-in handler reports of a layer that is not compressed.
pub const PLAIN: &str = "plain";

/// Takes every layer media type of OCI and Docker.
#[derive(Clone, Copy, Debug)]
pub struct Decompress;

/// What the media type asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Treatment {
    /// Look at the first bytes.
    Detect,
    /// Leave the bytes alone.
    Pass,
}

impl Handler for Decompress {
    fn name(&self) -> &str {
        "decompress"
    }

    fn kind(&self) -> HandlerKind {
        HandlerKind::Native
    }

    fn offer(&self, media_type: &str) -> Option<String> {
        treatment(media_type).map(|_| LAYER_TAR.to_owned())
    }

    fn open(&self, job: &Job) -> Result<Box<dyn Stage>, StageError> {
        Ok(Box::new(DecompressStage {
            treatment: treatment(&job.input_media_type).unwrap_or(Treatment::Pass),
            cancel: job.cancel.clone(),
        }))
    }
}

/// The built-in behaviour for a media type: containerd's `DiffCompression`.
fn treatment(media_type: &str) -> Option<Treatment> {
    let (base, suffixes) = media_type::split_suffixes(media_type);
    match base {
        media_type::DOCKER_LAYER
        | media_type::DOCKER_FOREIGN_LAYER
        | media_type::DOCKER_LAYER_GZIP
        | media_type::DOCKER_FOREIGN_LAYER_GZIP
        | media_type::DOCKER_LAYER_ZSTD => Some(if suffixes.is_empty() {
            Treatment::Detect
        } else {
            Treatment::Pass
        }),
        LAYER_TAR | media_type::LAYER_NONDISTRIBUTABLE_TAR => Some(match suffixes.last() {
            Some(&("gzip" | "zstd")) => Treatment::Detect,
            _ => Treatment::Pass,
        }),
        _ => None,
    }
}

/// Whether the built-in handler passes this media type through although its suffix says that something was done to
/// the bytes: without another handler the result is hardly a tar.
pub fn is_opaque(media_type: &str) -> bool {
    let (_, suffixes) = media_type::split_suffixes(media_type);
    treatment(media_type) == Some(Treatment::Pass) && !suffixes.is_empty()
}

/// Whether a layer of this media type is something else than a plain tar, compressed with gzip or zstd at most. Then only a
/// processor, such as one that decrypts, can make that of it: the built-in handler takes some of these types too, but only
/// because it looks at part of their name.
pub fn needs_processor(media_type: &str) -> bool {
    let (_, suffixes) = media_type::split_suffixes(media_type);
    match treatment(media_type) {
        None => true,
        Some(Treatment::Pass) => !suffixes.is_empty(),
        Some(Treatment::Detect) => suffixes.len() > 1,
    }
}

/// Whether the built-in handler looks at a layer's first bytes to find out how it is compressed, whatever its media type says.
pub fn detects(media_type: &str) -> bool {
    treatment(media_type) == Some(Treatment::Detect)
}

/// Whether a blob that begins so may be a layer: a tar, or compressed as the built-in handler reads it. 512 bytes are enough.
pub fn may_be_layer(first: &[u8]) -> bool {
    // POSIX.1-2017, pax, "ustar Interchange Format": the field `magic`.
    Format::detect(first) != Format::Plain || first.get(257..262) == Some(b"ustar")
}

struct DecompressStage {
    treatment: Treatment,
    cancel: Cancel,
}

impl Stage for DecompressStage {
    fn run(self: Box<Self>, input: &mut Input, output: &mut Output) -> Result<Outcome, StageError> {
        let format = match self.treatment {
            Treatment::Pass => Format::Plain,
            Treatment::Detect => Format::detect(input.peek(MAGIC_BYTES)?),
        };
        match format {
            Format::Gzip => gunzip(input, output)?,
            Format::Zstd => unzstd(input, output, self.cancel)?,
            Format::Plain => pass(input, output)?,
        }
        Ok(Outcome {
            detail: Some(format.as_str().to_owned()),
            ..Outcome::default()
        })
    }
}

/// Bytes that detection wants to see; a zstd frame cannot be shorter.
const MAGIC_BYTES: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Gzip,
    Zstd,
    Plain,
}

impl Format {
    fn detect(first: &[u8]) -> Format {
        match first {
            [0x1f, 0x8b, 0x08, ..] => Format::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Format::Zstd,
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] if first.len() >= MAGIC_BYTES => Format::Zstd,
            _ => Format::Plain,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Format::Gzip => "gzip",
            Format::Zstd => "zstd",
            Format::Plain => PLAIN,
        }
    }
}

fn pass(input: &mut Input, output: &mut Output) -> Result<(), StageError> {
    while let Some(chunk) = input.next_chunk()? {
        output.send(chunk)?;
    }
    Ok(())
}

fn gunzip(input: &mut Input, output: &mut Output) -> Result<(), StageError> {
    let mut decoder = MultiGzDecoder::new(&mut *input);
    let result = decode(&mut decoder, output);
    result.map_err(|error| StageError::from_decoder("gzip", input.consumed(), error))
}

fn unzstd(input: &mut Input, output: &mut Output, cancel: Cancel) -> Result<(), StageError> {
    // Declared first, so that the window goes before its share.
    let mut frames = Frames::new(&mut *input, cancel);
    let result = zstd::stream::read::Decoder::with_buffer(&mut frames).and_then(|mut decoder| {
        decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
        decode(&mut decoder, output)
    });
    result.map_err(|error| StageError::from_decoder("zstd", input.consumed(), error))
}

fn decode(decoder: &mut impl Read, output: &mut Output) -> std::io::Result<()> {
    while !output.fill_chunk(|buffer| decoder.read(buffer))? {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_treated_as_containerd_treats_them() {
        let oci = |suffix: &str| treatment(&format!("{LAYER_TAR}{suffix}"));
        assert_eq!(oci(""), Some(Treatment::Pass));
        assert_eq!(oci("+gzip"), Some(Treatment::Detect));
        assert_eq!(oci("+zstd"), Some(Treatment::Detect));
        assert_eq!(oci("+xz"), Some(Treatment::Pass));
        assert_eq!(
            oci("+gzip+encrypted"),
            Some(Treatment::Detect),
            "sorts to [encrypted, gzip]"
        );
        assert_eq!(oci("+encrypted"), Some(Treatment::Pass));
        assert!(is_opaque(&format!("{LAYER_TAR}+xz")) && !is_opaque(LAYER_TAR));
        assert_eq!(treatment(media_type::DOCKER_LAYER), Some(Treatment::Detect));
        assert_eq!(treatment(media_type::DOCKER_LAYER_GZIP), Some(Treatment::Detect));
        assert_eq!(treatment(media_type::DOCKER_LAYER_ZSTD), Some(Treatment::Detect));
        assert_eq!(
            treatment(&format!("{}+encrypted", media_type::DOCKER_LAYER_GZIP)),
            Some(Treatment::Pass)
        );
        let foreign = format!("{}+zstd", media_type::LAYER_NONDISTRIBUTABLE_TAR);
        assert_eq!(treatment(&foreign), Some(Treatment::Detect));
        for other in ["application/foo", "", media_type::IMAGE_CONFIG] {
            assert_eq!(treatment(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_built_in_reads_tars_with_gzip_or_zstd_and_no_others() {
        for plain in [LAYER_TAR, media_type::LAYER_NONDISTRIBUTABLE_TAR] {
            for suffix in ["", "+gzip", "+zstd"] {
                assert!(!needs_processor(&format!("{plain}{suffix}")), "{plain}{suffix}");
            }
            for suffix in ["+xz", "+encrypted", "+gzip+encrypted", "+Encrypted+gzip"] {
                assert!(needs_processor(&format!("{plain}{suffix}")), "{plain}{suffix}");
            }
        }
        for docker in [
            media_type::DOCKER_LAYER,
            media_type::DOCKER_LAYER_GZIP,
            media_type::DOCKER_LAYER_ZSTD,
        ] {
            assert!(!needs_processor(docker), "{docker}");
            assert!(needs_processor(&format!("{docker}+enc")), "{docker}+enc");
        }
        assert!(needs_processor("application/vnd.example.sealed"));
    }

    #[test]
    fn formats_are_told_by_their_first_bytes() {
        assert_eq!(Format::detect(b"\x1f\x8b\x08"), Format::Gzip);
        assert_eq!(Format::detect(b"\x28\xb5\x2f\xfd"), Format::Zstd);
        assert_eq!(Format::detect(b"\x5a\x2a\x4d\x18\0\0\0\0"), Format::Zstd);
        assert_eq!(
            Format::detect(b"\x5a\x2a\x4d\x18"),
            Format::Plain,
            "too short for a skippable frame"
        );
        assert_eq!(Format::detect(b""), Format::Plain);
        assert_eq!(Format::detect(b"\x1f\x8b"), Format::Plain);
        assert!(may_be_layer(b"\x1f\x8b\x08") && !may_be_layer(b"{\"schemaVersion\": 2}"));
        let mut header = [0; 512];
        assert!(!may_be_layer(&header));
        header[257..262].copy_from_slice(b"ustar");
        assert!(may_be_layer(&header));
    }
}
