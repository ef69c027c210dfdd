//! For every method of the daemon a request with nothing in it, one with everything filled, and several.

use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value,
};

/// The first byte chooses the method, in the order of `transom_api::methods()`; then come messages, each with its length in
/// two bytes before it.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let pool = DescriptorPool::decode(transom_api::descriptors()).unwrap_or_default();
    let methods = pool
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>());
    let mut all = Vec::new();
    for (number, method) in (0..=u8::MAX).zip(methods) {
        let input = method.input();
        let texts = [
            "a",
            "",
            "labels.k",
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ];
        all.push(vec![number]);
        all.push(with(number, &[Vec::new()]));
        let messages = texts.map(|text| filled(&input, text, 4).encode_to_vec());
        all.push(with(number, &messages[..1]));
        all.push(with(number, &messages));
        all.extend(
            messages
                .iter()
                .map(|message| with(number, std::slice::from_ref(message))),
        );
    }
    all
}

fn with(method: u8, messages: &[Vec<u8>]) -> Vec<u8> {
    let mut seed = vec![method];
    for message in messages {
        let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
        seed.extend(length.to_be_bytes());
        seed.extend(message);
    }
    seed
}

/// A message whose every field is set, to `text` where it is one.
fn filled(descriptor: &MessageDescriptor, text: &str, depth: usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields().take(if depth == 0 { 0 } else { usize::MAX }) {
        let value = if field.is_map() {
            Value::Map([(MapKey::String("k".to_owned()), Value::String(text.to_owned()))].into())
        } else if field.is_list() {
            Value::List(vec![of(&field, text, depth)])
        } else {
            of(&field, text, depth)
        };
        // A map whose values are no texts is left out.
        let _ = message.try_set_field(&field, value);
    }
    message
}

fn of(field: &FieldDescriptor, text: &str, depth: usize) -> Value {
    match field.kind() {
        Kind::String => Value::String(text.to_owned()),
        Kind::Bytes => Value::Bytes(text.as_bytes().to_vec().into()),
        Kind::Bool => Value::Bool(true),
        Kind::Int64 => Value::I64(1),
        Kind::Int32 => Value::I32(1),
        Kind::Uint32 => Value::U32(1),
        Kind::Uint64 => Value::U64(1),
        Kind::Enum(_) => Value::EnumNumber(2),
        Kind::Message(inner) => Value::Message(filled(&inner, text, depth - 1)),
        other => Value::default_value(&other),
    }
}
