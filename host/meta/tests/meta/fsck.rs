//! A check finds what does not fit together, repairs it, and then finds nothing.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use transom_content::{IngestOptions, Store};
use transom_meta::fsck::{Action, Options, Report, check};
use transom_meta::kv::memory::Memory;
use transom_meta::kv::{Durability, Kv, Range, Transaction, Write};
use transom_meta::leases::IMAGES;
use transom_meta::{Caller, Labels, Metadata};
use transom_oci::{Algorithm, Digest};

use crate::content::put;
use crate::records::{caller, digest, image, labels, metadata, namespace};

const EVERYTHING: Options = Options {
    verify: true,
    repair: true,
    margin: Duration::ZERO,
    snapshotters: Vec::new(),
    progress: None,
};

/// Two namespaces with content, an image, a lease, and ingests with and without bytes of their own.
async fn filled() -> (Metadata, TempDir) {
    let (metadata, dir) = metadata().await;
    for text in ["one", "two", "three"] {
        put(&metadata, &caller(), text, labels([("a", "1")]))
            .await
            .unwrap();
    }
    let other = Caller::new(namespace("other"));
    put(&metadata, &other, "one", Labels::new()).await.unwrap();
    put(&metadata, &other, "theirs", Labels::new()).await.unwrap();
    metadata.create_image(&caller(), image("i"), None).await.unwrap();
    let name = namespace("testing");
    metadata.create_lease(&name, "l", Labels::new()).await.unwrap();
    metadata.add_resource(&name, "l", IMAGES, "i").await.unwrap();
    let mut writer = metadata.ingest(&caller(), "open", None, None).await.unwrap();
    writer.write(Bytes::from_static(b"some")).await.unwrap();
    writer.close().await.unwrap();
    let (caller, theirs) = (caller(), digest("theirs"));
    let shared = metadata.ingest(&caller, "shared", None, Some(&theirs));
    shared.await.unwrap().close().await.unwrap();
    (metadata, dir)
}

async fn look(metadata: &Metadata, options: &Options) -> Report {
    check(metadata.kv(), metadata.blobs(), options).await.unwrap()
}

/// The kinds of problems, and how many of each.
fn kinds(report: &Report) -> Vec<(&'static str, u64)> {
    report.problems.clone().into_iter().collect()
}

async fn write(metadata: &Metadata, writes: Vec<Write>) {
    let transaction = Transaction {
        conditions: Vec::new(),
        writes,
        durability: Durability::Durable,
    };
    metadata.kv().commit(transaction).await.unwrap();
}

async fn delete(metadata: &Metadata, key: String) {
    let key = Bytes::from(key);
    assert!(metadata.kv().get(&key).await.unwrap().is_some(), "{key:?}");
    write(metadata, vec![Write::Delete { key }]).await;
}

async fn set(metadata: &Metadata, key: String, value: &'static [u8]) {
    let (key, value) = (Bytes::from(key), Bytes::from_static(value));
    write(metadata, vec![Write::Put { key, value }]).await;
}

/// Writes into a blob what it should not hold.
fn overwrite(metadata: &Metadata, digest: &Digest, bytes: &[u8]) {
    let path = metadata.blobs().blob_path(digest);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(&path, bytes).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o444)).unwrap();
}

/// Removes the bytes of the ingest that has some.
fn abort(metadata: &Metadata) {
    let mut ingests = metadata.blobs().statuses(|_| true).unwrap();
    let found = ingests.next().unwrap().unwrap();
    metadata.blobs().abort(&found.reference).unwrap();
}

fn orphan(metadata: &Metadata, bytes: &[u8]) {
    let mut writer = metadata
        .blobs()
        .ingest("by hand", IngestOptions::default())
        .unwrap();
    writer.write(bytes).unwrap();
    writer.commit(None, None).unwrap();
}

#[tokio::test]
async fn what_the_daemon_leaves_is_whole() {
    let (metadata, _dir) = filled().await;
    let report = look(&metadata, &EVERYTHING).await;
    assert_eq!(kinds(&report), []);
    assert!(report.is_clean());
    assert!(report.leftovers.found.is_empty());
    let counts = report.counts;
    assert_eq!((counts.namespaces, counts.images, counts.content), (2, 1, 5));
    assert_eq!((counts.ingests, counts.leases), (2, 1));
    assert_eq!((counts.blobs, counts.bytes, counts.hashed), (4, 17, 4));
    assert_eq!(counts.records, 25);
}

