//! Test guests: WAT text in `tests/guests`, made into components.

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const PRELUDE: &str = include_str!("../guests/prelude.wat");

/// A component from `tests/guests/<name>.wat`.
pub(crate) fn guest(name: &str) -> Vec<u8> {
    component(
        name,
        "",
        "package test:plain; world guest { include transom:processor/processor@0.1.0; }",
    )
}

/// A guest that imports one function more than it may.
pub(crate) fn spy() -> Vec<u8> {
    let import = r#"(import "evil:net/sockets@1.0.0" "connect" (func $connect (param i32)))"#;
    let world = "package test:spy; world guest { import evil:net/sockets@1.0.0; include transom:processor/processor@0.1.0; }";
    component("spy", import, world)
}

fn component(name: &str, imports: &str, world: &str) -> Vec<u8> {
    encode(ComponentEncoder::default(), &module(name, imports, world))
}

pub(crate) fn encode(encoder: ComponentEncoder, module: &[u8]) -> Vec<u8> {
    encoder.validate(true).module(module).unwrap().encode().unwrap()
}

/// What a component is made of: a module that says in a section of its own which world it is for.
pub(crate) fn module(name: &str, imports: &str, world: &str) -> Vec<u8> {
    // Other crates have this file, too.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../host/plugin");
    let items = std::fs::read_to_string(root.join(format!("tests/guests/{name}.wat"))).unwrap();
    let text = PRELUDE
        .replacen("ITEMS)", &format!("{items})"), 1)
        .replacen("  IMPORTS", imports, 1);
    let mut module = wat::parse_str(text).unwrap();
    let mut resolve = Resolve::default();
    for folder in ["../../wit/common", "../../wit/processor"] {
        resolve.push_path(root.join(folder)).unwrap();
    }
    let sockets = "package evil:net@1.0.0; interface sockets { connect: func(port: u32); }";
    resolve.push_str("evil.wit", sockets).unwrap();
    let package = resolve.push_str("test.wit", world).unwrap();
    let world = resolve.select_world(&[package], Some("guest")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    module
}
