//! Uploads.

use std::io::{self, Read};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use transom_client::{Error, Pushed, Remote, Repository, Upload, Upwards};
use transom_oci::{Algorithm, Descriptor, Digest, media_type};

use crate::fake::{Fake, Fault, reply};
use crate::support::{noise, remote};

fn described(bytes: &[u8]) -> Descriptor {
    Descriptor::new(
        media_type::LAYER_TAR,
        Digest::of(Algorithm::Sha256, bytes),
        bytes.len() as u64,
    )
}

async fn push(remote: &Remote, bytes: &[u8], upwards: Upwards) -> Result<Pushed, Error> {
    let source = Arc::new(Bytes::copy_from_slice(bytes));
    remote
        .push_blob(&described(bytes), source, &[], upwards, &|_| {})
        .await
}

fn kept(fake: &Fake, bytes: &[u8]) -> bool {
    let digest = described(bytes).digest.to_string();
    fake.shelf
        .blobs
        .lock()
        .unwrap()
        .get(&digest)
        .is_some_and(|kept| kept == bytes)
}

fn methods(fake: &Fake) -> Vec<String> {
    fake.seen().iter().map(|seen| seen.method.to_string()).collect()
}

#[tokio::test]
async fn small_blobs_go_up_in_one_request() {
    let fake = Fake::start().await;
    let remote = remote(&fake);
    let bytes = noise(300_000, 30);
    assert_eq!(
        push(&remote, &bytes, Upwards::Auto).await.unwrap(),
        Pushed::Uploaded
    );
    assert!(kept(&fake, &bytes));
    assert_eq!(methods(&fake), ["HEAD", "POST", "PUT"]);
    let put = &fake.seen()[2];
    assert_eq!(put.header("content-length"), Some("300000"));
    assert_eq!(put.header("content-type"), Some("application/octet-stream"));
    assert_eq!(
        put.parameter("digest").unwrap(),
        described(&bytes).digest.as_str()
    );
    assert_eq!(
        push(&remote, &bytes, Upwards::Auto).await.unwrap(),
        Pushed::Present
    );
    assert_eq!(push(&remote, b"", Upwards::Auto).await.unwrap(), Pushed::Uploaded);
    assert!(kept(&fake, b""));
}

#[tokio::test]
async fn chunks_are_as_large_as_the_registry_wants() {
    for (least, chunks) in [(None, 3), (Some(60_000), 2), (Some(1 << 40), 1)] {
        let fake = Fake::start().await;
        *fake.shelf.chunk_min.lock().unwrap() = least;
        let bytes = noise(100_000, 31);
        let told = Mutex::new(Vec::new());
        let watch = |sent| told.lock().unwrap().push(sent);
        let source = Arc::new(Bytes::from(bytes.clone()));
        let upwards = Upwards::Chunked(40_000);
        remote(&fake)
            .push_blob(&described(&bytes), source, &[], upwards, &watch)
            .await
            .unwrap();
        assert!(kept(&fake, &bytes));
        let ranges: Vec<_> = fake
            .seen()
            .iter()
            .filter_map(|seen| seen.header("content-range").map(str::to_owned))
            .collect();
        assert_eq!(ranges.len(), chunks, "{ranges:?}");
        assert!(ranges.last().unwrap().ends_with("-99999"), "{ranges:?}");
        assert_eq!(told.lock().unwrap().last(), Some(&100_000));
    }
}

#[tokio::test]
async fn blobs_are_taken_from_other_repositories() {
    let fake = Fake::start().await;
    let bytes = noise(1_000, 32);
    let address = fake.address.to_string();
    let from = ["team/none", "team/base"].map(|name| Repository::new(&address, name).unwrap());
    let elsewhere = Repository::new("other.example", "team/base").unwrap();
    fake.plan(|seen| match seen.parameter("from").as_deref() {
        Some("team/none") => reply(403, &[], ""),
        Some("team/base") => reply(201, &[("location", "/v2/team/app/blobs/x")], ""),
        _ => Fault::None,
    });
    let source = || Arc::new(Bytes::from(bytes.clone()));
    let all = [elsewhere, from[0].clone(), from[1].clone()];
    let pushed = remote(&fake)
        .push_blob(&described(&bytes), source(), &all, Upwards::Auto, &|_| {})
        .await
        .unwrap();
    assert_eq!(pushed, Pushed::Mounted);
    assert_eq!(methods(&fake), ["HEAD", "POST", "POST"]);
    assert_eq!(
        fake.seen()[2].parameter("mount").unwrap(),
        described(&bytes).digest.as_str()
    );
    // What the registry does not mount goes up by the upload that it has begun.
    fake.plan(|_| Fault::None);
    let pushed = remote(&fake)
        .push_blob(&described(&bytes), source(), &from, Upwards::Auto, &|_| {})
        .await
        .unwrap();
    assert_eq!(pushed, Pushed::Uploaded);
    assert_eq!(methods(&fake)[3..], ["HEAD", "POST", "PUT"]);
}

