//! Several sources as one: who does not have something leaves it to the next who may.

use std::sync::Arc;

use transom_oci::{Descriptor, Digest};

use super::{Content, Pending, Source};
use crate::Error;
use crate::error::Result;
use crate::names::{Reference, RepositoryName};
use crate::store::{Page, Referrers, Stored};

/// Sources in the order in which they are asked.
#[derive(Clone, Debug, Default)]
pub struct Chain(Vec<Arc<dyn Source>>);

impl Chain {
    /// Sources in this order.
    #[must_use]
    pub fn new(sources: Vec<Arc<dyn Source>>) -> Chain {
        Chain(sources)
    }

    /// Those that may have a repository.
    fn of(&self, name: &RepositoryName) -> impl Iterator<Item = &Arc<dyn Source>> {
        self.0.iter().filter(move |source| source.covers(name))
    }

    /// Asks one after the other until one has it; the last one's answer if none has.
    async fn first<'a, T>(
        &'a self,
        name: &'a RepositoryName,
        ask: impl Fn(&'a dyn Source) -> Pending<'a, T>,
    ) -> Result<T> {
        let mut answer = Err(Error::RepositoryUnknown(name.clone()));
        for source in self.of(name) {
            answer = ask(&**source).await;
            if !answer.as_ref().is_err_and(is_unknown) {
                break;
            }
        }
        answer
    }
}

fn is_unknown(error: &Error) -> bool {
    matches!(
        error.cause(),
        Error::ManifestUnknown { .. } | Error::BlobUnknown { .. } | Error::RepositoryUnknown(_)
    )
}

impl Source for Chain {
    fn covers(&self, name: &RepositoryName) -> bool {
        self.of(name).next().is_some()
    }

    fn mirrored(&self, host: &str, name: &RepositoryName) -> Option<RepositoryName> {
        self.0.iter().find_map(|source| source.mirrored(host, name))
    }

    fn refusal(&self, name: &RepositoryName) -> String {
        let refusals: Vec<String> = self.of(name).map(|source| source.refusal(name)).collect();
        refusals.join("; ")
    }

    fn is_cache(&self, name: &RepositoryName) -> bool {
        self.of(name).any(|source| source.is_cache(name))
    }

    fn manifest<'a>(
        &'a self,
        name: &'a RepositoryName,
        reference: &'a Reference,
    ) -> Pending<'a, Arc<Stored>> {
        Box::pin(self.first(name, move |source| source.manifest(name, reference)))
    }

    fn blob_size<'a>(&'a self, name: &'a RepositoryName, digest: &'a Digest) -> Pending<'a, u64> {
        Box::pin(self.first(name, move |source| source.blob_size(name, digest)))
    }

    fn blob<'a>(&'a self, name: &'a RepositoryName, digest: &'a Digest) -> Pending<'a, Content> {
        Box::pin(self.first(name, move |source| source.blob(name, digest)))
    }

    fn tags<'a>(
        &'a self,
        name: &'a RepositoryName,
        last: Option<&'a str>,
        most: usize,
    ) -> Pending<'a, Page<String>> {
        Box::pin(self.first(name, move |source| source.tags(name, last, most)))
    }

    /// Of all of them the last that may have the repository: those before it know of none.
    fn referrers<'a>(
        &'a self,
        name: &'a RepositoryName,
        asked: Referrers<'a>,
    ) -> Pending<'a, Page<Descriptor>> {
        match self.of(name).last() {
            Some(source) => source.referrers(name, asked),
            None => Box::pin(async { Err(Error::RepositoryUnknown(name.clone())) }),
        }
    }

    fn catalog(&self) -> Pending<'_, Vec<RepositoryName>> {
        Box::pin(async {
            let mut all = Vec::new();
            for source in &self.0 {
                all.extend(source.catalog().await?);
            }
            Ok(all)
        })
    }
}
