//! Where images lie: a layout folder, an archive of one, or a `docker save` archive, all read alike by name and
//! digest. What comes compressed or as a stream is first copied to an unlinked temporary file, once.

pub mod archive;
pub mod blob;
pub mod docker;
pub(crate) mod document;
pub mod folder;
mod scan;
pub mod spool;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use transom_oci::{Descriptor, Digest, Index};

use crate::error::ImageError;
use crate::limits;
use crate::reference::{Location, Reference, Transport};
use crate::resolve::Layer;
use archive::Archive;
use blob::{BlobReader, Extent};
use docker::DockerEntry;
use document::{Shape, named, parse, parse_json, read_named};
use folder::Folder;
use spool::Compression;

/// What [`Source::open`] may use.
#[derive(Clone, Copy)]
pub struct OpenOptions<'a> {
    /// Where the temporary copy of a stream or a compressed archive goes; it has no name there.
    pub temp_folder: &'a Path,
    /// How large that copy may become, in bytes.
    pub spool_bytes_max: u64,
    /// Told the bytes copied so far; may stop the copying.
    pub progress: Option<&'a dyn Fn(u64) -> ControlFlow<()>>,
}

impl<'a> OpenOptions<'a> {
    /// The default limit, and nobody to tell.
    pub fn new(temp_folder: &'a Path) -> OpenOptions<'a> {
        OpenOptions {
            temp_folder,
            spool_bytes_max: limits::SPOOL_BYTES_MAX,
            progress: None,
        }
    }
}

impl fmt::Debug for OpenOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenOptions")
            .field("temp_folder", &self.temp_folder)
            .field("spool_bytes_max", &self.spool_bytes_max)
            .finish_non_exhaustive()
    }
}

/// What kind of source it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// A folder with `oci-layout`, `index.json` and `blobs/` (image specification, "Image Layout").
    OciLayout,
    /// A tar archive of such a folder; what docker saves since version 25 is one, too.
    OciArchive,
    /// A tar archive with docker's `manifest.json`.
    DockerArchive,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::OciLayout => "OCI layout",
            Format::OciArchive => "OCI archive",
            Format::DockerArchive => "docker archive",
        })
    }
}

/// Files by name.
#[derive(Debug)]
pub(crate) enum Store {
    Folder(Folder),
    Archive(Archive),
}

impl Store {
    pub(crate) fn open(&self, name: &str) -> Result<Option<Extent>, ImageError> {
        match self {
            Store::Folder(folder) => folder.open_file(name),
            Store::Archive(archive) => archive.open(name),
        }
    }
}

/// What a source lists.
#[derive(Debug)]
pub(crate) enum Listing {
    Oci(Index),
    Docker(Vec<DockerEntry>),
}

/// An open source. It can be read by several threads; each blob that is opened has its own position.
#[derive(Debug)]
pub struct Source {
    origin: String,
    format: Format,
    pub(crate) store: Store,
    pub(crate) listing: Listing,
    /// Whether its layers may come later.
    pub(crate) coming: bool,
}

impl Source {
    /// Opens what a reference points at and tells what kind it is, unless the reference already does. `stdin` is
    /// read only when the reference says `-`.
    ///
    /// # Errors
    /// That there is nothing, that it is no image, or that it is damaged.
    pub fn open(
        reference: &Reference,
        stdin: &mut dyn Read,
        options: &OpenOptions<'_>,
    ) -> Result<Source, ImageError> {
        let origin = reference.location.to_string();
        let store = match &reference.location {
            Location::Stdin => open_archive(spool::spool(stdin, &origin, options)?, &origin)?,
            Location::Path(path) => open_path(path, &origin, options)?,
        };
        let (format, listing) = detect(&store, &origin, reference.transport)?;
        Ok(Source {
            origin,
            format,
            store,
            listing,
            coming: false,
        })
    }

    /// The same, of which the layers are still on their way: an image is found without them.
    #[must_use]
    pub fn coming(mut self) -> Source {
        self.coming = true;
        self
    }

    /// The path it was opened from, for messages.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// What kind of source it is.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Opens a layer for reading from its start. The bytes are not verified.
    ///
    /// # Errors
    /// [`ImageError::MissingBlob`], [`ImageError::WrongSize`].
    pub fn open_layer(&self, layer: &Layer) -> Result<Box<dyn BlobReader>, ImageError> {
        let blob = self.store.open(&layer.location)?;
        Ok(Box::new(self.check_blob(blob, &layer.descriptor)?))
    }

    /// Finds a blob under its digest, with the size that its descriptor says.
    pub(crate) fn find_blob(&self, descriptor: &Descriptor) -> Result<Extent, ImageError> {
        let blob = self.store.open(&blob_name(&descriptor.digest))?;
        self.check_blob(blob, descriptor)
    }

    fn check_blob(&self, blob: Option<Extent>, descriptor: &Descriptor) -> Result<Extent, ImageError> {
        let blob = blob.ok_or_else(|| ImageError::MissingBlob {
            digest: descriptor.digest.clone(),
            media_type: descriptor.media_type.clone(),
            origin: self.origin.clone(),
            advice: match descriptor.urls.is_empty() {
                true => "copy the image again, or choose another platform if only part of it was copied",
                false => {
                    "it is a foreign layer, which images leave out; fetch it from the URL in its descriptor"
                }
            },
        })?;
        if blob.size() != descriptor.size {
            return Err(ImageError::WrongSize {
                digest: descriptor.digest.clone(),
                origin: self.origin.clone(),
                expected: descriptor.size,
                actual: blob.size(),
            });
        }
        Ok(blob)
    }
}

