//! A registry as it is configured, whole: its index, what operators see of it and of notifications.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use transom_registry::config::Config;
use transom_registry::run::{RunError, Running};
use transom_storage::Factory;

use crate::client::Client;
use crate::serving::{INDEX, put_manifest};

/// A registry that serves until it is dropped.
struct Place {
    runtime: Runtime,
    address: SocketAddr,
    operators: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<()>>,
}

impl Place {
    fn open(text: &str) -> Result<Place, RunError> {
        let head = "[http]\nlisten = \"127.0.0.1:0\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n";
        let config = Config::parse(&format!("{text}{head}")).unwrap();
        let runtime = Runtime::new().unwrap();
        let running = runtime.block_on(Running::open(&config, &Factory::builtin()))?;
        let (address, operators) = (running.address().unwrap(), running.admin_address().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = runtime.spawn(running.serve(async {
            let _ = stopped.await;
        }));
        Ok(Place {
            runtime,
            address,
            operators,
            stop: Some(stop),
            serving: Some(serving),
        })
    }

    fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Everything that is counted.
    fn counted(&self) -> String {
        let answer = Client::connect(self.operators).ask("GET", "/metrics").expect(200);
        String::from_utf8(answer.body).unwrap()
    }

    /// A number that is counted.
    fn number(&self, name: &str) -> Option<u64> {
        let text = self.counted();
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().parse().unwrap())
    }

    /// Asks until something holds, for what happens in the background.
    fn until(&self, what: &str, mut holds: impl FnMut(&Place) -> bool) {
        let patience = std::time::Instant::now();
        while !holds(self) {
            assert!(patience.elapsed().as_secs() < 60, "{what}: {}", self.counted());
            std::thread::yield_now();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(serving) = self.serving.take() {
            let _ = self.runtime.block_on(serving);
        }
    }
}

fn files(folder: &Path) -> String {
    format!("[storage]\ndriver = \"filesystem\"\nrootdirectory = {folder:?}\n")
}

fn push(client: &mut Client, name: &str, tag: &str) {
    let manifest = r#"{"schemaVersion":2,"manifests":[]}"#;
    put_manifest(client, name, tag, INDEX, manifest).expect(201);
}

const TAGS: &str = "registry_index_lists_total{list=\"tags\",from=\"index\"}";
const CATALOG: &str = "registry_index_lists_total{list=\"catalog\",from=\"index\"}";

#[test]
fn a_folder_has_an_index_that_one_process_uses() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let first = Place::open(&files(&store)).unwrap();
    let mut client = first.client();
    push(&mut client, "a/b", "one");
    first.until("the index is opened", |place| place.number(TAGS).is_some());
    assert!(store.join("~index/redb").is_file());
    let answer = Client::connect(first.operators)
        .ask("POST", "/reindex")
        .expect(202);
    assert_eq!(answer.json(), json!({ "reindex": "begun" }));
    Client::connect(first.operators)
        .ask("GET", "/reindex")
        .expect(405);
    // The other one finds the index in use, and is as right without.
    let second = Place::open(&files(&store)).unwrap();
    push(&mut second.client(), "a/b", "two");
    push(&mut second.client(), "c", "one");
    for place in [&second, &first] {
        let tags = place.client().ask("GET", "/v2/a/b/tags/list").expect(200).json();
        assert_eq!(tags["tags"], json!(["one", "two"]));
        let catalog = place.client().ask("GET", "/v2/_catalog").expect(200).json();
        assert_eq!(catalog["repositories"], json!(["a/b", "c"]));
    }
    assert_eq!(second.number(TAGS), None);
    Client::connect(second.operators)
        .ask("POST", "/reindex")
        .expect(404);
    if crate::index::has_stamps(folder.path()) {
        first.until("lists come from the index", |place| {
            let mut client = place.client();
            client.ask("GET", "/v2/a/b/tags/list").expect(200);
            client.ask("GET", "/v2/_catalog").expect(200);
            place.number(TAGS) > Some(0) && place.number(CATALOG) > Some(0)
        });
    }
    // Its folder is no content.
    assert_eq!(
        Client::connect(first.operators)
            .ask("GET", "/health")
            .expect(200)
            .json(),
        json!({})
    );
}

#[test]
fn where_the_index_is_and_whether_there_is_one_can_be_said() {
    let folder = tempfile::tempdir().unwrap();
    let (store, state) = (folder.path().join("store"), folder.path().join("state"));
    let none = Place::open(&format!("{}[index]\nenabled = false\n", files(&store))).unwrap();
    push(&mut none.client(), "a", "one");
    none.client().ask("GET", "/v2/a/tags/list").expect(200);
    assert!(!none.counted().contains("registry_index"));
    drop(none);
    assert!(!store.join("~index").exists());

    let only = format!(
        "state = {state:?}\n{}[index]\nonly_writer = true\n",
        files(&store)
    );
    let place = Place::open(&only).unwrap();
    push(&mut place.client(), "a", "two");
    let tags =
        |place: &Place| place.client().ask("GET", "/v2/a/tags/list").expect(200).json()["tags"].clone();
    assert_eq!(tags(&place), json!(["one", "two"]));
    push(&mut place.client(), "a", "three");
    assert_eq!(tags(&place), json!(["one", "three", "two"]));
    assert!(place.number(TAGS) >= Some(1));
    assert!(state.join("index/redb").is_file());
    // Who says that nobody else writes must not be wrong.
    let refused = Place::open(&only).map(drop).unwrap_err();
    assert!(matches!(refused, RunError::State(_)), "{refused}");
    drop(place);
    Place::open(&only).map(drop).unwrap();

    let nowhere = "[storage]\ndriver = \"inmemory\"\n[index]\nonly_writer = true\n";
    let refused = Place::open(nowhere).map(drop).unwrap_err().to_string();
    assert!(refused.starts_with("index.folder: "), "{refused}");
}

#[test]
fn operators_see_what_waits_to_be_told() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    // Nobody listens there, and nobody else can.
    let (_reserved, url) = crate::notifications::reserve();
    let text = format!(
        "state = {state:?}\n[storage]\ndriver = \"inmemory\"\n[[notifications]]\nname = \"hook\"\nurl = {url:?}\n"
    );
    let place = Place::open(&text).unwrap();
    let of_hook = |name: &str| format!("registry_notifications_{name}{{endpoint=\"hook\"}}");
    assert_eq!(place.number(&of_hook("pending")), Some(0));
    push(&mut place.client(), "a", "one");
    assert_eq!(place.number(&of_hook("pending")), Some(1));
    assert_eq!(place.number(&of_hook("recorded_total")), Some(1));
    place.until("a request fails", |place| {
        place.number(&of_hook("failures_total")) > Some(0)
    });
    assert_eq!(place.number(&of_hook("delivered_total")), Some(0));
    assert_eq!(place.number(&of_hook("lost_total")), Some(0));
}
