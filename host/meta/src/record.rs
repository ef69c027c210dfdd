//! What is written under the keys: a version byte, then a protobuf message of our own, whose fields can grow.

use std::time::{Duration, SystemTime};

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

use crate::Error;
use crate::names::Labels;

/// The version byte of every record. A record with a lower one is read by the code for that version; a higher one is refused.
pub const VERSION: u8 = 1;

/// A point in time, to the nanosecond, also before 1970.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Time {
    /// Seconds since 1970, negative before.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Nanoseconds forward from there, below a billion.
    #[prost(uint32, tag = "2")]
    pub nanos: u32,
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Time {
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => Time {
                seconds: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
                nanos: after.subsec_nanos(),
            },
            Err(before) => {
                let before = before.duration();
                let up = u64::from(before.subsec_nanos() > 0);
                let seconds = i64::try_from(before.as_secs() + up).unwrap_or(i64::MAX);
                Time {
                    seconds: -seconds,
                    nanos: (1_000_000_000 - before.subsec_nanos()) % 1_000_000_000,
                }
            }
        }
    }
}

impl From<Time> for SystemTime {
    fn from(time: Time) -> SystemTime {
        let whole = Duration::from_secs(time.seconds.unsigned_abs());
        let start = if time.seconds < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(whole)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(whole)
        };
        start
            .and_then(|start| start.checked_add(Duration::from_nanos(time.nanos.into())))
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// A time that may be missing in a record of another version.
#[must_use]
pub fn time(time: Option<Time>) -> SystemTime {
    time.map_or(SystemTime::UNIX_EPOCH, SystemTime::from)
}

/// A namespace.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct NamespaceRecord {
    #[prost(btree_map = "string, string", tag = "1")]
    pub(crate) labels: Labels,
    /// Not 0 while it is being deleted: a number that no other deletion has. Whoever writes in the namespace sets it back.
    #[prost(uint64, tag = "2")]
    pub(crate) closing: u64,
}

/// An image.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ImageRecord {
    #[prost(btree_map = "string, string", tag = "1")]
    pub(crate) labels: Labels,
    #[prost(string, tag = "2")]
    pub(crate) media_type: String,
    #[prost(string, tag = "3")]
    pub(crate) digest: String,
    #[prost(uint64, tag = "4")]
    pub(crate) size: u64,
    #[prost(btree_map = "string, string", tag = "5")]
    pub(crate) annotations: Labels,
    #[prost(message, optional, tag = "6")]
    pub(crate) created: Option<Time>,
    #[prost(message, optional, tag = "7")]
    pub(crate) updated: Option<Time>,
}

/// Content of a namespace.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ContentRecord {
    #[prost(btree_map = "string, string", tag = "1")]
    pub(crate) labels: Labels,
    #[prost(uint64, tag = "2")]
    pub(crate) size: u64,
    #[prost(message, optional, tag = "3")]
    pub(crate) created: Option<Time>,
    #[prost(message, optional, tag = "4")]
    pub(crate) updated: Option<Time>,
}

/// An open ingest.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct IngestRecord {
    /// The ref in the content store.
    #[prost(string, tag = "1")]
    pub(crate) backend: String,
    /// When it may be collected; none while a lease keeps it.
    #[prost(message, optional, tag = "2")]
    pub(crate) expires: Option<Time>,
    /// The blob that it shares with another namespace, or empty.
    #[prost(string, tag = "3")]
    pub(crate) expected: String,
    /// When it was first opened; for one that shares a blob, of which the content store knows nothing.
    #[prost(message, optional, tag = "4")]
    pub(crate) started: Option<Time>,
}

/// A lease.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct LeaseRecord {
    #[prost(btree_map = "string, string", tag = "1")]
    pub(crate) labels: Labels,
    #[prost(message, optional, tag = "2")]
    pub(crate) created: Option<Time>,
    /// Not 0 while it is being deleted, as in a namespace. Whoever adds a resource sets it back.
    #[prost(uint64, tag = "3")]
    pub(crate) closing: u64,
}

/// A snapshot.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct SnapshotRecord {
    #[prost(btree_map = "string, string", tag = "1")]
    pub(crate) labels: Labels,
    /// Its key in the snapshotter.
    #[prost(string, tag = "2")]
    pub(crate) backend: String,
    /// The snapshot that it stands on, as the client calls it; empty for none.
    #[prost(string, tag = "3")]
    pub(crate) parent: String,
    /// 1 a view, 2 active, 3 committed.
    #[prost(uint32, tag = "4")]
    pub(crate) kind: u32,
    #[prost(message, optional, tag = "5")]
    pub(crate) created: Option<Time>,
    #[prost(message, optional, tag = "6")]
    pub(crate) updated: Option<Time>,
}

/// Until when content that nothing has referenced is kept.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct GraceRecord {
    #[prost(message, optional, tag = "1")]
    pub(crate) until: Option<Time>,
}

/// A counter.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CounterRecord {
    /// The next number.
    #[prost(uint64, tag = "1")]
    pub next: u64,
}

/// A record as it is stored.
#[must_use]
pub fn encode(record: &impl Message) -> Bytes {
    let mut bytes = BytesMut::with_capacity(1 + record.encoded_len());
    bytes.put_u8(VERSION);
    // A BytesMut grows, so this cannot fail.
    let _ = record.encode(&mut bytes);
    bytes.freeze()
}

/// A stored record.
///
/// # Errors
/// [`Error::Record`] if it is of a version that this program does not know, or damaged.
pub fn decode<R: Message + Default>(key: &[u8], value: &[u8]) -> Result<R, Error> {
    let fail = |reason: String| Error::Record {
        key: key.escape_ascii().to_string(),
        reason,
    };
    match value.split_first() {
        Some((&VERSION, rest)) => R::decode(rest).map_err(|error| fail(error.to_string())),
        Some((version, _)) => Err(fail(format!(
            "it has version {version}, and this program knows versions up to {VERSION}"
        ))),
        None => Err(fail("it is empty".to_owned())),
    }
}
