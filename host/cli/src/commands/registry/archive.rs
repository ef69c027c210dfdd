//! Archives of an OCI layout: read into a layout, and written from one.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;
use transom_client::images::listed;
use transom_content::{IngestOptions, Store};
use transom_layer::cancel::Cancel;
use transom_oci::{Descriptor, Digest, Index};

use super::layout::{self, INDEX, Layout, MARKED, MARKER};
use crate::failure::{Failure, Kind};
use crate::limits::BLOCK;

/// Bytes of an archive's list of images: as for folders and archives that are unpacked.
const INDEX_BYTES: u64 = transom_image::limits::LISTING_BYTES_MAX;

/// Brings all blobs of an archive into a layout, each checked; what the archive lists.
pub(super) async fn read(file: &Path, layout: &Layout, cancel: Cancel) -> Result<Index, Failure> {
    let (file, store) = (file.to_owned(), layout.store.clone());
    on_thread(move || unpack(&file, &store, &cancel)).await
}

/// Writes an image with all that it lists to an archive, in one step.
pub(super) async fn write(
    file: &Path,
    layout: &Layout,
    image: Descriptor,
    cancel: Cancel,
) -> Result<(), Failure> {
    let (file, store) = (file.to_owned(), layout.store.clone());
    on_thread(move || pack(&file, &store, image, &cancel)).await
}

async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn unpack(path: &Path, store: &Store, cancel: &Cancel) -> Result<Index, Failure> {
    let failed = |error: io::Error| Failure::io(path.display(), &error);
    let damaged = |reason: &str| Failure::new(Kind::Damaged, format!("{}: {reason}", path.display()));
    let mut archive = tar::Archive::new(File::open(path).map_err(failed)?);
    let mut index = None;
    for entry in archive.entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        let name = String::from_utf8_lossy(&entry.path_bytes())
            .trim_start_matches("./")
            .to_owned();
        if !entry.header().entry_type().is_file() {
            // Folders; and links, which no program writes that makes layouts.
            continue;
        }
        if name == INDEX {
            let mut text = Vec::new();
            entry
                .by_ref()
                .take(INDEX_BYTES + 1)
                .read_to_end(&mut text)
                .map_err(failed)?;
            if text.len() as u64 > INDEX_BYTES {
                return Err(damaged("its index.json is too large"));
            }
            let read = serde_json::from_slice(&text);
            index = Some(read.map_err(|error| damaged(&format!("index.json: {error}")))?);
        } else if let Some(digest) = digest_of(&name) {
            let size = entry.size();
            keep(store, &digest, size, &mut entry, cancel)
                .map_err(|failure| failure.about(path.display()))?;
        }
    }
    index.ok_or_else(|| damaged("it has no index.json: is it an OCI archive?"))
}

/// `blobs/sha256/…`
fn digest_of(name: &str) -> Option<Digest> {
    let (algorithm, hex) = name.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}

fn keep(
    store: &Store,
    digest: &Digest,
    size: u64,
    bytes: &mut impl Read,
    cancel: &Cancel,
) -> Result<(), Failure> {
    let options = IngestOptions {
        total: Some(size),
        expected: Some(digest.clone()),
    };
    let mut writer = match store.ingest(&format!("archive-{digest}"), options) {
        Err(transom_content::Error::AlreadyExists { .. }) => return Ok(()),
        writer => writer?,
    };
    // What an earlier copy left is not known to be of this archive.
    writer.truncate(0)?;
    pass(bytes, &mut writer, cancel)?;
    match writer.commit(Some(size), Some(digest)) {
        Ok(_) | Err(transom_content::Error::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn pack(path: &Path, store: &Store, image: Descriptor, cancel: &Cancel) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::io(path.display(), &error);
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut new = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    let blobs = listed(&image, store)?;
    let mut out = tar::Builder::new(BufWriter::with_capacity(BLOCK, new.as_file_mut()));
    let mut small = |name: &str, text: &str| {
        let mut header = header(text.len() as u64);
        out.append_data(&mut header, name, text.as_bytes())
            .map_err(failed)
    };
    small(MARKER, MARKED)?;
    small(INDEX, &json!(layout::list_of(vec![image])).to_string())?;
    for blob in blobs {
        let name = format!("blobs/{}/{}", blob.digest.algorithm(), blob.digest.hex());
        let reader = store.reader(&blob.digest)?.verifying().with_size(blob.size);
        let reader = Stoppable { reader, cancel };
        out.append_data(&mut header(blob.size), name, reader)
            .map_err(|error| match cancel.is_requested() {
                true => Failure::interrupted(),
                false => failed(error),
            })?;
    }
    out.into_inner().and_then(|mut out| out.flush()).map_err(failed)?;
    new.as_file()
        .set_permissions(fs::Permissions::from_mode(0o644))
        .map_err(failed)?;
    new.as_file().sync_all().map_err(failed)?;
    new.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// The same for everybody: the same image gives the same archive.
fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header
}

fn pass(from: &mut impl Read, to: &mut impl Write, cancel: &Cancel) -> Result<(), Failure> {
    let mut buffer = vec![0; BLOCK];
    loop {
        if cancel.is_requested() {
            return Err(Failure::interrupted());
        }
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => to
                .write_all(&buffer[..read])
                .map_err(|error| Failure::io("cannot write a blob", &error))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::io("cannot read the archive", &error)),
        }
    }
}

/// Ends with an error once the job is asked to stop.
struct Stoppable<'a, R> {
    reader: R,
    cancel: &'a Cancel,
}

impl<R: Read> Read for Stoppable<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_requested() {
            return Err(io::Error::other("interrupted"));
        }
        self.reader.read(buffer)
    }
}
