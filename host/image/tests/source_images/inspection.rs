//! The tree of everything in a source.

use serde_json::json;
use transom_image::inspect::{NodeKind, inspect};
use transom_oci::{chain_ids, media_type};

use crate::builder::{ArchiveFile, Layout, archive, config, file, platform_json, sha256};

#[test]
fn the_tree_has_everything() {
    let mut layout = Layout::new();
    let mut image = layout.image("linux/arm64/v8", &[b"1", b"22"]);
    image["platform"] = platform_json("linux/arm64/v8");
    let mut attestation = layout.image("unknown/unknown", &[b"x"]);
    attestation["platform"] = platform_json("unknown/unknown");
    let empty = layout.json(media_type::EMPTY_CONFIG, &json!({}));
    let artifact = layout.manifest(&empty, &[]);
    let index = layout.index(&[image, attestation, artifact]);
    layout.list(index, Some("v1"));
    let tree = inspect(&layout.open().unwrap()).unwrap();

    let root = &tree.entries[0];
    assert_eq!(
        (root.kind, root.names.as_slice()),
        (NodeKind::Index, ["v1".to_owned()].as_slice())
    );
    let kinds: Vec<NodeKind> = root.manifests.iter().map(|node| node.kind).collect();
    assert_eq!(
        kinds,
        [NodeKind::Image, NodeKind::Attestation, NodeKind::Artifact]
    );
    assert_eq!(
        root.manifests[2].artifact_type.as_deref(),
        Some(media_type::EMPTY_CONFIG)
    );

    let image = root.manifests[0].image.as_ref().unwrap();
    let diff_ids = [sha256(b"1"), sha256(b"22")];
    assert_eq!(image.layers_size, 3);
    assert_eq!(image.layers[1].diff_id.as_ref(), Some(&diff_ids[1]));
    assert_eq!(image.layers[1].chain_id.as_ref(), Some(&chain_ids(&diff_ids)[1]));

    let text = serde_json::to_value(&tree).unwrap();
    let layer = &text["entries"][0]["manifests"][0]["image"]["layers"][0];
    assert_eq!(text["format"], "oci-layout");
    assert_eq!(layer["mediaType"], media_type::LAYER_TAR);
    assert_eq!(layer["diffID"], diff_ids[0].as_str());
    assert_eq!(layer["chainID"], diff_ids[0].as_str());
}

#[test]
fn damage_is_told_in_its_place() {
    let mut layout = Layout::new();
    let good = layout.image("linux/amd64", &[b"1"]);
    let gone = layout.image("linux/amd64", &[b"gone"]);
    let layer = layout.blob(media_type::LAYER_TAR, b"no layer");
    std::fs::remove_file(layout.blob_path(&gone)).unwrap();
    std::fs::remove_file(layout.blob_path(&layer)).unwrap();
    let config = layout.json(
        media_type::IMAGE_CONFIG,
        &config("linux/amd64", &[b"no layer", b"one more"]),
    );
    let partly = layout.manifest(&config, &[layer]);
    for (name, image) in [("good", good), ("gone", gone), ("partly", partly)] {
        layout.list(image, Some(name));
    }
    let tree = inspect(&layout.open().unwrap()).unwrap();
    let problem = |at: usize| tree.entries[at].problem.clone().unwrap_or_default();
    assert_eq!((tree.entries[0].kind, problem(0).as_str()), (NodeKind::Image, ""));
    assert_eq!(tree.entries[1].kind, NodeKind::Unreadable);
    assert!(problem(1).contains("missing"));
    assert!(problem(2).contains("1 layers") && problem(2).contains("2 diffIDs"));
    let image = tree.entries[2].image.as_ref().unwrap();
    assert!(image.layers[0].problem.as_ref().unwrap().contains("missing"));
}

#[test]
fn docker_archives_have_a_tree_too() {
    let config = config("linux/amd64", &[b"1", b"2"]).to_string();
    let manifest = json!([
        {"Config": "c", "RepoTags": ["a:1"], "Layers": ["1.tar", "gone.tar"]},
        {"Config": "c", "RepoTags": ["b:1"], "Layers": ["1.tar"]},
    ])
    .to_string();
    let disk = ArchiveFile::new(&archive(&[
        file("manifest.json", manifest.as_bytes()),
        file("c", config.as_bytes()),
        file("1.tar", b"1"),
    ]));
    let tree = inspect(&disk.open().unwrap()).unwrap();
    let node = &tree.entries[0];
    assert_eq!(
        (node.kind, node.names.as_slice()),
        (NodeKind::Image, ["a:1".to_owned()].as_slice())
    );
    assert_eq!(node.digest, sha256(config.as_bytes()));
    let layers = &node.image.as_ref().unwrap().layers;
    assert_eq!(layers[0].descriptor.size, 1);
    assert!(layers[0].problem.is_none());
    assert!(layers[1].problem.as_ref().unwrap().contains("gone.tar"));
    assert_eq!(tree.entries[1].kind, NodeKind::Unreadable);
}
