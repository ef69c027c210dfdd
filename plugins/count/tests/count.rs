//! The count plugin on layers, natively.

use plugin_count::Count;
use transom_sdk::Error;
use transom_sdk::testing::Harness;

/// An entry of a tar, with as much of a header as the plugin reads.
fn entry(path: &str, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut header = [0u8; 512];
    header[..path.len()].copy_from_slice(path.as_bytes());
    header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    header[148..156].fill(b' ');
    header[156] = kind;
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut tar = header.to_vec();
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(512), 0);
    tar
}

#[test]
fn it_counts_and_changes_nothing() {
    let layer = [
        entry("folder/", b'5', b""),
        entry("file", b'0', &[7; 1300]),
        entry("link", b'2', b""),
        vec![0; 1024],
        b"what follows the end".to_vec(),
    ]
    .concat();
    let run = Harness::new().run::<Count>(&layer);
    let annotations = &run.outcome().annotations;
    assert!(run.output == layer);
    assert_eq!(annotations["dev.transom.count.bytes"], layer.len().to_string());
    assert_eq!(annotations["dev.transom.count.content-bytes"], "1300");
    assert_eq!(annotations["dev.transom.count.entries"], "3");
    Harness::new().assert_chunking_invariant::<Count>(&layer);
}

#[test]
fn a_layer_that_ends_early_is_damaged() {
    let layer = entry("file", b'0', &[7; 1300]);
    let run = Harness::new().run::<Count>(&layer[..1000]);
    assert!(
        matches!(
            run.result,
            Err(Error::Corrupt {
                offset: Some(1000),
                ..
            })
        ),
        "{:?}",
        run.result
    );
}
