//! Manifests: what a tag stands for, the bytes of one, and putting one.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use serde::Deserialize;
use transom_oci::limits::MANIFEST_BYTES_MAX;
use transom_oci::{Algorithm, Descriptor, Digest, media_type};

use super::document::media_type_of;
use super::remote::{Action, Remote, Tried, accept_manifests, accepting, digest_of};
use crate::Error;
use crate::transport::{Answer, Call, Endpoint, Payload};

/// A manifest that was fetched; its digest is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Type, digest and size.
    pub descriptor: Descriptor,
    /// The very bytes.
    pub bytes: Bytes,
}

/// What a registry did with a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// Its digest.
    pub digest: Digest,
    /// Whether the registry lists it among the referrers of its subject. If not, this client has listed it under the tag that
    /// stands for such a list.
    pub listed: bool,
}

#[derive(Deserialize)]
struct WithSubject {
    #[serde(default)]
    subject: Option<Descriptor>,
}

impl Remote {
    /// What a tag or digest stands for. The registry's word is taken for a tag; what it names has to have that digest when it is
    /// fetched.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Unauthorized`] and the others of the registry.
    pub async fn resolve(&self, target: &str) -> Result<Descriptor, Error> {
        let digest = parse_target(target)?;
        let action = if digest.is_some() {
            Action::Pull
        } else {
            Action::Resolve
        };
        let mut tried = Tried::default();
        for endpoint in self.hosts(action)? {
            match self.resolve_at(&endpoint, target, digest.as_ref()).await {
                Ok(found) => return Ok(found),
                Err(error) => tried.add(&endpoint, error)?,
            }
        }
        Err(tried.into_error())
    }

    pub(crate) async fn resolve_at(
        &self,
        endpoint: &Endpoint,
        target: &str,
        digest: Option<&Digest>,
    ) -> Result<Descriptor, Error> {
        let call = self.manifest_call(endpoint, Method::HEAD, target).await?;
        match endpoint.send(&call, &[StatusCode::OK]).await {
            Ok(answer) => {
                if let Some(found) = described(&answer, digest)? {
                    return Ok(found);
                }
            }
            // Some hosts know no HEAD.
            Err(Error::Unsupported { .. }) => {}
            Err(Error::Status { status, .. }) if status < 500 => {}
            Err(error) => return Err(error),
        }
        let fetched = self.manifest_at(endpoint, target, digest).await?;
        Ok(fetched.descriptor)
    }

    /// A manifest by tag or digest.
    ///
    /// # Errors
    /// [`Error::WrongDigest`], [`Error::TooLarge`], [`Error::Protocol`] if it is two things at once, and those of the registry.
    pub async fn manifest(&self, target: &str) -> Result<Fetched, Error> {
        let digest = parse_target(target)?;
        let action = if digest.is_some() {
            Action::Pull
        } else {
            Action::Resolve
        };
        let mut tried = Tried::default();
        for endpoint in self.hosts(action)? {
            match self.manifest_at(&endpoint, target, digest.as_ref()).await {
                Ok(found) => return Ok(found),
                Err(error) => tried.add(&endpoint, error)?,
            }
        }
        Err(tried.into_error())
    }

    pub(crate) async fn manifest_at(
        &self,
        endpoint: &Endpoint,
        target: &str,
        digest: Option<&Digest>,
    ) -> Result<Fetched, Error> {
        let call = self.manifest_call(endpoint, Method::GET, target).await?;
        let mut backoff = endpoint.backoff();
        let (answer, bytes) = loop {
            let mut answer = endpoint.send(&call, &[StatusCode::OK]).await?;
            let limit = usize::try_from(MANIFEST_BYTES_MAX).unwrap_or(usize::MAX);
            match answer.read_all(&call.what, limit).await {
                Ok(bytes) => break (answer, bytes),
                Err(error @ (Error::Unreachable { .. } | Error::Stalled { .. })) => {
                    let trouble = crate::transport::wire::Trouble::Again { error, after: None };
                    backoff.wait(trouble).await?;
                }
                Err(error) => return Err(error),
            }
        };
        let named = digest.cloned().or_else(|| digest_of(&answer));
        let algorithm = named.as_ref().map_or(Algorithm::Sha256, Digest::algorithm);
        let actual = Digest::of(algorithm, &bytes);
        if let Some(expected) = named.filter(|named| *named != actual) {
            return Err(Error::WrongDigest {
                host: endpoint.label().to_owned(),
                expected,
                actual,
            });
        }
        let kind = media_type_of(answer.header(CONTENT_TYPE), &bytes).map_err(|reason| Error::Protocol {
            host: endpoint.label().to_owned(),
            reason,
        })?;
        Ok(Fetched {
            descriptor: Descriptor::new(kind, actual, bytes.len() as u64),
            bytes,
        })
    }

