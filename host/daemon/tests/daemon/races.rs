//! Many clients at once: writers of one ref and of many, deletion under readers, collecting under writers.

use std::time::Duration;

use tonic::Code;
use transom_api::content::{DeleteContentRequest, InfoRequest, ListStatusesRequest};
use transom_api::leases::leases_client::LeasesClient;
use transom_api::leases::{CreateRequest, DeleteRequest};

use crate::blobs::{Write, bytes, client, commit, put, read, stat};
use crate::rig::{Rig, here, sha256};

const WRITERS: usize = 64;

#[tokio::test(flavor = "multi_thread")]
async fn of_64_writers_of_one_ref_one_has_it_at_a_time() {
    let rig = Rig::start().await;
    let rig = std::sync::Arc::new(rig);
    let tasks: Vec<_> = (0..WRITERS)
        .map(|_| {
            let rig = std::sync::Arc::clone(&rig);
            tokio::spawn(async move {
                // As containerd's clients do: again until the ref is free.
                let (mut write, answer) = loop {
                    match Write::open(&rig, stat("shared")).await {
                        Ok(opened) => break opened,
                        Err(status) if status.code() == Code::Unavailable => {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                        Err(status) => panic!("{status}"),
                    }
                };
                let written = write
                    .ask(bytes(answer.offset, b"0123456789"))
                    .await
                    .expect("it is ours");
                assert_eq!(written.offset, answer.offset + 10);
                write.finish().await;
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a writer ends well");
    }
    let (mut write, answer) = Write::open(&rig, stat("shared")).await.expect("the ref is free");
    let whole = b"0123456789".repeat(WRITERS);
    assert_eq!(answer.offset, i64::try_from(whole.len()).expect("small"));
    let done = write
        .ask(commit(answer.offset, answer.offset, &sha256(&whole)))
        .await;
    assert_eq!(
        done.expect("every writer's bytes are there").digest,
        sha256(&whole)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_reads_to_the_end_what_is_deleted_meanwhile() {
    let rig = Rig::start().await;
    let data: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
    let digest = put(&rig, &data).await;
    let request = transom_api::content::ReadContentRequest {
        digest: digest.clone(),
        ..Default::default()
    };
    let mut answers = client(&rig)
        .read(here(request))
        .await
        .expect("it is there")
        .into_inner();
    let first = answers.message().await.expect("bytes").expect("bytes");
    let delete = DeleteContentRequest {
        digest: digest.clone(),
    };
    client(&rig).delete(here(delete)).await.expect("deleted");
    collect(&rig, "after the deletion").await;
    let mut got = first.data.to_vec();
    while let Some(answer) = answers.message().await.expect("the bytes go on") {
        got.extend_from_slice(&answer.data);
    }
    assert!(got == data, "{} of {} bytes", got.len(), data.len());
    assert_eq!(
        read(&rig, &digest, 0, 0).await.expect_err("it is gone").code(),
        Code::NotFound
    );
    assert!(!blob(&rig, &digest).exists(), "its bytes are gone too");
}

/// Collecting while others write takes nothing from them, and leaves nothing of what was deleted.
#[tokio::test(flavor = "multi_thread")]
async fn collections_take_nothing_from_writers() {
    let rig = std::sync::Arc::new(Rig::start().await);
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let rig = std::sync::Arc::clone(&rig);
            tokio::spawn(async move {
                let mut kept = Vec::new();
                for number in 0..25 {
                    let data = format!("writer {writer} blob {number}");
                    let digest = put(&rig, data.as_bytes()).await;
                    if number % 2 == 0 {
                        kept.push((digest, data));
                    } else {
                        let delete = DeleteContentRequest { digest };
                        client(&rig).delete(here(delete)).await.expect("it is ours");
                    }
                }
                kept
            })
        })
        .collect();
    for run in 0..10 {
        collect(&rig, &format!("run {run}")).await;
    }
    let mut kept = Vec::new();
    for writer in writers {
        kept.extend(writer.await.expect("a writer ends well"));
    }
    collect(&rig, "the last").await;
    for (digest, data) in &kept {
        let (_, got) = read(&rig, digest, 0, 0).await.expect("it was never deleted");
        assert_eq!(got, data.as_bytes());
    }
    let files = std::fs::read_dir(blob(&rig, &kept[0].0).parent().expect("a folder")).expect("readable");
    assert_eq!(files.count(), kept.len(), "only what is recorded has bytes");
    let open = client(&rig)
        .list_statuses(here(ListStatusesRequest::default()))
        .await
        .expect("a list");
    assert_eq!(open.into_inner().statuses, []);
    let digest = kept[0].0.clone();
    client(&rig)
        .info(here(InfoRequest { digest }))
        .await
        .expect("recorded");
}

/// Deletes a lease and waits for the collection that this asks for.
async fn collect(rig: &Rig, name: &str) {
    let mut leases = LeasesClient::new(rig.channel.clone());
    let id = name.to_owned();
    let create = CreateRequest {
        id: id.clone(),
        ..CreateRequest::default()
    };
    leases.create(here(create)).await.expect("a lease");
    let delete = DeleteRequest { id, sync: true };
    leases.delete(here(delete)).await.expect("a collection");
}

fn blob(rig: &Rig, digest: &str) -> std::path::PathBuf {
    let root = transom_content::content_root(rig.folder.path().join("root"));
    root.join("blobs").join(digest.replace(':', "/"))
}
