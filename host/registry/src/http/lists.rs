//! Lists: tags, repositories, referrers.

use http::header::{CONTENT_TYPE, LINK};
use http::{HeaderName, HeaderValue, Response};
use serde_json::{Value, json};
use transom_oci::Digest;
use transom_oci::media_type::INDEX;

use super::blobs::value;
use super::body::Body;
use super::call::{Answer, Call};
use super::query::encode;
use crate::names::RepositoryName;
use crate::source::Source;
use crate::store::{Page, Referrers};
use crate::{Error, limits};

const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

impl Call<'_> {
    pub(super) async fn tags(&self, name: &RepositoryName) -> Answer {
        let most = self.query.page(usize::MAX, self.registry.settings.tags_page)?;
        let last = self.query.get("last").filter(|last| !last.is_empty());
        let page = match self.source(name) {
            Some(source) => source.tags(name, last, most).await?,
            None => self.store().tags(name, last, most).await?,
        };
        let mut response = json_answer(&json!({ "name": name.as_str(), "tags": page.items }));
        if let Some(last) = page.items.last().filter(|_| page.more) {
            let next = format!("/v2/{name}/tags/list?n={most}&last={}", encode(last));
            link(&mut response, &next);
        }
        Ok(response)
    }

    pub(super) async fn catalog(&self) -> Answer {
        let most = self.query.page(limits::CATALOG_PAGE, limits::CATALOG_PAGE_MAX)?;
        let last = self.query.get("last").filter(|last| !last.is_empty());
        let last = last.map(RepositoryName::new).transpose();
        let last = last.map_err(|error| Error::PageInvalid(format!("last: {error}")))?;
        let mut page = self.store().catalog(last.as_ref(), most).await?;
        let others = self.registry.sources.catalog().await?;
        add(&mut page, others, last.as_ref(), most);
        let mut response = json_answer(&json!({ "repositories": page.items }));
        if let Some(last) = page.items.last().filter(|_| page.more) {
            link(
                &mut response,
                &format!("/v2/_catalog?n={most}&last={}", encode(last)),
            );
        }
        Ok(response)
    }

    pub(super) async fn referrers(&self, name: &RepositoryName, subject: &Digest) -> Answer {
        let artifact_type = self.query.get("artifactType").filter(|wanted| !wanted.is_empty());
        let asked = Referrers {
            subject,
            artifact_type,
            last: self.query.get("last"),
            most: self.query.page(limits::REFERRERS_PAGE, limits::REFERRERS_PAGE)?,
        };
        let page = match self.source(name) {
            Some(source) => source.referrers(name, asked).await?,
            None => self.store().referrers(name, asked).await?,
        };
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": page.items });
        let mut response = json_answer(&index);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(INDEX));
        if artifact_type.is_some() {
            headers.insert(FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
        }
        if let Some(last) = page.items.last().filter(|_| page.more) {
            let last = encode(last.digest.as_str());
            let mut next = format!("/v2/{name}/referrers/{subject}?n={}&last={last}", asked.most);
            if let Some(wanted) = artifact_type {
                next.push_str(&format!("&artifactType={}", encode(wanted)));
            }
            link(&mut response, &next);
        }
        Ok(response)
    }
}

fn json_answer(document: &Value) -> Response<Body> {
    let mut response = Response::new(Body::bytes(document.to_string()));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// Adds to a page of the catalog what comes after `last`, as far as there is room for it.
fn add(page: &mut Page<String>, more: Vec<RepositoryName>, last: Option<&RepositoryName>, most: usize) {
    // Behind the last one of a page that is full, nothing is known of what comes between.
    let end = page.items.last().filter(|_| page.more).cloned();
    for name in more {
        let after = last.is_none_or(|last| by_parts(name.as_str(), last.as_str()).is_gt());
        let before = |end: &String| by_parts(name.as_str(), end).is_lt();
        match after && end.as_ref().is_none_or(before) {
            true => page.items.push(name.as_str().to_owned()),
            false => page.more |= after,
        }
    }
    page.items.sort_by(|one, other| by_parts(one, other));
    page.items.dedup();
    page.more |= page.items.len() > most;
    page.items.truncate(most);
}

/// The order of the catalog.
fn by_parts(one: &str, other: &str) -> std::cmp::Ordering {
    one.split('/').cmp(other.split('/'))
}

/// Where the next page is.
fn link(response: &mut Response<Body>, next: &str) {
    let link = value(&format!("<{next}>; rel=\"next\""));
    response.headers_mut().insert(LINK, link);
}
