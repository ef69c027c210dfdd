//! A plugin as a [`StorageDriver`]: each call, and what is checked of its answer.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use transom_storage::{
    Capabilities, Condition, Entry, Error, Pending, Reader, Redirect, RedirectMethod, StorageDriver,
    StoragePath, Walk, WriteMode, Writer,
};

use super::Inner;
use super::content::{self, GuestWriter};
use super::entries::{self, GuestWalk};
use super::error::{Asked, OpenError};
use super::grants::Grants;
use super::pool::{Core, Guest, Pool};
use crate::error::{Fault, GuestError};
use crate::limits::DRIVER_WHOLE_BYTES_MAX;
use crate::wit::storage_v0_1::types;

/// An answer of a guest.
pub(super) type Answer<T> = wasmtime::Result<Result<T, types::Error>>;

/// A driver that is a plugin.
pub(super) struct WasmDriver {
    pool: Arc<Pool>,
    capabilities: Capabilities,
}

impl WasmDriver {
    pub(super) fn open(plugin: Arc<Inner>, grants: Grants) -> Result<Arc<dyn StorageDriver>, OpenError> {
        let core = Core {
            plugin,
            grants: Arc::new(grants),
        };
        let pool = Pool::new(core);
        let flags = pool.call_and_wait(|guest| {
            let (driver, store) = guest.driver();
            driver.call_capabilities_of(store)
        });
        let flags = flags.map_err(|fault| match fault {
            Fault::Guest(GuestError::Config { key, message }) => OpenError::Config {
                key,
                message: pool.core.grants.redact(&message),
            },
            Fault::Guest(GuestError::Other(text)) => {
                let text = pool.core.grants.redact(&text);
                OpenError::Failed(Box::new(pool.core.failed(Fault::Guest(GuestError::Other(text)))))
            }
            fault => OpenError::Failed(Box::new(pool.core.failed(fault))),
        })?;
        let has = |flag| flags.contains(flag);
        let capabilities = Capabilities {
            put_if_absent: has(types::Capabilities::PUT_IF_ABSENT),
            local_files: false,
            redirects: has(types::Capabilities::REDIRECTS),
            quick_rename: has(types::Capabilities::QUICK_RENAME),
            durable: has(types::Capabilities::DURABLE),
            together: false,
            flat: has(types::Capabilities::FLAT),
        };
        Ok(Arc::new(WasmDriver {
            pool: Arc::new(pool),
            capabilities,
        }))
    }

    /// A call that is over with its answer.
    async fn ask<T: Send + 'static>(
        &self,
        asked: &Asked,
        work: impl FnOnce(&mut Guest) -> Answer<T> + Send + 'static,
    ) -> Result<T, Error> {
        let mut lease = self.pool.lease().await?;
        let core = &self.pool.core;
        let answer = lease.call(work).await.map_err(|fault| core.fault(asked, fault))?;
        answer.map_err(|error| core.told(asked, error))
    }

    /// Content that is too large to be put in one piece.
    async fn put_large(&self, path: &StoragePath, content: Bytes, condition: Condition) -> Result<(), Error> {
        if condition == Condition::Absent {
            return Err(Error::TooLarge {
                driver: self.pool.core.name(),
                path: path.clone(),
                limit: DRIVER_WHOLE_BYTES_MAX,
            });
        }
        let mut writer = self.writer(path, WriteMode::Create).await?;
        writer.write(content).await?;
        writer.commit().await
    }
}

impl fmt::Debug for WasmDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmDriver")
            .field("name", &self.name())
            .field("inner", &self.pool.core.grants.inner)
            .finish_non_exhaustive()
    }
}