    async fn manifest_call(&self, endpoint: &Endpoint, method: Method, target: &str) -> Result<Call, Error> {
        let url = self.url(endpoint, &format!("manifests/{target}"), &[]).await?;
        Ok(accepting(
            self.read(method, url, self.named(target)),
            accept_manifests(),
        ))
    }

    /// How a manifest is called in errors.
    pub(crate) fn named(&self, target: &str) -> String {
        let separator = if target.contains(':') { '@' } else { ':' };
        format!("{}{separator}{target}", self.repository())
    }

    /// Puts a manifest under a tag, or under its digest (of whatever algorithm `target` has). If it has a subject and the
    /// registry does not list referrers itself, it is added to the list under the tag of the subject.
    ///
    /// # Errors
    /// [`Error::WrongDigest`] if the target is another digest, and those of the registry.
    pub async fn put_manifest(&self, target: &str, kind: &str, bytes: Bytes) -> Result<Put, Error> {
        let named = parse_target(target)?;
        let algorithm = named.as_ref().map_or(Algorithm::Sha256, Digest::algorithm);
        let digest = Digest::of(algorithm, &bytes);
        if let Some(expected) = named.filter(|named| *named != digest) {
            return Err(Error::WrongDigest {
                host: "the caller".to_owned(),
                expected,
                actual: digest,
            });
        }
        let endpoint = self.target()?;
        let answer = self.put_at(&endpoint, target, kind, bytes.clone()).await?;
        if let Some(actual) = digest_of(&answer)
            && actual.algorithm() == digest.algorithm()
            && actual != digest
        {
            return Err(Error::WrongDigest {
                host: endpoint.label().to_owned(),
                expected: digest,
                actual,
            });
        }
        let subject = serde_json::from_slice::<WithSubject>(&bytes).ok();
        let Some(subject) = subject.and_then(|document| document.subject) else {
            return Ok(Put { digest, listed: true });
        };
        let listed = answer.header("oci-subject").is_some();
        if !listed {
            let descriptor = Descriptor::new(kind, digest.clone(), bytes.len() as u64);
            self.list_referrer(&subject.digest, descriptor, &bytes).await?;
        }
        Ok(Put { digest, listed })
    }

    pub(crate) async fn put_at(
        &self,
        endpoint: &Endpoint,
        target: &str,
        kind: &str,
        bytes: Bytes,
    ) -> Result<Answer, Error> {
        let url = self.url(endpoint, &format!("manifests/{target}"), &[]).await?;
        let kind = HeaderValue::from_str(kind).map_err(|_| Error::Reference {
            text: crate::error::shortened(kind),
            reason: "not a media type".to_owned(),
        })?;
        let call = Call::new(Method::PUT, url, self.push_scope(), self.named(target))
            .header(CONTENT_TYPE, kind)
            .payload(Payload::Bytes(bytes));
        endpoint.send(&call, &[StatusCode::CREATED, StatusCode::OK]).await
    }
}

/// What the head of an answer says, if it says all; `None` if the body is needed.
fn described(answer: &Answer, digest: Option<&Digest>) -> Result<Option<Descriptor>, Error> {
    let kind = answer.header(CONTENT_TYPE).unwrap_or_default();
    let kind = kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let size = answer
        .header(CONTENT_LENGTH)
        .and_then(|text| text.trim().parse().ok());
    let named = digest_of(answer);
    if let (Some(expected), Some(actual)) = (digest, &named)
        && expected.algorithm() == actual.algorithm()
        && expected != actual
    {
        return Err(Error::WrongDigest {
            host: answer.url().host_str().unwrap_or_default().to_owned(),
            expected: expected.clone(),
            actual: actual.clone(),
        });
    }
    let known = media_type::is_index(&kind) || media_type::is_manifest(&kind);
    let (Some(digest), Some(size), true) = (digest.cloned().or(named), size, known) else {
        return Ok(None);
    };
    if size > MANIFEST_BYTES_MAX {
        return Err(Error::TooLarge {
            host: answer.url().host_str().unwrap_or_default().to_owned(),
            what: format!("manifest {digest}"),
            limit: MANIFEST_BYTES_MAX,
        });
    }
    Ok(Some(Descriptor::new(kind, digest, size)))
}

/// The digest in a target; `None` if it is a tag.
pub(crate) fn parse_target(target: &str) -> Result<Option<Digest>, Error> {
    let wrong = |reason: String| Error::Reference {
        text: crate::error::shortened(target),
        reason,
    };
    if target.contains(':') {
        return target
            .parse()
            .map(Some)
            .map_err(|error: transom_oci::DigestError| wrong(error.to_string()));
    }
    crate::reference::check_tag(target).map_err(wrong)?;
    Ok(None)
}
