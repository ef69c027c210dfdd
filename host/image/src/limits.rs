//! What an image on disk may cost before anything of it is unpacked, and why. The limits of single documents
//! (manifest, configuration, layers) are those of `transom_oci::limits`.

/// Bytes of a compressed archive once it is spooled, unless the caller says otherwise. The largest images in
/// use have some tens of gigabytes; a small bomb of zeros would otherwise fill the disk.
pub const SPOOL_BYTES_MAX: u64 = 64 << 30;

/// Memory that a zstd archive may ask for, as a power of two. 128 MiB is what the `zstd` program accepts
/// without `--long`.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Members of an archive. An archive of a hundred images with a hundred layers each stays below it, in docker's
/// old form with four members for a layer, too.
pub const ARCHIVE_MEMBERS_MAX: u64 = 65_536;

/// Bytes of all member names and link targets together, for they are all kept in memory.
pub const ARCHIVE_NAME_BYTES_MAX: u64 = 32 << 20;

/// Bytes of one extended header (a GNU long name, or PAX records); both are read into memory. Extended
/// attributes may reach 64 KiB each.
pub const ARCHIVE_EXTENSION_BYTES_MAX: u64 = 1 << 20;

/// Links followed to reach one member, as many as Linux follows in a path.
pub const ARCHIVE_LINKS_MAX: usize = 40;

/// Bytes of a layout's `index.json` or a docker archive's `manifest.json`. They list whole mirrors and so may
/// be larger than what registries take as one manifest.
pub const LISTING_BYTES_MAX: u64 = 16 << 20;

/// Bytes of the `oci-layout` file, which holds one version number.
pub const LAYOUT_FILE_BYTES_MAX: u64 = 4 << 10;

/// Indexes inside indexes. Real images have two; the digests of indexes are verified, so there are no cycles
/// and this bounds the recursion.
pub const INDEX_DEPTH_MAX: usize = 8;

/// Descriptors met while looking through all indexes of one source: thousands of images for ten platforms each.
/// Choosing by name looks only below that name.
pub const DESCRIPTORS_MAX: usize = 32_768;

/// Bytes of indexes, manifests and configurations read while looking through a source. A small archive can list
/// one document of 4 MiB thousands of times; real ones have some kilobytes for each image.
pub const DOCUMENT_BYTES_MAX: u64 = 1 << 30;

/// Choices that an error message lists; the rest is counted.
pub const CHOICES_SHOWN_MAX: usize = 20;
