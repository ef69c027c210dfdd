//! The content service: the write stream with every branch, reads, lists.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming};
use transom_api::content::content_client::ContentClient;
use transom_api::content::{
    AbortRequest, DeleteContentRequest, Info, InfoRequest, ListContentRequest, ListStatusesRequest,
    ReadContentRequest, StatusRequest, WriteAction, WriteContentRequest, WriteContentResponse,
};

use crate::rig::{Rig, here, refused, sha256};

const NEVER: Duration = Duration::from_secs(30);
const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn client(rig: &Rig) -> ContentClient<tonic::transport::Channel> {
    let limit = transom_api::limits::MESSAGE_BYTES;
    ContentClient::new(rig.channel.clone())
        .max_decoding_message_size(limit)
        .max_encoding_message_size(limit)
}

/// A write stream, one message at a time.
struct Write {
    messages: Option<mpsc::Sender<WriteContentRequest>>,
    answers: Streaming<WriteContentResponse>,
}

impl Write {
    async fn open(rig: &Rig, first: WriteContentRequest) -> Result<(Write, WriteContentResponse), Status> {
        let (messages, stream) = mpsc::channel(4);
        messages.send(first).await.expect("there is room");
        let answers = client(rig)
            .write(here(ReceiverStream::new(stream)))
            .await?
            .into_inner();
        let mut write = Write {
            messages: Some(messages),
            answers,
        };
        let answer = write.next().await?;
        Ok((write, answer))
    }

    async fn next(&mut self) -> Result<WriteContentResponse, Status> {
        let answer = timeout(NEVER, self.answers.message())
            .await
            .expect("an answer comes");
        answer?.ok_or_else(|| Status::cancelled("the stream ended"))
    }

    async fn ask(&mut self, message: WriteContentRequest) -> Result<WriteContentResponse, Status> {
        let messages = self.messages.as_ref().expect("not closed yet");
        messages.send(message).await.expect("the stream is open");
        self.next().await
    }

    /// Closes this side, and takes what still comes.
    async fn finish(mut self) -> Vec<WriteContentResponse> {
        self.messages = None;
        let mut rest = Vec::new();
        while let Some(answer) = timeout(NEVER, self.answers.message())
            .await
            .expect("it ends")
            .expect("well")
        {
            rest.push(answer);
        }
        rest
    }
}

fn stat(reference: &str) -> WriteContentRequest {
    WriteContentRequest {
        r#ref: reference.to_owned(),
        ..WriteContentRequest::default()
    }
}

fn bytes(offset: i64, data: &'static [u8]) -> WriteContentRequest {
    WriteContentRequest {
        action: WriteAction::Write.into(),
        offset,
        data: Bytes::from_static(data),
        ..WriteContentRequest::default()
    }
}

fn commit(offset: i64, total: i64, expected: &str) -> WriteContentRequest {
    WriteContentRequest {
        action: WriteAction::Commit.into(),
        offset,
        total,
        expected: expected.to_owned(),
        ..WriteContentRequest::default()
    }
}

/// Writes a blob in one message.
async fn put(rig: &Rig, data: &[u8]) -> String {
    let message = WriteContentRequest {
        action: WriteAction::Commit.into(),
        r#ref: sha256(data),
        data: Bytes::copy_from_slice(data),
        ..WriteContentRequest::default()
    };
    let (write, answer) = Write::open(rig, message).await.expect("a blob is written");
    assert_eq!(answer.digest, sha256(data));
    write.finish().await;
    answer.digest
}

async fn read(rig: &Rig, digest: &str, offset: i64, size: i64) -> Result<(Vec<i64>, Vec<u8>), Status> {
    let request = ReadContentRequest {
        digest: digest.to_owned(),
        offset,
        size,
    };
    let mut answers = client(rig).read(here(request)).await?.into_inner();
    let (mut offsets, mut data) = (Vec::new(), Vec::new());
    while let Some(answer) = answers.message().await? {
        offsets.push(answer.offset);
        data.extend_from_slice(&answer.data);
    }
    Ok((offsets, data))
}

async fn status(rig: &Rig, reference: &str) -> Result<transom_api::content::Status, Status> {
    let request = StatusRequest {
        r#ref: reference.to_owned(),
    };
    let answer = client(rig).status(here(request)).await?.into_inner();
    Ok(answer.status.expect("a status"))
}

async fn info(rig: &Rig, digest: &str) -> Result<Info, Status> {
    let request = InfoRequest {
        digest: digest.to_owned(),
    };
    Ok(client(rig)
        .info(here(request))
        .await?
        .into_inner()
        .info
        .expect("an info"))
}

/// Every kind of daemon that serves content.
async fn rigs() -> Vec<Rig> {
    vec![Rig::start().await, Rig::proxy().await]
}

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
