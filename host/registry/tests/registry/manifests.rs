//! Manifests: kept byte for byte, found by tag and digest, checked, deleted.

use transom_oci::{Algorithm, Digest};
use transom_registry::{Options, Settings};
use transom_storage::memory::Memory;

use crate::serving::{INDEX, MANIFEST, Serving, image, put_manifest, sha256};

#[test]
fn a_manifest_is_kept_byte_for_byte() {
    for serving in Serving::each() {
        let mut client = serving.client();
        let manifest = format!("  {}\n ", image(&mut client, "a", "layer", ""));
        let digest = sha256(manifest.as_bytes());
        let made = put_manifest(&mut client, "a", "latest", MANIFEST, &manifest).expect(201);
        assert_eq!(made.header("docker-content-digest"), Some(digest.as_str()));
        assert_eq!(made.location(), format!("/v2/a/manifests/{digest}"));
        for reference in ["latest", &digest] {
            let path = format!("/v2/a/manifests/{reference}");
            let got = client.ask("GET", &path).expect(200);
            assert_eq!(got.body, manifest.as_bytes());
            let head = client.ask("HEAD", &path).expect(200);
            let length = manifest.len().to_string();
            for answer in [&got, &head] {
                assert_eq!(answer.header("content-type"), Some(MANIFEST));
                assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()));
                assert_eq!(answer.header("content-length"), Some(length.as_str()));
            }
            let etag = got.header("etag").unwrap();
            client
                .send("GET", &path, &[("If-None-Match", etag)], None)
                .expect(304);
        }
    }
}

#[test]
fn accept_is_understood_in_every_form() {
    let serving = Serving::memory();
    let mut client = serving.client();
    let manifest = image(&mut client, "a", "layer", "");
    put_manifest(&mut client, "a", "latest", MANIFEST, &manifest).expect(201);
    let path = "/v2/a/manifests/latest";
    let joined = format!("text/plain, {MANIFEST};q=0.9");
    for headers in [
        &[][..],
        &[("Accept", "*/*")],
        &[("Accept", "application/*")],
        &[("Accept", &joined)],
        &[("Accept", "text/plain"), ("Accept", MANIFEST)],
    ] {
        client.send("GET", path, headers, None).expect(200);
    }
    let refused = client
        .send("GET", path, &[("Accept", "text/plain")], None)
        .expect(404);
    assert_eq!(refused.code(), "MANIFEST_UNKNOWN");
    // A client that knows no indexes gets the image in it.
    let digest = sha256(manifest.as_bytes());
    let size = manifest.len();
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{MANIFEST}","digest":"{digest}","size":{size},"platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#
    );
    put_manifest(&mut client, "a", "index", INDEX, &index).expect(201);
    let got = client.ask("GET", "/v2/a/manifests/index").expect(200);
    assert_eq!(got.header("content-type"), Some(INDEX));
    let old = [("Accept", MANIFEST)];
    let got = client
        .send("GET", "/v2/a/manifests/index", &old, None)
        .expect(200);
    assert_eq!(got.body, manifest.as_bytes());
    let by_digest = format!("/v2/a/manifests/{}", sha256(index.as_bytes()));
    client.send("GET", &by_digest, &old, None).expect(404);
}

