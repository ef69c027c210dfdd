//! Labels of content: how an update changes them, and what it refuses; what the header of a lease refuses.

use std::collections::BTreeMap;

use tonic::{Code, Status};
use transom_api::content::{Info, UpdateRequest, WriteContentRequest};
use transom_api::leases::leases_client::LeasesClient;
use transom_api::leases::{CreateRequest, DeleteResourceRequest, ListResourcesRequest, Resource};

use crate::blobs::{Write, bytes, client, commit, info, put, stat};
use crate::rig::{Rig, here, leased, refused, sha256};

type Labels = BTreeMap<String, String>;

fn labels<const N: usize>(pairs: [(&str, &str); N]) -> Labels {
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

async fn update(rig: &Rig, digest: &str, labels: Labels, paths: &[&str]) -> Result<Labels, Status> {
    let info = Info {
        digest: digest.to_owned(),
        labels,
        ..Info::default()
    };
    let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
    let request = UpdateRequest {
        info: Some(info),
        update_mask: (!paths.is_empty()).then_some(prost_types::FieldMask { paths }),
    };
    let answer = client(rig).update(here(request)).await?.into_inner();
    Ok(answer.info.expect("the record").labels)
}

#[tokio::test]
async fn labels_are_set_replaced_and_removed() {
    let rig = Rig::start().await;
    let digest = put(&rig, b"abc").await;
    let before = info(&rig, &digest).await.expect("it is there");
    let key = "example.org/what.is";
    let path = format!("labels.{key}");
    let set = async |labels, paths: &[&str]| update(&rig, &digest, labels, paths).await.expect("a change");
    let all = set(labels([("a", "1"), (key, "x")]), &[]).await;
    assert_eq!(
        all,
        labels([("a", "1"), (key, "x")]),
        "without a mask all are replaced"
    );
    let one = set(labels([(key, "y"), ("b", "not named")]), &[&path]).await;
    assert_eq!(one, labels([("a", "1"), (key, "y")]));
    assert_eq!(
        set(labels([("a", "")]), &["labels.a"]).await,
        labels([(key, "y")])
    );
    assert_eq!(
        set(Labels::new(), &[&path]).await,
        Labels::new(),
        "an absent value removes it, too"
    );
    let last = set(labels([("c", "3")]), &["labels"]).await;
    assert_eq!(last, labels([("c", "3")]));
    let after = info(&rig, &digest).await.expect("it is there");
    assert_eq!(after.labels, last);
    assert_eq!((after.size, after.created_at), (before.size, before.created_at));
    assert!(
        after.updated_at.map(|time| (time.seconds, time.nanos))
            > before.updated_at.map(|time| (time.seconds, time.nanos))
    );
}

#[tokio::test]
async fn what_an_update_refuses() {
    let rig = Rig::start().await;
    let digest = put(&rig, b"abc").await;
    let missing = sha256(b"nothing");
    let long = labels([("k", &"v".repeat(5000))]);
    let rows = [
        (
            update(&rig, "xx", Labels::new(), &[]).await,
            Code::InvalidArgument,
            "\"xx\" failed validation".to_owned(),
        ),
        (
            update(&rig, &digest, Labels::new(), &["size"]).await,
            Code::InvalidArgument,
            format!("cannot update \"size\" field on content info \"{digest}\": invalid argument"),
        ),
        (
            update(&rig, &missing, Labels::new(), &["labels"]).await,
            Code::NotFound,
            format!("content digest {missing}: not found"),
        ),
        (
            update(&rig, &digest, long, &["labels.k"]).await,
            Code::InvalidArgument,
            "info.Labels: label key and value length (5001 bytes) greater than maximum size (4096 bytes), key: k: \
             invalid argument"
                .to_owned(),
        ),
    ];
    for (answer, code, text) in rows {
        assert_eq!(refused(answer), (code, text));
    }
}

#[tokio::test]
async fn a_commit_with_a_label_that_is_too_long_keeps_the_bytes() {
    let rig = Rig::start().await;
    let (mut write, _) = Write::open(&rig, stat("r")).await.expect("a new ref");
    write.ask(bytes(0, b"abc")).await.expect("bytes");
    let long = WriteContentRequest {
        labels: labels([("k", &"v".repeat(5000))]),
        ..commit(3, 3, "")
    };
    let (code, text) = refused(write.ask(long).await);
    assert_eq!(code, Code::InvalidArgument);
    assert!(
        text.starts_with("info.Labels: label key and value length (5001 bytes)"),
        "{text}"
    );
    let (_, first) = Write::open(&rig, stat("r")).await.expect("the ref is kept");
    assert_eq!(first.offset, 3);
}

#[tokio::test]
async fn a_lease_that_is_not_there_keeps_nothing() {
    let rig = Rig::start().await;
    let mut stream = client(&rig)
        .write(leased("none", tokio_stream::once(stat("r"))))
        .await
        .expect("the stream opens")
        .into_inner();
    let gone = (Code::NotFound, "lease does not exist: not found".to_owned());
    assert_eq!(refused(stream.message().await), gone);
    let mut leases = LeasesClient::new(rig.channel.clone());
    let missing = (Code::NotFound, "lease \"none\": not found".to_owned());
    let list = ListResourcesRequest {
        id: "none".to_owned(),
    };
    assert_eq!(refused(leases.list_resources(here(list)).await), missing);
    let remove = |id: &str| DeleteResourceRequest {
        id: id.to_owned(),
        resource: Some(Resource {
            id: sha256(b"abc"),
            r#type: "content".to_owned(),
        }),
    };
    assert_eq!(
        refused(leases.delete_resource(here(remove("none"))).await),
        missing
    );
    let create = CreateRequest {
        id: "L".to_owned(),
        ..CreateRequest::default()
    };
    leases.create(here(create)).await.expect("a lease");
    leases
        .delete_resource(here(remove("L")))
        .await
        .expect("what it does not have is removed all the same");
}
