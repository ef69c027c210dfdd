//! Layout folders with something wrong in them: each a typed error that names it.

use std::os::unix::fs::symlink;

use serde_json::{Value, json};
use transom_image::{Image, ImageError, PlatformChoice};
use transom_oci::media_type;

use crate::builder::{Layout, config, open, read_layer, reference};

fn resolve(layout: &Layout) -> Result<Image, ImageError> {
    layout.resolve("", &PlatformChoice::Host)
}

/// The error of a layout that lists only this manifest.
fn error_of(mut layout: Layout, manifest: Value) -> ImageError {
    layout.list(manifest, None);
    resolve(&layout).unwrap_err()
}

fn parts(layout: &Layout, manifest: &Value) -> (Value, Value) {
    let bytes = std::fs::read(layout.blob_path(manifest)).unwrap();
    let document: Value = serde_json::from_slice(&bytes).unwrap();
    (document["config"].clone(), document["layers"][0].clone())
}

#[test]
fn missing_blobs_are_named() {
    for which in ["manifest", "config", "layer"] {
        let (layout, manifest) = Layout::simple();
        let (config, layer) = parts(&layout, &manifest);
        let blob = match which {
            "manifest" => manifest,
            "config" => config,
            _ => layer,
        };
        std::fs::remove_file(layout.blob_path(&blob)).unwrap();
        let error = resolve(&layout).unwrap_err();
        assert!(
            matches!(error, ImageError::MissingBlob { .. }),
            "{which}: {error}"
        );
        assert!(
            error.to_string().contains(blob["digest"].as_str().unwrap()),
            "{error}"
        );
    }
}

#[test]
fn foreign_layers_say_where_they_are() {
    let layout = Layout::new();
    let layer = json!({"mediaType": media_type::DOCKER_FOREIGN_LAYER_GZIP, "size": 1, "urls": ["https://example.com/x"],
        "digest": "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"});
    let config = layout.json(media_type::IMAGE_CONFIG, &config("linux/amd64", &[b"x"]));
    let manifest = layout.manifest(&config, &[layer]);
    let error = error_of(layout, manifest);
    assert!(error.to_string().contains("foreign layer"), "{error}");
}

#[test]
fn short_and_long_blobs_are_refused() {
    for which in ["manifest", "config", "layer"] {
        for longer in [false, true] {
            let (layout, manifest) = Layout::simple();
            let (config, layer) = parts(&layout, &manifest);
            let blob = match which {
                "manifest" => manifest,
                "config" => config,
                _ => layer,
            };
            let path = layout.blob_path(&blob);
            let mut bytes = std::fs::read(&path).unwrap();
            let length = if longer { bytes.len() + 1 } else { bytes.len() - 1 };
            bytes.resize(length, b' ');
            std::fs::write(&path, &bytes).unwrap();
            let error = resolve(&layout).unwrap_err();
            let found = matches!(error, ImageError::WrongSize { actual, .. } if actual == bytes.len() as u64);
            assert!(found, "{which}: {error}");
        }
    }
}

#[test]
fn a_layer_that_shrinks_after_it_was_chosen_is_an_error() {
    let (layout, manifest) = Layout::simple();
    let image = resolve(&layout).unwrap();
    let (_, layer) = parts(&layout, &manifest);
    let source = layout.open().unwrap();
    let mut reader = source.open_layer(&image.layers[0]).unwrap();
    std::fs::write(layout.blob_path(&layer), b"a").unwrap();
    let mut bytes = Vec::new();
    let error = std::io::Read::read_to_end(&mut reader, &mut bytes).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    assert!(matches!(
        source.open_layer(&image.layers[0]),
        Err(ImageError::WrongSize { .. })
    ));
}

#[test]
fn flipped_bits_in_documents_are_found() {
    for which in ["manifest", "config"] {
        let (layout, manifest) = Layout::simple();
        let blob = if which == "config" {
            parts(&layout, &manifest).0
        } else {
            manifest
        };
        let path = layout.blob_path(&blob);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.len() - 3;
        bytes[at] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let error = resolve(&layout).unwrap_err();
        assert!(
            matches!(error, ImageError::WrongDigest { .. }),
            "{which}: {error}"
        );
    }
}

