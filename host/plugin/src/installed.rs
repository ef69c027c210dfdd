//! Installed plugins: a folder with a lock file, and the artifacts that it names, as an OCI layout.
//!
//! ```text
//! DIR/plugins.lock    what is installed: names, versions, digests, where from, and what was there before
//! DIR/index.json      the same for other tools; oci-layout and blobs/ with it
//! ```
//!
//! The lock file is the truth: it is written last, in one step, and what else is in the folder follows from it. Read [`lock`]
//! (what it says), [`resolve`] (from a range of versions to one), `layout` (the files beside it), this file (what is done with
//! them).

mod layout;
pub mod lock;
pub mod resolve;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use transom_content::Store;
use transom_oci::limits::MANIFEST_BYTES_MAX;
use transom_oci::{Descriptor, Digest, media_type};

pub use self::lock::{Entry, Lock, Pin};

use crate::artifact::{self, Artifact, ArtifactError, Open, Signature, Trust, signature};
use crate::limits::{COMPONENT_BYTES_MAX, INSTALLED_MAX};

/// The file that says what is installed.
pub const LOCK_FILE: &str = "plugins.lock";

/// What is held while the folder is changed.
const BUSY_FILE: &str = ".plugins.busy";

/// What can go wrong with installed plugins.
#[derive(Debug, thiserror::Error)]
pub enum InstalledError {
    /// A file or folder cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The blobs cannot be read or written.
    #[error(transparent)]
    Store(#[from] transom_content::Error),
    /// The lock file, or a list beside it, is not what it should be.
    #[error("{}: {message}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// Another command is changing the folder.
    #[error("{}: another command is changing what is installed; try again when it is done", .0.display())]
    Busy(PathBuf),
    /// There is no plugin of this name, or none with this digest.
    #[error("no plugin {wanted} is installed in {}; `transom plugin installed` shows those that are", folder.display())]
    NotInstalled {
        /// What was asked for.
        wanted: String,
        /// The folder.
        folder: PathBuf,
    },
    /// There is no version to go back to.
    #[error("{0} was not installed in another version before: there is nothing to go back to")]
    NoPrevious(String),
    /// A version that is locked has other bytes now.
    #[error(transparent)]
    Changed(Box<VersionChanged>),
    /// More plugins are installed than anybody needs.
    #[error("{INSTALLED_MAX} plugins are installed, which is the limit; remove some")]
    TooMany,
    /// An installed artifact cannot be read.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
}

/// A version that is locked has other bytes now.
#[derive(Debug, thiserror::Error)]
#[error(
    "{name} {version} is locked to {locked}, but {place} has {found}: a version must not change; if you know why it did, install it \
     with --replace"
)]
pub struct VersionChanged {
    /// The plugin's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The digest in the lock file.
    pub locked: Digest,
    /// The digest that was found.
    pub found: Digest,
    /// Where.
    pub place: String,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Installed,
    /// It has taken the place of another version.
    Replaced,
    /// It was there.
    Unchanged,
}

/// What is to be installed: it was admitted.
#[derive(Clone, Debug)]
pub struct New<'a> {
    /// The artifact.
    pub artifact: &'a Artifact,
    /// The plugin's name, as it says itself.
    pub name: &'a str,
    /// Its version, as it says itself.
    pub version: &'a str,
    /// Where it comes from.
    pub source: &'a str,
    /// Why it was let in.
    pub trust: &'a Trust,
    /// Its signatures.
    pub signatures: &'a [Signature],
    /// Whether a version that is locked may have other bytes.
    pub replace: bool,
}

/// A folder of installed plugins. Any number of programs may read it while one changes it.
#[derive(Clone, Debug)]
pub struct Installed {
    folder: PathBuf,
    store: Store,
}

