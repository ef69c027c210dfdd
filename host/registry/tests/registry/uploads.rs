//! Uploads: in chunks, in one go, out of order, given up, gone on with after a restart, at the same time.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use transom_storage::{Condition, StoragePath, WriteMode};

use crate::client::Client;
use crate::serving::{Serving, noise, sha256};

fn begin(client: &mut Client, name: &str) -> String {
    let begun = client
        .ask("POST", &format!("/v2/{name}/blobs/uploads/"))
        .expect(202);
    assert!(begun.header("docker-upload-uuid").is_some());
    assert_eq!(begun.header("range"), Some("0-0"));
    assert!(begun.header("oci-chunk-min-length").is_some());
    begun.location()
}

#[test]
fn chunks_must_follow_each_other() {
    for serving in Serving::each() {
        let mut client = serving.client();
        let content = noise(30, 3);
        let place = begin(&mut client, "a");
        let chunk = |client: &mut Client, method: &str, place: &str, first: usize, last: usize| {
            let range = format!("{first}-{last}");
            let headers = [("Content-Range", range.as_str())];
            client.send(method, place, &headers, Some(&content[first..=last]))
        };
        let answer = chunk(&mut client, "PATCH", &place, 0, 9).expect(202);
        assert_eq!(answer.header("range"), Some("0-9"));
        for (first, last) in [(20, 29), (0, 9), (9, 12)] {
            let refused = chunk(&mut client, "PATCH", &place, first, last).expect(416);
            assert_eq!(refused.header("range"), Some("0-9"));
            assert_eq!(refused.location(), place);
        }
        let end = format!("{place}?digest={}", sha256(&content));
        chunk(&mut client, "PUT", &end, 20, 29).expect(416);
        let status = client.ask("GET", &place).expect(204);
        assert_eq!(status.header("range"), Some("0-9"));
        chunk(&mut client, "PATCH", &place, 10, 19).expect(202);
        let made = chunk(&mut client, "PUT", &end, 20, 29).expect(201);
        assert!(client.ask("GET", &made.location()).expect(200).body == content);
        client.ask("GET", &place).expect(404);
        for wrong in ["x", "5-1", "bytes 0-1/2"] {
            let place = begin(&mut client, "a");
            let headers = [("Content-Range", wrong)];
            client.send("PATCH", &place, &headers, Some(b"ab")).expect(400);
        }
        let place = begin(&mut client, "a");
        let longer = client
            .send("PATCH", &place, &[("Content-Range", "0-5")], Some(b"ab"))
            .expect(400);
        assert_eq!(longer.code(), "SIZE_INVALID");
    }
}

#[test]
fn one_request_is_enough() {
    for serving in Serving::each() {
        let mut client = serving.client();
        let content = noise(700_000, 4);
        let digest = sha256(&content);
        let path = format!("/v2/a/blobs/uploads/?digest={digest}");
        let made = client.send("POST", &path, &[], Some(&content)).expect(201);
        assert_eq!(made.header("docker-content-digest"), Some(digest.as_str()));
        assert!(client.ask("GET", &made.location()).expect(200).body == content);
        let other = format!("/v2/a/blobs/uploads/?digest={}", sha256(b"other"));
        let refused = client.send("POST", &other, &[], Some(&content)).expect(400);
        assert_eq!(refused.code(), "DIGEST_INVALID");
        client
            .ask("GET", &format!("/v2/a/blobs/{}", sha256(b"other")))
            .expect(404);
    }
}

