//! Streams by id.

use std::time::Duration;

use prost::Message;
use prost_types::Any;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use transom_api::streaming::StreamInit;
use transom_api::streaming::streaming_client::StreamingClient;

use crate::rig::{Rig, of, refused};

const NEVER: Duration = Duration::from_secs(120);

fn init(id: &str) -> Any {
    Any {
        type_url: "containerd.services.streaming.v1.StreamInit".to_owned(),
        value: StreamInit { id: id.to_owned() }.encode_to_vec(),
    }
}

async fn open(rig: &Rig, namespace: &str, first: Any) -> Result<(mpsc::Sender<Any>, Streaming<Any>), Status> {
    let (sender, messages) = mpsc::channel(4);
    sender.send(first).await.expect("there is room");
    let mut client = StreamingClient::new(rig.channel.clone());
    let opened = client
        .stream(of(namespace, ReceiverStream::new(messages)))
        .await?;
    Ok((sender, opened.into_inner()))
}

async fn next(stream: &mut Streaming<Any>) -> Result<Option<Any>, Status> {
    timeout(NEVER, stream.message()).await.expect("an answer comes")
}

#[tokio::test]
async fn an_id_is_acknowledged_and_unique_in_its_namespace() {
    let rig = Rig::start().await;
    let (_sender, mut stream) = open(&rig, "a", init("1")).await.expect("a new id");
    let answer = next(&mut stream).await.expect("whole").expect("an answer");
    assert_eq!(answer.type_url, "google.protobuf.Empty");
    let (code, text) = refused(open(&rig, "a", init("1")).await.map(|_| ()));
    assert_eq!(code, Code::AlreadyExists);
    assert!(text.ends_with(": already exists"), "{text}");
    open(&rig, "b", init("1")).await.expect("another namespace");
}

#[tokio::test]
async fn an_id_is_free_again_when_its_client_has_gone() {
    let rig = Rig::start().await;
    let opened = open(&rig, "a", init("1")).await.expect("a new id");
    drop(opened);
    let again = async {
        while open(&rig, "a", init("1")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(NEVER, again).await.expect("the id becomes free");
}

#[tokio::test]
async fn a_wrong_beginning_is_refused() {
    let rig = Rig::start().await;
    let wrong = Any {
        type_url: "x.Y".to_owned(),
        value: Vec::new(),
    };
    assert_eq!(
        refused(open(&rig, "a", wrong).await.map(|_| ())).0,
        Code::InvalidArgument
    );
    let broken = Any {
        value: vec![0xff],
        ..init("1")
    };
    assert_eq!(
        refused(open(&rig, "a", broken).await.map(|_| ())).0,
        Code::InvalidArgument
    );
    assert_eq!(
        refused(open(&rig, "a", init("")).await.map(|_| ())).0,
        Code::InvalidArgument
    );
    assert_eq!(
        refused(open(&rig, "", init("1")).await.map(|_| ())).0,
        Code::FailedPrecondition
    );
}

#[tokio::test]
async fn streams_end_when_the_daemon_stops() {
    let rig = Rig::start().await;
    let (_sender, mut stream) = open(&rig, "a", init("1")).await.expect("a new id");
    next(&mut stream).await.expect("whole").expect("an answer");
    rig.shutdown.begin();
    assert_eq!(next(&mut stream).await.expect("a good end"), None);
    rig.stop().await;
}