#[test]
fn documents_that_are_no_documents() {
    let layout = Layout::new();
    let manifest = layout.blob(media_type::MANIFEST, b"{\"schemaVersion\":2,");
    assert!(matches!(error_of(layout, manifest), ImageError::NotJson { .. }));

    let layout = Layout::new();
    let config = layout.blob(media_type::IMAGE_CONFIG, b"[]");
    let manifest = layout.manifest(&config, &[]);
    assert!(matches!(error_of(layout, manifest), ImageError::NotJson { .. }));

    let layout = Layout::new();
    let manifest = layout.blob(media_type::MANIFEST, &[b'['; 100_000]);
    assert!(matches!(error_of(layout, manifest), ImageError::NotJson { .. }));

    let layout = Layout::new();
    std::fs::write(layout.path().join("index.json"), b"\xff").unwrap();
    let error = layout.open().unwrap_err();
    assert!(matches!(error, ImageError::NotJson { ref document, .. } if document.contains("index.json")));
}

#[test]
fn large_documents_are_refused_unread() {
    let layout = Layout::new();
    let mut manifest = layout.blob(media_type::MANIFEST, b"{}");
    manifest["size"] = json!((4 << 20) + 1);
    assert!(matches!(
        error_of(layout, manifest),
        ImageError::TooLarge { limit: 4_194_304, .. }
    ));

    let layout = Layout::new();
    let mut config = layout.blob(media_type::IMAGE_CONFIG, b"{}");
    config["size"] = json!(u64::MAX);
    let manifest = layout.manifest(&config, &[]);
    assert!(matches!(
        error_of(layout, manifest),
        ImageError::TooLarge { limit: 8_388_608, .. }
    ));

    let layout = Layout::new();
    let index = std::fs::File::create(layout.path().join("index.json")).unwrap();
    index.set_len((16 << 20) + 1).unwrap();
    assert!(matches!(layout.open(), Err(ImageError::TooLarge { .. })));
}

#[test]
fn schemas_other_than_two_are_refused() {
    let layout = Layout::new();
    let old = json!({"schemaVersion": 1, "name": "x", "tag": "y", "fsLayers": [], "history": []});
    let manifest = layout.json(media_type::MANIFEST, &old);
    let error = error_of(layout, manifest);
    assert!(error.to_string().contains("skopeo copy --format v2s2"), "{error}");

    let layout = Layout::new();
    let manifest = layout.json(media_type::DOCKER_MANIFEST_V1_SIGNED, &old);
    assert!(matches!(error_of(layout, manifest), ImageError::Schema1 { .. }));

    let layout = Layout::new();
    let manifest = layout.json(media_type::MANIFEST, &json!({"schemaVersion": 3}));
    assert!(matches!(
        error_of(layout, manifest),
        ImageError::SchemaVersion { version: 3, .. }
    ));
}

#[test]
fn documents_that_could_be_read_in_two_ways_are_refused() {
    let layout = Layout::new();
    let config = layout.json(media_type::IMAGE_CONFIG, &config("linux/amd64", &[]));
    let both = json!({"schemaVersion": 2, "config": config, "layers": [], "manifests": []});
    let manifest = layout.json(media_type::MANIFEST, &both);
    assert!(matches!(
        error_of(layout, manifest),
        ImageError::Contradiction { .. }
    ));

    let layout = Layout::new();
    let index = layout.json(media_type::INDEX, &both);
    assert!(matches!(
        error_of(layout, index),
        ImageError::Contradiction { .. }
    ));

    let layout = Layout::new();
    let other = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "config": config, "layers": []});
    let manifest = layout.json(media_type::MANIFEST, &other);
    assert!(matches!(
        error_of(layout, manifest),
        ImageError::Contradiction { .. }
    ));
}

