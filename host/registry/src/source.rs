//! Repositories whose content is not in the store, or not yet: what the server asks of whoever has it. `chain` makes one of several.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use transom_oci::{Descriptor, Digest};
use transom_storage::Reader;

use crate::error::Result;
use crate::names::{Reference, RepositoryName};
use crate::store::{Page, Referrers, Stored};

mod chain;

pub use chain::Chain;

/// An answer to wait for.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Has repositories, to be read only. The client was let in before it is asked.
pub trait Source: Send + Sync + fmt::Debug + 'static {
    /// Whether a repository is one of these, also one in which there is nothing.
    fn covers(&self, name: &RepositoryName) -> bool;

    /// The repository that is meant by the name that one has on another host (`?ns=`), if it is one of these.
    fn mirrored(&self, host: &str, name: &RepositoryName) -> Option<RepositoryName>;

    /// Why a repository cannot be pushed to, and what to do instead.
    fn refusal(&self, name: &RepositoryName) -> String;

    /// Whether what is in the store of it may be deleted there: it comes back when it is asked for.
    fn is_cache(&self, name: &RepositoryName) -> bool;

    /// A manifest.
    fn manifest<'a>(&'a self, name: &'a RepositoryName, reference: &'a Reference)
    -> Pending<'a, Arc<Stored>>;

    /// The size of a blob in bytes.
    fn blob_size<'a>(&'a self, name: &'a RepositoryName, digest: &'a Digest) -> Pending<'a, u64>;

    /// A blob.
    fn blob<'a>(&'a self, name: &'a RepositoryName, digest: &'a Digest) -> Pending<'a, Content>;

    /// Tags, as [`Store::tags`](crate::Store::tags) gives them.
    fn tags<'a>(
        &'a self,
        name: &'a RepositoryName,
        last: Option<&'a str>,
        most: usize,
    ) -> Pending<'a, Page<String>>;

    /// Referrers; none if it knows of none. Otherwise as [`Store::referrers`](crate::Store::referrers) gives them.
    fn referrers<'a>(
        &'a self,
        name: &'a RepositoryName,
        asked: Referrers<'a>,
    ) -> Pending<'a, Page<Descriptor>>;

    /// The repositories that are not in the store, in any order.
    fn catalog(&self) -> Pending<'_, Vec<RepositoryName>>;
}

/// Where the bytes of a blob are.
#[derive(Clone, Debug)]
pub enum Content {
    /// In the store, by now.
    Stored,
    /// Elsewhere.
    Elsewhere(Arc<dyn Readable>),
}

/// Bytes that can be read from anywhere on, by several at once.
pub trait Readable: Send + Sync + fmt::Debug + 'static {
    /// How many there are.
    fn size(&self) -> u64;

    /// Those from an offset on. They may be waited for, and an error in the middle means that none of them counts.
    fn read(&self, offset: u64) -> Pending<'_, Reader>;
}
