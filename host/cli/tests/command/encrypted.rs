//! Images that skopeo encrypted, through the plugin `ocicrypt`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use transom_oci::{Algorithm, Digest};
use transom_tests::sample::Compression;

use crate::image::{RawImage, RawLayer, Tar};
use crate::support::{DAMAGED, Done, NOT_FOUND, REFUSED, USAGE, run, unpack};

const PUBLIC: &str = "org.opencontainers.image.enc.pubopts";
const JWE: &str = "org.opencontainers.image.enc.keys.jwe";

/// A key of the tests of `transom-keys`.
pub(crate) fn key(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../keys/tests/skopeo")
        .join(name);
    file.display().to_string()
}

/// The plugin and skopeo, if both are here.
pub(crate) fn needs() -> Option<(String, PathBuf)> {
    let component = transom_tests::plugin("ocicrypt")?;
    let skopeo = transom_tests::require_program("skopeo")?;
    Some((component.parent().unwrap().display().to_string(), skopeo))
}

/// An image of three layers: plain, gzip, zstd.
pub(crate) fn plain(folder: &Path) -> RawImage {
    let layer = |name: &str, compression| {
        let tar = Tar::new().file(name, name.repeat(5000).as_bytes()).end();
        RawLayer::new(&tar, compression)
    };
    let layers = [
        layer("one", Compression::None),
        layer("two", Compression::Gzip),
        layer("three", Compression::Zstd),
    ];
    RawImage::write(&folder.join("plain"), &layers)
}

