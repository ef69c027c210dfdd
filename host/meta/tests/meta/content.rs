//! Content of namespaces: containerd's own cases, then refs, leases, labels and grace.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use transom_content::Store;
use transom_meta::content::Record;
use transom_meta::filter::{Filters, Plugins};
use transom_meta::kv::memory::Memory;
use transom_meta::leases::{CONTENT, INGESTS, Resource};
use transom_meta::metadata::Sharing;
use transom_meta::{Caller, Class, Error, Labels, Metadata, Options};
use transom_oci::{Algorithm, Digest};

use crate::records::{caller, digest, keys, labels, metadata, namespace, refused, texts};

async fn with_options(options: Options) -> (Metadata, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Store::open(dir.path().join("content")).unwrap();
    let kv = Arc::new(Memory::new());
    (Metadata::open(kv, blobs, options).await.unwrap(), dir)
}

/// Writes a blob under a ref of its own.
pub(crate) async fn put(
    metadata: &Metadata,
    caller: &Caller,
    text: &str,
    labels: Labels,
) -> Result<Record, Error> {
    let mut writer = metadata
        .ingest(caller, &format!("ref {text}"), None, None)
        .await?;
    writer.write(Bytes::copy_from_slice(text.as_bytes())).await?;
    writer.commit(None, None, labels).await
}

async fn text_of(metadata: &Metadata, caller: &Caller, text: &str) -> String {
    let blob = metadata.content_reader(caller, &digest(text)).await.unwrap();
    let mut bytes = vec![0; usize::try_from(blob.size()).unwrap()];
    assert_eq!(blob.read_at(&mut bytes, 0).unwrap(), bytes.len());
    String::from_utf8(bytes).unwrap()
}

async fn listed(metadata: &Metadata, caller: &Caller, filters: &[&str]) -> Vec<Digest> {
    let filters: Vec<String> = filters.iter().map(|text| (*text).to_owned()).collect();
    let filters = Arc::new(Filters::compile(&filters, &Plugins::default()).unwrap());
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = metadata
            .content_list_page(caller, &filters, after.as_ref())
            .await
            .unwrap();
        found.extend(page.into_iter().map(|record| record.digest));
        match next {
            None => return found,
            next => after = next,
        }
    }
}

#[tokio::test]
async fn a_blob_is_content_of_the_namespace_that_wrote_it() {
    let (metadata, _dir) = metadata().await;
    let (ours, theirs) = (caller(), Caller::new(namespace("other")));
    let made = put(&metadata, &ours, "hello", labels([("a", "1"), ("empty", "")]))
        .await
        .unwrap();
    assert_eq!(made.digest, digest("hello"));
    assert_eq!((made.size, &made.labels), (5, &labels([("a", "1")])));
    assert_eq!(metadata.content_info(&ours, &made.digest).await.unwrap(), made);
    assert_eq!(text_of(&metadata, &ours, "hello").await, "hello");
    let unknown = (Class::NotFound, format!("content digest {}", made.digest));
    assert_eq!(
        refused(metadata.content_info(&theirs, &made.digest).await),
        unknown
    );
    assert_eq!(
        refused(metadata.content_reader(&theirs, &made.digest).await),
        unknown
    );
    assert_eq!(
        refused(metadata.content_delete(&theirs, &made.digest).await),
        unknown
    );
    assert_eq!(
        refused(put(&metadata, &ours, "hello", Labels::new()).await),
        (Class::AlreadyExists, format!("content {}", made.digest))
    );
    // The ingest is gone with the refusal.
    assert_eq!(metadata.ingest_statuses(&ours, &[]).await.unwrap(), []);
    assert_eq!(metadata.blobs().statuses(|_| true).unwrap().count(), 0);
    metadata.content_delete(&ours, &made.digest).await.unwrap();
    assert_eq!(refused(metadata.content_info(&ours, &made.digest).await), unknown);
}