#[test]
fn a_body_of_unknown_length_is_taken() {
    for serving in Serving::each() {
        let mut client = serving.client();
        let place = begin(&mut client, "a");
        let head = format!("PATCH {place} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.raw(head.as_bytes());
        client.raw(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
        assert_eq!(client.answer(false).expect(202).header("range"), Some("0-10"));
        let end = format!("{place}?digest={}", sha256(b"hello world"));
        client.send("PUT", &end, &[], Some(b"")).expect(201);
    }
}

#[test]
fn a_wrong_digest_ends_an_upload() {
    for serving in Serving::each() {
        let mut client = serving.client();
        let place = begin(&mut client, "a");
        let end = format!("{place}?digest={}", sha256(b"else"));
        let refused = client.send("PUT", &end, &[], Some(b"something")).expect(400);
        assert_eq!(refused.code(), "DIGEST_INVALID");
        client.ask("GET", &place).expect(404);
        let place = begin(&mut client, "a");
        assert_eq!(
            client.send("PUT", &place, &[], Some(b"x")).expect(400).code(),
            "DIGEST_INVALID"
        );
        client.ask("GET", &place).expect(204);
    }
}

#[test]
fn an_upload_is_given_up() {
    for serving in Serving::each() {
        let mut client = serving.client();
        let place = begin(&mut client, "a");
        client.send("PATCH", &place, &[], Some(b"abc")).expect(202);
        client.ask("DELETE", &place).expect(204);
        for method in ["GET", "DELETE"] {
            assert_eq!(
                client.ask(method, &place).expect(404).code(),
                "BLOB_UPLOAD_UNKNOWN"
            );
        }
        // Another repository's is unknown, too.
        let place = begin(&mut client, "a").replace("/v2/a/", "/v2/b/");
        client.ask("GET", &place).expect(404);
    }
}

#[test]
fn an_upload_goes_on_after_a_restart() {
    let mut serving = Serving::files();
    let content = noise(500_000, 5);
    let mut client = serving.client();
    let place = begin(&mut client, "a/b");
    client
        .send("PATCH", &place, &[], Some(&content[..200_000]))
        .expect(202);
    serving.restart();
    let mut client = serving.client();
    let status = client.ask("GET", &place).expect(204);
    assert_eq!(status.header("range"), Some("0-199999"));
    client
        .send("PATCH", &place, &[], Some(&content[200_000..400_000]))
        .expect(202);
    serving.restart();
    let mut client = serving.client();
    let end = format!("{place}?digest={}", sha256(&content));
    let made = client
        .send("PUT", &end, &[], Some(&content[400_000..]))
        .expect(201);
    assert!(client.ask("GET", &made.location()).expect(200).body == content);
    // And one whose content is not what it was said to be.
    let place = begin(&mut client, "a/b");
    client.send("PATCH", &place, &[], Some(b"one")).expect(202);
    serving.restart();
    let mut client = serving.client();
    let end = format!("{place}?digest={}", sha256(b"two"));
    assert_eq!(client.ask("PUT", &end).expect(400).code(), "DIGEST_INVALID");
    client.ask("GET", &place).expect(404);
}

#[test]
fn what_came_before_a_connection_broke_is_kept() {
    for serving in Serving::each() {
        let mut client = serving.client();
        let place = begin(&mut client, "a");
        let mut other = TcpStream::connect(serving.address).unwrap();
        let head = format!("PATCH {place} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhello");
        other.write_all(head.as_bytes()).unwrap();
        drop(other);
        // The request goes on until the server has seen the end; until then it is busy.
        let status = loop {
            let status = client.ask("GET", &place);
            if status.status == 204 && status.header("range") == Some("0-4") {
                break status;
            }
            assert!(matches!(status.status, 204 | 409), "{status:?}");
        };
        assert_eq!(status.location(), place);
        let end = format!("{place}?digest={}", sha256(b"hello world"));
        client
            .send("PUT", &end, &[("Content-Range", "5-10")], Some(b" world"))
            .expect(201);
    }
}

#[test]
fn two_requests_do_not_write_at_the_same_time() {
    for serving in Serving::each() {
        let (mut client, mut other) = (serving.client(), serving.client());
        let place = begin(&mut client, "a");
        let head = format!("PATCH {place} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel");
        other.raw(head.as_bytes());
        // Until the first one is there, this one may be.
        while client.ask("GET", &place).status != 409 {}
        let refused = client.send("PATCH", &place, &[], Some(b"x")).expect(409);
        assert_eq!(refused.code(), "BLOB_UPLOAD_INVALID");
        other.raw(b"lo");
        assert_eq!(other.answer(false).expect(202).header("range"), Some("0-4"));
    }
}

#[test]
fn the_same_blob_at_the_same_time_from_many() {
    for serving in Serving::each() {
        let content = noise(100_000, 6);
        std::thread::scope(|scope| {
            for number in 0..16 {
                let (mut client, content) = (serving.client(), &content);
                scope.spawn(move || {
                    let name = format!("r{}", number % 4);
                    crate::serving::push_blob(&mut client, &name, content);
                });
            }
        });
        let mut client = serving.client();
        for number in 0..4 {
            let got = client.ask("GET", &format!("/v2/r{number}/blobs/{}", sha256(&content)));
            assert!(got.expect(200).body == content);
        }
    }
}

#[test]
fn uploads_that_did_not_end_are_deleted_by_the_day() {
    for serving in Serving::each() {
        let mut client = serving.client();
        let place = begin(&mut client, "a/b");
        // One of the day before yesterday, as it would be then.
        let id = "0190d2a0-0000-7000-8000-000000000000";
        let day = SystemTime::now() - Duration::from_secs(2 * 24 * 3600);
        let day = transom_content::timestamp::format(day);
        let path = format!(
            "/docker/registry/v2/repositories/a/b/_uploads/{}/{id}",
            &day[..10]
        );
        let path = StoragePath::new(&path).unwrap();
        let (store, runtime) = (serving.registry.store(), tokio::runtime::Runtime::new().unwrap());
        runtime.block_on(async {
            let mark = path.parent().unwrap().join("begun").unwrap();
            store
                .driver()
                .put(&mark, Default::default(), Condition::Always)
                .await
                .unwrap();
            let write = async |mode| store.driver().writer(&path, mode).await;
            write(WriteMode::Create).await.unwrap().close().await.unwrap();
            assert_eq!(
                store
                    .purge_uploads(Duration::from_secs(3 * 24 * 3600))
                    .await
                    .unwrap(),
                0
            );
            drop(write(WriteMode::Append).await.unwrap());
            assert_eq!(store.purge_uploads(Duration::from_secs(3600)).await.unwrap(), 1);
            assert!(write(WriteMode::Append).await.unwrap_err().is_not_found());
        });
        client.ask("GET", &place).expect(204);
    }
}
