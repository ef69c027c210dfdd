//! The driver that a plugin stands on, as the plugin sees it.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio_stream::StreamExt;
use transom_storage::{
    Condition, Entry, Error, Kind, Reader, Redirect, RedirectMethod, StoragePath, Walk, WriteMode, Writer,
};
use wasmtime::component::Resource;

use super::error::to_guest;
use super::powers::{Told, instant};
use crate::limits::{CALL_BYTES_MAX, DRIVER_PAGE, DRIVER_WHOLE_BYTES_MAX, READ_BYTES_MAX};
use crate::state::State;
use crate::wit::storage_v0_1::{driver, types};

/// Content of the inner driver that is being read. It is taken out while it is waited for.
#[allow(unreachable_pub, reason = "the generated module exports it again")]
pub struct InnerReader {
    reader: Option<Reader>,
    rest: Bytes,
}

/// Content of the inner driver that is being written. It is taken out while it is waited for.
#[allow(unreachable_pub, reason = "the generated module exports it again")]
pub struct InnerWriter {
    writer: Option<Box<dyn Writer>>,
    size: u64,
}

/// A list or a walk of the inner driver.
#[allow(unreachable_pub, reason = "the generated module exports it again")]
pub struct InnerEntries {
    source: Entries,
    /// What is below this is left out.
    skipped: Option<StoragePath>,
}

enum Entries {
    List(VecDeque<Entry>),
    /// With what it gave last.
    Walk(Option<Box<dyn Walk>>, Option<StoragePath>),
}

/// The handle was used after an error or while it is in use.
fn finished() -> types::Error {
    types::Error::Other("this was used after its end".to_owned())
}

fn sound(path: &str) -> Result<StoragePath, types::Error> {
    StoragePath::new(path).map_err(to_guest)
}

/// Leaves the function with what a guest did wrong.
macro_rules! sound {
    ($path:expr) => {
        match sound(&$path) {
            Ok(path) => path,
            Err(error) => return Ok(Err(error)),
        }
    };
}

fn file(entry: &Entry) -> types::File {
    types::File {
        size: entry.size(),
        modified: entry.modified().map(instant),
    }
}

fn entry(entry: &Entry) -> types::Entry {
    types::Entry {
        path: entry.path.as_str().to_owned(),
        kind: match entry.kind {
            Kind::Folder => types::Kind::Folder,
            Kind::File { .. } => types::Kind::File(file(entry)),
        },
    }
}

impl driver::Host for State {
    fn capabilities_of(&mut self) -> wasmtime::Result<types::Capabilities> {
        let powers = self.powers()?;
        let mut flags = types::Capabilities::empty();
        let Some(inner) = powers.grants.inner.as_ref().filter(|_| powers.asks_for_inner) else {
            return Ok(flags);
        };
        let has = inner.capabilities();
        for (flag, has) in [
            (types::Capabilities::PUT_IF_ABSENT, has.put_if_absent),
            (types::Capabilities::REDIRECTS, has.redirects),
            (types::Capabilities::QUICK_RENAME, has.quick_rename),
            (types::Capabilities::DURABLE, has.durable),
            (types::Capabilities::FLAT, has.flat),
        ] {
            if has {
                flags |= flag;
            }
        }
        Ok(flags)
    }

    fn get(&mut self, path: String, limit: u64) -> Told<Vec<u8>> {
        let path = sound!(path);
        let limit = limit.min(DRIVER_WHOLE_BYTES_MAX);
        let content = self.ask_inner(|inner| async move { inner.get(&path, limit).await })?;
        if let Ok(content) = &content {
            self.usage.read += content.len() as u64;
        }
        Ok(content.map(Vec::from))
    }

    fn put(&mut self, path: String, content: Vec<u8>, condition: types::Condition) -> Told<()> {
        let path = sound!(path);
        self.usage.written += content.len() as u64;
        if content.len() as u64 > DRIVER_WHOLE_BYTES_MAX {
            return Ok(Err(types::Error::TooLarge(DRIVER_WHOLE_BYTES_MAX)));
        }
        let condition = match condition {
            types::Condition::Always => Condition::Always,
            types::Condition::Absent => Condition::Absent,
        };
        self.ask_inner(|inner| async move { inner.put(&path, content.into(), condition).await })
    }

