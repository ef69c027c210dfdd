//! Blobs that are files, large enough that the kernel may send them, over every protocol.

use std::sync::Arc;

use http::Version;
use transom_registry::access::Open;
use transom_registry::event::Nobody;
use transom_registry::metrics::Metrics;
use transom_registry::server::{Server, Tls, TlsFiles};
use transom_registry::{Registry, Store};
use transom_storage::filesystem::Filesystem;

use crate::secure::{builder, key};
use crate::serving::{Serving, noise, push_blob, sha256};

/// Several pieces, and an end that is none.
const SIZE: usize = (5 << 20) + 777;

#[test]
fn by_http_1_one_after_the_other_and_in_parts() {
    let serving = Serving::files();
    let content = noise(SIZE, 21);
    let mut client = serving.client();
    let digest = push_blob(&mut client, "a", &content);
    let path = format!("/v2/a/blobs/{digest}");
    // Asked for before the answers are read.
    let ask = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    client.raw(ask.repeat(2).as_bytes());
    for _ in 0..2 {
        assert!(client.answer(false).expect(200).body == content);
    }
    let part = [("Range", "bytes=1000000-4999999")];
    let got = client.send("GET", &path, &part, None).expect(206);
    assert!(got.body == content[1_000_000..5_000_000]);
    let parts = [("Range", "bytes=0-2000000,3000000-3000009")];
    let got = client.send("GET", &path, &parts, None).expect(206);
    let has = |wanted: &[u8]| got.body.windows(wanted.len()).any(|found| found == wanted);
    assert!(has(&content[..=2_000_000]) && has(&content[3_000_000..3_000_010]));
    assert_eq!(client.ask("HEAD", &path).expect(200).body, b"");
    let mut old = serving.client();
    old.raw(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes());
    assert!(old.answer(false).expect(200).body == content);
}

#[test]
fn what_a_client_leaves_half_read_harms_nobody() {
    let serving = Serving::files();
    let content = noise(SIZE, 22);
    let mut client = serving.client();
    let digest = push_blob(&mut client, "a", &content);
    let path = format!("/v2/a/blobs/{digest}");
    for _ in 0..3 {
        let mut left = serving.client();
        left.raw(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        drop(left);
    }
    assert!(client.ask("GET", &path).expect(200).body == content);
}

#[tokio::test]
async fn by_http_2_and_by_tls() {
    let folder = tempfile::tempdir().unwrap();
    let content = noise(SIZE, 23);
    let digest = sha256(&content);
    let files = TlsFiles {
        certificate: key("tls-server.crt"),
        key: key("tls-server.pem"),
        clients: None,
    };
    let tls = Arc::new(Tls::open(files).unwrap());
    for (tls, http2) in [(None, true), (Some(&tls), false), (Some(&tls), true)] {
        let driver = Filesystem::open(folder.path(), 25).unwrap();
        let store = Store::new(Arc::new(driver), Default::default());
        let metrics = Metrics::default();
        let registry = Registry::new(
            store,
            Arc::new(Open),
            Arc::new(Nobody),
            Default::default(),
            metrics,
        );
        let server = Server::listen(registry, ([127, 0, 0, 1], 0).into(), tls.cloned());
        let server = server.await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let base = format!("{scheme}://{}/v2/a/blobs/", server.address().unwrap());
        let serving = tokio::spawn(server.serve(std::future::pending()));
        let client = match tls {
            Some(_) => builder(None, http2),
            None => builder(None, http2).http2_prior_knowledge(),
        };
        let client = client.build().unwrap();
        let push = client.post(format!("{base}uploads/?digest={digest}"));
        let made = push.body(content.clone()).send().await.unwrap();
        assert_eq!(made.status().as_u16(), 201);
        let got = client.get(format!("{base}{digest}")).send().await.unwrap();
        let version = if http2 { Version::HTTP_2 } else { Version::HTTP_11 };
        assert_eq!(got.version(), version);
        assert!(got.bytes().await.unwrap() == content);
        serving.abort();
    }
}
