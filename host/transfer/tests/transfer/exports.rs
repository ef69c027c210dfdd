//! Exports: containerd's cases of `TestExportAllCases`, the same bytes each time, and what comes back when they are imported.

use std::collections::BTreeMap;
use std::io::Read;

use transom_meta::Class;
use transom_oci::{Descriptor, Index, Platform, media_type};
use transom_transfer::{ExportOptions, ImageStore, Platforms};

use crate::stage::{
    Sample, Stage, any_name, archive, blob_name, caller, descriptor, digest, image_names, index, layout,
    named, refused,
};

/// The files of an archive, and that their headers say nothing but what they must.
fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut last = String::new();
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header();
        let (mtime, uid, gid) = (
            header.mtime().unwrap(),
            header.uid().unwrap(),
            header.gid().unwrap(),
        );
        assert_eq!((mtime, uid, gid), (0, 0, 0));
        let name = entry.path().unwrap().to_string_lossy().into_owned();
        assert!(last < name, "{last} {name}");
        last.clone_from(&name);
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        files.insert(name, bytes);
    }
    files
}

fn has(files: &BTreeMap<String, Vec<u8>>, sample: &Sample) -> bool {
    sample
        .blobs()
        .iter()
        .all(|blob| files.get(&blob_name(blob)).is_some_and(|found| found == blob))
}

fn host() -> String {
    Platform::host().to_string()
}

fn everything() -> ExportOptions {
    ExportOptions {
        all_platforms: true,
        ..ExportOptions::default()
    }
}

/// A store with an image for this machine and one for another, of which a part may be left out.
struct Multi {
    stage: Stage,
    here: Sample,
    there: Sample,
    list: Vec<u8>,
}

const NAME: &str = "docker.io/library/multi:1";

async fn multi(leave_out: usize) -> Multi {
    let here = Sample::new(&host(), &["a", "b"]);
    let there = Sample::new("linux/s390x", &["c"]);
    let list = index(&[there.with_platform(), here.with_platform()]);
    let root = index(&[named(descriptor(media_type::INDEX, &list), NAME)]);
    let mut blobs = here.blobs();
    blobs.extend(there.blobs().into_iter().skip(leave_out));
    blobs.push(&list);
    let archive = layout(&blobs, &root);
    let stage = Stage::new().await;
    stage.import(&archive, &any_name()).await.unwrap();
    Multi {
        stage,
        here,
        there,
        list,
    }
}

