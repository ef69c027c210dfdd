//! What containerd's client of version 2 does for a transfer: streams with windows, progress on a stream of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message;
use prost_types::Any;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use transom_api::streaming::StreamInit;
use transom_api::streaming::streaming_client::StreamingClient;
use transom_api::transfer::transfer_client::TransferClient;
use transom_api::transfer::{TransferOptions, TransferRequest};
use transom_api::transfer_types::{
    Data, ImageExportStream, ImageImportStream, ImageReference, ImageStore, Progress, WindowUpdate,
};
use transom_oci::media_type;

use crate::rig::{Rig, here, sha256};

/// Where a daemon answers.
pub(crate) trait Wire {
    fn channel(&self) -> Channel;
}

impl Wire for Rig {
    fn channel(&self) -> Channel {
        self.channel.clone()
    }
}

impl Wire for Channel {
    fn channel(&self) -> Channel {
        self.clone()
    }
}

pub(crate) const NEVER: Duration = Duration::from_secs(60);

/// What containerd's client takes in one message, and how many bytes it lets be sent.
pub(crate) const MAX_READ: usize = 32 << 10;
pub(crate) const WINDOW: i32 = 64 << 10;

/// As Go's typeurl writes it.
pub(crate) fn any<M: Message>(name: &str, message: &M) -> Any {
    Any {
        type_url: name.to_owned(),
        value: message.encode_to_vec(),
    }
}

pub(crate) fn types<M: Message>(name: &str, message: &M) -> Any {
    any(&format!("containerd.types.transfer.{name}"), message)
}

/// A stream that the daemon knows.
pub(crate) struct Pipe {
    pub(crate) outgoing: mpsc::Sender<Any>,
    pub(crate) incoming: Streaming<Any>,
}

impl Pipe {
    pub(crate) async fn open(rig: &impl Wire, id: &str) -> Pipe {
        Pipe::open_as(rig, here(()), id).await
    }

    pub(crate) async fn open_as(rig: &impl Wire, of: tonic::Request<()>, id: &str) -> Pipe {
        let (outgoing, messages) = mpsc::channel(4);
        let init = StreamInit { id: id.to_owned() };
        let init = any("containerd.services.streaming.v1.StreamInit", &init);
        outgoing.send(init).await.expect("there is room");
        let mut client = StreamingClient::new(rig.channel());
        let (metadata, extensions, ()) = of.into_parts();
        let request = tonic::Request::from_parts(metadata, extensions, ReceiverStream::new(messages));
        let mut incoming = client.stream(request).await.expect("a new id").into_inner();
        let first = incoming.message().await.expect("whole").expect("an answer");
        assert_eq!(first.type_url, "google.protobuf.Empty");
        Pipe { outgoing, incoming }
    }

    /// Sends bytes as containerd's `SendStream` does: as many as the windows allow.
    pub(crate) fn send(mut self, bytes: Vec<u8>) -> JoinHandle<()> {
        tokio::spawn(async move {
            let (mut rest, mut window) = (bytes.as_slice(), 0_usize);
            while !rest.is_empty() {
                if window == 0 {
                    let Ok(Some(update)) = self.incoming.message().await else {
                        return;
                    };
                    assert_eq!(update.type_url, "containerd.types.transfer.WindowUpdate");
                    let update = WindowUpdate::decode(update.value.as_slice()).expect("a message");
                    window += usize::try_from(update.update).expect("more, not less");
                    continue;
                }
                let (now, later) = rest.split_at(rest.len().min(window).min(MAX_READ));
                let data = Data {
                    data: now.to_vec().into(),
                };
                if self.outgoing.send(types("Data", &data)).await.is_err() {
                    return;
                }
                window -= now.len();
                rest = later;
            }
            // The end of the bytes. Whoever gives up the answer as well takes back what is still on its way.
            drop(self.outgoing);
            while let Ok(Some(_)) = self.incoming.message().await {}
        })
    }

