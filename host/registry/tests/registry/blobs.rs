//! Blobs: whole, in parts, asked for again, deleted, mounted.

use transom_oci::{Algorithm, Digest};

use crate::serving::{Serving, noise, push_blob, sha256};

#[test]
fn a_blob_comes_back_whole_and_in_parts() {
    for serving in Serving::each() {
        let mut client = serving.client();
        let content = noise(600_001, 1);
        let digest = push_blob(&mut client, "a/b", &content);
        let path = format!("/v2/a/b/blobs/{digest}");
        let got = client.ask("GET", &path).expect(200);
        assert!(got.body == content);
        assert_eq!(got.header("docker-content-digest"), Some(digest.as_str()));
        assert_eq!(got.header("accept-ranges"), Some("bytes"));
        assert_eq!(got.header("content-type"), Some("application/octet-stream"));
        assert_eq!(
            got.header("docker-distribution-api-version"),
            Some("registry/2.0")
        );
        let head = client.ask("HEAD", &path).expect(200);
        assert_eq!(head.header("content-length"), Some("600001"));
        assert_eq!(head.header("docker-content-digest"), Some(digest.as_str()));
        for (range, want, name) in [
            ("bytes=0-0", &content[..1], "bytes 0-0/600001"),
            ("bytes=500-1499", &content[500..1500], "bytes 500-1499/600001"),
            ("bytes=300000-", &content[300_000..], "bytes 300000-600000/600001"),
            ("bytes=-500", &content[599_501..], "bytes 599501-600000/600001"),
            (
                "bytes=600000-9999999",
                &content[600_000..],
                "bytes 600000-600000/600001",
            ),
        ] {
            let part = client.send("GET", &path, &[("Range", range)], None).expect(206);
            assert!(part.body == want, "{range}");
            assert_eq!(part.header("content-range"), Some(name));
            assert_eq!(part.header("docker-content-digest"), Some(digest.as_str()));
        }
        for range in ["bytes=600001-", "bytes=5-4", "bytes=-0"] {
            let refused = client.send("GET", &path, &[("Range", range)], None).expect(416);
            assert_eq!(refused.header("content-range"), Some("bytes */600001"), "{range}");
            assert_eq!(refused.code(), "RANGE_INVALID");
        }
        let other = [("Range", "bytes=0-0"), ("If-Range", "\"else\"")];
        assert!(client.send("GET", &path, &other, None).expect(200).body == content);
    }
}

#[test]
fn several_ranges_come_in_one_answer() {
    for serving in Serving::each() {
        let mut client = serving.client();
        let content = noise(300_000, 2);
        let digest = push_blob(&mut client, "a", &content);
        let path = format!("/v2/a/blobs/{digest}");
        let ranges = "bytes=10-19,270000-299999, -5";
        let got = client.send("GET", &path, &[("Range", ranges)], None).expect(206);
        let kind = got.header("content-type").unwrap();
        let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
        let mut want = Vec::new();
        for (first, last) in [(10, 19), (270_000, 299_999), (299_995, 299_999)] {
            want.extend_from_slice(
                format!(
                    "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {first}-{last}/300000\r\n\r\n"
                )
                .as_bytes(),
            );
            want.extend_from_slice(&content[first..=last]);
        }
        want.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        assert!(got.body == want);
        // Those that overlap would be more than there is.
        let much = "bytes=0-,0-";
        assert!(
            client
                .send("GET", &path, &[("Range", much)], None)
                .expect(200)
                .body
                == content
        );
    }
}

#[test]
fn what_the_client_has_is_not_sent() {
    for serving in Serving::each() {
        let mut client = serving.client();
        let digest = push_blob(&mut client, "a", b"hello");
        let path = format!("/v2/a/blobs/{digest}");
        let etag = client
            .ask("GET", &path)
            .expect(200)
            .header("etag")
            .unwrap()
            .to_owned();
        for method in ["GET", "HEAD"] {
            let again = client
                .send(method, &path, &[("If-None-Match", &etag)], None)
                .expect(304);
            assert!(again.body.is_empty());
        }
        client
            .send("GET", &path, &[("If-None-Match", "\"x\"")], None)
            .expect(200);
    }
}

