//! A registry that lies, cuts, refuses and has too much to do.

use std::fs;
use std::net::SocketAddr;

use tokio::runtime::Runtime;

use super::rig::{Cache, proxy, read, runtime};
use crate::fake::{Fake, Fault, Seen, reply};
use crate::serving::{MANIFEST, noise, sha256};

/// The other registry, and what it runs on.
struct Liar {
    fake: Fake,
    _runtime: Runtime,
}

impl Liar {
    fn start() -> Liar {
        let runtime = runtime();
        let fake = runtime.block_on(Fake::start());
        Liar {
            fake,
            _runtime: runtime,
        }
    }

    fn address(&self) -> SocketAddr {
        self.fake.address
    }

    /// What happens to requests for contents of blobs; others are answered as they should be.
    fn bodies(&self, mut fault: impl FnMut(usize) -> Fault + Send + 'static) {
        let mut number = 0;
        self.fake.plan(move |seen: &Seen| {
            if seen.method != http::Method::GET || !seen.path.contains("/blobs/") {
                return Fault::None;
            }
            number += 1;
            fault(number)
        });
    }

    fn gets(&self) -> usize {
        let lines = self.fake.lines();
        lines
            .iter()
            .filter(|line| line.starts_with("GET") && line.contains("/blobs/"))
            .count()
    }
}

fn blob_path(digest: &str) -> String {
    format!("/v2/hub/team/app/blobs/{digest}")
}

/// Files that uploads have left.
fn left(cache: &Cache, digest: &str) -> usize {
    let root = cache.data(digest);
    let root = root.ancestors().nth(4).unwrap().to_owned();
    let mut folders = vec![root];
    let mut found = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let upload = path.to_string_lossy().contains("_uploads");
            match path.is_dir() {
                true => folders.push(path),
                false => found += usize::from(upload),
            }
        }
    }
    found
}

#[test]
fn what_fails_its_digest_is_cut_off_and_never_kept() {
    let liar = Liar::start();
    let blob = noise(700_000, 21);
    let digest = liar.fake.add_blob(blob.clone()).digest.to_string();
    let cache = Cache::start(&proxy("hub", liar.address()));
    for at in [0, 350_000, 699_999] {
        liar.bodies(move |_| Fault::Flip(at));
        let (status, length, body) = read(cache.address, &blob_path(&digest), None);
        assert_eq!((status, length), (200, blob.len()));
        assert!(body.len() < blob.len(), "the whole of a lie was given: {at}");
        assert!(!cache.data(&digest).exists());
        let (_, _, range) = read(cache.address, &blob_path(&digest), Some("bytes=-10"));
        assert!(range.len() < 10);
    }
    assert_eq!(left(&cache, &digest), 0);
    liar.bodies(|_| Fault::None);
    assert!(cache.client().ask("GET", &blob_path(&digest)).expect(200).body == blob);
}

#[test]
fn a_cut_is_gone_on_from_and_one_that_never_ends_is_told() {
    let liar = Liar::start();
    let blob = noise(1_500_000, 22);
    let digest = liar.fake.add_blob(blob.clone()).digest.to_string();
    let cache = Cache::start(&proxy("hub", liar.address()));
    // It sends more, and never the end.
    liar.bodies(|_| Fault::Cut(1_000));
    let (status, length, body) = read(cache.address, &blob_path(&digest), None);
    assert_eq!((status, length), (200, blob.len()));
    assert!(body.len() < blob.len());
    assert!(!cache.data(&digest).exists());
    assert_eq!(left(&cache, &digest), 0);
    let before = liar.gets();
    liar.bodies(|number| match number {
        1 => Fault::Cut(400_000),
        2 => Fault::Cut(500_000),
        _ => Fault::None,
    });
    assert!(cache.client().ask("GET", &blob_path(&digest)).expect(200).body == blob);
    assert_eq!(liar.gets() - before, 3);
    // What was there was not asked for again.
    let last = liar.fake.seen().pop().unwrap();
    assert!(last.header("range").unwrap().starts_with("bytes="), "{last:?}");
}

