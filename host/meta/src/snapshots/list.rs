//! Lists, page by page.

use std::sync::Arc;

use bytes::Bytes;

use super::{Info, Snapshots, info};
use crate::filter::Filters;
use crate::metadata::matching;
use crate::names::Caller;
use crate::record::SnapshotRecord;
use crate::{Error, key};

impl Snapshots {
    /// A page of the snapshots that match, in byte order of their keys, beginning after `after`; and where the next page begins,
    /// if there is one. Fields: `kind`, `name`, `parent`, `labels`.
    ///
    /// # Errors
    /// [`Error::Filter`] if a plugin fails.
    pub async fn list_page(
        &self,
        caller: &Caller,
        filters: &Arc<Filters>,
        after: Option<&str>,
    ) -> Result<(Vec<Info>, Option<String>), Error> {
        let mut range = key::snapshots(&caller.namespace, self.name());
        if let Some(after) = after {
            range = range.after(&self.key(&caller.namespace, after));
        }
        let (page, rest) = self.inner.page::<SnapshotRecord>(&range).await?;
        let read = |(key, record): (Bytes, SnapshotRecord)| {
            let (_, _, name) = key::parse_snapshot(&key)?;
            Some(info(name, record))
        };
        let page: Vec<Info> = page.into_iter().filter_map(read).collect();
        let next = rest.and_then(|_| page.last().map(|last| last.name.clone()));
        Ok((matching(filters, page).await?, next))
    }
}