/// Breaks something; what a check then calls it.
type Break = (
    &'static [(&'static str, u64)],
    fn(Metadata) -> transom_meta::kv::Pending<'static, ()>,
);

macro_rules! broken {
    ($kinds:expr, |$metadata:ident| $work:expr) => {
        ($kinds, |$metadata| Box::pin(async move { $work }))
    };
}

const BROKEN: &[Break] = &[
    broken!(&[("missing-blob", 2)], |m| m
        .blobs()
        .delete(&digest("one"))
        .unwrap()),
    broken!(&[("empty-ingest", 1), ("missing-blob", 1)], |m| m
        .blobs()
        .delete(&digest("theirs"))
        .unwrap()),
    broken!(&[("damaged-blob", 1)], |m| overwrite(&m, &digest("two"), b"owt")),
    broken!(&[("damaged-blob", 1)], |m| overwrite(
        &m,
        &digest("two"),
        b"longer"
    )),
    broken!(&[("damaged-blob", 1)], |m| overwrite(&m, &digest("two"), b"")),
    broken!(&[("orphan-blob", 1)], |m| orphan(&m, b"orphan")),
    broken!(&[("no-holder", 1)], |m| delete(
        &m,
        format!("b/{}/testing", digest("two"))
    )
    .await),
    broken!(&[("dangling-record", 2), ("orphan-blob", 1)], |m| delete(
        &m,
        format!("c/testing/{}", digest("two"))
    )
    .await),
    broken!(&[("no-expecter", 1)], |m| delete(
        &m,
        format!("e/{}/testing/shared", digest("theirs"))
    )
    .await),
    broken!(&[("dangling-record", 1)], |m| delete(
        &m,
        "g/testing/shared".to_owned()
    )
    .await),
    broken!(&[("orphan-ingest", 1)], |m| delete(
        &m,
        "g/testing/open".to_owned()
    )
    .await),
    broken!(&[("empty-ingest", 1)], |m| abort(&m)),
    broken!(&[("dangling-record", 1)], |m| delete(
        &m,
        "l/testing/l".to_owned()
    )
    .await),
    broken!(&[("no-namespace", 1)], |m| delete(&m, "n/testing".to_owned())
        .await),
    broken!(&[("sequence", 1)], |m| delete(&m, "q".to_owned()).await),
    broken!(&[("unreadable-record", 1)], |m| set(
        &m,
        "n/other".to_owned(),
        b"\x01\xff"
    )
    .await),
    broken!(&[("unreadable-record", 1)], |m| set(
        &m,
        "i/testing/i".to_owned(),
        b""
    )
    .await),
    broken!(&[("unreadable-record", 1)], |m| set(
        &m,
        format!("c/testing/{}", digest("one")),
        b"\x00"
    )
    .await),
    broken!(&[("wrong-size", 1)], |m| set(
        &m,
        format!("c/testing/{}", digest("one")),
        b"\x01\x10\x05"
    )
    .await),
];

#[tokio::test]
async fn each_kind_of_damage_is_found_and_repaired() {
    for (number, (wanted, damage)) in BROKEN.iter().enumerate() {
        let (metadata, _dir) = filled().await;
        damage(metadata.clone()).await;
        let before = metadata.kv().range(&Range::prefix(""), 1000).await.unwrap();
        let only_look = Options {
            repair: false,
            ..EVERYTHING
        };
        let seen = look(&metadata, &only_look).await;
        assert_eq!(kinds(&seen), *wanted, "{number}: {:?}", seen.findings);
        assert!(seen.findings.iter().all(|found| found.action == Action::None));
        let after = metadata.kv().range(&Range::prefix(""), 1000).await.unwrap();
        assert_eq!(before, after, "{number}: a look changes nothing");

        let repaired = look(&metadata, &EVERYTHING).await;
        assert_eq!(kinds(&repaired), *wanted, "{number}");
        assert_eq!(repaired.left, 0, "{number}: {:?}", repaired.findings);
        // What became an orphan by a repair goes with the next one.
        look(&metadata, &EVERYTHING).await;
        let last = look(&metadata, &EVERYTHING).await;
        assert_eq!(kinds(&last), [], "{number}: {:?}", last.findings);
    }
}

