//! What an update of an image changes: containerd's own cases, by their names, and some more.

use std::time::Duration;

use transom_meta::images::{Image, NewImage, Target};
use transom_meta::{Class, Labels};

use crate::records::{caller, digest, metadata, refused};

/// What every image is before its update. Written as `labels; size; media type; annotations`.
const BASE: &str = "foo=bar baz=boo; 10; oci; foo=bar baz=boo";

/// Name, new values, paths, and what comes out; nothing if the update is refused.
#[rustfmt::skip]
const CASES: [(&str, &str, &[&str], &str); 17] = [
    ("Touch", "foo=bar baz=boo; 10; oci; foo=bar", &[], "foo=bar baz=boo; 10; oci; foo=bar"),
    ("ReplaceLabels", "for=bar boo=boo; 10; oci; foo=bar", &[], "for=bar boo=boo; 10; oci; foo=bar"),
    ("ReplaceLabelsFieldPath", "for=bar boo=boo; 10; ignored; not=bar new=boo", &["labels"],
        "for=bar boo=boo; 10; oci; foo=bar baz=boo"),
    ("ReplaceLabelsAnnotationsFieldPath", "for=bar boo=boo; 10; ignored; foo=boo", &["annotations", "labels"],
        "for=bar boo=boo; 10; oci; foo=boo"),
    ("ReplaceLabel", "foo=baz baz=bunk; 10; ignored; foo=bar", &["labels.foo"],
        "foo=baz baz=boo; 10; oci; foo=bar baz=boo"),
    ("ReplaceAnnotation", "foo=baz baz=bunk; 10; ignored; foo=baz baz=bunk", &["annotations.foo"],
        "foo=bar baz=boo; 10; oci; foo=baz baz=boo"),
    ("RemoveLabelAndAnnotation", "foo=; 10; ignored;", &["labels.foo", "annotations.baz", "labels.never"],
        "baz=boo; 10; oci; foo=bar"),
    ("ReplaceTargetTypeAndAnnotations", "; 10; replaced; fox=dog", &["target"],
        "foo=bar baz=boo; 10; replaced; fox=dog"),
    ("ReplaceTargetFieldpath", "; 20; replaced; fox=dog", &["target"], "foo=bar baz=boo; 20; replaced; fox=dog"),
    ("ReplaceTarget", "; 20; replaced; fox=dog", &[], "; 20; replaced; fox=dog"),
    ("EmptySize", "foo=bar; 0; oci; foo=bar", &[], ""),
    ("NegativeSize", "foo=bar; -1; oci; foo=bar", &["target"], ""),
    ("EmptyMediaType", "foo=bar; 10;;", &[], ""),
    ("UnknownPath", BASE, &["size"], ""),
    ("NamePath", BASE, &["name"], ""),
    ("PartOfTarget", BASE, &["target.size"], ""),
    ("OneOfTwoPathsUnknown", BASE, &["labels", "created_at"], ""),
];

fn pairs(text: &str) -> Labels {
    let pair = |pair: &str| {
        pair.split_once('=')
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
    };
    text.split_whitespace().filter_map(pair).collect()
}

/// The image of a name and what is written as above; its digest depends on its name and size.
fn image(name: &str, text: &str) -> NewImage {
    let parts: Vec<_> = text.split(';').map(str::trim).collect();
    let size = parts[1].parse().unwrap();
    let target = Target {
        media_type: parts[2].to_owned(),
        digest: digest(&format!("{name}-{size}")).to_string(),
        size,
        annotations: pairs(parts[3]),
    };
    NewImage {
        name: name.to_owned(),
        labels: pairs(parts[0]),
        target: Some(target),
    }
}

#[tokio::test]
async fn an_update_changes_what_its_paths_name() {
    let (metadata, _dir) = metadata().await;
    for (name, input, paths, expected) in CASES {
        let original = image(name, BASE);
        let made = metadata.create_image(&caller(), original.clone(), None).await;
        let made = made.unwrap();
        assert_eq!(made.labels, original.labels);
        assert_eq!(Some(&made.target), original.target.as_ref());

        let paths: Vec<_> = paths.iter().map(|path| (*path).to_owned()).collect();
        let later = made.created + Duration::from_secs(1);
        let input = image(name, input);
        let updated = metadata.update_image(&caller(), input, &paths, Some(later)).await;
        let stored = metadata.image(&caller(), name).await.unwrap();
        if expected.is_empty() {
            assert_eq!(refused(updated).0, Class::InvalidArgument, "{name}");
            assert_eq!(stored, made, "{name}");
            continue;
        }
        let expected = image(name, expected);
        let expected = Image {
            name: expected.name,
            labels: expected.labels,
            target: expected.target.unwrap(),
            created: made.created,
            updated: later,
        };
        assert_eq!(updated.unwrap(), expected, "{name}");
        assert_eq!(stored, expected, "{name}");
    }
}

#[tokio::test]
async fn an_image_is_deleted_if_it_still_has_the_target_that_is_named() {
    let (metadata, _dir) = metadata().await;
    let (old, new) = (image("a", BASE), image("a", "; 20; oci;"));
    let digest = |image: &NewImage| image.target.clone().unwrap().digest;
    let delete = async |target: &str| metadata.delete_image(&caller(), "a", Some(target)).await;

    metadata.create_image(&caller(), old.clone(), None).await.unwrap();
    metadata
        .update_image(&caller(), new.clone(), &[], None)
        .await
        .unwrap();
    let text = format!(r#"image "a" has target {}, not {}"#, digest(&new), digest(&old));
    assert_eq!(refused(delete(&digest(&old)).await), (Class::NotFound, text));
    metadata.image(&caller(), "a").await.unwrap();
    delete(&digest(&new)).await.unwrap();
    let gone = (Class::NotFound, r#"image "a""#.to_owned());
    assert_eq!(refused(delete(&digest(&new)).await), gone);

    metadata.create_image(&caller(), old, None).await.unwrap();
    delete("").await.unwrap();
    assert_eq!(refused(metadata.image(&caller(), "a").await), gone);
}
