//! Our own registry as the other one: what comes, what stays, what is asked again, and what cannot be done.

use std::fs;

use serde_json::json;

use super::rig::{Cache, config_on, proxy};
use crate::client::Client;
use crate::serving::{MANIFEST, Serving, image, push_blob, put_manifest, sha256};

/// Pushes an image of a layer with this content under a tag; its manifest.
fn push(upstream: &Serving, name: &str, tag: &str, content: &str) -> String {
    let mut client = upstream.client();
    let manifest = image(&mut client, name, content, "");
    put_manifest(&mut client, name, tag, MANIFEST, &manifest).expect(201);
    manifest
}

fn get(client: &mut Client, path: &str) -> Vec<u8> {
    client.ask("GET", path).expect(200).body
}

fn pull(client: &mut Client, name: &str, tag: &str, manifest: &str, content: &str) {
    assert_eq!(
        get(client, &format!("/v2/{name}/manifests/{tag}")),
        manifest.as_bytes()
    );
    let digest = sha256(manifest.as_bytes());
    assert_eq!(
        get(client, &format!("/v2/{name}/manifests/{digest}")),
        manifest.as_bytes()
    );
    let layer = sha256(content.as_bytes());
    assert_eq!(
        get(client, &format!("/v2/{name}/blobs/{layer}")),
        content.as_bytes()
    );
    assert_eq!(get(client, &format!("/v2/{name}/blobs/{}", sha256(b"{}"))), b"{}");
}

fn comes_once_and_stays(upstream: &mut Serving, cache: &Cache) {
    let manifest = push(upstream, "team/app", "v1", "layer");
    let mut client = cache.client();
    let head = client.ask("HEAD", &format!("/v2/hub/team/app/blobs/{}", sha256(b"layer")));
    assert_eq!(head.expect(200).header("content-length"), Some("5"));
    pull(&mut client, "hub/team/app", "v1", &manifest, "layer");
    let hits = "registry_proxy_hits_total{type=\"blob\"}";
    // Who reads a blob does not wait until it is kept.
    for content in ["layer", "{}"] {
        let path = format!("/v2/hub/team/app/blobs/{}", sha256(content.as_bytes()));
        let before = cache.counted(hits);
        while cache.counted(hits) == before {
            client.ask("HEAD", &path).expect(200);
        }
    }
    upstream.stop();
    let before = cache.counted(hits);
    let stale = "registry_proxy_stale_total{type=\"manifest\"}";
    assert_eq!(cache.counted(stale), 0);
    // Nobody can be asked any more: tags are as they were, and the rest is what it is.
    for _ in 0..2 {
        pull(&mut client, "hub/team/app", "v1", &manifest, "layer");
    }
    assert_eq!(cache.counted(stale), 2);
    assert_eq!(cache.counted(hits), before + 4);
    let tags = client.ask("GET", "/v2/hub/team/app/tags/list").expect(200).json();
    assert_eq!(tags, json!({"name": "hub/team/app", "tags": ["v1"]}));
    let other = client.ask("GET", "/v2/hub/team/app/manifests/v2").expect(503);
    assert_eq!(other.code(), "UNAVAILABLE");
    assert!(other.header("retry-after").is_some());
}

#[test]
fn an_image_comes_once_and_stays() {
    let mut upstream = Serving::memory();
    let cache = Cache::start(&proxy("hub", upstream.address));
    comes_once_and_stays(&mut upstream, &cache);
    // Also after a restart.
    let folder = cache.stop();
    let cache = Cache::again(folder, &proxy("hub", upstream.address));
    assert_eq!(
        get(
            &mut cache.client(),
            &format!("/v2/hub/team/app/blobs/{}", sha256(b"layer"))
        ),
        b"layer"
    );
}

#[test]
fn the_same_on_a_driver_without_files() {
    let mut upstream = Serving::memory();
    let folder = tempfile::tempdir().unwrap();
    let config = config_on(
        folder.path(),
        "driver = \"inmemory\"",
        &proxy("hub", upstream.address),
    );
    comes_once_and_stays(&mut upstream, &Cache::of(&config, folder));
}

