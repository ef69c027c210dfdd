//! Every endpoint with everything that it can be told is wrong.

use std::sync::Arc;

use transom_registry::{Options, Settings};
use transom_storage::memory::Memory;

use crate::serving::{MANIFEST, Serving, image, push_blob, put_manifest, sha256};

#[test]
fn what_is_wrong_is_said_in_the_specifications_words() {
    for serving in Serving::each() {
        let mut client = serving.client();
        push_blob(&mut client, "a", b"x");
        let missing = sha256(b"missing");
        let id = "0190d2a0-0000-7000-8000-000000000000";
        let long = "a".repeat(300);
        let dash = format!("/v2/{}/tags/list", "a".repeat(250));
        for (method, path, status, code) in [
            ("GET", "/v1/", 404, "UNSUPPORTED"),
            ("GET", "/v2/a", 404, "UNSUPPORTED"),
            ("POST", "/v2/", 405, "UNSUPPORTED"),
            ("PUT", "/v2/_catalog", 405, "UNSUPPORTED"),
            ("BREW", "/v2/a/tags/list", 405, "UNSUPPORTED"),
            ("POST", "/v2/a/manifests/x", 405, "UNSUPPORTED"),
            ("PUT", "/v2/a/blobs/MISSING", 405, "UNSUPPORTED"),
            ("GET", "/v2/a/blobs/uploads/", 405, "UNSUPPORTED"),
            ("POST", "/v2/a/blobs/uploads/ID", 405, "UNSUPPORTED"),
            ("GET", "/v2/A/tags/list", 400, "NAME_INVALID"),
            ("GET", "/v2/LONG/tags/list", 400, "NAME_INVALID"),
            ("GET", "/v2/a/manifests/-x", 400, "TAG_INVALID"),
            ("GET", "/v2/a/manifests/sha256:x", 400, "DIGEST_INVALID"),
            ("GET", "/v2/a/manifests/none", 404, "MANIFEST_UNKNOWN"),
            ("GET", "/v2/a/manifests/MISSING", 404, "MANIFEST_UNKNOWN"),
            ("GET", "/v2/none/manifests/none", 404, "MANIFEST_UNKNOWN"),
            ("DELETE", "/v2/a/manifests/none", 404, "MANIFEST_UNKNOWN"),
            ("DELETE", "/v2/a/manifests/MISSING", 404, "MANIFEST_UNKNOWN"),
            ("PUT", "/v2/a/manifests/x", 400, "MANIFEST_INVALID"),
            ("PUT", "/v2/a/manifests/sha256:x", 400, "DIGEST_INVALID"),
            ("GET", "/v2/a/blobs/sha256:x", 400, "DIGEST_INVALID"),
            ("GET", "/v2/a/blobs/x", 400, "DIGEST_INVALID"),
            ("GET", "/v2/a/blobs/MISSING", 404, "BLOB_UNKNOWN"),
            ("DELETE", "/v2/a/blobs/MISSING", 404, "BLOB_UNKNOWN"),
            ("POST", "/v2/a/blobs/uploads/?digest=x", 400, "DIGEST_INVALID"),
            ("POST", "/v2/a/blobs/uploads/?mount=x", 400, "DIGEST_INVALID"),
            ("GET", "/v2/a/blobs/uploads/ID", 404, "BLOB_UPLOAD_UNKNOWN"),
            ("GET", "/v2/a/blobs/uploads/..", 404, "BLOB_UPLOAD_UNKNOWN"),
            ("PATCH", "/v2/a/blobs/uploads/ID", 404, "BLOB_UPLOAD_UNKNOWN"),
            ("PUT", "/v2/a/blobs/uploads/ID", 400, "DIGEST_INVALID"),
            (
                "PUT",
                "/v2/a/blobs/uploads/ID?digest=MISSING",
                404,
                "BLOB_UPLOAD_UNKNOWN",
            ),
            ("DELETE", "/v2/a/blobs/uploads/ID", 404, "BLOB_UPLOAD_UNKNOWN"),
            ("GET", "/v2/none/tags/list", 404, "NAME_UNKNOWN"),
            ("GET", "/v2/a/tags/list?n=-1", 400, "PAGINATION_NUMBER_INVALID"),
            ("GET", "/v2/a/referrers/x", 400, "DIGEST_INVALID"),
            ("GET", "/v2/a/tags/list?n=%zz", 400, "UNSUPPORTED"),
        ] {
            let path = path
                .replace("MISSING", &missing)
                .replace("ID", id)
                .replace("LONG", &long);
            let answer = client.ask(method, &path);
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (status, code),
                "{method} {path}"
            );
            assert!(answer.header("x-request-id").is_some());
        }
        assert!(matches!(client.ask("GET", &dash).status, 400 | 404));
        let allowed = client.ask("POST", "/v2/").header("allow").map(str::to_owned);
        assert_eq!(allowed.as_deref(), Some("GET, HEAD"));
        for path in ["/v2/", "/v2", "/"] {
            client.ask("GET", path).expect(200);
            assert!(client.ask("HEAD", path).expect(200).body.is_empty());
        }
        for path in [
            format!("/v2/a/blobs/{missing}"),
            "/v2/a/manifests/none".to_owned(),
        ] {
            let head = client.ask("HEAD", &path).expect(404);
            assert!(head.body.is_empty());
            client.ask("GET", "/v2/").expect(200);
        }
    }
}

#[test]
fn deleting_can_be_switched_off() {
    let settings = Settings {
        delete: false,
        ..Settings::default()
    };
    let serving = Serving::on(Arc::new(Memory::default()), Options::default(), settings);
    let mut client = serving.client();
    let manifest = image(&mut client, "a", "layer", "");
    put_manifest(&mut client, "a", "latest", MANIFEST, &manifest).expect(201);
    let digest = sha256(manifest.as_bytes());
    for path in [
        "manifests/latest",
        &format!("manifests/{digest}"),
        &format!("blobs/{}", sha256(b"layer")),
    ] {
        let refused = client.ask("DELETE", &format!("/v2/a/{path}")).expect(405);
        assert_eq!(refused.code(), "UNSUPPORTED");
        client.ask("GET", &format!("/v2/a/{path}")).expect(200);
    }
    // A client may still give up what it began.
    let begun = client.ask("POST", "/v2/a/blobs/uploads/").expect(202);
    client.ask("DELETE", &begun.location()).expect(204);
}

#[test]
fn read_only_is_switched_while_it_runs() {
    let serving = Serving::memory();
    let mut client = serving.client();
    let digest = push_blob(&mut client, "a", b"x");
    serving.registry.set_read_only(true);
    client.ask("GET", &format!("/v2/a/blobs/{digest}")).expect(200);
    for (method, path) in [
        ("POST", "/v2/a/blobs/uploads/"),
        ("DELETE", &format!("/v2/a/blobs/{digest}")),
        ("PUT", "/v2/a/manifests/x"),
    ] {
        assert_eq!(client.ask(method, path).expect(405).code(), "UNSUPPORTED");
    }
    serving.registry.set_read_only(false);
    client.ask("POST", "/v2/a/blobs/uploads/").expect(202);
}