#[tokio::test]
async fn export_full_image() {
    let Multi {
        stage,
        here,
        there,
        list,
    } = multi(0).await;
    let exported = stage.export(&[NAME], &everything()).await.unwrap();
    let files = files(&exported);
    assert!(has(&files, &here) && has(&files, &there) && files.contains_key(&blob_name(&list)));
    assert_eq!(files["oci-layout"], br#"{"imageLayoutVersion":"1.0.0"}"#);
    let index: Index = serde_json::from_slice(&files["index.json"]).unwrap();
    assert_eq!(index.media_type.as_deref(), Some(media_type::INDEX));
    let [target] = index.manifests.as_slice() else {
        panic!("{index:?}")
    };
    assert_eq!(target.digest, digest(&list));
    assert_eq!(target.annotations["io.containerd.image.name"], NAME);
    assert_eq!(target.annotations["org.opencontainers.image.ref.name"], "1");
    let docker: serde_json::Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    let layers: Vec<String> = here.layers.iter().map(|layer| blob_name(layer)).collect();
    let wanted =
        serde_json::json!([{ "Config": blob_name(&here.config), "RepoTags": ["multi:1"], "Layers": layers }]);
    assert_eq!(docker, wanted, "the image for this machine");
    assert_eq!(
        stage.export(&[NAME], &everything()).await.unwrap(),
        exported,
        "the same bytes each time"
    );
    let told = stage.told.names("complete");
    assert!(
        told.contains(&format!("layer-{}", digest(&here.layers[0]))),
        "{told:?}"
    );
}

/// The same from another store, into which it came another way.
#[tokio::test]
async fn what_was_exported_can_be_imported_and_exported_again() {
    let Multi { stage, .. } = multi(0).await;
    let exported = stage.export(&[NAME], &everything()).await.unwrap();
    let other = Stage::new().await;
    let images = other.import(&exported, &any_name()).await.unwrap();
    assert_eq!(image_names(&images), [NAME]);
    assert_eq!(other.export(&[NAME], &everything()).await.unwrap(), exported);
    assert_eq!(other.collected().await, stage.collected().await);
}

#[tokio::test]
async fn only_wanted_platforms_are_exported() {
    let Multi {
        stage,
        here,
        there,
        list,
    } = multi(0).await;
    let here_only = files(&stage.export(&[NAME], &ExportOptions::default()).await.unwrap());
    assert!(has(&here_only, &here) && !has(&here_only, &there) && here_only.contains_key(&blob_name(&list)));
    let of = |platform: &str| ExportOptions {
        platforms: Platforms(vec![platform.parse().unwrap()]),
        ..ExportOptions::default()
    };
    let there_only = files(&stage.export(&[NAME], &of("linux/s390x")).await.unwrap());
    assert!(!has(&there_only, &here) && has(&there_only, &there));
    let (class, text) = refused(stage.export(&[NAME], &of("linux/riscv64")).await);
    assert_eq!(class, Class::NotFound);
    assert!(text.starts_with("no manifest found for platform"), "{text}");
}

#[tokio::test]
async fn export_all_platforms_without_skip_missing() {
    // The layer; with configuration and layer; with the manifest.
    for leave_out in 1..=2 {
        let Multi { stage, .. } = multi(leave_out).await;
        let (class, text) = refused(stage.export(&[NAME], &everything()).await);
        assert_eq!(class, Class::NotFound, "should fail with not found error: {text}");
        stage.export(&[NAME], &ExportOptions::default()).await.unwrap();
    }
}

#[tokio::test]
async fn export_all_platforms_with_skip_missing() {
    let Multi {
        stage, here, there, ..
    } = multi(1).await;
    let options = ExportOptions {
        skip_missing: true,
        ..everything()
    };
    let files = files(&stage.export(&[NAME], &options).await.unwrap());
    assert!(has(&files, &here));
    assert!(
        files.contains_key(&blob_name(&there.manifest)),
        "the manifest itself is there"
    );
    assert!(
        !files.contains_key(&blob_name(&there.config)),
        "but nothing of what it lists"
    );
}

#[tokio::test]
async fn export_without_dockers_listing() {
    let Multi { stage, here, .. } = multi(0).await;
    let options = ExportOptions {
        skip_docker: true,
        ..ExportOptions::default()
    };
    let files = files(&stage.export(&[NAME], &options).await.unwrap());
    assert!(has(&files, &here) && files.contains_key("index.json") && !files.contains_key("manifest.json"));
}

#[tokio::test]
async fn export_index_only() {
    let Multi {
        stage,
        here,
        there,
        list,
    } = multi(0).await;
    for blob in here.blobs().into_iter().chain(there.blobs()) {
        stage
            .metadata
            .content_delete(&caller(), &digest(blob))
            .await
            .unwrap();
    }
    let options = ExportOptions {
        skip_missing: true,
        ..everything()
    };
    let files = files(&stage.export(&[NAME], &options).await.unwrap());
    assert!(files.contains_key(&blob_name(&list)) && !files.contains_key("manifest.json"));
    assert_eq!(files.len(), 5, "{:?}", files.keys());
}

#[tokio::test]
async fn export_image_setting_annotation_ref_name() {
    let stage = Stage::new().await;
    let sample = Sample::new(&host(), &["a"]);
    let name = format!("registry.test/a@{}", digest(&sample.manifest));
    stage.import(&archive(&sample, &name), &any_name()).await.unwrap();
    let files = files(&stage.export(&[&name], &ExportOptions::default()).await.unwrap());
    let index: Index = serde_json::from_slice(&files["index.json"]).unwrap();
    assert_eq!(
        index.manifests[0].annotations["org.opencontainers.image.ref.name"],
        name
    );
}

#[tokio::test]
async fn several_images_share_their_blobs_and_their_entry() {
    let stage = Stage::new().await;
    let (a, b) = (Sample::new(&host(), &["a"]), Sample::new(&host(), &["a", "b"]));
    for (sample, name) in [
        (&a, "docker.io/library/a:1"),
        (&a, "quay.io/a:2"),
        (&b, "Not docker's"),
    ] {
        stage.import(&archive(sample, name), &any_name()).await.unwrap();
    }
    let names = [
        "docker.io/library/a:1",
        "import.test/any:Not docker's",
        "quay.io/a:2",
    ];
    let exported = stage.export(&names, &ExportOptions::default()).await.unwrap();
    let files = files(&exported);
    assert!(has(&files, &a) && has(&files, &b));
    let docker: serde_json::Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    let tags: Vec<_> = docker
        .as_array()
        .unwrap()
        .iter()
        .map(|image| image["RepoTags"].clone())
        .collect();
    assert_eq!(
        tags,
        [serde_json::json!(["a:1", "quay.io/a:2"]), serde_json::Value::Null]
    );
    let index: Index = serde_json::from_slice(&files["index.json"]).unwrap();
    assert_eq!(index.manifests.len(), 3);
}

#[tokio::test]
async fn layers_that_must_not_be_handed_on_are_left_out() {
    let stage = Stage::new().await;
    let mut sample = Sample::new(&host(), &["a", "b"]);
    let foreign = media_type::LAYER_NONDISTRIBUTABLE_TAR;
    let kinds = [foreign, media_type::LAYER_TAR_GZIP];
    let layers: Vec<Descriptor> = kinds
        .iter()
        .zip(&sample.layers)
        .map(|(kind, layer)| descriptor(kind, layer))
        .collect();
    let config = descriptor(media_type::IMAGE_CONFIG, &sample.config);
    sample.manifest = serde_json::json!({ "schemaVersion": 2, "config": config, "layers": layers })
        .to_string()
        .into_bytes();
    stage.import(&archive(&sample, "a"), &any_name()).await.unwrap();
    let name = ["import.test/any:a"];
    assert!(has(
        &files(&stage.export(&name, &ExportOptions::default()).await.unwrap()),
        &sample
    ));
    let options = ExportOptions {
        skip_nondistributable: true,
        ..ExportOptions::default()
    };
    let files = files(&stage.export(&name, &options).await.unwrap());
    assert!(
        !files.contains_key(&blob_name(&sample.layers[0]))
            && files.contains_key(&blob_name(&sample.layers[1]))
    );
}

#[tokio::test]
async fn what_cannot_be_exported_is_refused_before_the_first_byte() {
    let stage = Stage::new().await;
    let sample = Sample::new(&host(), &["a"]);
    stage.import(&archive(&sample, "a"), &any_name()).await.unwrap();
    let mut odd = sample.descriptor();
    odd.media_type = "x/y".to_owned();
    let root = index(&[named(odd, "odd")]);
    stage
        .import(&layout(&sample.blobs(), &root), &any_name())
        .await
        .unwrap();
    stage
        .metadata
        .content_delete(&caller(), &digest(&sample.layers[0]))
        .await
        .unwrap();
    for (name, class) in [
        ("none", Class::NotFound),
        ("import.test/any:a", Class::NotFound),
        ("import.test/any:odd", Class::InvalidArgument),
    ] {
        let mut sent = Vec::new();
        let images = ImageStore::named(name);
        let options = ExportOptions::default();
        let done = stage
            .transfers
            .export(&caller(), &images, &options, &mut sent, &())
            .await;
        assert_eq!(refused(done).0, class, "{name}");
        assert!(sent.is_empty());
    }
    let (class, _) = refused(stage.export(&[], &ExportOptions::default()).await);
    assert_eq!(class, Class::InvalidArgument);
}

/// A blob that is damaged on the disk does not leave the store as a good one.
#[tokio::test]
async fn damage_is_found_on_the_way_out() {
    let stage = Stage::new().await;
    let sample = Sample::new(&host(), &["a"]);
    stage.import(&archive(&sample, "a"), &any_name()).await.unwrap();
    let path = stage.metadata.blobs().blob_path(&digest(&sample.layers[0]));
    let mut bytes = sample.layers[0].clone();
    bytes[20] ^= 1;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, &bytes).unwrap();
    let (class, text) = refused(
        stage
            .export(&["import.test/any:a"], &ExportOptions::default())
            .await,
    );
    assert_eq!(class, Class::DataLoss, "{text}");
}
