//! Transfers as containerd's client of version 2 asks for them: streams with windows, progress on a stream of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message;
use prost_types::Any;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use transom_api::images::GetImageRequest;
use transom_api::images::images_client::ImagesClient;
use transom_api::streaming::StreamInit;
use transom_api::streaming::streaming_client::StreamingClient;
use transom_api::transfer::transfer_client::TransferClient;
use transom_api::transfer::{TransferOptions, TransferRequest};
use transom_api::transfer_types::{
    Data, ImageExportStream, ImageImportStream, ImageReference, ImageStore, OciRegistry, Progress,
    WindowUpdate,
};
use transom_oci::media_type;

use crate::rig::{Rig, here, leased, refused, sha256};

const NEVER: Duration = Duration::from_secs(60);

/// What containerd's client takes in one message, and how many bytes it lets be sent.
const MAX_READ: usize = 32 << 10;
const WINDOW: i32 = 64 << 10;

/// As Go's typeurl writes it.
fn any<M: Message>(name: &str, message: &M) -> Any {
    Any {
        type_url: name.to_owned(),
        value: message.encode_to_vec(),
    }
}

fn types<M: Message>(name: &str, message: &M) -> Any {
    any(&format!("containerd.types.transfer.{name}"), message)
}

/// A stream that the daemon knows.
struct Pipe {
    outgoing: mpsc::Sender<Any>,
    incoming: Streaming<Any>,
}

impl Pipe {
    async fn open(rig: &Rig, id: &str) -> Pipe {
        Pipe::open_as(rig, here(()), id).await
    }

    async fn open_as(rig: &Rig, of: tonic::Request<()>, id: &str) -> Pipe {
        let (outgoing, messages) = mpsc::channel(4);
        let init = StreamInit { id: id.to_owned() };
        let init = any("containerd.services.streaming.v1.StreamInit", &init);
        outgoing.send(init).await.expect("there is room");
        let mut client = StreamingClient::new(rig.channel.clone());
        let (metadata, extensions, ()) = of.into_parts();
        let request = tonic::Request::from_parts(metadata, extensions, ReceiverStream::new(messages));
        let mut incoming = client.stream(request).await.expect("a new id").into_inner();
        let first = incoming.message().await.expect("whole").expect("an answer");
        assert_eq!(first.type_url, "google.protobuf.Empty");
        Pipe { outgoing, incoming }
    }

