//! `transom unpack --artifacts`: what plugins write about the layers of an image.

use std::fs;
use std::path::Path;

use serde_json::Value;
use transom_oci::Digest;
use transom_tests::sample::Compression;

use crate::image::{RawImage, RawLayer, Tar};
use crate::support::{USAGE, unpack};

const STATUS: &str = "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2\n";

fn blob(layout: &Path, descriptor: &Value) -> Value {
    let digest: Digest = descriptor["digest"].as_str().unwrap().parse().unwrap();
    let bytes = fs::read(layout.join("blobs/sha256").join(digest.hex())).unwrap();
    assert_eq!(descriptor["size"], bytes.len());
    assert_eq!(Digest::of(digest.algorithm(), &bytes), digest);
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn a_bill_of_materials_refers_to_the_image() {
    let Some(component) = transom_tests::plugin("sbom") else {
        return;
    };
    let plugin = component.parent().unwrap().display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let layer = |path: &str, content: &[u8]| {
        let tar = Tar::new().file(path, content).end();
        RawLayer::new(&tar, Compression::Gzip)
    };
    let layers = [
        layer("var/lib/dpkg/status", STATUS.as_bytes()),
        layer("etc/motd", b"hello"),
        layer(
            "app/Cargo.lock",
            b"[[package]]\nname = \"serde\"\nversion = \"1.0.1\"\n",
        ),
    ];
    let image = RawImage::write(&folder.path().join("image"), &layers);
    let artifacts = folder.path().join("artifacts");
    let text = artifacts.display().to_string();
    let flags = ["--json", "--plugin", &plugin, "--artifacts", &text];
    // A second time changes nothing: the documents are the same.
    for target in ["one", "two"] {
        let document = unpack(&image.layout, &folder.path().join(target), &flags).json();
        let index: Value = serde_json::from_slice(&fs::read(artifacts.join("index.json")).unwrap()).unwrap();
        let [listed] = &index["manifests"].as_array().unwrap()[..] else {
            panic!("{index}")
        };
        assert_eq!(listed["digest"], document["artifacts"][0]["digest"]);
        assert_eq!(document["artifacts"][0]["documents"], 2);
        let manifest = blob(&artifacts, listed);
        assert_eq!(manifest["artifactType"], "application/vnd.cyclonedx+json");
        assert_eq!(
            manifest["config"]["mediaType"],
            "application/vnd.oci.empty.v1+json"
        );
        assert_eq!(manifest["subject"]["digest"], document["manifest"]["digest"]);
        assert_eq!(blob(&image.layout, &manifest["subject"])["schemaVersion"], 2);
        for (document_of, purl) in [
            (0, "pkg:deb/debian/bash@5.2?arch=amd64"),
            (1, "pkg:cargo/serde@1.0.1"),
        ] {
            let described = &manifest["layers"][document_of];
            let about = &described["annotations"]["dev.transom.layer"];
            let layer = &document["layers"][document_of * 2]["digest"];
            assert_eq!(about, layer);
            let bom = blob(&artifacts, described);
            assert_eq!(bom["components"][0]["purl"], purl);
            assert_eq!(&bom["metadata"]["component"]["name"], layer);
        }
    }
    let text_form = unpack(&image.layout, &folder.path().join("three"), &flags[1..]).ok();
    assert!(
        text_form.contains("application/vnd.cyclonedx+json of 2 layers"),
        "{text_form}"
    );
}

#[test]
fn a_folder_that_is_no_layout_is_not_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let image = RawImage::plain(&folder.path().join("image"));
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("mine"), "").unwrap();
    let flags = ["--artifacts", other.to_str().unwrap()];
    let target = folder.path().join("root");
    unpack(&image.layout, &target, &flags).fails(USAGE, &["neither empty nor an OCI layout"]);
    assert!(!target.exists());
}
