//! Namespaces: names, labels, deletion.

use bytes::Bytes;
use proptest::prelude::*;
use transom_meta::events::Event;
use transom_meta::leases::{CONTENT, IMAGES};
use transom_meta::{Class, Labels, Namespace};

use crate::kv::{commit, put};
use crate::records::{caller, digest, image, keys, labels, metadata, namespace, refused, subscribe, texts};

#[test]
fn names_follow_the_rule_of_identifiers() {
    let longest = "a".repeat(76);
    for name in [
        "default",
        "Default",
        "a",
        "1",
        "not-so-simple",
        "a_b.c-d",
        "swarm-4.2.2019",
        "version",
        &longest,
    ] {
        assert_eq!(Namespace::new(name).unwrap().as_str(), name);
    }
    for name in [
        "", ".foo", "-foo", "foo.", "foo-", "foo..foo", "foo/foo", "foo_-x", "a b", "rún", "..", "a\0",
        "a\n", "foo__foo",
    ] {
        assert_eq!(
            refused(Namespace::new(name)).0,
            Class::InvalidArgument,
            "{name:?}"
        );
    }
    let (_, text) = refused(Namespace::new("a b"));
    assert_eq!(
        text,
        r#"identifier "a b" must match ^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$"#
    );
    assert_eq!(refused(Namespace::new("")).1, "identifier must not be empty");
    let (_, text) = refused(Namespace::new(&"a".repeat(77)));
    assert!(
        text.ends_with("greater than maximum length (76 characters)"),
        "{text}"
    );
}

proptest! {
    #[test]
    fn a_name_is_what_containerds_expression_matches(name in "[aZ0._-]{0,6}|[a-z.]{70,80}|.{0,4}") {
        let rule = regex::Regex::new("^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$").unwrap();
        let wanted = name.len() <= 76 && rule.is_match(&name);
        assert_eq!(Namespace::new(&name).is_ok(), wanted, "{name:?}");
    }
}