#[test]
fn a_registry_that_stands_still_is_asked_again_and_then_given_up() {
    let liar = Liar::start();
    let blob = noise(900_000, 25);
    let digest = liar.fake.add_blob(blob.clone()).digest.to_string();
    let timeout = "timeout = \"2s\"\n";
    let cache = Cache::start(&format!("{}{timeout}", proxy("hub", liar.address())));
    liar.bodies(|number| match number {
        1 => Fault::Stall(300_000),
        _ => Fault::None,
    });
    assert!(cache.client().ask("GET", &blob_path(&digest)).expect(200).body == blob);
    let other = noise(800_000, 26);
    let digest = liar.fake.add_blob(other.clone()).digest.to_string();
    liar.bodies(|_| Fault::Stall(2_000));
    let (status, length, body) = read(cache.address, &blob_path(&digest), None);
    assert_eq!((status, length), (200, other.len()));
    assert!(!body.is_empty() && body.len() < other.len(), "{}", body.len());
    assert!(!cache.data(&digest).exists());
    assert_eq!(left(&cache, &digest), 0);
}

#[test]
fn a_size_that_a_manifest_says_spares_a_question() {
    let liar = Liar::start();
    let blob = noise(10_000, 27);
    let layer = liar.fake.add_blob(blob.clone());
    let document = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","layers":[{{"mediaType":"x/layer","digest":"{}","size":10000}}]}}"#,
        layer.digest
    );
    for name in ["team/app", "team/other"] {
        liar.fake.add_manifest(name, "v1", MANIFEST, &document);
    }
    let cache = Cache::start(&proxy("hub", liar.address()));
    let mut client = cache.client();
    client.ask("GET", "/v2/hub/team/app/manifests/v1").expect(200);
    let digest = layer.digest.to_string();
    assert!(client.ask("GET", &blob_path(&digest)).expect(200).body == blob);
    let blob_of = |name: &str| format!("/v2/{name}/blobs/{digest}");
    let asked = [
        "GET /v2/team/app/manifests/v1".to_owned(),
        format!("GET {}", blob_of("team/app")),
    ];
    assert_eq!(liar.fake.lines(), asked);
    // Where the bytes are here, whether it has them in the other repository is all that is asked.
    cache.kept(&digest);
    client.ask("GET", "/v2/hub/team/other/manifests/v1").expect(200);
    assert!(client.ask("GET", &blob_of("hub/team/other")).expect(200).body == blob);
    assert_eq!(
        liar.fake.lines().last(),
        Some(&format!("HEAD {}", blob_of("team/other")))
    );
    assert_eq!(liar.gets(), 1);
}

#[test]
fn a_wrong_length_is_refused_before_anything_is_sent() {
    let liar = Liar::start();
    let blob = noise(10_000, 23);
    let digest = liar.fake.add_blob(blob).digest.to_string();
    let cache = Cache::start(&proxy("hub", liar.address()));
    liar.fake.plan(|seen: &Seen| match seen.method {
        http::Method::HEAD => Fault::With("content-length", "9999".to_owned()),
        _ => Fault::None,
    });
    let answer = cache.client().ask("GET", &blob_path(&digest)).expect(502);
    assert_eq!(answer.code(), "UNAVAILABLE");
    assert!(!cache.data(&digest).exists());
}

#[test]
fn a_manifest_that_is_another_is_not_given() {
    let liar = Liar::start();
    let document = format!(r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{}},"layers":[]}}"#);
    let wanted = sha256(b"another");
    let target = wanted.clone();
    liar.fake
        .plan(move |seen: &Seen| match seen.path.ends_with(&target) {
            true => reply(200, &[("content-type", MANIFEST)], &document),
            false => reply(200, &[("content-type", "text/html")], "<html>log in here</html>"),
        });
    let cache = Cache::start(&proxy("hub", liar.address()));
    let mut client = cache.client();
    for reference in [wanted.as_str(), "v1"] {
        let answer = client.ask("GET", &format!("/v2/hub/team/app/manifests/{reference}"));
        assert_eq!(answer.expect(502).code(), "UNAVAILABLE");
    }
    let catalog = client.ask("GET", "/v2/_catalog").expect(200).json();
    assert_eq!(catalog["repositories"], serde_json::json!([]));
}

