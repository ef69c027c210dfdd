//! Who this daemon is: a number for its root that lasts, and where its process is.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::rand::{GetRandomFlags, getrandom};

use crate::{Failure, lock};

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// A random UUID, made with the root.
    pub uuid: String,
    /// The process.
    pub pid: u32,
    /// The inode of its PID namespace; 0 if the system does not say.
    pub pid_namespace: u64,
}

impl Identity {
    /// Reads the UUID, or makes one. It lies where containerd has its own.
    ///
    /// # Errors
    /// [`Failure::Io`].
    pub fn of(root: &Path) -> Result<Identity, Failure> {
        let folder = root.join("io.containerd.grpc.v1.introspection");
        lock::folder(&folder, 0o700)?;
        let path = folder.join("uuid");
        let stored = std::fs::read_to_string(&path).unwrap_or_default();
        let uuid = if is_uuid(stored.trim()) {
            stored.trim().to_owned()
        } else {
            let made = make().map_err(|e| Failure::io("make a UUID for", &path, e))?;
            put(&path, &made).map_err(|e| Failure::io("write", &path, e))?;
            made
        };
        let namespace = std::fs::metadata("/proc/self/ns/pid");
        Ok(Identity {
            uuid,
            pid: std::process::id(),
            pid_namespace: namespace.map_or(0, |found| found.ino()),
        })
    }
}

fn put(path: &Path, uuid: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(path)?;
    file.write_all(uuid.as_bytes())?;
    file.sync_all()
}

/// A UUID of version 4.
fn make() -> std::io::Result<String> {
    let mut bytes = [0; 16];
    let got = getrandom(&mut bytes[..], GetRandomFlags::empty())?;
    if got != bytes.len() {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    Ok(parts.join("-"))
}

fn is_uuid(text: &str) -> bool {
    let digits =
        |part: &str, length| part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts: Vec<&str> = text.split('-').collect();
    parts.len() == 5
        && parts
            .iter()
            .zip([8, 4, 4, 4, 12])
            .all(|(part, length)| digits(part, length))
}