impl StorageDriver for WasmDriver {
    fn name(&self) -> &str {
        &self.pool.core.plugin.name
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn get<'a>(&'a self, path: &'a StoragePath, limit: u64) -> Pending<'a, Bytes> {
        Box::pin(async move {
            path.not_root()?;
            if limit > DRIVER_WHOLE_BYTES_MAX {
                return self.read(path, 0).await?.collect(self.name(), limit).await;
            }
            let (asked, wanted) = (Asked::new("get", path), path.clone());
            let content = self.ask(&asked, move |guest| {
                let (driver, store) = guest.driver();
                driver.call_get(store, wanted.as_str(), limit)
            });
            let content = content.await?;
            if content.len() as u64 > limit {
                let rule = format!("it got {} bytes where {limit} are allowed", content.len());
                return Err(self.pool.core.broke(&asked, rule));
            }
            Ok(content.into())
        })
    }

    fn put<'a>(&'a self, path: &'a StoragePath, content: Bytes, condition: Condition) -> Pending<'a, ()> {
        Box::pin(async move {
            path.not_root()?;
            if content.len() as u64 > DRIVER_WHOLE_BYTES_MAX {
                return self.put_large(path, content, condition).await;
            }
            let condition = match condition {
                Condition::Always => types::Condition::Always,
                Condition::Absent => types::Condition::Absent,
            };
            let wanted = path.clone();
            self.ask(&Asked::new("put", path), move |guest| {
                let (driver, store) = guest.driver();
                driver.call_put(store, wanted.as_str(), &content, condition)
            })
            .await
        })
    }

    fn read<'a>(&'a self, path: &'a StoragePath, offset: u64) -> Pending<'a, Reader> {
        Box::pin(async move {
            path.not_root()?;
            content::read(&self.pool, path, offset).await
        })
    }

    fn writer<'a>(&'a self, path: &'a StoragePath, mode: WriteMode) -> Pending<'a, Box<dyn Writer>> {
        Box::pin(async move {
            path.not_root()?;
            let writer = GuestWriter::open(&self.pool, path, mode).await?;
            Ok(Box::new(writer) as Box<dyn Writer>)
        })
    }

    fn stat<'a>(&'a self, path: &'a StoragePath) -> Pending<'a, Entry> {
        Box::pin(async move {
            let (asked, wanted) = (Asked::new("look at", path), path.clone());
            let entry = self.ask(&asked, move |guest| {
                let (driver, store) = guest.driver();
                driver.call_stat(store, wanted.as_str())
            });
            let entry = entry.await?;
            let broke = |rule: String| self.pool.core.broke(&asked, rule);
            let entry = entries::entry(&entry).map_err(broke)?;
            match entry.path == *path {
                true => Ok(entry),
                false => Err(broke(format!(
                    "it was asked for {path} and answered for {}",
                    entry.path
                ))),
            }
        })
    }

    fn list<'a>(&'a self, folder: &'a StoragePath) -> Pending<'a, Vec<Entry>> {
        Box::pin(async move {
            let wanted = folder.clone();
            self.ask(&Asked::new("list", folder), move |guest| {
                entries::list(guest, &wanted)
            })
            .await
        })
    }

    fn rename<'a>(&'a self, from: &'a StoragePath, to: &'a StoragePath) -> Pending<'a, ()> {
        Box::pin(async move {
            let (source, target) = (from.not_root()?.clone(), to.not_root()?.clone());
            self.ask(&Asked::new("rename", from), move |guest| {
                let (driver, store) = guest.driver();
                driver.call_rename(store, source.as_str(), target.as_str())
            })
            .await
        })
    }

    fn delete<'a>(&'a self, path: &'a StoragePath) -> Pending<'a, ()> {
        Box::pin(async move {
            let wanted = path.not_root()?.clone();
            self.ask(&Asked::new("delete", path), move |guest| {
                let (driver, store) = guest.driver();
                driver.call_delete(store, wanted.as_str())
            })
            .await
        })
    }

    fn redirect<'a>(&'a self, path: &'a StoragePath, request: &'a Redirect) -> Pending<'a, Option<String>> {
        Box::pin(async move {
            let wanted = path.not_root()?.clone();
            if !self.capabilities.redirects {
                return Ok(None);
            }
            let method = match request.method {
                RedirectMethod::Get => types::RedirectMethod::Get,
                RedirectMethod::Head => types::RedirectMethod::Head,
            };
            let seconds = u32::try_from(request.expires.as_secs()).unwrap_or(u32::MAX);
            let asked = Asked::new("make a URL for", path);
            let url = self.ask(&asked, move |guest| {
                let (driver, store) = guest.driver();
                driver.call_redirect(store, wanted.as_str(), method, seconds)
            });
            match url.await? {
                Some(url) if reqwest::Url::parse(&url).is_err() => {
                    Err(self.pool.core.broke(&asked, "its URL is none"))
                }
                url => Ok(url),
            }
        })
    }

    fn walk<'a>(
        &'a self,
        from: &'a StoragePath,
        after: Option<&'a StoragePath>,
    ) -> Pending<'a, Box<dyn Walk>> {
        Box::pin(async move {
            let walk = GuestWalk::open(&self.pool, from, after).await?;
            Ok(Box::new(walk) as Box<dyn Walk>)
        })
    }
}