#[test]
fn layers_and_diff_ids_must_agree() {
    let layout = Layout::new();
    let two = layout.json(media_type::IMAGE_CONFIG, &config("linux/amd64", &[b"1", b"2"]));
    let layer = layout.blob(media_type::LAYER_TAR, b"1");
    let manifest = layout.manifest(&two, std::slice::from_ref(&layer));
    let error = error_of(layout, manifest);
    assert!(
        matches!(
            error,
            ImageError::LayerCount {
                layers: 1,
                diff_ids: 2,
                ..
            }
        ),
        "{error}"
    );

    let layout = Layout::new();
    let many: Vec<&[u8]> = vec![b"1"; 1001];
    let manifest = layout.image("linux/amd64", &many);
    assert!(matches!(
        error_of(layout, manifest),
        ImageError::TooManyLayers { .. }
    ));
}

#[test]
fn digests_cannot_be_paths() {
    let layout = Layout::new();
    let index = r#"{"schemaVersion":2,"manifests":[{"mediaType":"x","size":1,"digest":"sha256:../../../etc/passwd"}]}"#;
    std::fs::write(layout.path().join("index.json"), index).unwrap();
    assert!(matches!(layout.open(), Err(ImageError::NotJson { .. })));
}

#[test]
fn links_out_of_the_folder_are_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    for absolute in [true, false] {
        let (layout, manifest) = Layout::simple();
        let blob = layout.blob_path(&manifest);
        let moved = outside.path().join("moved");
        std::fs::rename(&blob, &moved).unwrap();
        let name = outside.path().file_name().unwrap();
        let target = match absolute {
            true => moved.clone(),
            false => std::path::Path::new("../../..").join(name).join("moved"),
        };
        symlink(target, &blob).unwrap();
        assert!(blob.exists(), "the link must lead somewhere");
        let error = resolve(&layout).unwrap_err();
        assert!(matches!(error, ImageError::OutsideLayout { .. }), "{error}");
    }
    let (layout, _) = Layout::simple();
    let index = layout.path().join("index.json");
    std::fs::rename(&index, outside.path().join("index.json")).unwrap();
    symlink(outside.path().join("index.json"), &index).unwrap();
    assert!(matches!(layout.open(), Err(ImageError::OutsideLayout { .. })));
}

#[test]
fn links_inside_the_folder_are_followed() {
    let (layout, manifest) = Layout::simple();
    let blob = layout.blob_path(&manifest);
    std::fs::rename(&blob, layout.path().join("kept")).unwrap();
    symlink("../../kept", &blob).unwrap();
    let image = resolve(&layout).unwrap();
    assert_eq!(read_layer(&layout.open().unwrap(), &image, 0), b"a layer");
}

#[test]
fn pipes_and_folders_are_no_blobs() {
    let (layout, manifest) = Layout::simple();
    let blob = layout.blob_path(&manifest);
    std::fs::remove_file(&blob).unwrap();
    std::fs::create_dir(&blob).unwrap();
    assert!(matches!(resolve(&layout), Err(ImageError::NotAFile { .. })));
    std::fs::remove_dir(&blob).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &blob, rustix::fs::Mode::RUSR).unwrap();
    assert!(matches!(resolve(&layout), Err(ImageError::NotAFile { .. })));
}

#[test]
fn folders_that_are_no_layouts_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let error = open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("no oci-layout"), "{error}");
    std::fs::write(folder.path().join("manifest.json"), "{}").unwrap();
    let error = open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("skopeo copy dir:"), "{error}");
    let error = open(&folder.path().join("none")).unwrap_err();
    assert!(matches!(error, ImageError::NotFound { .. }));
    let error = open(&folder.path().join("manifest.json/none")).unwrap_err();
    assert!(matches!(error, ImageError::NotFound { .. }));

    let (layout, _) = Layout::simple();
    std::fs::write(
        layout.path().join("oci-layout"),
        r#"{"imageLayoutVersion":"2.0.0"}"#,
    )
    .unwrap();
    assert!(layout.open().unwrap_err().to_string().contains("2.0.0"));
}

#[test]
fn a_transport_that_does_not_fit_is_an_error() {
    let (layout, _) = Layout::simple();
    let mut wrong = reference(layout.path(), "");
    for transport in [
        transom_image::Transport::OciArchive,
        transom_image::Transport::DockerArchive,
    ] {
        wrong.transport = Some(transport);
        let error = crate::builder::open_with(&wrong, &mut std::io::empty()).unwrap_err();
        assert!(error.to_string().contains("it is a folder"), "{error}");
    }
}
