//! Documents that a plugin makes beside the layer's bytes.

use std::collections::BTreeMap;

use transom_layer::stage::Document;
use wasmtime::component::ResourceTable;

use crate::limits::{DOCUMENT_BYTES_MAX, DOCUMENTS_MAX};

/// What a job has made so far.
#[derive(Default)]
pub(crate) struct Documents {
    pub(crate) table: ResourceTable,
    made: Vec<Option<Growing>>,
    bytes: usize,
}

/// One that may still grow.
struct Growing {
    media_type: String,
    annotations: BTreeMap<String, String>,
    bytes: Vec<u8>,
}

/// Its number, which is what a guest's handle leads to.
#[derive(Clone, Copy, Debug)]
#[allow(unreachable_pub, reason = "a generated module names it")]
pub struct Number(usize);

impl Documents {
    /// Begins one; nothing if there are too many.
    pub(crate) fn begin(&mut self, media_type: String, annotations: Vec<(String, String)>) -> Option<Number> {
        if self.made.len() == DOCUMENTS_MAX {
            return None;
        }
        self.made.push(Some(Growing {
            media_type,
            annotations: annotations.into_iter().collect(),
            bytes: Vec::new(),
        }));
        Some(Number(self.made.len() - 1))
    }

    /// Appends bytes. One that does not fit is gone, and says so from then on.
    pub(crate) fn write(&mut self, Number(number): Number, bytes: &[u8]) -> bool {
        let Some(document) = &mut self.made[number] else {
            return false;
        };
        if self.bytes + bytes.len() > DOCUMENT_BYTES_MAX {
            self.bytes -= document.bytes.len();
            self.made[number] = None;
            return false;
        }
        self.bytes += bytes.len();
        document.bytes.extend_from_slice(bytes);
        true
    }

    /// All that are whole.
    pub(crate) fn finish(self) -> Vec<Document> {
        let made = self.made.into_iter().flatten();
        made.map(|document| Document {
            media_type: document.media_type,
            annotations: document.annotations,
            size: document.bytes.len() as u64,
            bytes: document.bytes.into(),
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_left_out_and_makes_room() {
        let mut documents = Documents::default();
        let first = documents.begin("a/b".to_owned(), Vec::new()).unwrap();
        let second = documents.begin("c/d".to_owned(), Vec::new()).unwrap();
        let half = vec![1; DOCUMENT_BYTES_MAX / 2 + 1];
        assert!(documents.write(first, &half));
        assert!(!documents.write(second, &half), "together they are too much");
        assert!(!documents.write(second, b"x"), "it stays gone");
        assert!(documents.write(first, &half[..half.len() - 2]));
        assert!((2..DOCUMENTS_MAX).all(|_| documents.begin(String::new(), Vec::new()).is_some()));
        assert!(documents.begin(String::new(), Vec::new()).is_none());
        let made = documents.finish();
        assert_eq!(
            (made[0].media_type.as_str(), made[0].size),
            ("a/b", DOCUMENT_BYTES_MAX as u64)
        );
        assert_eq!(made.len(), DOCUMENTS_MAX - 1);
    }
}
