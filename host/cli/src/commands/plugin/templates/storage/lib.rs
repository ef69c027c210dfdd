//! A storage driver that stands on another and keeps everything turned by 13. Keep what is around, change what is done to the bytes.

use std::io::Read;
use std::rc::Rc;

use transom_sdk::Error;
use transom_sdk::storage::{Codec, Content, Driver, DriverInfo, Encoder, File, Host, StorageError, Store, Transform};

/// The driver.
#[derive(Debug)]
pub struct {type}(Transform<Turned>);

/// What is done to the bytes.
#[derive(Debug)]
pub struct Turned;

impl Driver for {type} {
    fn describe() -> DriverInfo {
        DriverInfo::new("{name}", env!("CARGO_PKG_VERSION"))
    }

    fn open(host: &Host) -> Result<Self, Error> {
        Ok({type}(Transform::new(host.inner(), Turned)))
    }
}

impl Codec for Turned {
    const OWN: &'static str = ".example-{name}";

    fn encoder(&self, _path: &str) -> Result<Box<dyn Encoder>, StorageError> {
        Ok(Box::new(Turned))
    }

    fn size(&self, _: &Rc<dyn Store>, _: &str, file: File) -> Result<u64, StorageError> {
        Ok(file.size)
    }

    fn read(&self, inner: &Rc<dyn Store>, path: &str, _: &str, offset: u64) -> Result<Content, StorageError> {
        let Content { file, body } = inner.read(path, offset)?;
        Ok(Content {
            file,
            body: Box::new(Back(body)),
        })
    }
}

impl Encoder for Turned {
    fn write(&mut self, content: &[u8], kept: &mut Vec<u8>) -> Result<(), StorageError> {
        kept.extend(content.iter().map(|byte| byte.wrapping_add(13)));
        Ok(())
    }

    fn finish(self: Box<Self>, _: &mut Vec<u8>) -> Result<(), StorageError> {
        Ok(())
    }
}

struct Back(Box<dyn Read>);

impl Read for Back {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.0.read(buffer)?;
        buffer[..length].iter_mut().for_each(|byte| *byte = byte.wrapping_sub(13));
        Ok(length)
    }
}

transom_sdk::delegate_store!({type});
transom_sdk::register_driver!({type});

#[cfg(test)]
mod tests {
    use super::*;
    use transom_sdk::storage::Condition;
    use transom_sdk::testing::{MemoryStore, TestHost};

    #[test]
    fn what_is_kept_is_turned_and_comes_back() {
        let below = MemoryStore::new();
        let driver: {type} = TestHost::new().inner(below.clone()).open().unwrap();
        driver.put("/a", b"hello", Condition::Always).unwrap();
        assert_eq!(below.kept("/a").unwrap(), b"uryy|");
        assert_eq!(driver.get("/a", 10).unwrap(), b"hello");
    }
}
