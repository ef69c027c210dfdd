//! One row for each error: what is asked, the code, the text.

use std::collections::BTreeMap;

use tonic::{Code, Request};
use transom_api::content::content_client::ContentClient;
use transom_api::events::events_client::EventsClient;
use transom_api::images::images_client::ImagesClient;
use transom_api::leases::leases_client::LeasesClient;
use transom_api::namespaces::namespaces_client::NamespacesClient;
use transom_api::{content, events, images, leases, namespaces, types};

use crate::rig::{Rig, here, leased, of, refused, sha256};

const NO_NAMESPACE: (Code, &str) = (
    Code::FailedPrecondition,
    "namespace is required: failed precondition",
);

macro_rules! row {
    ($call:expr, $code:ident, $text:expr) => {
        assert_eq!(refused($call.await), (Code::$code, String::from($text)))
    };
}

fn image(name: &str) -> images::Image {
    images::Image {
        name: name.to_owned(),
        target: Some(types::Descriptor {
            media_type: "m".to_owned(),
            digest: sha256(b"a"),
            size: 1,
            annotations: BTreeMap::new(),
        }),
        ..images::Image::default()
    }
}

fn create(image: images::Image) -> images::CreateImageRequest {
    images::CreateImageRequest {
        image: Some(image),
        source_date_epoch: None,
    }
}

fn mask(paths: &[&str]) -> Option<prost_types::FieldMask> {
    Some(prost_types::FieldMask {
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
    })
}

fn long_label() -> BTreeMap<String, String> {
    BTreeMap::from([("k".to_owned(), "v".repeat(5000))])
}

#[tokio::test]
async fn the_namespace_header_is_checked() {
    let rig = Rig::start().await;
    let mut images = ImagesClient::new(rig.channel.clone());
    let list = images::ListImagesRequest::default();
    let (code, text) = refused(images.list(Request::new(list.clone())).await);
    assert_eq!((code, text.as_str()), NO_NAMESPACE);
    let (code, text) = refused(images.list(of("", list.clone())).await);
    assert_eq!((code, text.as_str()), NO_NAMESPACE);
    row!(
        images.list(of("a b", list.clone())),
        InvalidArgument,
        "namespace validation: identifier \"a b\" must match ^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$: invalid argument"
    );
    let (code, _) = refused(images.list(of(&"a".repeat(77), list.clone())).await);
    assert_eq!(code, Code::InvalidArgument);
    let mut twice = of("a", list);
    twice
        .metadata_mut()
        .append("containerd-namespace", "b c".parse().expect("a value"));
    images.list(twice).await.expect("the first value counts");
    let mut leases = LeasesClient::new(rig.channel.clone());
    let (code, text) = refused(leases.list(leases::ListRequest::default()).await);
    assert_eq!((code, text.as_str()), NO_NAMESPACE);
    let mut events = EventsClient::new(rig.channel.clone());
    let (code, text) = refused(events.publish(events::PublishRequest::default()).await);
    assert_eq!((code, text.as_str()), NO_NAMESPACE);
    let mut namespaces = NamespacesClient::new(rig.channel.clone());
    let all = namespaces::ListNamespacesRequest::default();
    namespaces.list(all).await.expect("namespaces need no namespace");
}

