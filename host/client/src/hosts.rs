//! Which hosts serve a registry, and how to speak with them: containerd's `certs.d`.

mod certificates;
mod file;
mod table;

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderMap, Uri};

use crate::Error;
pub use certificates::{Authorities, Identity};

/// What a host may be asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Sending what is named by its digest.
    pub pull: bool,
    /// Saying which digest a tag has. A host that is not trusted must not be asked.
    pub resolve: bool,
    /// Taking content.
    pub push: bool,
}

impl Capabilities {
    /// Everything.
    pub const ALL: Capabilities = Capabilities {
        pull: true,
        resolve: true,
        push: true,
    };
}

/// How a host is spoken with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Over TLS.
    Https,
    /// In the clear.
    Http,
    /// Over TLS, and in the clear if the host does not speak TLS: for hosts on this machine whose port tells nothing.
    Either,
}

/// One host that serves a registry.
#[derive(Clone, Debug)]
pub struct Host {
    /// How it is spoken with.
    pub scheme: Scheme,
    /// Name or address, with its port if it is not the usual one.
    pub authority: String,
    /// Where the API is, `/v2` mostly.
    pub path: String,
    /// What it may be asked to do.
    pub capabilities: Capabilities,
    /// Further authorities whose certificates are believed.
    pub authorities: Vec<Authorities>,
    /// Our own certificates.
    pub identities: Vec<Identity>,
    /// Whether any certificate is believed.
    pub skip_verify: bool,
    /// Sent with each request to this host, and to no other.
    pub headers: HeaderMap,
    /// How long making a connection may take; `None` for the client's own limit.
    pub dial_timeout: Option<Duration>,
    /// The proxy for this host, instead of the client's own.
    pub proxy: Option<crate::Secret>,
    /// The registry that it stands for, if it is a mirror: sent as `ns`.
    pub mirror_of: Option<String>,
}

/// Where hosts are looked up.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    /// Folders such as `/etc/containerd/certs.d`; the first that has something for a registry decides.
    pub folders: Vec<PathBuf>,
    /// Whether hosts without a scheme of their own are spoken with in the clear (`--plain-http`).
    pub plain_http: bool,
    /// Whether hosts without settings of their own are spoken with over TLS only, and have to show who they are, on this machine
    /// as well.
    pub tls_only: bool,
    /// Whether hosts without settings of their own may show any certificate (`--skip-verify`).
    pub skip_verify: bool,
    /// Further authorities for hosts without settings of their own.
    pub authorities: Vec<Authorities>,
    /// Our certificates for hosts without settings of their own.
    pub identities: Vec<Identity>,
    /// Sent with each request to each host of a registry, beside what is configured for it.
    pub headers: HeaderMap,
}

impl Hosts {
    /// The hosts of a registry in the order in which they are asked. Reads the files anew each time, and reads all
    /// certificates that they name.
    ///
    /// # Errors
    /// [`Error::File`] with file and line.
    pub fn lookup(&self, registry: &str) -> Result<Vec<Host>, Error> {
        for folder in &self.folders {
            for name in folder_names(registry) {
                let folder = folder.join(name);
                match folder.metadata() {
                    Ok(found) if found.is_dir() => return self.read(&folder, registry),
                    Err(error) if !is_absent(&error) => return Err(unreadable(&folder, &error)),
                    _ => {}
                }
            }
        }
        Ok(vec![self.usual(registry)])
    }

    fn read(&self, folder: &Path, registry: &str) -> Result<Vec<Host>, Error> {
        let path = folder.join("hosts.toml");
        let text = match crate::files::read_text(&path, crate::limits::HOSTS_FILE_BYTES) {
            Ok(text) => text,
            Err(error) if is_absent(&error) => String::new(),
            Err(error) => return Err(unreadable(&path, &error)),
        };
        if !text.is_empty() {
            return file::parse(&path, &text, registry, self);
        }
        let mut host = self.usual(registry);
        let (authorities, identities) = certificates::docker_folder(folder)?;
        if !authorities.is_empty() || !identities.is_empty() {
            host.secured();
        }
        host.authorities.extend(authorities);
        host.identities.extend(identities);
        Ok(vec![host])
    }

    /// A registry's own host, with nothing configured for it.
    fn usual(&self, registry: &str) -> Host {
        let authority = if registry == crate::reference::DEFAULT_REGISTRY {
            "registry-1.docker.io"
        } else {
            registry
        };
        let loopback = is_loopback(authority);
        let scheme = match port(authority) {
            _ if self.plain_http => Scheme::Http,
            _ if self.tls_only => Scheme::Https,
            None | Some(443) => Scheme::Https,
            Some(80) if loopback => Scheme::Http,
            Some(_) if loopback => Scheme::Either,
            Some(_) => Scheme::Https,
        };
        let mut host = Host {
            scheme,
            authority: authority.to_owned(),
            path: "/v2".to_owned(),
            capabilities: Capabilities::ALL,
            authorities: self.authorities.clone(),
            identities: self.identities.clone(),
            // As containerd: what this machine says of itself needs no certificate.
            skip_verify: self.skip_verify || scheme == Scheme::Either,
            headers: self.headers.clone(),
            dial_timeout: None,
            proxy: None,
            mirror_of: None,
        };
        if !self.authorities.is_empty() || !self.identities.is_empty() {
            host.secured();
        }
        host.skip_verify |= self.skip_verify;
        host
    }
}

impl Host {
    /// Somebody gave certificates: then they count, on this machine as well.
    fn secured(&mut self) {
        if self.scheme == Scheme::Either {
            self.scheme = Scheme::Https;
            self.skip_verify = false;
        }
    }
}

/// The folders that may hold a registry's settings, in containerd's order.
fn folder_names(registry: &str) -> Vec<String> {
    let mut names = Vec::new();
    if let Some((name, port)) = registry.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
        names.push(format!("{name}_{port}_"));
    }
    names.push(registry.to_owned());
    names.push("_default".to_owned());
    names
}

/// The port of a host, if it is named.
pub(crate) fn port(authority: &str) -> Option<u16> {
    authority.parse::<Uri>().ok()?.port_u16()
}

/// Whether a host is this machine.
pub(crate) fn is_loopback(authority: &str) -> bool {
    let Ok(uri) = authority.parse::<Uri>() else {
        return false;
    };
    let name = uri.host().unwrap_or_default();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost"
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

pub(crate) fn is_absent(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
    )
}

pub(crate) fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::File {
        path: path.to_path_buf(),
        line: None,
        reason: format!("cannot be read: {error}"),
    }
}
