//! The files of the OCI layout in a folder of plugins: its list and its blobs.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use transom_content::{IngestOptions, Store};
use transom_oci::{Descriptor, Digest, Index, media_type};

use super::{InstalledError, io_error};
use crate::limits::LOCK_BYTES_MAX;

/// Where a list says what it calls a manifest.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The list.
const INDEX: &str = "index.json";

/// The file that makes a folder a layout, and what is in it.
const MARKER: (&str, &str) = ("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);

/// A list of nothing.
pub(super) fn empty() -> Index {
    Index {
        schema_version: 2,
        media_type: Some(media_type::INDEX.to_owned()),
        manifests: Vec::new(),
        annotations: std::collections::BTreeMap::new(),
    }
}

/// The list of a folder; of nothing, if there is none.
pub(super) fn read(folder: &Path) -> Result<Index, InstalledError> {
    let path = folder.join(INDEX);
    let wrong = |message: String| InstalledError::Wrong {
        path: path.clone(),
        message,
    };
    match fs::metadata(&path) {
        Ok(found) if found.len() > LOCK_BYTES_MAX => {
            return Err(wrong(format!("it has more than {LOCK_BYTES_MAX} bytes")));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(empty()),
        _ => {}
    }
    let text = fs::read(&path).map_err(|source| io_error(&path, source))?;
    serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))
}

/// The manifest of a name.
pub(super) fn named<'a>(index: &'a Index, name: &str) -> Option<&'a Descriptor> {
    let is = |entry: &&Descriptor| entry.annotations.get(REF_NAME).is_some_and(|own| own == name);
    index.manifests.iter().find(is)
}

/// Lists a manifest under a name, in place of another of that name.
pub(super) fn add(index: &mut Index, mut manifest: Descriptor, name: &str) {
    let is_other = |entry: &Descriptor| entry.annotations.get(REF_NAME).is_none_or(|own| own != name);
    index.manifests.retain(is_other);
    manifest.annotations.insert(REF_NAME.to_owned(), name.to_owned());
    index.manifests.push(manifest);
}

/// Writes the list.
pub(super) fn write(folder: &Path, index: &Index) -> Result<(), InstalledError> {
    let text = serde_json::to_string(index).map_err(|error| InstalledError::Wrong {
        path: folder.join(INDEX),
        message: error.to_string(),
    })?;
    put_file(folder, INDEX, &text)?;
    put_file(folder, MARKER.0, MARKER.1)?;
    // Nothing is in it any more: who else writes here would be refused.
    drop(fs::remove_dir(folder.join("ingest")));
    Ok(())
}

/// Writes a file in one step, durably.
pub(super) fn put_file(folder: &Path, name: &str, text: &str) -> Result<(), InstalledError> {
    let path = folder.join(name);
    let failed = |source: io::Error| io_error(&path, source);
    let mut new = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    new.as_file()
        .set_permissions(fs::Permissions::from_mode(0o644))
        .map_err(failed)?;
    new.write_all(text.as_bytes()).map_err(failed)?;
    new.as_file().sync_all().map_err(failed)?;
    new.persist(&path).map_err(|error| failed(error.error))?;
    fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed)
}

/// Puts a blob into the store, unless it is there. One that is damaged is put anew.
pub(super) fn put(store: &Store, digest: &Digest, bytes: &[u8]) -> Result<(), InstalledError> {
    let mut there = Vec::new();
    if let Ok(blob) = store.reader(digest) {
        if blob.take(bytes.len() as u64 + 1).read_to_end(&mut there).is_ok() && there == bytes {
            return Ok(());
        }
        store.delete(digest)?;
    }
    let size = bytes.len() as u64;
    let options = IngestOptions {
        total: Some(size),
        expected: Some(digest.clone()),
    };
    let mut writer = store.ingest(&format!("plugin-{digest}"), options)?;
    writer.truncate(0)?;
    writer.write(bytes)?;
    writer.commit(Some(size), Some(digest))?;
    Ok(())
}
