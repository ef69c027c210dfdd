//! Looking into messages that are known only by the name of their type, for filters such as `event.container_id==a`.

use std::sync::OnceLock;

use prost_reflect::{DescriptorPool, DynamicMessage, MapKey, ReflectMessage, Value};

use crate::{descriptors, limits};

/// A decoded message of any type in `proto/`.
#[derive(Clone, Debug)]
pub struct Message {
    inner: DynamicMessage,
}

impl Message {
    /// Decodes a message. `type_url` is its full name, with or without a prefix that ends with a slash. `None` if the type is
    /// not known or the bytes are not of it.
    #[must_use]
    pub fn decode(type_url: &str, value: &[u8]) -> Option<Message> {
        let name = type_url.rsplit('/').next()?;
        let descriptor = pool().get_message_by_name(name)?;
        let inner = DynamicMessage::decode(descriptor, value).ok()?;
        Some(Message { inner })
    }

    /// The text of a field, by the names in `proto/`. What follows the name of a map is one key: its parts are joined with
    /// dots. Within an `Any` it goes on in what that holds. Empty and zero count as absent, as do lists and bytes.
    #[must_use]
    pub fn field(&self, path: &[&str]) -> Option<String> {
        message_field(&self.inner, path, limits::DEPTH)
    }
}

/// The text of one field of a message: [`Message::decode`] and [`Message::field`] in one.
#[must_use]
pub fn field(type_url: &str, value: &[u8], path: &[&str]) -> Option<String> {
    Message::decode(type_url, value)?.field(path)
}

pub(crate) fn pool() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    // build.rs has made the bytes, and a test decodes them: an empty pool only finds nothing.
    POOL.get_or_init(|| DescriptorPool::decode(descriptors()).unwrap_or_default())
}

fn message_field(message: &DynamicMessage, path: &[&str], depth: usize) -> Option<String> {
    let depth = depth.checked_sub(1)?;
    if message.descriptor().full_name() == "google.protobuf.Any" {
        return any_field(message, path, depth);
    }
    let (name, rest) = path.split_first()?;
    let value = message.get_field_by_name(name)?;
    match &*value {
        Value::Message(inner) => message_field(inner, rest, depth),
        Value::Map(map) => text(map.get(&MapKey::String(rest.join(".")))?),
        other if rest.is_empty() => text(other).filter(|text| !matches!(text.as_str(), "" | "0")),
        _ => None,
    }
}

fn any_field(any: &DynamicMessage, path: &[&str], depth: usize) -> Option<String> {
    let url = any.get_field_by_name("type_url")?;
    let value = any.get_field_by_name("value")?;
    let inner = Message::decode(url.as_str()?, value.as_bytes()?)?;
    message_field(&inner.inner, path, depth)
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::I32(value) | Value::EnumNumber(value) => Some(value.to_string()),
        Value::I64(value) => Some(value.to_string()),
        Value::U32(value) => Some(value.to_string()),
        Value::U64(value) => Some(value.to_string()),
        _ => None,
    }
}
