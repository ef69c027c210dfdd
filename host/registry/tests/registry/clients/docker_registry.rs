//! docker-registry on a folder of ours, and the other way round.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use transom_meta::kv::memory::Memory;
use transom_registry::index::List;
use transom_registry::{Index, Options, Settings};
use transom_storage::filesystem::Filesystem;
use transom_tests::require_program;

use super::{Place, blobs, layout};
use crate::client::Client;
use crate::index::has_stamps;
use crate::serving::{MANIFEST, Serving, put_manifest, sha256};

/// A docker-registry that serves a folder.
pub(crate) struct DockerRegistry {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl DockerRegistry {
    pub(crate) fn start(place: &Place, folder: &Path) -> DockerRegistry {
        let config = format!(
            "version: 0.1\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\nhttp: {{addr: \"127.0.0.1:0\"}}\n",
            folder.display()
        );
        fs::write(place.path("docker-registry.yml"), config).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(place.path("docker-registry.yml"));
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let rest = line.split("listening on ").nth(1)?;
            rest.split(['"', ',']).next()?.parse().ok()
        });
        // Nobody reads what it says of each request, and it must not wait for somebody who does.
        std::thread::spawn(move || lines.for_each(drop));
        let address = address.expect("docker-registry listens");
        DockerRegistry { child, address }
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ours(folder: &Path) -> Serving {
    let driver = Filesystem::open(folder, 25).unwrap();
    Serving::on(Arc::new(driver), Options::default(), Settings::default())
}

/// The tags that a registry lists, in order: docker-registry's are in none.
fn tags(address: SocketAddr, name: &str) -> Vec<String> {
    let answer = Client::connect(address).ask("GET", &format!("/v2/{name}/tags/list"));
    let list = answer.expect(200).json()["tags"].clone();
    let mut tags: Vec<String> = serde_json::from_value(list).unwrap();
    tags.sort();
    tags
}

/// Pushes a manifest about the one of a tag, made of the same blobs; gives the digests of both.
fn push_about(address: SocketAddr, name: &str, tag: &str) -> (String, String) {
    let mut client = Client::connect(address);
    let accept = [("Accept", MANIFEST)];
    let path = format!("/v2/{name}/manifests/{tag}");
    let about = client.send("GET", &path, &accept, None).expect(200);
    let subject = sha256(&about.body);
    let mut manifest = about.json();
    manifest["subject"] =
        serde_json::json!({"mediaType": MANIFEST, "digest": subject, "size": about.body.len()});
    let text = manifest.to_string();
    let digest = sha256(text.as_bytes());
    put_manifest(&mut client, name, &digest, MANIFEST, &text).expect(201);
    (subject, digest)
}

#[test]
fn lists_follow_a_docker_registry_that_writes_into_the_same_folder() {
    if require_program("skopeo").is_none() || require_program("docker-registry").is_none() {
        return;
    }
    let place = Place::new();
    let folder = place.path("registry");
    let registry = DockerRegistry::start(&place, &folder);
    let image = |name: &str| format!("docker://{}/{name}", registry.address);
    let sample = place.image("theirs");
    place.copy(&layout(&sample), &image("theirs:v1"), &[]);
    let (subject, referrer) = push_about(registry.address, "theirs", "v1");

    let serving = ours(&folder);
    let store = serving.registry.store();
    store.use_index(Index::new(Arc::new(Memory::new()), false));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let referrers = || {
        let path = format!("/v2/theirs/referrers/{subject}");
        let list = serving.client().ask("GET", &path).expect(200).json()["manifests"].clone();
        list.as_array()
            .unwrap()
            .iter()
            .map(|listed| listed["digest"].clone())
            .collect::<Vec<_>>()
    };
    assert!(referrers().is_empty());
    let built = runtime.block_on(store.build_index()).unwrap();
    assert_eq!((built.repositories, built.tags, built.referrers), (1, 1, 1));
    assert_eq!(referrers(), [referrer]);

    // Until the index answers, so that what follows is not only walked.
    let settled = |wanted: &[&str]| {
        let before = store.index().unwrap().counted(List::Tags).0;
        loop {
            assert_eq!(tags(serving.address, "theirs"), wanted);
            if !has_stamps(&folder) || store.index().unwrap().counted(List::Tags).0 > before {
                break;
            }
        }
    };
    settled(&["v1"]);
    for (tag, wanted) in [("v2", &["v1", "v2"][..]), ("v0", &["v0", "v1", "v2"])] {
        let other = place.image(tag);
        place.copy(&layout(&other), &image(&format!("theirs:{tag}")), &[]);
        assert_eq!(tags(serving.address, "theirs"), wanted);
        settled(wanted);
    }
    place.copy(&layout(&sample), &image("another/one:v1"), &[]);
    let catalog = || serving.client().ask("GET", "/v2/_catalog").expect(200).json()["repositories"].clone();
    assert_eq!(catalog(), serde_json::json!(["another/one", "theirs"]));
    place.skopeo(&["delete", "--tls-verify=false", &image("theirs:v2")]);
    assert_eq!(tags(serving.address, "theirs"), tags(registry.address, "theirs"));
    settled(&["v0", "v1"]);
}

#[test]
fn each_opens_what_the_other_has_written() {
    if require_program("skopeo").is_none() || require_program("docker-registry").is_none() {
        return;
    }
    let place = Place::new();
    let folder = place.path("registry");
    let (theirs, mine) = (place.image("theirs"), place.image("mine"));
    let registry = DockerRegistry::start(&place, &folder);
    let image = |address: SocketAddr, name: &str| format!("docker://{address}/{name}");
    place.copy(&layout(&theirs), &image(registry.address, "theirs:v1"), &[]);
    // An upload that it has begun is none of ours.
    let mut client = Client::connect(registry.address);
    client.ask("POST", "/v2/theirs/blobs/uploads/").expect(202);
    drop(registry);

    let mut serving = ours(&folder);
    let back = |address: SocketAddr, name: &str, to: &str, sample: &transom_tests::sample::Sample| {
        place.copy(
            &image(address, name),
            &format!("oci:{}:latest", place.text(to)),
            &[],
        );
        assert!(blobs(&sample.layout) == blobs(&place.path(to)), "{name}");
    };
    back(serving.address, "theirs:v1", "back1", &theirs);
    place.copy(&layout(&mine), &image(serving.address, "mine:v1"), &[]);
    place.copy(&layout(&mine), &image(serving.address, "theirs:v2"), &[]);
    let mut client = serving.client();
    client.ask("POST", "/v2/mine/blobs/uploads/").expect(202);
    let catalog = client.ask("GET", "/v2/_catalog").expect(200).json();
    assert_eq!(catalog["repositories"], serde_json::json!(["mine", "theirs"]));
    drop(client);
    serving.stop();
    drop(serving);

    let registry = DockerRegistry::start(&place, &folder);
    back(registry.address, "mine:v1", "back2", &mine);
    back(registry.address, "theirs:v1", "back3", &theirs);
    back(registry.address, "theirs:v2", "back4", &mine);
    let mut client = Client::connect(registry.address);
    let catalog = client.ask("GET", "/v2/_catalog").expect(200).json();
    assert_eq!(catalog["repositories"], serde_json::json!(["mine", "theirs"]));
    let mut tags = client.ask("GET", "/v2/theirs/tags/list").expect(200).json();
    tags["tags"]
        .as_array_mut()
        .unwrap()
        .sort_by_key(ToString::to_string);
    assert_eq!(tags["tags"], serde_json::json!(["v1", "v2"]));
    place.skopeo(&[
        "delete",
        "--tls-verify=false",
        &image(registry.address, "theirs:v1"),
    ]);
    drop(registry);

    let serving = ours(&folder);
    let tags = serving
        .client()
        .ask("GET", "/v2/theirs/tags/list")
        .expect(200)
        .json();
    assert_eq!(tags["tags"], serde_json::json!(["v2"]));
    // Its collector keeps what we have, too.
    drop(serving);
    let collect = ["garbage-collect", "--delete-untagged"];
    super::good(
        Command::new("docker-registry")
            .args(collect)
            .arg(place.path("docker-registry.yml")),
    );
    let serving = ours(&folder);
    back(serving.address, "mine:v1", "back5", &mine);
    back(serving.address, "theirs:v2", "back6", &mine);
}
