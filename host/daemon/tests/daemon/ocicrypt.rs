//! Images that skopeo encrypted, through the plugin `ocicrypt` and the keys of the configuration.

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::tempdir;
use tonic::{Code, Status};
use transom_api::transfer_types::{ImageStore, Progress, UnpackConfiguration};
use transom_oci::Descriptor;
use transom_tests::needs::{plugin, require_program, require_root};

use crate::blobs;
use crate::layers::{Layer, TAR_GZIP, ask, bind, gzip, request};
use crate::rig::{Rig, refused, sha256};
use crate::transfer::prefix;
use crate::transfer_client::{image_of, import};

const PLAIN: &str = "registry.test/plain:1";
const SEALED: &str = "registry.test/sealed:1";

fn key(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../keys/tests/skopeo")
        .join(name)
}

/// A daemon with the plugin; the keys that it may use are the files of a folder, which is empty.
async fn rig(plugin: &Path) -> (Rig, PathBuf) {
    let folder = plugin.parent().expect("a folder").to_path_buf();
    let mut keys = PathBuf::new();
    let rig = Rig::with(|config| {
        keys = config.root.parent().expect("a folder").join("keys");
        std::fs::create_dir(&keys).expect("a folder");
        config.processors.folders = vec![folder];
        config.processors.keys = [("ocicrypt".to_owned(), vec![keys.clone()])].into();
    })
    .await;
    (rig, keys)
}

/// An archive, encrypted for the RSA key of the tests.
fn encrypt(skopeo: &Path, archive: &[u8]) -> Vec<u8> {
    let folder = tempdir().expect("a folder");
    let [from, to] = ["plain", "sealed"].map(|name| folder.path().join(name));
    std::fs::write(&from, archive).expect("a file");
    let output = Command::new(skopeo)
        .args(["copy", "--quiet", "--encryption-key"])
        .arg(format!("jwe:{}", key("rsa.pub.pem").display()))
        .arg(format!("oci-archive:{}", from.display()))
        .arg(format!("oci-archive:{}:{SEALED}", to.display()))
        .output()
        .expect("it starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    std::fs::read(to).expect("a file")
}

async fn bring(rig: &Rig, archive: Vec<u8>) -> Result<Vec<Progress>, Status> {
    let unpack = UnpackConfiguration {
        platform: None,
        snapshotter: "overlayfs".to_owned(),
    };
    let into = ImageStore {
        extra_references: prefix("unused", [true, false, false]).into_iter().collect(),
        unpacks: vec![unpack],
        ..ImageStore::default()
    };
    import(rig, archive, &into).await
}

#[tokio::test]
async fn an_encrypted_image_is_unpacked_with_a_key_of_the_configuration() {
    let (Some(plugin), Some(skopeo)) = (plugin("ocicrypt"), require_program("skopeo")) else {
        return;
    };
    if !require_root() {
        return;
    }
    let (rig, keys) = rig(&plugin).await;
    let tar = Layer::new().file("secret", b"42").end();
    let archive = image_of(PLAIN, &[sha256(&tar)], &[(TAR_GZIP, gzip(&tar))]);
    let sealed = encrypt(&skopeo, &archive);
    let (_, text) = refused(bring(&rig, sealed.clone()).await);
    assert!(text.contains("none of the 0 private keys opens it"), "{text}");
    std::fs::copy(key("other.pem"), keys.join("other.pem")).expect("a file");
    let (_, text) = refused(bring(&rig, sealed.clone()).await);
    assert!(
        text.contains("encrypted for somebody else: none of the 1 private key opens it"),
        "{text}"
    );
    std::fs::copy(key("rsa.pem"), keys.join("rsa.pem")).expect("a file");
    let events = bring(&rig, sealed.clone()).await.expect("it is unpacked");
    assert!(
        events.iter().any(|event| event.event == "extracted"),
        "{events:?}"
    );
    // Its files are there now, and still nobody gets at them without the key: decision 0009.
    std::fs::remove_file(keys.join("rsa.pem")).expect("it was there");
    let (code, text) = refused(bring(&rig, sealed.clone()).await);
    assert_eq!(code, Code::PermissionDenied, "{text}");
    assert!(
        text.contains("plugin ocicrypt") && text.contains("somebody else"),
        "{text}"
    );
    std::fs::copy(key("rsa.pem"), keys.join("rsa.pem")).expect("a file");
    bring(&rig, sealed).await.expect("it may be used");
}

/// What `ctr` with imgcrypt, and nerdctl, send with a layer.
#[tokio::test]
async fn the_key_of_a_payload_is_used_under_the_ids_of_containerds_clients() {
    let (Some(plugin), Some(skopeo)) = (plugin("ocicrypt"), require_program("skopeo")) else {
        return;
    };
    if !require_root() {
        return;
    }
    let (rig, _) = rig(&plugin).await;
    let tar = Layer::new().file("secret", b"42").end();
    let archive = image_of(PLAIN, &[sha256(&tar)], &[(TAR_GZIP, gzip(&tar))]);
    let (layer, blob) = layer_of(&encrypt(&skopeo, &archive));
    blobs::put(&rig, &blob).await;
    let target = tempdir().expect("a folder");
    let with = |id: &str, name: &str| {
        let mut request = request(&layer.media_type, &blob, &[bind(target.path())]);
        let diff = request.diff.as_mut().expect("a layer");
        diff.annotations = layer.annotations.clone().into_iter().collect();
        let pem = STANDARD.encode(std::fs::read(key(name)).expect("a key"));
        let text = format!(
            r#"{{"DecryptConfig":{{"Parameters":{{"privkeys":["{pem}"],"privkeys-passwords":[""]}}}}}}"#
        );
        let payload = prost_types::Any {
            type_url: "io.containerd.ocicrypt.v1.Payload".to_owned(),
            value: text.into_bytes(),
        };
        request.payloads.insert(id.to_owned(), payload);
        request
    };
    for id in ["ocicrypt", "io.containerd.ocicrypt.decoder.v1.tar.gzip"] {
        let (code, text) = refused(ask(&rig, with(id, "other.pem")).await);
        assert_eq!(code, Code::PermissionDenied, "{text}");
        assert!(text.contains("encrypted for somebody else"), "{text}");
        let (_, text) = refused(ask(&rig, with(id, "encrypted.pem")).await);
        assert!(
            text.contains("what was handed over") && text.contains("passphrase"),
            "{text}"
        );
        let applied = ask(&rig, with(id, "rsa.pem")).await.expect("it is applied");
        assert_eq!(applied.digest, sha256(&tar));
    }
    let (_, text) = refused(ask(&rig, with("another", "rsa.pem")).await);
    assert!(text.contains("none of the 0 private keys"), "{text}");
}

/// The only layer of an archive.
fn layer_of(archive: &[u8]) -> (Descriptor, Vec<u8>) {
    let folder = tempdir().expect("a folder");
    tar::Archive::new(archive)
        .unpack(folder.path())
        .expect("an archive");
    let read = |path: &str| std::fs::read(folder.path().join(path)).expect("a file");
    let blob = |digest: &str| read(&format!("blobs/sha256/{}", digest.trim_start_matches("sha256:")));
    let index: serde_json::Value = serde_json::from_slice(&read("index.json")).expect("an index");
    let manifest = blob(index["manifests"][0]["digest"].as_str().expect("a digest"));
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("a manifest");
    let layer: Descriptor = serde_json::from_value(manifest["layers"][0].clone()).expect("a layer");
    let bytes = blob(layer.digest.as_str());
    (layer, bytes)
}
