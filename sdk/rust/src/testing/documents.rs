//! The host's part of documents in native tests.

use std::cell::RefCell;
use std::collections::BTreeMap;

/// The most that the documents of a layer may have.
#[cfg(not(target_arch = "wasm32"))]
const ALL_BYTES: usize = 32 << 20;

/// A document that a processor made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MadeDocument {
    /// What it is.
    pub media_type: String,
    /// Said about it.
    pub annotations: BTreeMap<String, String>,
    /// All of it.
    pub bytes: Vec<u8>,
}

thread_local! {
    static MADE: RefCell<Vec<MadeDocument>> = const { RefCell::new(Vec::new()) };
}

/// Its place in the list.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Debug)]
pub(crate) struct Document(usize);

#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn begin(media_type: &str, annotations: Vec<(String, String)>) -> Document {
    MADE.with_borrow_mut(|made| {
        made.push(MadeDocument {
            media_type: media_type.to_owned(),
            annotations: annotations.into_iter().collect(),
            bytes: Vec::new(),
        });
        Document(made.len() - 1)
    })
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn write(document: &Document, bytes: &[u8]) -> bool {
    MADE.with_borrow_mut(|made| {
        let all: usize = made.iter().map(|document| document.bytes.len()).sum();
        made[document.0].bytes.extend_from_slice(bytes);
        all + bytes.len() <= ALL_BYTES
    })
}

/// Everything that was made since the last call.
pub(super) fn take() -> Vec<MadeDocument> {
    MADE.take()
}