impl Installed {
    /// The folder, which need not be there yet.
    ///
    /// # Errors
    ///
    /// [`InstalledError::Store`] if it is no folder.
    pub fn open(folder: &Path) -> Result<Installed, InstalledError> {
        Ok(Installed {
            folder: folder.to_owned(),
            store: Store::open(folder)?,
        })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What is installed; nothing if there is no lock file.
    ///
    /// # Errors
    ///
    /// [`InstalledError::Wrong`] with the line, [`InstalledError::Io`].
    pub fn lock(&self) -> Result<Lock, InstalledError> {
        Lock::read(&self.folder.join(LOCK_FILE))
    }

    /// Installs what was admitted: its blobs first, then the lock file. The version that it replaces stays, for a roll back.
    ///
    /// # Errors
    ///
    /// [`InstalledError::Changed`] if the lock file has its version with another digest; [`InstalledError::Busy`] and the others.
    pub fn install(&self, new: &New<'_>, open: &mut Open<'_>) -> Result<Change, InstalledError> {
        let _busy = self.alone()?;
        let mut lock = self.lock()?;
        let pin = Pin::of(new);
        let change = match lock.find(new.name) {
            Some(entry) if entry.current.digest == pin.digest => Change::Unchanged,
            Some(entry) if !new.replace => {
                if let Some(locked) = entry.pins().find(|locked| locked.version == pin.version)
                    && locked.digest != pin.digest
                {
                    return Err(InstalledError::Changed(Box::new(VersionChanged {
                        name: new.name.to_owned(),
                        version: pin.version,
                        locked: locked.digest.clone(),
                        found: pin.digest,
                        place: new.source.to_owned(),
                    })));
                }
                Change::Replaced
            }
            Some(_) => Change::Replaced,
            None if lock.plugins.len() == INSTALLED_MAX => return Err(InstalledError::TooMany),
            None => Change::Installed,
        };
        self.keep(new, open)?;
        lock.put(new.name, new.artifact.kind, pin);
        self.write(&lock)?;
        Ok(change)
    }

    /// Removes a plugin, in all its versions.
    ///
    /// # Errors
    ///
    /// [`InstalledError::NotInstalled`], [`InstalledError::Busy`] and the others.
    pub fn remove(&self, name: &str) -> Result<Entry, InstalledError> {
        let _busy = self.alone()?;
        let mut lock = self.lock()?;
        let entry = lock.take(name).ok_or_else(|| self.not_installed(name))?;
        self.write(&lock)?;
        Ok(entry)
    }

    /// Goes back to the version that was there before. A second time it goes forward again.
    ///
    /// # Errors
    ///
    /// [`InstalledError::NotInstalled`], [`InstalledError::NoPrevious`], [`InstalledError::Busy`] and the others.
    pub fn roll_back(&self, name: &str) -> Result<Entry, InstalledError> {
        let _busy = self.alone()?;
        let mut lock = self.lock()?;
        let entry = lock
            .plugins
            .iter_mut()
            .find(|entry| entry.name == name)
            .ok_or_else(|| self.not_installed(name))?;
        let previous = entry.previous.as_mut();
        let previous = previous.ok_or_else(|| InstalledError::NoPrevious(name.to_owned()))?;
        std::mem::swap(previous, &mut entry.current);
        let entry = entry.clone();
        self.write(&lock)?;
        Ok(entry)
    }

    /// An installed plugin, and its signatures: the current version, or the one whose artifact or component has a digest.
    ///
    /// # Errors
    ///
    /// [`InstalledError::NotInstalled`], [`InstalledError::Artifact`] if its bytes are damaged.
    pub fn load(
        &self,
        name: &str,
        digest: Option<&Digest>,
    ) -> Result<(Artifact, Vec<Signature>), InstalledError> {
        let lock = self.lock()?;
        let entry = lock.find(name).ok_or_else(|| self.not_installed(name))?;
        let pin = match digest {
            None => &entry.current,
            Some(digest) => entry
                .pins()
                .find(|pin| pin.digest == *digest || pin.component == *digest)
                .ok_or_else(|| self.not_installed(&format!("{name}@{digest}")))?,
        };
        let artifact = self.artifact(&pin.digest)?;
        let index = layout::read(&self.folder)?;
        let signatures = match layout::named(&index, &signature::tag(&pin.digest)) {
            None => Vec::new(),
            Some(found) => {
                let bytes = self.bytes(&found.digest)?;
                signature::read(&bytes, Some(&found.digest), &mut self.opener())?
            }
        };
        Ok((artifact, signatures))
    }

    fn artifact(&self, digest: &Digest) -> Result<Artifact, InstalledError> {
        let bytes = self.bytes(digest)?;
        Ok(Artifact::read(&bytes, Some(digest), &mut self.opener())?)
    }

    /// A manifest, as it is in the store.
    fn bytes(&self, digest: &Digest) -> Result<Vec<u8>, InstalledError> {
        let size = self.store.info(digest)?.size;
        let descriptor = Descriptor::new(media_type::MANIFEST, digest.clone(), size);
        let limit = MANIFEST_BYTES_MAX;
        Ok(artifact::fetch(
            &mut self.opener(),
            &descriptor,
            "the manifest",
            limit,
        )?)
    }

    fn opener(&self) -> impl FnMut(&Descriptor) -> io::Result<Box<dyn io::Read>> + use<> {
        let store = self.store.clone();
        move |descriptor: &Descriptor| {
            let blob = store.reader(&descriptor.digest).map_err(io::Error::other)?;
            Ok(Box::new(blob) as Box<dyn io::Read>)
        }
    }

    fn not_installed(&self, wanted: &str) -> InstalledError {
        InstalledError::NotInstalled {
            wanted: wanted.to_owned(),
            folder: self.folder.clone(),
        }
    }

    /// Puts the blobs of an artifact and of its signatures into the store.
    fn keep(&self, new: &New<'_>, open: &mut Open<'_>) -> Result<(), InstalledError> {
        let artifact = new.artifact;
        for blob in &artifact.blobs {
            // The component is at hand; what else there is is small.
            let bytes = if blob.digest == artifact.component_digest {
                artifact.component.clone()
            } else {
                artifact::fetch(open, blob, "a part of it", COMPONENT_BYTES_MAX)?
            };
            layout::put(&self.store, &blob.digest, &bytes)?;
        }
        layout::put(&self.store, artifact.digest(), &artifact.bytes)?;
        if new.signatures.is_empty() {
            return Ok(());
        }
        let mut index = layout::read(&self.folder)?;
        let mut manifest = None;
        for (descriptor, bytes) in signature::package(new.signatures)? {
            layout::put(&self.store, &descriptor.digest, &bytes)?;
            manifest = Some(descriptor);
        }
        if let Some(manifest) = manifest {
            layout::add(&mut index, manifest, &signature::tag(artifact.digest()));
            layout::write(&self.folder, &index)?;
        }
        Ok(())
    }

    /// Writes the lock file, then what follows from it; what nothing needs any more is removed.
    fn write(&self, lock: &Lock) -> Result<(), InstalledError> {
        let before = layout::read(&self.folder)?;
        let mut index = layout::empty();
        for entry in &lock.plugins {
            for pin in entry.pins() {
                // One that somebody removed keeps nobody from changing the others.
                let Ok(found) = self.store.info(&pin.digest) else {
                    continue;
                };
                let manifest = Descriptor::new(media_type::MANIFEST, found.digest, found.size);
                layout::add(&mut index, manifest, &format!("{}-{}", entry.name, pin.version));
                let tag = signature::tag(&pin.digest);
                if let Some(signatures) = layout::named(&before, &tag) {
                    layout::add(&mut index, signatures.clone(), &tag);
                }
            }
        }
        layout::put_file(&self.folder, LOCK_FILE, &lock.text())?;
        layout::write(&self.folder, &index)?;
        if let Err(error) = self.sweep(&index) {
            // It takes room, and nothing else.
            tracing::warn!(folder = %self.folder.display(), %error, "what no plugin needs was not removed");
        }
        Ok(())
    }

    /// Removes the blobs that no installed plugin needs.
    fn sweep(&self, index: &transom_oci::Index) -> Result<(), InstalledError> {
        let mut needed: HashSet<Digest> = HashSet::new();
        for listed in &index.manifests {
            let bytes = self.bytes(&listed.digest)?;
            let (_, document) = artifact::document(&bytes, Some(&listed.digest))?;
            needed.insert(listed.digest.clone());
            needed.insert(document.config.digest);
            needed.extend(document.layers.into_iter().map(|layer| layer.digest));
        }
        let unneeded: Vec<Digest> = self
            .store
            .walk()?
            .filter_map(Result::ok)
            .map(|info| info.digest)
            .filter(|digest| !needed.contains(digest))
            .collect();
        for digest in unneeded {
            self.store.delete(&digest)?;
        }
        Ok(())
    }

    /// Makes the folder, and keeps others from changing it as long as what is returned is there.
    fn alone(&self) -> Result<Alone, InstalledError> {
        fs::create_dir_all(&self.folder).map_err(|source| io_error(&self.folder, source))?;
        let path = self.folder.join(BUSY_FILE);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|source| io_error(&path, source))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| InstalledError::Busy(self.folder.clone()))?;
        let alone = Alone(file);
        self.make_ours()?;
        Ok(alone)
    }

    /// Begins a lock file where there is none. A folder with blobs and without one is somebody else's, of which nothing must be
    /// removed.
    fn make_ours(&self) -> Result<(), InstalledError> {
        if self.folder.join(LOCK_FILE).exists() {
            return Ok(());
        }
        let foreign = ["index.json", "oci-layout", "blobs"].map(|name| self.folder.join(name));
        match foreign.into_iter().find(|path| path.exists()) {
            Some(path) => Err(InstalledError::Wrong {
                path,
                message: format!("without {LOCK_FILE} this is no folder of plugins; name another one"),
            }),
            None => layout::put_file(&self.folder, LOCK_FILE, &Lock::default().text()),
        }
    }
}

/// Keeps others out.
#[derive(Debug)]
struct Alone(File);

impl Drop for Alone {
    fn drop(&mut self) {
        // Closing alone does not do: a child that is just being started has the descriptor, too, until it runs its own program.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

fn io_error(path: &Path, source: io::Error) -> InstalledError {
    InstalledError::Io {
        path: path.to_owned(),
        source,
    }
}
