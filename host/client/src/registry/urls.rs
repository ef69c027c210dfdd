//! Where else than in its registry a blob can be had: the addresses in its descriptor, as those of foreign layers.
//!
//! They are a stranger's: no credentials are shown there, and what comes counts by its digest alone.

use std::sync::Arc;

use http::HeaderMap;
use reqwest::Url;
use transom_oci::{Descriptor, media_type};

use super::client::Client;
use super::remote::{Action, Remote};
use crate::auth::NoCredentials;
use crate::auth::authorizer::Authorizer;
use crate::hosts::{Capabilities, Host, Scheme};
use crate::transport::Endpoint;
use crate::{Error, limits};

/// A host that may have a blob.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) endpoint: Arc<Endpoint>,
    /// Where, if it is not the API of a registry.
    pub(crate) url: Option<Url>,
}

impl Remote {
    /// The places of a blob in the order in which they are asked. What registries must not hand on is at its own addresses;
    /// other blobs are there only if no registry has them.
    pub(crate) fn places(&self, blob: &Descriptor) -> Result<Vec<Place>, Error> {
        let place = |endpoint| Place { endpoint, url: None };
        let registries = self.hosts(Action::Pull)?;
        if blob.urls.is_empty() {
            return Ok(registries.into_iter().map(place).collect());
        }
        let clear = registries
            .iter()
            .any(|endpoint| endpoint.host().scheme != Scheme::Https);
        let mut others = Vec::new();
        for text in blob.urls.iter().take(limits::BLOB_URLS) {
            match address(text, clear) {
                Some(url) => others.push(Place {
                    endpoint: self.client.elsewhere(&url)?,
                    url: Some(url),
                }),
                None => {
                    tracing::debug!(digest = %blob.digest, "an address of a blob is none of a web server");
                }
            }
        }
        let registries = registries.into_iter().map(place);
        if media_type::is_nondistributable(&blob.media_type) {
            others.extend(registries);
            return Ok(others);
        }
        Ok(registries.chain(others).collect())
    }
}

/// An address that is asked: over TLS, unless the registry is spoken with in the clear as well.
fn address(text: &str, clear: bool) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let allowed = url.scheme() == "https" || clear && url.scheme() == "http";
    (allowed && url.has_host() && url.username().is_empty() && url.password().is_none()).then_some(url)
}

impl Client {
    /// The host of an address, which gets nothing that is meant for registries.
    fn elsewhere(&self, url: &Url) -> Result<Arc<Endpoint>, Error> {
        let name = url.host_str().unwrap_or_default();
        let authority = match url.port() {
            Some(port) => format!("{name}:{port}"),
            None => name.to_owned(),
        };
        let host = Host {
            scheme: if url.scheme() == "https" {
                Scheme::Https
            } else {
                Scheme::Http
            },
            authority: authority.clone(),
            path: String::new(),
            capabilities: Capabilities {
                pull: true,
                resolve: false,
                push: false,
            },
            authorities: Vec::new(),
            identities: Vec::new(),
            skip_verify: false,
            headers: HeaderMap::new(),
            dial_timeout: None,
            proxy: None,
            mirror_of: None,
        };
        let wire = self.wire(&host, true)?;
        let auth = Authorizer::new(authority, Arc::new(NoCredentials));
        Ok(Arc::new(Endpoint::new(host, wire, auth)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_web_servers_are_asked_and_in_the_clear_only_beside_a_clear_registry() {
        for (text, clear, good) in [
            ("https://example.test/layer", false, true),
            ("http://example.test/layer", false, false),
            ("http://example.test/layer", true, true),
            ("https://user:word@example.test/layer", true, false),
            ("file:///etc/passwd", true, false),
            ("ftp://example.test/layer", true, false),
            ("layer", true, false),
        ] {
            assert_eq!(address(text, clear).is_some(), good, "{text}");
        }
    }
}