#[test]
fn each_prefix_has_its_registry_and_the_rest_is_our_own() {
    let (one, two) = (Serving::memory(), Serving::memory());
    let manifest_one = push(&one, "app", "v1", "from one");
    let manifest_two = push(&two, "team/app", "v1", "from two");
    let below = format!(
        "[[proxy]]\nprefix = \"hub/deep\"\nupstream = \"http://{}/team\"\n",
        two.address
    );
    let cache = Cache::start(&format!("{}{below}", proxy("hub", one.address)));
    let mut client = cache.client();
    pull(&mut client, "hub/app", "v1", &manifest_one, "from one");
    pull(&mut client, "hub/deep/app", "v1", &manifest_two, "from two");
    client.ask("GET", "/v2/hub/team/app/manifests/v1").expect(404);
    for name in ["own", "hubble/app", "hub"] {
        let own = image(&mut client, name, name, "");
        put_manifest(&mut client, name, "v1", MANIFEST, &own).expect(201);
        pull(&mut client, name, "v1", &own, name);
    }
    client.ask("GET", "/v2/own/manifests/v2").expect(404);
    let catalog = client.ask("GET", "/v2/_catalog").expect(200).json();
    let all = json!(["hub", "hub/app", "hub/deep/app", "hubble/app", "own"]);
    assert_eq!(catalog["repositories"], all);
    // What is in the cache can be mounted, if the client may read it there.
    let mount = format!(
        "/v2/own/blobs/uploads/?mount={}&from=hub/app",
        sha256(b"from one")
    );
    client.ask("POST", &mount).expect(201);
}

#[test]
fn the_copy_of_another_registry_is_not_pushed_to() {
    let upstream = Serving::memory();
    let manifest = push(&upstream, "app", "v1", "layer");
    let cache = Cache::start(&proxy("hub", upstream.address));
    let mut client = cache.client();
    pull(&mut client, "hub/app", "v1", &manifest, "layer");
    let place = format!("/v2/hub/app/blobs/uploads/?digest={}", sha256(b"x"));
    for answer in [
        client.ask("POST", "/v2/hub/app/blobs/uploads/"),
        client.send("POST", &place, &[], Some(b"x")),
        client.ask("GET", "/v2/hub/app/blobs/uploads/0"),
        put_manifest(&mut client, "hub/app", "v2", MANIFEST, &manifest),
    ] {
        let answer = answer.expect(405);
        assert_eq!(answer.code(), "UNSUPPORTED");
        let message = answer.json()["errors"][0]["message"].to_string();
        let where_to = format!("a copy of what {} has", upstream.address);
        assert!(message.contains(&where_to), "{message}");
    }
    // What is deleted here comes again.
    let path = format!("/v2/hub/app/manifests/{}", sha256(manifest.as_bytes()));
    client.ask("DELETE", &path).expect(202);
    pull(&mut client, "hub/app", "v1", &manifest, "layer");
}

#[test]
fn tags_go_where_the_other_registry_says() {
    let upstream = Serving::memory();
    let first = push(&upstream, "app", "v1", "first");
    let more = format!("{}revalidate = \"1h\"\n", proxy("slow", upstream.address));
    let cache = Cache::start(&format!("{}{more}", proxy("quick", upstream.address)));
    let mut client = cache.client();
    for name in ["quick/app", "slow/app"] {
        pull(&mut client, name, "v1", &first, "first");
    }
    let second = push(&upstream, "app", "v1", "second");
    pull(&mut client, "quick/app", "v1", &second, "second");
    pull(&mut client, "slow/app", "v1", &first, "first");
    // Back to what is here already.
    push(&upstream, "app", "v1", "first");
    pull(&mut client, "quick/app", "v1", &first, "first");
    upstream
        .client()
        .ask("DELETE", "/v2/app/manifests/v1")
        .expect(202);
    let gone = client.ask("GET", "/v2/quick/app/manifests/v1").expect(404);
    assert_eq!(gone.code(), "MANIFEST_UNKNOWN");
    // By digest it is what it is.
    let path = format!("/v2/quick/app/manifests/{}", sha256(first.as_bytes()));
    assert_eq!(get(&mut client, &path), first.as_bytes());
    drop(upstream);
    client.ask("GET", "/v2/quick/app/manifests/v1").expect(503);
}

