//! A repository, and the hosts that serve it one after another.

use std::sync::Arc;

use http::header::{ACCEPT, ACCEPT_ENCODING};
use http::{HeaderValue, Method, StatusCode};
use reqwest::Url;
use transom_oci::{Digest, media_type};

use super::client::Client;
use crate::auth::scope::Scopes;
use crate::transport::{Answer, Call, Endpoint};
use crate::{Error, Repository};

/// A repository of a registry.
#[derive(Clone, Debug)]
pub struct Remote {
    pub(crate) client: Client,
    repository: Repository,
    endpoints: Vec<Arc<Endpoint>>,
}

/// What a host must be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Pull,
    Resolve,
    Push,
}

/// What the hosts said that were asked in vain.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    errors: Vec<Error>,
}

impl Tried {
    /// Notes an error, or gives it back if no other host can help.
    pub(crate) fn add(&mut self, endpoint: &Endpoint, error: Error) -> Result<(), Error> {
        if error.is_unreachable() {
            endpoint.shun();
        }
        if !error.is_the_hosts() {
            return Err(error);
        }
        tracing::debug!(host = endpoint.label(), %error, "asking the next host");
        self.errors.push(error);
        Ok(())
    }

    /// What all of them said.
    pub(crate) fn into_error(mut self) -> Error {
        let last = self.errors.pop();
        let earlier: Vec<String> = self.errors.iter().map(ToString::to_string).collect();
        match last {
            Some(last) if earlier.is_empty() => last,
            Some(last) => Error::Mirrors {
                earlier,
                last: Box::new(last),
            },
            None => Error::NoHost {
                registry: String::new(),
                action: "pull",
            },
        }
    }
}

impl Remote {
    pub(super) fn new(client: Client, repository: Repository, endpoints: Vec<Arc<Endpoint>>) -> Remote {
        Remote {
            client,
            repository,
            endpoints,
        }
    }

    /// Which repository it is.
    #[must_use]
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The hosts that may do something, those first that could be reached lately.
    pub(crate) fn hosts(&self, action: Action) -> Result<Vec<Arc<Endpoint>>, Error> {
        let may = |endpoint: &&Arc<Endpoint>| {
            let capabilities = endpoint.host().capabilities;
            match action {
                Action::Pull => capabilities.pull,
                Action::Resolve => capabilities.resolve,
                Action::Push => capabilities.push,
            }
        };
        let mut hosts: Vec<_> = self.endpoints.iter().filter(may).cloned().collect();
        if hosts.is_empty() {
            return Err(Error::NoHost {
                registry: self.repository.registry().to_owned(),
                action: match action {
                    Action::Pull => "pull",
                    Action::Resolve => "resolve",
                    Action::Push => "push",
                },
            });
        }
        hosts.sort_by_key(|endpoint| endpoint.is_shunned());
        Ok(hosts)
    }

    /// The one host that is written to: the last that may, which is the registry itself where it is listed.
    pub(crate) fn target(&self) -> Result<Arc<Endpoint>, Error> {
        let hosts = self.hosts(Action::Push)?;
        let own = hosts.iter().find(|endpoint| endpoint.host().mirror_of.is_none());
        Ok(Arc::clone(own.unwrap_or(&hosts[0])))
    }

    pub(crate) fn pull_scope(&self) -> Scopes {
        Scopes::pull(&self.repository)
    }

    pub(crate) fn push_scope(&self) -> Scopes {
        Scopes::push(&self.repository)
    }

    /// The address of something in this repository.
    pub(crate) async fn url(
        &self,
        endpoint: &Endpoint,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Url, Error> {
        endpoint
            .url(&format!("{}/{path}", self.repository.path()), query)
            .await
    }

    /// Whether the registry speaks with us: `GET /v2/`, with a login if it wants one.
    ///
    /// # Errors
    /// Those of the connection, [`Error::Unauthorized`].
    pub async fn ping(&self) -> Result<(), Error> {
        let mut tried = Tried::default();
        for endpoint in self.hosts(Action::Pull)? {
            match ping(&endpoint).await {
                Ok(()) => return Ok(()),
                Err(error) => tried.add(&endpoint, error)?,
            }
        }
        Err(tried.into_error())
    }

    /// The size of a blob; [`Error::NotFound`] if the registry does not have it.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn blob_size(&self, digest: &Digest) -> Result<u64, Error> {
        let mut tried = Tried::default();
        for endpoint in self.hosts(Action::Pull)? {
            match self.blob_size_at(&endpoint, digest).await {
                Ok(size) => return Ok(size),
                Err(error) => tried.add(&endpoint, error)?,
            }
        }
        Err(tried.into_error())
    }

    pub(crate) async fn blob_size_at(&self, endpoint: &Endpoint, digest: &Digest) -> Result<u64, Error> {
        let url = self.url(endpoint, &format!("blobs/{digest}"), &[]).await?;
        let call = self.read(Method::HEAD, url, format!("blob {digest} of {}", self.repository));
        let answer = endpoint.send(&call, &[StatusCode::OK]).await?;
        let length = answer.header(http::header::CONTENT_LENGTH);
        length
            .and_then(|text| text.trim().parse().ok())
            .ok_or_else(|| Error::Protocol {
                host: endpoint.label().to_owned(),
                reason: "it does not say how long a blob is (Content-Length)".to_owned(),
            })
    }

    /// A question about this repository.
    pub(crate) fn read(&self, method: Method, url: Url, what: String) -> Call {
        // What is compressed on the way has another digest.
        let identity = HeaderValue::from_static("identity");
        Call::new(method, url, self.pull_scope(), what).header(ACCEPT_ENCODING, identity)
    }
}

async fn ping(endpoint: &Endpoint) -> Result<(), Error> {
    let url = endpoint.url("", &[]).await?;
    let what = format!("the registry {}", endpoint.label());
    let call = Call::new(Method::GET, url, Scopes::default(), what);
    endpoint.send(&call, &[StatusCode::OK]).await.map(drop)
}

/// All kinds of manifests that are understood. In one line: some proxies keep only one.
pub(crate) fn accept_manifests() -> HeaderValue {
    let all = [
        media_type::MANIFEST,
        media_type::INDEX,
        media_type::DOCKER_MANIFEST,
        media_type::DOCKER_MANIFEST_LIST,
    ];
    HeaderValue::from_str(&format!("{}, */*", all.join(", "))).unwrap_or(HeaderValue::from_static("*/*"))
}

/// `Accept` for something whose type is known.
pub(crate) fn accept(kind: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("{kind}, */*")).unwrap_or(HeaderValue::from_static("*/*"))
}

/// The digest that an answer names; `None` if it names none that can be read.
pub(crate) fn digest_of(answer: &Answer) -> Option<Digest> {
    answer.header("docker-content-digest")?.trim().parse().ok()
}

/// Adds `Accept`.
pub(crate) fn accepting(call: Call, value: HeaderValue) -> Call {
    call.header(ACCEPT, value)
}