#[tokio::test]
async fn a_namespace_is_made_listed_and_deleted() {
    let (metadata, _dir) = metadata().await;
    for (name, of) in [
        ("empty", labels([])),
        ("labelled", labels([("a", "1"), ("none", "")])),
    ] {
        metadata.create_namespace(&namespace(name), of).await.unwrap();
    }
    let listed = metadata.namespaces().await.unwrap();
    let wanted = [
        (namespace("empty"), labels([])),
        (namespace("labelled"), labels([("a", "1")])),
    ];
    assert_eq!(listed, wanted.into_iter().collect());
    assert_eq!(
        refused(
            metadata
                .create_namespace(&namespace("empty"), Labels::new())
                .await
        ),
        (Class::AlreadyExists, r#"namespace "empty""#.to_owned())
    );
    for name in ["empty", "labelled"] {
        metadata.delete_namespace(&namespace(name)).await.unwrap();
        assert_eq!(
            refused(metadata.delete_namespace(&namespace(name)).await),
            (Class::NotFound, format!("namespace {name:?}"))
        );
    }
    assert!(metadata.namespaces().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_unknown_namespace_has_no_labels_and_comes_by_writing_in_it() {
    let (metadata, _dir) = metadata().await;
    assert_eq!(
        metadata.namespace_labels(&namespace("testing")).await.unwrap(),
        Labels::new()
    );
    metadata.create_image(&caller(), image("a"), None).await.unwrap();
    metadata
        .create_lease(&namespace("other"), "l", Labels::new())
        .await
        .unwrap();
    let known: Vec<_> = metadata.namespaces().await.unwrap().into_keys().collect();
    assert_eq!(known, [namespace("other"), namespace("testing")]);
    assert_eq!(
        refused(
            metadata
                .create_namespace(&namespace("testing"), Labels::new())
                .await
        )
        .0,
        Class::AlreadyExists
    );
}

#[tokio::test]
async fn more_namespaces_than_a_page_are_listed() {
    let (metadata, _dir) = metadata().await;
    let names: Vec<_> = (0..1200)
        .map(|number| namespace(&format!("n{number:04}")))
        .collect();
    for name in &names {
        metadata.create_namespace(name, Labels::new()).await.unwrap();
    }
    let listed: Vec<_> = metadata.namespaces().await.unwrap().into_keys().collect();
    assert_eq!(listed, names);
}

#[tokio::test]
async fn labels_are_changed_one_by_one_or_all() {
    let (metadata, _dir) = metadata().await;
    let name = namespace("testing");
    let update = async |of: Labels, paths: &[String]| metadata.update_namespace(&name, of, paths).await;
    let now = async || metadata.namespace_labels(&name).await.unwrap();

    // Unknown before.
    update(labels([("a", "1"), ("b", "2"), ("c", "3")]), &[])
        .await
        .unwrap();
    assert_eq!(now().await, labels([("a", "1"), ("b", "2"), ("c", "3")]));
    let paths = texts(["labels.a", "labels.b", "labels.c", "labels.x.y/z"]);
    update(
        labels([("a", "9"), ("b", ""), ("x.y/z", "4"), ("d", "5")]),
        &paths,
    )
    .await
    .unwrap();
    assert_eq!(now().await, labels([("a", "9"), ("x.y/z", "4")]));
    update(labels([("z", "1"), ("y", "")]), &[]).await.unwrap();
    assert_eq!(now().await, labels([("z", "1")]));

    for path in ["labels", "name", "label.a", ""] {
        let (class, text) = refused(update(labels([("a", "1")]), &texts([path])).await);
        assert_eq!(
            (class, text),
            (Class::InvalidArgument, format!("cannot update {path:?} field"))
        );
    }
    assert_eq!(now().await, labels([("z", "1")]));
}

#[tokio::test]
async fn a_label_has_4096_bytes_at_most() {
    let (metadata, _dir) = metadata().await;
    let fits = labels([("k", &"v".repeat(4095))]);
    let long = labels([("k", &"v".repeat(4096))]);
    metadata.create_namespace(&namespace("fits"), fits).await.unwrap();
    let wanted = "namespace.Labels: label key and value length (4097 bytes) greater than maximum size (4096 bytes), key: k";
    for result in [
        metadata.create_namespace(&namespace("long"), long.clone()).await,
        metadata
            .update_namespace(&namespace("long"), long.clone(), &[])
            .await,
        metadata
            .update_namespace(&namespace("long"), long.clone(), &texts(["labels.k"]))
            .await,
    ] {
        assert_eq!(refused(result), (Class::InvalidArgument, wanted.to_owned()));
    }
    let listed = metadata.namespaces().await.unwrap();
    assert!(!listed.contains_key(&namespace("long")));
    // Only the start of a long key is told.
    let long = labels([(&*"é".repeat(3000), "v")]);
    let (_, text) = refused(metadata.create_namespace(&namespace("long"), long).await);
    assert!(text.ends_with(&format!("key: {}", "é".repeat(32))), "{text}");
}

#[tokio::test]
async fn what_is_not_empty_is_named_and_stays() {
    let (metadata, _dir) = metadata().await;
    let name = namespace("testing");
    let kv = metadata.kv().as_ref();
    metadata.create_image(&caller(), image("a"), None).await.unwrap();
    let refusal = async || refused(metadata.delete_namespace(&name).await);
    let text = |what: &str| {
        let text = format!(r#"namespace "testing" must be empty, but it still has {what}"#);
        (Class::FailedPrecondition, text)
    };
    assert_eq!(refusal().await, text("images"));

    let content = format!("c/testing/{}", digest("a"));
    let records = [
        &content,
        "s/testing/overlayfs/x",
        "s/testing/overlayfs/y",
        "s/testing/native/sub/x",
    ];
    for key in records {
        commit(kv, [], [put(key, [1])]).await;
    }
    let snapshots = r#"snapshots on "native" snapshotter, snapshots on "overlayfs" snapshotter"#;
    assert_eq!(refusal().await, text(&format!("images, blobs, {snapshots}")));

    metadata.delete_image(&caller(), "a", None).await.unwrap();
    commit(kv, [], [crate::kv::delete(&content)]).await;
    assert_eq!(refusal().await, text(snapshots));
    assert!(metadata.namespaces().await.unwrap().contains_key(&name));
    for key in &records[1..] {
        commit(kv, [], [crate::kv::delete(key)]).await;
    }
    metadata.delete_namespace(&name).await.unwrap();
}

#[tokio::test]
async fn leases_ingests_and_grace_go_with_their_namespace() {
    let (metadata, _dir) = metadata().await;
    let name = namespace("testing");
    // A neighbour whose name begins alike, which must stay.
    let neighbour = namespace("testing2");
    for namespace in [&name, &neighbour] {
        for number in 0..600 {
            let id = format!("lease{number}");
            metadata
                .create_lease(namespace, &id, Labels::new())
                .await
                .unwrap();
        }
        let blob = digest("x").to_string();
        metadata
            .add_resource(namespace, "lease7", CONTENT, &blob)
            .await
            .unwrap();
        metadata
            .add_resource(namespace, "lease8", IMAGES, "a/b:c")
            .await
            .unwrap();
        let records = [format!("g/{namespace}/ref"), format!("y/{namespace}/{blob}")];
        commit(metadata.kv().as_ref(), [], records.map(|key| put(key, [1]))).await;
    }
    metadata.delete_namespace(&name).await.unwrap();
    let left = keys(&metadata).await;
    assert!(!left.iter().any(|key| key.contains("/testing/")), "{left:?}");
    assert_eq!(
        left.iter().filter(|key| key.contains("/testing2")).count(),
        1 + 600 + 2 + 2
    );
}

#[tokio::test]
async fn what_is_done_to_namespaces_is_told() {
    let (metadata, _dir) = metadata().await;
    let mut subscription = subscribe(&metadata, []);
    let name = namespace("testing");
    metadata
        .create_namespace(&name, labels([("a", "1")]))
        .await
        .unwrap();
    let change = labels([("a", ""), ("b", "2")]);
    metadata
        .update_namespace(&name, change.clone(), &texts(["labels.a"]))
        .await
        .unwrap();
    refused(metadata.create_namespace(&name, labels([])).await);
    metadata.delete_namespace(&name).await.unwrap();
    let called = || "testing".to_owned();
    let wanted = [
        (
            "/namespaces/create",
            Event::NamespaceCreate {
                name: called(),
                labels: labels([("a", "1")]),
            },
        ),
        (
            "/namespaces/update",
            Event::NamespaceUpdate {
                name: called(),
                labels: change,
            },
        ),
        ("/namespaces/delete", Event::NamespaceDelete { name: called() }),
    ];
    for (topic, event) in wanted {
        let envelope = subscription.next().await.unwrap();
        assert_eq!(
            (&*envelope.topic, &envelope.event, &envelope.namespace),
            (topic, &event, &name)
        );
    }
}

#[tokio::test]
async fn a_deletion_that_a_crash_cut_short_changes_nothing() {
    let (metadata, _dir) = metadata().await;
    // Labels {a: 1}, and marked as being deleted by number 7.
    let record = Bytes::from_static(b"\x01\x0a\x06\x0a\x01a\x12\x011\x10\x07");
    commit(metadata.kv().as_ref(), [], [put("n/testing", &record)]).await;
    let name = namespace("testing");
    assert_eq!(
        metadata.namespace_labels(&name).await.unwrap(),
        labels([("a", "1")])
    );
    metadata.create_image(&caller(), image("a"), None).await.unwrap();
    let now = metadata.kv().get(b"n/testing").await.unwrap().unwrap();
    assert_eq!(now, record.slice(..record.len() - 2));
    assert_eq!(
        metadata.namespace_labels(&name).await.unwrap(),
        labels([("a", "1")])
    );

    commit(metadata.kv().as_ref(), [], [put("n/second", &record)]).await;
    metadata.delete_namespace(&namespace("second")).await.unwrap();
    assert!(
        !metadata
            .namespaces()
            .await
            .unwrap()
            .contains_key(&namespace("second"))
    );
}
