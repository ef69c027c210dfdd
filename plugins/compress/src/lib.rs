//! A storage driver that stands on another and keeps everything compressed there: zstd frames of 256 KiB, and the table of
//! the seekable format at the end. What is kept is a file that `zstd -d` decompresses.
//!
//! Read `table` (which frames there are), `pack` (content to frames), `unpack` (and back).

mod pack;
mod table;
mod unpack;

use std::rc::Rc;

use transom_sdk::Error;
use transom_sdk::storage::{
    Codec, Content, Driver, DriverInfo, Encoder, File, Host, StorageError, Store, Transform,
};

pub use pack::FRAME;

/// The driver. See `plugin.toml`.
#[derive(Debug)]
pub struct Compress(Transform<Compression>);

/// How content becomes what is kept.
struct Compression;

impl Driver for Compress {
    fn describe() -> DriverInfo {
        DriverInfo::new("compress", env!("CARGO_PKG_VERSION"))
    }

    fn open(host: &Host) -> Result<Self, Error> {
        Ok(Compress(Transform::new(host.inner(), Compression)))
    }
}

impl Codec for Compression {
    const OWN: &'static str = ".transom-compress";

    fn encoder(&self, _: &str) -> Result<Box<dyn Encoder>, StorageError> {
        Ok(Box::new(pack::Packer::new()))
    }

    fn size(&self, inner: &Rc<dyn Store>, path: &str, file: File) -> Result<u64, StorageError> {
        unpack::size(&**inner, path, file)
    }

    fn read(&self, inner: &Rc<dyn Store>, path: &str, _: &str, offset: u64) -> Result<Content, StorageError> {
        unpack::read(&**inner, path, offset)
    }
}

transom_sdk::delegate_store!(Compress);
transom_sdk::register_driver!(Compress);
