//! Answers of many objects, some of which may be encoded already: a server that has thousands of records need not make messages
//! of them first. On the wire they are what `proto/` says, one repeated field with the number 1.

use bytes::{Buf, BufMut, Bytes};
use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, message, skip_field};

/// The number of the field.
pub const FIELD: u32 = 1;

macro_rules! list {
    ($(#[$docs:meta])* $name:ident, $field:ident, $object:ty) => {
        $(#[$docs])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name {
            /// The objects; all of them, when it was received.
            pub $field: Vec<$object>,
            /// Further objects, each with the key of the field before it.
            pub encoded: Bytes,
        }

        impl prost::Message for $name {
            fn encode_raw(&self, buf: &mut impl BufMut) {
                message::encode_repeated(FIELD, &self.$field, buf);
                buf.put_slice(&self.encoded);
            }

            fn merge_field(
                &mut self,
                tag: u32,
                wire_type: WireType,
                buf: &mut impl Buf,
                ctx: DecodeContext,
            ) -> Result<(), DecodeError> {
                match tag {
                    FIELD => message::merge_repeated(wire_type, &mut self.$field, buf, ctx),
                    _ => skip_field(wire_type, tag, buf, ctx),
                }
            }

            fn encoded_len(&self) -> usize {
                message::encoded_len_repeated(FIELD, &self.$field) + self.encoded.len()
            }

            fn clear(&mut self) {
                *self = Self::default();
            }
        }
    };
}

list!(
    /// The answer to `Images.List`.
    ListImagesResponse,
    images,
    crate::images::Image
);
list!(
    /// One of the answers to `Content.List`.
    ListContentResponse,
    info,
    crate::content::Info
);

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::images::Image;

    #[test]
    fn what_is_encoded_already_is_read_like_the_rest() {
        let image = |name: &str| Image {
            name: name.to_owned(),
            ..Image::default()
        };
        let list = |names: &[&str]| ListImagesResponse {
            images: names.iter().map(|name| image(name)).collect(),
            encoded: Bytes::new(),
        };
        let mixed = ListImagesResponse {
            encoded: list(&["b", "c"]).encode_to_vec().into(),
            ..list(&["a"])
        };
        let whole = list(&["a", "b", "c"]);
        assert_eq!(mixed.encode_to_vec(), whole.encode_to_vec());
        assert_eq!(mixed.encoded_len(), whole.encoded_len());
        let unknown = [&whole.encode_to_vec()[..], &[0x12, 1, 7]].concat();
        assert_eq!(ListImagesResponse::decode(&*unknown).unwrap(), whole);
    }
}
