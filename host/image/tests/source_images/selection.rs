//! Which image of several is chosen.

use serde_json::json;
use transom_image::{ImageError, PlatformChoice};
use transom_oci::{Platform, media_type};

use crate::builder::{Layout, only, platform_json, read_layer, sha256};

const HOST: PlatformChoice = PlatformChoice::Host;

fn multi() -> (Layout, Vec<String>) {
    let mut layout = Layout::new();
    let platforms = [
        "linux/amd64",
        "linux/arm64/v8",
        "linux/arm/v7",
        "linux/arm/v6",
        "windows/amd64",
    ];
    let images: Vec<_> = platforms
        .iter()
        .map(|platform| layout.platform_image(platform))
        .collect();
    let digests = images
        .iter()
        .map(|image| image["digest"].as_str().unwrap().to_owned())
        .collect();
    let index = layout.index(&images);
    layout.list(index, Some("v1"));
    (layout, digests)
}

#[test]
fn the_only_image_needs_no_selector() {
    let (layout, image) = Layout::simple();
    let found = layout.resolve("", &HOST).unwrap();
    assert_eq!(found.name.as_deref(), Some("v1"));
    assert_eq!(found.descriptor.digest.as_str(), image["digest"]);
    assert_eq!(found.config.platform.to_string(), "linux/amd64");
    assert_eq!(found.layers.len(), 1);
    assert_eq!(found.layers[0].diff_id, sha256(b"a layer"));
    assert_eq!(read_layer(&layout.open().unwrap(), &found, 0), b"a layer");
}

#[test]
fn the_only_image_will_do_for_any_host_but_not_for_a_named_platform() {
    let mut layout = Layout::new();
    let image = layout.image("plan9/mips", &[b"x"]);
    layout.list(image, Some("v1"));
    assert!(layout.resolve("", &HOST).is_ok());
    assert!(layout.resolve("", &only("plan9/mips")).is_ok());
    let error = layout.resolve("", &only("linux/amd64")).unwrap_err();
    assert!(matches!(error, ImageError::NoSuchPlatform { .. }), "{error}");
    assert!(error.to_string().contains("plan9/mips"), "{error}");
}

#[test]
fn platforms_choose_the_nearest() {
    let (layout, digests) = multi();
    for (platform, want) in [
        ("linux/amd64", Some(0)),
        ("linux/amd64/v3", Some(0)),
        ("linux/arm64", Some(1)),
        ("linux/arm/v7", Some(2)),
        ("linux/arm", Some(2)),
        ("linux/arm/v8", Some(2)),
        ("linux/arm/v6", Some(3)),
        ("linux/arm/v5", None),
        ("windows/amd64", Some(4)),
        ("linux/s390x", None),
    ] {
        let found = layout.resolve(":v1", &only(platform));
        match (found, want) {
            (Ok(image), Some(at)) => assert_eq!(image.descriptor.digest.as_str(), digests[at], "{platform}"),
            (Err(error @ ImageError::NoSuchPlatform { .. }), None) => {
                assert!(error.to_string().contains("linux/arm64"), "{error}");
            }
            (found, want) => panic!("{platform}: {found:?} instead of {want:?}"),
        }
    }
}

#[test]
fn versions_of_windows_are_told_apart() {
    let mut layout = Layout::new();
    let images = ["10.0.1", "10.0.2"].map(|version| {
        let mut image = layout.image("windows/amd64", &[version.as_bytes()]);
        image["platform"] = platform_json("windows/amd64");
        image["platform"]["os.version"] = version.into();
        image
    });
    let index = layout.index(&images);
    layout.list(index, None);
    let error = layout.resolve("", &only("windows/amd64")).unwrap_err();
    assert!(matches!(error, ImageError::Ambiguous { .. }));
    assert!(error.to_string().contains("(windows/amd64 10.0.2)"), "{error}");
    let second = Platform {
        os_version: Some("10.0.2".into()),
        ..Platform::new("windows", "amd64", None)
    };
    let found = layout.resolve("", &PlatformChoice::Only(second)).unwrap();
    assert_eq!(found.descriptor.digest.as_str(), images[1]["digest"]);
}

#[test]
fn tags_and_names_choose() {
    let mut layout = Layout::new();
    let images = [b"1", b"2", b"3"].map(|layer| layout.image("linux/amd64", &[layer]));
    let mut full = images[1].clone();
    full["annotations"] = json!({"io.containerd.image.name": "docker.io/library/alpine:latest",
        "org.opencontainers.image.ref.name": "latest"});
    layout.list(images[0].clone(), Some("v1"));
    layout.list(full, None);
    layout.list(images[2].clone(), Some("quay.io/some/thing:v1"));
    for (selector, want) in [
        (":v1", 0),
        (":latest", 1),
        (":alpine", 1),
        (":docker.io/library/alpine:latest", 1),
        (":quay.io/some/thing:v1", 2),
    ] {
        let found = layout.resolve(selector, &HOST).expect(selector);
        assert_eq!(
            found.descriptor.digest.as_str(),
            images[want]["digest"],
            "{selector}"
        );
    }
    let error = layout.resolve("", &HOST).unwrap_err();
    assert!(matches!(error, ImageError::Ambiguous { ref choices, .. } if choices.len() == 3));
    let error = layout.resolve(":v2", &HOST).unwrap_err();
    assert!(error.to_string().contains("quay.io/some/thing:v1"), "{error}");
    assert!(error.to_string().contains("no image :v2"), "{error}");
}

#[test]
fn different_names_are_different_images_whatever_their_platforms() {
    let mut layout = Layout::new();
    let (amd64, arm64) = (
        layout.platform_image("linux/amd64"),
        layout.platform_image("linux/arm64"),
    );
    layout.list(amd64, Some("a"));
    layout.list(arm64, Some("b"));
    assert!(matches!(
        layout.resolve("", &only("linux/amd64")),
        Err(ImageError::Ambiguous { .. })
    ));
    assert!(layout.resolve(":b", &only("linux/arm64")).is_ok());
}

