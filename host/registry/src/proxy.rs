//! A cache of other registries: repositories below a prefix come from there when they are asked for, and stay.
//!
//! `settings` is `[[proxy]]`, `upstream` one other registry with what its errors mean, `flights` merges requests for the same;
//! `manifests`, `blobs` and `lists` answer, `arrival` is a blob that is read while it comes. `evict` forgets what nobody uses,
//! `metrics` counts.
//!
//! `docs/guides/registry.md` says how it behaves, also when another registry cannot be asked.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;
use transom_oci::{Descriptor, Digest};

use crate::Error;
use crate::error::Result;
use crate::names::{Reference, RepositoryName};
use crate::settings::SetupError;
use crate::source::{Content, Pending, Source};
use crate::store::{Page, Referrers, Store, Stored};

mod arrival;
mod blobs;
mod evict;
mod flights;
pub mod limits;
mod lists;
mod manifests;
mod metrics;
mod settings;
mod upstream;

pub use metrics::Metrics;
pub use settings::Settings;

use flights::Flights;
use upstream::Upstream;

/// The folder of blobs that arrive, in that of state.
pub(crate) const ARRIVING: &str = "arriving";

/// A blob of a repository.
type BlobKey = (RepositoryName, Digest);

/// All other registries that there is a cache of. Clones are the same.
#[derive(Clone, Debug)]
pub struct Proxies {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    /// Those with the longest prefix first.
    upstreams: Vec<Arc<Upstream>>,
    /// Where blobs are while they arrive, if the driver has no files.
    folder: Option<PathBuf>,
    arriving: Arc<Semaphore>,
    blobs: Flights<BlobKey, Content>,
    sizes: Flights<BlobKey, u64>,
    manifests: Flights<(RepositoryName, Reference), Arc<Stored>>,
    tags: Flights<RepositoryName, Arc<Vec<String>>>,
    /// What manifests that came lately say of the sizes of their blobs.
    said: Mutex<HashMap<BlobKey, u64>>,
    metrics: Metrics,
}

impl Proxies {
    /// A cache in a store. `folder` is where blobs are kept while they arrive, on drivers without files of this machine.
    ///
    /// # Errors
    /// [`SetupError`]: mistakes in the settings. Nobody is asked yet.
    pub fn new(
        settings: &[Settings],
        store: Store,
        folder: Option<PathBuf>,
        metrics: Metrics,
    ) -> Result<Proxies, SetupError> {
        let mut upstreams: Vec<Arc<Upstream>> = Vec::new();
        for settings in settings {
            if upstreams.iter().any(|other| other.prefix() == settings.prefix) {
                return Err(settings.wrong("prefix", "two have the same; a repository comes from one place"));
            }
            upstreams.push(Arc::new(Upstream::new(settings)?));
        }
        if folder.is_none() && !store.driver().capabilities().local_files && !upstreams.is_empty() {
            let problem = "[[proxy]] needs it on this driver: a folder of this machine, where blobs are while they arrive";
            return Err(SetupError::setting("state", problem));
        }
        upstreams.sort_by_key(|upstream| std::cmp::Reverse(upstream.prefix().len()));
        let inner = Inner {
            store,
            upstreams,
            folder,
            arriving: Arc::new(Semaphore::new(limits::ARRIVING)),
            blobs: Flights::default(),
            sizes: Flights::default(),
            manifests: Flights::default(),
            tags: Flights::default(),
            said: Mutex::default(),
            metrics,
        };
        let inner = Arc::new(inner);
        Ok(Proxies { inner })
    }
}

impl Inner {
    /// Where a repository comes from.
    fn find(&self, name: &RepositoryName) -> Option<&Arc<Upstream>> {
        self.upstreams
            .iter()
            .find(|upstream| upstream.rest(name).is_some())
    }

    fn upstream(&self, name: &RepositoryName) -> Result<Arc<Upstream>> {
        let unknown = || Error::RepositoryUnknown(name.clone());
        self.find(name).cloned().ok_or_else(unknown)
    }
}

impl Source for Proxies {
    fn covers(&self, name: &RepositoryName) -> bool {
        self.inner.find(name).is_some()
    }

    fn mirrored(&self, host: &str, name: &RepositoryName) -> Option<RepositoryName> {
        let below = RepositoryName::new(&format!("{host}/{name}")).ok()?;
        let upstream = self.inner.find(&below)?;
        (upstream.prefix() == host).then_some(below)
    }

    fn refusal(&self, name: &RepositoryName) -> String {
        let address = self.inner.find(name).map(|upstream| upstream.address());
        let address = address.unwrap_or_default();
        format!("it is a copy of what {address} has; push it there")
    }

    fn is_cache(&self, _name: &RepositoryName) -> bool {
        true
    }

    fn manifest<'a>(
        &'a self,
        name: &'a RepositoryName,
        reference: &'a Reference,
    ) -> Pending<'a, Arc<Stored>> {
        Box::pin(self.find_manifest(name, reference))
    }

    fn blob_size<'a>(&'a self, name: &'a RepositoryName, digest: &'a Digest) -> Pending<'a, u64> {
        Box::pin(self.find_size(name, digest))
    }

    fn blob<'a>(&'a self, name: &'a RepositoryName, digest: &'a Digest) -> Pending<'a, Content> {
        Box::pin(self.find_blob(name, digest))
    }

    fn tags<'a>(
        &'a self,
        name: &'a RepositoryName,
        last: Option<&'a str>,
        most: usize,
    ) -> Pending<'a, Page<String>> {
        Box::pin(self.list_tags(name, last, most))
    }

    fn referrers<'a>(
        &'a self,
        name: &'a RepositoryName,
        asked: Referrers<'a>,
    ) -> Pending<'a, Page<Descriptor>> {
        Box::pin(self.list_referrers(name, asked))
    }

    fn catalog(&self) -> Pending<'_, Vec<RepositoryName>> {
        // Those of which something was asked for are in the store.
        Box::pin(async { Ok(Vec::new()) })
    }
}