fn encrypt(skopeo: &Path, from: &Path, to: &Path, keys: &[&str]) {
    let mut command = Command::new(skopeo);
    command.args(["copy", "--quiet", "--dest-oci-accept-uncompressed-layers"]);
    for name in keys {
        command.args(["--encryption-key", &format!("jwe:{}", key(name))]);
    }
    command
        .arg(format!("oci:{}", from.display()))
        .arg(format!("oci:{}", to.display()));
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A blob of a layout, by a descriptor that names it.
fn blob(layout: &Path, descriptor: &Value) -> PathBuf {
    let digest: Digest = descriptor["digest"].as_str().unwrap().parse().unwrap();
    layout.join("blobs/sha256").join(digest.hex())
}

/// Changes the manifest of a layout, and what leads to it.
fn change(layout: &Path, change: impl FnOnce(&mut Value)) {
    let read = |path: &Path| serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap();
    let mut index = read(&layout.join("index.json"));
    let mut manifest = read(&blob(layout, &index["manifests"][0]));
    change(&mut manifest);
    index["manifests"][0] = put(layout, &index["manifests"][0], manifest.to_string().as_bytes());
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
}

/// Writes a blob, and gives the descriptor with its digest and size.
fn put(layout: &Path, descriptor: &Value, bytes: &[u8]) -> Value {
    let mut descriptor = descriptor.clone();
    descriptor["digest"] = Digest::of(Algorithm::Sha256, bytes).to_string().into();
    descriptor["size"] = bytes.len().into();
    fs::write(blob(layout, &descriptor), bytes).unwrap();
    descriptor
}

/// Changes the bytes of the second layer, which then has another digest: the registry has nothing to say against it.
fn tamper(layout: &Path, tamper: impl FnOnce(&mut Vec<u8>)) {
    change(layout, |manifest| {
        let mut bytes = fs::read(blob(layout, &manifest["layers"][1])).unwrap();
        tamper(&mut bytes);
        manifest["layers"][1] = put(layout, &manifest["layers"][1], &bytes);
    });
}

#[test]
fn what_skopeo_encrypts_is_unpacked_with_its_key() {
    let Some((plugin, skopeo)) = needs() else { return };
    let folder = tempfile::tempdir().unwrap();
    let image = plain(folder.path());
    for (public, private) in [
        (&["rsa.pub.pem"][..], "rsa.pem"),
        (&["p256.pub.pem"], "p256.sec1.pem"),
        (&["other.pub.pem", "p256.pub.pem", "rsa.pub.pem"], "rsa.pkcs1.pem"),
    ] {
        let (sealed, target) = (folder.path().join("sealed"), folder.path().join("root"));
        encrypt(&skopeo, &image.layout, &sealed, public);
        let flags = ["--json", "--plugin", &plugin, "--decryption-key", &key(private)];
        let document = unpack(&sealed, &target, &flags).json();
        for name in ["one", "two", "three"] {
            assert_eq!(fs::read(target.join(name)).unwrap(), name.repeat(5000).as_bytes());
        }
        let stages: Vec<usize> = document["layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|layer| layer["stages"].as_array().unwrap().len())
            .collect();
        assert_eq!(stages, [1, 2, 2], "{document}");
        fs::remove_dir_all(&sealed).unwrap();
        fs::remove_dir_all(&target).unwrap();
    }
}

#[test]
fn a_missing_and_a_wrong_key_have_their_own_messages() {
    let Some((plugin, skopeo)) = needs() else { return };
    let folder = tempfile::tempdir().unwrap();
    let image = plain(folder.path());
    let (sealed, target) = (folder.path().join("sealed"), folder.path().join("root"));
    encrypt(&skopeo, &image.layout, &sealed, &["rsa.pub.pem"]);
    let with = |flags: &[&str]| -> Done {
        let all = [&["--plugin", plugin.as_str()][..], flags].concat();
        unpack(&sealed, &target, &all)
    };
    let fails = |flags: &[&str], code: i32, texts: &[&str]| {
        with(flags).fails(code, texts);
        assert!(!target.exists(), "{flags:?}");
    };
    fails(
        &[],
        REFUSED,
        &["layer 0", "has no private keys", "--decryption-key FILE"],
    );
    let wrong = [
        "--decryption-key",
        &key("other.pem"),
        "--decryption-key",
        &key("p256.pem"),
    ];
    fails(
        &wrong,
        REFUSED,
        &[
            "encrypted for somebody else",
            "none of the 2 private keys opens it: it is for an RSA key",
        ],
    );
    fails(
        &["--decryption-key", &key("absent.pem")],
        NOT_FOUND,
        &["absent.pem"],
    );
    fails(
        &["--decryption-key", &key("encrypted.pem")],
        DAMAGED,
        &["encrypted.pem", "openssl pkey"],
    );
}

#[test]
fn a_changed_a_cut_and_a_strange_layer_have_their_own_messages() {
    let Some((plugin, skopeo)) = needs() else { return };
    let folder = tempfile::tempdir().unwrap();
    let image = plain(folder.path());
    let (sealed, target) = (folder.path().join("sealed"), folder.path().join("root"));
    encrypt(&skopeo, &image.layout, &sealed, &["rsa.pub.pem"]);
    let rsa = key("rsa.pem");
    let ours = ["--plugin", &plugin, "--decryption-key", &rsa];
    let fails = |texts: &[&str]| {
        unpack(&sealed, &target, &ours).fails(DAMAGED, texts);
        assert!(!target.exists(), "{texts:?}");
    };
    tamper(&sealed, |bytes| bytes[20] ^= 1);
    fails(&["layer 1", "was changed after it was encrypted"]);
    tamper(&sealed, |bytes| bytes[20] ^= 1);
    unpack(&sealed, &target, &ours).ok();
    fs::remove_dir_all(&target).unwrap();
    tamper(&sealed, |bytes| bytes.truncate(30));
    fails(&["layer 1", "was changed after it was encrypted"]);
    change(&sealed, |manifest| {
        manifest["layers"][0]["annotations"][JWE] = "AAAA".into();
    });
    fails(&["layer 0", "the wrapped key is malformed"]);
    change(&sealed, |manifest| {
        drop(
            manifest["layers"][0]["annotations"]
                .as_object_mut()
                .unwrap()
                .remove(PUBLIC),
        );
    });
    fails(&["layer 0", "no annotation org.opencontainers.image.enc.pubopts"]);
}

#[test]
fn a_key_without_a_plugin_for_it_is_a_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let image = plain(folder.path());
    let target = folder.path().join("root");
    let flags = ["--decryption-key", &key("rsa.pem")];
    unpack(&image.layout, &target, &flags).fails(USAGE, &["--plugin", "ocicrypt"]);
    let Some((plugin, _)) = needs() else { return };
    let shown = run(["plugin", "inspect", &plugin]).ok();
    assert!(
        shown.contains("asks for  keys") && shown.contains("transom:keys/unwrap"),
        "{shown}"
    );
}