    /// Receives bytes as containerd's `ReceiveStream` does, and how the stream ended.
    pub(crate) fn receive(mut self) -> JoinHandle<(Vec<u8>, Option<Status>)> {
        tokio::spawn(async move {
            let (mut bytes, mut window) = (Vec::new(), 0);
            loop {
                if window < WINDOW {
                    let update = WindowUpdate { update: WINDOW };
                    if self.outgoing.send(types("WindowUpdate", &update)).await.is_ok() {
                        window += WINDOW;
                    }
                }
                let message = match self.incoming.message().await {
                    Ok(Some(message)) => message,
                    Ok(None) => return (bytes, None),
                    Err(status) => return (bytes, Some(status)),
                };
                assert_eq!(message.type_url, "containerd.types.transfer.Data");
                let data = Data::decode(message.value.as_slice()).expect("a message").data;
                assert!(data.len() <= MAX_READ);
                window -= i32::try_from(data.len()).expect("it is small");
                assert!(window >= 0, "more than the window");
                bytes.extend_from_slice(&data);
            }
        })
    }

    /// All events, as `ProgressHandler` would see them.
    pub(crate) fn events(mut self) -> JoinHandle<Vec<Progress>> {
        tokio::spawn(async move {
            let mut events = Vec::new();
            while let Ok(Some(message)) = self.incoming.message().await {
                assert_eq!(message.type_url, "containerd.types.transfer.Progress");
                events.push(Progress::decode(message.value.as_slice()).expect("a message"));
            }
            events
        })
    }
}

pub(crate) fn import_of(stream: &str) -> Any {
    let stream = ImageImportStream {
        stream: stream.to_owned(),
        ..ImageImportStream::default()
    };
    types("ImageImportStream", &stream)
}

pub(crate) fn export_to(stream: &str, export: ImageExportStream) -> Any {
    let stream = ImageExportStream {
        stream: stream.to_owned(),
        ..export
    };
    types("ImageExportStream", &stream)
}

pub(crate) async fn transfer(
    rig: &impl Wire,
    source: Any,
    destination: Any,
    progress: &str,
) -> Result<(), Status> {
    let mut client = TransferClient::new(rig.channel());
    let request = TransferRequest {
        source: Some(source),
        destination: Some(destination),
        options: Some(TransferOptions {
            progress_stream: progress.to_owned(),
        }),
    };
    let done = timeout(NEVER, client.transfer(here(request))).await;
    done.expect("an answer comes").map(|_| ())
}

/// Imports an archive; gives the events.
pub(crate) async fn import(
    rig: &impl Wire,
    archive: Vec<u8>,
    into: &ImageStore,
) -> Result<Vec<Progress>, Status> {
    import_as(rig, "", archive, into).await
}

/// The same by streams with an ending of their own, for several at once.
pub(crate) async fn import_as(
    rig: &impl Wire,
    ending: &str,
    archive: Vec<u8>,
    into: &ImageStore,
) -> Result<Vec<Progress>, Status> {
    let (import, progress) = (format!("import{ending}"), format!("progress{ending}"));
    let sending = Pipe::open(rig, &import).await.send(archive);
    let events = Pipe::open(rig, &progress).await.events();
    let done = transfer(rig, import_of(&import), types("ImageStore", into), &progress).await;
    sending.await.expect("no panic");
    let events = events.await.expect("no panic");
    done.map(|()| events)
}

pub(crate) async fn export(
    rig: &impl Wire,
    names: &[&str],
    how: ImageExportStream,
) -> Result<Vec<u8>, (Status, Option<Status>)> {
    let receiving = Pipe::open(rig, "export").await.receive();
    let references = names.iter().map(|name| ImageReference {
        name: (*name).to_owned(),
        ..ImageReference::default()
    });
    let store = ImageStore {
        extra_references: references.collect(),
        ..ImageStore::default()
    };
    let done = transfer(rig, types("ImageStore", &store), export_to("export", how), "").await;
    let (bytes, end) = receiving.await.expect("no panic");
    match done {
        Ok(()) => {
            assert!(end.is_none());
            Ok(bytes)
        }
        Err(status) => Err((status, end)),
    }
}

