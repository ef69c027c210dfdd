//! Imports of OCI layouts: containerd's cases of `TestImport`, platforms, labels, what is kept and what is not.

use std::collections::BTreeSet;

use transom_meta::{Class, Labels};
use transom_oci::{Digest, media_type};
use transom_transfer::{ImageStore, ImportOptions, Platforms, Reference};

use crate::stage::{
    LAYOUT, Sample, Stage, any_name, archive, blob_name, caller, descriptor, digest, gzip, image_names,
    index, layout, named, plain, refused, tar,
};

const HOST: &str = "linux/amd64";

fn platforms(all: &[&str]) -> Platforms {
    Platforms(all.iter().map(|platform| platform.parse().unwrap()).collect())
}

#[tokio::test]
async fn oci() {
    let stage = Stage::new().await;
    let sample = Sample::new(HOST, &["a", "b"]);
    let index = index(&[
        named(sample.descriptor(), "latest"),
        named(sample.descriptor(), "docker.io/lib/img:ok"),
    ]);
    let archive = layout(&sample.blobs(), &index);
    let images = stage.import(&archive, &any_name()).await.unwrap();
    assert_eq!(
        image_names(&images),
        ["import.test/any:latest", "docker.io/lib/img:ok"]
    );
    let target = &images[0].target;
    assert_eq!(target.digest, digest(&sample.manifest).to_string());
    assert_eq!(target.media_type, media_type::MANIFEST);
    let labels = stage.labels(&sample.manifest).await;
    let key = |end: &str| format!("containerd.io/gc.ref.content.{end}");
    let wanted = Labels::from([
        (key("config"), digest(&sample.config).to_string()),
        (key("l.0"), digest(&sample.layers[0]).to_string()),
        (key("l.1"), digest(&sample.layers[1]).to_string()),
    ]);
    assert_eq!(labels, wanted);
    let labels = stage.labels(&index).await;
    let manifest = digest(&sample.manifest).to_string();
    assert_eq!(
        labels,
        Labels::from([(key("m.0"), manifest.clone()), (key("m.1"), manifest)])
    );
    assert_eq!(stage.told.names("saved"), image_names(&images));
    let told = stage.told.0.lock().unwrap();
    assert_eq!(told.first().map(|first| &*first.event), Some("Importing"));
    assert_eq!(told.last().map(|last| &*last.event), Some("Completed import"));
    let layer = told
        .iter()
        .find(|event| event.event == "complete" && event.name.starts_with("layer-"))
        .unwrap();
    assert_eq!(
        layer.parents,
        [format!("manifest-latest@{}", digest(&sample.manifest))]
    );
    assert_eq!(layer.total, layer.progress);
}

/// Nothing is left of an import but what its images keep, and that is kept.
#[tokio::test]
async fn what_images_keep_stays_and_the_rest_is_collected() {
    let stage = Stage::new().await;
    let sample = Sample::new(HOST, &["a", "b"]);
    stage
        .import(&archive(&sample, "latest"), &any_name())
        .await
        .unwrap();
    assert_eq!(stage.collected().await, sample.digests());
    let images = stage.metadata.images(&caller(), &[]).await.unwrap();
    stage
        .metadata
        .delete_image(&caller(), &images[0].name, None)
        .await
        .unwrap();
    assert_eq!(stage.collected().await, BTreeSet::new());
}

#[tokio::test]
async fn oci_labels() {
    let stage = Stage::new().await;
    let sample = Sample::new(HOST, &["a"]);
    let into = ImageStore {
        labels: Labels::from([("foo".to_owned(), "bar".to_owned())]),
        ..any_name()
    };
    // As in containerd's test, the media type is nonsense, and the manifest is not looked at.
    let mut odd = sample.descriptor();
    odd.media_type = "latest".to_owned();
    let archive = layout(&sample.blobs(), &index(&[named(odd, "docker.io/lib/img:ok")]));
    let images = stage.import(&archive, &into).await.unwrap();
    assert_eq!(images[0].labels, into.labels);
}

#[tokio::test]
async fn oci_prefix_name() {
    let sample = Sample::new(HOST, &["a"]);
    let names = ["latest", "localhost:5000/myimage:old", "docker.io/lib/img:ok"];
    let index = index(&names.map(|name| named(sample.descriptor(), name)));
    let archive = layout(&sample.blobs(), &index);
    let into = |allow_overwrite| ImageStore {
        references: vec![Reference {
            is_prefix: true,
            allow_overwrite,
            ..plain("localhost:5000/myimage")
        }],
        ..ImageStore::default()
    };
    let images = Stage::new().await.import(&archive, &into(true)).await.unwrap();
    let all = [
        "localhost:5000/myimage:latest",
        "localhost:5000/myimage:old",
        "docker.io/lib/img:ok",
    ];
    assert_eq!(image_names(&images), all, "OCIPrefixName");
    let images = Stage::new().await.import(&archive, &into(false)).await.unwrap();
    assert_eq!(image_names(&images), all[..2], "OCIPrefixName2");
}

