//! Lists of other registries: they are asked each time, and what is here is listed while they cannot be asked.

use std::sync::Arc;

use transom_oci::Descriptor;

use super::upstream::Upstream;
use super::{Proxies, limits};
use crate::Error;
use crate::error::Result;
use crate::names::RepositoryName;
use crate::store::{Page, Referrers};

impl Proxies {
    pub(super) async fn list_tags(
        &self,
        name: &RepositoryName,
        last: Option<&str>,
        most: usize,
    ) -> Result<Page<String>> {
        let upstream = self.inner.upstream(name)?;
        let of_task = name.clone();
        let work = |landing| async move {
            let _landing = landing;
            all_tags(&upstream, &of_task).await.map(Arc::new)
        };
        let tags = match self.inner.tags.join(name.clone(), work).await {
            Ok(tags) => tags,
            Err(error) if matches!(error.cause(), Error::UpstreamUnavailable { .. }) => {
                let here = self.inner.store.tags(name, last, most).await;
                return here.map_err(|_| error);
            }
            Err(error) => return Err(error),
        };
        let begin = last.map_or(0, |last| tags.partition_point(|tag| tag.as_str() <= last));
        let mut rest = tags[begin..].iter();
        let items = rest.by_ref().take(most).cloned().collect();
        let more = rest.next().is_some();
        Ok(Page { items, more })
    }

    pub(super) async fn list_referrers(
        &self,
        name: &RepositoryName,
        asked: Referrers<'_>,
    ) -> Result<Page<Descriptor>> {
        let upstream = self.inner.upstream(name)?;
        let found = upstream
            .remote(name)?
            .referrers(asked.subject, asked.artifact_type)
            .await;
        let unknown = || Error::manifest_unknown(name, asked.subject);
        let mut found = match found.map_err(|error| upstream.meaning(&error, unknown)) {
            Ok(found) => found,
            Err(Error::ManifestUnknown { .. }) => Vec::new(),
            Err(Error::UpstreamUnavailable { .. }) => return self.inner.store.referrers(name, asked).await,
            Err(error) => return Err(error),
        };
        found.sort_by(|one, other| one.digest.cmp(&other.digest));
        let after = |descriptor: &Descriptor| asked.last.is_none_or(|last| descriptor.digest.as_str() > last);
        let mut rest = found.into_iter().filter(after);
        let items = rest.by_ref().take(asked.most).collect();
        let more = rest.next().is_some();
        Ok(Page { items, more })
    }
}

/// All tags of a repository, in the order of their bytes.
async fn all_tags(upstream: &Upstream, name: &RepositoryName) -> Result<Vec<String>> {
    let meaning =
        |error: transom_client::Error| upstream.meaning(&error, || Error::RepositoryUnknown(name.clone()));
    let (mut tags, mut list) = upstream.remote(name)?.tags(None).await.map_err(meaning)?;
    while let Some(page) = list.page().await.map_err(meaning)? {
        tags.extend(page);
        if tags.len() > limits::TAGS {
            let most = limits::TAGS;
            return Err(upstream.wrong(format!("{name} with more than {most} tags")));
        }
    }
    tags.sort();
    tags.dedup();
    Ok(tags)
}