    fn read(&mut self, path: String, offset: u64) -> Told<driver::Content> {
        let path = sound!(path);
        let reader = match self.ask_inner(|inner| async move { inner.read(&path, offset).await })? {
            Ok(reader) => reader,
            Err(error) => return Ok(Err(error)),
        };
        let file = file(reader.entry());
        let reader = InnerReader {
            reader: Some(reader),
            rest: Bytes::new(),
        };
        let reader = self.powers()?.table.push(reader)?;
        Ok(Ok(driver::Content { file, reader }))
    }

    fn open_writer(&mut self, path: String, mode: types::WriteMode) -> Told<Resource<InnerWriter>> {
        let path = sound!(path);
        let mode = match mode {
            types::WriteMode::Create => WriteMode::Create,
            types::WriteMode::Append => WriteMode::Append,
        };
        match self.ask_inner(|inner| async move { inner.writer(&path, mode).await })? {
            Err(error) => Ok(Err(error)),
            Ok(writer) => {
                let writer = InnerWriter {
                    size: writer.size(),
                    writer: Some(writer),
                };
                Ok(Ok(self.powers()?.table.push(writer)?))
            }
        }
    }

    fn stat(&mut self, path: String) -> Told<types::Entry> {
        let path = sound!(path);
        let found = self.ask_inner(|inner| async move { inner.stat(&path).await })?;
        Ok(found.map(|found| entry(&found)))
    }

    fn children(&mut self, folder: String) -> Told<Resource<InnerEntries>> {
        let folder = sound!(folder);
        let listed = self.ask_inner(|inner| async move { inner.list(&folder).await })?;
        self.entries(listed.map(|listed| Entries::List(listed.into())))
    }

    fn rename(&mut self, source: String, to: String) -> Told<()> {
        let (source, to) = (sound!(source), sound!(to));
        self.ask_inner(|inner| async move { inner.rename(&source, &to).await })
    }

    fn delete(&mut self, path: String) -> Told<()> {
        let path = sound!(path);
        self.ask_inner(|inner| async move { inner.delete(&path).await })
    }

    fn redirect(
        &mut self,
        path: String,
        method: types::RedirectMethod,
        seconds: u32,
    ) -> Told<Option<String>> {
        let path = sound!(path);
        let request = Redirect {
            method: match method {
                types::RedirectMethod::Get => RedirectMethod::Get,
                types::RedirectMethod::Head => RedirectMethod::Head,
            },
            expires: std::time::Duration::from_secs(seconds.into()),
        };
        self.ask_inner(|inner| async move { inner.redirect(&path, &request).await })
    }

    fn walk(&mut self, folder: String, after: Option<String>) -> Told<Resource<InnerEntries>> {
        let folder = sound!(folder);
        let after = match after {
            Some(after) => Some(sound!(after)),
            None => None,
        };
        let walk = self.ask_inner(|inner| async move { inner.walk(&folder, after.as_ref()).await })?;
        self.entries(walk.map(|walk| Entries::Walk(Some(walk), None)))
    }
}

impl State {
    fn entries(&mut self, source: Result<Entries, types::Error>) -> Told<Resource<InnerEntries>> {
        match source {
            Err(error) => Ok(Err(error)),
            Ok(source) => {
                let entries = InnerEntries {
                    source,
                    skipped: None,
                };
                Ok(Ok(self.powers()?.table.push(entries)?))
            }
        }
    }

    fn end<F>(&mut self, writer: Resource<InnerWriter>, end: impl FnOnce(Box<dyn Writer>) -> F) -> Told<()>
    where
        F: Future<Output = Result<(), Error>>,
    {
        match self.powers()?.table.delete(writer)?.writer {
            None => Ok(Err(finished())),
            Some(writer) => Ok(self.wait(end(writer))?.map_err(to_guest)),
        }
    }
}

impl driver::HostReader for State {
    fn read(&mut self, this: Resource<InnerReader>, max: u32) -> Told<Vec<u8>> {
        let max = READ_BYTES_MAX.min(max as usize);
        let held = self.powers()?.table.get_mut(&this)?;
        if held.rest.is_empty() && max > 0 {
            let Some(mut reader) = held.reader.take() else {
                return Ok(Err(finished()));
            };
            let chunk = self.wait(reader.next())?;
            let held = self.powers()?.table.get_mut(&this)?;
            match chunk {
                Some(Err(error)) => return Ok(Err(to_guest(error))),
                Some(Ok(chunk)) => held.rest = chunk,
                None => {}
            }
            held.reader = Some(reader);
        }
        let held = self.powers()?.table.get_mut(&this)?;
        let chunk = held.rest.split_to(held.rest.len().min(max));
        self.usage.read += chunk.len() as u64;
        Ok(Ok(chunk.into()))
    }

