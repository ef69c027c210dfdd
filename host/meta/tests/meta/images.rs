//! Images: containerd's own cases, then what its texts and times are.

use std::time::{Duration, SystemTime};

use transom_meta::events::Event;
use transom_meta::images::{Image, NewImage, Target};
use transom_meta::leases::{IMAGES, Resource};
use transom_meta::{Class, Error, Labels, Metadata};

use crate::records::{caller, digest, image, keys, labels, metadata, namespace, refused, subscribe, texts};

/// Ten images, of which every second is even.
async fn ten(metadata: &Metadata) -> Vec<Image> {
    let mut images = Vec::new();
    for number in 0..10 {
        let name = format!("image-{number}");
        let even = number % 2 == 0;
        let mut new = image(&name);
        new.labels = labels([
            ("namelabel", &name),
            ("even", &even.to_string()),
            ("odd", &(!even).to_string()),
        ]);
        if let Some(target) = &mut new.target {
            target.annotations = labels([("foo", "bar")]);
        }
        let before = SystemTime::now();
        let made = metadata.create_image(&caller(), new.clone(), None).await.unwrap();
        assert!(made.created >= before && made.created <= SystemTime::now());
        assert_eq!(made.created, made.updated);
        assert_eq!((&made.name, &made.labels), (&new.name, &new.labels));
        assert_eq!(Some(&made.target), new.target.as_ref());
        images.push(made);
    }
    images
}

#[tokio::test]
async fn lists_follow_their_filters() {
    let (metadata, _dir) = metadata().await;
    let all = ten(&metadata).await;
    // In another namespace, which no list shows.
    let other = transom_meta::Caller::new(namespace("other"));
    metadata
        .create_image(&other, image("image-0"), None)
        .await
        .unwrap();
    let named = |wanted: &dyn Fn(usize) -> bool| -> Vec<Image> {
        let kept = all.iter().enumerate().filter(|(at, _)| wanted(*at));
        kept.map(|(_, image)| image.clone()).collect()
    };
    let first = digest("image-3").to_string();
    for (filters, wanted) in [
        (texts([]), named(&|_| true)),
        (texts([""]), named(&|_| true)),
        (texts(["labels.even==true", "labels.odd==true"]), named(&|_| true)),
        (texts(["labels.even==true"]), named(&|at| at % 2 == 0)),
        (texts(["labels.odd==true"]), named(&|at| at % 2 == 1)),
        (texts(["name==image-0"]), named(&|at| at == 0)),
        (
            texts(["labels.namelabel==image-0,labels.even==true"]),
            named(&|at| at == 0),
        ),
        (
            texts(["labels.namelabel==image-0,labels.even!=true"]),
            named(&|_| false),
        ),
        (texts(["target.mediatype~=application/vnd.*"]), named(&|_| true)),
        (vec![format!("target.digest=={first}")], named(&|at| at == 3)),
        (
            texts(["annotations.foo==bar,name~=-[12]$"]),
            named(&|at| at == 1 || at == 2),
        ),
        (texts(["annotations.bar"]), named(&|_| false)),
        (texts(["target", "labels", "size", "created"]), named(&|_| false)),
    ] {
        let listed = metadata.images(&caller(), &filters).await.unwrap();
        assert_eq!(listed, wanted, "{filters:?}");
    }
    let (class, text) = refused(metadata.images(&caller(), &texts(["a=b"])).await);
    assert_eq!(class, Class::InvalidArgument);
    assert_eq!(
        text,
        r#"filters: parse error: [a >|=|< b]: unsupported operator "=""#
    );
    for image in all {
        metadata.delete_image(&caller(), &image.name, None).await.unwrap();
        assert_eq!(
            refused(metadata.delete_image(&caller(), &image.name, None).await),
            (Class::NotFound, format!("image {:?}", image.name))
        );
    }
}

