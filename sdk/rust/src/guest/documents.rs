//! The host's documents.

use self::bindings::transom::artifacts::documents;

pub(crate) use self::documents::Document;

/// The interface's functions, generated from `wit/`.
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
mod bindings {
    wit_bindgen::generate!({
        path: ["wit/common", "wit/artifacts"],
        world: "transom:artifacts/reporter",
        with: {
            "transom:common/types@0.1.0": crate::guest::bindings::transom::common::types,
        },
        generate_all,
    });
}

pub(crate) fn begin(media_type: &str, annotations: Vec<(String, String)>) -> Document {
    Document::new(media_type, &annotations)
}

pub(crate) fn write(document: &Document, bytes: &[u8]) -> bool {
    document.write(bytes)
}
