//! The content service but for its write stream: reads, lists, digests.

use std::collections::BTreeMap;

use tonic::{Code, Request, Status};
use transom_api::content::{
    DeleteContentRequest, Info, InfoRequest, ListContentRequest, ListStatusesRequest,
};

use crate::blobs::{Write, client, info, put, read, rigs, stat};
use crate::rig::{Rig, here, refused, sha256};

#[tokio::test]
async fn ranges_are_clipped_and_counted_from_their_start() {
    for rig in rigs().await {
        let digest = put(&rig, b"0123456789").await;
        let part = async |offset, size| read(&rig, &digest, offset, size).await.expect("a range");
        assert_eq!(part(0, 0).await, (vec![0], b"0123456789".to_vec()));
        assert_eq!(part(4, 0).await, (vec![0], b"456789".to_vec()));
        assert_eq!(part(4, 3).await, (vec![0], b"456".to_vec()));
        assert_eq!(part(4, 99).await, (vec![0], b"456789".to_vec()));
        assert_eq!(part(-3, 2).await, (vec![0], b"01".to_vec()));
        assert_eq!(part(0, i64::MAX).await.1.len(), 10);
        assert_eq!(part(10, 0).await, (vec![], vec![]));
        assert_eq!(
            refused(read(&rig, &digest, 11, 0).await),
            (Code::OutOfRange, "read past object length 10 bytes".to_owned())
        );
    }
}

#[tokio::test]
async fn large_blobs_come_in_mebibytes() {
    for rig in rigs().await {
        let data: Vec<u8> = (0..(3 << 20) + 5).map(|n: u32| (n % 251) as u8).collect();
        let digest = put(&rig, &data).await;
        let (offsets, got) = read(&rig, &digest, 1, 0).await.expect("all of it");
        assert_eq!(offsets, [0, 1 << 20, 2 << 20, 3 << 20]);
        assert_eq!(got, data[1..]);
    }
}

#[tokio::test]
async fn a_digest_that_is_none_has_its_own_text_in_each_call() {
    for rig in rigs().await {
        let failed = (Code::InvalidArgument, "\"xx\" failed validation".to_owned());
        assert_eq!(refused(info(&rig, "xx").await), failed);
        let format = "invalid checksum digest format";
        assert_eq!(
            refused(read(&rig, "xx", 0, 0).await),
            (Code::InvalidArgument, format!("xx: {format}"))
        );
        let delete = |digest: &str| {
            here(DeleteContentRequest {
                digest: digest.to_owned(),
            })
        };
        assert_eq!(
            refused(client(&rig).delete(delete("xx")).await),
            (Code::InvalidArgument, format.to_owned())
        );
        let missing = sha256(b"nothing");
        for (code, text) in [
            refused(info(&rig, &missing).await),
            refused(read(&rig, &missing, 0, 0).await.map(|_| ())),
            refused(client(&rig).delete(delete(&missing)).await.map(|_| ())),
        ] {
            assert_eq!(code, Code::NotFound);
            assert!(
                text.starts_with("content ") && text.ends_with(": not found"),
                "{text}"
            );
        }
    }
}

#[tokio::test]
async fn lists_come_in_pages_of_a_hundred() {
    for rig in rigs().await {
        let list = async |filters: &[&str]| -> Result<Vec<Vec<Info>>, Status> {
            let filters = filters.iter().map(|filter| (*filter).to_owned()).collect();
            let mut answers = client(&rig)
                .list(here(ListContentRequest { filters }))
                .await?
                .into_inner();
            let mut pages = Vec::new();
            while let Some(answer) = answers.message().await? {
                pages.push(answer.info);
            }
            Ok(pages)
        };
        assert_eq!(list(&[]).await.expect("a list"), Vec::<Vec<Info>>::new());
        let mut digests = Vec::new();
        for number in 0..201_u8 {
            digests.push(put(&rig, &[number]).await);
        }
        let pages = list(&[]).await.expect("a list");
        let lengths: Vec<usize> = pages.iter().map(Vec::len).collect();
        assert_eq!(lengths, [100, 100, 1]);
        let mut listed: Vec<String> = pages.into_iter().flatten().map(|info| info.digest).collect();
        listed.sort();
        digests.sort();
        assert_eq!(listed, digests);
        let one = format!("digest=={}", digests[7]);
        let pages = list(&[&one]).await.expect("a list");
        assert_eq!(pages.len(), 1);
        assert_eq!(pages[0][0].digest, digests[7]);
        let (code, text) = refused(list(&["a = b"]).await);
        assert_eq!(code, Code::InvalidArgument);
        assert!(
            text.starts_with("filters: parse error: [") && text.ends_with(": invalid argument"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn open_ingests_are_listed_by_their_ref() {
    for rig in rigs().await {
        let (first, _) = Write::open(&rig, stat("layer-1")).await.expect("a new ref");
        let (second, _) = Write::open(&rig, stat("config-1")).await.expect("a new ref");
        let list = async |filters: &[&str]| {
            let filters = filters.iter().map(|filter| (*filter).to_owned()).collect();
            let request = here(ListStatusesRequest { filters });
            let answer = client(&rig)
                .list_statuses(request)
                .await
                .expect("a list")
                .into_inner();
            let mut refs: Vec<String> = answer.statuses.into_iter().map(|status| status.r#ref).collect();
            refs.sort();
            refs
        };
        assert_eq!(list(&[]).await, ["config-1", "layer-1"]);
        assert_eq!(list(&[""]).await, ["config-1", "layer-1"]);
        assert_eq!(list(&["ref~=^layer"]).await, ["layer-1"]);
        first.finish().await;
        second.finish().await;
    }
}

#[tokio::test]
async fn behind_a_containerd_no_namespace_is_needed() {
    let rig = Rig::proxy().await;
    let digest = put(&rig, b"abc").await;
    let request = Request::new(InfoRequest {
        digest: digest.clone(),
    });
    let found = client(&rig)
        .info(request)
        .await
        .expect("no header is needed")
        .into_inner();
    assert_eq!(found.info.expect("an info").labels, BTreeMap::new());
    let update = transom_api::content::UpdateRequest {
        info: Some(Info {
            digest: digest.clone(),
            ..Info::default()
        }),
        update_mask: None,
    };
    assert_eq!(
        refused(client(&rig).update(update).await),
        (
            Code::FailedPrecondition,
            "update not supported on immutable content store: failed precondition".to_owned()
        )
    );
    let delete = DeleteContentRequest {
        digest: digest.clone(),
    };
    client(&rig)
        .delete(Request::new(delete))
        .await
        .expect("it is there");
    let hex = digest.split(':').nth(1).expect("an algorithm and hex");
    let blobs = rig
        .folder
        .path()
        .join("root/io.containerd.content.v1.content/blobs/sha256");
    assert!(blobs.is_dir() && !blobs.join(hex).exists(), "its bytes are gone");
}
