//! Transfers as containerd's client of version 2 asks for them, with its cases of `TestTransferImport` and `TestTransferEcho`.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::timeout;
use tonic::Code;
use transom_api::images::GetImageRequest;
use transom_api::images::images_client::ImagesClient;
use transom_api::leases::leases_client::LeasesClient;
use transom_api::leases::{CreateRequest, DeleteRequest, ListRequest};
use transom_api::transfer::TransferRequest;
use transom_api::transfer::transfer_client::TransferClient;
use transom_api::transfer_types::{Data, ImageExportStream, ImageReference, ImageStore, OciRegistry};

use crate::rig::{Rig, here, leased, refused, sha256};
use crate::transfer_client::{
    MAX_READ, NEVER, Pipe, any, export, export_to, images, import, import_of, transfer, types, unpackable,
};

pub(crate) fn prefix(
    name: &str,
    [allow_overwrite, add_digest, skip_named_digest]: [bool; 3],
) -> Option<ImageReference> {
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
        (registry(), registry()),
        (import_of("x"), registry()),
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
        drop((incoming, outgoing));
    };
    let (answer, ()) = tokio::join!(answer, give_up);
    // Where the end is seen before the answer has gone, it is an archive of no bytes.
    let (code, text) = refused(answer);
    assert!(matches!(code, Code::Aborted | Code::InvalidArgument), "{text}");
}

#[tokio::test]
async fn a_stream_goes_with_its_lease() {
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

/// As `ctr images import` of version 2 asks for it: unpacked for this machine, into the default snapshotter. Needs root.
#[tokio::test]
async fn an_imported_image_is_unpacked() {
    use transom_api::snapshots::StatSnapshotRequest;
    use transom_api::snapshots::snapshots_client::SnapshotsClient;
    use transom_api::transfer_types::UnpackConfiguration;
    if !transom_tests::require_root() {
        return;
    }
    let rig = Rig::start().await;
    let (archive, layers) = unpackable();
    let mut into = ImageStore {
        extra_references: prefix("unused", [true, false, false]).into_iter().collect(),
        unpacks: vec![UnpackConfiguration {
            platform: None,
            snapshotter: String::new(),
        }],
        ..ImageStore::default()
    };
    let events = import(&rig, archive.clone(), &into).await.expect("imported");
    let extracted = events.iter().filter(|event| event.event == "extracted");
    assert_eq!(extracted.count(), layers.len());
    let top = layers[1..].iter().fold(layers[0].clone(), |below, layer| {
        sha256(format!("{below} {layer}").as_bytes())
    });
    let mut snapshots = SnapshotsClient::new(rig.channel.clone());
    let stat = StatSnapshotRequest {
        snapshotter: "overlayfs".to_owned(),
        key: top,
    };
    let info = snapshots
        .stat(here(stat))
        .await
        .expect("it is there")
        .into_inner()
        .info;
    let labels = info.expect("what is known").labels;
    assert_eq!(labels["containerd.io/snapshot/diff-id"], layers[1]);
    into.unpacks[0].snapshotter = "none".to_owned();
    let (code, text) = refused(import(&rig, archive, &into).await);
    assert_eq!(code, Code::InvalidArgument);
    assert!(text.contains("snapshotter not loaded: none"), "{text}");
}

/// The ids of all leases.
pub(crate) async fn leases_of(rig: &Rig) -> Vec<String> {
    let mut client = LeasesClient::new(rig.channel.clone());
    let listed = client.list(here(ListRequest::default())).await.expect("a list");
    listed
        .into_inner()
        .leases
        .into_iter()
        .map(|lease| lease.id)
        .collect()
}

/// The daemon does not say when it has noticed: it is asked until it has.
async fn until(rig: &Rig, leases: usize) {
    let look = async {
        while leases_of(rig).await.len() != leases {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(NEVER, look).await.expect("it happens");
}

#[tokio::test]
async fn a_client_that_goes_cancels_its_import() {
    let rig = Rig::start().await;
    let (archive, _, _) = images(&["a"]);
    let mut pipe = Pipe::open(&rig, "import").await;
    let mut client = TransferClient::new(rig.channel.clone());
    let request = TransferRequest {
        source: Some(import_of("import")),
        destination: Some(types("ImageStore", &ImageStore::default())),
        options: None,
    };
    let importing = tokio::spawn(async move { client.transfer(here(request)).await.map(|_| ()) });
    pipe.incoming.message().await.expect("whole").expect("a window");
    let data = Data {
        data: archive[..MAX_READ].to_vec().into(),
    };
    pipe.outgoing
        .send(types("Data", &data))
        .await
        .expect("it is taken");
    until(&rig, 1).await;
    importing.abort();
    until(&rig, 0).await;
    let ended = timeout(NEVER, pipe.incoming.message())
        .await
        .expect("the stream ends, too");
    assert_eq!(ended.expect("a good end"), None);
}
