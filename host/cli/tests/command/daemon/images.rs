//! `transom image`.

use std::fs;

use serde_json::{Value, json};
use transom_api::images::images_client::ImagesClient;
use transom_api::images::{CreateImageRequest, Image};
use transom_api::types::Descriptor;
use transom_oci::{Platform, media_type};

use super::rig::{Rig, on_both, shape};
use crate::image::RawImage;
use crate::support::{NOT_FOUND, OTHER};

on_both!(
    images_are_listed_with_what_they_are,
    a_further_name_is_another_record,
    labels_of_images_are_set_and_replaced,
    completeness_is_told_platform_by_platform,
    a_damaged_image_is_told_apart,
    the_tree_of_an_image_is_shown,
);

/// An image for this machine, and one for another that is not there, behind an index.
pub(super) struct Pair {
    index: Value,
    layer: String,
}

/// Stores every blob of an image under an index, and gives the image a name.
pub(super) fn import(rig: &Rig, name: &str) -> Pair {
    let layout = rig.path(name);
    let image = RawImage::plain(&layout);
    for blob in fs::read_dir(layout.join("blobs/sha256")).unwrap() {
        let path = blob.unwrap().path();
        rig.ok(&["content", "ingest", "blob", path.to_str().unwrap()]);
    }
    let entries: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let here = Platform::host();
    let mut mine = entries["manifests"][0].clone();
    mine["platform"] = json!({ "os": here.os, "architecture": here.architecture });
    let absent = json!({
        "mediaType": media_type::MANIFEST, "digest": format!("sha256:{}", "1".repeat(64)), "size": 1000,
        "platform": { "os": "plan9", "architecture": "mips" },
    });
    let index = json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [mine, absent] });
    let text = index.to_string();
    let digest = rig.ingest(text.as_bytes());
    record(rig, name, media_type::INDEX, &digest, text.len());
    let layer = image.blobs[0].file_name().unwrap().to_str().unwrap();
    Pair {
        index,
        layer: format!("sha256:{layer}"),
    }
}

/// There is no verb for it: images come by pull and import.
fn record(rig: &Rig, name: &str, media_type: &str, digest: &str, size: usize) {
    let socket = format!("unix://{}", rig.socket().display());
    let image = Image {
        name: name.to_owned(),
        labels: [("made".to_owned(), "here".to_owned())].into(),
        target: Some(Descriptor {
            media_type: media_type.to_owned(),
            digest: digest.to_owned(),
            size: size as i64,
            ..Descriptor::default()
        }),
        ..Image::default()
    };
    let mut request = tonic::Request::new(CreateImageRequest {
        image: Some(image),
        ..CreateImageRequest::default()
    });
    request
        .metadata_mut()
        .insert(transom_api::NAMESPACE_HEADER, "default".parse().unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let channel = tonic::transport::Endpoint::from_shared(socket).unwrap();
        let mut images = ImagesClient::new(channel.connect().await.unwrap());
        images.create(request).await.unwrap();
    });
}

/// Bytes of an image for this machine: index, manifest, configuration, layer.
fn bytes_of(rig: &Rig) -> u64 {
    let all = rig.json(&["content", "ls"]);
    all.iter().map(|blob| blob["size"].as_u64().unwrap()).sum()
}

fn images_are_listed_with_what_they_are(rig: &Rig) {
    import(rig, "one");
    let listed = rig.one(&["image", "ls"]);
    let keys = "{created labels name platforms:[] size target:{annotations digest mediaType size} updated}";
    assert_eq!(shape(&listed), keys);
    assert_eq!(listed["size"].as_u64(), Some(bytes_of(rig)));
    assert_eq!(
        listed["platforms"],
        json!([Platform::host().to_string(), "plan9/mips"])
    );
    let table = rig.ok(&["images", "list"]);
    assert!(
        table.contains("plan9/mips") && table.contains("made=here"),
        "{table}"
    );
    assert_eq!(rig.ok(&["i", "ls", "-q", "name==one"]), "one\n");
    assert_eq!(rig.ok(&["image", "ls", "-q", "name==two"]), "");
    let got = rig.one(&["image", "get", "one"]);
    assert_eq!(
        shape(&got),
        "{created labels name target:{annotations digest mediaType size} updated}"
    );
    assert_eq!(got["target"], listed["target"]);
    assert!(rig.ok(&["image", "get", "one"]).contains(media_type::INDEX));
}

fn a_further_name_is_another_record(rig: &Rig) {
    import(rig, "one");
    assert_eq!(rig.ok(&["image", "tag", "one", "two", "three"]), "two\nthree\n");
    let (one, two) = (
        rig.one(&["image", "get", "one"]),
        rig.one(&["image", "get", "two"]),
    );
    assert_eq!((&one["target"], &one["labels"]), (&two["target"], &two["labels"]));
    rig.run(&["image", "tag", "one", "two"])
        .fails(OTHER, &["image \"two\": already exists", "--force"]);
    assert_eq!(
        rig.one(&["image", "tag", "--force", "one", "two"]),
        json!({ "tagged": "two" })
    );

    let leases = rig.ok(&["lease", "ls", "-q"]);
    let leases: Vec<&str> = leases.lines().collect();
    rig.ok(&[&["lease", "rm"], &leases[..]].concat());
    // The index refers to nothing by labels, so that it alone is kept.
    rig.ok(&["gc", "run"]);
    let kept = one["target"]["digest"].as_str().unwrap();
    assert_eq!(rig.ok(&["content", "ls", "-q"]).trim(), kept);
    let done = rig.run(&["image", "rm", "--sync", "none", "one", "three"]);
    assert_eq!(done.stdout, b"one\nthree\n");
    done.fails(NOT_FOUND, &["image \"none\": not found"]);
    assert_eq!(rig.ok(&["content", "ls", "-q"]).trim(), kept);
    rig.ok(&["image", "rm", "--sync", "two"]);
    assert_eq!(rig.ok(&["content", "ls", "-q"]), "");
}

