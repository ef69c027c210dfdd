//! The sample image's layers, applied one on the other, give the tree that was kept while packing.

#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::Path;

use bytes::Bytes;
use transom_layer::apply::{ApplyOptions, Ownership, apply};
use transom_tests::sample::{self, Options, Sample};
use transom_tests::tree::{Ignore, diff, report, walk};

fn apply_all(sample: &Sample, root: &Path, chunk: usize) {
    fs::create_dir(root).unwrap();
    let is_root = rustix::process::geteuid().is_root();
    let options = ApplyOptions {
        ownership: if is_root {
            Ownership::Keep
        } else {
            Ownership::Ignore
        },
        ..ApplyOptions::default()
    };
    let folder = File::open(root).unwrap();
    for layer in &sample.layers {
        let chunks: Vec<Bytes> = layer.tar.chunks(chunk).map(Bytes::copy_from_slice).collect();
        apply(&mut chunks.into_iter(), folder.as_fd(), &options)
            .unwrap_or_else(|error| panic!("layer {:?}: {error}", layer.comment));
    }
    let ignore = Ignore {
        owner: !is_root,
        ..Ignore::default()
    };
    let differences = diff(&sample.tree, &walk(root).unwrap(), &ignore);
    assert!(differences.is_empty(), "{}", report(&differences, 20));
}

#[test]
fn the_layers_add_up_to_the_expected_tree_in_any_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let sample = sample::small(&Options::here(folder.path()), &folder.path().join("image")).unwrap();
    for chunk in [7, 512, 100_000] {
        apply_all(&sample, &folder.path().join(format!("root-{chunk}")), chunk);
    }
}
