//! The test guest of label filters: WAT text, made into a component.

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The text of the guest, under a name of four letters.
pub(crate) fn text(name: &str) -> String {
    assert_eq!(name.len(), 4, "the name's place in the guest");
    include_str!("../guests/filter.wat").replace("NAME", name)
}

/// The guest, under a name of four letters.
pub(crate) fn filter_guest(name: &str) -> Vec<u8> {
    component(&text(name), "")
}

/// A guest that imports one function more than it may.
pub(crate) fn filter_spy() -> Vec<u8> {
    let import = r#"(module (import "evil:net/sockets@1.0.0" "connect" (func $connect (param i32)))"#;
    let text = text("spy-").replacen("(module", import, 1);
    component(&text, "import evil:net/sockets@1.0.0;")
}

/// A component of a guest's text, whose world has some imports more.
pub(crate) fn component(text: &str, imports: &str) -> Vec<u8> {
    let mut module = wat::parse_str(text).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut resolve = Resolve::default();
    for folder in ["../../wit/common", "../../wit/filter"] {
        resolve.push_path(root.join(folder)).unwrap();
    }
    let sockets = "package evil:net@1.0.0; interface sockets { connect: func(port: u32); }";
    resolve.push_str("evil.wit", sockets).unwrap();
    let world =
        format!("package test:plain; world guest {{ {imports} include transom:filter/label-filter@0.1.0; }}");
    let package = resolve.push_str("test.wit", &world).unwrap();
    let world = resolve.select_world(&[package], Some("guest")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .unwrap()
        .encode()
        .unwrap()
}