#[tokio::test]
async fn oci_bad_format() {
    let stage = Stage::new().await;
    for (files, wanted) in [
        (
            vec![("oci-layout", br#"{"imageLayoutVersion":"2.0.0"}"#.as_slice())],
            "unsupported OCI version \"2.0.0\"",
        ),
        (vec![LAYOUT], "an OCI layout without index.json"),
        (
            vec![("index.json", br#"{"schemaVersion":2,"manifests":[]}"#.as_slice())],
            "neither oci-layout nor manifest.json",
        ),
        (vec![], "unrecognized image format"),
        (vec![LAYOUT, ("index.json", b"{")], "EOF"),
        (
            vec![LAYOUT, ("index.json", br#"{"schemaVersion":2,"manifests":[]}"#)],
            "image might be filtered out",
        ),
        (
            vec![
                LAYOUT,
                ("index.json", br#"{"schemaVersion":2,"config":{},"layers":[]}"#),
            ],
            "expected an index but found a manifest",
        ),
    ] {
        let (_, text) = refused(stage.import(&tar(&files), &any_name()).await);
        assert!(text.contains(wanted), "{text}");
    }
    assert_eq!(stage.collected().await, BTreeSet::new());
}

#[tokio::test]
async fn oci_index_without_any_manifest() {
    let stage = Stage::new().await;
    let samples = [Sample::new(HOST, &["a"]), Sample::new(HOST, &["b"])];
    let list = index(&samples.each_ref().map(Sample::descriptor));
    let root = index(&[named(
        descriptor(media_type::INDEX, &list),
        "docker.io/library/sparse:ok",
    )]);
    let archive = layout(&[&list], &root);
    let skip = ImportOptions {
        skip_missing: true,
        ..ImportOptions::default()
    };
    let images = stage.import_with(&archive, &any_name(), skip).await.unwrap();
    assert_eq!(image_names(&images), ["docker.io/library/sparse:ok"]);
    assert_eq!(
        stage.collected().await,
        BTreeSet::from([digest(&list).to_string()])
    );
    let (class, text) = refused(stage.import(&archive, &any_name()).await);
    assert_eq!(class, Class::NotFound, "{text}");
}

#[tokio::test]
async fn oci_index_with_missing_manifest_descendants() {
    let stage = Stage::new().await;
    let (whole, empty) = (Sample::new(HOST, &["a"]), Sample::new(HOST, &["b"]));
    let list = index(&[whole.descriptor(), empty.descriptor()]);
    let root = index(&[named(
        descriptor(media_type::INDEX, &list),
        "docker.io/library/sparse:ok",
    )]);
    let mut blobs = whole.blobs();
    blobs.extend([&*empty.manifest, &*list]);
    let images = stage.import(&layout(&blobs, &root), &any_name()).await.unwrap();
    assert_eq!(images[0].target.digest, digest(&list).to_string());
    let mut kept = whole.digests();
    kept.extend([&empty.manifest, &list].map(|blob| digest(blob).to_string()));
    assert_eq!(
        stage.collected().await,
        kept,
        "config and layer of the other are missing, and that is no error"
    );
}

/// The same archive however it is compressed, and in whatever order: the index first, folders between, names with a dot.
#[tokio::test]
async fn archives_of_all_kinds() {
    let sample = Sample::new(HOST, &["a", "b"]);
    let index = index(&[named(sample.descriptor(), "latest")]);
    let plain_archive = layout(&sample.blobs(), &index);
    let names: Vec<String> = sample
        .blobs()
        .iter()
        .map(|blob| format!("./{}", blob_name(blob)))
        .collect();
    let mut files: Vec<(&str, &[u8])> = vec![LAYOUT, ("./index.json", &index)];
    files.extend(names.iter().map(String::as_str).zip(sample.blobs()).rev());
    let backwards = tar(&files);
    let two_members = [gzip(&plain_archive[..5000]), gzip(&plain_archive[5000..])].concat();
    for archive in [
        gzip(&plain_archive),
        two_members,
        zstd::encode_all(&plain_archive[..], 1).unwrap(),
        backwards,
    ] {
        let stage = Stage::new().await;
        let images = stage.import(&archive, &any_name()).await.unwrap();
        assert_eq!(image_names(&images), ["import.test/any:latest"]);
        assert_eq!(stage.collected().await, sample.digests());
        stage.import(&archive, &any_name()).await.unwrap();
        assert_eq!(
            stage.collected().await,
            sample.digests(),
            "it can be imported again"
        );
    }
}

#[tokio::test]
async fn only_wanted_platforms_are_kept() {
    let all =
        ["linux/amd64", "linux/arm64", "windows/amd64"].map(|platform| Sample::new(platform, &[platform]));
    let list = index(&all.each_ref().map(Sample::with_platform));
    let root = index(&[named(descriptor(media_type::INDEX, &list), "latest")]);
    let mut blobs: Vec<&[u8]> = all.iter().flat_map(Sample::blobs).collect();
    blobs.push(&list);
    let archive = layout(&blobs, &root);
    let listed = || -> BTreeSet<String> {
        let manifests = all.iter().map(|sample| digest(&sample.manifest).to_string());
        manifests.chain([digest(&list).to_string()]).collect()
    };
    let everything = || -> BTreeSet<String> {
        listed()
            .into_iter()
            .chain(all.iter().flat_map(Sample::digests))
            .collect()
    };
    let one = |sample: &Sample| -> BTreeSet<String> { listed().union(&sample.digests()).cloned().collect() };
    let keeps = async |into: ImageStore| {
        let stage = Stage::new().await;
        stage.import(&archive, &into).await.unwrap();
        stage.collected().await
    };
    let with = |wanted: &[&str]| ImageStore {
        platforms: platforms(wanted),
        ..any_name()
    };
    assert_eq!(keeps(with(&["linux/arm64"])).await, one(&all[1]));
    let metadata = ImageStore {
        all_metadata: true,
        ..with(&["linux/amd64"])
    };
    // All that other platforms' manifests list, as far as it came; a pull would not have fetched the layers.
    assert_eq!(keeps(metadata).await, everything());
    let limited = ImageStore {
        manifest_limit: 1,
        ..with(&["windows/amd64", "linux/amd64"])
    };
    assert_eq!(keeps(limited).await, one(&all[2]));
    // The list itself is for no platform, so that something was found: as with containerd.
    assert_eq!(keeps(with(&["linux/s390x"])).await, listed());
    let alone = layout(
        &all[1].blobs(),
        &index(&[named(all[1].with_platform(), "latest")]),
    );
    let (class, text) = refused(Stage::new().await.import(&alone, &with(&["linux/amd64"])).await);
    assert_eq!((class, &*text), (Class::NotFound, "image might be filtered out"));
}

#[tokio::test]
async fn a_lease_of_the_caller_keeps_what_came() {
    let stage = Stage::new().await;
    let lease = stage
        .metadata
        .create_lease(&caller().namespace, "L", Labels::new())
        .await
        .unwrap();
    let sample = Sample::new(HOST, &["a"]);
    let source = Box::new(crate::stage::chunks(&archive(&sample, "latest")));
    let nobody = ImageStore::default();
    let images = stage
        .transfers
        .import(
            &caller().with_lease(&lease.id),
            source,
            ImportOptions::default(),
            &nobody,
            stage.told.clone(),
        )
        .await
        .unwrap();
    assert_eq!(image_names(&images), [] as [&str; 0], "no name, no image");
    stage.metadata.collect().await.unwrap();
    assert!(stage.content().await.is_superset(&sample.digests()));
    stage
        .metadata
        .delete_lease(&caller().namespace, "L")
        .await
        .unwrap();
    assert_eq!(stage.collected().await, BTreeSet::new());
}

/// A blob that another namespace has needs no bytes, and is had by this one, too.
#[tokio::test]
async fn blobs_of_other_namespaces_are_shared() {
    let stage = Stage::new().await;
    let sample = Sample::new(HOST, &["a"]);
    let elsewhere = transom_meta::Caller::new(transom_meta::Namespace::new("other").unwrap());
    let source = Box::new(crate::stage::chunks(&archive(&sample, "latest")));
    let options = ImportOptions::default();
    let done = stage
        .transfers
        .import(&elsewhere, source, options, &any_name(), stage.told.clone())
        .await;
    done.unwrap();
    stage
        .import(&archive(&sample, "latest"), &any_name())
        .await
        .unwrap();
    assert_eq!(stage.collected().await, sample.digests());
    for blob in sample.blobs() {
        let wanted: Digest = digest(blob);
        assert_eq!(
            stage
                .metadata
                .content_info(&elsewhere, &wanted)
                .await
                .unwrap()
                .size,
            blob.len() as u64
        );
    }
}