#[test]
fn every_algorithm_is_kept_under_its_own_digest() {
    for serving in Serving::each() {
        let mut client = serving.client();
        for (hint, algorithm) in [
            ("", Algorithm::Sha384),
            ("", Algorithm::Sha512),
            ("?digest-algorithm=sha512", Algorithm::Sha512),
        ] {
            let content = format!("{hint}{algorithm}");
            let digest = Digest::of(algorithm, content.as_bytes()).to_string();
            let begun = client
                .ask("POST", &format!("/v2/a/blobs/uploads/{hint}"))
                .expect(202);
            let middle = content.len() / 2;
            let (first, second) = content.as_bytes().split_at(middle);
            client
                .send("PATCH", &begun.location(), &[], Some(first))
                .expect(202);
            let place = format!("{}?digest={digest}", begun.location());
            let made = client.send("PUT", &place, &[], Some(second)).expect(201);
            assert_eq!(made.header("docker-content-digest"), Some(digest.as_str()));
            assert_eq!(made.location(), format!("/v2/a/blobs/{digest}"));
            let got = client.ask("GET", &made.location()).expect(200);
            assert_eq!(got.body, content.as_bytes());
            assert_eq!(got.header("docker-content-digest"), Some(digest.as_str()));
        }
        let unknown = client
            .ask("POST", "/v2/a/blobs/uploads/?digest-algorithm=md5")
            .expect(400);
        assert_eq!(unknown.code(), "DIGEST_INVALID");
    }
}

#[test]
fn a_deleted_blob_is_gone_from_its_repository_only() {
    for serving in Serving::each() {
        let mut client = serving.client();
        let digest = push_blob(&mut client, "a", b"x");
        push_blob(&mut client, "b", b"x");
        client.ask("DELETE", &format!("/v2/a/blobs/{digest}")).expect(202);
        for method in ["GET", "DELETE"] {
            let gone = client.ask(method, &format!("/v2/a/blobs/{digest}")).expect(404);
            assert_eq!(gone.code(), "BLOB_UNKNOWN");
        }
        let head = client.ask("HEAD", &format!("/v2/a/blobs/{digest}")).expect(404);
        assert!(head.body.is_empty());
        client.ask("GET", &format!("/v2/b/blobs/{digest}")).expect(200);
    }
}

#[test]
fn a_blob_is_mounted_from_another_repository() {
    for serving in Serving::each() {
        let mut client = serving.client();
        let digest = push_blob(&mut client, "from", b"mounted");
        let mount = |to: &str, from: &str| format!("/v2/{to}/blobs/uploads/?mount={digest}{from}");
        for (to, from) in [("to", "&from=from"), ("anywhere", "")] {
            let made = client.ask("POST", &mount(to, from)).expect(201);
            assert_eq!(made.location(), format!("/v2/{to}/blobs/{digest}"));
            assert_eq!(made.header("docker-content-digest"), Some(digest.as_str()));
            assert_eq!(client.ask("GET", &made.location()).expect(200).body, b"mounted");
        }
        for from in ["&from=none", "&from=..%2f.."] {
            let begun = client.ask("POST", &mount("other", from)).expect(202);
            client.ask("GET", &begun.location()).expect(204);
        }
        let missing = format!("/v2/to/blobs/uploads/?mount={}&from=from", sha256(b"missing"));
        client.ask("POST", &missing).expect(202);
    }
}

#[test]
fn nothing_is_a_blob_too() {
    for serving in Serving::each() {
        let mut client = serving.client();
        let digest = push_blob(&mut client, "a", b"");
        let path = format!("/v2/a/blobs/{digest}");
        let got = client.ask("GET", &path).expect(200);
        assert_eq!(got.header("content-length"), Some("0"));
        let range = [("Range", "bytes=0-")];
        client.send("GET", &path, &range, None).expect(200);
        let made = client.send(
            "POST",
            &format!("/v2/b/blobs/uploads/?digest={digest}"),
            &[],
            Some(b""),
        );
        made.expect(201);
    }
}
