//! Lists and walks of a guest's, and what must hold of each entry.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use transom_storage::{Entry, Error, Kind, Pending, StoragePath, Walk};
use wasmtime::component::ResourceAny;

use super::content::{Held, time};
use super::driver::Answer;
use super::error::Asked;
use super::pool::{Core, Guest, Pool};
use crate::limits::{DRIVER_LIST_MAX, DRIVER_PAGE};
use crate::wit::storage_v0_1::types;

/// An entry, or the rule that it breaks.
pub(super) fn entry(entry: &types::Entry) -> Result<Entry, String> {
    let path = StoragePath::new(&entry.path).map_err(|error| format!("it named no path: {error}"))?;
    let kind = match entry.kind {
        types::Kind::Folder => Kind::Folder,
        types::Kind::File(file) => Kind::File {
            size: file.size,
            modified: file.modified.map(time).transpose()?,
        },
    };
    Ok(Entry { path, kind })
}

/// What must hold of entries: where they are, and their order.
struct Rules {
    folder: StoragePath,
    /// Whether only what is directly in the folder may come.
    direct: bool,
    /// What every further entry comes after.
    after: Option<StoragePath>,
    /// Whether that is content, which a folder of the same path may follow where paths are keys.
    content: bool,
}

impl Rules {
    fn page(&mut self, page: &[types::Entry]) -> Result<Vec<Entry>, String> {
        if page.len() > DRIVER_PAGE as usize {
            return Err(format!("it gave a page of {} entries", page.len()));
        }
        page.iter().map(|one| self.check(entry(one)?)).collect()
    }

    fn check(&mut self, entry: Entry) -> Result<Entry, String> {
        let (path, folder) = (&entry.path, &self.folder);
        let inside = match self.direct {
            true => path.parent().as_ref() == Some(folder),
            false => path.is_below(folder),
        };
        if !inside {
            return Err(format!("it gave {path}, which is not in {folder}"));
        }
        let follows =
            |after: &StoragePath| path > after || (path == after && self.content && entry.is_folder());
        if let Some(after) = self.after.as_ref().filter(|after| !follows(after)) {
            return Err(format!("it gave {path} after {after}, which is the wrong order"));
        }
        self.content = self.direct && !entry.is_folder();
        self.after = Some(path.clone());
        Ok(entry)
    }
}

/// All that is in a folder, by one call.
pub(super) fn list(guest: &mut Guest, folder: &StoragePath) -> Answer<Vec<Entry>> {
    let broke = |rule: String| wasmtime::Error::msg(rule);
    let (driver, store) = guest.driver();
    let handle = match driver.call_children(&mut *store, folder.as_str())? {
        Ok(handle) => handle,
        Err(error) => return Ok(Err(error)),
    };
    let mut rules = Rules {
        folder: folder.clone(),
        direct: true,
        after: None,
        content: false,
    };
    let mut all = Vec::new();
    let ended = loop {
        match driver.entries().call_next(&mut *store, handle, DRIVER_PAGE)? {
            Ok(page) if page.is_empty() => break Ok(()),
            Ok(page) => all.extend(rules.page(&page).map_err(broke)?),
            Err(error) => break Err(error),
        }
        if all.len() > DRIVER_LIST_MAX {
            return Err(broke(format!("it listed more than {DRIVER_LIST_MAX} entries")));
        }
    };
    handle.resource_drop(store)?;
    Ok(ended.map(|()| all))
}

/// A guest's walk.
pub(super) struct GuestWalk {
    /// Gone at the end and after an error.
    held: Option<Held>,
    core: Arc<Core>,
    asked: Asked,
    rules: Rules,
    page: VecDeque<Entry>,
    last: Option<Entry>,
    /// Folders that are left out, which the guest does not know yet.
    skips: Vec<StoragePath>,
    /// What is below this is left out, whatever the guest gives.
    skipped: Option<StoragePath>,
}

impl GuestWalk {
    pub(super) async fn open(
        pool: &Arc<Pool>,
        from: &StoragePath,
        after: Option<&StoragePath>,
    ) -> Result<GuestWalk, Error> {
        let asked = Asked::new("walk", from);
        let mut lease = pool.lease().await?;
        let (folder, start) = (from.clone(), after.cloned());
        let opened = lease.call(move |guest| {
            let (driver, store) = guest.driver();
            driver.call_walk(store, folder.as_str(), start.as_ref().map(StoragePath::as_str))
        });
        let core = Arc::clone(&pool.core);
        let opened = opened.await.map_err(|fault| core.fault(&asked, fault))?;
        let handle = opened.map_err(|error| core.told(&asked, error))?;
        Ok(GuestWalk {
            held: Some(Held::new(lease, handle)),
            core,
            asked,
            rules: Rules {
                folder: from.clone(),
                direct: false,
                after: after.cloned(),
                content: false,
            },
            page: VecDeque::new(),
            last: None,
            skips: Vec::new(),
            skipped: None,
        })
    }

    async fn advance(&mut self) -> Result<Option<Entry>, Error> {
        loop {
            let Some(entry) = self.page.pop_front() else {
                match self.turn().await? {
                    true => continue,
                    false => return Ok(None),
                }
            };
            if self
                .skipped
                .as_ref()
                .is_some_and(|folder| entry.path.is_below(folder))
            {
                continue;
            }
            self.last = Some(entry.clone());
            return Ok(Some(entry));
        }
    }

    /// Gets the next page; `false` at the end.
    async fn turn(&mut self) -> Result<bool, Error> {
        let Some(held) = &mut self.held else {
            return Ok(false);
        };
        let skips = std::mem::take(&mut self.skips);
        let page = held
            .call(&self.asked, move |guest, handle| next(guest, handle, &skips))
            .await?;
        let page = self
            .rules
            .page(&page)
            .map_err(|rule| self.core.broke(&self.asked, rule))?;
        if page.is_empty() {
            self.held = None;
        }
        self.page = page.into();
        Ok(!self.page.is_empty())
    }
}

fn next(guest: &mut Guest, handle: ResourceAny, skips: &[StoragePath]) -> Answer<Vec<types::Entry>> {
    let (driver, store) = guest.driver();
    for folder in skips {
        driver.entries().call_skip(&mut *store, handle, folder.as_str())?;
    }
    driver.entries().call_next(store, handle, DRIVER_PAGE)
}

impl Walk for GuestWalk {
    fn next(&mut self) -> Pending<'_, Option<Entry>> {
        Box::pin(async move {
            let next = self.advance().await;
            if next.is_err() {
                self.held = None;
                self.page.clear();
            }
            next
        })
    }

    fn skip(&mut self) {
        let Some(folder) = self.last.take().filter(Entry::is_folder) else {
            return;
        };
        // Unless what comes next is elsewhere anyway.
        let goes_on = |next: &Entry| next.path.is_below(&folder.path);
        if self.page.back().is_none_or(goes_on) {
            self.skips.push(folder.path.clone());
        }
        self.skipped = Some(folder.path);
    }
}

impl fmt::Debug for GuestWalk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestWalk")
            .field("folder", &self.rules.folder)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}
