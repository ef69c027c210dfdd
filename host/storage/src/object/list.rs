//! Lists, walks and deletions: what is below a key.

use std::collections::BTreeMap;

use object_store::ObjectStoreExt;
use object_store::path::Path;
use tokio_stream::StreamExt;

use super::errors::failed;
use super::upload::{State, state_key};
use super::{ObjectDriver, UPLOAD, entry};
use crate::walk::{Folders, Listing};
use crate::{Entry, Error, Pending, StoragePath, limits};

impl ObjectDriver {
    /// The key below which a folder's content is; none for the whole store.
    fn prefix(&self, folder: &StoragePath) -> Option<Path> {
        Some(self.key(folder)).filter(|key| !key.as_ref().is_empty())
    }

    pub(super) async fn list_folder(&self, folder: &StoragePath) -> Result<Vec<Entry>, Error> {
        let prefix = self.prefix(folder);
        let found = self.objects.list_with_delimiter(prefix.as_ref()).await;
        let found = found.map_err(failed(self.name, "list", folder))?;
        if found.objects.is_empty() && found.common_prefixes.is_empty() && !folder.is_root() {
            return Err(self.not_found(folder));
        }
        let contents = found
            .objects
            .iter()
            .filter_map(|meta| self.path(&meta.location).map(|path| entry(path, meta)));
        let folders = found.common_prefixes.iter().filter_map(|key| self.path(key));
        let mut entries: Vec<Entry> = contents
            // A key that ends with a slash, as some programs make for a folder.
            .filter(|entry| entry.path.is_below(folder))
            .chain(folders.map(Entry::folder))
            .collect();
        // Content before a folder of the same path.
        entries.sort_by(|a, b| a.path.cmp(&b.path).then(a.is_folder().cmp(&b.is_folder())));
        Ok(entries)
    }

    /// All that is below a folder, with the folders on the way; `None` if it is too much to hold.
    async fn list_deep(&self, folder: &StoragePath) -> Result<Option<Vec<Entry>>, Error> {
        let mut found = self.objects.list(self.prefix(folder).as_ref());
        let (mut entries, mut keys) = (BTreeMap::new(), 0);
        while let Some(meta) = found.next().await {
            let meta = meta.map_err(failed(self.name, "list", folder))?;
            keys += 1;
            if keys > self.walk_keys {
                return Ok(None);
            }
            let Some(path) = self.path(&meta.location).filter(|path| path.is_below(folder)) else {
                continue;
            };
            let mut above = path.parent();
            while let Some(path) = above.filter(|path| path.is_below(folder)) {
                above = path.parent();
                entries.entry(path.clone()).or_insert_with(|| Entry::folder(path));
            }
            entries.insert(path.clone(), entry(path, &meta));
        }
        if keys == 0 && !folder.is_root() {
            return Err(self.not_found(folder));
        }
        Ok(Some(entries.into_values().collect()))
    }

    /// Deletes content and all that is below it, and the uploads of both.
    pub(super) async fn delete_all(&self, path: &StoragePath) -> Result<(), Error> {
        path.not_root()?;
        let failed = |error| failed(self.name, "delete", path)(error);
        let mut keys = Vec::new();
        let own = self.key(path);
        for key in [own.clone(), state_key(&own)] {
            match self.objects.head(&key).await {
                Ok(_) => keys.push(key),
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        let mut found = self.objects.list(Some(&own)).fuse();
        let mut any = !keys.is_empty();
        loop {
            while keys.len() < limits::DELETE_KEYS
                && let Some(meta) = found.next().await
            {
                keys.push(meta.map_err(failed)?.location);
            }
            if keys.is_empty() {
                break;
            }
            any = true;
            self.delete_keys(path, std::mem::take(&mut keys)).await?;
        }
        if any { Ok(()) } else { Err(self.not_found(path)) }
    }

    async fn delete_keys(&self, path: &StoragePath, keys: Vec<Path>) -> Result<(), Error> {
        for key in keys.iter().filter(|key| key.as_ref().ends_with(UPLOAD)) {
            if let Some(state) = State::read(self, key, path).await? {
                state.abort(self).await;
            }
        }
        let keys = Box::pin(tokio_stream::iter(keys.into_iter().map(Ok)));
        let mut deleted = self.objects.delete_stream(keys);
        while let Some(result) = deleted.next().await {
            match result.map_err(failed(self.name, "delete", path)) {
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Folders for ObjectDriver {
    fn read<'a>(&'a self, folder: &'a StoragePath) -> Pending<'a, Listing> {
        Box::pin(async move {
            // One request for a thousand keys, instead of one for each folder; and no more keys than memory is for.
            if let Some(entries) = self.list_deep(folder).await? {
                return Ok(Listing { entries, deep: true });
            }
            let entries = self.list_folder(folder).await?;
            Ok(Listing { entries, deep: false })
        })
    }
}
