//! The test guest of storage drivers: WAT text, made into a component.

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The text of the guest, which calls itself `odds` 0.1.0.
pub(crate) const TEXT: &str = include_str!("../guests/driver.wat");

/// A component of a guest's text.
pub(crate) fn driver_guest(text: &str) -> Vec<u8> {
    let mut module = wat::parse_str(text).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut resolve = Resolve::default();
    for folder in ["../../wit/common", "../../wit/storage"] {
        resolve.push_path(root.join(folder)).unwrap();
    }
    let world = "package test:plain; world guest { include transom:storage/storage-driver@0.1.0; }";
    let package = resolve.push_str("test.wit", world).unwrap();
    let world = resolve.select_world(&[package], Some("guest")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    let encoder = ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .unwrap();
    { encoder }.encode().unwrap()
}
