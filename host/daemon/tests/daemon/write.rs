//! The write stream, with every branch.

use tonic::Code;
use transom_api::content::content_client::ContentClient;
use transom_api::content::{AbortRequest, WriteAction, WriteContentRequest};

use crate::blobs::{EMPTY, Write, bytes, client, commit, info, put, read, rigs, stat, status};
use crate::rig::{Rig, here, refused, sha256};

#[tokio::test]
async fn a_blob_is_written_and_its_last_answer_comes_twice() {
    for rig in rigs().await {
        let (mut write, first) = Write::open(&rig, stat("r")).await.expect("a new ref");
        assert_eq!((first.action, first.offset, first.total), (0, 0, 0));
        assert_eq!(first.digest, EMPTY);
        let started = first.started_at.expect("a time");
        let second = write.ask(bytes(0, b"abc")).await.expect("bytes");
        assert_eq!((second.action, second.offset), (1, 3));
        assert_eq!(second.digest, sha256(b"abc"));
        assert_eq!(
            second.started_at,
            Some(started),
            "answers are made of the last one"
        );
        let third = write.ask(bytes(3, b"def")).await.expect("more bytes");
        assert_eq!(
            (third.offset, third.digest.as_str()),
            (6, sha256(b"abcdef").as_str())
        );
        let last = write
            .ask(commit(6, 6, &sha256(b"abcdef")))
            .await
            .expect("it is right");
        assert_eq!((last.action, last.offset), (2, 6));
        assert_eq!(last.digest, sha256(b"abcdef"));
        assert_eq!(write.finish().await, [last], "the last answer once more");
        assert_eq!(info(&rig, &sha256(b"abcdef")).await.expect("it is there").size, 6);
        assert_eq!(refused(status(&rig, "r").await).0, Code::NotFound);
    }
}

#[tokio::test]
async fn the_first_message_must_name_a_ref() {
    for rig in rigs().await {
        let text = "first message must have a reference".to_owned();
        let opened = Write::open(&rig, stat("")).await.map(|_| ());
        assert_eq!(refused(opened), (Code::InvalidArgument, text.clone()));
        let empty = client(&rig).write(here(tokio_stream::empty())).await;
        let mut empty = empty.expect("the stream opens").into_inner();
        assert_eq!(refused(empty.message().await), (Code::InvalidArgument, text));
    }
}

#[tokio::test]
async fn an_offset_must_be_where_the_ingest_is() {
    for rig in rigs().await {
        let (mut write, _) = Write::open(&rig, stat("r")).await.expect("a new ref");
        let text = "write @5 must occur at current offset 0".to_owned();
        assert_eq!(refused(write.ask(bytes(5, b"x")).await), (Code::OutOfRange, text));
        assert_eq!(status(&rig, "r").await.expect("the ingest is kept").offset, 0);
    }
}

#[tokio::test]
async fn offset_zero_starts_over() {
    for rig in rigs().await {
        let (mut write, _) = Write::open(&rig, stat("r")).await.expect("a new ref");
        write.ask(bytes(0, b"abc")).await.expect("bytes");
        let again = write.ask(bytes(0, b"xy")).await.expect("bytes");
        assert_eq!((again.offset, again.digest.as_str()), (2, sha256(b"xy").as_str()));
        let last = write.ask(commit(0, 0, "")).await.expect("nothing is expected");
        assert_eq!(
            (last.offset, last.digest.as_str()),
            (0, EMPTY),
            "a commit at 0 throws all away"
        );
    }
}

#[tokio::test]
async fn an_action_that_nobody_knows_is_echoed() {
    for rig in rigs().await {
        let (mut write, _) = Write::open(&rig, stat("r")).await.expect("a new ref");
        write.ask(bytes(0, b"abc")).await.expect("bytes");
        let odd = WriteContentRequest {
            action: 9,
            ..WriteContentRequest::default()
        };
        let answer = write.ask(odd).await.expect("an echo");
        assert_eq!((answer.action, answer.offset), (9, 3));
    }
}