#[test]
fn one_image_under_two_names_is_one_image() {
    let mut layout = Layout::new();
    let image = layout.image("linux/amd64", &[b"1"]);
    layout.list(image.clone(), Some("a"));
    layout.list(image, Some("b"));
    assert_eq!(layout.resolve("", &HOST).unwrap().name.as_deref(), Some("a"));
    assert_eq!(layout.resolve(":b", &HOST).unwrap().name.as_deref(), Some("b"));
}

#[test]
fn digests_choose_at_any_depth() {
    let (layout, digests) = multi();
    for digest in &digests {
        let found = layout.resolve(&format!("@{digest}"), &HOST).unwrap();
        assert_eq!(found.descriptor.digest.as_str(), digest);
        assert!(layout.resolve(&format!(":v1@{digest}"), &HOST).is_ok());
    }
    let other = sha256(b"other");
    let error = layout.resolve(&format!("@{other}"), &HOST).unwrap_err();
    assert!(matches!(error, ImageError::NoSuchImage { .. }), "{error}");
    let wrong_platform = layout.resolve(&format!("@{}", digests[0]), &only("linux/arm64"));
    assert!(matches!(wrong_platform, Err(ImageError::NoSuchPlatform { .. })));
}

#[test]
fn indexes_nest_but_not_without_end() {
    let mut layout = Layout::new();
    let mut inner = layout.platform_image("linux/amd64");
    for _ in 0..transom_image::limits::INDEX_DEPTH_MAX {
        inner = layout.index(&[inner]);
    }
    layout.list(inner.clone(), Some("deep"));
    assert!(layout.resolve(":deep", &only("linux/amd64")).is_ok());
    let deeper = layout.index(&[inner]);
    layout.list(deeper, Some("deeper"));
    let error = layout.resolve(":deeper", &only("linux/amd64")).unwrap_err();
    assert!(matches!(error, ImageError::IndexLimit { .. }), "{error}");
}

#[test]
fn many_descriptors_are_refused() {
    let mut layout = Layout::new();
    let image = layout.platform_image("linux/amd64");
    let wide = layout.index(&vec![image; 11_000]);
    for copy in 0..3 {
        let listed = layout.index(&[wide.clone(), layout.platform_image(&format!("x/{copy}"))]);
        layout.list(listed, None);
    }
    let error = layout.resolve("", &HOST).unwrap_err();
    assert!(error.to_string().contains("descriptors"), "{error}");
    let source = layout.open().unwrap();
    assert!(transom_image::inspect::inspect(&source).is_err());
}

#[test]
fn documents_to_read_are_limited_together() {
    let mut layout = Layout::new();
    for number in 0..=256 {
        let digest = sha256(&[1, u8::try_from(number % 256).unwrap(), u8::from(number == 256)]);
        let manifest = json!({"mediaType": media_type::MANIFEST, "digest": digest, "size": 4 << 20});
        layout.list(manifest, None);
        if number < 255 {
            continue;
        }
        let error = layout.resolve("", &HOST).unwrap_err();
        let limited = matches!(error, ImageError::IndexLimit { .. });
        assert_eq!(limited, number == 256, "{number}: {error}");
    }
}

#[test]
fn attestations_and_artifacts_are_no_choices() {
    let mut layout = Layout::new();
    let image = layout.platform_image("linux/amd64");
    let mut attestation = layout.image("unknown/unknown", &[b"in-toto"]);
    attestation["platform"] = platform_json("unknown/unknown");
    let unlabelled = layout.image("unknown/unknown", &[b"in-toto too"]);
    let empty = layout.json(media_type::EMPTY_CONFIG, &json!({}));
    let artifact = layout.manifest(&empty, &[]);
    let index = layout.index(&[attestation, artifact.clone(), unlabelled, image.clone()]);
    layout.list(index, None);
    let found = layout.resolve("", &only("linux/amd64")).unwrap();
    assert_eq!(found.descriptor.digest.as_str(), image["digest"]);
    let error = layout
        .resolve(&format!("@{}", artifact["digest"].as_str().unwrap()), &HOST)
        .unwrap_err();
    assert!(
        matches!(error, ImageError::Artifact { ref artifact_type, .. } if artifact_type == media_type::EMPTY_CONFIG),
        "{error}"
    );
}

#[test]
fn an_artifact_that_claims_a_platform_is_found_out() {
    let mut layout = Layout::new();
    let config = layout.json("application/vnd.cncf.helm.config.v1+json", &json!({}));
    let mut chart = layout.manifest(&config, &[]);
    chart["platform"] = platform_json("linux/amd64");
    layout.list(chart, None);
    let error = layout.resolve("", &only("linux/amd64")).unwrap_err();
    assert!(error.to_string().contains("helm"), "{error}");
}

#[test]
fn part_of_an_image_is_enough() {
    let (layout, digests) = multi();
    for digest in &digests[1..] {
        std::fs::remove_file(layout.path().join("blobs").join(digest.replace(':', "/"))).unwrap();
    }
    assert!(layout.resolve("", &only("linux/amd64")).is_ok());
    let error = layout.resolve("", &only("linux/arm64")).unwrap_err();
    assert!(matches!(error, ImageError::MissingBlob { .. }), "{error}");
    assert!(error.to_string().contains(&digests[1]), "{error}");
}

#[test]
fn nothing_listed_is_no_image() {
    let layout = Layout::new();
    assert!(matches!(layout.resolve("", &HOST), Err(ImageError::Empty { .. })));
}
