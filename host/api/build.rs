//! Compiles `proto/` in Rust alone: no `protoc` is needed.

use std::error::Error;
use std::path::{Path, PathBuf};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let root = Path::new("proto");
    let files = protos(root)?;
    let descriptors = protox::compile(&files, [root])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    let mut config = tonic_prost_build::Config::new();
    // What is sent as a google.protobuf.Any says its name.
    config.enable_type_names();
    for (package, list) in [
        ("images", "ListImagesResponse"),
        ("content", "ListContentResponse"),
    ] {
        config.extern_path(
            format!(".containerd.services.{package}.v1.{list}"),
            format!("crate::lists::{list}"),
        );
    }
    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        .btree_map(".")
        .bytes(".")
        .include_file("api.rs")
        .compile_fds_with_config(descriptors, config)?;
    Ok(())
}

/// All `.proto` files, in an order that does not depend on the file system.
fn protos(root: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    for folder in std::fs::read_dir(root)? {
        for file in std::fs::read_dir(folder?.path())? {
            files.push(file?.path());
        }
    }
    files.sort();
    Ok(files)
}
