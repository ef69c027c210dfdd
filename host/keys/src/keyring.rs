//! Where private keys are, and what they open.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::error::{KeyError, UnwrapError};
use crate::jwe;
use crate::limits::{KEY_FILE_BYTES_MAX, KEYS_MAX, WRAPPED_BYTES_MAX};
use crate::private::PrivateKey;

/// Where private keys are: in files, in folders of files, and in memory.
///
/// Files are read for each use and not kept, so a key that is added, replaced or removed counts from then on. Clones have the same
/// keys.
#[derive(Clone, Default)]
pub struct Keyring {
    paths: Vec<PathBuf>,
    held: Vec<Zeroizing<Vec<u8>>>,
}

/// A way to wrap a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// JSON Web Encryption (RFC 7516) in its JSON forms.
    Jwe,
}

impl Scheme {
    /// The scheme of a name, as annotations of encrypted layers have it.
    ///
    /// # Errors
    /// [`UnwrapError::Unsupported`] for every other one.
    pub fn named(name: &str) -> Result<Scheme, UnwrapError> {
        match name {
            "jwe" => Ok(Scheme::Jwe),
            other => {
                let shown: String = other.chars().take(32).collect();
                let text = format!(
                    "keys that are wrapped with {shown:?} are not opened here; wrap the image for jwe"
                );
                Err(UnwrapError::Unsupported(text))
            }
        }
    }
}

impl Keyring {
    /// A keyring of files, each with one private key, and of folders whose files are that. Nothing is read yet.
    #[must_use]
    pub fn new(paths: Vec<PathBuf>) -> Keyring {
        Keyring {
            paths,
            held: Vec::new(),
        }
    }

    /// The same keyring with one more private key, of which these are the bytes of a file.
    #[must_use]
    pub fn with(mut self, key: Vec<u8>) -> Keyring {
        self.held.push(Zeroizing::new(key));
        self
    }

    /// Whether it names no key at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.held.is_empty()
    }

    /// Reads all keys, and says how many there are.
    ///
    /// # Errors
    /// Any [`KeyError`].
    pub fn check(&self) -> Result<usize, KeyError> {
        self.keys().map(|keys| keys.len())
    }

    /// Opens what was wrapped for one of the keys.
    ///
    /// # Errors
    /// Any [`UnwrapError`].
    pub fn unwrap(&self, scheme: Scheme, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, UnwrapError> {
        if wrapped.len() > WRAPPED_BYTES_MAX {
            let text = format!("it has {} bytes, the limit is {WRAPPED_BYTES_MAX}", wrapped.len());
            return Err(UnwrapError::Malformed(text));
        }
        let Scheme::Jwe = scheme;
        jwe::open(wrapped, &self.keys()?)
    }

    fn keys(&self) -> Result<Vec<PrivateKey>, KeyError> {
        let mut keys = Vec::new();
        for path in self.paths.iter().map(|path| files(path)) {
            for file in path? {
                let bytes = read(&file)?;
                add(&mut keys, &bytes, || file.display().to_string())?;
            }
        }
        for bytes in &self.held {
            add(&mut keys, bytes, || "what was handed over".to_owned())?;
        }
        Ok(keys)
    }
}

fn add(keys: &mut Vec<PrivateKey>, bytes: &[u8], place: impl Fn() -> String) -> Result<(), KeyError> {
    if keys.len() == KEYS_MAX {
        return Err(KeyError::TooMany);
    }
    let key = PrivateKey::parse(bytes).map_err(|reason| KeyError::NoKey {
        place: place(),
        reason,
    })?;
    keys.push(key);
    Ok(())
}

/// A file, or the files of a folder by their names. Names that begin with a dot are left out: Kubernetes keeps the files of a
/// secret behind such ones.
fn files(path: &Path) -> Result<Vec<PathBuf>, KeyError> {
    let fault = |source| KeyError::Read {
        path: path.to_owned(),
        source,
    };
    if !path.metadata().map_err(fault)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !is_hidden && entry.path().is_file() {
            files.push(entry.path());
        }
        if files.len() > KEYS_MAX {
            return Err(KeyError::TooMany);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let fault = |source| KeyError::Read {
        path: path.to_owned(),
        source,
    };
    // In one piece, so that no copy is left behind by a buffer that grows.
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_FILE_BYTES_MAX as usize + 1));
    let file = File::open(path).map_err(fault)?;
    file.take(KEY_FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(fault)?;
    if bytes.len() as u64 > KEY_FILE_BYTES_MAX {
        return Err(KeyError::TooLarge(path.to_owned()));
    }
    Ok(bytes)
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("paths", &self.paths)
            .field("held", &self.held.len())
            .finish()
    }
}

impl PartialEq for Keyring {
    /// By where the keys are, not by what they are.
    fn eq(&self, other: &Keyring) -> bool {
        self.paths == other.paths && self.held == other.held
    }
}
