//! The objects of lists, encoded straight from their records.

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint};
use transom_api::lists;
use transom_meta::seen::{Moment, Pairs, SeenContent, SeenImage};

/// Objects of an answer, each with its key.
#[derive(Debug, Default)]
pub struct Objects {
    done: BytesMut,
    /// The object that is being encoded, and a message in it: a length comes before what it counts.
    object: Vec<u8>,
    inner: Vec<u8>,
    entry: Vec<u8>,
}

impl Objects {
    /// None yet.
    #[must_use]
    pub fn new() -> Objects {
        Objects::default()
    }

    /// All so far; none are left.
    pub fn take(&mut self) -> Bytes {
        self.done.split().freeze()
    }

    /// Adds a `containerd.services.images.v1.Image`.
    pub fn image(&mut self, image: &SeenImage<'_>) {
        text(1, image.name, &mut self.object);
        pairs(2, &image.labels, &mut self.entry, &mut self.object);
        text(1, image.media_type, &mut self.inner);
        text(2, image.digest, &mut self.inner);
        number(3, image.size, &mut self.inner);
        pairs(5, &image.annotations, &mut self.entry, &mut self.inner);
        message(3, &mut self.inner, &mut self.object);
        time(7, image.created, &mut self.inner, &mut self.object);
        time(8, image.updated, &mut self.inner, &mut self.object);
        message(lists::FIELD, &mut self.object, &mut self.done);
    }

    /// Adds a `containerd.services.content.v1.Info`.
    pub fn content(&mut self, content: &SeenContent<'_>) {
        text(1, content.digest, &mut self.object);
        number(2, content.size, &mut self.object);
        time(3, content.created, &mut self.inner, &mut self.object);
        time(4, content.updated, &mut self.inner, &mut self.object);
        pairs(5, &content.labels, &mut self.entry, &mut self.object);
        message(lists::FIELD, &mut self.object, &mut self.done);
    }
}

fn text(tag: u32, text: &str, out: &mut impl BufMut) {
    if !text.is_empty() {
        bytes(tag, text.as_bytes(), out);
    }
}

fn bytes(tag: u32, bytes: &[u8], out: &mut impl BufMut) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.put_slice(bytes);
}

fn number(tag: u32, number: u64, out: &mut impl BufMut) {
    if number != 0 {
        encode_key(tag, WireType::Varint, out);
        encode_varint(number, out);
    }
}

/// A message that has been encoded; its buffer is empty then.
fn message(tag: u32, encoded: &mut Vec<u8>, out: &mut impl BufMut) {
    bytes(tag, encoded, out);
    encoded.clear();
}

fn pairs(tag: u32, pairs: &Pairs<'_>, entry: &mut Vec<u8>, out: &mut impl BufMut) {
    for (key, value) in pairs {
        text(1, key, entry);
        text(2, value, entry);
        message(tag, entry, out);
    }
}

fn time(tag: u32, moment: Moment, inner: &mut Vec<u8>, out: &mut impl BufMut) {
    #[expect(clippy::cast_sign_loss, reason = "that is how negative numbers are encoded")]
    number(1, moment.seconds as u64, inner);
    number(2, moment.nanos.into(), inner);
    message(tag, inner, out);
}