#[tokio::test]
async fn labels_are_changed_whole_or_one_by_one() {
    let (metadata, _dir) = metadata().await;
    let caller = caller();
    let made = put(&metadata, &caller, "blob", labels([("a", "1"), ("b/c.d", "2")]))
        .await
        .unwrap();
    let update = |new: Labels, paths: Vec<String>| {
        let (metadata, caller, digest) = (metadata.clone(), caller.clone(), made.digest.clone());
        async move { metadata.content_update(&caller, &digest, new, &paths).await }
    };
    let one = update(labels([("b/c.d", "3"), ("x", "y")]), texts(["labels.b/c.d"]))
        .await
        .unwrap();
    assert_eq!(one.labels, labels([("a", "1"), ("b/c.d", "3")]));
    assert!(one.updated > made.updated && one.created == made.created);
    let removed = update(Labels::new(), texts(["labels.a"])).await.unwrap();
    assert_eq!(removed.labels, labels([("b/c.d", "3")]));
    let all = update(labels([("n", "1"), ("none", "")]), Vec::new())
        .await
        .unwrap();
    assert_eq!(all.labels, labels([("n", "1")]));
    let field = update(labels([("m", "1")]), texts(["labels"])).await.unwrap();
    assert_eq!(field.labels, labels([("m", "1")]));
    let text = format!(
        "cannot update \"size\" field on content info {:?}",
        made.digest.as_str()
    );
    assert_eq!(
        refused(update(Labels::new(), texts(["size"])).await),
        (Class::InvalidArgument, text)
    );
    let long = "v".repeat(5000);
    let (class, text) = refused(update(labels([("k", &long)]), Vec::new()).await);
    assert_eq!(class, Class::InvalidArgument);
    assert_eq!(
        text,
        "info.Labels: label key and value length (5001 bytes) greater than maximum size (4096 bytes), key: k"
    );
}

#[tokio::test]
async fn lists_are_in_the_order_of_digests_and_follow_their_filters() {
    let (metadata, _dir) = metadata().await;
    let caller = caller();
    let mut made = Vec::new();
    // More than a page.
    for number in 0..600 {
        let parity = if number % 2 == 0 { "even" } else { "odd" };
        let text = number.to_string();
        made.push(
            put(&metadata, &caller, &text, labels([("parity", parity)]))
                .await
                .unwrap(),
        );
    }
    made.sort_by(|a, b| a.digest.as_str().cmp(b.digest.as_str()));
    let digests = |records: &mut dyn Iterator<Item = &Record>| -> Vec<Digest> {
        records.map(|record| record.digest.clone()).collect()
    };
    assert_eq!(listed(&metadata, &caller, &[]).await, digests(&mut made.iter()));
    let even = digests(&mut made.iter().filter(|record| record.labels["parity"] == "even"));
    assert_eq!(listed(&metadata, &caller, &["labels.parity==even"]).await, even);
    let one = format!("digest=={}", made[7].digest);
    assert_eq!(
        listed(&metadata, &caller, &[&one]).await,
        [made[7].digest.clone()]
    );
}

