//! Compiled code on disk.
//!
//! One file for each component: its name holds the component's digest, a key of everything that the code depends on
//! (engine, settings, this crate's version) and the digest of the file itself, so that a damaged file is noticed and made
//! anew. Code from the folder runs with the host's own rights, so the folder must be ours alone.

use std::fs;
use std::hash::{Hash, Hasher as _};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use transom_oci::{Algorithm, Digest, Hasher};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::error::LoadError;
use crate::limits::CACHE_FILES_MAX;

const SUFFIX: &str = ".cwasm";

/// A folder of compiled code.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    key: String,
}

impl Cache {
    /// Opens the folder, or makes it. It must belong to this user and be closed to all others.
    pub(crate) fn open(folder: &Path, engine: &Engine) -> Result<Self, LoadError> {
        let refuse = |reason: String| LoadError::Cache {
            path: folder.to_owned(),
            reason,
        };
        if !folder.exists() {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(|error| refuse(format!("it cannot be made: {error}")))?;
        }
        let metadata = fs::symlink_metadata(folder).map_err(|error| refuse(error.to_string()))?;
        if !metadata.is_dir() {
            return Err(refuse(
                "it is not a folder; symbolic links are not followed".into(),
            ));
        }
        let us = rustix::process::geteuid().as_raw();
        if metadata.uid() != us {
            return Err(refuse(format!(
                "it belongs to user {}, not to us ({us})",
                metadata.uid()
            )));
        }
        let mode = metadata.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(refuse(format!(
                "others may enter it (mode {mode:o}); run chmod 700 on it"
            )));
        }
        Ok(Self {
            folder: folder.to_owned(),
            key: compatibility_key(engine),
        })
    }

    /// The compiled component, if it is there and undamaged. The error is the engine's, which will not have it: it needs more
    /// than an instance may have.
    pub(crate) fn load(&self, engine: &Engine, digest: &Digest) -> wasmtime::Result<Option<Component>> {
        let Some(path) = self.find(digest) else {
            return Ok(None);
        };
        if is_whole(&path) {
            return deserialize(engine, &path).map(Some);
        }
        tracing::warn!(path = %path.display(), "compiled plugin code is damaged and is made anew");
        // It is replaced in a moment; if it cannot be removed it is found damaged again.
        let _ = fs::remove_file(&path);
        Ok(None)
    }

    /// Keeps compiled code for the next time. Failing that is no reason to fail.
    pub(crate) fn store(&self, digest: &Digest, code: &[u8]) {
        let name = format!(
            "{}{}{SUFFIX}",
            self.prefix(digest),
            Digest::of(Algorithm::Sha256, code).hex()
        );
        let written = tempfile::NamedTempFile::new_in(&self.folder).and_then(|mut file| {
            file.write_all(code)?;
            file.persist(self.folder.join(name)).map_err(|error| error.error)
        });
        match written {
            Ok(_) => self.prune(),
            Err(error) => {
                tracing::warn!(folder = %self.folder.display(), %error, "cannot keep compiled plugin code");
            }
        }
    }

    fn prefix(&self, digest: &Digest) -> String {
        format!("{}-{}-", digest.hex(), self.key)
    }

    fn find(&self, digest: &Digest) -> Option<PathBuf> {
        let prefix = self.prefix(digest);
        let mut names = fs::read_dir(&self.folder)
            .ok()?
            .flatten()
            .map(|entry| entry.file_name());
        let name = names.find(|name| name.to_str().is_some_and(|name| name.starts_with(&prefix)))?;
        Some(self.folder.join(name))
    }

    /// Removes the oldest files beyond the limit.
    fn prune(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        let mut files: Vec<(SystemTime, PathBuf)> = entries
            .flatten()
            .filter(|entry| {
                entry
                    .path()
                    .extension()
                    .is_some_and(|extension| extension == "cwasm")
            })
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        files.sort();
        let surplus = files.len().saturating_sub(CACHE_FILES_MAX);
        for (_, path) in files.iter().take(surplus) {
            // Another process may have been quicker.
            let _ = fs::remove_file(path);
        }
    }
}

/// Whether a file has the digest that its name ends with.
fn is_whole(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str()?.strip_suffix(SUFFIX));
    let expected = name.and_then(|name| name.rsplit_once('-'));
    let code = fs::read(path);
    matches!((expected, code), (Some((_, hex)), Ok(code)) if Digest::of(Algorithm::Sha256, &code).hex() == hex)
}

#[allow(unsafe_code, reason = "the one way to use compiled code again")]
fn deserialize(engine: &Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the file is what `Engine::precompile_component` returned in this version of this program: the folder is
    // writable by this user alone (checked in `open`), and the content has the digest under which `store` put it.
    unsafe { Component::deserialize_file(engine, path) }
}

/// A short text that differs when code compiled by one engine must not be run by the other.
fn compatibility_key(engine: &Engine) -> String {
    struct Feed(Hasher);
    impl std::hash::Hasher for Feed {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut feed = Feed(Hasher::new(Algorithm::Sha256));
    engine.precompile_compatibility_hash().hash(&mut feed);
    feed.write(env!("CARGO_PKG_VERSION").as_bytes());
    let digest = feed.0.finish();
    digest.hex()[..16].to_owned()
}
