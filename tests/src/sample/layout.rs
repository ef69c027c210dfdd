//! A sample image's files: the OCI layout, and the two archive forms.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use tar::{Builder, Header};
use transom_oci::{Algorithm, Descriptor, Digest, Index};

use super::Sample;

/// The blobs of a layout in the making (image specification, "OCI Image Layout").
pub(super) struct Blobs {
    folder: PathBuf,
}

impl Blobs {
    /// Starts a layout; what an earlier one left in the folder goes.
    pub(super) fn create(folder: &Path) -> io::Result<Blobs> {
        match fs::remove_dir_all(folder.join("blobs")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::create_dir_all(folder.join("blobs/sha256"))?;
        Ok(Blobs {
            folder: folder.to_path_buf(),
        })
    }

    /// Writes a blob under its digest.
    pub(super) fn put(&mut self, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
        fs::write(blob_path(&self.folder, digest), bytes)
    }

    /// Writes a document as a blob.
    pub(super) fn put_json<T: serde::Serialize>(
        &mut self,
        media_type: &str,
        document: &T,
    ) -> io::Result<Descriptor> {
        let bytes = serde_json::to_vec_pretty(document)?;
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        self.put(&digest, &bytes)?;
        Ok(Descriptor::new(media_type, digest, bytes.len() as u64))
    }

    /// Writes the files that make the folder a layout.
    pub(super) fn finish(self, index: &Index) -> io::Result<()> {
        fs::write(
            self.folder.join("oci-layout"),
            r#"{"imageLayoutVersion":"1.0.0"}"#,
        )?;
        fs::write(self.folder.join("index.json"), serde_json::to_vec_pretty(index)?)
    }
}

fn blob_path(folder: &Path, digest: &Digest) -> PathBuf {
    folder
        .join("blobs")
        .join(digest.algorithm().as_str())
        .join(digest.hex())
}

pub(super) fn write_oci_archive(layout: &Path, file: &Path) -> io::Result<()> {
    let mut archive = Builder::new(BufWriter::new(File::create(file)?));
    for name in ["oci-layout", "index.json"] {
        append(&mut archive, name, &fs::read(layout.join(name))?)?;
    }
    let mut blobs: Vec<_> = fs::read_dir(layout.join("blobs/sha256"))?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<io::Result<_>>()?;
    blobs.sort();
    for name in blobs {
        let path = Path::new("blobs/sha256").join(name);
        append(&mut archive, &path, &fs::read(layout.join(&path))?)?;
    }
    archive.into_inner()?.flush()
}

pub(super) fn write_docker_archive(sample: &Sample, file: &Path) -> io::Result<()> {
    let mut archive = Builder::new(BufWriter::new(File::create(file)?));
    let config = sample.config.digest.hex();
    let config_bytes = fs::read(blob_path(&sample.layout, &sample.config.digest))?;
    append(&mut archive, format!("{config}.json"), &config_bytes)?;
    let mut layers = Vec::new();
    for layer in &sample.layers {
        let name = format!("{}/layer.tar", layer.diff_id.hex());
        append(&mut archive, &name, &layer.tar)?;
        layers.push(name);
    }
    let manifest = json!([{
        "Config": format!("{config}.json"),
        "RepoTags": [sample.reference()],
        "Layers": layers,
    }]);
    append(&mut archive, "manifest.json", &serde_json::to_vec(&manifest)?)?;
    archive.into_inner()?.flush()
}

fn append(archive: &mut Builder<impl Write>, name: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_size(bytes.len() as u64);
    archive.append_data(&mut header, name, bytes)
}
