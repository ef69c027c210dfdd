//! `docker save` archives of all ages.

use serde_json::{Value, json};
use transom_image::reference::Selector;
use transom_image::{Format, ImageError, PlatformChoice, Transport, resolve};
use transom_oci::media_type;

use crate::builder::{
    ArchiveFile, Layout, Member, archive, config, file, gzip, hard_link, open_with, read_layer, reference,
    sha256, symlink, zstd,
};

/// The configuration's member, its name and its digest.
fn configuration(layers: &[&[u8]]) -> (Member, String, String) {
    let bytes = config("linux/amd64", layers).to_string();
    let digest = sha256(bytes.as_bytes());
    let name = format!("{}.json", digest.hex());
    (file(&name, bytes.as_bytes()), name, digest.to_string())
}

fn listing(entries: &Value) -> Member {
    file("manifest.json", entries.to_string().as_bytes())
}

/// One image tagged `alpine:3.18`, with these layers under these names.
fn one_image(diff_ids: &[&[u8]], names: &[&str], files: &[Member]) -> ArchiveFile {
    let (config, config_name, _) = configuration(diff_ids);
    let manifest = listing(&json!([{"Config": config_name, "RepoTags": ["alpine:3.18"], "Layers": names}]));
    let members = [files, &[config, manifest]].concat();
    ArchiveFile::new(&archive(&members))
}

#[test]
fn old_archives_with_linked_duplicate_layers() {
    for link in [
        symlink("c/layer.tar", "../a/layer.tar"),
        hard_link("c/layer.tar", "a/layer.tar"),
    ] {
        let disk = one_image(
            &[b"1", b"22", b"1"],
            &["a/layer.tar", "b/layer.tar", "c/layer.tar"],
            &[
                link,
                file("a/layer.tar", b"1"),
                file("b/layer.tar", b"22"),
                file("a/VERSION", b"1.0"),
            ],
        );
        let source = disk.open().unwrap();
        assert_eq!(source.format(), Format::DockerArchive);
        let image = disk.resolve("").unwrap();
        assert_eq!(image.name.as_deref(), Some("alpine:3.18"));
        assert_eq!(image.manifest.config.media_type, media_type::DOCKER_IMAGE_CONFIG);
        for (at, data) in [b"1".as_slice(), b"22", b"1"].into_iter().enumerate() {
            assert_eq!(read_layer(&source, &image, at), data);
            let descriptor = &image.layers[at].descriptor;
            assert_eq!(descriptor.media_type, media_type::DOCKER_LAYER);
            assert_eq!(
                (&descriptor.digest, descriptor.size),
                (&sha256(data), data.len() as u64)
            );
        }
        let bytes = serde_json::to_vec(&image.manifest).unwrap();
        assert_eq!(image.descriptor.digest, sha256(&bytes));
        assert_eq!(image.descriptor.size, bytes.len() as u64);
    }
}

#[test]
fn names_are_found_short_and_full() {
    let disk = one_image(&[b"1"], &["1.tar"], &[file("1.tar", b"1")]);
    for selector in [
        "",
        ":alpine:3.18",
        ":docker.io/library/alpine:3.18",
        ":3.18",
        ":library/alpine:3.18",
    ] {
        assert!(disk.resolve(selector).is_ok(), "{selector}");
    }
    for selector in [":alpine", ":quay.io/alpine:3.18", ":3.1"] {
        let error = disk.resolve(selector).unwrap_err();
        assert!(
            matches!(error, ImageError::NoSuchImage { .. }),
            "{selector}: {error}"
        );
        assert!(error.to_string().contains("alpine:3.18"), "{error}");
    }
}

#[test]
fn several_images_are_told_apart() {
    let (first, first_name, first_digest) = configuration(&[b"1"]);
    let (second, second_name, second_digest) = configuration(&[b"2"]);
    let manifest = listing(&json!([
        {"Config": first_name, "RepoTags": ["a:1", "a:latest"], "Layers": ["1.tar"]},
        {"Config": second_name, "RepoTags": null, "Layers": ["2.tar"]},
    ]));
    let disk = ArchiveFile::new(&archive(&[
        manifest,
        first,
        second,
        file("1.tar", b"1"),
        file("2.tar", b"2"),
    ]));
    let error = disk.resolve("").unwrap_err();
    assert!(matches!(error, ImageError::Ambiguous { .. }), "{error}");
    assert!(error.to_string().contains(&second_digest), "{error}");
    assert_eq!(disk.resolve(":a").unwrap().name.as_deref(), Some("a:latest"));
    assert_eq!(disk.resolve(":1").unwrap().name.as_deref(), Some("a:1"));
    let image = disk.resolve(&format!("@{second_digest}")).unwrap();
    assert_eq!(
        (image.name, image.layers[0].diff_id.clone()),
        (None, sha256(b"2"))
    );
    assert!(disk.resolve(&format!(":a@{first_digest}")).is_ok());
    assert!(disk.resolve(&format!(":a@{second_digest}")).is_err());
}

#[test]
fn compressed_layers_are_hashed() {
    let (gz, zst) = (gzip(b"1"), zstd(b"2"));
    let disk = one_image(
        &[b"1", b"2"],
        &["1.tar.gz", "2"],
        &[file("1.tar.gz", &gz), file("2", &zst)],
    );
    let image = disk.resolve("").unwrap();
    assert_eq!(
        image.layers[0].descriptor.media_type,
        media_type::DOCKER_LAYER_GZIP
    );
    assert_eq!(image.layers[0].descriptor.digest, sha256(&gz));
    assert_eq!(image.layers[0].diff_id, sha256(b"1"));
    assert_eq!(
        image.layers[1].descriptor.media_type,
        media_type::DOCKER_LAYER_ZSTD
    );
    assert_eq!(image.layers[1].descriptor.digest, sha256(&zst));
}

