//! Whole images, from one registry into a store and on to another.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use transom_client::images::{Observer, Unobserved};
use transom_content::Store;
use transom_oci::{Descriptor, Digest, Platform, media_type};

use crate::fake::{Fake, Fault};
use crate::support::{noise, remote};

/// An index of an index of two images, which share a layer; the index as it is resolved.
fn nested(fake: &Fake) -> (Digest, HashSet<String>) {
    let shared = fake.add_blob(noise(50_000, 80));
    let config = |text: &str| {
        let mut config = fake.add_blob(text.as_bytes().to_vec());
        config.media_type = media_type::IMAGE_CONFIG.to_owned();
        config
    };
    let manifest = |config: &Descriptor, own: &Descriptor, name: &str| {
        let foreign = Descriptor {
            media_type: media_type::LAYER_NONDISTRIBUTABLE_TAR.to_owned(),
            ..Descriptor::new("", Digest::of(transom_oci::Algorithm::Sha256, b"foreign"), 7)
        };
        let document = serde_json::json!({
            "schemaVersion": 2, "config": config, "layers": [shared, own, foreign], "annotations": {"name": name},
        });
        let text = document.to_string();
        let digest = fake.add_manifest("team/app", name, media_type::MANIFEST, &text);
        (digest, text.len())
    };
    let mut all = HashSet::from([shared.digest.to_string()]);
    let mut entries = Vec::new();
    for (name, architecture) in [("one", "amd64"), ("two", "arm64")] {
        let (config, own) = (
            config(name),
            fake.add_blob(noise(10_000, u64::from(name.as_bytes()[0]))),
        );
        let (digest, size) = manifest(&config, &own, name);
        entries.push(serde_json::json!({
            "mediaType": media_type::MANIFEST, "digest": digest, "size": size,
            "platform": {"os": "linux", "architecture": architecture},
        }));
        all.extend([config.digest, own.digest, digest].map(|digest| digest.to_string()));
    }
    let index = |entries: &[serde_json::Value], tag: &str| {
        let text =
            serde_json::json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": entries})
                .to_string();
        let digest = fake.add_manifest("team/app", tag, media_type::INDEX, &text);
        (digest, text.len())
    };
    let (inner, size) = index(&entries[1..], "inner");
    let nested = serde_json::json!({
        "mediaType": media_type::INDEX, "digest": inner, "size": size, "platform": {"os": "linux", "architecture": "arm64"},
    });
    let (outer, _) = index(&[entries[0].clone(), nested], "v1");
    all.extend([inner.to_string(), outer.to_string()]);
    (outer, all)
}

/// Writes down which blobs had to be moved.
#[derive(Default)]
struct Moved(Mutex<Vec<String>>);

impl Observer for Moved {
    fn moved(&self, blob: &Descriptor, bytes: u64) {
        assert!(bytes <= blob.size);
    }

    fn done(&self, blob: &Descriptor, moved: bool) {
        if moved {
            self.0.lock().unwrap().push(blob.digest.to_string());
        }
    }
}