#[tokio::test]
async fn a_failed_commit_keeps_the_bytes() {
    for rig in rigs().await {
        let (mut write, _) = Write::open(&rig, stat("r6")).await.expect("a new ref");
        write.ask(bytes(0, b"abc")).await.expect("bytes");
        let (code, text) = refused(write.ask(commit(3, 99, "")).await);
        assert_eq!(code, Code::FailedPrecondition);
        assert!(
            text.ends_with("failed size validation: 3 != 99: failed precondition"),
            "{text}"
        );
        let (mut write, first) = Write::open(&rig, stat("r6")).await.expect("the ref is kept");
        assert_eq!(
            (first.offset, first.digest.as_str()),
            (3, sha256(b"abc").as_str())
        );
        let other = sha256(b"other");
        assert_eq!(
            refused(write.ask(commit(3, 0, &other)).await),
            (
                Code::FailedPrecondition,
                format!(
                    "unexpected commit digest {}, expected {other}: failed precondition",
                    sha256(b"abc")
                )
            )
        );
        let (mut write, _) = Write::open(&rig, stat("r6")).await.expect("the ref is kept");
        let right = write
            .ask(commit(3, 3, &sha256(b"abc")))
            .await
            .expect("now it is right");
        assert_eq!(right.digest, sha256(b"abc"));
    }
}

#[tokio::test]
async fn a_blob_that_is_there_is_not_written_again() {
    for rig in rigs().await {
        let digest = put(&rig, b"abc").await;
        let expecting = WriteContentRequest {
            expected: digest.clone(),
            ..stat("a")
        };
        let (code, text) = refused(Write::open(&rig, expecting).await.map(|_| ()));
        assert_eq!(
            (code, text),
            (Code::AlreadyExists, format!("content {digest}: already exists"))
        );
        let (mut write, _) = Write::open(&rig, stat("b")).await.expect("a new ref");
        write.ask(bytes(0, b"ab")).await.expect("bytes");
        let late = WriteContentRequest {
            expected: digest.clone(),
            ..bytes(2, b"c")
        };
        assert_eq!(
            refused(write.ask(late).await),
            (
                Code::AlreadyExists,
                format!("blob with expected digest {digest} exists")
            )
        );
        assert_eq!(
            refused(status(&rig, "b").await).0,
            Code::NotFound,
            "the ref is gone"
        );
        let (mut write, _) = Write::open(&rig, stat("c")).await.expect("a new ref");
        write.ask(bytes(0, b"abc")).await.expect("bytes");
        let (code, text) = refused(write.ask(commit(3, 3, "")).await);
        assert_eq!(
            (code, text),
            (Code::AlreadyExists, format!("content {digest}: already exists"))
        );
        assert_eq!(
            refused(status(&rig, "c").await).0,
            Code::NotFound,
            "the ref is gone"
        );
    }
}

#[tokio::test]
async fn a_ref_has_one_writer_at_a_time() {
    for rig in rigs().await {
        let (write, _) = Write::open(&rig, stat("r")).await.expect("a new ref");
        let (code, text) = refused(Write::open(&rig, stat("r")).await.map(|_| ()));
        assert_eq!(code, Code::Unavailable);
        assert!(
            text.contains("r locked for ") && text.ends_with(": unavailable"),
            "{text}"
        );
        assert_eq!(write.finish().await.len(), 1, "the last answer once more");
        let (_, first) = Write::open(&rig, stat("r")).await.expect("the ref is free");
        assert_eq!(first.offset, 0);
    }
}