/// An archive with one image of two layers for each name, as containerd's test makes it: a name with a space is a repository and
/// a tag, of which the index has the tag. Gives the digest of each image and of the index.
pub(crate) fn images(names: &[&str]) -> (Vec<u8>, Vec<String>, String) {
    let (mut files, mut manifests, mut digests) = (BTreeMap::new(), Vec::new(), Vec::new());
    for (number, name) in names.iter().enumerate() {
        let layers = [format!("layer {number}").repeat(5000), "shared".repeat(30_000)];
        let descriptor = |kind: &str, bytes: &[u8]| serde_json::json!({ "mediaType": kind, "digest": sha256(bytes), "size": bytes.len() });
        let config = serde_json::json!({ "os": "linux", "architecture": "amd64", "author": name,
            "rootfs": { "type": "layers", "diff_ids": layers.each_ref().map(|layer| sha256(layer.as_bytes())) } })
        .to_string();
        let manifest = serde_json::json!({ "schemaVersion": 2, "config": descriptor(media_type::IMAGE_CONFIG, config.as_bytes()),
            "layers": layers.each_ref().map(|layer| descriptor(media_type::LAYER_TAR, layer.as_bytes())) })
        .to_string();
        let mut listed = descriptor(media_type::MANIFEST, manifest.as_bytes());
        listed["annotations"] = match name.split_once(' ') {
            Some((_, tag)) => serde_json::json!({ "org.opencontainers.image.ref.name": tag }),
            None if name.is_empty() => serde_json::json!({}),
            None => serde_json::json!({ "io.containerd.image.name": name }),
        };
        manifests.push(listed);
        digests.push(sha256(manifest.as_bytes()));
        for blob in layers.into_iter().chain([config, manifest]) {
            files.insert(sha256(blob.as_bytes()).replace("sha256:", "blobs/sha256/"), blob);
        }
    }
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": manifests }).to_string();
    let index_digest = sha256(index.as_bytes());
    files.insert("index.json".to_owned(), index);
    files.insert(
        "oci-layout".to_owned(),
        r#"{"imageLayoutVersion":"1.0.0"}"#.to_owned(),
    );
    let files = files.into_iter().map(|(name, text)| (name, text.into_bytes()));
    (tar_of(files), digests, index_digest)
}

/// An archive with one image for this machine of two plain layers that are tars, and their digests.
pub(crate) fn unpackable() -> (Vec<u8>, Vec<String>) {
    let layers = [
        tar_of([("a".to_owned(), b"1".to_vec())]),
        tar_of([("b".to_owned(), b"2".to_vec())]),
    ];
    let digests: Vec<String> = layers.iter().map(|layer| sha256(layer)).collect();
    let layers = layers.map(|layer| (media_type::LAYER_TAR, layer));
    (image_of("registry.test/unpacked:1", &digests, &layers), digests)
}

/// An archive with one image for this machine: its name, its diffIDs, and its layers by media type.
pub(crate) fn image_of(name: &str, diff_ids: &[String], layers: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let descriptor = |kind: &str, bytes: &[u8]| serde_json::json!({ "mediaType": kind, "digest": sha256(bytes), "size": bytes.len() });
    let host = transom_oci::Platform::host();
    let config = serde_json::json!({ "os": host.os, "architecture": host.architecture,
        "rootfs": { "type": "layers", "diff_ids": diff_ids } })
    .to_string();
    let listed = layers.iter().map(|(kind, layer)| descriptor(kind, layer));
    let manifest = serde_json::json!({ "schemaVersion": 2, "config": descriptor(media_type::IMAGE_CONFIG, config.as_bytes()),
        "layers": listed.collect::<Vec<_>>() })
    .to_string();
    let mut listed = descriptor(media_type::MANIFEST, manifest.as_bytes());
    listed["annotations"] = serde_json::json!({ "io.containerd.image.name": name });
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [listed] }).to_string();
    let blobs = layers.iter().map(|(_, layer)| layer.clone());
    let blobs = blobs.chain([config.into_bytes(), manifest.into_bytes()]);
    let blobs = blobs.map(|blob| (sha256(&blob).replace("sha256:", "blobs/sha256/"), blob));
    let documents = [
        ("index.json", index),
        ("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#.to_owned()),
    ];
    let documents = documents.map(|(name, text)| (name.to_owned(), text.into_bytes()));
    tar_of(blobs.chain(documents))
}

fn tar_of(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, data) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, data.as_slice())
            .expect("memory has room");
    }
    tar.into_inner().expect("memory has room")
}