#[tokio::test]
async fn images() {
    let rig = Rig::start().await;
    let mut client = ImagesClient::new(rig.channel.clone());
    let get = |name: &str| {
        here(images::GetImageRequest {
            name: name.to_owned(),
        })
    };
    row!(client.get(get("zz")), NotFound, "image \"zz\": not found");
    row!(
        client.create(here(create(image("")))),
        InvalidArgument,
        "Image.Name required"
    );
    let mut bad = image("a");
    bad.target.as_mut().expect("set above").size = 0;
    row!(
        client.create(here(create(bad))),
        InvalidArgument,
        "target.Size must be greater than zero: invalid argument"
    );
    let mut bad = image("a");
    bad.target.as_mut().expect("set above").digest = "x".to_owned();
    let (code, text) = refused(client.create(here(create(bad))).await);
    assert_eq!(code, Code::InvalidArgument);
    assert!(text.ends_with(": invalid argument"), "{text}");
    client
        .create(here(create(image("a"))))
        .await
        .expect("a first image");
    row!(
        client.create(here(create(image("a")))),
        AlreadyExists,
        "image \"a\": already exists"
    );
    let update = |name: &str, paths: &[&str]| {
        here(images::UpdateImageRequest {
            image: Some(image(name)),
            update_mask: mask(paths),
            source_date_epoch: None,
        })
    };
    row!(
        client.update(update("a", &["name"])),
        InvalidArgument,
        "cannot update \"name\" field on image \"a\": invalid argument"
    );
    row!(
        client.update(update("zz", &["labels"])),
        NotFound,
        "image \"zz\": not found"
    );
    row!(
        client.list(here(images::ListImagesRequest {
            filters: vec!["name=a".to_owned()]
        })),
        InvalidArgument,
        "filters: parse error: [name >|=|< a]: unsupported operator \"=\": invalid argument: invalid argument"
    );
    let delete = |name: &str, digest: Option<&str>| {
        here(images::DeleteImageRequest {
            name: name.to_owned(),
            sync: false,
            target: digest.map(|digest| types::Descriptor {
                digest: digest.to_owned(),
                ..types::Descriptor::default()
            }),
        })
    };
    row!(
        client.delete(delete("zz", None)),
        NotFound,
        "image \"zz\": not found"
    );
    let (had, other) = (sha256(b"a"), sha256(b"b"));
    row!(
        client.delete(delete("a", Some(&other))),
        NotFound,
        format!("image \"a\" has target {had}, not {other}: not found")
    );
    client
        .delete(delete("a", Some(&had)))
        .await
        .expect("the target is right");
}

#[tokio::test]
async fn namespaces() {
    let rig = Rig::start().await;
    let mut client = NamespacesClient::new(rig.channel.clone());
    let create = |name: &str, labels| namespaces::CreateNamespaceRequest {
        namespace: Some(namespaces::Namespace {
            name: name.to_owned(),
            labels,
        }),
    };
    row!(
        client.create(create("a..b", BTreeMap::new())),
        InvalidArgument,
        "identifier \"a..b\" must match ^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$: invalid argument"
    );
    let (code, text) = refused(client.create(create("x", long_label())).await);
    assert_eq!(code, Code::InvalidArgument);
    assert!(text.starts_with("namespace.Labels: "), "{text}");
    client
        .create(create("x", BTreeMap::new()))
        .await
        .expect("a first namespace");
    row!(
        client.create(create("x", BTreeMap::new())),
        AlreadyExists,
        "namespace \"x\": already exists"
    );
    let update = |path: &str| namespaces::UpdateNamespaceRequest {
        namespace: Some(namespaces::Namespace {
            name: "x".to_owned(),
            labels: BTreeMap::new(),
        }),
        update_mask: mask(&[path]),
    };
    row!(
        client.update(update("labels")),
        InvalidArgument,
        "cannot update \"labels\" field: invalid argument"
    );
    let delete = |name: &str| namespaces::DeleteNamespaceRequest {
        name: name.to_owned(),
    };
    row!(
        client.delete(delete("zz")),
        NotFound,
        "namespace \"zz\": not found"
    );
    let mut images = ImagesClient::new(rig.channel.clone());
    let full = of("x", self::create(image("a")));
    images.create(full).await.expect("an image");
    row!(
        client.delete(delete("x")),
        FailedPrecondition,
        "namespace \"x\" must be empty, but it still has images: failed precondition"
    );
    let unknown = namespaces::GetNamespaceRequest {
        name: "never".to_owned(),
    };
    let got = client
        .get(unknown)
        .await
        .expect("an unknown namespace has no labels");
    let namespace = got.into_inner().namespace.expect("a namespace");
    assert_eq!((namespace.name.as_str(), namespace.labels.len()), ("never", 0));
    let updated = client
        .update(update("labels.k"))
        .await
        .expect("a label can be updated");
    assert_eq!(updated.into_inner().namespace, None, "containerd never fills it");
}

