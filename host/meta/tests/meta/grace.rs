//! When the grace of content ends that was ingested without a lease: as soon as a reference to it is removed.

use bytes::Bytes;
use transom_meta::leases::{CONTENT, IMAGES};
use transom_meta::{Caller, Labels, Metadata};
use transom_oci::Digest;

use crate::records::{caller, digest, image, keys, labels, metadata, namespace, texts};

/// Ingests a text as content.
async fn put(metadata: &Metadata, caller: &Caller, text: &str, of: Labels) -> Digest {
    let digest = digest(text);
    let mut writer = metadata.ingest(caller, text, None, None).await.unwrap();
    writer
        .write(Bytes::copy_from_slice(text.as_bytes()))
        .await
        .unwrap();
    writer.commit(None, Some(&digest), of).await.unwrap();
    digest
}

/// A manifest that names a layer, and other content, all of it in grace. The digest of the manifest.
async fn manifest(metadata: &Metadata) -> Digest {
    put(metadata, &caller(), "other", Labels::new()).await;
    let layer = put(metadata, &caller(), "layer", Labels::new()).await;
    let of = labels([("containerd.io/gc.ref.content.l.0", layer.as_str())]);
    let manifest = put(metadata, &caller(), "manifest", of).await;
    assert_eq!(graces(metadata).await, ["layer", "manifest", "other"]);
    manifest
}

/// The content that is in grace.
async fn graces(metadata: &Metadata) -> Vec<&'static str> {
    let keys = keys(metadata).await;
    let mut texts = vec!["layer", "manifest", "other"];
    texts.retain(|text| keys.contains(&format!("y/testing/{}", digest(text))));
    texts
}

async fn name_it(metadata: &Metadata, target: &Digest) {
    let mut new = image("a");
    if let Some(of) = &mut new.target {
        of.digest = target.to_string();
    }
    metadata.create_image(&caller(), new, None).await.unwrap();
    assert_eq!(graces(metadata).await, ["layer", "manifest", "other"]);
}

#[tokio::test]
async fn deleting_an_image_ends_it_for_all_that_the_image_kept() {
    let (metadata, _dir) = metadata().await;
    let target = manifest(&metadata).await;
    name_it(&metadata, &target).await;
    metadata.delete_image(&caller(), "a", None).await.unwrap();
    assert_eq!(graces(&metadata).await, ["other"]);
}

#[tokio::test]
async fn another_target_ends_it_and_another_label_does_not() {
    let (metadata, _dir) = metadata().await;
    let target = manifest(&metadata).await;
    name_it(&metadata, &target).await;
    let mut change = image("a");
    change.labels = labels([("x", "1")]);
    let update = async |paths: &[&str]| {
        let paths: Vec<_> = paths.iter().map(|path| (*path).to_owned()).collect();
        metadata
            .update_image(&caller(), change.clone(), &paths, None)
            .await
            .unwrap();
    };
    update(&["labels", "annotations"]).await;
    assert_eq!(graces(&metadata).await, ["layer", "manifest", "other"]);
    update(&["target"]).await;
    assert_eq!(graces(&metadata).await, ["other"]);
}

#[tokio::test]
async fn removing_a_label_of_an_image_ends_it_for_what_the_label_named() {
    let (metadata, _dir) = metadata().await;
    let target = manifest(&metadata).await;
    let mut new = image("b");
    new.labels = labels([("containerd.io/gc.ref.content", target.as_str())]);
    metadata.create_image(&caller(), new, None).await.unwrap();
    assert_eq!(graces(&metadata).await, ["layer", "manifest", "other"]);
    let path = texts(["labels.containerd.io/gc.ref.content"]);
    metadata
        .update_image(&caller(), image("b"), &path, None)
        .await
        .unwrap();
    assert_eq!(graces(&metadata).await, ["other"]);
}

#[tokio::test]
async fn deleting_a_lease_or_a_resource_ends_it() {
    let (metadata, _dir) = metadata().await;
    let name = namespace("testing");
    let target = manifest(&metadata).await;
    name_it(&metadata, &target).await;
    metadata.create_lease(&name, "l", Labels::new()).await.unwrap();
    let other = digest("other").to_string();
    metadata.add_resource(&name, "l", CONTENT, &other).await.unwrap();
    metadata.add_resource(&name, "l", IMAGES, "a").await.unwrap();
    assert_eq!(graces(&metadata).await, ["layer", "manifest", "other"]);
    metadata
        .delete_resource(&name, "l", CONTENT, &other)
        .await
        .unwrap();
    assert_eq!(graces(&metadata).await, ["layer", "manifest"]);
    metadata.delete_lease(&name, "l").await.unwrap();
    assert_eq!(graces(&metadata).await, [""; 0]);
}

#[tokio::test]
async fn an_ingest_that_shares_a_blob_goes_with_its_namespace() {
    let (metadata, _dir) = metadata().await;
    let blob = put(
        &metadata,
        &Caller::new(namespace("owner")),
        "shared",
        Labels::new(),
    )
    .await;
    let writer = metadata
        .ingest(&caller(), "ref", None, Some(&blob))
        .await
        .unwrap();
    let of_namespace = async || {
        let mut keys = keys(&metadata).await;
        keys.retain(|key| key.contains("/testing"));
        keys
    };
    let expecter = format!("e/{blob}/testing/ref");
    assert_eq!(of_namespace().await, [&expecter, "g/testing/ref", "n/testing"]);
    metadata.delete_namespace(&namespace("testing")).await.unwrap();
    assert_eq!(of_namespace().await, [""; 0]);
    drop(writer);
}
