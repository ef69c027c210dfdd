//! The bytes of keys and records, which `docs/formats/metadata.md` shows: a change here is a new version of the format.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use transom_meta::images::{NewImage, Target};
use transom_meta::kv::{Pair, Range};
use transom_meta::leases::{CONTENT, IMAGES};
use transom_meta::{Caller, Labels, Metadata, Namespace};

use crate::records::{digest, labels, metadata, namespace};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

/// One of each kind.
async fn fill(metadata: &Metadata, name: &Namespace, blob: &str) {
    let namespace = metadata.create_namespace(name, labels([("tier", "1")])).await;
    namespace.unwrap();
    let target = Target {
        media_type: "t/y".to_owned(),
        digest: blob.to_owned(),
        size: 10,
        annotations: labels([("x", "y")]),
    };
    let image = NewImage {
        name: "debian:12".to_owned(),
        labels: labels([("a", "b")]),
        target: Some(target),
    };
    let epoch = SystemTime::UNIX_EPOCH + Duration::new(1_800_000_000, 5);
    let caller = Caller::new(name.clone());
    metadata.create_image(&caller, image, Some(epoch)).await.unwrap();
    metadata.create_lease(name, "l1", Labels::new()).await.unwrap();
    for (kind, id) in [(CONTENT, blob), ("snapshots/native", "k"), (IMAGES, "debian:12")] {
        metadata.add_resource(name, "l1", kind, id).await.unwrap();
    }
}

#[tokio::test]
async fn keys_and_records_are_what_they_were() {
    let (metadata, _dir) = metadata().await;
    let blob = digest("debian:12").to_string();
    fill(&metadata, &namespace("default"), &blob).await;
    let pairs = metadata.kv().range(&Range::prefix(""), 100).await.unwrap();
    let text = |pair: Pair| (pair.key.escape_ascii().to_string(), hex(&pair.value));
    let mut found: Vec<_> = pairs.into_iter().map(text).collect();
    let (lease, record) = found.remove(1);
    assert_eq!(lease, "l/default/l1");
    // A version and field 2, a time: now.
    assert!(record.starts_with("0112"), "{record}");
    let image = format!(
        "010a060a01611201621203742f791a47{}200a2a060a017812017932080880a4a7da0610053a080880a4a7da061005",
        hex(blob.as_bytes())
    );
    let content = format!("r/default/0002l1content/{blob}");
    let wanted = [
        ("i/default/debian:12", &*image),
        ("n/default", "010a090a0474696572120131"),
        (&content, "01"),
        ("r/default/0002l1images/debian:12", "01"),
        ("r/default/0002l1snapshots/native/k", "01"),
        ("v", "010801"),
    ];
    let wanted = wanted.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(found, wanted);
}
