//! Events as JSON: messages of any type in our definitions, by the names of their fields.

use std::sync::OnceLock;

use prost_reflect::{DescriptorPool, DynamicMessage, MapKey, ReflectMessage, Value as Field};
use serde_json::{Map, Value, json};
use transom_api::types::Envelope;

use super::time;
use crate::limits;

/// An event with its circumstances. `event` is null if its type is not known here.
pub(crate) fn document(envelope: &Envelope) -> Value {
    let event = envelope.event.clone().unwrap_or_default();
    json!({
        "timestamp": time::text(envelope.timestamp.as_ref()),
        "namespace": envelope.namespace,
        "topic": envelope.topic,
        "type": event.type_url,
        "event": decode(&event.type_url, &event.value, limits::EVENT_DEPTH),
    })
}

fn pool() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    // An empty pool knows no type; the bytes are the build's own.
    POOL.get_or_init(|| DescriptorPool::decode(transom_api::descriptors()).unwrap_or_default())
}

fn decode(type_url: &str, bytes: &[u8], depth: usize) -> Value {
    let name = type_url.rsplit('/').next().unwrap_or_default();
    let Some(descriptor) = pool().get_message_by_name(name) else {
        // Types that are no messages are sent as JSON.
        return serde_json::from_slice(bytes).unwrap_or_default();
    };
    match DynamicMessage::decode(descriptor, bytes) {
        Ok(message) => object(&message, depth),
        Err(_) => Value::Null,
    }
}

fn object(message: &DynamicMessage, depth: usize) -> Value {
    let Some(depth) = depth.checked_sub(1) else {
        return Value::Null;
    };
    match message.descriptor().full_name() {
        "google.protobuf.Any" => return any(message, depth),
        "google.protobuf.Timestamp" => return timestamp(message),
        _ => {}
    }
    let fields = message.fields();
    let object: Map<_, _> = fields
        .map(|(field, value)| (field.name().to_owned(), plain(value, depth)))
        .collect();
    Value::Object(object)
}

fn any(message: &DynamicMessage, depth: usize) -> Value {
    let field = |name| message.get_field_by_name(name);
    let (Some(url), Some(value)) = (field("type_url"), field("value")) else {
        return Value::Null;
    };
    let url = url.as_str().unwrap_or_default();
    let bytes = value.as_bytes().map(|bytes| &bytes[..]).unwrap_or_default();
    json!({ "type": url, "value": decode(url, bytes, depth) })
}

fn timestamp(message: &DynamicMessage) -> Value {
    let seconds = message
        .get_field_by_name("seconds")
        .and_then(|value| value.as_i64());
    let nanos = message
        .get_field_by_name("nanos")
        .and_then(|value| value.as_i32());
    let time = prost_types::Timestamp {
        seconds: seconds.unwrap_or_default(),
        nanos: nanos.unwrap_or_default(),
    };
    time::text(Some(&time)).into()
}

fn plain(value: &Field, depth: usize) -> Value {
    match value {
        Field::Bool(value) => (*value).into(),
        Field::I32(value) | Field::EnumNumber(value) => (*value).into(),
        Field::I64(value) => (*value).into(),
        Field::U32(value) => (*value).into(),
        Field::U64(value) => (*value).into(),
        Field::F32(value) => (*value).into(),
        Field::F64(value) => (*value).into(),
        Field::String(value) => value.as_str().into(),
        Field::Bytes(value) => hex(value).into(),
        Field::Message(value) => object(value, depth),
        Field::List(values) => values.iter().map(|value| plain(value, depth)).collect(),
        Field::Map(values) => {
            let values = values.iter().map(|(key, value)| (text(key), plain(value, depth)));
            Value::Object(values.collect())
        }
    }
}

fn text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_types::{Any, Timestamp};

    fn event(type_url: &str, value: Vec<u8>) -> Value {
        let envelope = Envelope {
            timestamp: Some(Timestamp { seconds: 1, nanos: 0 }),
            namespace: "n".into(),
            topic: "/t".into(),
            event: Some(Any {
                type_url: type_url.into(),
                value,
            }),
        };
        document(&envelope)
    }

    #[test]
    fn events_are_decoded_by_their_type() {
        // name = "a", labels = {"k": "v"}
        let bytes = b"\x0a\x01a\x12\x06\x0a\x01k\x12\x01v".to_vec();
        let said = event("containerd.services.images.v1.ImageCreate", bytes.clone());
        assert_eq!(said["event"], json!({ "name": "a", "labels": { "k": "v" } }));
        assert_eq!(said["timestamp"], "1970-01-01T00:00:01Z");
        let said = event("type.googleapis.com/containerd.events.NamespaceCreate", bytes);
        assert_eq!(said["event"]["labels"]["k"], "v");
    }

    #[test]
    fn what_is_not_known_is_null_and_what_is_json_is_taken() {
        assert_eq!(event("no.such.Type", vec![1, 2, 3])["event"], Value::Null);
        assert_eq!(
            event("containerd.events.ContentDelete", vec![0xff])["event"],
            Value::Null
        );
        assert_eq!(
            event("types.containerd.io/x", b"{\"a\":1}".to_vec())["event"],
            json!({ "a": 1 })
        );
    }
}