    /// Sends bytes as containerd's `SendStream` does: as many as the windows allow.
    fn send(mut self, bytes: Vec<u8>) -> JoinHandle<()> {
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
        })
    }

    /// Receives bytes as containerd's `ReceiveStream` does, and how the stream ended.
    fn receive(mut self) -> JoinHandle<(Vec<u8>, Option<Status>)> {
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
    fn events(mut self) -> JoinHandle<Vec<Progress>> {
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

fn import_of(stream: &str) -> Any {
    let stream = ImageImportStream {
        stream: stream.to_owned(),
        ..ImageImportStream::default()
    };
    types("ImageImportStream", &stream)
}

fn export_to(stream: &str, export: ImageExportStream) -> Any {
    let stream = ImageExportStream {
        stream: stream.to_owned(),
        ..export
    };
    types("ImageExportStream", &stream)
}

async fn transfer(rig: &Rig, source: Any, destination: Any, progress: &str) -> Result<(), Status> {
    let mut client = TransferClient::new(rig.channel.clone());
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
async fn import(rig: &Rig, archive: Vec<u8>, into: &ImageStore) -> Result<Vec<Progress>, Status> {
    let sending = Pipe::open(rig, "import").await.send(archive);
    let events = Pipe::open(rig, "progress").await.events();
    let done = transfer(rig, import_of("import"), types("ImageStore", into), "progress").await;
    sending.await.expect("no panic");
    let events = events.await.expect("no panic");
    done.map(|()| events)
}

async fn export(
    rig: &Rig,
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
fn images(names: &[&str]) -> (Vec<u8>, Vec<String>, String) {
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
    let mut tar = tar::Builder::new(Vec::new());
    for (name, data) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, data.as_bytes())
            .expect("memory has room");
    }
    (tar.into_inner().expect("memory has room"), digests, index_digest)
}

fn prefix(name: &str, [allow_overwrite, add_digest, skip_named_digest]: [bool; 3]) -> Option<ImageReference> {
    Some(ImageReference {
        name: name.to_owned(),
        is_prefix: true,
        allow_overwrite,
        add_digest,
        skip_named_digest,
    })
}

/// One of the cases of containerd's `TestTransferImport`: the index's name, the image's, further names that are saved, and the rule.
type Case = (
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
    Option<ImageReference>,
);

fn cases() -> Vec<Case> {
    const NONE: [bool; 3] = [false; 3];
    let all = "registry.test/all-refs";
    let both: &[&str] = &[
        "registry.test/all-refs@<manifest>",
        "registry.test/all-refs@<index>",
    ];
    vec![
        (
            "Basic",
            "",
            "registry.test/basic:latest",
            &[],
            prefix("unused", [true, false, false]),
        ),
        ("IndexRef", "registry.test/index-ref:latest", "", &[], None),
        (
            "AllRefs",
            "registry.test/all-refs:index",
            "registry.test/all-refs:1",
            &[],
            prefix(all, NONE),
        ),
        (
            "DigestRefs",
            "registry.test/all-refs:index",
            "registry.test/all-refs:1",
            both,
            prefix(all, [false, true, false]),
        ),
        (
            "DigestRefsSkipNamed",
            "registry.test/all-refs:index",
            "registry.test/all-refs:1",
            &both[1..],
            prefix(all, [false, true, true]),
        ),
        (
            "DigestOnly",
            "",
            "",
            &["imported-image@<manifest>", "imported-image@<index>"],
            prefix("imported-image", [false, true, true]),
        ),
        (
            "OverwriteDigestRefs",
            "registry.test/all-refs:index",
            "registry.test/all-refs:1",
            &["someimportname@<manifest>", "someimportname@<index>"],
            prefix("someimportname", [true, true, false]),
        ),
        (
            "TagOnlyRef",
            "",
            "registry.test/myimage thebest",
            &[],
            prefix("registry.test/myimage", NONE),
        ),
        (
            "TagOnlyOverwriteDigestRefs",
            "registry.test/all-refs:index",
            "registry.test/basename latest",
            &[
                "registry.test/basename@<manifest>",
                "registry.test/basename@<index>",
            ],
            prefix("registry.test/basename", [true, true, false]),
        ),
    ]
}

#[tokio::test]
async fn test_transfer_import() {
    for (case, index_name, image, further, reference) in cases() {
        let rig = Rig::start().await;
        let (archive, manifests, index) = images(&[image]);
        let into = ImageStore {
            name: index_name.to_owned(),
            extra_references: reference.into_iter().collect(),
            ..ImageStore::default()
        };
        let events = import(&rig, archive, &into).await.expect(case);
        let mut wanted = BTreeMap::new();
        if !index_name.is_empty() {
            wanted.insert(index_name.to_owned(), &index);
        }
        if !image.is_empty() {
            wanted.insert(image.replace(' ', ":"), &manifests[0]);
        }
        for name in further {
            let (end, digest) = if name.contains("<index>") {
                ("<index>", &index)
            } else {
                ("<manifest>", &manifests[0])
            };
            wanted.insert(name.replace(end, digest), digest);
        }
        let saved: BTreeMap<String, String> = events
            .iter()
            .filter(|event| event.event == "saved")
            .map(|event| {
                (
                    event.name.clone(),
                    event.desc.clone().expect("what it names").digest,
                )
            })
            .collect();
        let wanted: BTreeMap<String, String> = wanted
            .into_iter()
            .map(|(name, digest)| (name, digest.clone()))
            .collect();
        assert_eq!(saved, wanted, "{case}");
        let mut client = ImagesClient::new(rig.channel.clone());
        for (name, digest) in wanted {
            let got = client
                .get(here(GetImageRequest { name }))
                .await
                .expect(case)
                .into_inner();
            let target = got.image.expect("an image").target.expect("a target");
            assert_eq!(target.digest, digest, "{case}");
        }
        let ends = (events.first(), events.last());
        let ends = (
            ends.0.map(|event| &*event.event),
            ends.1.map(|event| &*event.event),
        );
        assert_eq!(ends, (Some("Importing"), Some("Completed import")), "{case}");
    }
}

#[tokio::test]
async fn test_transfer_echo() {
    let rig = Rig::start().await;
    for (case, bytes) in [
        ("ImportExportEchoBig", b"somecontent".repeat(17 * 1024)),
        ("ImportExportEchoSmall", b"somecontent".to_vec()),
        ("ImportExportEchoEmpty", Vec::new()),
    ] {
        let sending = Pipe::open(&rig, "in").await.send(bytes.clone());
        let receiving = Pipe::open(&rig, "out").await.receive();
        let to = export_to("out", ImageExportStream::default());
        transfer(&rig, import_of("in"), to, "").await.expect(case);
        sending.await.expect("no panic");
        let (echoed, end) = receiving.await.expect("no panic");
        assert!(echoed == bytes && end.is_none(), "{case}: {} bytes", echoed.len());
    }
}

#[tokio::test]
async fn an_image_goes_out_and_comes_back() {
    let rig = Rig::start().await;
    let (archive, _, _) = images(&["registry.test/a:1", "registry.test/b:1"]);
    let into = ImageStore {
        extra_references: prefix("unused", [true, false, false]).into_iter().collect(),
        ..ImageStore::default()
    };
    import(&rig, archive, &into).await.expect("imported");
    let both = ["registry.test/a:1", "registry.test/b:1"];
    let exported = export(&rig, &both, ImageExportStream::default())
        .await
        .expect("exported");
    let again = export(&rig, &both, ImageExportStream::default())
        .await
        .expect("exported");
    assert!(exported == again, "the same bytes");
    let other = Rig::start().await;
    let events = import(&other, exported, &into).await.expect("imported");
    let saved: Vec<&str> = events
        .iter()
        .filter(|event| event.event == "saved")
        .map(|event| &*event.name)
        .collect();
    assert_eq!(saved, both);
    let (status, end) = export(&rig, &["none"], ImageExportStream::default())
        .await
        .expect_err("it is not there");
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(end.expect("the stream says so, too").code(), Code::NotFound);
}

#[tokio::test]
async fn an_image_is_tagged() {
    let rig = Rig::start().await;
    let (archive, manifests, _) = images(&["registry.test/a:1"]);
    let into = ImageStore {
        extra_references: prefix("unused", [true, false, false]).into_iter().collect(),
        ..ImageStore::default()
    };
    import(&rig, archive, &into).await.expect("imported");
    let store = |name: &str| {
        let name = name.to_owned();
        types(
            "ImageStore",
            &ImageStore {
                name,
                ..ImageStore::default()
            },
        )
    };
    transfer(&rig, store("registry.test/a:1"), store("b"), "")
        .await
        .expect("tagged");
    transfer(&rig, store("registry.test/a:1"), store("b"), "")
        .await
        .expect("again");
    let mut client = ImagesClient::new(rig.channel.clone());
    let got = client
        .get(here(GetImageRequest { name: "b".to_owned() }))
        .await
        .expect("an image");
    let target = got
        .into_inner()
        .image
        .expect("an image")
        .target
        .expect("a target");
    assert_eq!(target.digest, manifests[0]);
    let (code, text) = refused(transfer(&rig, store("none"), store("c"), "").await);
    assert_eq!(code, Code::NotFound);
    assert!(text.ends_with(": not found"), "{text}");
}

#[tokio::test]
async fn what_is_not_done_is_said_as_containerd_says_it() {
    let rig = Rig::start().await;
    let store = || types("ImageStore", &ImageStore::default());
    let registry = || types("OCIRegistry", &OciRegistry::default());
    for (from, to) in [
        (registry(), store()),
        (store(), registry()),
        (store(), import_of("x")),
        (any("x.Y", &()), store()),
    ] {
        let wanted = format!(
            "method Transfer not implemented for {} to {}",
            from.type_url, to.type_url
        );
        assert_eq!(
            refused(transfer(&rig, from, to, "").await),
            (Code::Unimplemented, wanted)
        );
    }
    let (code, _) = refused(transfer(&rig, import_of("none"), store(), "").await);
    assert_eq!(code, Code::NotFound, "no such stream");
    let (code, _) = refused(transfer(&rig, store(), store(), "none").await);
    assert_eq!(code, Code::NotFound, "no such stream");
    let mut broken = store();
    broken.value = vec![0xff];
    assert_eq!(
        refused(transfer(&rig, broken, store(), "").await).0,
        Code::InvalidArgument
    );
    let mut client = TransferClient::new(rig.channel.clone());
    let nothing = client.transfer(here(TransferRequest::default())).await;
    assert_eq!(refused(nothing.map(|_| ())).0, Code::InvalidArgument);
}

#[tokio::test]
async fn a_client_whose_stream_breaks_is_told_so() {
    let rig = Rig::start().await;
    let (archive, _, _) = images(&["a"]);
    let into = types("ImageStore", &ImageStore::default());
    // The end of the stream in the middle of the archive.
    let sending = Pipe::open(&rig, "short").await.send(archive[..70_000].to_vec());
    let (code, text) = refused(transfer(&rig, import_of("short"), into.clone(), "").await);
    assert_eq!(code, Code::InvalidArgument, "{text}");
    sending.await.expect("no panic");
    // The stream is given up.
    let pipe = Pipe::open(&rig, "gone").await;
    let answer = transfer(&rig, import_of("gone"), into, "");
    let give_up = async {
        let Pipe {
            outgoing,
            mut incoming,
        } = pipe;
        incoming.message().await.expect("whole").expect("a window");
        drop(incoming);
        outgoing
    };
    let (answer, _outgoing) = tokio::join!(answer, give_up);
    assert_eq!(refused(answer).0, Code::Aborted);
}

#[tokio::test]
async fn a_stream_goes_with_its_lease() {
    use transom_api::leases::leases_client::LeasesClient;
    use transom_api::leases::{CreateRequest, DeleteRequest};
    let rig = Rig::start().await;
    let mut leases = LeasesClient::new(rig.channel.clone());
    let create = |id: &str| CreateRequest {
        id: id.to_owned(),
        ..CreateRequest::default()
    };
    for id in ["L", "M"] {
        leases.create(here(create(id))).await.expect("a lease");
    }
    let mut with = Pipe::open_as(&rig, leased("L", ()), "with").await;
    let without = Pipe::open(&rig, "without").await;
    let delete = |id: &str| DeleteRequest {
        id: id.to_owned(),
        sync: true,
    };
    leases.delete(here(delete("M"))).await.expect("deleted");
    // Both are there after a collection, one of them until its lease goes.
    let echo = b"x".to_vec();
    leases.delete(here(delete("L"))).await.expect("deleted");
    let ended = timeout(NEVER, with.incoming.message()).await.expect("it ends");
    assert_eq!(ended.expect("a good end"), None);
    let sending = without.send(echo.clone());
    let receiving = Pipe::open(&rig, "out").await.receive();
    let to = export_to("out", ImageExportStream::default());
    transfer(&rig, import_of("without"), to, "")
        .await
        .expect("it is still there");
    sending.await.expect("no panic");
    assert_eq!(receiving.await.expect("no panic").0, echo);
}
