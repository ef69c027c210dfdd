//! Images: lists, texts of errors, times, leases, events. Updates are in `images_update`.

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
}

#[tokio::test]
async fn a_list_needs_a_filter_that_can_be_read() {
    let (metadata, _dir) = metadata().await;
    let (class, text) = refused(metadata.images(&caller(), &texts(["a=b"])).await);
    assert_eq!(class, Class::InvalidArgument);
    assert_eq!(
        text,
        r#"filters: parse error: [a >|=|< b]: unsupported operator "=""#
    );
}

#[tokio::test]
async fn images_are_deleted_once() {
    let (metadata, _dir) = metadata().await;
    for image in ten(&metadata).await {
        let delete = async || metadata.delete_image(&caller(), &image.name, None).await;
        delete().await.unwrap();
        let gone = (Class::NotFound, format!("image {:?}", image.name));
        assert_eq!(refused(delete().await), gone);
    }
    assert_eq!(metadata.images(&caller(), &[]).await.unwrap(), []);
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

/// A target's digest, and what is wrong with it.
#[rustfmt::skip]
const NO_DIGESTS: [(&str, &str); 10] = [
    ("", "invalid checksum digest format"),
    ("sha256", "invalid checksum digest format"),
    ("sha256:", "invalid checksum digest format"),
    (":abc", "invalid checksum digest format"),
    ("sha256:abc", "invalid checksum digest length"),
    ("sha256:ZZcfe0a6bc0a2f9c6c3e0a6bc0a2f9c6c3e0a6bc0a2f9c6c3e0a6bc0a2f9c6cf", "invalid checksum digest format"),
    ("md5:abcdef", "unsupported digest algorithm"),
    ("multihash+base58:QmRZxt2b1FVZ", "unsupported digest algorithm"),
    ("MD5:abcdef", "invalid checksum digest format"),
    ("md5:a b", "invalid checksum digest format"),
];

#[tokio::test]
async fn a_target_needs_a_digest() {
    let (metadata, _dir) = metadata().await;
    for (text, reason) in NO_DIGESTS {
        let mut new = image("a");
        new.target = new.target.map(|target| Target {
            digest: text.to_owned(),
            ..target
        });
        let wanted = format!("target.Digest {text:?} invalid: {reason}");
        let made = metadata.create_image(&caller(), new, None).await;
        assert_eq!(refused(made), (Class::InvalidArgument, wanted));
    }
    assert_eq!(keys(&metadata).await, ["v"]);
}

#[tokio::test]
async fn what_is_no_image_is_refused_with_its_text() {
    let (metadata, _dir) = metadata().await;
    let good = image("a");
    let with = |change: &dyn Fn(&mut NewImage, &mut Target)| {
        let (mut new, mut target) = (good.clone(), good.target.clone().unwrap());
        change(&mut new, &mut target);
        new.target = new.target.map(|_| target);
        new
    };
    let (name, label) = ("n".repeat(32_769), "v".repeat(5000));
    let long = "image.Labels: label key and value length (5001 bytes) greater than maximum size (4096 bytes), key: k";
    let none = r#"target.Digest "" invalid: invalid checksum digest format"#;
    for (new, wanted) in [
        (with(&|new, _| new.name.clear()), "Image.Name required"),
        (
            with(&|new, _| name.clone_into(&mut new.name)),
            "image name of 32769 bytes is longer than 32768",
        ),
        (with(&|new, _| new.labels = labels([("k", &label)])), long),
        (
            with(&|_, target| target.size = 0),
            "target.Size must be greater than zero",
        ),
        (
            with(&|_, target| target.media_type.clear()),
            "target.MediaType must be set",
        ),
        (with(&|new, _| new.target = None), none),
    ] {
        let made = metadata.create_image(&caller(), new, None).await;
        assert_eq!(refused(made), (Class::InvalidArgument, wanted.to_owned()));
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

fn expiring(name: &str) -> NewImage {
    let mut new = image(name);
    new.labels = labels([("containerd.io/gc.expire", "2040-01-01T00:00:00Z")]);
    new
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
}

#[tokio::test]
async fn an_image_that_expires_needs_a_lease_that_exists() {
    let (metadata, _dir) = metadata().await;
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
