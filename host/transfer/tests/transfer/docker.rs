//! Imports of `docker save` archives: containerd's cases, links, compression, and both formats in one.

use std::collections::BTreeSet;

use transom_meta::{Class, Labels};
use transom_oci::{Descriptor, Digest, Manifest, media_type};
use transom_transfer::{ImageStore, ImportOptions, Platforms};

use crate::stage::{
    LAYOUT, Sample, Stage, any_name, blob_name, caller, digest, gzip, header, image_names, index, named,
    refused, tar,
};

const LAYER: &str = "bd765cd43e95212f7aa2cab51d0a/layer.tar";
const CONFIG: &str = "e95212f7aa2cab51d0abd765cd43.json";
const UNCOMPRESSED: &str = "containerd.io/uncompressed";

fn listing(layers: &[&str]) -> Vec<u8> {
    serde_json::json!([{ "Config": CONFIG, "RepoTags": ["test-import:notlatest", "another/repo:tag"], "Layers": layers }])
        .to_string()
        .into_bytes()
}

/// The files of one image in docker's old form, its layer as it is given.
fn old_form<'a>(layer: &'a [u8], config: &'a [u8], listing: &'a [u8]) -> Vec<(&'a str, &'a [u8])> {
    vec![
        ("bd765cd43e95212f7aa2cab51d0a/json", b"{}"),
        (LAYER, layer),
        ("bd765cd43e95212f7aa2cab51d0a/VERSION", b"1.0"),
        (CONFIG, config),
        ("repositories", br#"{"any":{"1":"bd765cd43e95212f7aa2cab51d0a"}}"#),
        ("manifest.json", listing),
    ]
}

fn layer_of(text: &str) -> Vec<u8> {
    tar(&[(text, text.as_bytes())])
}

async fn manifest_of(stage: &Stage, target: &str) -> Manifest {
    let digest: Digest = target.parse().unwrap();
    let blob = stage.metadata.content_reader(&caller(), &digest).await.unwrap();
    let mut bytes = vec![0; usize::try_from(blob.size()).unwrap()];
    assert_eq!(blob.read_at(&mut bytes, 0).unwrap(), bytes.len());
    serde_json::from_slice(&bytes).unwrap()
}

/// The layers of the only image that an import made, and that all names of it are one image.
async fn layers(stage: &Stage, archive: &[u8], options: ImportOptions) -> Vec<Descriptor> {
    let images = stage.import_with(archive, &any_name(), options).await.unwrap();
    assert_eq!(
        image_names(&images),
        [
            "docker.io/library/test-import:notlatest",
            "docker.io/another/repo:tag"
        ]
    );
    assert_eq!(images[0].target.digest, images[1].target.digest);
    assert_eq!(images[0].target.media_type, media_type::DOCKER_MANIFEST);
    manifest_of(stage, &images[0].target.digest).await.layers
}

#[tokio::test]
async fn docker_v2_0() {
    let stage = Stage::new().await;
    let files = old_form(b"", b"", b"");
    let (class, text) = refused(stage.import(&tar(&files[..3]), &any_name()).await);
    assert_eq!(class, Class::InvalidArgument);
    assert!(text.starts_with("unrecognized image format"), "{text}");
}

#[tokio::test]
async fn docker_v2_1() {
    let stage = Stage::new().await;
    let sample = Sample::new("linux/amd64", &["a"]);
    let (plain, listing) = (layer_of("a"), listing(&[LAYER]));
    let archive = tar(&old_form(&plain, &sample.config, &listing));
    let found = layers(&stage, &archive, ImportOptions::default()).await;
    assert_eq!(
        found,
        [Descriptor::new(
            media_type::DOCKER_LAYER,
            digest(&plain),
            plain.len() as u64
        )]
    );
    let labels = stage.labels(&plain).await;
    assert_eq!(
        labels,
        Labels::from([(UNCOMPRESSED.to_owned(), digest(&plain).to_string())])
    );
    let kept = stage.collected().await;
    assert!(
        kept.is_superset(
            &[&sample.config, &plain]
                .map(|blob| digest(blob).to_string())
                .into()
        )
    );
    assert_eq!(kept.len(), 3, "layer, configuration and manifest");
}

/// The manifest and index are the bytes that containerd makes of the same archive.
#[tokio::test]
async fn manifests_are_made_as_containerd_makes_them() {
    let stage = Stage::new().await;
    let config = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    let listing = listing(&[]);
    let archive = tar(&old_form(b"", config, &listing));
    let into = ImageStore {
        name: "whole".to_owned(),
        ..any_name()
    };
    let images = stage.import(&archive, &into).await.unwrap();
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{}","digest":"{}","size":{}}},"layers":[]}}"#,
        media_type::DOCKER_MANIFEST,
        media_type::DOCKER_IMAGE_CONFIG,
        digest(config),
        config.len()
    );
    let entry = |name: &str, tag: &str| {
        format!(
            r#"{{"mediaType":"{}","digest":"{}","size":{},"annotations":{{"io.containerd.image.name":"{name}","org.opencontainers.image.ref.name":"{tag}"}},"platform":{{"architecture":"amd64","os":"linux"}}}}"#,
            media_type::DOCKER_MANIFEST,
            digest(manifest.as_bytes()),
            manifest.len()
        )
    };
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{},{}]}}"#,
        entry("docker.io/library/test-import:notlatest", "notlatest"),
        entry("docker.io/another/repo:tag", "tag")
    );
    assert_eq!(images[0].target.digest, digest(index.as_bytes()).to_string());
    assert_eq!(images[1].target.digest, digest(manifest.as_bytes()).to_string());
}