#[test]
fn each_refusal_of_the_other_registry_means_something_here() {
    let liar = Liar::start();
    let cache = Cache::start(&proxy("hub", liar.address()));
    let mut client = cache.client();
    let digest = sha256(b"x");
    for (status, headers, meant, code, retry) in [
        (404, [("x", "y")], 404, "", None),
        (
            401,
            [("www-authenticate", "Basic realm=\"r\"")],
            403,
            "DENIED",
            None,
        ),
        (403, [("x", "y")], 403, "DENIED", None),
        (429, [("retry-after", "77")], 429, "TOOMANYREQUESTS", Some("77")),
        (500, [("retry-after", "0")], 503, "UNAVAILABLE", Some("5")),
        (400, [("x", "y")], 502, "UNAVAILABLE", None),
    ] {
        liar.fake.plan(move |_: &Seen| reply(status, &headers, "{}"));
        for (path, unknown) in [
            ("manifests/v1".to_owned(), "MANIFEST_UNKNOWN"),
            (format!("manifests/{digest}"), "MANIFEST_UNKNOWN"),
            (format!("blobs/{digest}"), "BLOB_UNKNOWN"),
            ("tags/list".to_owned(), "NAME_UNKNOWN"),
        ] {
            let answer = client.ask("GET", &format!("/v2/hub/team/app/{path}"));
            let answer = answer.expect(meant);
            let code = if code.is_empty() { unknown } else { code };
            assert_eq!(answer.code(), code, "{status} {path}");
            if retry.is_some() {
                assert_eq!(answer.header("retry-after"), retry, "{status} {path}");
            }
            assert_eq!(answer.header("www-authenticate"), None);
        }
    }
}

#[test]
fn what_is_here_is_given_while_the_other_registry_has_too_much_to_do() {
    let liar = Liar::start();
    let document = format!(r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","layers":[]}}"#);
    liar.fake.add_manifest("team/app", "v1", MANIFEST, &document);
    let cache = Cache::start(&proxy("hub", liar.address()));
    let mut client = cache.client();
    let path = "/v2/hub/team/app/manifests/v1";
    client.ask("GET", path).expect(200);
    for status in [429, 500, 502] {
        liar.fake
            .plan(move |_: &Seen| reply(status, &[("retry-after", "77")], ""));
        assert_eq!(
            client.ask("GET", path).expect(200).body,
            document.as_bytes(),
            "{status}"
        );
    }
    // Whoever is refused gets nothing, also not what was there before.
    liar.fake.plan(|_: &Seen| reply(403, &[], ""));
    client.ask("GET", path).expect(403);
    // And while nothing is wrong, one question is enough.
    liar.fake.plan(|_: &Seen| Fault::None);
    let before = liar.fake.seen().len();
    client.ask("GET", path).expect(200);
    let lines = liar.fake.lines();
    assert_eq!(lines[before..], ["HEAD /v2/team/app/manifests/v1"]);
}

#[test]
fn a_login_is_shown_to_the_other_registry_and_to_nobody_else() {
    let liar = Liar::start();
    let blob = noise(1_000, 24);
    let digest = liar.fake.add_blob(blob.clone()).digest.to_string();
    liar.fake.plan(|seen: &Seen| match seen.header("authorization") {
        // "me:s3cret"
        Some("Basic bWU6czNjcmV0") => Fault::None,
        Some(other) => panic!("{other}"),
        None => reply(401, &[("www-authenticate", "Basic realm=\"r\"")], ""),
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    fs::write(&file, "s3cret\n").unwrap();
    let login = format!("username = \"me\"\npassword_file = {file:?}\n");
    let cache = Cache::again(folder, &format!("{}{login}", proxy("hub", liar.address())));
    let mut client = cache.client();
    // What a client shows us is for us.
    let authorization = [("Authorization", "Basic Y2xpZW50OnB3")];
    let answer = client.send("GET", &blob_path(&digest), &authorization, None);
    assert!(answer.expect(200).body == blob);
    fs::remove_file(&file).unwrap();
    assert!(client.ask("GET", &blob_path(&digest)).expect(200).body == blob);
}

#[test]
fn where_a_password_is_kept_is_not_told_to_clients() {
    let liar = Liar::start();
    liar.fake
        .plan(|_: &Seen| reply(401, &[("www-authenticate", "Basic realm=\"r\"")], ""));
    let login = "username = \"me\"\npassword_file = \"/nowhere/at/all\"\n";
    let cache = Cache::start(&format!("{}{login}", proxy("hub", liar.address())));
    let answer = cache.client().ask("GET", "/v2/hub/a/manifests/v1").expect(503);
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(
        !text.contains("nowhere") && text.contains("the log says why"),
        "{text}"
    );
}
