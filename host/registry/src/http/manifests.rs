//! `GET`, `HEAD`, `PUT` and `DELETE` of a manifest.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, LOCATION, VARY};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use transom_oci::Digest;
use transom_oci::media_type::is_index;

use super::CONTENT_DIGEST;
use super::accept::Accept;
use super::blobs::value;
use super::body::Body;
use super::call::{Answer, Call, target};
use super::incoming::Incoming;
use crate::manifest::Manifest;
use crate::names::{Reference, RepositoryName, Tag};
use crate::store::{ManifestPush, Pushed, Stored};
use crate::{Error, event, limits};

const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");

impl Call<'_> {
    pub(super) async fn manifest(&self, name: &RepositoryName, reference: &Reference) -> Answer {
        let accept = Accept::read(&self.head.headers);
        let found = self.find_manifest(name, reference).await?;
        let stored = match accept.takes(&found.media_type) {
            true => found,
            false => self.substitute(name, reference, &accept, &found).await?,
        };
        let mut response = Response::new(Body::empty());
        if self.has_already(&stored.digest) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else if self.head.method == Method::HEAD {
            let length = stored.bytes.len();
            response.headers_mut().insert(CONTENT_LENGTH, length.into());
        } else {
            *response.body_mut() = Body::bytes(stored.bytes.clone());
            self.pulled_manifest(name, reference, &stored).await;
        }
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, value(&stored.media_type));
        headers.insert(CONTENT_DIGEST, value(stored.digest.as_str()));
        headers.insert(ETAG, value(&format!("\"{}\"", stored.digest)));
        headers.insert(VARY, HeaderValue::from_static("Accept"));
        if matches!(reference, Reference::Tag(_)) {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        }
        Ok(response)
    }

    /// What a client gets that takes no indexes and asks by tag for what is one: the image for linux/amd64, as from
    /// docker-registry.
    async fn substitute(
        &self,
        name: &RepositoryName,
        reference: &Reference,
        accept: &Accept,
        found: &Stored,
    ) -> Result<Arc<Stored>, Error> {
        let not_accepted = || Error::NotAccepted {
            reference: reference.clone(),
            media_type: found.media_type.clone(),
        };
        let old = matches!(reference, Reference::Tag(_)) && !accept.takes_indexes();
        if !old || !is_index(&found.media_type) {
            return Err(not_accepted());
        }
        let index = Manifest::read(&found.bytes)?;
        let child = index.manifests.into_iter().find(|child| {
            let platform = child.platform.as_ref();
            accept.takes(&child.media_type)
                && platform.is_some_and(|platform| platform.os == "linux" && platform.architecture == "amd64")
        });
        let child = child.ok_or_else(not_accepted)?;
        self.find_manifest(name, &Reference::Digest(child.digest)).await
    }

    async fn pulled_manifest(&self, name: &RepositoryName, reference: &Reference, stored: &Stored) {
        let mut target = target(name, Some(&stored.digest));
        target.size = Some(stored.bytes.len() as u64);
        target.media_type = Some(stored.media_type.clone());
        if let Reference::Tag(tag) = reference {
            target.tag = Some(tag.clone());
        }
        self.tell(event::Action::Pull, target).await;
    }

    pub(super) async fn put_manifest(
        &self,
        name: &RepositoryName,
        reference: &Reference,
        body: &mut Incoming,
    ) -> Answer {
        let tags = self.tags_to_set(reference)?;
        let limit = self.store().options().manifest_bytes;
        let length = body.announced().unwrap_or(limit);
        if length > limit {
            return Err(Error::ManifestTooLarge { limit });
        }
        let permits = u32::try_from(length)
            .unwrap_or(u32::MAX)
            .min(limits::MANIFESTS_ARRIVING);
        let arriving = self.registry.arriving.acquire_many(permits).await;
        let _arriving = arriving.map_err(|_| Error::TooBusy)?;
        let bytes = body.whole(limit).await?;
        self.registry.metrics.received(bytes.len() as u64);
        let media_type = self.head.headers.get(CONTENT_TYPE);
        let push = ManifestPush {
            digest: match reference {
                Reference::Digest(digest) => Some(digest),
                Reference::Tag(_) => None,
            },
            tags: &tags,
            media_type: media_type.and_then(|value| value.to_str().ok()),
            bytes,
        };
        let size = push.bytes.len() as u64;
        let admission = &self.registry.settings.admission;
        admission.judge(self.store(), name, &push).await?;
        let pushed = self.store().push_manifest(name, push).await?;
        self.tell_pushed(name, &pushed, &tags, size).await;
        Ok(self.created(name, &pushed, reference, &tags))
    }

    /// The tag of the path, or those after the `?`.
    fn tags_to_set(&self, reference: &Reference) -> Result<Vec<Tag>, Error> {
        let mut tags = match reference {
            Reference::Tag(tag) => vec![tag.clone()],
            Reference::Digest(_) => Vec::new(),
        };
        for tag in self.query.all("tag") {
            let tag = Tag::new(tag)?;
            if !tags.contains(&tag) {
                tags.push(tag);
            }
            if tags.len() > limits::TAGS_AT_ONCE {
                let most = limits::TAGS_AT_ONCE;
                return Err(Error::BadRequest(format!("one push sets {most} tags at most")));
            }
        }
        Ok(tags)
    }

    async fn tell_pushed(&self, name: &RepositoryName, pushed: &Pushed, tags: &[Tag], size: u64) {
        let mut told = target(name, Some(&pushed.digest));
        told.size = Some(size);
        told.media_type = Some(pushed.media_type.clone());
        told.references.clone_from(&pushed.references);
        if tags.is_empty() {
            return self.tell(event::Action::Push, told).await;
        }
        for tag in tags {
            let tag = Some(tag.clone());
            self.tell(event::Action::Push, event::Target { tag, ..told.clone() })
                .await;
        }
    }

    fn created(
        &self,
        name: &RepositoryName,
        pushed: &Pushed,
        reference: &Reference,
        tags: &[Tag],
    ) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::CREATED;
        let headers = response.headers_mut();
        let place = format!("/v2/{name}/manifests/{}", pushed.digest);
        headers.insert(LOCATION, value(&place));
        headers.insert(CONTENT_DIGEST, value(pushed.digest.as_str()));
        if let Some(subject) = &pushed.subject {
            headers.insert(OCI_SUBJECT, value(subject.as_str()));
        }
        if matches!(reference, Reference::Digest(_)) {
            for tag in tags {
                headers.append(OCI_TAG, value(tag.as_str()));
            }
        }
        response
    }

    pub(super) async fn delete_manifest(&self, name: &RepositoryName, reference: &Reference) -> Answer {
        if !self.registry.settings.delete {
            return Err(Error::DeleteDisabled);
        }
        let (digest, tags): (Option<&Digest>, Vec<Tag>) = match reference {
            Reference::Tag(tag) => {
                self.store().delete_tag(name, tag).await?;
                (None, vec![tag.clone()])
            }
            Reference::Digest(digest) => (Some(digest), self.store().delete_manifest(name, digest).await?),
        };
        if digest.is_some() {
            self.tell(event::Action::Delete, target(name, digest)).await;
        }
        for tag in tags {
            let mut told = target(name, None);
            told.tag = Some(tag);
            self.tell(event::Action::Delete, told).await;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::ACCEPTED;
        Ok(response)
    }
}