#[tokio::test]
async fn docker_v2_1_bad_os_arch() {
    let stage = Stage::new().await;
    let (bad, listing) = (Sample::new("foo/lish", &["a"]), listing(&[LAYER]));
    let plain = layer_of("a");
    let archive = tar(&old_form(&plain, &bad.config, &listing));
    let into = ImageStore {
        platforms: Platforms(vec!["linux/amd64".parse().unwrap()]),
        ..any_name()
    };
    let (class, text) = refused(stage.import(&archive, &into).await);
    assert_eq!((class, &*text), (Class::NotFound, "image might be filtered out"));
    assert_eq!(stage.collected().await, BTreeSet::new());
}

#[tokio::test]
async fn compressed_layers_are_told_by_their_bytes() {
    let stage = Stage::new().await;
    let sample = Sample::new("linux/amd64", &["a"]);
    let listing = listing(&[LAYER]);
    let zstd = zstd::encode_all(&layer_of("a")[..], 1).unwrap();
    for (layer, kind) in [
        (gzip(&layer_of("a")), media_type::DOCKER_LAYER_GZIP),
        (zstd, media_type::DOCKER_LAYER_ZSTD),
    ] {
        let archive = tar(&old_form(&layer, &sample.config, &listing));
        let found = layers(&stage, &archive, ImportOptions::default()).await;
        assert_eq!(found, [Descriptor::new(kind, digest(&layer), layer.len() as u64)]);
    }
}

/// A plain layer is compressed when that is asked for, and the compressed one is found again the next time.
#[tokio::test]
async fn plain_layers_are_compressed_and_found_again() {
    let stage = Stage::new().await;
    let sample = Sample::new("linux/amd64", &["a"]);
    let (plain, listing) = (layer_of("a"), listing(&[LAYER]));
    let archive = tar(&old_form(&plain, &sample.config, &listing));
    let compress = ImportOptions {
        compress: true,
        ..ImportOptions::default()
    };
    let found = layers(&stage, &archive, compress).await;
    assert_eq!(found[0].media_type, media_type::DOCKER_LAYER_GZIP);
    let info = stage
        .metadata
        .content_info(&caller(), &found[0].digest)
        .await
        .unwrap();
    assert_eq!(info.labels.get(UNCOMPRESSED), Some(&digest(&plain).to_string()));
    assert_eq!(info.size, found[0].size);
    stage.collected().await;
    assert_eq!(layers(&stage, &archive, ImportOptions::default()).await, found);
    assert!(stage.collected().await.contains(found[0].digest.as_str()));
}

#[tokio::test]
async fn layers_may_be_links() {
    let stage = Stage::new().await;
    let sample = Sample::new("linux/amd64", &["a", "a", "a"]);
    let plain = layer_of("a");
    let listing = listing(&[LAYER, "b/layer.tar", "c"]);
    let mut builder = tar::Builder::new(Vec::new());
    let mut link = |kind, name: &str, target: &str| {
        let mut header = header(name, 0);
        header.set_entry_type(kind);
        header.set_link_name_literal(target).unwrap();
        header.set_cksum();
        builder.append(&header, &[][..]).unwrap();
    };
    link(tar::EntryType::Symlink, "b/layer.tar", &format!("../{LAYER}"));
    link(tar::EntryType::Link, "c", "b/layer.tar");
    link(tar::EntryType::Symlink, "away", "../../etc/passwd");
    link(tar::EntryType::Symlink, "round", "round");
    for (name, bytes) in old_form(&plain, &sample.config, &listing) {
        let mut header = header(name, bytes.len() as u64);
        header.set_cksum();
        builder.append(&header, bytes).unwrap();
    }
    let archive = builder.into_inner().unwrap();
    let found = layers(&stage, &archive, ImportOptions::default()).await;
    assert_eq!(found.len(), 3);
    assert!(found.iter().all(|layer| layer.digest == digest(&plain)));
}