#[test]
fn lists_are_those_of_the_other_registry() {
    let upstream = Serving::memory();
    let manifest = push(&upstream, "app", "b", "layer");
    let mut theirs = upstream.client();
    for tag in ["a", "d", "c"] {
        put_manifest(&mut theirs, "app", tag, MANIFEST, &manifest).expect(201);
    }
    let subject = sha256(manifest.as_bytes());
    let about = format!(
        ",\"artifactType\":\"a/signature\",\"subject\":{{\"mediaType\":\"{MANIFEST}\",\"digest\":\"{subject}\",\"size\":{}}}",
        manifest.len()
    );
    let signature = image(&mut theirs, "app", "signature", &about);
    put_manifest(
        &mut theirs,
        "app",
        &sha256(signature.as_bytes()),
        MANIFEST,
        &signature,
    )
    .expect(201);
    let mut cache = Cache::start(&proxy("", upstream.address));
    let mut client = cache.client();
    let page = client.ask("GET", "/v2/app/tags/list?n=2").expect(200);
    assert_eq!(page.json()["tags"], json!(["a", "b"]));
    assert_eq!(
        page.header("link"),
        Some("</v2/app/tags/list?n=2&last=b>; rel=\"next\"")
    );
    let page = client.ask("GET", "/v2/app/tags/list?n=2&last=b").expect(200);
    assert_eq!(
        (page.json()["tags"].clone(), page.header("link")),
        (json!(["c", "d"]), None)
    );
    client.ask("GET", "/v2/none/tags/list").expect(404);
    for (kind, found) in [
        ("", 1),
        ("?artifactType=a/signature", 1),
        ("?artifactType=a/b", 0),
    ] {
        let path = format!("/v2/app/referrers/{subject}{kind}");
        let list = client.ask("GET", &path).expect(200).json();
        assert_eq!(list["manifests"].as_array().unwrap().len(), found, "{kind}");
    }
    // A signature that was pulled is listed when nobody can be asked.
    get(
        &mut client,
        &format!("/v2/app/manifests/{}", sha256(signature.as_bytes())),
    );
    drop((theirs, client));
    let folder = cache.stop();
    let address = upstream.address;
    drop(upstream);
    cache = Cache::again(folder, &proxy("", address));
    let list = cache
        .client()
        .ask("GET", &format!("/v2/app/referrers/{subject}"))
        .expect(200)
        .json();
    assert_eq!(list["manifests"].as_array().unwrap().len(), 1);
}

#[test]
fn a_mirror_is_asked_with_the_name_of_what_it_mirrors() {
    let upstream = Serving::memory();
    let manifest = push(&upstream, "team/app", "v1", "layer");
    let more = [
        proxy("quay.io", upstream.address),
        proxy("localhost_5000", upstream.address),
    ];
    let cache = Cache::start(&more.concat());
    let mut client = cache.client();
    for host in ["quay.io", "localhost:5000", "QUAY.io"] {
        let path = format!("/v2/team/app/manifests/v1?ns={host}");
        assert_eq!(get(&mut client, &path), manifest.as_bytes(), "{host}");
        let path = format!("/v2/team/app/blobs/{}?ns={host}", sha256(b"layer"));
        assert_eq!(get(&mut client, &path), b"layer", "{host}");
    }
    pull(&mut client, "quay.io/team/app", "v1", &manifest, "layer");
    // Another host is none of these, and nothing is renamed.
    client
        .ask("GET", "/v2/team/app/manifests/v1?ns=ghcr.io")
        .expect(404);
    let refused = client.ask("POST", "/v2/team/app/blobs/uploads/?ns=quay.io");
    assert_eq!(refused.expect(405).code(), "UNSUPPORTED");
}