#[tokio::test]
async fn a_lease_keeps_what_is_ingested_found_and_open() {
    let (metadata, _dir) = metadata().await;
    let namespace = namespace("testing");
    for id in ["one", "two"] {
        metadata
            .create_lease(&namespace, id, Labels::new())
            .await
            .unwrap();
    }
    let one = caller().with_lease("one");
    let two = caller().with_lease("two");
    let resource = |kind: &str, id: &str| Resource {
        kind: kind.to_owned(),
        id: id.to_owned(),
    };
    let blob = digest("blob").to_string();

    let mut writer = metadata.ingest(&one, "ref blob", None, None).await.unwrap();
    assert_eq!(
        metadata.resources(&namespace, "one").await.unwrap(),
        [resource(INGESTS, "ref blob")]
    );
    writer.write(Bytes::from_static(b"blob")).await.unwrap();
    writer
        .commit(Some(4), Some(&digest("blob")), Labels::new())
        .await
        .unwrap();
    assert_eq!(
        metadata.resources(&namespace, "one").await.unwrap(),
        [resource(CONTENT, &blob)]
    );
    // Whoever finds it there keeps it too: when opening, and when committing.
    let refusal = (Class::AlreadyExists, format!("content {blob}"));
    assert_eq!(
        refused(metadata.ingest(&two, "again", None, Some(&digest("blob"))).await),
        refusal
    );
    assert_eq!(
        metadata.resources(&namespace, "two").await.unwrap(),
        [resource(CONTENT, &blob)]
    );
    metadata.delete_lease(&namespace, "two").await.unwrap();
    metadata
        .create_lease(&namespace, "two", Labels::new())
        .await
        .unwrap();
    assert_eq!(
        refused(put(&metadata, &two, "blob", Labels::new()).await),
        refusal
    );
    assert_eq!(
        metadata.resources(&namespace, "two").await.unwrap(),
        [resource(CONTENT, &blob)]
    );
    metadata.content_delete(&two, &digest("blob")).await.unwrap();
    assert_eq!(metadata.resources(&namespace, "two").await.unwrap(), []);

    let nobody = caller().with_lease("three");
    let unknown = (Class::NotFound, "lease does not exist".to_owned());
    assert_eq!(refused(metadata.ingest(&nobody, "r", None, None).await), unknown);
    // A lease that goes while an ingest is open: the bytes stay for another try.
    let mut writer = metadata.ingest(&one, "left", None, None).await.unwrap();
    writer.write(Bytes::from_static(b"left")).await.unwrap();
    metadata.delete_lease(&namespace, "one").await.unwrap();
    assert_eq!(refused(writer.commit(None, None, Labels::new()).await), unknown);
    assert_eq!(writer.status().unwrap().offset, 4);
}

#[tokio::test]
async fn a_failed_commit_keeps_the_bytes() {
    let (metadata, _dir) = metadata().await;
    let caller = caller();
    let mut writer = metadata.ingest(&caller, "r6", None, None).await.unwrap();
    writer.write(Bytes::from_static(b"abc")).await.unwrap();
    assert_eq!(
        refused(writer.commit(Some(99), None, Labels::new()).await),
        (
            Class::FailedPrecondition,
            "\"r6\" failed size validation: 3 != 99".to_owned()
        )
    );
    let wrong = digest("other");
    assert_eq!(
        refused(writer.commit(None, Some(&wrong), Labels::new()).await),
        (
            Class::FailedPrecondition,
            format!("unexpected commit digest {}, expected {wrong}", digest("abc"))
        )
    );
    let long = "v".repeat(5000);
    let (class, _) = refused(writer.commit(None, None, labels([("k", &long)])).await);
    assert_eq!(class, Class::InvalidArgument);
    writer.close().await.unwrap();

    let mut writer = metadata.ingest(&caller, "r6", None, None).await.unwrap();
    assert_eq!(writer.status().unwrap().offset, 3);
    assert_eq!(writer.digest().unwrap(), digest("abc"));
    // Another algorithm than the running one.
    let sha512 = Digest::of(Algorithm::Sha512, b"abc");
    let made = writer
        .commit(Some(3), Some(&sha512), Labels::new())
        .await
        .unwrap();
    assert_eq!(made.digest, sha512);
    assert_eq!(metadata.content_info(&caller, &sha512).await.unwrap(), made);
}