    fn drop(&mut self, this: Resource<InnerReader>) -> wasmtime::Result<()> {
        self.powers()?.table.delete(this)?;
        Ok(())
    }
}

impl driver::HostWriter for State {
    fn size(&mut self, this: Resource<InnerWriter>) -> wasmtime::Result<u64> {
        Ok(self.powers()?.table.get(&this)?.size)
    }

    fn write(&mut self, this: Resource<InnerWriter>, bytes: Vec<u8>) -> Told<()> {
        if bytes.len() > CALL_BYTES_MAX {
            return Err(wasmtime::Error::msg(format!(
                "it wrote {} bytes at once",
                bytes.len()
            )));
        }
        self.usage.written += bytes.len() as u64;
        let held = self.powers()?.table.get_mut(&this)?;
        let Some(mut writer) = held.writer.take() else {
            return Ok(Err(finished()));
        };
        let written = self.wait(writer.write(bytes.into()))?;
        let held = self.powers()?.table.get_mut(&this)?;
        held.size = writer.size();
        held.writer = Some(writer);
        Ok(written.map_err(to_guest))
    }

    fn commit(&mut self, writer: Resource<InnerWriter>) -> Told<()> {
        self.end(writer, <dyn Writer>::commit)
    }

    fn commit_to(&mut self, writer: Resource<InnerWriter>, to: String) -> Told<()> {
        let to = sound!(to);
        self.end(writer, |writer| writer.commit_to(&to))
    }

    fn close(&mut self, writer: Resource<InnerWriter>) -> Told<()> {
        self.end(writer, <dyn Writer>::close)
    }

    fn cancel(&mut self, writer: Resource<InnerWriter>) -> Told<()> {
        self.end(writer, <dyn Writer>::cancel)
    }

    fn drop(&mut self, this: Resource<InnerWriter>) -> wasmtime::Result<()> {
        self.powers()?.table.delete(this)?;
        Ok(())
    }
}

/// Up to `max` entries of a walk, without those below a folder that is left out.
async fn page(walk: &mut dyn Walk, max: usize, skipped: Option<&StoragePath>) -> Result<Vec<Entry>, Error> {
    let mut page: Vec<Entry> = Vec::new();
    while page.len() < max
        && let Some(entry) = walk.next().await?
    {
        if skipped.is_none_or(|folder| !entry.path.is_below(folder)) {
            page.push(entry);
        }
    }
    Ok(page)
}

impl driver::HostEntries for State {
    fn next(&mut self, this: Resource<InnerEntries>, max: u32) -> Told<Vec<types::Entry>> {
        let max = max.min(DRIVER_PAGE) as usize;
        let held = self.powers()?.table.get_mut(&this)?;
        let entries = match &mut held.source {
            Entries::List(rest) => {
                let rest = rest.drain(..max.min(rest.len()));
                return Ok(Ok(rest.map(|found| entry(&found)).collect()));
            }
            Entries::Walk(walk, _) => walk.take(),
        };
        let skipped = held.skipped.clone();
        let Some(mut walk) = entries else {
            return Ok(Err(finished()));
        };
        let found = match self.wait(page(&mut *walk, max, skipped.as_ref()))? {
            Ok(found) => found,
            Err(error) => return Ok(Err(to_guest(error))),
        };
        let held = self.powers()?.table.get_mut(&this)?;
        held.source = Entries::Walk(Some(walk), found.last().map(|last| last.path.clone()));
        Ok(Ok(found.iter().map(entry).collect()))
    }

    fn skip(&mut self, this: Resource<InnerEntries>, folder: String) -> wasmtime::Result<()> {
        let folder = StoragePath::new(&folder).map_err(|error| wasmtime::Error::msg(error.to_string()))?;
        let held = self.powers()?.table.get_mut(&this)?;
        if let Entries::Walk(Some(walk), last) = &mut held.source
            && last.as_ref() == Some(&folder)
        {
            walk.skip();
        }
        held.skipped = Some(folder);
        Ok(())
    }

    fn drop(&mut self, this: Resource<InnerEntries>) -> wasmtime::Result<()> {
        self.powers()?.table.delete(this)?;
        Ok(())
    }
}
