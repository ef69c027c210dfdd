//! Repositories of a [`Source`]: which ones they are, what cannot be done to them, and blobs that are not in the store.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};
use transom_oci::Digest;

use super::blobs::{boundary_end, boundary_of, describe, multipart, value};
use super::body::Body;
use super::call::{Answer, Call, target};
use super::range::{self, Part};
use super::route::Route;
use crate::names::{Reference, RepositoryName};
use crate::source::{Chain, Readable, Source};
use crate::store::Stored;
use crate::{Error, event};

impl Call<'_> {
    /// Who has a repository, if it is not the store.
    pub(super) fn source(&self, name: &RepositoryName) -> Option<&Chain> {
        Some(&self.registry.sources).filter(|sources| sources.covers(name))
    }

    /// The route as it is meant by a client that takes this registry for a mirror of another, which it names (`?ns=`).
    pub(super) fn mirrored(&self, route: Route) -> Route {
        let Some(host) = self.query.get("ns").filter(|host| !host.is_empty()) else {
            return route;
        };
        // In names there is no colon, and in hosts no such line.
        let host = host.replace(':', "_").to_ascii_lowercase();
        let meant = route
            .repository()
            .and_then(|name| self.registry.sources.mirrored(&host, name));
        match meant {
            Some(name) => route.of(name),
            None => route,
        }
    }

    /// Refuses what would write to a repository that comes from elsewhere.
    pub(super) fn check_writable(&self, route: &Route) -> Result<(), Error> {
        let Some((name, source)) = route
            .repository()
            .and_then(|name| Some((name, self.source(name)?)))
        else {
            return Ok(());
        };
        let deletes = matches!(route, Route::Manifest(..) | Route::Blob(..));
        let harmless = match self.head.method {
            Method::GET | Method::HEAD => !matches!(route, Route::Upload(..)),
            Method::DELETE => deletes && source.is_cache(name),
            _ => false,
        };
        match harmless {
            true => Ok(()),
            false => Err(Error::NotWritable {
                repository: name.clone(),
                reason: source.refusal(name),
            }),
        }
    }

    /// A manifest, from wherever it is.
    pub(super) async fn find_manifest(
        &self,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<Arc<Stored>, Error> {
        match self.source(name) {
            Some(source) => source.manifest(name, reference).await,
            None => self.store().manifest(name, reference).await,
        }
    }

    pub(super) async fn foreign_head(
        &self,
        source: &dyn Source,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Answer {
        let size = source.blob_size(name, digest).await?;
        let mut response = Response::new(Body::empty());
        if self.has_already(digest) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            response.headers_mut().insert(CONTENT_LENGTH, size.into());
        }
        describe(response.headers_mut(), digest);
        Ok(response)
    }

    /// A blob that is not in the store, or not yet.
    pub(super) async fn foreign_blob(
        &self,
        content: Arc<dyn Readable>,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Answer {
        let size = content.size();
        let mut response = Response::new(Body::empty());
        if self.has_already(digest) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            describe(response.headers_mut(), digest);
            return Ok(response);
        }
        let parts = match self.means_this(digest) {
            true => range::asked(&self.head.headers, size)?,
            false => None,
        };
        let whole = Part {
            first: 0,
            length: size,
        };
        match parts.as_deref() {
            None => {
                let mut target = target(name, Some(digest));
                target.size = Some(size);
                target.media_type = Some("application/octet-stream".to_owned());
                self.tell(event::Action::Pull, target).await;
                add(response.body_mut(), &content, whole);
            }
            Some(parts) => {
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                fill(&mut response, &content, parts);
            }
        }
        describe(response.headers_mut(), digest);
        Ok(response)
    }
}

/// One range, or several.
fn fill(response: &mut Response<Body>, content: &Arc<dyn Readable>, parts: &[Part]) {
    let size = content.size();
    if let [part] = parts {
        add(response.body_mut(), content, *part);
        let headers = response.headers_mut();
        headers.insert(CONTENT_RANGE, value(&part.text(size)));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        return;
    }
    for part in parts {
        response.body_mut().push_bytes(boundary_of(*part, size));
        add(response.body_mut(), content, *part);
    }
    response.body_mut().push_bytes(boundary_end());
    response.headers_mut().insert(CONTENT_TYPE, multipart());
}

/// A part, which is opened when it is its turn.
fn add(body: &mut Body, content: &Arc<dyn Readable>, part: Part) {
    let content = Arc::clone(content);
    let opening = async move { content.read(part.first).await };
    body.push_later(Box::pin(opening), part.length);
}
