//! The bytes of keys and records, which `docs/formats/metadata.md` shows: a change here is a new version of the format.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use transom_meta::kv::Range;
use transom_meta::leases::{CONTENT, IMAGES};
use transom_meta::{Labels, Metadata};

use crate::records::{caller, digest, image, labels, metadata, namespace};

/// Every key with its value in hexadecimal.
async fn dump(metadata: &Metadata) -> Vec<(String, String)> {
    let pairs = metadata.kv().range(&Range::prefix(""), 100).await.unwrap();
    let line = |pair: transom_meta::kv::Pair| {
        let hex = pair.value.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        (pair.key.escape_ascii().to_string(), hex)
    };
    pairs.into_iter().map(line).collect()
}

#[tokio::test]
async fn keys_and_records_are_what_they_were() {
    let (metadata, _dir) = metadata().await;
    let name = namespace("default");
    metadata
        .create_namespace(&name, labels([("tier", "1")]))
        .await
        .unwrap();
    let mut new = image("debian:12");
    new.labels = labels([("a", "b")]);
    if let Some(target) = &mut new.target {
        "t/y".clone_into(&mut target.media_type);
        target.annotations = labels([("x", "y")]);
    }
    let epoch = SystemTime::UNIX_EPOCH + Duration::new(1_800_000_000, 5);
    let caller = transom_meta::Caller {
        namespace: name.clone(),
        ..caller()
    };
    metadata.create_image(&caller, new, Some(epoch)).await.unwrap();
    metadata.create_lease(&name, "l1", Labels::new()).await.unwrap();
    let blob = digest("debian:12").to_string();
    metadata.add_resource(&name, "l1", CONTENT, &blob).await.unwrap();
    metadata
        .add_resource(&name, "l1", "snapshots/native", "k")
        .await
        .unwrap();
    metadata
        .add_resource(&name, "l1", IMAGES, "debian:12")
        .await
        .unwrap();

    let mut found = dump(&metadata).await;
    let text: String = blob.bytes().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    let image = format!(
        "010a060a01611201621203742f791a47{text}200a2a060a017812017932080880a4a7da0610053a080880a4a7da061005"
    );
    let lease = found.remove(1);
    assert_eq!(lease.0, "l/default/l1");
    // A version and field 2, a time: now.
    assert!(lease.1.starts_with("0112"), "{}", lease.1);
    let wanted = [
        ("i/default/debian:12".to_owned(), image),
        ("n/default".to_owned(), "010a090a0474696572120131".to_owned()),
        (format!("r/default/0002l1content/{blob}"), "01".to_owned()),
        ("r/default/0002l1images/debian:12".to_owned(), "01".to_owned()),
        ("r/default/0002l1snapshots/native/k".to_owned(), "01".to_owned()),
        ("v".to_owned(), "010801".to_owned()),
    ];
    assert_eq!(found, wanted);
}
