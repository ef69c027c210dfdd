//! Single objects: a manifest or blob out of a registry, or into one.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use transom_client::{Pushed, Reference, Upwards};
use transom_oci::limits::MANIFEST_BYTES_MAX;
use transom_oci::{Algorithm, Descriptor, Digest, Hasher, media_type};

use super::{blocking, settings};
use crate::arguments::{FetchObject, PushObject};
use crate::commands::{print, print_json};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::limits;

/// Writes an object to stdout: a manifest, or what is no manifest and has that digest.
pub(crate) fn fetch(command: &FetchObject, interrupt: &Interrupt) -> Result<(), Failure> {
    let name: Reference = command.name.parse()?;
    blocking(interrupt, async {
        let client = settings::client(&command.registries, name.repository.registry())?;
        let remote = client.remote(&name.repository)?;
        let Some(digest) = name.digest.clone() else {
            return output(&remote.manifest(&name.target()).await?.bytes);
        };
        // It may be a blob's or a manifest's. docker-registry 2 answers 500 where the one is asked for as the other.
        let size = match remote.blob_size(&digest).await {
            Ok(size) => size,
            Err(error) if error.is_not_found() => {
                return output(&remote.manifest(digest.as_str()).await?.bytes);
            }
            Err(error) => return Err(error.into()),
        };
        let mut reader = remote.blob(&Descriptor::new("application/octet-stream", digest, size))?;
        while let Some(chunk) = reader.chunk().await? {
            output(&chunk)?;
        }
        Ok(())
    })
}

fn output(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(|error| Failure::io("cannot write to stdout", &error))
}

pub(crate) fn push(command: &PushObject, json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    let name: Reference = command.name.parse()?;
    let kind = command.media_type.as_str();
    blocking(interrupt, async {
        let client = settings::client(&command.registries, name.repository.registry())?;
        let remote = client.remote(&name.repository)?;
        let (digest, size) = hash(&command.file)?;
        let mut before = false;
        if media_type::is_manifest(kind) || media_type::is_index(kind) {
            let target = name.tag.clone().unwrap_or_else(|| digest.to_string());
            let bytes = std::fs::read(&command.file);
            let bytes = bytes.map_err(|error| Failure::io(command.file.display(), &error))?;
            if size > MANIFEST_BYTES_MAX {
                let text = format!("a manifest has at most {MANIFEST_BYTES_MAX} bytes, this one {size}");
                return Err(Failure::new(crate::failure::Kind::Limit, text));
            }
            remote.put_manifest(&target, kind, Bytes::from(bytes)).await?;
        } else {
            let descriptor = Descriptor::new(kind, digest.clone(), size);
            let source = Arc::new(command.file.clone());
            let pushed = remote
                .push_blob(&descriptor, source, &[], Upwards::Auto, &|_| {})
                .await?;
            before = pushed == Pushed::Present;
        }
        if json {
            return print_json(&json!({ "digest": digest, "size": size, "alreadyExisted": before }));
        }
        print(&format!("{digest}\n"))
    })
}

fn hash(path: &Path) -> Result<(Digest, u64), Failure> {
    let failed = |error: std::io::Error| Failure::io(path.display(), &error);
    let mut file = File::open(path).map_err(failed)?;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; limits::BLOCK];
    let mut size = 0;
    loop {
        match std::io::Read::read(&mut file, &mut buffer).map_err(failed)? {
            0 => return Ok((hasher.finish(), size)),
            read => {
                hasher.update(&buffer[..read]);
                size += read as u64;
            }
        }
    }
}