#[tokio::test]
async fn two_namespaces_write_one_ref_at_the_same_time() {
    let (metadata, _dir) = metadata().await;
    let (ours, theirs) = (caller(), Caller::new(namespace("other")));
    let mut a = metadata.ingest(&ours, "ref", None, None).await.unwrap();
    let mut b = metadata.ingest(&theirs, "ref", Some(2), None).await.unwrap();
    let (class, text) = refused(metadata.ingest(&ours, "ref", None, None).await);
    assert_eq!(class, Class::Unavailable);
    assert!(
        text.starts_with("ref testing/") && text.contains("/ref locked"),
        "{text}"
    );
    a.write(Bytes::from_static(b"a")).await.unwrap();
    b.write(Bytes::from_static(b"bb")).await.unwrap();
    let status = metadata.ingest_status(&theirs, "ref").await.unwrap();
    assert_eq!((status.offset, status.total), (2, Some(2)));
    let statuses = metadata
        .ingest_statuses(&ours, &texts(["ref~=^re"]))
        .await
        .unwrap();
    assert_eq!(statuses.len(), 1);
    assert_eq!(statuses[0].reference, "ref");
    assert_eq!(
        metadata
            .ingest_statuses(&ours, &texts(["ref==no"]))
            .await
            .unwrap(),
        []
    );

    metadata.ingest_abort(&ours, "ref").await.unwrap();
    let (class, _) = refused(a.write(Bytes::from_static(b"a")).await);
    assert_eq!(class, Class::Aborted);
    assert_eq!(
        refused(metadata.ingest_abort(&ours, "ref").await),
        (Class::NotFound, "reference ref".to_owned())
    );
    assert_eq!(
        refused(metadata.ingest_status(&ours, "ref").await),
        (
            Class::NotFound,
            "could not get status for ref \"ref\": reference ref".to_owned()
        )
    );
    b.commit(Some(2), None, Labels::new()).await.unwrap();
    assert_eq!(text_of(&metadata, &theirs, "bb").await, "bb");
}

#[tokio::test]
async fn shared_blobs_need_no_bytes() {
    let (metadata, _dir) = metadata().await;
    let (ours, theirs) = (caller(), Caller::new(namespace("other")));
    put(&metadata, &ours, "shared", labels([("ours", "1")]))
        .await
        .unwrap();
    let name = digest("shared");
    let mut writer = metadata.ingest(&theirs, "r", Some(6), Some(&name)).await.unwrap();
    let status = writer.status().unwrap();
    assert_eq!(
        (status.offset, status.total, writer.digest().unwrap()),
        (6, Some(6), name.clone())
    );
    let listed = metadata.ingest_status(&theirs, "r").await.unwrap();
    assert_eq!((listed.offset, listed.expected), (6, Some(name.clone())));
    assert_eq!(
        refused(writer.commit(Some(5), Some(&name), Labels::new()).await).1,
        "\"r\" failed size validation: 6 != 5"
    );
    let made = writer
        .commit(Some(6), Some(&name), labels([("theirs", "1")]))
        .await
        .unwrap();
    assert_eq!(made.labels, labels([("theirs", "1")]));
    assert_eq!(text_of(&metadata, &theirs, "shared").await, "shared");
    assert!(
        !keys(&metadata)
            .await
            .iter()
            .any(|key| key.starts_with("e/") || key.starts_with("g/"))
    );

    // More bytes make it a blob of its own, and so does starting over.
    let third = Caller::new(namespace("third"));
    let mut writer = metadata.ingest(&third, "r", None, Some(&name)).await.unwrap();
    writer.write(Bytes::from_static(b" and more")).await.unwrap();
    let more = writer.commit(None, None, Labels::new()).await.unwrap();
    assert_eq!(more.digest, digest("shared and more"));
    let mut writer = metadata.ingest(&third, "r", None, Some(&name)).await.unwrap();
    writer.truncate().await.unwrap();
    writer.write(Bytes::from_static(b"new")).await.unwrap();
    assert_eq!(
        writer.commit(None, None, Labels::new()).await.unwrap().digest,
        digest("new")
    );
    // A total that is not its size: then bytes are wanted.
    let writer = metadata.ingest(&third, "r", Some(7), Some(&name)).await.unwrap();
    assert_eq!(writer.status().unwrap().offset, 0);
}

