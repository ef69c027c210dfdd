//! What plugins write about the layers of an image: kept with it, listed as its referrers, gone with it.

use std::collections::BTreeMap;

use serde_json::Value;
use tonic::Code;
use transom_api::content::InfoRequest;
use transom_api::content::content_client::ContentClient;
use transom_api::images::DeleteImageRequest;
use transom_api::images::images_client::ImagesClient;
use transom_api::transfer_types::{ImageReference, ImageStore};
use transom_tests::needs::{plugin, require_root};

use crate::layers::{Layer, TAR, TAR_GZIP, gzip};
use crate::registries::unpacked;
use crate::registry::{ask, start};
use crate::rig::{channel, here, sha256};
use crate::transfer_client::{image_of, import};

const STATUS: &str = "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2\n";
const LOCK: &str = "[[package]]\nname = \"serde\"\nversion = \"1.0.1\"\n";
const CYCLONEDX: &str = "application/vnd.cyclonedx+json";

fn document(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("JSON")
}

fn names(listed: &Value) -> Vec<String> {
    let all = listed["manifests"].as_array().expect("a list").iter();
    all.map(|one| one["digest"].as_str().expect("a digest").to_owned())
        .collect()
}

/// Both images begin with the same layer, which is applied once.
fn images() -> [Vec<u8>; 2] {
    let base = Layer::new().folder("var", 0o755).folder("var/lib", 0o755);
    let base = base
        .folder("var/lib/dpkg", 0o755)
        .file("var/lib/dpkg/status", STATUS.as_bytes());
    let base = base.end();
    let image = |name: &str, tar: Vec<u8>| {
        let diff_ids = [sha256(&base), sha256(&tar)];
        let layers = [(TAR_GZIP, gzip(&base)), (TAR, tar)];
        image_of(name, &diff_ids, &layers)
    };
    [
        image("registry.test/a:1", Layer::new().file("motd", b"hello").end()),
        image(
            "registry.test/b:1",
            Layer::new().file("Cargo.lock", LOCK.as_bytes()).end(),
        ),
    ]
}

#[test]
fn a_bill_of_materials_is_a_referrer_of_each_image() {
    let (true, Some(component)) = (require_root(), plugin("sbom")) else {
        return;
    };
    let folder = component.parent().expect("a folder");
    let (program, address) = start(&format!(
        "[processors]\nfolders = [{folder:?}]\n[gc]\nstartup_delay = \"1h\"\n\
         [registry]\nnamespaces = [\"default\"]\n[registry.http]\nlisten = \"127.0.0.1:0\"\n"
    ));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let channel = runtime.block_on(channel(&program.socket()));
    let into = ImageStore {
        extra_references: vec![ImageReference {
            name: "unused".to_owned(),
            is_prefix: true,
            allow_overwrite: true,
            ..ImageReference::default()
        }],
        ..unpacked("")
    };
    // One after the other, and one of them twice: the same documents are the same artifact.
    let [a, b] = images();
    for archive in [a, b.clone(), b] {
        runtime
            .block_on(import(&channel, archive, &into))
            .expect("unpacked");
    }
    let get = |path: &str| {
        let (status, body) = ask(address, "GET", &format!("/v2/registry.test/{path}"));
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
        body
    };
    let mut kept = Vec::new();
    for (name, purls) in [
        ("a", vec!["pkg:deb/debian/bash@5.2?arch=amd64"]),
        (
            "b",
            vec!["pkg:deb/debian/bash@5.2?arch=amd64", "pkg:cargo/serde@1.0.1"],
        ),
    ] {
        let image = get(&format!("{name}/manifests/1"));
        let subject = sha256(&image);
        let listed = document(&get(&format!("{name}/referrers/{subject}")));
        let [artifact] = &names(&listed)[..] else {
            panic!("{listed}")
        };
        assert_eq!(listed["manifests"][0]["artifactType"], CYCLONEDX);
        let of_type = |kind: &str| document(&get(&format!("{name}/referrers/{subject}?artifactType={kind}")));
        assert_eq!(names(&of_type(CYCLONEDX)), [artifact.as_str()]);
        assert!(names(&of_type("x/y")).is_empty());
        let manifest = document(&get(&format!("{name}/manifests/{artifact}")));
        assert_eq!(manifest["subject"]["digest"], subject);
        let layers = &document(&image)["layers"];
        let mut found = Vec::new();
        for listed in manifest["layers"].as_array().expect("documents") {
            let about = &listed["annotations"]["dev.transom.layer"];
            let mut of_image = layers.as_array().expect("layers").iter();
            assert!(of_image.any(|layer| layer["digest"] == *about), "{listed}");
            let blob = listed["digest"].as_str().expect("a digest");
            let bom = document(&get(&format!("{name}/blobs/{blob}")));
            found.push(bom["components"][0]["purl"].as_str().expect("a purl").to_owned());
            kept.push(blob.to_owned());
        }
        assert_eq!(found, purls);
        kept.push(artifact.clone());
        // It is about this image, and nobody has it who may read another one.
        let other = if name == "a" { "b" } else { "a" };
        let (status, _) = ask(
            address,
            "GET",
            &format!("/v2/registry.test/{other}/manifests/{artifact}"),
        );
        assert_eq!(status, 404);
    }
    // The collector follows: with the images everything goes.
    let there = |digest: &str| {
        let request = InfoRequest {
            digest: digest.to_owned(),
        };
        let mut client = ContentClient::new(channel.clone());
        match runtime.block_on(client.info(here(request))) {
            Ok(_) => true,
            Err(status) if status.code() == Code::NotFound => false,
            Err(status) => panic!("{status}"),
        }
    };
    let remove = |name: &str| {
        let request = DeleteImageRequest {
            name: name.to_owned(),
            sync: true,
            target: None,
        };
        let mut client = ImagesClient::new(channel.clone());
        runtime
            .block_on(client.delete(here(request)))
            .expect("it was there");
    };
    remove("registry.test/a:1");
    let left: BTreeMap<&str, bool> = kept
        .iter()
        .map(|digest| (digest.as_str(), there(digest)))
        .collect();
    // The artifact of `a` alone is gone; the document about the layer that both have is not.
    assert_eq!(left.values().filter(|there| !**there).count(), 1, "{left:?}");
    assert!(!left[kept[1].as_str()], "{left:?}");
    remove("registry.test/b:1");
    assert!(kept.iter().all(|digest| !there(digest)));
}