#[tokio::test]
async fn what_was_written_is_there_for_the_next_stream() {
    for rig in rigs().await {
        let declared = WriteContentRequest {
            total: 6,
            ..stat("r")
        };
        let (mut write, first) = Write::open(&rig, declared).await.expect("a new ref");
        assert_eq!(first.total, 6);
        write.ask(bytes(0, b"abc")).await.expect("bytes");
        write.finish().await;
        let found = status(&rig, "r").await.expect("the ref is kept");
        assert_eq!((found.offset, found.total, found.r#ref.as_str()), (3, 6, "r"));
        let (write, first) = Write::open(&rig, stat("r")).await.expect("the ref is free");
        assert_eq!((first.offset, first.total), (3, 0), "the total of this stream");
        assert_eq!(first.digest, sha256(b"abc"));
        write.finish().await;
        let differs = WriteContentRequest {
            total: 7,
            ..stat("r")
        };
        let (write, first) = Write::open(&rig, differs).await.expect("the ref is free");
        assert_eq!((first.offset, first.digest.as_str()), (0, EMPTY));
        write.finish().await;
        assert_eq!(
            status(&rig, "r").await.expect("the ref is kept").offset,
            0,
            "really truncated"
        );
    }
}

#[tokio::test]
async fn an_abort_takes_the_ref_from_its_writer() {
    for rig in rigs().await {
        let abort = || {
            here(AbortRequest {
                r#ref: "r".to_owned(),
            })
        };
        assert_eq!(
            refused(client(&rig).abort(abort()).await),
            (Code::NotFound, "reference r: not found".to_owned())
        );
        let (mut write, _) = Write::open(&rig, stat("r")).await.expect("a new ref");
        write.ask(bytes(0, b"abc")).await.expect("bytes");
        client(&rig)
            .abort(abort())
            .await
            .expect("also while somebody writes");
        assert_eq!(
            refused(status(&rig, "r").await),
            (
                Code::NotFound,
                "could not get status for ref \"r\": reference r: not found".to_owned()
            )
        );
        write.ask(bytes(3, b"def")).await.expect_err("its ingest is gone");
    }
}

#[tokio::test]
async fn other_algorithms_are_hashed_again() {
    for rig in rigs().await {
        let digest = transom_oci::Digest::of(transom_oci::Algorithm::Sha512, b"abc").to_string();
        let (mut write, _) = Write::open(&rig, stat("r")).await.expect("a new ref");
        write.ask(bytes(0, b"abc")).await.expect("bytes");
        let last = write.ask(commit(3, 3, &digest)).await.expect("it is right");
        assert_eq!(last.digest, digest);
        assert_eq!(read(&rig, &digest, 0, 0).await.expect("it is there").1, b"abc");
    }
}

#[tokio::test]
async fn many_writers_write_at_once() {
    for rig in rigs().await {
        let mut writers = tokio::task::JoinSet::new();
        for number in 0..64_u8 {
            let channel = rig.channel.clone();
            writers.spawn(async move {
                let data = vec![number; 100_000];
                let message = WriteContentRequest {
                    action: WriteAction::Commit.into(),
                    r#ref: format!("r{number}"),
                    total: 100_000,
                    expected: sha256(&data),
                    data: data.into(),
                    ..WriteContentRequest::default()
                };
                let stream = here(tokio_stream::once(message));
                let mut answers = ContentClient::new(channel).write(stream).await?.into_inner();
                answers.message().await
            });
        }
        while let Some(written) = writers.join_next().await {
            let answer = written.expect("no panic").expect("no error").expect("an answer");
            assert_eq!(answer.offset, 100_000);
        }
    }
}

#[tokio::test]
async fn a_writer_that_is_open_when_the_daemon_stops_is_told_and_kept() {
    let rig = Rig::proxy().await;
    let (mut write, _) = Write::open(&rig, stat("r")).await.expect("a new ref");
    write.ask(bytes(0, b"abc")).await.expect("bytes");
    rig.shutdown.begin();
    let (code, text) = refused(write.next().await);
    assert_eq!(code, Code::Unavailable, "{text}");
    let folder = rig.stop().await;
    let root = folder.path().join("root");
    let again = Rig::with(|config| {
        config.root = root;
        config.proxy_backend = true;
    })
    .await;
    let (_write, first) = Write::open(&again, stat("r")).await.expect("the ref is kept");
    assert_eq!(
        (first.offset, first.digest.as_str()),
        (3, sha256(b"abc").as_str())
    );
}