#[tokio::test]
async fn what_is_listed_must_be_there() {
    let stage = Stage::new().await;
    let sample = Sample::new("linux/amd64", &["a"]);
    let plain = layer_of("a");
    for (layers, config, wanted) in [
        (vec!["none"], CONFIG, "layer \"none\" not found"),
        (
            vec!["../../etc/passwd"],
            CONFIG,
            "layer \"../../etc/passwd\" not found",
        ),
        (vec!["round"], CONFIG, "layer \"round\" not found"),
        (vec![LAYER], "none.json", "image config \"none.json\" not found"),
        (vec![LAYER], "repositories", "repositories: expected"),
    ] {
        let listing = serde_json::json!([{ "Config": config, "Layers": layers }]).to_string();
        let mut files = old_form(&plain, &sample.config, listing.as_bytes());
        files[4].1 = b"no json";
        let (class, text) = refused(stage.import(&tar(&files), &any_name()).await);
        assert_eq!(class, Class::InvalidArgument, "{text}");
        assert!(text.contains(wanted), "{text}");
    }
    let promised = format!("{}.json", digest(b"something else").hex());
    let listing = serde_json::json!([{ "Config": promised, "Layers": [LAYER] }]).to_string();
    let mut files = old_form(&plain, &sample.config, listing.as_bytes());
    files[3].0 = &promised;
    let (_, text) = refused(stage.import(&tar(&files), &any_name()).await);
    assert!(text.contains("has the digest"), "{text}");
    let listing = listing_with_tag("Not a reference");
    let files = old_form(&plain, &sample.config, &listing);
    let (_, text) = refused(stage.import(&tar(&files), &any_name()).await);
    assert!(text.contains("\"Not a reference\" is no reference"), "{text}");
    assert_eq!(stage.collected().await, BTreeSet::new());
}

fn listing_with_tag(tag: &str) -> Vec<u8> {
    serde_json::json!([{ "Config": CONFIG, "RepoTags": [tag], "Layers": [LAYER] }])
        .to_string()
        .into_bytes()
}

/// Since version 25 docker writes both; the layout counts.
#[tokio::test]
async fn a_layout_counts_more_than_dockers_listing() {
    let stage = Stage::new().await;
    let sample = Sample::new("linux/amd64", &["a"]);
    let index = index(&[named(sample.descriptor(), "docker.io/library/a:1")]);
    let names: Vec<String> = sample.blobs().iter().map(|blob| blob_name(blob)).collect();
    let listing =
        serde_json::json!([{ "Config": names[1], "RepoTags": ["b:1"], "Layers": [names[0]] }]).to_string();
    let mut files: Vec<(&str, &[u8])> = names.iter().map(String::as_str).zip(sample.blobs()).collect();
    files.extend([("index.json", &*index), ("manifest.json", listing.as_bytes())]);
    // Without the version it is docker's.
    let images = stage.import(&tar(&files), &any_name()).await.unwrap();
    assert_eq!(image_names(&images), ["docker.io/library/b:1"]);
    files.push(LAYOUT);
    let images = stage.import(&tar(&files), &any_name()).await.unwrap();
    assert_eq!(image_names(&images), ["docker.io/library/a:1"]);
}

/// A file that comes twice counts as it came last, as with tar programs.
#[tokio::test]
async fn the_last_of_two_files_counts() {
    let stage = Stage::new().await;
    let sample = Sample::new("linux/amd64", &["a"]);
    let (plain, large, listing) = (layer_of("a"), vec![7; 100_000], listing(&[LAYER]));
    let mut files = vec![(LAYER, large.as_slice())];
    files.extend(old_form(&plain, &sample.config, &listing));
    let found = layers(&stage, &tar(&files), ImportOptions::default()).await;
    assert_eq!(found[0].digest, digest(&plain));
}
