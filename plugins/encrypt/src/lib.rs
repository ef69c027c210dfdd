//! A storage driver that stands on another and keeps everything encrypted there.
//!
//! Read `form` (what is kept, byte by byte), `seal` (content to that), `open` (and back), `context` (whose key it is).

mod context;
mod form;
mod open;
mod seal;

use std::rc::Rc;

use transom_sdk::Error;
use transom_sdk::storage::{
    Codec, Content, Driver, DriverInfo, Encoder, File, Host, Keys, StorageError, Store, Transform,
};

pub use context::context;
pub use form::{CHUNK, HEADER, MORE};

/// The driver. See `plugin.toml`.
#[derive(Debug)]
pub struct Encrypt(Transform<Encryption>);

/// How content becomes what is kept.
struct Encryption {
    keys: Rc<dyn Keys>,
}

impl Driver for Encrypt {
    fn describe() -> DriverInfo {
        DriverInfo::new("encrypt", env!("CARGO_PKG_VERSION"))
    }

    fn open(host: &Host) -> Result<Self, Error> {
        let codec = Encryption { keys: host.keys() };
        Ok(Encrypt(Transform::new(host.inner(), codec)))
    }
}

impl Codec for Encryption {
    const OWN: &'static str = ".transom-encrypt";

    fn encoder(&self, path: &str) -> Result<Box<dyn Encoder>, StorageError> {
        let key = self.keys.create(&context(path))?;
        Ok(Box::new(seal::Sealer::new(key)))
    }

    fn size(&self, _: &Rc<dyn Store>, _: &str, file: File) -> Result<u64, StorageError> {
        form::content_size(file.size)
    }

    fn read(
        &self,
        inner: &Rc<dyn Store>,
        path: &str,
        meant: &str,
        offset: u64,
    ) -> Result<Content, StorageError> {
        open::read(&*self.keys, &**inner, path, &context(meant), offset)
    }

    fn fits(&self, from: &str, to: &str) -> bool {
        let to = context(to);
        to.is_empty() || context(from) == to
    }
}

transom_sdk::delegate_store!(Encrypt);
transom_sdk::register_driver!(Encrypt);