#[test]
fn recorded_sources_count_when_they_fit() {
    let (config, config_name, _) = configuration(&[b"1", b"2"]);
    let source =
        |size: u64| json!({"mediaType": media_type::LAYER_TAR, "size": size, "digest": sha256(b"other")});
    let manifest = listing(
        &json!([{"Config": config_name, "RepoTags": [], "Layers": ["1", "2"],
        "LayerSources": {sha256(b"1").as_str(): source(1), sha256(b"2").as_str(): source(1000)}}]),
    );
    let disk = ArchiveFile::new(&archive(&[manifest, config, file("1", b"1"), file("2", b"2")]));
    let image = disk.resolve("").unwrap();
    assert_eq!(image.layers[0].descriptor.media_type, media_type::LAYER_TAR);
    assert_eq!(image.layers[0].descriptor.digest, sha256(b"other"));
    assert_eq!(image.layers[1].descriptor.media_type, media_type::DOCKER_LAYER);
    assert_eq!(image.layers[1].descriptor.digest, sha256(b"2"));
}

/// What docker saves since version 25: a layout with a manifest.json that points into it.
fn new_archive() -> (Layout, ArchiveFile) {
    let mut layout = Layout::new();
    let mut image = layout.image("linux/amd64", &[b"1"]);
    image["annotations"] = json!({"io.containerd.image.name": "docker.io/library/alpine:3.18",
        "org.opencontainers.image.ref.name": "3.18"});
    layout.list(image, None);
    let config = sha256(config("linux/amd64", &[b"1"]).to_string().as_bytes());
    let manifest = json!([{"Config": format!("blobs/sha256/{}", config.hex()), "RepoTags": ["alpine:3.18"],
        "Layers": [format!("blobs/sha256/{}", sha256(b"1").hex())]}]);
    std::fs::write(layout.path().join("manifest.json"), manifest.to_string()).unwrap();
    let disk = ArchiveFile::new(&layout.archive());
    (layout, disk)
}

#[test]
fn new_archives_are_layouts_unless_asked() {
    let (_, disk) = new_archive();
    assert_eq!(disk.open().unwrap().format(), Format::OciArchive);
    let image = disk.resolve(":alpine:3.18").unwrap();
    assert_eq!(image.descriptor.media_type, media_type::MANIFEST);

    let mut asked = reference(&disk.path(), "");
    asked.transport = Some(Transport::DockerArchive);
    let source = open_with(&asked, &mut std::io::empty()).unwrap();
    assert_eq!(source.format(), Format::DockerArchive);
    let image = resolve(&source, &Selector::default(), &PlatformChoice::Host).unwrap();
    assert_eq!(image.descriptor.media_type, media_type::DOCKER_MANIFEST);
    assert_eq!(read_layer(&source, &image, 0), b"1");
}

#[test]
fn damage_is_named() {
    let disk = one_image(&[b"1"], &["gone.tar"], &[]);
    let error = disk.resolve("").unwrap_err();
    assert!(
        matches!(error, ImageError::MissingMember { ref member, .. } if member == "gone.tar"),
        "{error}"
    );

    let disk = one_image(&[b"1"], &["../1.tar"], &[file("1.tar", b"1")]);
    assert!(matches!(disk.resolve(""), Err(ImageError::MissingMember { .. })));

    let disk = one_image(&[b"1"], &["1.tar"], &[symlink("1.tar", "/etc/passwd")]);
    assert!(matches!(disk.resolve(""), Err(ImageError::ArchiveLink { .. })));

    let disk = one_image(&[b"1", b"2"], &["1.tar"], &[file("1.tar", b"1")]);
    assert!(matches!(
        disk.resolve(""),
        Err(ImageError::LayerCount {
            layers: 1,
            diff_ids: 2,
            ..
        })
    ));

    let (config, name, _) = configuration(&[b"1"]);
    let manifest = listing(&json!([{"Config": name, "Layers": []}]));
    let broken = file(&name, &[config.data, b" ".to_vec()].concat());
    let disk = ArchiveFile::new(&archive(&[manifest.clone(), broken]));
    assert!(matches!(disk.resolve(""), Err(ImageError::WrongDigest { .. })));
    let disk = ArchiveFile::new(&archive(&[manifest]));
    assert!(matches!(disk.resolve(""), Err(ImageError::MissingMember { .. })));

    let disk = ArchiveFile::new(&archive(&[file("manifest.json", b"[{}]")]));
    assert!(matches!(disk.open(), Err(ImageError::NotJson { .. })));
    let disk = ArchiveFile::new(&archive(&[file("manifest.json", b"[]")]));
    assert!(matches!(disk.resolve(""), Err(ImageError::Empty { .. })));
}

#[test]
fn a_damaged_image_does_not_hide_its_neighbour() {
    let (first, first_name, _) = configuration(&[b"1"]);
    let manifest = listing(&json!([
        {"Config": "gone.json", "RepoTags": ["gone:1"], "Layers": []},
        {"Config": first_name, "RepoTags": ["a:1"], "Layers": ["1.tar"]},
    ]));
    let disk = ArchiveFile::new(&archive(&[manifest, first, file("1.tar", b"1")]));
    assert!(disk.resolve(":a:1").is_ok());
    assert!(matches!(
        disk.resolve(":gone:1"),
        Err(ImageError::MissingMember { .. })
    ));
}