#[tokio::test]
async fn damaged_blobs_are_moved_where_a_person_can_look_at_them() {
    let (metadata, dir) = filled().await;
    overwrite(&metadata, &digest("one"), b"eno");
    let report = look(&metadata, &EVERYTHING).await;
    let [finding] = &report.findings[..] else {
        panic!("{report:?}");
    };
    let Action::SetAside { path } = &finding.action else {
        panic!("{finding:?}");
    };
    assert_eq!(std::fs::read(path).unwrap(), b"eno");
    assert!(path.starts_with(dir.path()));
    assert!(metadata.content_info(&caller(), &digest("one")).await.is_err());
    // It can be fetched again.
    put(&metadata, &caller(), "one", Labels::new()).await.unwrap();
    assert!(look(&metadata, &EVERYTHING).await.is_clean());
}

#[tokio::test]
async fn bytes_are_only_looked_at_when_asked_or_when_sizes_differ() {
    let (metadata, _dir) = filled().await;
    overwrite(&metadata, &digest("one"), b"eno");
    overwrite(&metadata, &digest("two"), b"shorter");
    let report = look(&metadata, &Options::default()).await;
    assert_eq!(kinds(&report), [("damaged-blob", 1)]);
    assert_eq!(report.counts.hashed, 1);
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    let options = Options {
        verify: true,
        progress: Some(Arc::new(move |done, all| sink.lock().unwrap().push((done, all)))),
        ..Options::default()
    };
    let report = look(&metadata, &options).await;
    assert_eq!(kinds(&report), [("damaged-blob", 2)]);
    let told = told.lock().unwrap();
    assert_eq!((told.len(), told.last()), (4, Some(&(21, 21))));
}

#[tokio::test]
async fn what_is_young_stays() {
    let (metadata, _dir) = filled().await;
    orphan(&metadata, b"young");
    delete(&metadata, "g/testing/open".to_owned()).await;
    let options = Options {
        margin: Duration::from_secs(3600),
        ..EVERYTHING
    };
    let report = look(&metadata, &options).await;
    assert_eq!((report.left, report.repaired), (2, 0));
    assert!(
        report
            .findings
            .iter()
            .all(|found| found.action == Action::TooYoung)
    );
    assert!(metadata.blobs().info(&digest("young")).is_ok());
}

#[tokio::test]
async fn without_metadata_no_blob_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut writer = store.ingest("r", IngestOptions::default()).unwrap();
    writer.write(b"bytes").unwrap();
    writer.commit(None, None).unwrap();
    let kv: Arc<dyn Kv> = Arc::new(Memory::new());
    let report = check(&kv, &store, &EVERYTHING).await.unwrap();
    assert_eq!(kinds(&report), [("orphan-blob", 1)]);
    assert!(matches!(report.findings[0].action, Action::Left { .. }));
    let digest = Digest::of(Algorithm::Sha256, b"bytes");
    assert!(store.info(&digest).is_ok());
}

#[tokio::test]
async fn what_a_newer_program_wrote_stays() {
    let (metadata, _dir) = filled().await;
    set(&metadata, "i/testing/i".to_owned(), b"\x02new").await;
    set(&metadata, "x/what".to_owned(), b"\x01").await;
    let report = look(&metadata, &EVERYTHING).await;
    assert_eq!(kinds(&report), [("unreadable-record", 2)]);
    assert_eq!((report.left, report.repaired), (2, 0));
    assert!(metadata.kv().get(b"x/what").await.unwrap().is_some());
    set(&metadata, "v".to_owned(), b"\x01\x08\x63").await;
    assert!(check(metadata.kv(), metadata.blobs(), &EVERYTHING).await.is_err());
}

#[tokio::test]
async fn a_long_list_is_counted_to_its_end() {
    let (metadata, _dir) = filled().await;
    let mark = |number: u32| Write::Put {
        key: Bytes::from(format!("r/testing/0004goneimages/{number}")),
        value: Bytes::from_static(b"\x01"),
    };
    write(&metadata, (0..1500).map(mark).collect()).await;
    let report = look(&metadata, &EVERYTHING).await;
    assert_eq!(kinds(&report), [("dangling-record", 1500)]);
    assert_eq!((report.findings.len(), report.repaired), (1000, 1500));
    let texts: Vec<String> = report
        .findings
        .iter()
        .map(|found| found.problem.to_string())
        .collect();
    assert_eq!(
        texts[0],
        r#"record r/testing/0004goneimages/0: there is no lease "gone""#
    );
}