#[test]
fn what_a_manifest_needs_must_be_there() {
    for serving in Serving::each() {
        let mut client = serving.client();
        let manifest = image(&mut client, "a", "layer", "");
        let refused = put_manifest(&mut client, "b", "latest", MANIFEST, &manifest).expect(400);
        assert_eq!(refused.code(), "MANIFEST_BLOB_UNKNOWN");
        assert_eq!(refused.json()["errors"].as_array().unwrap().len(), 2);
        let missing = sha256(b"missing");
        let index = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{MANIFEST}","digest":"{missing}","size":7}}]}}"#
        );
        put_manifest(&mut client, "a", "index", INDEX, &index).expect(400);
        let foreign = image(&mut client, "a", "layer", "").replace(
            "\"layers\":[",
            &format!(
                r#""layers":[{{"mediaType":"application/vnd.oci.image.layer.nondistributable.v1.tar","digest":"{missing}","size":7,"urls":["https://example.org/x"]}},"#
            ),
        );
        put_manifest(&mut client, "a", "foreign", MANIFEST, &foreign).expect(201);
    }
    let options = Options {
        sparse_indexes: true,
        ..Options::default()
    };
    let serving = Serving::on(
        std::sync::Arc::new(Memory::default()),
        options,
        Settings::default(),
    );
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{MANIFEST}","digest":"{}","size":7}}]}}"#,
        sha256(b"missing")
    );
    put_manifest(&mut serving.client(), "a", "index", INDEX, &index).expect(201);
}

