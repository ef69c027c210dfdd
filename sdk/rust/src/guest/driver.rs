//! The component of a storage driver: what the host calls, in terms of a driver. `imports` is the other direction.

mod convert;
mod imports;

use std::cell::{OnceCell, RefCell};
use std::io::{Read, Write};
use std::marker::PhantomData;
use std::rc::Rc;

use self::bindings::exports::transom::storage::{driver, plugin};
use self::bindings::transom::storage::types;
use super::component::set_up;
use crate::storage::{Driver, Entries, Host, Kind, StorageError, Store, Upload};

pub(crate) use self::imports::{HostHttp, HostKeys, HostStore, config, now, random, secret};

/// The world's types and functions, generated from `wit/`.
#[allow(missing_docs, reason = "generated; the WIT text has the comments")]
#[allow(missing_debug_implementations, unreachable_pub, reason = "generated")]
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
pub mod bindings {
    wit_bindgen::generate!({
        path: ["wit/common", "wit/storage"],
        world: "transom:storage/storage-driver",
        with: {
            "transom:common/types@0.1.0": crate::guest::bindings::transom::common::types,
            "transom:common/log@0.1.0": crate::guest::bindings::transom::common::log,
        },
        generate_all,
        pub_export_macro: true,
    });
}

thread_local! {
    /// The driver of this instance, once it is open.
    static STORE: OnceCell<Rc<dyn Store>> = const { OnceCell::new() };
}

/// Most bytes of one read, and entries of one page.
const READ: usize = 256 * 1024;
const PAGE: u32 = 1000;

/// Implements the world's exports by a driver.
#[derive(Debug)]
pub struct DriverComponent<D>(PhantomData<D>);

/// Holds content that is being read.
pub struct OpenReader(RefCell<Box<dyn Read>>);

/// Holds content that is being written.
pub struct OpenWriter(RefCell<Box<dyn Upload>>);

/// Holds a list or a walk.
pub struct OpenEntries(RefCell<Box<dyn Entries>>);

impl std::fmt::Debug for OpenReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpenReader")
    }
}

impl std::fmt::Debug for OpenWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpenWriter")
    }
}

impl std::fmt::Debug for OpenEntries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpenEntries")
    }
}

/// The driver. The host opens it before it calls anything else.
fn store() -> Result<Rc<dyn Store>, StorageError> {
    let store = STORE.with(|store| store.get().cloned());
    store.ok_or_else(|| StorageError::Other("the driver is not open".to_owned()))
}

impl<D: Driver> plugin::Guest for DriverComponent<D> {
    fn describe() -> plugin::Info {
        set_up();
        let info = D::describe();
        plugin::Info {
            name: info.name,
            version: info.version,
        }
    }

    fn open() -> Result<(), plugin::OpenError> {
        set_up();
        let driver = D::open(&Host {}).map_err(convert::open_error)?;
        // Called once: nothing is replaced.
        STORE.with(|store| drop(store.set(Rc::new(driver))));
        Ok(())
    }
}

impl<D: Driver> driver::Guest for DriverComponent<D> {
    type Reader = OpenReader;
    type Writer = OpenWriter;
    type Entries = OpenEntries;

    fn capabilities_of() -> types::Capabilities {
        let capabilities = store().map(|store| store.capabilities());
        convert::capabilities(capabilities.unwrap_or_default())
    }

    fn get(path: String, limit: u64) -> Result<Vec<u8>, types::Error> {
        Ok(store()?.get(&path, limit)?)
    }

    fn put(path: String, content: Vec<u8>, condition: types::Condition) -> Result<(), types::Error> {
        Ok(store()?.put(&path, &content, condition.into())?)
    }

    fn read(path: String, offset: u64) -> Result<driver::Content, types::Error> {
        let content = store()?.read(&path, offset)?;
        Ok(driver::Content {
            file: content.file.into(),
            reader: driver::Reader::new(OpenReader(RefCell::new(content.body))),
        })
    }

    fn open_writer(path: String, mode: types::WriteMode) -> Result<driver::Writer, types::Error> {
        let writer = store()?.writer(&path, mode.into())?;
        Ok(driver::Writer::new(OpenWriter(RefCell::new(writer))))
    }

    fn stat(path: String) -> Result<types::Entry, types::Error> {
        Ok(store()?.stat(&path)?.into())
    }

    fn children(folder: String) -> Result<driver::Entries, types::Error> {
        Ok(entries(store()?.children(&folder)?))
    }

    fn rename(source: String, to: String) -> Result<(), types::Error> {
        Ok(store()?.rename(&source, &to)?)
    }

    fn delete(path: String) -> Result<(), types::Error> {
        Ok(store()?.delete(&path)?)
    }

    fn redirect(
        path: String,
        method: types::RedirectMethod,
        seconds: u32,
    ) -> Result<Option<String>, types::Error> {
        Ok(store()?.redirect(&path, method.into(), seconds)?)
    }

    fn walk(folder: String, after: Option<String>) -> Result<driver::Entries, types::Error> {
        Ok(entries(store()?.walk(&folder, after.as_deref())?))
    }
}

fn entries(entries: Box<dyn Entries>) -> driver::Entries {
    driver::Entries::new(OpenEntries(RefCell::new(entries)))
}

impl driver::GuestReader for OpenReader {
    fn read(&self, max: u32) -> Result<Vec<u8>, types::Error> {
        let mut bytes = vec![0; READ.min(max as usize)];
        let (mut reader, mut length) = (self.0.borrow_mut(), 0);
        while length < bytes.len() {
            match reader.read(&mut bytes[length..]).map_err(StorageError::from)? {
                0 => break,
                more => length += more,
            }
        }
        bytes.truncate(length);
        Ok(bytes)
    }
}

impl driver::GuestWriter for OpenWriter {
    fn size(&self) -> u64 {
        self.0.borrow().size()
    }

    fn write(&self, bytes: Vec<u8>) -> Result<(), types::Error> {
        let written = self.0.borrow_mut().write_all(&bytes);
        Ok(written.map_err(StorageError::from)?)
    }

    fn commit(writer: driver::Writer) -> Result<(), types::Error> {
        Ok(writer.into_inner::<OpenWriter>().0.into_inner().commit()?)
    }

    fn commit_to(writer: driver::Writer, to: String) -> Result<(), types::Error> {
        Ok(writer.into_inner::<OpenWriter>().0.into_inner().commit_to(&to)?)
    }

    fn close(writer: driver::Writer) -> Result<(), types::Error> {
        Ok(writer.into_inner::<OpenWriter>().0.into_inner().close()?)
    }

    fn cancel(writer: driver::Writer) -> Result<(), types::Error> {
        Ok(writer.into_inner::<OpenWriter>().0.into_inner().cancel()?)
    }
}

impl driver::GuestEntries for OpenEntries {
    fn next(&self, max: u32) -> Result<Vec<types::Entry>, types::Error> {
        let mut page = Vec::new();
        let mut entries = self.0.borrow_mut();
        while page.len() < PAGE.min(max) as usize {
            match entries.next()? {
                Some(entry) => page.push(entry.into()),
                None => break,
            }
        }
        Ok(page)
    }

    fn skip(&self, folder: String) {
        self.0.borrow_mut().skip(&folder);
    }
}