#[tokio::test]
async fn leases() {
    let rig = Rig::start().await;
    let mut client = LeasesClient::new(rig.channel.clone());
    let create = |id: &str| {
        here(leases::CreateRequest {
            id: id.to_owned(),
            labels: BTreeMap::new(),
        })
    };
    client.create(create("L1")).await.expect("a first lease");
    row!(
        client.create(create("L1")),
        AlreadyExists,
        "lease \"L1\": already exists"
    );
    let made = client
        .create(create(""))
        .await
        .expect("an id is made up")
        .into_inner()
        .lease
        .expect("a lease");
    assert!(made.id.contains('-'), "{}", made.id);
    let delete = here(leases::DeleteRequest {
        id: "zz".to_owned(),
        sync: false,
    });
    row!(client.delete(delete), NotFound, "lease \"zz\": not found");
    let add = |id: &str, kind: &str, resource: &str| {
        here(leases::AddResourceRequest {
            id: id.to_owned(),
            resource: Some(leases::Resource {
                id: resource.to_owned(),
                r#type: kind.to_owned(),
            }),
        })
    };
    row!(
        client.add_resource(add("L1", "foo", "x")),
        Unimplemented,
        "resource type foo not supported yet: not implemented"
    );
    for (kind, id) in [("content/x", "a"), ("snapshots", "a"), ("content", "x")] {
        let (code, text) = refused(client.add_resource(add("L1", kind, id)).await);
        assert_eq!(code, Code::InvalidArgument, "{kind}: {text}");
        assert!(text.ends_with(": invalid argument"), "{text}");
    }
    let digest = sha256(b"a");
    row!(
        client.add_resource(add("zz", "content", &digest)),
        NotFound,
        "lease \"zz\": not found"
    );
    for (kind, id) in [
        ("snapshots/overlayfs", "s"),
        ("ingests", "r"),
        ("images", "i"),
        ("content", &digest),
    ] {
        client
            .add_resource(add("L1", kind, id))
            .await
            .expect("a resource need not exist");
    }
    let listed = client
        .list_resources(here(leases::ListResourcesRequest { id: "L1".to_owned() }))
        .await;
    let listed = listed.expect("the lease is there").into_inner().resources;
    let kinds: Vec<&str> = listed.iter().map(|resource| resource.r#type.as_str()).collect();
    assert_eq!(kinds, ["content", "images", "ingests", "snapshots/overlayfs"]);
    let mut images = ImagesClient::new(rig.channel.clone());
    let mut expiring = image("a");
    expiring.labels = BTreeMap::from([("containerd.io/gc.expire".to_owned(), "x".to_owned())]);
    row!(
        images.create(leased("none", self::create(expiring))),
        NotFound,
        "lease does not exist: not found"
    );
}

#[tokio::test]
async fn events() {
    let rig = Rig::start().await;
    let mut client = EventsClient::new(rig.channel.clone());
    let any = || Some(prost_types::Any::default());
    let publish = |topic: &str| {
        here(events::PublishRequest {
            topic: topic.to_owned(),
            event: any(),
        })
    };
    row!(
        client.publish(publish("abc")),
        InvalidArgument,
        "envelope topic \"abc\": must start with '/': invalid argument"
    );
    let (code, _) = refused(client.publish(publish("/a b")).await);
    assert_eq!(code, Code::InvalidArgument);
    let envelope = types::Envelope {
        timestamp: Some(prost_types::Timestamp { seconds: 5, nanos: 0 }),
        namespace: "a".to_owned(),
        topic: "/a".to_owned(),
        event: any(),
    };
    let forward = |envelope: types::Envelope| events::ForwardRequest {
        envelope: Some(envelope),
    };
    client
        .forward(forward(envelope.clone()))
        .await
        .expect("a whole envelope");
    for wrong in [
        types::Envelope {
            timestamp: None,
            ..envelope.clone()
        },
        types::Envelope {
            namespace: "a b".to_owned(),
            ..envelope.clone()
        },
        types::Envelope {
            topic: "a".to_owned(),
            ..envelope.clone()
        },
        types::Envelope {
            timestamp: Some(prost_types::Timestamp {
                seconds: i64::MAX,
                nanos: -1,
            }),
            ..envelope.clone()
        },
    ] {
        let (code, text) = refused(client.forward(forward(wrong)).await);
        assert_eq!(code, Code::InvalidArgument, "{text}");
        assert!(text.ends_with(": invalid argument"), "{text}");
    }
    let subscribe = events::SubscribeRequest {
        filters: vec!["topic=a".to_owned()],
    };
    let (code, text) = refused(client.subscribe(subscribe).await);
    assert_eq!(code, Code::Unknown);
    assert!(
        text.starts_with("subscription error: failed parsing subscription filters: "),
        "{text}"
    );
}

/// What crashed containerd.
#[tokio::test]
async fn a_missing_nested_message_is_an_invalid_argument() {
    let rig = Rig::start().await;
    let mut codes = Vec::new();
    let mut images = ImagesClient::new(rig.channel.clone());
    row!(
        images.create(here(images::CreateImageRequest::default())),
        InvalidArgument,
        "Image.Name required"
    );
    row!(
        images.update(here(images::UpdateImageRequest::default())),
        InvalidArgument,
        "Image.Name required"
    );
    let bare = images::CreateImageRequest {
        image: Some(images::Image {
            name: "a".to_owned(),
            ..images::Image::default()
        }),
        source_date_epoch: None,
    };
    codes.push(refused(images.create(here(bare)).await));
    let mut namespaces = NamespacesClient::new(rig.channel.clone());
    codes.push(refused(
        namespaces
            .create(namespaces::CreateNamespaceRequest::default())
            .await,
    ));
    codes.push(refused(
        namespaces
            .update(namespaces::UpdateNamespaceRequest::default())
            .await,
    ));
    codes.push(refused(
        namespaces
            .delete(namespaces::DeleteNamespaceRequest::default())
            .await,
    ));
    let mut leases = LeasesClient::new(rig.channel.clone());
    let lease = leases::CreateRequest {
        id: "L".to_owned(),
        ..leases::CreateRequest::default()
    };
    leases.create(here(lease)).await.expect("a lease");
    let add = leases::AddResourceRequest {
        id: "L".to_owned(),
        resource: None,
    };
    codes.push(refused(leases.add_resource(here(add)).await));
    let delete = leases::DeleteResourceRequest {
        id: "L".to_owned(),
        resource: None,
    };
    codes.push(refused(leases.delete_resource(here(delete)).await));
    let mut events = EventsClient::new(rig.channel.clone());
    codes.push(refused(events.forward(events::ForwardRequest::default()).await));
    codes.push(refused(
        events.publish(here(events::PublishRequest::default())).await,
    ));
    let mut content = ContentClient::new(rig.channel.clone());
    codes.push(refused(
        content.update(here(content::UpdateRequest::default())).await,
    ));
    codes.push(refused(content.info(here(content::InfoRequest::default())).await));
    codes.push(refused(
        content
            .delete(here(content::DeleteContentRequest::default()))
            .await,
    ));
    codes.push(refused(
        content.read(here(content::ReadContentRequest::default())).await,
    ));
    for (code, text) in codes {
        assert_eq!(code, Code::InvalidArgument, "{text}");
        assert!(!text.is_empty());
    }
}
