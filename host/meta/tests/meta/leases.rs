//! Leases: containerd's own cases, then ids and resources.

use std::collections::BTreeMap;

use proptest::prelude::*;
use transom_meta::leases::{CONTENT, IMAGES, INGESTS, Resource};
use transom_meta::{Class, Labels};

use crate::kv::run;
use crate::records::{digest, keys, labels, metadata, namespace, refused, texts};

#[tokio::test]
async fn leases_are_made_once_and_deleted_once() {
    let (metadata, _dir) = metadata().await;
    let name = namespace("testing");
    let mut made = Vec::new();
    for id in ["tx1", "tx2", "any/ID: ü"] {
        made.push(
            metadata
                .create_lease(&name, id, labels([("a", "1"), ("b", "")]))
                .await
                .unwrap(),
        );
        assert_eq!(
            refused(metadata.create_lease(&name, id, Labels::new()).await),
            (Class::AlreadyExists, format!("lease {id:?}"))
        );
    }
    made.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(made[0].labels, labels([("a", "1")]));
    assert_eq!(metadata.leases(&name, &[]).await.unwrap(), made);
    assert_eq!(metadata.leases(&namespace("other"), &[]).await.unwrap(), []);
    for lease in made {
        metadata.delete_lease(&name, &lease.id).await.unwrap();
        assert_eq!(
            refused(metadata.delete_lease(&name, &lease.id).await),
            (Class::NotFound, format!("lease {:?}", lease.id))
        );
    }
    assert_eq!(metadata.leases(&name, &[]).await.unwrap(), []);
    let (class, _) = refused(
        metadata
            .create_lease(&name, &"x".repeat(32_769), Labels::new())
            .await,
    );
    assert_eq!(class, Class::InvalidArgument);
}

#[tokio::test]
async fn lists_follow_their_filters() {
    let (metadata, _dir) = metadata().await;
    let name = namespace("testing");
    for (id, of) in [
        ("lease1", labels([("label1", "value1"), ("label3", "other")])),
        (
            "lease2",
            labels([("label1", "value1"), ("label2", ""), ("label3", "other")]),
        ),
        ("lease3", labels([("label1", "value2"), ("label2", "something")])),
    ] {
        metadata.create_lease(&name, id, of).await.unwrap();
    }
    for (filters, wanted) in [
        (texts([]), &["lease1", "lease2", "lease3"][..]),
        (texts(["id==lease1"]), &["lease1"]),
        (texts(["id==lease1", "id==lease2"]), &["lease1", "lease2"]),
        (texts(["labels.label1"]), &["lease1", "lease2", "lease3"]),
        (texts(["labels.label1==value1"]), &["lease1", "lease2"]),
        (texts(["labels.label1==value2"]), &["lease3"]),
        (texts(["labels.label2"]), &["lease3"]),
        (
            texts(["labels.label2", "labels.label3"]),
            &["lease1", "lease2", "lease3"],
        ),
        (texts(["name==lease1"]), &[]),
    ] {
        let listed = metadata.leases(&name, &filters).await.unwrap();
        let ids: Vec<_> = listed.iter().map(|lease| &*lease.id).collect();
        assert_eq!(ids, wanted, "{filters:?}");
    }
    let (class, text) = refused(metadata.leases(&name, &texts(["id==lease1,"])).await);
    assert_eq!(class, Class::InvalidArgument, "{text}");
}

#[tokio::test]
async fn an_id_is_made_up_when_none_is_given() {
    let (metadata, _dir) = metadata().await;
    let name = namespace("testing");
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let lease = metadata.create_lease(&name, "", Labels::new()).await.unwrap();
        let (nanos, random) = lease.id.split_once('-').unwrap();
        assert!(nanos.parse::<u32>().unwrap() < 1_000_000_000, "{}", lease.id);
        assert_eq!(random.len(), 4, "{}", lease.id);
        let base64url = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
        assert!(random.chars().all(base64url), "{}", lease.id);
        ids.insert(lease.id);
    }
    assert_eq!(ids.len(), 100);
    assert_eq!(metadata.leases(&name, &[]).await.unwrap().len(), 100);
}

