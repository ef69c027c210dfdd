//! How a layer is compressed, and what its media type is then.

use std::io::{self, Write};

use flate2::write::GzEncoder;
use lzma_rust2::{XzOptions, XzWriter};
use transom_oci::media_type;

/// The media type of a layer in xz: no such layer is built into Transom, only a plugin reads it.
pub const LAYER_TAR_XZ: &str = "application/vnd.oci.image.layer.v1.tar+xz";

/// How a layer's tar is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As it is.
    None,
    /// gzip, one member.
    Gzip,
    /// gzip in members of 64 KiB each, as parallel compressors write it.
    GzipMembers,
    /// zstd.
    Zstd,
    /// xz.
    Xz,
}

impl Compression {
    /// The media type that a layer in this form has.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Compression::None => media_type::LAYER_TAR,
            Compression::Gzip | Compression::GzipMembers => media_type::LAYER_TAR_GZIP,
            Compression::Zstd => media_type::LAYER_TAR_ZSTD,
            Compression::Xz => LAYER_TAR_XZ,
        }
    }

    /// Compresses a whole layer, always to the same bytes.
    ///
    /// # Errors
    /// The compressor's.
    pub fn compress(self, tar: &[u8]) -> io::Result<Vec<u8>> {
        const MEMBER: usize = 64 << 10;
        match self {
            Compression::None => Ok(tar.to_vec()),
            Compression::Gzip => gzip(tar),
            Compression::GzipMembers => {
                let members: io::Result<Vec<_>> = tar.chunks(MEMBER).map(gzip).collect();
                Ok(members?.concat())
            }
            Compression::Zstd => zstd::encode_all(tar, 3),
            Compression::Xz => {
                // The quickest preset: the sample is about reading.
                let mut writer = XzWriter::new(Vec::new(), XzOptions::with_preset(0))?;
                writer.write_all(tar)?;
                writer.finish()
            }
        }
    }
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(bytes)?;
    encoder.finish()
}
