//! Plugins as artifacts: made, read, signed and trusted; what other tools make of a component.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::process::Command;

use serde_json::{Value, json};
use transom_keys::{PublicKey, SigningKey};
use transom_oci::{Algorithm, Descriptor, Digest};
use transom_plugin::artifact::trust::Demand;
use transom_plugin::artifact::{self, OLDER_LAYERS, Signature, section, signature};
use transom_plugin::artifact::{Artifact, ArtifactError, Package, Policy, Trust, TrustError, TrustedKey};
use transom_plugin::manifest::PluginKind;
use transom_plugin::{LoadError, Loaded};

use crate::guests::{guest, spy};
use crate::{HOST, MANIFEST};

/// Blobs by digest, as a store has them.
#[derive(Clone, Default)]
struct Blobs(BTreeMap<String, Vec<u8>>);

impl Blobs {
    fn put(&mut self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(Algorithm::Sha256, bytes);
        self.0.insert(digest.to_string(), bytes.to_vec());
        digest
    }

    fn open(&self) -> impl FnMut(&Descriptor) -> io::Result<Box<dyn io::Read>> + '_ {
        |descriptor: &Descriptor| match self.0.get(descriptor.digest.as_str()) {
            Some(bytes) => Ok(Box::new(io::Cursor::new(bytes.clone())) as _),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// An artifact in a store, and its manifest.
fn packaged() -> (Blobs, Vec<u8>, Package) {
    let component = section::with(&guest("pass"), &described()).unwrap();
    let loaded = HOST.load_any(&component, None).unwrap();
    let package = Package::new(component, loaded.manifest()).unwrap();
    let mut blobs = Blobs::default();
    let mut last = Vec::new();
    for (descriptor, bytes) in package.blobs() {
        assert_eq!(blobs.put(bytes), descriptor.digest);
        last = bytes.to_vec();
    }
    (blobs, last, package)
}

fn described() -> String {
    format!("license = \"Apache-2.0\"\ndescription = \"Passes\"\n{MANIFEST}")
}

#[test]
fn an_artifact_carries_all_of_the_plugin() {
    let (blobs, manifest, package) = packaged();
    let artifact = Artifact::read(&manifest, Some(&package.descriptor().digest), &mut blobs.open()).unwrap();
    assert_eq!(
        (artifact.name(), artifact.version()),
        (Some("guest"), Some("0.1.0"))
    );
    assert_eq!(artifact.kind, PluginKind::Processor);
    assert_eq!(artifact.world, "transom:processor/processor@0.1.0");
    let admitted = Policy::default().admit(&HOST, &artifact, &[]).unwrap();
    assert_eq!(admitted.trust, Trust::Unsigned);
    let Loaded::Processor(plugin) = admitted.plugin else {
        panic!("{admitted:?}")
    };
    assert!(plugin.manifest().declared);
    assert_eq!(plugin.digest(), &artifact.component_digest);
    // Made again, it is the same to the byte.
    assert_eq!(packaged().1, manifest);

    let document: Value = serde_json::from_slice(&manifest).unwrap();
    let annotations = &document["annotations"];
    for (key, value) in [
        (artifact::TITLE, "guest"),
        (artifact::VERSION, "0.1.0"),
        (artifact::DESCRIPTION, "Passes"),
        (artifact::LICENSES, "Apache-2.0"),
    ] {
        assert_eq!(annotations[key], value, "{annotations}");
    }
    assert_eq!(document["config"]["mediaType"], artifact::CONFIG);
    assert_eq!(document["layers"][0]["mediaType"], artifact::LAYER);
    let config = document["config"]["digest"].as_str().unwrap();
    let config: Value = serde_json::from_slice(&blobs.0[config]).unwrap();
    assert_eq!(
        (&config["os"], &config["architecture"]),
        (&json!("wasip2"), &json!("wasm"))
    );
    assert_eq!(config["layerDigests"][0], document["layers"][0]["digest"]);
    assert_eq!(
        config["component"]["exports"],
        json!(["transom:processor/stage@0.1.0"])
    );
}

#[test]
fn a_lone_file_has_its_manifest_inside_and_one_beside_it_wins() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("guest.wasm");
    let inside = format!("{MANIFEST}[config.level]\ntype = \"integer\"\ndefault = 1\ndoc = \"x\"\n");
    fs::write(&file, section::with(&guest("pass"), &inside).unwrap()).unwrap();
    let loaded = HOST.load(&file).unwrap();
    assert!(loaded.manifest().config.contains_key("level"));
    fs::write(folder.path().join("plugin.toml"), MANIFEST).unwrap();
    assert!(HOST.load(&file).unwrap().manifest().config.is_empty());
    // One that is not true is refused as one beside the component is.
    let other = MANIFEST.replace("0.1.0\"\nkind", "0.2.0\"\nkind");
    let lie = section::with(&guest("pass"), &other).unwrap();
    assert!(matches!(
        HOST.load_bytes(&lie, None),
        Err(LoadError::Mismatch { .. })
    ));
}

/// What wkg, or oras with the right types, makes of a component: annotations, no `plugin.toml`.
fn foreign(blobs: &mut Blobs, component: &[u8], layer: &str) -> Vec<u8> {
    let config = br#"{"created":"2026-01-01T00:00:00Z","architecture":"wasm","os":"wasip2"}"#;
    json!({
        "schemaVersion": 2,
        "config": { "mediaType": artifact::CONFIG, "digest": blobs.put(config), "size": config.len() },
        "layers": [
            { "mediaType": "text/markdown", "digest": blobs.put(b"# readme"), "size": 8 },
            { "mediaType": layer, "digest": blobs.put(component), "size": component.len(),
              "annotations": { (artifact::TITLE): "pass.wasm" } },
        ],
        "annotations": { (artifact::VERSION): "9.9.9" },
    })
    .to_string()
    .into_bytes()
}

#[test]
fn what_other_tools_pushed_is_loaded_or_refused_with_a_reason() {
    let mut blobs = Blobs::default();
    for layer in [artifact::LAYER, OLDER_LAYERS[0], OLDER_LAYERS[1]] {
        let manifest = foreign(&mut blobs, &guest("pass"), layer);
        let artifact = Artifact::read(&manifest, None, &mut blobs.open()).unwrap();
        let admitted = Policy::default().admit(&HOST, &artifact, &[]).unwrap();
        // What it says itself is what counts, not what was written beside it.
        assert_eq!(
            (admitted.plugin.name(), admitted.plugin.version()),
            ("guest", "0.1.0")
        );
        assert!(!admitted.plugin.manifest().declared);
    }
    let says = |manifest: &[u8], blobs: &Blobs| {
        Artifact::read(manifest, None, &mut blobs.open())
            .unwrap_err()
            .to_string()
    };
    let untyped = foreign(
        &mut blobs,
        &guest("pass"),
        "application/vnd.oci.image.layer.v1.tar",
    );
    assert!(says(&untyped, &blobs).contains("oras push NAME FILE:application/wasm"));
    let core = wat::parse_str("(module)").unwrap();
    let core = foreign(&mut blobs, &core, artifact::LAYER);
    assert!(says(&core, &blobs).contains("core module"));
    let index = br#"{"schemaVersion":2,"manifests":[]}"#;
    assert!(says(index, &blobs).contains("index"));
    assert!(says(b"{}", &blobs).contains("no manifest"));
}

#[test]
fn what_is_damaged_or_too_large_is_not_read() {
    let (blobs, manifest, package) = packaged();
    let other = Digest::of(Algorithm::Sha256, b"other");
    let wrong = Artifact::read(&manifest, Some(&other), &mut blobs.open());
    assert!(matches!(wrong, Err(ArtifactError::Damaged { .. })));
    let layer = package.blobs().nth(1).unwrap().0.digest.to_string();
    for change in [
        |bytes: &mut Vec<u8>| bytes[40] ^= 1,
        |bytes: &mut Vec<u8>| bytes.push(0),
        |bytes: &mut Vec<u8>| bytes.truncate(100),
    ] {
        let mut damaged = blobs.clone();
        change(damaged.0.get_mut(&layer).unwrap());
        let read = Artifact::read(&manifest, None, &mut damaged.open());
        assert!(matches!(read, Err(ArtifactError::Damaged { .. })));
    }
    let mut missing = blobs.clone();
    missing.0.remove(&layer);
    let read = Artifact::read(&manifest, None, &mut missing.open());
    assert!(matches!(read, Err(ArtifactError::Read { .. })));
    let mut document: Value = serde_json::from_slice(&manifest).unwrap();
    document["layers"][0]["size"] = json!(65 << 20);
    let read = Artifact::read(document.to_string().as_bytes(), None, &mut blobs.open());
    assert!(matches!(read, Err(ArtifactError::TooLarge { .. })));
}

#[test]
fn a_configuration_says_which_side_is_too_old() {
    let config = |version: &str| {
        json!({ "created": "", "architecture": "wasm", "os": "wasip2", "component": {
            "exports": [format!("transom:processor/stage@{version}")],
            "imports": [format!("transom:common/io@{version}")],
        }})
        .to_string()
    };
    let says = |version: &str| {
        artifact::check_config(config(version).as_bytes())
            .unwrap_err()
            .to_string()
    };
    artifact::check_config(config("0.1.0").as_bytes()).unwrap();
    artifact::check_config(b"{}").unwrap();
    assert!(says("0.2.0").ends_with("update the host"));
    assert!(says("0.0.1").ends_with("newer SDK"));
}

/// A key pair, made by openssl, and its public half.
fn keys(folder: &std::path::Path, name: &str) -> Option<(SigningKey, PublicKey)> {
    let private = folder.join(format!("{name}.pem"));
    let public = folder.join(format!("{name}.pub"));
    openssl(&[
        "ecparam",
        "-name",
        "prime256v1",
        "-genkey",
        "-noout",
        "-out",
        private.to_str()?,
    ])?;
    openssl(&[
        "ec",
        "-in",
        private.to_str()?,
        "-pubout",
        "-out",
        public.to_str()?,
    ])?;
    Some((
        SigningKey::parse(&fs::read(&private).unwrap(), name).unwrap(),
        PublicKey::parse(&fs::read_to_string(&public).unwrap(), name).unwrap(),
    ))
}

fn openssl(arguments: &[&str]) -> Option<()> {
    let program = transom_tests::require_program("openssl")?;
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(())
}

fn policy(signatures: Demand, keys: &[(&str, &str, &PublicKey)]) -> Policy {
    let keys = keys.iter().map(|(name, plugins, key)| TrustedKey {
        name: (*name).to_owned(),
        plugins: vec![(*plugins).to_owned()],
        key: (*key).clone(),
    });
    Policy {
        signatures,
        keys: keys.collect(),
    }
}

#[test]
fn openssl_checks_our_signatures_and_we_check_its() {
    let folder = tempfile::tempdir().unwrap();
    let Some((key, public)) = keys(folder.path(), "ours") else {
        return;
    };
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let digest = Digest::of(Algorithm::Sha256, b"a manifest");
    let ours = Signature::new(&digest, "registry.example/\"a\"", &key).unwrap();
    assert!(ours.vouches(&digest, &public));
    assert!(!ours.vouches(&Digest::of(Algorithm::Sha256, b"another"), &public));
    fs::write(path("payload"), &ours.payload).unwrap();
    fs::write(path("signature"), &ours.signature).unwrap();
    let verify = [
        "dgst",
        "-sha256",
        "-verify",
        &path("ours.pub"),
        "-signature",
        &path("signature"),
        &path("payload"),
    ];
    openssl(&verify);

    // As a person signs by hand.
    fs::write(path("payload"), cosigns_document(&digest)).unwrap();
    let sign = [
        "dgst",
        "-sha256",
        "-sign",
        &path("ours.pem"),
        "-out",
        &path("signature"),
        &path("payload"),
    ];
    openssl(&sign);
    let theirs = Signature {
        payload: fs::read(path("payload")).unwrap(),
        signature: fs::read(path("signature")).unwrap(),
    };
    assert!(theirs.vouches(&digest, &public));
    // A signature of something that is no such document says nothing.
    fs::write(path("payload"), digest.as_str()).unwrap();
    openssl(&sign);
    let bare = Signature {
        payload: fs::read(path("payload")).unwrap(),
        signature: fs::read(path("signature")).unwrap(),
    };
    assert!(!bare.vouches(&digest, &public));
}

/// The document that `cosign sign --key` makes.
fn cosigns_document(digest: &Digest) -> String {
    format!(
        r#"{{"critical":{{"identity":{{"docker-reference":"localhost:5000/guest"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"cosign container image signature"}},"optional":null}}"#
    )
}

#[test]
fn a_policy_lets_in_what_the_right_key_has_signed() {
    let folder = tempfile::tempdir().unwrap();
    let (Some((key, public)), Some((other, stranger))) =
        (keys(folder.path(), "ours"), keys(folder.path(), "others"))
    else {
        return;
    };
    let (blobs, manifest, _) = packaged();
    let artifact = Artifact::read(&manifest, None, &mut blobs.open()).unwrap();
    let sign = |key: &SigningKey| Signature::new(artifact.digest(), "registry.example/guest", key).unwrap();
    let (good, foreign) = (sign(&key), sign(&other));
    let admit = |policy: &Policy, signatures: &[Signature]| {
        policy
            .admit(&HOST, &artifact, signatures)
            .map(|admitted| admitted.trust)
    };
    let demanding = policy(
        Demand::Required,
        &[("ours", "gue*", &public), ("theirs", "x-*", &stranger)],
    );
    let both = [foreign.clone(), good.clone()];
    assert_eq!(
        admit(&demanding, &both).unwrap(),
        Trust::Signed(vec!["ours".into()])
    );
    assert!(matches!(admit(&demanding, &[]), Err(TrustError::Unsigned { .. })));
    let covered = admit(&demanding, std::slice::from_ref(&foreign));
    assert!(
        matches!(covered, Err(TrustError::NotCovered { .. })),
        "{covered:?}"
    );
    let known = policy(Demand::Required, &[("ours", "*", &public)]);
    let unknown = admit(&known, std::slice::from_ref(&foreign));
    assert!(
        matches!(unknown, Err(TrustError::Stranger { signatures: 1, .. })),
        "{unknown:?}"
    );
    let lenient = policy(Demand::Optional, &[("ours", "*", &public)]);
    assert_eq!(admit(&lenient, &[foreign]).unwrap(), Trust::Unsigned);
    assert_eq!(
        admit(&lenient, std::slice::from_ref(&good)).unwrap(),
        Trust::Signed(vec!["ours".into()])
    );

    // Through the form in which they are stored.
    let mut store = Blobs::default();
    let parts = signature::package(&both).unwrap();
    for (descriptor, bytes) in &parts {
        assert_eq!(store.put(bytes), descriptor.digest);
    }
    let (descriptor, bytes) = parts.last().unwrap();
    let read = signature::read(bytes, Some(&descriptor.digest), &mut store.open()).unwrap();
    assert_eq!(read, both);
    let tag = signature::tag(artifact.digest());
    assert_eq!(tag, format!("sha256-{}.sig", artifact.digest().hex()));
}

#[test]
fn of_a_plugin_that_must_be_signed_nothing_is_run() {
    let folder = tempfile::tempdir().unwrap();
    let Some((_, public)) = keys(folder.path(), "ours") else {
        return;
    };
    // It would be refused for what it imports, were it looked at.
    let mut blobs = Blobs::default();
    let manifest = foreign(&mut blobs, &spy(), artifact::LAYER);
    let artifact = Artifact::read(&manifest, None, &mut blobs.open()).unwrap();
    let demanding = policy(Demand::Required, &[("ours", "*", &public)]);
    let refused = demanding.admit(&HOST, &artifact, &[]).unwrap_err();
    assert!(matches!(refused, TrustError::Unsigned { .. }), "{refused}");
    let looked_at = Policy::default().admit(&HOST, &artifact, &[]).unwrap_err();
    assert!(
        matches!(looked_at, TrustError::Load(LoadError::Forbidden(_))),
        "{looked_at}"
    );
}

#[test]
fn a_policy_is_read_with_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    if keys(folder.path(), "ours").is_none() {
        return;
    }
    let path = folder.path().join("trust.toml");
    let read = |text: &str| {
        fs::write(&path, text).unwrap();
        Policy::read(&path)
    };
    let key = "[[keys]]\nname = \"ours\"\nplugins = [\"acme-*\"]\nfile = \"ours.pub\"\n";
    let policy = read(&format!("signatures = \"required\"\n{key}")).unwrap();
    assert_eq!((policy.signatures, policy.keys.len()), (Demand::Required, 1));
    assert_eq!(read("").unwrap(), Policy::default());
    for (text, says) in [
        ("signatures = \"required\"\n".to_owned(), "trusts no key"),
        ("signatures = \"maybe\"\n".to_owned(), "maybe"),
        (
            key.replace("file = \"ours.pub\"\n", ""),
            "one of `file` and `pem`",
        ),
        (key.replace("ours.pub", "none.pub"), "none.pub"),
        (key.replace("ours.pub", "ours.pem"), "-pubout"),
        ("keys = 1\n".to_owned(), "keys"),
    ] {
        let error = read(&text).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(Policy::read(&path), Err(TrustError::Read { .. })));
}