#[test]
fn who_may_not_read_here_causes_nothing_there() {
    let upstream = Serving::memory();
    push(&upstream, "app", "v1", "layer");
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.toml");
    fs::write(
        &policy,
        "[[rules]]\nrepositories = [\"open/**\"]\nwho = [\"everyone\"]\nallow = [\"pull\"]\n",
    )
    .unwrap();
    let more = [
        proxy("open", upstream.address),
        proxy("closed", upstream.address),
        format!("[policy]\nfile = {policy:?}\n"),
    ];
    let cache = Cache::again(folder, &more.concat());
    let mut client = cache.client();
    client.ask("GET", "/v2/open/app/manifests/v1").expect(200);
    let before = upstream.counted();
    for path in [
        "manifests/v1",
        &format!("blobs/{}", sha256(b"layer")),
        "tags/list",
    ] {
        let refused = client.ask("GET", &format!("/v2/closed/app/{path}"));
        assert!(matches!(refused.status, 401 | 403), "{path}: {}", refused.status);
    }
    // Nor by the name of a mirror.
    let refused = client.ask("GET", "/v2/app/manifests/v1?ns=closed");
    assert!(matches!(refused.status, 401 | 403), "{}", refused.status);
    let requests = |text: &str| {
        let lines = text
            .lines()
            .filter(|line| line.starts_with("registry_http_requests_total"));
        lines.map(str::to_owned).collect::<Vec<String>>()
    };
    assert_eq!(requests(&before), requests(&upstream.counted()));
}

#[test]
fn a_blob_of_two_repositories_is_kept_once_and_asked_for_in_both() {
    let upstream = Serving::memory();
    for name in ["one", "two"] {
        push_blob(&mut upstream.client(), name, b"shared");
    }
    let cache = Cache::start(&proxy("hub", upstream.address));
    let mut client = cache.client();
    let path = |name: &str| format!("/v2/hub/{name}/blobs/{}", sha256(b"shared"));
    for name in ["one", "two"] {
        assert_eq!(get(&mut client, &path(name)), b"shared");
        cache.kept(&sha256(b"shared"));
    }
    assert_eq!(
        cache.counted("registry_proxy_pulled_bytes_total{type=\"blob\"}"),
        6
    );
    // That the bytes are here says nothing about a third one.
    let unknown = client.ask("GET", &path("three")).expect(404);
    assert_eq!(unknown.code(), "BLOB_UNKNOWN");
}

#[test]
fn the_other_registry_has_to_show_who_it_is() {
    let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/registry/keys");
    let plain = Cache::start("");
    let manifest = image(&mut plain.client(), "app", "layer", "");
    put_manifest(&mut plain.client(), "app", "v1", MANIFEST, &manifest).expect(201);
    let tls =
        format!("[http.tls]\ncertificate = \"{keys}/tls-server.crt\"\nkey = \"{keys}/tls-server.pem\"\n");
    let upstream = Cache::again(plain.stop(), &tls);
    let port = upstream.address.port();
    let of = |prefix: &str, more: &str| {
        format!("[[proxy]]\nprefix = \"{prefix}\"\nupstream = \"https://localhost:{port}\"\n{more}")
    };
    let hosts = tempfile::tempdir().unwrap();
    let folder = hosts.path().join(format!("localhost_{port}_"));
    fs::create_dir(&folder).unwrap();
    let settings = format!("server = \"https://localhost:{port}\"\nca = \"{keys}/tls-ca.crt\"\n");
    fs::write(folder.join("hosts.toml"), settings).unwrap();
    let trusted = format!("hosts = {:?}\n", hosts.path());
    let cache = Cache::start(&format!("{}{}", of("trusted", &trusted), of("stranger", "")));
    let mut client = cache.client();
    pull(&mut client, "trusted/app", "v1", &manifest, "layer");
    // On this machine, too, if it is to be https.
    let refused = client.ask("GET", "/v2/stranger/app/manifests/v1").expect(503);
    let text = String::from_utf8_lossy(&refused.body).into_owned();
    assert!(text.contains("no trusted connection"), "{text}");
}
