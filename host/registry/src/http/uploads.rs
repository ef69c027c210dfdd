//! Uploads: `POST`, then `PATCH`, `PUT`, `GET` and `DELETE` of where that leads; also a blob in one `POST`, and a mount.

use http::header::{CACHE_CONTROL, LOCATION, RANGE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use transom_oci::{Algorithm, Digest};

use super::CONTENT_DIGEST;
use super::blobs::value;
use super::body::Body;
use super::call::{Answer, Call, target};
use super::errors;
use super::incoming::Incoming;
use super::range;
use super::route::digest;
use crate::access::{Access, Action};
use crate::names::RepositoryName;
use crate::store::OpenUpload;
use crate::{Error, event, limits};

const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
const CHUNK_MIN: HeaderName = HeaderName::from_static("oci-chunk-min-length");

impl Call<'_> {
    pub(super) async fn begin_upload(&self, name: &RepositoryName, body: &mut Incoming) -> Answer {
        if let Some(wanted) = self.query.get("mount")
            && let Some(response) = self.mount(name, &digest(wanted)?).await?
        {
            return Ok(response);
        }
        if let Some(wanted) = self.query.get("digest") {
            let wanted = digest(wanted)?;
            // Without a body it is only a hint, unless nothing is what is to be kept.
            let nothing = Digest::of(wanted.algorithm(), b"");
            if body.announced() != Some(0) || wanted == nothing {
                let upload = self.store().new_upload(name, wanted.algorithm()).await?;
                return self.fill_and_commit(name, None, upload, &wanted, body).await;
            }
        }
        let hint = self.query.get("digest-algorithm");
        let algorithm = hint.map(algorithm).transpose()?;
        let id = self.store().begin_upload(name, algorithm).await?;
        let mut response = progress(StatusCode::ACCEPTED, name, &id, 0);
        let least = value(&limits::CHUNK_MIN.to_string());
        response.headers_mut().insert(CHUNK_MIN, least);
        Ok(response)
    }

    /// Mounts a blob; `None` if it cannot be, and must be uploaded.
    async fn mount(&self, name: &RepositoryName, wanted: &Digest) -> Result<Option<Response<Body>>, Error> {
        let from = match self.query.get("from").filter(|from| !from.is_empty()) {
            Some(from) => match RepositoryName::new(from) {
                Ok(from) => Some(from),
                Err(_) => return Ok(None),
            },
            None => None,
        };
        if let Some(from) = &from {
            match self.check(&[Access::repository(from, Action::Pull)]).await {
                Ok(_) => {}
                // Whoever may not look there learns nothing of what is there.
                Err(Error::Refused(_)) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        match self.store().mount(name, from.as_ref(), wanted).await {
            Ok(blob) => {
                let mut target = target(name, Some(wanted));
                (target.size, target.from) = (Some(blob.size), from);
                self.tell(event::Action::Mount, target).await;
                Ok(Some(created(name, wanted, None)))
            }
            Err(Error::BlobUnknown { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn append(&self, name: &RepositoryName, id: &str, body: &mut Incoming) -> Answer {
        let mut upload = self.store().open_upload(name, id).await?;
        let result = self.pour(&mut upload, body).await;
        let size = upload.size();
        upload.pause().await?;
        match result {
            Ok(()) => Ok(progress(StatusCode::ACCEPTED, name, id, size)),
            Err(error) => Err(error).or_else(|error| out_of_order(error, name, id, size)),
        }
    }

    /// Appends the body, if it begins where the upload ends.
    async fn pour(&self, upload: &mut OpenUpload, body: &mut Incoming) -> Result<(), Error> {
        let chunk = range::chunk(&self.head.headers)?;
        let expected = upload.size();
        let mut most = u64::MAX;
        if let Some(chunk) = chunk {
            let given = chunk.first;
            if given != expected {
                return Err(Error::OutOfOrder { expected, given });
            }
            most = chunk.length;
            if let Some(announced) = body.announced().filter(|&announced| announced != most) {
                let found = most;
                return Err(Error::SizeMismatch { announced, found });
            }
        }
        let poured = body.pour(upload, most).await;
        self.registry.metrics.received(upload.size() - expected);
        let found = poured?;
        match chunk {
            Some(_) if found != most => Err(Error::SizeMismatch {
                announced: most,
                found,
            }),
            _ => Ok(()),
        }
    }

    pub(super) async fn end_upload(&self, name: &RepositoryName, id: &str, body: &mut Incoming) -> Answer {
        let wanted = digest(self.query.get("digest").ok_or(Error::DigestMissing)?)?;
        let mut upload = self.store().open_upload(name, id).await?;
        upload.expect(wanted.algorithm());
        self.fill_and_commit(name, Some(id), upload, &wanted, body).await
    }

    async fn fill_and_commit(
        &self,
        name: &RepositoryName,
        id: Option<&str>,
        mut upload: OpenUpload,
        wanted: &Digest,
        body: &mut Incoming,
    ) -> Answer {
        if let Err(error) = self.pour(&mut upload, body).await {
            let size = upload.size();
            return match id {
                // The client may go on with it.
                Some(id) => {
                    upload.pause().await?;
                    out_of_order(error, name, id, size)
                }
                None => {
                    upload.cancel().await?;
                    Err(error)
                }
            };
        }
        let size = upload.size();
        upload.commit(name, wanted).await?;
        let mut target = target(name, Some(wanted));
        target.size = Some(size);
        target.media_type = Some("application/octet-stream".to_owned());
        self.tell(event::Action::Push, target).await;
        Ok(created(name, wanted, id))
    }

    pub(super) async fn upload_status(&self, name: &RepositoryName, id: &str) -> Answer {
        let size = self.store().upload_size(name, id).await?;
        Ok(progress(StatusCode::NO_CONTENT, name, id, size))
    }

    pub(super) async fn cancel_upload(&self, name: &RepositoryName, id: &str) -> Answer {
        self.store().open_upload(name, id).await?.cancel().await?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().insert(UPLOAD_UUID, value(id));
        Ok(response)
    }
}

fn algorithm(name: &str) -> Result<Algorithm, Error> {
    let shown = || name.chars().take(limits::SHOWN_BYTES).collect();
    name.parse().map_err(|_| Error::AlgorithmUnknown(shown()))
}

/// A chunk at the wrong place is answered with the right one.
fn out_of_order(error: Error, name: &RepositoryName, id: &str, size: u64) -> Answer {
    if !matches!(error, Error::OutOfOrder { .. }) {
        return Err(error);
    }
    let mut response = errors::answer(&error);
    let place = progress(StatusCode::ACCEPTED, name, id, size);
    response.headers_mut().extend(place.into_parts().0.headers);
    Ok(response)
}

/// Where an upload is and how far.
fn progress(status: StatusCode, name: &RepositoryName, id: &str, size: u64) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(LOCATION, value(&format!("/v2/{name}/blobs/uploads/{id}")));
    headers.insert(RANGE, value(&format!("0-{}", size.saturating_sub(1))));
    headers.insert(UPLOAD_UUID, value(id));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A blob that is there now.
fn created(name: &RepositoryName, digest: &Digest, id: Option<&str>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::CREATED;
    let headers = response.headers_mut();
    headers.insert(LOCATION, value(&format!("/v2/{name}/blobs/{digest}")));
    headers.insert(CONTENT_DIGEST, value(digest.as_str()));
    if let Some(id) = id {
        headers.insert(UPLOAD_UUID, value(id));
    }
    response
}
