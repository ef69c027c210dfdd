//! Between the world's types and the SDK's own, which stay the same when the world gets a new version.

use super::Kind;
use super::bindings::exports::transom::storage::plugin;
use super::bindings::transom::storage::{settings, types};
use crate::storage::{Capabilities, Condition, Entry, File, RedirectMethod, StorageError, WriteMode};
use crate::{ConfigValue, Error, Instant};

pub(super) fn open_error(error: Error) -> plugin::OpenError {
    match error {
        Error::Config { key, message } => plugin::OpenError::Config(plugin::ConfigError { key, message }),
        error => plugin::OpenError::Other(error.to_string()),
    }
}

pub(super) fn capabilities(has: Capabilities) -> types::Capabilities {
    let all = [
        (has.put_if_absent, types::Capabilities::PUT_IF_ABSENT),
        (has.redirects, types::Capabilities::REDIRECTS),
        (has.quick_rename, types::Capabilities::QUICK_RENAME),
        (has.durable, types::Capabilities::DURABLE),
        (has.flat, types::Capabilities::FLAT),
    ];
    let had = all.into_iter().filter(|(has, _)| *has).map(|(_, flag)| flag);
    had.fold(types::Capabilities::empty(), |flags, flag| flags | flag)
}

impl From<types::Capabilities> for Capabilities {
    fn from(flags: types::Capabilities) -> Self {
        let has = |flag: types::Capabilities| flags & flag == flag;
        Self {
            put_if_absent: has(types::Capabilities::PUT_IF_ABSENT),
            redirects: has(types::Capabilities::REDIRECTS),
            quick_rename: has(types::Capabilities::QUICK_RENAME),
            durable: has(types::Capabilities::DURABLE),
            flat: has(types::Capabilities::FLAT),
        }
    }
}

/// Both directions of an enum with the same cases on both sides.
macro_rules! same {
    ($($ours:ident: $($case:ident),+;)+) => {
        $(impl From<types::$ours> for $ours {
            fn from(value: types::$ours) -> Self {
                match value {
                    $(types::$ours::$case => Self::$case),+
                }
            }
        }

        impl From<$ours> for types::$ours {
            fn from(value: $ours) -> Self {
                match value {
                    $($ours::$case => Self::$case),+
                }
            }
        })+
    };
}

same! {
    Condition: Always, Absent;
    WriteMode: Create, Append;
    RedirectMethod: Get, Head;
}

impl From<types::Instant> for Instant {
    fn from(instant: types::Instant) -> Self {
        Self {
            seconds: instant.seconds,
            nanoseconds: instant.nanoseconds,
        }
    }
}

impl From<types::File> for File {
    fn from(file: types::File) -> Self {
        Self {
            size: file.size,
            modified: file.modified.map(Instant::from),
        }
    }
}

impl From<File> for types::File {
    fn from(file: File) -> Self {
        let modified = file.modified.map(|instant| types::Instant {
            seconds: instant.seconds,
            nanoseconds: instant.nanoseconds,
        });
        Self {
            size: file.size,
            modified,
        }
    }
}

impl From<types::Entry> for Entry {
    fn from(entry: types::Entry) -> Self {
        let kind = match entry.kind {
            types::Kind::File(file) => Kind::File(file.into()),
            types::Kind::Folder => Kind::Folder,
        };
        Self {
            path: entry.path,
            kind,
        }
    }
}

impl From<Entry> for types::Entry {
    fn from(entry: Entry) -> Self {
        let kind = match entry.kind {
            Kind::File(file) => types::Kind::File(file.into()),
            Kind::Folder => types::Kind::Folder,
        };
        Self {
            path: entry.path,
            kind,
        }
    }
}

impl From<types::Error> for StorageError {
    fn from(error: types::Error) -> Self {
        match error {
            types::Error::NotFound => Self::NotFound,
            types::Error::InvalidPath(rule) => Self::InvalidPath(rule),
            types::Error::InvalidOffset(size) => Self::InvalidOffset(size),
            types::Error::IsFolder => Self::IsFolder,
            types::Error::NotFolder => Self::NotFolder,
            types::Error::Unsupported(what) => Self::Unsupported(what),
            types::Error::AlreadyExists => Self::AlreadyExists,
            types::Error::Busy => Self::Busy,
            types::Error::Interrupted => Self::Interrupted,
            types::Error::TooLarge(limit) => Self::TooLarge(limit),
            types::Error::Damaged(what) => Self::Damaged(what),
            types::Error::NoSpace => Self::NoSpace,
            types::Error::Denied(why) => Self::Denied(why),
            types::Error::Unavailable(why) => Self::Unavailable {
                reason: why.reason,
                retry_after: why.retry_after,
            },
            types::Error::Other(text) => Self::Other(text),
        }
    }
}

impl From<StorageError> for types::Error {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::NotFound => Self::NotFound,
            StorageError::InvalidPath(rule) => Self::InvalidPath(rule),
            StorageError::InvalidOffset(size) => Self::InvalidOffset(size),
            StorageError::IsFolder => Self::IsFolder,
            StorageError::NotFolder => Self::NotFolder,
            StorageError::Unsupported(what) => Self::Unsupported(what),
            StorageError::AlreadyExists => Self::AlreadyExists,
            StorageError::Busy => Self::Busy,
            StorageError::Interrupted => Self::Interrupted,
            StorageError::TooLarge(limit) => Self::TooLarge(limit),
            StorageError::Damaged(what) => Self::Damaged(what),
            StorageError::NoSpace => Self::NoSpace,
            StorageError::Denied(why) => Self::Denied(why),
            StorageError::Unavailable { reason, retry_after } => {
                Self::Unavailable(types::Unavailability { reason, retry_after })
            }
            StorageError::Other(text) => Self::Other(text),
        }
    }
}

impl From<settings::Value> for ConfigValue {
    fn from(value: settings::Value) -> Self {
        match value {
            settings::Value::Boolean(value) => Self::Boolean(value),
            settings::Value::Integer(value) => Self::Integer(value),
            settings::Value::Number(value) => Self::Number(value),
            settings::Value::Text(value) => Self::Text(value),
            settings::Value::Texts(value) => Self::Texts(value),
        }
    }
}