/// Where a layout keeps a blob. A digest is always valid, so the name stays in `blobs/`.
pub(crate) fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

fn open_path(path: &Path, origin: &str, options: &OpenOptions<'_>) -> Result<Store, ImageError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ImageError::NotFound {
            path: path.to_owned(),
        },
        _ => ImageError::Io {
            action: "open",
            path: path.to_owned(),
            source,
        },
    };
    let metadata = path.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Folder::open(path).map(Store::Folder);
    }
    let mut file = File::open(path).map_err(failed)?;
    // A pipe (`<(docker save …)`) cannot be looked into first.
    if !metadata.is_file() || compression(&file).map_err(failed)?.is_some() {
        file = spool::spool(&mut file, origin, options)?;
    }
    open_archive(file, origin)
}

fn compression(file: &File) -> io::Result<Option<Compression>> {
    let mut start = [0; spool::MAGIC_BYTES];
    let read = file.read_at(&mut start, 0)?;
    Ok(spool::sniff(&start[..read]))
}

fn open_archive(file: File, origin: &str) -> Result<Store, ImageError> {
    let not_an_image = |reason: &str| ImageError::NotAnImage {
        origin: origin.to_owned(),
        reason: reason.to_owned(),
    };
    if file.metadata().is_ok_and(|metadata| metadata.len() == 0) {
        return Err(not_an_image("it is empty"));
    }
    let is_tar = scan::is_tar(&file).map_err(|source| ImageError::Io {
        action: "read",
        path: origin.into(),
        source,
    })?;
    if !is_tar {
        let reason = "it is neither a layout folder nor a tar archive, plain or in gzip or zstd";
        return Err(not_an_image(reason));
    }
    Archive::index(file, origin).map(Store::Archive)
}

fn detect(
    store: &Store,
    origin: &str,
    transport: Option<Transport>,
) -> Result<(Format, Listing), ImageError> {
    let not_an_image = |reason: String| ImageError::NotAnImage {
        origin: origin.to_owned(),
        reason,
    };
    let is_folder = matches!(store, Store::Folder(_));
    if let Some(transport) = transport
        && (transport == Transport::Oci) != is_folder
    {
        let kind = if is_folder { "a folder" } else { "an archive" };
        return Err(not_an_image(format!(
            "it is {kind}, which {transport}: does not read"
        )));
    }
    if transport != Some(Transport::DockerArchive)
        && let Some(index) = read_layout(store, origin)?
    {
        let format = match is_folder {
            true => Format::OciLayout,
            false => Format::OciArchive,
        };
        return Ok((format, Listing::Oci(index)));
    }
    let docker_may_be = matches!(transport, None | Some(Transport::DockerArchive)) && !is_folder;
    if docker_may_be && let Some(entries) = read_docker_listing(store, origin)? {
        return Ok((Format::DockerArchive, Listing::Docker(entries)));
    }
    Err(not_an_image(why_not(store, transport)?))
}

/// The index of an OCI layout; `None` when it is none.
fn read_layout(store: &Store, origin: &str) -> Result<Option<Index>, ImageError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct LayoutFile {
        image_layout_version: String,
    }
    const LAYOUT_FILE: &str = "oci-layout";
    const INDEX_FILE: &str = "index.json";
    let Some(layout) = read_named(store, LAYOUT_FILE, origin, limits::LAYOUT_FILE_BYTES_MAX)? else {
        return Ok(None);
    };
    let Some(index) = read_named(store, INDEX_FILE, origin, limits::LISTING_BYTES_MAX)? else {
        return Ok(None);
    };
    let layout: LayoutFile = parse_json(&layout, &named(LAYOUT_FILE, origin))?;
    if !layout.image_layout_version.starts_with("1.") {
        return Err(ImageError::NotAnImage {
            origin: origin.to_owned(),
            reason: format!(
                "its layout has version {:?}, only 1.x is supported",
                layout.image_layout_version
            ),
        });
    }
    parse(&index, &named(INDEX_FILE, origin), Shape::Index, None).map(Some)
}

fn read_docker_listing(store: &Store, origin: &str) -> Result<Option<Vec<DockerEntry>>, ImageError> {
    const FILE: &str = "manifest.json";
    let Some(bytes) = read_named(store, FILE, origin, limits::LISTING_BYTES_MAX)? else {
        return Ok(None);
    };
    parse_json(&bytes, &named(FILE, origin)).map(Some)
}

/// What is there instead of an image, for the person who thought it was one.
fn why_not(store: &Store, transport: Option<Transport>) -> Result<String, ImageError> {
    let has = |name: &str| store.open(name).map(|file| file.is_some());
    Ok(match (store, transport) {
        (Store::Folder(_), _) if has("manifest.json")? => {
            "it has manifest.json but no oci-layout: copy it with `skopeo copy dir:… oci:FOLDER`, or pack it \
             again if it was a docker archive"
        }
        (Store::Folder(_), _) => "the folder has no oci-layout and index.json",
        (_, Some(Transport::DockerArchive)) => "the archive has no manifest.json",
        (_, Some(_)) => "the archive has no oci-layout and index.json",
        (_, None) if has("repositories")? => {
            "the archive is of a docker older than 1.10: load it into a newer docker and save it again"
        }
        (_, None) => "the archive has neither oci-layout and index.json nor docker's manifest.json",
    }
    .to_owned())
}
