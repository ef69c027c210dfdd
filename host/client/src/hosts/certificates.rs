//! Certificates and keys in PEM files, and docker's way of laying them out.

use std::fmt;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::hosts::{is_absent, unreadable};
use crate::{Error, files, limits};

/// The certificates of authorities that are believed.
#[derive(Clone, Debug)]
pub struct Authorities {
    path: PathBuf,
    pub(crate) certificates: Vec<CertificateDer<'static>>,
}

/// A certificate of ours with its chain and key.
pub struct Identity {
    path: PathBuf,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Authorities {
    /// Reads a PEM file.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be read or has no certificate in it.
    pub fn read(path: &Path) -> Result<Authorities, Error> {
        Ok(Authorities {
            path: path.to_path_buf(),
            certificates: chain(path, &pem(path)?)?,
        })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Identity {
    /// Reads a certificate, and its key from another file or from the same.
    ///
    /// # Errors
    /// [`Error::File`] if a file cannot be read or lacks what it should have.
    pub fn read(certificate: &Path, key: Option<&Path>) -> Result<Identity, Error> {
        let bytes = pem(certificate)?;
        let key_path = key.unwrap_or(certificate);
        let key_bytes = match key {
            Some(key) => pem(key)?,
            None => bytes.clone(),
        };
        let key = PrivateKeyDer::from_pem_slice(&key_bytes)
            .map_err(|error| wrong(key_path, &format!("no private key in PEM: {error}")))?;
        Ok(Identity {
            path: certificate.to_path_buf(),
            chain: chain(certificate, &bytes)?,
            key,
        })
    }

    /// The file with the certificate.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Clone for Identity {
    fn clone(&self) -> Identity {
        Identity {
            path: self.path.clone(),
            chain: self.chain.clone(),
            key: self.key.clone_key(),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Docker's layout: `*.crt` are authorities, `*.cert` with `*.key` are ours. In the order of their names.
pub(super) fn docker_folder(folder: &Path) -> Result<(Vec<Authorities>, Vec<Identity>), Error> {
    let entries = std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let (mut authorities, mut identities) = (Vec::new(), Vec::new());
    for path in paths {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => authorities.push(Authorities::read(&path)?),
            Some("cert") => {
                let key = path.with_extension("key");
                let key = match key.metadata() {
                    Ok(_) => Some(key),
                    Err(error) if is_absent(&error) => None,
                    Err(error) => return Err(unreadable(&key, &error)),
                };
                identities.push(Identity::read(&path, key.as_deref())?);
            }
            _ => {}
        }
    }
    Ok((authorities, identities))
}

fn pem(path: &Path) -> Result<Vec<u8>, Error> {
    files::read(path, limits::CERTIFICATE_FILE_BYTES).map_err(|error| unreadable(path, &error))
}

fn chain(path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(wrong(
            path,
            "no certificate in it: want PEM, -----BEGIN CERTIFICATE-----",
        )),
        Err(error) => Err(wrong(path, &format!("not PEM: {error}"))),
    }
}

fn wrong(path: &Path, reason: &str) -> Error {
    Error::File {
        path: path.to_path_buf(),
        line: None,
        reason: reason.to_owned(),
    }
}
