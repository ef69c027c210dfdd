//! `GET`, `HEAD` and `DELETE` of a blob.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE, LOCATION,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use transom_oci::Digest;
use transom_storage::{LocalFile, Reader, Redirect, RedirectMethod};

use super::CONTENT_DIGEST;
use super::body::Body;
use super::call::{Answer, Call, target};
use super::file::FilePart;
use super::range::{self, Part};
use crate::names::RepositoryName;
use crate::source::{Content, Source};
use crate::store::Blob;
use crate::{Error, event, limits};

/// Bytes never change under their digest.
const FOR_A_YEAR: &str = "max-age=31536000";

/// What separates the parts of an answer to several ranges. What is between two of them is as long as is said, so nobody looks
/// for it in the content.
const BOUNDARY: &str = "transom-4c1d8d1f0a9e4b6f";

impl Call<'_> {
    pub(super) async fn blob_head(&self, name: &RepositoryName, digest: &Digest) -> Answer {
        if let Some(source) = self.source(name) {
            return self.foreign_head(source, name, digest).await;
        }
        // Clients ask so before they push what refers to it. Nothing is renewed for those who only read.
        let blob = match self.registry.read_only.load(Ordering::Relaxed) {
            true => self.store().blob(name, digest).await?,
            false => self.store().wanted_blob(name, digest).await?,
        };
        let mut response = Response::new(Body::empty());
        if self.has_already(digest) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            response.headers_mut().insert(CONTENT_LENGTH, blob.size.into());
        }
        describe(response.headers_mut(), digest);
        Ok(response)
    }

    pub(super) async fn blob(&self, name: &RepositoryName, digest: &Digest) -> Answer {
        if let Some(source) = self.source(name)
            && let Content::Elsewhere(content) = source.blob(name, digest).await?
        {
            return self.foreign_blob(content, name, digest).await;
        }
        if self.registry.settings.redirect && self.store().driver().capabilities().redirects {
            let blob = self.store().blob(name, digest).await?;
            if let Some(response) = self.elsewhere(&blob).await? {
                self.pulled_blob(name, &blob).await;
                return Ok(response);
            }
        }
        let (blob, reader) = self.store().open_blob(name, digest).await?;
        if self.has_already(digest) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            describe(response.headers_mut(), digest);
            return Ok(response);
        }
        let parts = match self.means_this(digest) {
            true => range::asked(&self.head.headers, blob.size)?,
            false => None,
        };
        let mut response = match parts.as_deref() {
            None => {
                self.pulled_blob(name, &blob).await;
                whole(&blob, reader)
            }
            Some([part]) => self.part(name, &blob, reader, *part).await?,
            Some(parts) => self.parts(name, &blob, reader, parts),
        };
        describe(response.headers_mut(), digest);
        Ok(response)
    }

    /// Sends the client to the store, if that can be.
    async fn elsewhere(&self, blob: &Blob) -> Result<Option<Response<Body>>, Error> {
        let redirect = Redirect {
            method: RedirectMethod::Get,
            expires: limits::REDIRECT,
        };
        let Some(url) = self.store().driver().redirect(&blob.path, &redirect).await? else {
            return Ok(None);
        };
        let Ok(url) = HeaderValue::from_str(&url) else {
            return Ok(None);
        };
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
        let headers = response.headers_mut();
        headers.insert(LOCATION, url);
        headers.insert(CONTENT_DIGEST, value(blob.digest.as_str()));
        Ok(Some(response))
    }

    /// Whether a range is asked of what we have: `If-Range` may name another content.
    pub(super) fn means_this(&self, digest: &Digest) -> bool {
        let condition = self.head.headers.get(IF_RANGE);
        condition.is_none_or(|tag| {
            tag.to_str()
                .is_ok_and(|tag| tag.trim_matches('"') == digest.as_str())
        })
    }

    async fn part(&self, name: &RepositoryName, blob: &Blob, reader: Reader, part: Part) -> Answer {
        let mut body = Body::empty();
        match reader.into_file() {
            Ok(LocalFile { file, .. }) => {
                body.push_file(FilePart::new(Arc::new(file), part.first, part.length));
            }
            Err(reader) if part.first == 0 => body.push_reader(reader, part.length),
            Err(_) => {
                let reader = self.store().read_blob(name, blob, part.first).await?;
                body.push_reader(reader, part.length);
            }
        }
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let headers = response.headers_mut();
        headers.insert(CONTENT_RANGE, value(&part.text(blob.size)));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        Ok(response)
    }

    /// Several ranges in one answer (RFC 9110, section 14.6).
    fn parts(&self, name: &RepositoryName, blob: &Blob, reader: Reader, parts: &[Part]) -> Response<Body> {
        let file = reader.into_file().ok().map(|local| Arc::new(local.file));
        let mut body = Body::empty();
        for part in parts {
            body.push_bytes(boundary_of(*part, blob.size));
            match &file {
                Some(file) => body.push_file(FilePart::new(Arc::clone(file), part.first, part.length)),
                None => {
                    let (store, name, blob) = (self.store().clone(), name.clone(), blob.clone());
                    let first = part.first;
                    let opening = async move { store.read_blob(&name, &blob, first).await };
                    body.push_later(Box::pin(opening), part.length);
                }
            }
        }
        body.push_bytes(boundary_end());
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        response.headers_mut().insert(CONTENT_TYPE, multipart());
        response
    }

    async fn pulled_blob(&self, name: &RepositoryName, blob: &Blob) {
        let mut target = target(name, Some(&blob.digest));
        target.size = Some(blob.size);
        target.media_type = Some("application/octet-stream".to_owned());
        self.tell(event::Action::Pull, target).await;
    }

    pub(super) async fn delete_blob(&self, name: &RepositoryName, digest: &Digest) -> Answer {
        if !self.registry.settings.delete {
            return Err(Error::DeleteDisabled);
        }
        self.store().delete_blob(name, digest).await?;
        self.tell(event::Action::Delete, target(name, Some(digest))).await;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::ACCEPTED;
        response
            .headers_mut()
            .insert(CONTENT_DIGEST, value(digest.as_str()));
        Ok(response)
    }
}

/// What comes before a part of several.
pub(super) fn boundary_of(part: Part, size: u64) -> String {
    format!(
        "\r\n--{BOUNDARY}\r\nContent-Type: application/octet-stream\r\nContent-Range: {}\r\n\r\n",
        part.text(size)
    )
}

/// What comes after the last one.
pub(super) fn boundary_end() -> String {
    format!("\r\n--{BOUNDARY}--\r\n")
}

/// The type of an answer with several parts.
pub(super) fn multipart() -> HeaderValue {
    value(&format!("multipart/byteranges; boundary={BOUNDARY}"))
}

fn whole(blob: &Blob, reader: Reader) -> Response<Body> {
    let mut body = Body::empty();
    body.push_reader(reader, blob.size);
    let mut response = Response::new(body);
    let kind = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

pub(super) fn describe(headers: &mut HeaderMap, digest: &Digest) {
    if !headers.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    }
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(FOR_A_YEAR));
    headers.insert(CONTENT_DIGEST, value(digest.as_str()));
    headers.insert(ETAG, value(&format!("\"{digest}\"")));
}

/// A header's value of text that we made: names, digests, numbers.
pub(super) fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}
