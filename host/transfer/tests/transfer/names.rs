//! Names for what is saved, and how it is looked up: containerd's cases of `TestStore` and `TestLookup`.

use transom_meta::Labels;
use transom_meta::images::{NewImage, Target};
use transom_oci::{Descriptor, media_type};
use transom_transfer::{ImageStore, Reference};

use crate::stage::{Stage, caller, digest, image_names, plain, refused};

/// The name of a case, the store, where the name stands (`OCI`, `containerd`, `Annotation` for nowhere, `NoAnnotation` for an
/// index), the name, and what is saved; a name that ends in `@` gets the digest.
type Case = (
    &'static str,
    ImageStore,
    &'static [&'static str],
    &'static str,
    &'static [&'static str],
);

fn prefix(name: &str) -> Reference {
    Reference {
        is_prefix: true,
        ..plain(name)
    }
}

fn digested(name: &str) -> Reference {
    Reference {
        add_digest: true,
        ..prefix(name)
    }
}

fn with(name: &str, reference: Option<Reference>) -> ImageStore {
    ImageStore {
        references: reference.into_iter().collect(),
        ..ImageStore::named(name)
    }
}

const BOTH: &[&str] = &["OCI", "containerd"];
const LATEST: &str = "registry.test/image:latest";
const BASE: &str = "registry.test/base:latest";
const BASE_DIGEST: &str = "registry.test/base@";
const INDEX: &str = "registry.test/index:latest";

fn overwrite(reference: Reference) -> Reference {
    Reference {
        allow_overwrite: true,
        ..reference
    }
}

fn skip(reference: Reference) -> Reference {
    Reference {
        skip_named_digest: true,
        ..reference
    }
}

/// What an archive lists.
#[rustfmt::skip]
fn listed() -> Vec<Case> {
    let only = |reference| with("", Some(reference));
    let (image, base) = ("registry.test/image", "registry.test/base");
    vec![
        ("Prefix", only(prefix(image)), BOTH, LATEST, &[LATEST]),
        ("Overwrite", only(overwrite(prefix("placeholder"))), BOTH, LATEST, &[LATEST]),
        ("TagOnly", only(prefix(image)), &["OCI"], "latest", &[LATEST]),
        ("AddDigest", only(digested(base)), &["Annotation"], "", &[BASE_DIGEST]),
        ("NameAndDigest", only(digested(base)), &["OCI"], "latest", &[BASE, BASE_DIGEST]),
        ("NameSkipDigest", only(skip(digested(base))), &["OCI"], "latest", &[BASE]),
        ("OverwriteNameDigest", only(overwrite(digested("base-name"))), BOTH, BASE, &[BASE, "base-name@"]),
        ("OverwriteNameSkipDigest", only(skip(overwrite(digested("base-name")))), BOTH, BASE, &[BASE]),
        ("ReferenceNotFound", only(prefix(image)), BOTH, BASE, &[]),
        ("NoReference", ImageStore::default(), &["Annotation", "NoAnnotation"], "", &[]),
    ]
}

/// What an index as a whole is called.
#[rustfmt::skip]
fn whole() -> Vec<Case> {
    let place: &[&str] = &["NoAnnotation"];
    let base = digested("registry.test/base");
    let extra = "registry.test/extra:v1";
    vec![
        ("ImageName", with(INDEX, None), place, "", &[INDEX]),
        ("ImageNameWithPrefixAddDigest", with(INDEX, Some(base.clone())), place, "", &[INDEX, BASE_DIGEST]),
        ("ImageNameWithExtraRef", with(INDEX, Some(plain(extra))), place, "", &[INDEX, "registry.test/extra:v1"]),
        ("ImageNameWithPrefixAddDigestSkipNamed", with(INDEX, Some(skip(base))), place, "", &[INDEX, BASE_DIGEST]),
    ]
}