#[test]
fn any_type_that_parses_is_kept() {
    let mut serving = Serving::files();
    let mut client = serving.client();
    let document = r#"{"anything":["at","all"]}"#;
    let kind = "application/vnd.example.thing+json";
    let made = put_manifest(&mut client, "a", "thing", kind, document).expect(201);
    // One that says nothing of its type, and looks like another.
    let bare = image(&mut client, "a", "layer", "").replace(&format!(r#""mediaType":"{MANIFEST}","#), "");
    put_manifest(&mut client, "a", "bare", MANIFEST, &bare).expect(201);
    put_manifest(&mut client, "a", "other", kind, &bare).expect(201);
    serving.restart();
    let mut client = serving.client();
    let got = client.ask("GET", &made.location()).expect(200);
    assert_eq!(got.header("content-type"), Some(kind));
    assert_eq!(got.body, document.as_bytes());
    let got = client.ask("GET", "/v2/a/manifests/bare").expect(200);
    assert_eq!(
        got.header("content-type"),
        Some(kind),
        "the last push of the same bytes"
    );
    for wrong in [
        "",
        "[]",
        "nothing",
        "{",
        "{\"layers\":[{\"digest\":\"sha256:1\"}]}",
    ] {
        let refused = put_manifest(&mut client, "a", "wrong", kind, wrong).expect(400);
        assert_eq!(refused.code(), "MANIFEST_INVALID");
    }
    let unsaid = client
        .send("PUT", "/v2/a/manifests/wrong", &[], Some(b"{}"))
        .expect(400);
    assert_eq!(unsaid.code(), "MANIFEST_INVALID");
}

#[test]
fn manifests_by_digest_must_have_it() {
    for serving in Serving::each() {
        let mut client = serving.client();
        let manifest = image(&mut client, "a", "layer", "");
        let other = sha256(b"other");
        let refused = put_manifest(&mut client, "a", &other, MANIFEST, &manifest).expect(400);
        assert_eq!(refused.code(), "DIGEST_INVALID");
        for algorithm in Algorithm::ALL {
            let digest = Digest::of(algorithm, manifest.as_bytes()).to_string();
            let made = put_manifest(&mut client, "a", &digest, MANIFEST, &manifest).expect(201);
            assert_eq!(made.header("docker-content-digest"), Some(digest.as_str()));
            let got = client.ask("GET", &made.location()).expect(200);
            assert_eq!(got.header("docker-content-digest"), Some(digest.as_str()));
        }
    }
}

#[test]
fn one_push_sets_many_tags() {
    for serving in Serving::each() {
        let mut client = serving.client();
        let manifest = image(&mut client, "a", "layer", "");
        let digest = sha256(manifest.as_bytes());
        let tags: Vec<String> = (0..12).map(|number| format!("t{number}")).collect();
        let reference = format!("{digest}?tag={}", tags.join("&tag="));
        let made = put_manifest(&mut client, "a", &reference, MANIFEST, &manifest).expect(201);
        assert_eq!(made.all("oci-tag"), tags);
        for tag in &tags {
            let got = client.ask("HEAD", &format!("/v2/a/manifests/{tag}")).expect(200);
            assert_eq!(got.header("docker-content-digest"), Some(digest.as_str()));
        }
        let many = format!("{digest}?{}tag=b", "tag=a&".repeat(3));
        let made = put_manifest(&mut client, "a", &many, MANIFEST, &manifest).expect(201);
        assert_eq!(made.all("oci-tag"), ["a", "b"]);
        put_manifest(&mut client, "a", &format!("{digest}?tag=.."), MANIFEST, &manifest).expect(400);
    }
}

#[test]
fn a_deleted_manifest_takes_its_tags_along() {
    for serving in Serving::each() {
        let mut client = serving.client();
        let first = image(&mut client, "a", "first", "");
        let second = image(&mut client, "a", "second", "");
        for (tag, manifest) in [("one", &first), ("two", &first), ("three", &second)] {
            put_manifest(&mut client, "a", tag, MANIFEST, manifest).expect(201);
        }
        client.ask("DELETE", "/v2/a/manifests/two").expect(202);
        assert_eq!(
            client.ask("GET", "/v2/a/manifests/two").expect(404).code(),
            "MANIFEST_UNKNOWN"
        );
        let digest = sha256(first.as_bytes());
        let path = format!("/v2/a/manifests/{digest}");
        client.ask("GET", &path).expect(200);
        client.ask("DELETE", &path).expect(202);
        client.ask("GET", &path).expect(404);
        client.ask("DELETE", &path).expect(404);
        client.ask("GET", "/v2/a/manifests/one").expect(404);
        client.ask("GET", "/v2/a/manifests/three").expect(200);
        let tags = client.ask("GET", "/v2/a/tags/list").expect(200).json();
        assert_eq!(tags["tags"], serde_json::json!(["three"]));
    }
}

#[test]
fn a_tag_that_another_instance_changed_is_seen() {
    let serving = Serving::files();
    let driver = transom_storage::filesystem::Filesystem::open(serving.folder(), 25).unwrap();
    let other = Serving::on(
        std::sync::Arc::new(driver),
        Options::default(),
        Settings::default(),
    );
    let (mut here, mut there) = (serving.client(), other.client());
    for content in ["first", "second"] {
        let manifest = image(&mut here, "a", content, "");
        put_manifest(&mut here, "a", "latest", MANIFEST, &manifest).expect(201);
        let got = there.ask("GET", "/v2/a/manifests/latest").expect(200);
        assert_eq!(got.body, manifest.as_bytes());
    }
    let digest = there.ask("HEAD", "/v2/a/manifests/latest").expect(200);
    let path = format!(
        "/v2/a/manifests/{}",
        digest.header("docker-content-digest").unwrap()
    );
    there.ask("GET", &path).expect(200);
    here.ask("DELETE", &path).expect(202);
    there.ask("GET", &path).expect(404);
    there.ask("GET", "/v2/a/manifests/latest").expect(404);
}

#[test]
fn large_manifests_are_taken_and_huge_ones_are_not() {
    let serving = Serving::memory();
    let mut client = serving.client();
    let large = image(
        &mut client,
        "a",
        "layer",
        &format!(r#","annotations":{{"x":"{}"}}"#, "y".repeat(4 << 20)),
    );
    put_manifest(&mut client, "a", "large", MANIFEST, &large).expect(201);
    assert_eq!(
        client.ask("GET", "/v2/a/manifests/large").expect(200).body,
        large.as_bytes()
    );
    let head = "PUT /v2/a/manifests/huge HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n";
    client.raw(head.as_bytes());
    assert_eq!(client.answer(false).expect(413).code(), "SIZE_INVALID");
    let mut client = serving.client();
    client.raw(b"PUT /v2/a/manifests/huge HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = [b"100000\r\n".to_vec(), vec![b' '; 1 << 20], b"\r\n".to_vec()].concat();
    for _ in 0..9 {
        client.raw(&chunk);
    }
    client.answer(false).expect(413);
}
