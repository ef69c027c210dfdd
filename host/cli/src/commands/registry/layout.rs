//! An OCI layout folder that is written to: its blobs lie as a content store's do, so it is one, with a list of images beside.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;
use transom_content::Store;
use transom_oci::{Descriptor, Index, media_type};

use crate::failure::{Failure, Kind};

/// Where the name of an image in a layout stands.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// An open layout.
#[derive(Debug)]
pub(super) struct Layout {
    folder: PathBuf,
    pub(super) store: Store,
}

impl Layout {
    /// Opens a layout; a folder that is not there, or empty, becomes one.
    pub(super) fn open(folder: &Path) -> Result<Layout, Failure> {
        let failed = |error: std::io::Error| Failure::io(folder.display(), &error);
        fs::create_dir_all(folder).map_err(failed)?;
        let marker = folder.join("oci-layout");
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

    /// The image of a name, or the only one.
    pub(super) fn find(&self, name: Option<&str>) -> Result<Descriptor, Failure> {
        let index = self.index()?;
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
    pub(super) fn list(&self, mut image: Descriptor, name: Option<&str>) -> Result<(), Failure> {
        let mut index = self.index()?;
        if let Some(name) = name {
            image.annotations.insert(REF_NAME.to_owned(), name.to_owned());
        }
        let same = |entry: &Descriptor| match name {
            Some(name) => entry.annotations.get(REF_NAME).is_some_and(|other| other == name),
            None => entry.digest == image.digest,
        };
        index.manifests.retain(|entry| !same(entry));
        index.manifests.push(image);
        self.put("index.json", &json!(index).to_string())?;
        self.put("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        // Nothing is in it any more, unless another copy is under way.
        drop(fs::remove_dir(self.folder.join("ingest")));
        Ok(())
    }

    fn index(&self) -> Result<Index, Failure> {
        let path = self.folder.join("index.json");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Index {
                    schema_version: 2,
                    media_type: Some(media_type::INDEX.to_owned()),
                    manifests: Vec::new(),
                    annotations: std::collections::BTreeMap::new(),
                });
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
