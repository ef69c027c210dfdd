//! What subscribers are told.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message;
use tokio::time::timeout;
use tonic::Streaming;
use transom_api::events::events_client::EventsClient;
use transom_api::events::{ForwardRequest, PublishRequest, SubscribeRequest};
use transom_api::images::images_client::ImagesClient;
use transom_api::namespaces::namespaces_client::NamespacesClient;
use transom_api::{event, images, namespaces, types};

use crate::rig::{Rig, here, of, sha256};

/// Long after anything in a test has happened; a test that waits for it has failed.
const NEVER: Duration = Duration::from_secs(120);

pub(crate) async fn subscribe(rig: &Rig, filters: &[&str]) -> Streaming<types::Envelope> {
    let filters = filters.iter().map(|filter| (*filter).to_owned()).collect();
    let subscribed = EventsClient::new(rig.channel.clone())
        .subscribe(SubscribeRequest { filters })
        .await;
    subscribed.expect("the filters are right").into_inner()
}

pub(crate) async fn next(events: &mut Streaming<types::Envelope>) -> types::Envelope {
    let event = timeout(NEVER, events.message()).await.expect("an event comes");
    event.expect("the stream is whole").expect("the stream goes on")
}

async fn publish(rig: &Rig, topic: &str, name: &str, message: &impl Message) {
    let event = prost_types::Any {
        type_url: name.to_owned(),
        value: message.encode_to_vec(),
    };
    let request = PublishRequest {
        topic: topic.to_owned(),
        event: Some(event),
    };
    let published = EventsClient::new(rig.channel.clone())
        .publish(of("there", request))
        .await;
    published.expect("the event is right");
}

#[tokio::test]
async fn changes_are_told_with_bare_type_names() {
    let rig = Rig::start().await;
    let mut all = subscribe(&rig, &[]).await;
    let mut only = subscribe(
        &rig,
        &["topic==\"/images/delete\"", "event.name==b,event.labels.k==v"],
    )
    .await;
    let mut client = ImagesClient::new(rig.channel.clone());
    for name in ["a", "b"] {
        let image = images::Image {
            name: name.to_owned(),
            labels: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
            target: Some(types::Descriptor {
                media_type: "m".to_owned(),
                digest: sha256(b"a"),
                size: 1,
                annotations: BTreeMap::new(),
            }),
            ..images::Image::default()
        };
        let create = images::CreateImageRequest {
            image: Some(image),
            source_date_epoch: None,
        };
        client.create(here(create)).await.expect("an image");
    }
    let delete = images::DeleteImageRequest {
        name: "a".to_owned(),
        ..images::DeleteImageRequest::default()
    };
    client.delete(here(delete)).await.expect("it is there");
    let created = next(&mut all).await;
    assert_eq!(
        (created.namespace.as_str(), created.topic.as_str()),
        ("default", "/images/create")
    );
    let event = created.event.expect("an event");
    assert_eq!(event.type_url, "containerd.services.images.v1.ImageCreate");
    let event = images::ImageCreate::decode(event.value.as_slice()).expect("of its type");
    assert_eq!((event.name.as_str(), event.labels["k"].as_str()), ("a", "v"));
    assert_eq!(next(&mut only).await.topic, "/images/create", "that of b");
    let deleted = next(&mut only).await;
    assert_eq!(deleted.topic, "/images/delete");
    assert_eq!(
        deleted.event.expect("an event").type_url,
        "containerd.services.images.v1.ImageDelete"
    );
}

#[tokio::test]
async fn events_of_others_are_passed_on_and_looked_into() {
    let rig = Rig::start().await;
    let mut exits = subscribe(&rig, &["event.exit_status==137"]).await;
    let name = "containerd.events.TaskExit";
    for exit_status in [0, 137] {
        let exit = event::TaskExit {
            exit_status,
            ..event::TaskExit::default()
        };
        publish(&rig, "/tasks/exit", name, &exit).await;
    }
    let seen = next(&mut exits).await;
    assert_eq!(
        (seen.namespace.as_str(), seen.topic.as_str()),
        ("there", "/tasks/exit")
    );
    let event = seen.event.expect("an event");
    assert_eq!(event.type_url, name);
    let exit = event::TaskExit::decode(event.value.as_slice()).expect("of its type");
    assert_eq!(exit.exit_status, 137);
}

#[tokio::test]
async fn a_forwarded_event_keeps_its_time_and_its_bytes() {
    let rig = Rig::start().await;
    let mut all = subscribe(&rig, &["namespace==far"]).await;
    let envelope = types::Envelope {
        timestamp: Some(prost_types::Timestamp {
            seconds: 1_600_000_000,
            nanos: 7,
        }),
        namespace: "far".to_owned(),
        topic: "/a/b".to_owned(),
        event: Some(prost_types::Any {
            type_url: "types.containerd.io/some/json".to_owned(),
            value: b"{\"a\":1}".to_vec(),
        }),
    };
    let request = ForwardRequest {
        envelope: Some(envelope.clone()),
    };
    EventsClient::new(rig.channel.clone())
        .forward(request)
        .await
        .expect("it is whole");
    assert_eq!(next(&mut all).await, envelope);
}

#[tokio::test]
async fn namespaces_are_told_in_themselves() {
    let rig = Rig::start().await;
    let mut all = subscribe(&rig, &[]).await;
    let mut client = NamespacesClient::new(rig.channel.clone());
    let namespace = namespaces::Namespace {
        name: "n".to_owned(),
        labels: BTreeMap::new(),
    };
    let create = namespaces::CreateNamespaceRequest {
        namespace: Some(namespace),
    };
    client.create(create).await.expect("a namespace");
    let delete = namespaces::DeleteNamespaceRequest { name: "n".to_owned() };
    client.delete(delete).await.expect("it is empty");
    for topic in ["/namespaces/create", "/namespaces/delete"] {
        let seen = next(&mut all).await;
        assert_eq!((seen.namespace.as_str(), seen.topic.as_str()), ("n", topic));
    }
}

#[tokio::test]
async fn a_subscription_ends_when_the_daemon_stops() {
    let rig = Rig::start().await;
    let mut all = subscribe(&rig, &[]).await;
    rig.shutdown.begin();
    let end = timeout(NEVER, all.message()).await.expect("it ends");
    assert_eq!(end.expect_err("it says why").code(), tonic::Code::Unavailable);
    rig.stop().await;
}