#[tokio::test]
async fn an_upload_goes_on_where_the_registry_is() {
    let fake = Fake::start().await;
    let bytes = noise(100_000, 33);
    let shelf = Arc::clone(&fake.shelf);
    let mut first = true;
    // The first PATCH is kept in part, and its answer is lost.
    fake.plan(move |seen| {
        if seen.method == "PATCH" && std::mem::take(&mut first) {
            let id = seen.path.rsplit('/').next().unwrap();
            shelf
                .uploads
                .lock()
                .unwrap()
                .get_mut(id)
                .unwrap()
                .extend_from_slice(&seen.body[..70_000]);
            return reply(502, &[], "");
        }
        Fault::None
    });
    assert_eq!(
        push(&remote(&fake), &bytes, Upwards::Chunked(1 << 20))
            .await
            .unwrap(),
        Pushed::Uploaded
    );
    assert!(kept(&fake, &bytes));
    assert_eq!(methods(&fake), ["HEAD", "POST", "PATCH", "GET", "PATCH", "PUT"]);
    assert_eq!(fake.seen()[4].header("content-range"), Some("70000-99999"));
}

#[tokio::test]
async fn a_lost_upload_begins_anew() {
    let fake = Fake::start().await;
    let bytes = noise(100_000, 34);
    let shelf = Arc::clone(&fake.shelf);
    let mut first = true;
    fake.plan(move |seen| {
        if seen.method == "PATCH" && std::mem::take(&mut first) {
            shelf
                .uploads
                .lock()
                .unwrap()
                .insert(seen.path.rsplit('/').next().unwrap().to_owned(), Vec::new());
            shelf.uploads.lock().unwrap().retain(|_, data| !data.is_empty());
            return reply(500, &[], "");
        }
        Fault::None
    });
    assert_eq!(
        push(&remote(&fake), &bytes, Upwards::Chunked(40_000))
            .await
            .unwrap(),
        Pushed::Uploaded
    );
    assert!(kept(&fake, &bytes));
    assert_eq!(
        methods(&fake),
        [
            "HEAD", "POST", "PATCH", "GET", "POST", "PATCH", "PATCH", "PATCH", "PUT"
        ]
    );
}

#[tokio::test]
async fn uploads_that_are_always_lost_come_to_an_end() {
    let fake = Fake::start().await;
    let bytes = noise(1_000_000, 39);
    fake.plan(|seen| match seen.method.as_str() {
        "PUT" => reply(500, &[], ""),
        _ => Fault::None,
    });
    let error = push(&remote(&fake), &bytes, Upwards::Chunked(500_000))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Status { status: 500, .. }), "{error}");
    assert_eq!(methods(&fake).iter().filter(|method| *method == "PUT").count(), 3);
}

#[tokio::test]
async fn a_lost_answer_to_the_last_request_is_no_failure() {
    let fake = Fake::start().await;
    let bytes = noise(1_000, 35);
    let (shelf, kept_bytes) = (Arc::clone(&fake.shelf), Bytes::from(bytes.clone()));
    fake.plan(move |seen| {
        if seen.method == "PUT" {
            let digest = described(&kept_bytes).digest.to_string();
            shelf.blobs.lock().unwrap().insert(digest, kept_bytes.clone());
            return reply(504, &[], "");
        }
        Fault::None
    });
    assert_eq!(
        push(&remote(&fake), &bytes, Upwards::Auto).await.unwrap(),
        Pushed::Uploaded
    );
    assert_eq!(methods(&fake), ["HEAD", "POST", "PUT", "HEAD"]);
}

#[tokio::test]
async fn refusals_end_an_upload_and_clear_it_away() {
    let fake = Fake::start().await;
    let bytes = noise(1_000, 36);
    fake.plan(|seen| match seen.method.as_str() {
        "PUT" => reply(
            400,
            &[],
            r#"{"errors":[{"code":"DIGEST_INVALID","message":"not these bytes"}]}"#,
        ),
        _ => Fault::None,
    });
    let error = push(&remote(&fake), &bytes, Upwards::Auto).await.unwrap_err();
    assert!(
        matches!(&error, Error::Status { status: 400, code, .. } if code == "DIGEST_INVALID"),
        "{error}"
    );
    assert!(error.to_string().contains("not these bytes"));
    assert_eq!(methods(&fake), ["HEAD", "POST", "PUT", "DELETE"]);
    // A registry that says that it has something else.
    let other = Digest::of(Algorithm::Sha256, b"other").to_string();
    fake.plan(move |seen| match seen.method.as_str() {
        "PUT" => Fault::With("docker-content-digest", other.clone()),
        _ => Fault::None,
    });
    let error = push(&remote(&fake), &noise(1_000, 37), Upwards::Auto)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::WrongDigest { .. }), "{error}");
}

/// Ends after half of what it should have, or cannot be read there.
#[derive(Debug)]
struct Half(Option<io::ErrorKind>);

impl Upload for Half {
    fn open(&self, _: u64) -> io::Result<Box<dyn Read + Send>> {
        let half = io::Cursor::new(vec![0; 500]);
        Ok(match self.0 {
            None => Box::new(half),
            Some(kind) => Box::new(half.chain(Broken(kind))),
        })
    }
}

struct Broken(io::ErrorKind);

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(self.0.into())
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_not_blamed_on_the_registry() {
    let fake = Fake::start().await;
    for kind in [None, Some(io::ErrorKind::PermissionDenied)] {
        let descriptor = described(&[0; 1_000]);
        let pushed = remote(&fake)
            .push_blob(&descriptor, Arc::new(Half(kind)), &[], Upwards::Auto, &|_| {})
            .await;
        let want = kind.unwrap_or(io::ErrorKind::UnexpectedEof);
        let Err(Error::Source { source }) = pushed else {
            panic!("{pushed:?}")
        };
        assert_eq!(source.kind(), want);
    }
}