#[test]
fn images_are_named_as_containerd_names_them() {
    for (case, store, places, name, wanted) in listed().into_iter().chain(whole()) {
        for place in places {
            let mut descriptor = Descriptor::new(media_type::MANIFEST, digest(case.as_bytes()), 1);
            let key = match *place {
                "OCI" => Some("org.opencontainers.image.ref.name"),
                "containerd" => Some("io.containerd.image.name"),
                _ => None,
            };
            if let Some(key) = key {
                descriptor.annotations = Labels::from([(key.to_owned(), name.to_owned())]);
            }
            let found = match *place {
                "NoAnnotation" => store.names_of_whole(&descriptor),
                _ => store.names_of_listed(&descriptor),
            };
            let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
            let wanted: Vec<String> = wanted
                .iter()
                .map(|name| match name.ends_with('@') {
                    true => format!("{name}{}", descriptor.digest),
                    false => (*name).to_owned(),
                })
                .collect();
            assert_eq!(names, wanted, "{case} {place}");
            for (name, labels) in &found {
                let main = labels.get("containerd.io/gc.bref.image");
                let expires = labels.contains_key("containerd.io/gc.expire");
                let further = !store.name.is_empty() && *name != store.name;
                assert_eq!(main, Some(&store.name).filter(|_| further), "{case} {name}");
                assert_eq!(expires, further, "{case} {name}");
            }
        }
    }
}

async fn stage_with(names: &[&str]) -> Stage {
    let stage = Stage::new().await;
    for name in names {
        let image = NewImage {
            name: (*name).to_owned(),
            labels: Labels::new(),
            target: Some(Target {
                media_type: media_type::MANIFEST.to_owned(),
                digest: digest(b"x").to_string(),
                size: 1,
                annotations: Labels::new(),
            }),
        };
        stage.metadata.create_image(&caller(), image, None).await.unwrap();
    }
    stage
}

#[tokio::test]
async fn images_are_looked_up_by_all_names() {
    let (a, b) = ("registry.io/test1:latest", "registry.io/test1:v1");
    let stage = stage_with(&[a, b]).await;
    let of = |name: &str, references: &[&str]| ImageStore {
        references: references.iter().map(|name| plain(name)).collect(),
        ..ImageStore::named(name)
    };
    for (case, store, wanted) in [
        ("SingleImage", of(a, &[]), vec![a]),
        ("MultipleReferences", of(a, &[b]), vec![a, b]),
        ("OnlyReferences", of("", &[a, b]), vec![a, b]),
    ] {
        let found = store.look_up(&stage.metadata, &caller()).await.unwrap();
        assert_eq!(image_names(&found), wanted, "{case}");
    }
    let unsupported = with("", Some(prefix(a)));
    let (class, _) = refused(unsupported.look_up(&stage.metadata, &caller()).await);
    assert_eq!(class, transom_meta::Class::Unimplemented, "UnsupportedPrefix");
    let (class, _) = refused(of("none", &[]).look_up(&stage.metadata, &caller()).await);
    assert_eq!(class, transom_meta::Class::NotFound);
}

#[tokio::test]
async fn a_tag_names_the_same_target_and_replaces_what_it_named() {
    let stage = stage_with(&["a"]).await;
    let from = ImageStore::named("a");
    let mut to = ImageStore::named("b");
    to.references = vec![plain("c"), prefix("ignored"), digested("d")];
    to.labels = Labels::from([("k".to_owned(), "v".to_owned())]);
    let digest = digest(b"x");
    for _ in 0..2 {
        let saved = stage.transfers.tag(&caller(), &from, &to).await.unwrap();
        assert_eq!(image_names(&saved), ["b", "c", &format!("d@{digest}")]);
        assert!(
            saved
                .iter()
                .all(|image| image.target.digest == digest.to_string())
        );
        assert_eq!(saved[0].labels, to.labels);
    }
    let none = ImageStore::default();
    let (class, text) = refused(stage.transfers.tag(&caller(), &from, &none).await);
    assert_eq!(
        (class, &*text),
        (transom_meta::Class::NotFound, "no image name found")
    );
    let missing = ImageStore::named("none");
    let (class, _) = refused(stage.transfers.tag(&caller(), &missing, &to).await);
    assert_eq!(class, transom_meta::Class::NotFound);
    assert!(
        stage
            .metadata
            .leases(&caller().namespace, &[])
            .await
            .unwrap()
            .len()
            <= 2
    );
    // Further names go with the first one.
    stage.metadata.delete_image(&caller(), "b", None).await.unwrap();
    stage.collected().await;
    let left = stage.metadata.images(&caller(), &[]).await.unwrap();
    assert_eq!(image_names(&left), ["a"]);
}
