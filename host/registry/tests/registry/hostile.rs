//! Requests of somebody who means no good: 4xx, never 5xx, and nothing outside of the registry's folders.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::serving::{Serving, push_blob, sha256};

#[test]
fn tricks_with_paths_lead_nowhere() {
    let serving = Serving::files();
    std::fs::write(serving.folder().join("secret"), "secret").unwrap();
    let outside = serving.folder().parent().unwrap().join("transom-hostile-target");
    let mut client = serving.client();
    push_blob(&mut client, "a", b"x");
    let up = [
        "..",
        "%2e%2e",
        "..%2f..",
        "..%2f..%2f..%2f..%2f..%2fsecret",
        "%00",
        "a%2f..%2f..",
        "....//",
        "..%5c..",
    ];
    for trick in up {
        for (method, path) in [
            ("GET", format!("/v2/{trick}/tags/list")),
            ("GET", format!("/v2/a/manifests/{trick}")),
            ("PUT", format!("/v2/a/manifests/{trick}")),
            ("PUT", format!("/v2/a/manifests/{}?tag={trick}", sha256(b"x"))),
            ("DELETE", format!("/v2/a/manifests/{trick}")),
            ("GET", format!("/v2/a/blobs/{trick}")),
            ("GET", format!("/v2/a/blobs/sha256:{trick}")),
            ("DELETE", format!("/v2/a/blobs/sha256:{trick}")),
            ("GET", format!("/v2/a/blobs/uploads/{trick}")),
            ("PATCH", format!("/v2/a/blobs/uploads/{trick}")),
            (
                "PUT",
                format!("/v2/a/blobs/uploads/{trick}?digest={}", sha256(b"")),
            ),
            ("DELETE", format!("/v2/a/blobs/uploads/{trick}")),
            ("POST", format!("/v2/{trick}/blobs/uploads/")),
            ("POST", format!("/v2/a/blobs/uploads/?digest={trick}")),
            ("GET", format!("/v2/a/referrers/{trick}")),
            ("GET", format!("/v2/a/tags/list?last={trick}&n={trick}")),
            ("GET", format!("/v2/_catalog?last={trick}")),
        ] {
            let answer = client.ask(method, &path);
            assert!(
                (400..500).contains(&answer.status),
                "{method} {path}: {}",
                answer.status
            );
        }
    }
    assert!(serving.folder().join("secret").exists() && !outside.exists());
    client
        .ask("GET", &format!("/v2/a/blobs/{}", sha256(b"x")))
        .expect(200);
}

/// What a server says to bytes that are no request, until it closes.
fn say(serving: &Serving, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(serving.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn floods_of_headers_are_refused() {
    let serving = Serving::memory();
    let many: String = (0..1000).map(|number| format!("X-{number}: y\r\n")).collect();
    let long = format!("X: {}\r\n", "y".repeat(4 << 20));
    for head in [many, long] {
        let said = say(
            &serving,
            format!("GET /v2/ HTTP/1.1\r\nHost: x\r\n{head}\r\n").as_bytes(),
        );
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 431"), "{said}");
    }
    let path = format!("GET /v2/{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(1 << 20));
    let said = say(&serving, path.as_bytes());
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}");
    for nonsense in [
        &b"\x16\x03\x01\x02\x00\x01"[..],
        b"GET\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"GET /v2/ HTTP/9.9\r\n\r\n",
    ] {
        let said = say(&serving, nonsense);
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}");
    }
    serving.client().ask("GET", "/v2/").expect(200);
}

#[test]
fn a_length_that_is_a_lie_is_refused() {
    let serving = Serving::memory();
    let mut client = serving.client();
    let begun = client.ask("POST", "/v2/a/blobs/uploads/").expect(202).location();
    for length in ["-1", "x", "99999999999999999999999"] {
        let request = format!("PATCH {begun} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\nabc");
        assert!(say(&serving, request.as_bytes()).starts_with("HTTP/1.1 400"));
    }
    // Two lengths are how requests are smuggled.
    let request =
        format!("PATCH {begun} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd");
    assert!(say(&serving, request.as_bytes()).starts_with("HTTP/1.1 400"));
    let status = client.ask("GET", &begun).expect(204);
    assert_eq!(status.header("range"), Some("0-0"));
}

#[test]
fn requests_that_have_begun_end_when_the_server_stops() {
    let mut serving = Serving::files();
    let mut client = serving.client();
    let begun = client.ask("POST", "/v2/a/blobs/uploads/").expect(202).location();
    let mut late = serving.client();
    let place = format!("{begun}?digest={}", sha256(b"hello"));
    late.raw(format!("PUT {place} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel").as_bytes());
    // The request has begun when others are refused.
    while client.ask("GET", &begun).status != 409 {}
    std::thread::scope(|scope| {
        scope.spawn(|| serving.stop());
        late.raw(b"lo");
        late.answer(false).expect(201);
    });
    // A child that another test is just starting has the socket, too, until it runs its own program.
    let stopped = Instant::now();
    while TcpStream::connect(serving.address).is_ok() {
        assert!(stopped.elapsed() < Duration::from_secs(60), "it still listens");
    }
}
