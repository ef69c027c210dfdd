//! Docker's `config.json` and containers' `auth.json`.
//!
//! Keys of `auths` are hosts; docker writes some as addresses (`https://index.docker.io/v1/`), containers knows keys with a part
//! of a repository's name (`quay.io/team`), of which the longest counts. A helper for the host decides, then the helper for
//! all hosts, then what is written in the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use super::credentials::{Asked, CredentialSource, Credentials, Found};
use super::helper::Helper;
use crate::hosts::{is_absent, unreadable};
use crate::{Error, Secret, files, limits};

/// The texts of docker's file are standard base64, with or without the `=` at the end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What docker calls its own registry in these files.
const DOCKER_KEY: &str = "https://index.docker.io/v1/";

/// One file of credentials.
#[derive(Clone, Debug)]
pub struct DockerConfig {
    path: PathBuf,
    file: File,
    helpers: Vec<PathBuf>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    auths: BTreeMap<String, Entry>,
    #[serde(rename = "credHelpers")]
    cred_helpers: BTreeMap<String, String>,
    #[serde(rename = "credsStore")]
    creds_store: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Secret,
    username: String,
    password: Secret,
    identitytoken: Secret,
    registrytoken: Secret,
}

impl DockerConfig {
    /// Reads a file; `None` if it is not there. `helpers` are the folders in which credential helpers are looked for, as in
    /// `PATH`.
    ///
    /// # Errors
    /// [`Error::File`], with the line, if it is not such a file.
    pub fn read(path: &Path, helpers: Vec<PathBuf>) -> Result<Option<DockerConfig>, Error> {
        match files::read_text(path, limits::CREDENTIALS_FILE_BYTES) {
            Ok(text) => DockerConfig::parse(path, &text, helpers).map(Some),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(unreadable(path, &error)),
        }
    }

    /// The same from a text; `path` is for errors.
    ///
    /// # Errors
    /// As [`read`](DockerConfig::read).
    pub fn parse(path: &Path, text: &str, helpers: Vec<PathBuf>) -> Result<DockerConfig, Error> {
        let file = if text.trim().is_empty() {
            File::default()
        } else {
            // The error's own text may repeat a value, and so a secret.
            serde_json::from_str(text).map_err(|error| Error::File {
                path: path.to_path_buf(),
                line: Some(error.line()),
                reason: format!("not a file of credentials (column {})", error.column()),
            })?
        };
        Ok(DockerConfig {
            path: path.to_path_buf(),
            file,
            helpers,
        })
    }

    async fn find(&self, asked: Asked<'_>) -> Result<Credentials, Error> {
        let store = Some(&self.file.creds_store).filter(|name| !name.is_empty());
        let own = aliases(asked.host)
            .into_iter()
            .find_map(|name| self.file.cred_helpers.get(name))
            .filter(|name| !name.is_empty());
        for name in own.into_iter().chain(store) {
            let helper = Helper::named(name, self.helpers.clone())?;
            let server = if asked.host == crate::reference::DEFAULT_REGISTRY {
                DOCKER_KEY
            } else {
                asked.host
            };
            match helper.get(server).await? {
                Credentials::Anonymous => {}
                found => return Ok(found),
            }
        }
        match self.entry(asked) {
            Some((key, entry)) => self.written(key, entry),
            None => Ok(Credentials::Anonymous),
        }
    }

    /// The entry whose key fits best.
    fn entry(&self, asked: Asked<'_>) -> Option<(&String, &Entry)> {
        let names = aliases(asked.host);
        let fit = |key: &str| {
            let key = plain_key(key);
            let (host, path) = key.split_once('/').unwrap_or((key, ""));
            let below = asked.repository.strip_prefix(path)?;
            let whole = path.is_empty() || below.is_empty() || below.starts_with('/');
            (names.contains(&host) && whole).then_some(path.len())
        };
        let entries = self.file.auths.iter();
        entries
            .filter_map(|(key, entry)| fit(key).map(|length| (length, key, entry)))
            .max_by_key(|(length, _, _)| *length)
            .map(|(_, key, entry)| (key, entry))
    }

    fn written(&self, key: &str, entry: &Entry) -> Result<Credentials, Error> {
        if !entry.registrytoken.is_empty() {
            return Ok(Credentials::RegistryToken(entry.registrytoken.clone()));
        }
        if !entry.identitytoken.is_empty() {
            return Ok(Credentials::IdentityToken(entry.identitytoken.clone()));
        }
        let (username, password) = if entry.auth.is_empty() {
            (entry.username.clone(), entry.password.clone())
        } else {
            self.decode(key, &entry.auth)?
        };
        if username.is_empty() && password.is_empty() {
            return Ok(Credentials::Anonymous);
        }
        Ok(Credentials::Password { username, password })
    }

    fn decode(&self, key: &str, auth: &Secret) -> Result<(String, Secret), Error> {
        let wrong = || Error::File {
            path: self.path.clone(),
            line: None,
            reason: format!("\"auth\" of {key:?} is not the base64 of user:password; log in again"),
        };
        let bytes = BASE64.decode(auth.expose().trim()).map_err(|_| wrong())?;
        let text = Secret::new(String::from_utf8(bytes).map_err(|_| wrong())?);
        let (username, password) = text.expose().split_once(':').ok_or_else(wrong)?;
        // docker pads old entries with zeros.
        Ok((username.to_owned(), Secret::new(password.trim_matches('\0'))))
    }
}

impl CredentialSource for DockerConfig {
    fn credentials<'a>(&'a self, asked: Asked<'a>) -> Found<'a> {
        Box::pin(self.find(asked))
    }
}

/// The base64 that stands in `auth`.
#[must_use]
pub fn encode(username: &str, password: &Secret) -> Secret {
    let plain = Secret::new(format!("{username}:{}", password.expose()));
    Secret::new(BASE64.encode(plain.expose()))
}

/// A key without what docker puts around a host.
fn plain_key(key: &str) -> &str {
    let (address, rest) = match key.split_once("://") {
        Some((_, rest)) => (true, rest),
        None => (false, key),
    };
    if address {
        rest.split('/').next().unwrap_or(rest)
    } else {
        rest
    }
}

/// The names under which a host may stand in a file.
fn aliases(host: &str) -> Vec<&str> {
    match host {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => {
            vec!["docker.io", "index.docker.io", "registry-1.docker.io", DOCKER_KEY]
        }
        host => vec![host],
    }
}
