//! An OCI layout folder that is written to: its blobs lie as a content store's do, so it is one, with a list of images beside.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;
use transom_content::{Error, IngestOptions, Store};
use transom_oci::{Algorithm, Descriptor, Digest, Index, media_type};

use crate::failure::{Failure, Kind};

/// Where the name of an image in a layout stands.
pub(in crate::commands) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The files of a layout beside its blobs, and what is in the first.
pub(super) const MARKER: &str = "oci-layout";
pub(super) const MARKED: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
pub(super) const INDEX: &str = "index.json";

/// An open layout.
#[derive(Debug)]
pub(in crate::commands) struct Layout {
    folder: PathBuf,
    pub(in crate::commands) store: Store,
}

impl Layout {
    /// Opens a layout; a folder that is not there, or empty, becomes one.
    pub(in crate::commands) fn open(folder: &Path) -> Result<Layout, Failure> {
        let failed = |error: std::io::Error| Failure::io(folder.display(), &error);
        fs::create_dir_all(folder).map_err(failed)?;
        let marker = folder.join(MARKER);
        if !marker.exists() {
            // An earlier copy that was cut off has left blobs and no marker.
            let foreign = fs::read_dir(folder)
                .map_err(failed)?
                .flatten()
                .any(|entry| !matches!(entry.file_name().to_str(), Some("blobs" | "ingest")));
            if foreign {
                let reason = "it is neither empty nor an OCI layout (it has no oci-layout)";
                return Err(Failure::usage(format!("{}: {reason}", folder.display())));
            }
        }
        Ok(Layout {
            folder: folder.to_owned(),
            store: Store::open(folder)?,
        })
    }

    /// Whether a folder is a layout.
    pub(in crate::commands) fn is_one(folder: &Path) -> bool {
        folder.join(MARKER).is_file()
    }

    /// The image of a name, or the only one.
    pub(super) fn find(&self, name: Option<&str>) -> Result<Descriptor, Failure> {
        self.find_in(&self.index()?, name)
    }

    /// The same in another list.
    pub(super) fn find_in(&self, index: &Index, name: Option<&str>) -> Result<Descriptor, Failure> {
        let fits = |entry: &&Descriptor| {
            name.is_none() || entry.annotations.get(REF_NAME).map(String::as_str) == name
        };
        let found: Vec<&Descriptor> = index.manifests.iter().filter(fits).collect();
        match found.as_slice() {
            [one] => Ok((*one).clone()),
            [] => Err(Failure::new(
                Kind::NotFound,
                format!(
                    "{} has no image {:?}",
                    self.folder.display(),
                    name.unwrap_or_default()
                ),
            )),
            _ => Err(Failure::usage(format!(
                "{} has several images: name one, as in oci:FOLDER:NAME",
                self.folder.display()
            ))),
        }
    }

    /// Lists an image under a name, in place of another of that name.
    pub(in crate::commands) fn list(&self, image: Descriptor, name: Option<&str>) -> Result<(), Failure> {
        let mut index = self.index()?;
        let image = named(image, name);
        let same = |entry: &Descriptor| match name {
            Some(name) => entry.annotations.get(REF_NAME).is_some_and(|other| other == name),
            None => entry.digest == image.digest,
        };
        index.manifests.retain(|entry| !same(entry));
        index.manifests.push(image);
        self.put(INDEX, &json!(index).to_string())?;
        self.put(MARKER, MARKED)?;
        // Nothing is in it any more, unless another copy is under way.
        drop(fs::remove_dir(self.folder.join("ingest")));
        Ok(())
    }

    /// Stores bytes under their digest.
    pub(in crate::commands) fn put_blob(&self, kind: &str, bytes: &[u8]) -> Result<Descriptor, Failure> {
        let digest = Digest::of(Algorithm::Sha256, bytes);
        let descriptor = Descriptor::new(kind, digest.clone(), bytes.len() as u64);
        let options = IngestOptions {
            total: Some(descriptor.size),
            expected: Some(digest.clone()),
        };
        let mut writer = match self.store.ingest(&format!("artifact-{digest}"), options) {
            Ok(writer) => writer,
            Err(Error::AlreadyExists { .. }) => return Ok(descriptor),
            Err(error) => return Err(error.into()),
        };
        writer.truncate(0)?;
        writer.write(bytes)?;
        match writer.commit(Some(descriptor.size), Some(&digest)) {
            Ok(_) | Err(Error::AlreadyExists { .. }) => Ok(descriptor),
            Err(error) => Err(error.into()),
        }
    }

    /// What is listed.
    pub(in crate::commands) fn index(&self) -> Result<Index, Failure> {
        let path = self.folder.join(INDEX);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(list_of(Vec::new()));
            }
            Err(error) => return Err(Failure::io(path.display(), &error)),
        };
        serde_json::from_slice(&text)
            .map_err(|error| Failure::new(Kind::Damaged, format!("{}: {error}", path.display())))
    }

    /// Writes a file in one step.
    fn put(&self, name: &str, text: &str) -> Result<(), Failure> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.folder.join(name);
        let failed = |error: std::io::Error| Failure::io(path.display(), &error);
        let mut new = tempfile::NamedTempFile::new_in(&self.folder).map_err(failed)?;
        new.as_file()
            .set_permissions(fs::Permissions::from_mode(0o644))
            .map_err(failed)?;
        new.write_all(text.as_bytes()).map_err(failed)?;
        new.as_file().sync_all().map_err(failed)?;
        new.persist(&path).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

/// A list of images.
pub(super) fn list_of(manifests: Vec<Descriptor>) -> Index {
    Index {
        schema_version: 2,
        media_type: Some(media_type::INDEX.to_owned()),
        manifests,
        annotations: std::collections::BTreeMap::new(),
    }
}

/// An image with a name, as it stands in a list.
pub(super) fn named(mut image: Descriptor, name: Option<&str>) -> Descriptor {
    if let Some(name) = name {
        image.annotations.insert(REF_NAME.to_owned(), name.to_owned());
    }
    image
}