#[tokio::test]
async fn resources_have_types_and_are_listed_in_their_order() {
    let (metadata, _dir) = metadata().await;
    let name = namespace("testing");
    metadata.create_lease(&name, "l1", Labels::new()).await.unwrap();
    let blob = digest("x").to_string();
    let add = async |lease: &str, kind: &str, id: &str| metadata.add_resource(&name, lease, kind, id).await;
    let wanted = [
        (CONTENT, &*blob),
        (IMAGES, "docker.io/library/a:b"),
        (INGESTS, "a/ref/with/slashes"),
        ("snapshots/native", "key/1"),
        ("snapshots/overlayfs", "RstMI3X8"),
    ];
    for (kind, id) in wanted.iter().rev().chain(&wanted) {
        add("l1", kind, id).await.unwrap();
    }
    let listed = async |lease: &str| metadata.resources(&name, lease).await;
    let resource = |&(kind, id): &(&str, &str)| Resource {
        kind: kind.to_owned(),
        id: id.to_owned(),
    };
    let all: Vec<_> = wanted.iter().map(resource).collect();
    assert_eq!(listed("l1").await.unwrap(), all);

    for (kind, id) in &wanted[1..] {
        metadata.delete_resource(&name, "l1", kind, id).await.unwrap();
        // It is not there any more, which is fine.
        metadata.delete_resource(&name, "l1", kind, id).await.unwrap();
    }
    assert_eq!(listed("l1").await.unwrap(), all[..1]);
    assert_eq!(
        refused(listed("l2").await),
        (Class::NotFound, r#"lease "l2""#.to_owned())
    );
}

#[tokio::test]
async fn what_is_no_resource_is_refused_with_its_text() {
    let (metadata, _dir) = metadata().await;
    let name = namespace("testing");
    metadata.create_lease(&name, "l1", Labels::new()).await.unwrap();
    let before = keys(&metadata).await;
    for (kind, id, class, wanted) in NO_RESOURCES {
        let wanted = (class, wanted.to_owned());
        assert_eq!(
            refused(metadata.add_resource(&name, "l1", kind, id).await),
            wanted
        );
        assert_eq!(
            refused(metadata.delete_resource(&name, "l1", kind, id).await),
            wanted
        );
    }
    // Whether there is such a lease comes first.
    for kind in ["snapshots/overlayfs", "leases"] {
        let wanted = (Class::NotFound, r#"lease "non-found""#.to_owned());
        let added = metadata.add_resource(&name, "non-found", kind, "x").await;
        assert_eq!(refused(added), wanted);
        let deleted = metadata.delete_resource(&name, "non-found", kind, "x").await;
        assert_eq!(refused(deleted), wanted);
    }
    assert_eq!(keys(&metadata).await, before);
}

const INVALID: Class = Class::InvalidArgument;

/// Type, id, and what is said of them.
#[rustfmt::skip]
const NO_RESOURCES: [(&str, &str, Class, &str); 12] = [
    ("leases", "x", Class::Unimplemented, "resource type leases not supported yet"),
    ("containers", "x", Class::Unimplemented, "resource type containers not supported yet"),
    ("", "x", Class::Unimplemented, "resource type  not supported yet"),
    ("content/x", "x", INVALID, "invalid resource type content/x"),
    ("images/", "x", INVALID, "invalid resource type images/"),
    ("ingests/a/b", "x", INVALID, "invalid resource type ingests/a/b"),
    ("snapshots", "x", INVALID, "invalid snapshot resource type snapshots"),
    ("snapshots/", "x", INVALID, "invalid snapshot resource type snapshots/"),
    ("snapshots/overlayfs/type1", "x", INVALID, "invalid snapshot resource type snapshots/overlayfs/type1"),
    (CONTENT, "x", INVALID, "invalid content resource id x: invalid checksum digest format"),
    (CONTENT, "sha256:00", INVALID, "invalid content resource id sha256:00: invalid checksum digest length"),
    (IMAGES, "", INVALID, "invalid resource id: images without a name"),
];

#[tokio::test]
async fn a_lease_is_deleted_with_its_list_and_nothing_else() {
    let (metadata, _dir) = metadata().await;
    let name = namespace("testing");
    // Ids of which one begins the other, and one that looks like the other with a resource.
    for lease in ["l", "l1", "lcontent/"] {
        metadata.create_lease(&name, lease, Labels::new()).await.unwrap();
        for number in 0..600 {
            let id = digest(&number.to_string()).to_string();
            metadata.add_resource(&name, lease, CONTENT, &id).await.unwrap();
        }
    }
    metadata.delete_lease(&name, "l").await.unwrap();
    for lease in ["l1", "lcontent/"] {
        assert_eq!(metadata.resources(&name, lease).await.unwrap().len(), 600);
    }
    let left = keys(&metadata).await;
    assert_eq!(left.iter().filter(|key| key.starts_with("r/")).count(), 1200);
    // A new lease of the same name begins empty.
    metadata.create_lease(&name, "l", Labels::new()).await.unwrap();
    assert_eq!(metadata.resources(&name, "l").await.unwrap(), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_resource_of_every_lease_is_found_again(
        resources in prop::collection::btree_set((
            "[a-c/]{1,3}|.{1,8}",
            prop::sample::select(vec![IMAGES, INGESTS, "snapshots/a", "snapshots/ab", "snapshots/images"]),
            "[a-c/]{1,3}|.{1,8}",
        ), 1..20),
    ) {
        run(async {
            let (metadata, _dir) = metadata().await;
            let name = namespace("testing");
            let mut of_leases: BTreeMap<_, Vec<_>> = BTreeMap::new();
            for (lease, kind, id) in resources {
                if !of_leases.contains_key(&lease) {
                    metadata.create_lease(&name, &lease, Labels::new()).await.unwrap();
                }
                metadata.add_resource(&name, &lease, kind, &id).await.unwrap();
                let kind = kind.to_owned();
                of_leases.entry(lease).or_default().push(Resource { kind, id });
            }
            for (lease, mut resources) in of_leases {
                // In the order of their types, which is that of the keys.
                resources.sort_by_key(|resource| format!("{}/{}", resource.kind, resource.id));
                assert_eq!(metadata.resources(&name, &lease).await.unwrap(), resources);
                metadata.delete_lease(&name, &lease).await.unwrap();
            }
            assert_eq!(keys(&metadata).await, ["n/testing", "q", "v"]);
        });
    }
}
