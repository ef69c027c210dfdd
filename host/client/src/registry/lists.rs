//! Lists in pages: tags of a repository, repositories of a registry.

use std::sync::Arc;

use http::header::LINK;
use http::{Method, StatusCode};
use reqwest::Url;
use serde::Deserialize;

use super::client::Client;
use super::remote::{Action, Remote, Tried};
use crate::auth::scope::Scopes;
use crate::transport::{Answer, Call, Endpoint};
use crate::{Error, limits};

/// A list, page by page.
#[derive(Debug)]
pub struct List {
    endpoint: Arc<Endpoint>,
    next: Option<Call>,
    kind: Kind,
    pages: usize,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Tags,
    Repositories,
}

#[derive(Deserialize)]
struct Page {
    // Registries send null for none.
    #[serde(default)]
    tags: Option<Vec<String>>,
    #[serde(default)]
    repositories: Option<Vec<String>>,
}

impl List {
    /// The next page; `None` after the last one. Pages may be empty.
    ///
    /// # Errors
    /// Those of the registry, [`Error::Protocol`] for pages without end.
    pub async fn page(&mut self) -> Result<Option<Vec<String>>, Error> {
        let Some(call) = self.next.take() else {
            return Ok(None);
        };
        self.pages += 1;
        let broken = |reason: &str| Error::Protocol {
            host: self.endpoint.label().to_owned(),
            reason: reason.to_owned(),
        };
        if self.pages > limits::PAGES {
            return Err(broken("its list has no end"));
        }
        let mut answer = self.endpoint.send(&call, &[StatusCode::OK]).await?;
        if let Some(next) = next_page(&self.endpoint, &answer).await? {
            if next == call.url {
                return Err(broken("a page of its list names itself as the next"));
            }
            self.next = Some(Call {
                url: next,
                ..call.clone()
            });
        }
        let body = answer.read_all(&call.what, limits::PAGE_BYTES).await?;
        let page: Page =
            serde_json::from_slice(&body).map_err(|_| broken("its list is not JSON as it should be"))?;
        let entries = match self.kind {
            Kind::Tags => page.tags,
            Kind::Repositories => page.repositories,
        };
        Ok(Some(entries.unwrap_or_default()))
    }

    /// All that is left, in the registry's order.
    ///
    /// # Errors
    /// As [`page`](List::page).
    pub async fn all(mut self) -> Result<Vec<String>, Error> {
        let mut all = Vec::new();
        while let Some(page) = self.page().await? {
            all.extend(page);
        }
        Ok(all)
    }
}

impl Remote {
    /// The tags of this repository; `page` entries at a time, or as many as the registry likes.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such repository, and those of the registry.
    pub async fn tags(&self, page: Option<u32>) -> Result<(Vec<String>, List), Error> {
        let size = page.map(|page| page.to_string());
        let query: Vec<_> = size.iter().map(|size| ("n", size.as_str())).collect();
        let mut tried = Tried::default();
        for endpoint in self.hosts(Action::Resolve)? {
            let url = match self.url(&endpoint, "tags/list", &query).await {
                Ok(url) => url,
                Err(error) => {
                    tried.add(&endpoint, error)?;
                    continue;
                }
            };
            let call = self.read(Method::GET, url, format!("the tags of {}", self.repository()));
            let mut list = List::new(&endpoint, call, Kind::Tags);
            match list.page().await {
                Ok(first) => return Ok((first.unwrap_or_default(), list)),
                Err(error) => tried.add(&endpoint, error)?,
            }
        }
        Err(tried.into_error())
    }

    /// All tags of this repository.
    ///
    /// # Errors
    /// As [`tags`](Remote::tags).
    pub async fn all_tags(&self) -> Result<Vec<String>, Error> {
        let (mut all, rest) = self.tags(None).await?;
        all.extend(rest.all().await?);
        Ok(all)
    }
}

impl Client {
    /// The repositories of a registry, `host[:port]`. Many registries do not tell.
    ///
    /// # Errors
    /// [`Error::Unsupported`], [`Error::Denied`] and the others of the registry.
    pub async fn repositories(&self, registry: &str, page: Option<u32>) -> Result<List, Error> {
        let endpoints = self.endpoints(registry)?;
        let own = endpoints
            .iter()
            .rfind(|endpoint| endpoint.host().capabilities.resolve);
        let endpoint = own.ok_or_else(|| Error::NoHost {
            registry: registry.to_owned(),
            action: "resolve",
        })?;
        let size = page.map(|page| page.to_string());
        let query: Vec<_> = size.iter().map(|size| ("n", size.as_str())).collect();
        let url = endpoint.url("_catalog", &query).await?;
        let what = format!("the repositories of {registry}");
        let call = Call::new(Method::GET, url, Scopes::catalog(), what);
        Ok(List::new(endpoint, call, Kind::Repositories))
    }
}

impl List {
    fn new(endpoint: &Arc<Endpoint>, first: Call, kind: Kind) -> List {
        List {
            endpoint: Arc::clone(endpoint),
            next: Some(first),
            kind,
            pages: 0,
        }
    }
}

/// The address of the next page: `Link: </v2/…>; rel="next"`. It must be of the same host, which gets our token.
pub(crate) async fn next_page(endpoint: &Endpoint, answer: &Answer) -> Result<Option<Url>, Error> {
    let links = answer
        .headers()
        .get_all(LINK)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let Some(target) = links.flat_map(|text| text.split(',')).find_map(next_target) else {
        return Ok(None);
    };
    let url = endpoint.location(answer.url(), target).await?;
    if url.origin() != answer.url().origin() {
        return Err(Error::Protocol {
            host: endpoint.label().to_owned(),
            reason: "the next page of its list is on another host".to_owned(),
        });
    }
    Ok(Some(url))
}

fn next_target(link: &str) -> Option<&str> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let next = parameters.split(';').any(|parameter| {
        let (name, value) = parameter.trim().split_once('=').unwrap_or_default();
        name.trim().eq_ignore_ascii_case("rel") && value.trim().trim_matches('"').eq_ignore_ascii_case("next")
    });
    next.then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found() {
        assert_eq!(
            next_target(r#"</v2/_catalog?last=a&n=1>; rel="next""#),
            Some("/v2/_catalog?last=a&n=1")
        );
        assert_eq!(next_target("<x>;REL=next"), Some("x"));
        for text in ["", "<x>", "<x>; rel=prev", "x; rel=next", "<x; rel=next"] {
            assert_eq!(next_target(text), None, "{text}");
        }
    }
}