fn labels_of_images_are_set_and_replaced(rig: &Rig) {
    import(rig, "one");
    let target = rig.one(&["image", "get", "one"])["target"].clone();
    let labelled = rig.one(&["image", "label", "one", "a=b", "c.d/e=f"]);
    assert_eq!(
        labelled["labels"],
        json!({ "made": "here", "a": "b", "c.d/e": "f" })
    );
    assert_eq!(
        rig.ok(&["image", "label", "one", "a="]),
        "one c.d/e=f,made=here\n"
    );
    assert_eq!(
        rig.ok(&["image", "label", "--replace-all", "one", "x=y"]),
        "one x=y\n"
    );
    assert_eq!(rig.ok(&["image", "label", "one"]), "one x=y\n");
    assert_eq!(rig.one(&["image", "get", "one"])["target"], target);
    assert_eq!(rig.ok(&["image", "label", "--replace-all", "one"]), "one -\n");
}

fn completeness_is_told_platform_by_platform(rig: &Rig) {
    let pair = import(rig, "one");
    let checked = rig.one(&["image", "check"]);
    let platforms = checked["platforms"].as_array().unwrap();
    assert_eq!(
        shape(&platforms[0]),
        "{blobs:{present required} bytes:{present required} manifest missing:[] platform status unpacked unreadable:[]}"
    );
    assert_eq!(platforms[0]["status"], "complete");
    assert_eq!(platforms[0]["blobs"], json!({ "present": 3, "required": 3 }));
    assert_eq!(platforms[0]["manifest"], pair.index["manifests"][0]["digest"]);
    // Without root there is no overlayfs that could tell.
    let unpacked = rustix::process::geteuid().is_root().then_some(false);
    assert_eq!(platforms[0]["unpacked"].as_bool(), unpacked);
    assert_eq!(
        (&platforms[1]["status"], &platforms[1]["platform"]),
        (&"absent".into(), &"plan9/mips".into())
    );
    assert_eq!(rig.ok(&["image", "check", "-q"]), "one\n");

    rig.ok(&["content", "rm", &pair.layer]);
    let checked = rig.one(&["image", "check", "name==one"]);
    assert_eq!(checked["platforms"][0]["status"], "incomplete");
    assert_eq!(checked["platforms"][0]["missing"], json!([pair.layer]));
    assert_eq!(rig.ok(&["image", "check", "-q"]), "");
    let table = rig.ok(&["image", "check", "--snapshotter", "none"]);
    assert!(
        table.contains("incomplete") && table.contains("2 of 3") && table.contains("unknown"),
        "{table}"
    );
}

fn a_damaged_image_is_told_apart(rig: &Rig) {
    let digest = rig.ingest(b"this is no manifest");
    record(rig, "bad", media_type::MANIFEST, &digest, 19);
    let checked = rig.one(&["image", "check"]);
    assert_eq!(checked["platforms"][0]["status"], "damaged");
    assert_eq!(checked["platforms"][0]["unreadable"][0]["digest"], digest);
    assert_eq!(rig.one(&["image", "ls"])["platforms"], json!([]));
    // An index that is its own part has no digest that can be known, but one may be nested too deep.
    let mut inner = json!({ "mediaType": media_type::MANIFEST, "digest": digest, "size": 19 });
    for _ in 0..10 {
        let text = json!({ "schemaVersion": 2, "manifests": [inner] }).to_string();
        let digest = rig.ingest(text.as_bytes());
        inner = json!({ "mediaType": media_type::INDEX, "digest": digest, "size": text.len() });
    }
    record(
        rig,
        "deep",
        media_type::INDEX,
        inner["digest"].as_str().unwrap(),
        100,
    );
    rig.run(&["image", "inspect", "deep"])
        .fails(crate::support::LIMIT, &["too deep"]);
}

fn the_tree_of_an_image_is_shown(rig: &Rig) {
    let pair = import(rig, "one");
    let shown = rig.one(&["image", "inspect", "one"]);
    let keys = "{children:[{children:[{children:[] descriptor:{digest mediaType size} platform problem referrers:[] state}] \
                descriptor:{digest mediaType platform:{architecture os} size} platform problem referrers:[] state}] \
                descriptor:{digest mediaType size} platform problem referrers:[] state}";
    assert_eq!(shape(&shown["content"]), keys);
    let mine = &shown["content"]["children"][0];
    assert_eq!(mine["children"][1]["descriptor"]["digest"], pair.layer);
    assert_eq!(shown["content"]["children"][1]["state"], "missing");
    let text = rig.ok(&["image", "inspect", "one"]);
    let layer = text.lines().find(|line| line.contains(&pair.layer)).unwrap();
    assert!(layer.starts_with("    │   └── "), "{text}");
    assert!(text.contains("plan9/mips (not here)"), "{text}");
}