#[tokio::test]
async fn isolated_namespaces_send_their_bytes_unless_the_owner_shares() {
    let options = Options {
        sharing: Sharing::Isolated,
        ..Options::default()
    };
    let (metadata, _dir) = with_options(options).await;
    let (ours, theirs) = (caller(), Caller::new(namespace("other")));
    put(&metadata, &ours, "mine", Labels::new()).await.unwrap();
    let name = digest("mine");
    let mut writer = metadata.ingest(&theirs, "r", Some(4), Some(&name)).await.unwrap();
    assert_eq!(writer.status().unwrap().offset, 0);
    writer.write(Bytes::from_static(b"mine")).await.unwrap();
    writer.commit(Some(4), Some(&name), Labels::new()).await.unwrap();
    assert_eq!(metadata.blobs().walk().unwrap().count(), 1, "kept once");

    let shareable = labels([("containerd.io/namespace.shareable", "true")]);
    metadata
        .update_namespace(
            &ours.namespace,
            shareable,
            &texts(["labels.containerd.io/namespace.shareable"]),
        )
        .await
        .unwrap();
    let third = Caller::new(namespace("third"));
    let writer = metadata.ingest(&third, "r", Some(4), Some(&name)).await.unwrap();
    assert_eq!(writer.status().unwrap().offset, 4);
}

#[tokio::test]
async fn what_nobody_leases_gets_some_time_and_only_once() {
    let options = Options {
        grace: Duration::from_secs(60),
        ..Options::default()
    };
    let (metadata, _dir) = with_options(options).await;
    let grace = || async {
        let keys = keys(&metadata).await;
        keys.into_iter()
            .filter(|key| key.starts_with("y/"))
            .collect::<Vec<_>>()
    };
    put(&metadata, &caller(), "alone", Labels::new()).await.unwrap();
    assert_eq!(grace().await, [format!("y/testing/{}", digest("alone"))]);
    let root = labels([("containerd.io/gc.root", "now")]);
    put(&metadata, &caller(), "root", root).await.unwrap();
    metadata
        .create_lease(&namespace("testing"), "lease", Labels::new())
        .await
        .unwrap();
    put(&metadata, &caller().with_lease("lease"), "leased", Labels::new())
        .await
        .unwrap();
    assert_eq!(grace().await.len(), 1);

    // What it refers to has had its time when it goes.
    let parent = labels([("containerd.io/gc.ref.content.0", digest("alone").as_str())]);
    put(&metadata, &caller(), "parent", parent).await.unwrap();
    assert_eq!(grace().await.len(), 2);
    metadata
        .content_delete(&caller(), &digest("parent"))
        .await
        .unwrap();
    assert_eq!(grace().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_of_one_blob_agree() {
    let (metadata, _dir) = metadata().await;
    let tasks: Vec<_> = (0..64)
        .map(|number| {
            let metadata = metadata.clone();
            tokio::spawn(async move {
                let caller = Caller::new(namespace(&format!("n{}", number % 4)));
                let mut writer = metadata
                    .ingest(&caller, &format!("r{number}"), None, None)
                    .await
                    .unwrap();
                writer.write(Bytes::from_static(b"the same")).await.unwrap();
                match writer.commit(Some(8), None, Labels::new()).await {
                    Ok(_) => true,
                    Err(error) if error.class() == Class::AlreadyExists => false,
                    Err(error) => panic!("{error}"),
                }
            })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        won += usize::from(task.await.unwrap());
    }
    assert_eq!(won, 4, "one for each namespace");
    assert_eq!(metadata.blobs().walk().unwrap().count(), 1);
    assert_eq!(metadata.blobs().statuses(|_| true).unwrap().count(), 0);
    let left = keys(&metadata).await;
    assert!(!left.iter().any(|key| key.starts_with("g/")), "{left:?}");
}
