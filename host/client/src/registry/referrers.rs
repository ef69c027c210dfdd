//! What refers to a manifest: signatures, lists of contents, attestations.
//!
//! A registry that does not keep such lists itself has them as an index under a tag made of the subject's digest, kept by the
//! clients (distribution specification, "Referrers Tag Schema"). Two clients that write at once may lose an entry there.

use http::header::ACCEPT;
use http::{HeaderValue, Method, StatusCode};
use serde::Deserialize;
use std::collections::BTreeMap;
use transom_oci::{Descriptor, Digest, Index, media_type};

use super::lists::next_page;
use super::remote::{Action, Remote, Tried};
use crate::transport::{Call, Endpoint};
use crate::{Error, limits};

/// The longest tag of the scheme: 32 characters of the algorithm, 64 of the value.
const TAG_ALGORITHM: usize = 32;
const TAG_HEX: usize = 64;

/// The fields of a manifest that its descriptor in a list repeats.
#[derive(Deserialize)]
struct Described {
    #[serde(rename = "artifactType", default)]
    artifact_type: Option<String>,
    #[serde(default)]
    config: Option<Config>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(rename = "mediaType")]
    media_type: String,
}

impl Remote {
    /// The manifests that have this one as their subject, those of one artifact type if `kind` is given.
    ///
    /// # Errors
    /// Those of the registry. A registry that knows nothing of it has no referrers.
    pub async fn referrers(&self, subject: &Digest, kind: Option<&str>) -> Result<Vec<Descriptor>, Error> {
        let mut tried = Tried::default();
        for endpoint in self.hosts(Action::Resolve)? {
            match self.referrers_at(&endpoint, subject, kind).await {
                Ok(found) => return Ok(found),
                Err(error) => tried.add(&endpoint, error)?,
            }
        }
        Err(tried.into_error())
    }

    async fn referrers_at(
        &self,
        endpoint: &Endpoint,
        subject: &Digest,
        kind: Option<&str>,
    ) -> Result<Vec<Descriptor>, Error> {
        let query: Vec<_> = kind.iter().map(|kind| ("artifactType", *kind)).collect();
        let url = self
            .url(endpoint, &format!("referrers/{subject}"), &query)
            .await?;
        let what = format!("the referrers of {}", self.named(subject.as_str()));
        let mut call = self
            .read(Method::GET, url, what)
            .header(ACCEPT, HeaderValue::from_static(media_type::INDEX));
        let mut found = Vec::new();
        for _ in 0..limits::PAGES {
            let (page, next) = match self.referrers_page(endpoint, &call).await {
                Ok(page) => page,
                // Not known there, or known as something else.
                Err(Error::NotFound { .. } | Error::Unsupported { .. }) if found.is_empty() => {
                    let index = self.tagged_list(endpoint, subject).await?;
                    found = index.map(|index| index.manifests).unwrap_or_default();
                    break;
                }
                Err(error) => return Err(error),
            };
            found.extend(page);
            match next {
                Some(url) if url != call.url => call.url = url,
                _ => break,
            }
        }
        // Whether the registry filters or not.
        found.retain(|descriptor| kind.is_none_or(|kind| descriptor.artifact_type.as_deref() == Some(kind)));
        Ok(found)
    }

    async fn referrers_page(
        &self,
        endpoint: &Endpoint,
        call: &Call,
    ) -> Result<(Vec<Descriptor>, Option<reqwest::Url>), Error> {
        let mut answer = endpoint.send(call, &[StatusCode::OK]).await?;
        let next = next_page(endpoint, &answer).await?;
        let body = answer.read_all(&call.what, limits::PAGE_BYTES).await?;
        let index: Index = serde_json::from_slice(&body).map_err(|_| Error::Protocol {
            host: endpoint.label().to_owned(),
            reason: "its list of referrers is no index".to_owned(),
        })?;
        Ok((index.manifests, next))
    }

    /// The list under the tag of a subject.
    async fn tagged_list(&self, endpoint: &Endpoint, subject: &Digest) -> Result<Option<Index>, Error> {
        match self.manifest_at(endpoint, &tag_of(subject), None).await {
            // Whatever else has that tag is not a list.
            Ok(fetched) => Ok(serde_json::from_slice(&fetched.bytes)
                .ok()
                .filter(|_| media_type::is_index(&fetched.descriptor.media_type))),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Adds a manifest to the list under the tag of its subject.
    pub(crate) async fn list_referrer(
        &self,
        subject: &Digest,
        mut descriptor: Descriptor,
        manifest: &[u8],
    ) -> Result<(), Error> {
        if let Ok(described) = serde_json::from_slice::<Described>(manifest) {
            let config = described.config.map(|config| config.media_type);
            descriptor.artifact_type = described.artifact_type.or(config);
            descriptor.annotations = described.annotations.unwrap_or_default();
        }
        let endpoint = self.target()?;
        let mut index = self
            .tagged_list(&endpoint, subject)
            .await?
            .unwrap_or_else(|| Index {
                schema_version: 2,
                media_type: Some(media_type::INDEX.to_owned()),
                manifests: Vec::new(),
                annotations: BTreeMap::new(),
            });
        if index
            .manifests
            .iter()
            .any(|listed| listed.digest == descriptor.digest)
        {
            return Ok(());
        }
        index.manifests.push(descriptor);
        let bytes = serde_json::to_vec(&index).map_err(|error| Error::Protocol {
            host: endpoint.label().to_owned(),
            reason: format!("its list of referrers cannot be written again: {error}"),
        })?;
        self.put_at(&endpoint, &tag_of(subject), media_type::INDEX, bytes.into())
            .await
            .map(drop)
    }
}

/// The tag under which clients keep what refers to a manifest.
fn tag_of(subject: &Digest) -> String {
    let hex: String = subject.hex().chars().take(TAG_HEX).collect();
    let algorithm: String = subject.algorithm().as_str().chars().take(TAG_ALGORITHM).collect();
    format!("{algorithm}-{hex}")
}
