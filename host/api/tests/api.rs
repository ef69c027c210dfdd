//! The messages are the ones that containerd's clients know.

use std::collections::BTreeMap;

use prost::Message;
use transom_api::{content, event, fields, images, types};

/// Every service and its methods, as clients call them.
#[test]
fn services_have_the_names_that_clients_call() {
    let methods = transom_api::methods();
    for expected in [
        "containerd.services.content.v1.Content/ListStatuses",
        "containerd.services.images.v1.Images/Create",
        "containerd.services.namespaces.v1.Namespaces/Update",
        "containerd.services.leases.v1.Leases/ListResources",
        "containerd.services.events.v1.Events/Forward",
        "containerd.services.introspection.v1.Introspection/PluginInfo",
        "containerd.services.version.v1.Version/Version",
        "containerd.services.streaming.v1.Streaming/Stream",
        "containerd.services.diff.v1.Diff/Apply",
        "containerd.services.snapshots.v1.Snapshots/Cleanup",
        "containerd.services.transfer.v1.Transfer/Transfer",
        "grpc.health.v1.Health/Check",
        "transom.plugins.v1.Plugins/Install",
    ] {
        assert!(
            methods.iter().any(|method| method == expected),
            "{expected} in {methods:?}"
        );
    }
}

/// The bytes of messages whose field numbers have gaps.
#[test]
fn messages_have_the_field_numbers_of_the_wire() {
    let descriptor = types::Descriptor {
        media_type: "m".to_owned(),
        digest: "d".to_owned(),
        size: 3,
        annotations: labels("k", "v"),
    };
    assert_eq!(
        descriptor.encode_to_vec(),
        b"\x0a\x01m\x12\x01d\x18\x03\x2a\x06\x0a\x01k\x12\x01v"
    );
    let image = images::Image {
        created_at: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
        ..images::Image::default()
    };
    assert_eq!(image.encode_to_vec(), b"\x3a\x02\x08\x01");
    let write = content::WriteContentRequest {
        action: content::WriteAction::Commit.into(),
        offset: 5,
        data: bytes::Bytes::from_static(b"x"),
        ..content::WriteContentRequest::default()
    };
    assert_eq!(write.encode_to_vec(), b"\x08\x02\x28\x05\x32\x01x");
    let prepared = event::SnapshotPrepare {
        snapshotter: "o".to_owned(),
        ..event::SnapshotPrepare::default()
    };
    assert_eq!(prepared.encode_to_vec(), b"\x2a\x01o");
}

#[test]
fn a_field_is_found_by_its_path() {
    let created = event::ContainerCreate {
        id: "c1".to_owned(),
        runtime: Some(event::container_create::Runtime {
            name: "runc".to_owned(),
            options: Some(prost_types::Any {
                type_url: "containerd.events.TaskExit".to_owned(),
                value: event::TaskExit {
                    exit_status: 137,
                    ..event::TaskExit::default()
                }
                .encode_to_vec(),
            }),
        }),
        ..event::ContainerCreate::default()
    };
    let bytes = created.encode_to_vec();
    let find = |path: &[&str]| fields::field("containerd.events.ContainerCreate", &bytes, path);
    assert_eq!(find(&["id"]).as_deref(), Some("c1"));
    assert_eq!(find(&["runtime", "name"]).as_deref(), Some("runc"));
    assert_eq!(
        find(&["runtime", "options", "exit_status"]).as_deref(),
        Some("137")
    );
    assert_eq!(find(&["image"]), None, "an empty text is absent");
    assert_eq!(find(&["id", "more"]), None);
    assert_eq!(find(&["runtime"]), None);
    assert_eq!(find(&["nothing"]), None);
    assert_eq!(find(&[]), None);
}

#[test]
fn a_label_is_one_key_with_its_dots() {
    let update = images::ImageUpdate {
        name: "a".to_owned(),
        labels: labels("a.b/c", "1"),
    };
    let bytes = update.encode_to_vec();
    let name = "containerd.services.images.v1.ImageUpdate";
    assert_eq!(
        fields::field(name, &bytes, &["labels", "a", "b/c"]).as_deref(),
        Some("1")
    );
    assert_eq!(fields::field(name, &bytes, &["labels", "a"]), None);
    let prefixed = format!("type.googleapis.com/{name}");
    assert_eq!(fields::field(&prefixed, &bytes, &["name"]).as_deref(), Some("a"));
}

#[test]
fn unknown_types_and_broken_bytes_have_no_fields() {
    assert_eq!(fields::field("some.Other", b"", &["id"]), None);
    assert_eq!(
        fields::field("containerd.events.TaskExit", b"\xff\xff", &["id"]),
        None
    );
}

fn labels(key: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_owned(), value.to_owned())])
}