#[tokio::test]
async fn an_image_goes_from_one_registry_to_another() {
    let (here, there) = (Fake::start().await, Fake::start().await);
    let (digest, all) = nested(&here);
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let from = remote(&here);
    let image = from.resolve("v1").await.unwrap();
    assert_eq!(image.digest, digest);
    let moved = Arc::new(Moved::default());
    let observer: Arc<dyn Observer> = Arc::clone(&moved) as _;
    let fetched = from.fetch_image(&image, &store, &observer).await.unwrap();
    let names: HashSet<String> = fetched.iter().map(|blob| blob.digest.to_string()).collect();
    assert_eq!((names, fetched.len()), (all.clone(), all.len()));
    assert_eq!(moved.0.lock().unwrap().len(), all.len());
    for blob in &fetched {
        assert_eq!(store.info(&blob.digest).unwrap().size, blob.size);
    }
    // A second time nothing is moved.
    from.fetch_image(&image, &store, &observer).await.unwrap();
    assert_eq!(moved.0.lock().unwrap().len(), all.len());
    let to = remote(&there);
    let quiet: Arc<dyn Observer> = Arc::new(Unobserved);
    to.push_image(&image, "v2", &store, &[], &quiet).await.unwrap();
    assert_eq!(to.resolve("v2").await.unwrap(), image);
    assert_eq!(there.shelf.blobs.lock().unwrap().len(), 5);
    // Blobs before manifests, the image last.
    let puts: Vec<_> = there
        .lines()
        .into_iter()
        .filter(|line| line.starts_with("PUT"))
        .collect();
    let first = puts.iter().position(|line| line.contains("/manifests/")).unwrap();
    assert_eq!((first, puts.len()), (5, 9));
    assert!(puts.last().unwrap().ends_with("/manifests/v2"), "{puts:?}");
}

#[tokio::test]
async fn one_platform_is_found_through_all_indexes() {
    let fake = Fake::start().await;
    nested(&fake);
    let remote = remote(&fake);
    let image = remote.resolve("v1").await.unwrap();
    let two = remote.resolve("two").await.unwrap();
    let arm = Platform::new("linux", "arm64", None);
    assert_eq!(
        remote.for_platform(image.clone(), &arm).await.unwrap().digest,
        two.digest
    );
    let other = Platform::new("linux", "riscv64", None);
    let error = remote.for_platform(image, &other).await.unwrap_err();
    assert!(
        error.is_not_found() && error.to_string().contains("linux/riscv64"),
        "{error}"
    );
    assert_eq!(remote.for_platform(two.clone(), &other).await.unwrap(), two);
}

#[tokio::test]
async fn what_fails_ends_the_others() {
    let fake = Fake::start().await;
    nested(&fake);
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let remote = remote(&fake);
    let image = remote.resolve("v1").await.unwrap();
    let mut first = true;
    fake.plan(move |seen| match seen.path.contains("/blobs/") {
        true if std::mem::take(&mut first) => crate::fake::reply(403, &[], ""),
        // Nothing else ever ends.
        true => Fault::Stall(1),
        false => Fault::None,
    });
    let quiet: Arc<dyn Observer> = Arc::new(Unobserved);
    assert!(remote.fetch_image(&image, &store, &quiet).await.is_err());
    assert!(
        store.info(&image.digest).is_err(),
        "an image whose parts are missing"
    );
    // What is not there cannot be pushed, and is named.
    let error = remote
        .push_image(&image, "v3", &store, &[], &quiet)
        .await
        .unwrap_err();
    assert!(error.to_string().contains(image.digest.as_str()), "{error}");
}

#[tokio::test]
async fn indexes_in_indexes_have_an_end() {
    let fake = Fake::start().await;
    let mut text =
        r#"{"schemaVersion":2,"config":{"mediaType":"x/y","digest":"CONFIG","size":2},"layers":[]}"#
            .replace("CONFIG", fake.add_blob("{}").digest.as_str());
    let mut kind = media_type::MANIFEST;
    for depth in 0..9 {
        let digest = fake.add_manifest("team/app", &format!("d{depth}"), kind, &text);
        text = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{kind}","digest":"{digest}","size":{}}}]}}"#,
            text.len()
        );
        kind = media_type::INDEX;
    }
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let remote = remote(&fake);
    let quiet: Arc<dyn Observer> = Arc::new(Unobserved);
    let fits = remote.resolve("d7").await.unwrap();
    remote.fetch_image(&fits, &store, &quiet).await.unwrap();
    let deep = remote.resolve("d8").await.unwrap();
    let error = remote.fetch_image(&deep, &store, &quiet).await.unwrap_err();
    assert!(error.to_string().contains("more than 8 deep"), "{error}");
    assert!(store.info(&deep.digest).is_err());
}