#[tokio::test]
async fn more_images_than_a_page_are_listed_in_byte_order() {
    let (metadata, _dir) = metadata().await;
    let mut names: Vec<String> = (0..1300)
        .map(|number| format!("{number}/ä:{}", number % 7))
        .collect();
    for name in &names {
        metadata.create_image(&caller(), image(name), None).await.unwrap();
    }
    names.sort();
    let listed = metadata.images(&caller(), &[]).await.unwrap();
    let listed: Vec<_> = listed.into_iter().map(|image| image.name).collect();
    assert_eq!(listed, names);
    let some = metadata
        .images(&caller(), &texts([r#"name~=":3$""#]))
        .await
        .unwrap();
    assert_eq!(
        some.len(),
        names.iter().filter(|name| name.ends_with(":3")).count()
    );
}

/// One case of an update: containerd's tests of the same names.
struct Case {
    name: &'static str,
    original: (Labels, i64, &'static str, Labels),
    input: (Labels, i64, &'static str, Labels),
    paths: &'static [&'static str],
    expected: Result<(Labels, i64, &'static str, Labels), Class>,
}

const TYPE: &str = "application/vnd.oci.blab";
const REPLACED: &str = "application/vnd.oci.blab+replaced";

fn base() -> (Labels, i64, &'static str, Labels) {
    (foo_baz(), 10, TYPE, foo_baz())
}

fn foo_baz() -> Labels {
    labels([("foo", "bar"), ("baz", "boo")])
}

fn foo_bar() -> Labels {
    labels([("foo", "bar")])
}

fn case(
    name: &'static str,
    input: (Labels, i64, &'static str, Labels),
    paths: &'static [&'static str],
    expected: Result<(Labels, i64, &'static str, Labels), Class>,
) -> Case {
    Case {
        name,
        original: base(),
        input,
        paths,
        expected,
    }
}

fn cases_of_labels() -> Vec<Case> {
    let other = || labels([("for", "bar"), ("boo", "boo")]);
    let bunk = || labels([("foo", "baz"), ("baz", "bunk")]);
    let half = || labels([("foo", "baz"), ("baz", "boo")]);
    vec![
        case(
            "Touch",
            (foo_baz(), 10, TYPE, foo_bar()),
            &[],
            Ok((foo_baz(), 10, TYPE, foo_bar())),
        ),
        case(
            "ReplaceLabels",
            (other(), 10, TYPE, foo_bar()),
            &[],
            Ok((other(), 10, TYPE, foo_bar())),
        ),
        case(
            "ReplaceLabelsFieldPath",
            (other(), 10, "ignored", labels([("not", "bar")])),
            &["labels"],
            Ok((other(), 10, TYPE, foo_baz())),
        ),
        case(
            "ReplaceLabelsAnnotationsFieldPath",
            (other(), 10, "ignored", labels([("foo", "boo")])),
            &["annotations", "labels"],
            Ok((other(), 10, TYPE, labels([("foo", "boo")]))),
        ),
        case(
            "ReplaceLabel",
            (bunk(), 10, "ignored", foo_bar()),
            &["labels.foo"],
            Ok((half(), 10, TYPE, foo_baz())),
        ),
        case(
            "ReplaceAnnotation",
            (bunk(), 10, "ignored", bunk()),
            &["annotations.foo"],
            Ok((foo_baz(), 10, TYPE, half())),
        ),
        case(
            "RemoveLabelAndAnnotation",
            (labels([("foo", "")]), 10, "ignored", labels([])),
            &["labels.foo", "annotations.baz", "labels.never"],
            Ok((labels([("baz", "boo")]), 10, TYPE, foo_bar())),
        ),
    ]
}

fn cases_of_targets() -> Vec<Case> {
    let fox = || labels([("fox", "dog")]);
    vec![
        case(
            "ReplaceTargetTypeAndAnnotations",
            (labels([]), 10, REPLACED, fox()),
            &["target"],
            Ok((foo_baz(), 10, REPLACED, fox())),
        ),
        case(
            "ReplaceTargetFieldpath",
            (labels([]), 20, REPLACED, fox()),
            &["target"],
            Ok((foo_baz(), 20, REPLACED, fox())),
        ),
        case(
            "ReplaceTarget",
            (labels([]), 20, REPLACED, fox()),
            &[],
            Ok((labels([]), 20, REPLACED, fox())),
        ),
        case(
            "EmptySize",
            (foo_baz(), 0, TYPE, foo_bar()),
            &[],
            Err(Class::InvalidArgument),
        ),
        case(
            "NegativeSize",
            (foo_baz(), -1, TYPE, foo_bar()),
            &["target"],
            Err(Class::InvalidArgument),
        ),
        case(
            "EmptyMediaType",
            (foo_baz(), 10, "", labels([])),
            &[],
            Err(Class::InvalidArgument),
        ),
        case("UnknownPath", base(), &["size"], Err(Class::InvalidArgument)),
        case("NamePath", base(), &["name"], Err(Class::InvalidArgument)),
        case(
            "PartOfTarget",
            base(),
            &["target.size"],
            Err(Class::InvalidArgument),
        ),
        case(
            "OneOfTwoPathsUnknown",
            base(),
            &["labels", "created_at"],
            Err(Class::InvalidArgument),
        ),
    ]
}

fn new_image(name: &str, (labels, size, media_type, annotations): (Labels, i64, &str, Labels)) -> NewImage {
    let target = Target {
        media_type: media_type.to_owned(),
        digest: digest(&format!("{name}-{size}")).to_string(),
        size,
        annotations,
    };
    NewImage {
        name: name.to_owned(),
        labels,
        target: Some(target),
    }
}

#[tokio::test]
async fn an_update_changes_what_its_paths_name() {
    let (metadata, _dir) = metadata().await;
    for case in cases_of_labels().into_iter().chain(cases_of_targets()) {
        let original = new_image(case.name, case.original);
        let made = metadata
            .create_image(&caller(), original.clone(), None)
            .await
            .unwrap();
        assert_eq!(
            (&made.labels, Some(&made.target)),
            (&original.labels, original.target.as_ref())
        );

        let input = new_image(case.name, case.input);
        let later = made.created + Duration::from_secs(1);
        let updated = metadata
            .update_image(
                &caller(),
                input,
                &case
                    .paths
                    .iter()
                    .map(|path| (*path).to_owned())
                    .collect::<Vec<_>>(),
                Some(later),
            )
            .await;
        let stored = metadata.image(&caller(), case.name).await.unwrap();
        let expected = match case.expected {
            Ok(expected) => expected,
            Err(class) => {
                assert_eq!(refused(updated).0, class, "{}", case.name);
                assert_eq!(stored, made, "{}", case.name);
                continue;
            }
        };
        let expected = new_image(case.name, expected);
        let expected = Image {
            name: expected.name,
            labels: expected.labels,
            target: expected.target.unwrap(),
            created: made.created,
            updated: later,
        };
        assert_eq!(updated.unwrap(), expected, "{}", case.name);
        assert_eq!(stored, expected, "{}", case.name);

        let deleted = metadata
            .delete_image(&caller(), case.name, Some(&made.target.digest))
            .await;
        if made.target.digest == expected.target.digest {
            deleted.unwrap();
        } else {
            let text = format!(
                "image {:?} has target {}, not {}",
                case.name, expected.target.digest, made.target.digest
            );
            assert_eq!(refused(deleted), (Class::NotFound, text));
            metadata
                .delete_image(&caller(), case.name, Some(""))
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn what_is_no_image_is_refused_with_its_text() {
    let (metadata, _dir) = metadata().await;
    let with = |change: &dyn Fn(&mut NewImage)| {
        let mut new = image("a");
        change(&mut new);
        new
    };
    let target = |change: &'static dyn Fn(&mut Target)| with(&|new| change(new.target.as_mut().unwrap()));
    let of_digest = |text: &'static str, reason: &str| {
        let new = with(&|new| text.clone_into(&mut new.target.as_mut().unwrap().digest));
        (new, format!("target.Digest {text:?} invalid: {reason}"))
    };
    let text = str::to_owned;
    let long = "image.Labels: label key and value length (5001 bytes) greater than maximum size (4096 bytes), key: k";
    let cases = [
        (with(&|new| new.name.clear()), text("Image.Name required")),
        (
            with(&|new| new.name = "n".repeat(32_769)),
            text("image name of 32769 bytes is longer than 32768"),
        ),
        (
            with(&|new| new.labels = labels([("k", &"v".repeat(5000))])),
            text(long),
        ),
        (
            target(&|target| target.size = 0),
            text("target.Size must be greater than zero"),
        ),
        (
            target(&|target| target.media_type.clear()),
            text("target.MediaType must be set"),
        ),
        (
            with(&|new| new.target = None),
            text(r#"target.Digest "" invalid: invalid checksum digest format"#),
        ),
        of_digest("sha256", "invalid checksum digest format"),
        of_digest("sha256:", "invalid checksum digest format"),
        of_digest(":abc", "invalid checksum digest format"),
        of_digest("sha256:abc", "invalid checksum digest length"),
        of_digest(
            "sha256:ZZcfe0a6bc0a2f9c6c3e0a6bc0a2f9c6c3e0a6bc0a2f9c6c3e0a6bc0a2f9c6cf",
            "invalid checksum digest format",
        ),
        of_digest("md5:abcdef", "unsupported digest algorithm"),
        of_digest("multihash+base58:QmRZxt2b1FVZ", "unsupported digest algorithm"),
        of_digest("MD5:abcdef", "invalid checksum digest format"),
        of_digest("md5:a b", "invalid checksum digest format"),
    ];
    for (new, wanted) in cases {
        let made = metadata.create_image(&caller(), new, None).await;
        assert_eq!(refused(made), (Class::InvalidArgument, wanted));
    }
    assert_eq!(keys(&metadata).await, ["v"]);
}

#[tokio::test]
async fn an_update_needs_an_image_of_that_name() {
    let (metadata, _dir) = metadata().await;
    metadata.create_image(&caller(), image("a"), None).await.unwrap();
    let update =
        async |new: NewImage, paths: &[String]| metadata.update_image(&caller(), new, paths, None).await;
    let (class, text) = refused(update(image("test should fail"), &[]).await);
    assert_eq!((class, &*text), (Class::NotFound, r#"image "test should fail""#));
    assert_eq!(refused(update(image(""), &[]).await).1, "Image.Name required");
    let (class, text) = refused(update(image("a"), &texts(["name"])).await);
    assert_eq!(
        (class, &*text),
        (
            Class::InvalidArgument,
            r#"cannot update "name" field on image "a""#
        )
    );
    assert_eq!(
        refused(metadata.image(&caller(), "zz").await),
        (Class::NotFound, r#"image "zz""#.to_owned())
    );
    assert_eq!(
        refused(metadata.create_image(&caller(), image("a"), None).await),
        (Class::AlreadyExists, r#"image "a""#.to_owned())
    );
    // Labels can be changed without a target.
    let new = NewImage {
        name: "a".to_owned(),
        labels: labels([("x.y/z", "1")]),
        target: None,
    };
    let updated = update(new, &texts(["labels.x.y/z"])).await.unwrap();
    assert_eq!(updated.labels, labels([("x.y/z", "1")]));
    assert_eq!(updated.target, image("a").target.unwrap());
}

#[tokio::test]
async fn an_epoch_stands_for_now() {
    let (metadata, _dir) = metadata().await;
    let epoch = SystemTime::UNIX_EPOCH + Duration::new(1_234_567_890, 123_456_789);
    let made = metadata
        .create_image(&caller(), image("a"), Some(epoch))
        .await
        .unwrap();
    assert_eq!((made.created, made.updated), (epoch, epoch));
    let ancient = SystemTime::UNIX_EPOCH - Duration::new(5, 1);
    metadata
        .update_image(&caller(), image("a"), &[], Some(ancient))
        .await
        .unwrap();
    let stored = metadata.image(&caller(), "a").await.unwrap();
    assert_eq!((stored.created, stored.updated), (epoch, ancient));
}

#[tokio::test]
async fn an_image_that_expires_joins_the_callers_lease() {
    let (metadata, _dir) = metadata().await;
    let name = namespace("testing");
    metadata.create_lease(&name, "l", Labels::new()).await.unwrap();
    let leased = caller().with_lease("l");
    let listed = async || metadata.resources(&name, "l").await.unwrap();
    let resource = |id: &str| Resource {
        kind: IMAGES.to_owned(),
        id: id.to_owned(),
    };
    let expiring = |name: &str| {
        let mut new = image(name);
        new.labels = labels([("containerd.io/gc.expire", "2040-01-01T00:00:00Z")]);
        new
    };
    metadata
        .create_image(&leased, image("stays"), None)
        .await
        .unwrap();
    assert_eq!(listed().await, []);
    metadata.create_image(&leased, expiring("a"), None).await.unwrap();
    metadata
        .update_image(&leased, expiring("stays"), &texts(["labels"]), None)
        .await
        .unwrap();
    assert_eq!(listed().await, [resource("a"), resource("stays")]);
    metadata.delete_image(&leased, "a", None).await.unwrap();
    // Without the lease, it keeps what it has.
    metadata.delete_image(&caller(), "stays", None).await.unwrap();
    assert_eq!(listed().await, [resource("stays")]);

    let nobody = caller().with_lease("nobody");
    let wanted = (Class::NotFound, "lease does not exist".to_owned());
    assert_eq!(
        refused(metadata.create_image(&nobody, expiring("b"), None).await),
        wanted
    );
    metadata.create_image(&nobody, image("b"), None).await.unwrap();
    let update = metadata.update_image(&nobody, expiring("b"), &[], None).await;
    assert_eq!(refused(update), wanted);
    metadata.delete_image(&nobody, "b", None).await.unwrap();
}

#[tokio::test]
async fn what_is_done_to_images_is_told_once_it_happened() {
    let (metadata, _dir) = metadata().await;
    let mut subscription = subscribe(&metadata, []);
    let mut new = image("a");
    new.labels = labels([("x", "1"), ("none", "")]);
    metadata.create_image(&caller(), new, None).await.unwrap();
    refused(metadata.create_image(&caller(), image("a"), None).await);
    let mut change = image("a");
    change.labels = labels([("y", "2")]);
    metadata
        .update_image(&caller(), change, &texts(["labels.y"]), None)
        .await
        .unwrap();
    metadata.delete_image(&caller(), "a", None).await.unwrap();
    let called = || "a".to_owned();
    let both = labels([("x", "1"), ("y", "2")]);
    let wanted = [
        (
            "/images/create",
            Event::ImageCreate {
                name: called(),
                labels: labels([("x", "1")]),
            },
        ),
        (
            "/images/update",
            Event::ImageUpdate {
                name: called(),
                labels: both,
            },
        ),
        ("/images/delete", Event::ImageDelete { name: called() }),
    ];
    for (topic, event) in wanted {
        let envelope = subscription.next().await.unwrap();
        assert_eq!((&*envelope.topic, &envelope.event), (topic, &event));
        assert_eq!(envelope.namespace, namespace("testing"));
    }
}

#[tokio::test]
async fn a_damaged_or_newer_record_is_an_error_that_names_it() {
    let (metadata, _dir) = metadata().await;
    metadata.create_image(&caller(), image("a"), None).await.unwrap();
    for (value, reason) in [
        (&[9, 0][..], "version 9"),
        (&[1, 255], "cannot be read"),
        (&[], "empty"),
    ] {
        crate::kv::commit(metadata.kv().as_ref(), [], [crate::kv::put("i/testing/a", value)]).await;
        for error in [
            metadata.image(&caller(), "a").await.unwrap_err(),
            metadata.images(&caller(), &[]).await.unwrap_err(),
        ] {
            assert!(
                matches!(&error, Error::Record { key, .. } if key == "i/testing/a"),
                "{error}"
            );
            assert!(error.to_string().contains(reason), "{error}");
            assert_eq!(error.class(), Class::DataLoss);
        }
    }
}
