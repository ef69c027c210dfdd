//! Collecting garbage: what goes and what stays, and that nothing is lost that somebody needs while it runs.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tokio::runtime::Runtime;
use transom_registry::store::{Collected, Collection};
use transom_registry::{Options, Settings, Store};
use transom_storage::filesystem::Filesystem;
use transom_storage::{Factory, StorageDriver};
use transom_tests::moto::Moto;

use crate::client::Client;
use crate::serving::{INDEX, MANIFEST, Serving, image, push_blob, put_manifest, sha256};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn collect(store: &Store, untagged_after: Option<Duration>, dry_run: bool) -> Collected {
    let collection = Collection {
        settle: Duration::ZERO,
        untagged_after,
        dry_run,
    };
    Runtime::new()
        .unwrap()
        .block_on(store.collect(&collection))
        .unwrap()
}

/// Makes everything below a folder two days old.
fn age(folder: &Path) {
    let then = SystemTime::now() - 2 * DAY;
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => age(&entry.path()),
            false => std::fs::File::open(entry.path())
                .unwrap()
                .set_modified(then)
                .unwrap(),
        }
    }
}

fn has_bytes(serving: &Serving, digest: &str) -> bool {
    let hex = digest.strip_prefix("sha256:").unwrap();
    let folder = serving.folder().join("docker/registry/v2/blobs/sha256");
    folder.join(&hex[..2]).join(hex).join("data").exists()
}

/// An index of one manifest.
fn index(child: &str) -> String {
    let size = child.len();
    let digest = sha256(child.as_bytes());
    format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{MANIFEST}","digest":"{digest}","size":{size}}}]}}"#
    )
}

#[test]
fn what_nothing_leads_to_goes_when_it_is_old() {
    let serving = Serving::files();
    let mut client = serving.client();
    let store = serving.registry.store();
    let kept = image(&mut client, "a", "kept", "");
    put_manifest(&mut client, "a", "kept", MANIFEST, &kept).expect(201);
    let child = image(&mut client, "a", "child", "");
    put_manifest(&mut client, "a", &sha256(child.as_bytes()), MANIFEST, &child).expect(201);
    put_manifest(&mut client, "a", "index", INDEX, &index(&child)).expect(201);
    let gone = image(&mut client, "a", "gone", "");
    put_manifest(&mut client, "a", "gone", MANIFEST, &gone).expect(201);
    client
        .ask("DELETE", &format!("/v2/a/manifests/{}", sha256(gone.as_bytes())))
        .expect(202);
    let lone = push_blob(&mut client, "b", b"lone");
    // All of it is young.
    let nothing = collect(store, Some(DAY), false);
    assert_eq!(
        (
            nothing.deleted_links,
            nothing.deleted_blobs,
            nothing.deleted_manifests
        ),
        (0, 0, 0)
    );
    age(serving.folder());
    let said = collect(store, Some(DAY), true);
    assert!(has_bytes(&serving, &lone));
    let done = collect(store, Some(DAY), false);
    assert_eq!(
        (said.deleted_links, said.deleted_blobs, said.deleted_bytes),
        (done.deleted_links, done.deleted_blobs, done.deleted_bytes)
    );
    // The layer and the manifest of what was deleted, and the blob that nobody refers to.
    assert_eq!(
        (done.deleted_links, done.deleted_blobs, done.deleted_manifests),
        (2, 3, 0)
    );
    assert_eq!(
        done.deleted_bytes,
        (gone.len() + "gone".len() + "lone".len()) as u64
    );
    assert_eq!((done.repositories, done.manifests, done.blobs), (2, 3, 6));
    assert!(done.unreadable.is_empty());
    for digest in [&lone, &sha256(b"gone"), &sha256(gone.as_bytes())] {
        assert!(!has_bytes(&serving, digest));
    }
    for content in ["kept", "child"] {
        client
            .ask("GET", &format!("/v2/a/blobs/{}", sha256(content.as_bytes())))
            .expect(200);
    }
    client.ask("GET", "/v2/a/manifests/index").expect(200);
    client
        .ask("GET", &format!("/v2/a/manifests/{}", sha256(child.as_bytes())))
        .expect(200);
    // It can be pushed again.
    push_blob(&mut client, "b", b"lone");
    assert!(has_bytes(&serving, &lone));
}

#[test]
fn untagged_manifests_go_if_that_is_wanted() {
    let serving = Serving::files();
    let mut client = serving.client();
    let store = serving.registry.store();
    let subject = image(&mut client, "a", "subject", "");
    let digest = sha256(subject.as_bytes());
    put_manifest(&mut client, "a", "latest", MANIFEST, &subject).expect(201);
    let about = |digest: &str, note: &str| {
        format!(
            r#","subject":{{"mediaType":"{MANIFEST}","digest":"{digest}","size":1}},"annotations":{{"n":"{note}"}}"#
        )
    };
    let referrer = image(&mut client, "a", "referrer", &about(&digest, "kept"));
    let other = image(&mut client, "a", "other", &about(&sha256(b"nowhere"), "gone"));
    let loose = image(&mut client, "a", "loose", "");
    for manifest in [&referrer, &other, &loose] {
        put_manifest(&mut client, "a", &sha256(manifest.as_bytes()), MANIFEST, manifest).expect(201);
    }
    age(serving.folder());
    assert_eq!(collect(store, None, false).deleted_manifests, 0);
    assert_eq!(collect(store, Some(3 * DAY), false).deleted_manifests, 0);
    let done = collect(store, Some(DAY), false);
    assert_eq!(
        (done.deleted_manifests, done.deleted_links, done.deleted_blobs),
        (2, 2, 4)
    );
    let path = |manifest: &str| format!("/v2/a/manifests/{}", sha256(manifest.as_bytes()));
    client.ask("GET", &path(&loose)).expect(404);
    client.ask("GET", &path(&other)).expect(404);
    client.ask("GET", &path(&referrer)).expect(200);
    client
        .ask("GET", &format!("/v2/a/blobs/{}", sha256(b"referrer")))
        .expect(200);
}

#[test]
fn a_blob_that_somebody_asks_for_stays() {
    let serving = Serving::files();
    let mut client = serving.client();
    let manifest = image(&mut client, "a", "asked for", "");
    age(serving.folder());
    for content in [&b"{}"[..], b"asked for"] {
        client
            .ask("HEAD", &format!("/v2/a/blobs/{}", sha256(content)))
            .expect(200);
    }
    let done = collect(serving.registry.store(), None, false);
    assert_eq!((done.deleted_links, done.deleted_blobs), (0, 0));
    put_manifest(&mut client, "a", "latest", MANIFEST, &manifest).expect(201);
    // Bytes that nothing leads to are not mounted: they may go any moment.
    let lone = push_blob(&mut client, "b", b"lone");
    client.ask("DELETE", &format!("/v2/b/blobs/{lone}")).expect(202);
    client
        .ask("POST", &format!("/v2/c/blobs/uploads/?mount={lone}"))
        .expect(201);
    age(serving.folder());
    client
        .ask("POST", &format!("/v2/d/blobs/uploads/?mount={lone}"))
        .expect(202);
    push_blob(&mut client, "d", b"lone");
    assert_eq!(collect(serving.registry.store(), None, false).deleted_blobs, 0);
    client.ask("GET", &format!("/v2/d/blobs/{lone}")).expect(200);
}

#[test]
fn where_a_manifest_cannot_be_read_nothing_goes() {
    let serving = Serving::files();
    let mut client = serving.client();
    let manifest = image(&mut client, "a", "layer", "");
    put_manifest(&mut client, "a", "latest", MANIFEST, &manifest).expect(201);
    let digest = sha256(manifest.as_bytes());
    let hex = digest.strip_prefix("sha256:").unwrap();
    let data = format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
    std::fs::write(serving.folder().join(data), "damaged").unwrap();
    age(serving.folder());
    let store = Store::new(
        Arc::new(Filesystem::open(serving.folder(), 25).unwrap()),
        Options::default(),
    );
    let done = collect(&store, Some(DAY), false);
    assert_eq!(
        (done.unreadable, done.deleted_links, done.deleted_blobs),
        (vec!["a".to_owned()], 0, 0)
    );
}

#[test]
fn what_a_dead_collector_left_aside_comes_back() {
    let serving = Serving::files();
    let mut client = serving.client();
    let digest = push_blob(&mut client, "a", b"aside");
    let hex = digest.strip_prefix("sha256:").unwrap();
    let root = serving.folder().join("docker/registry/v2");
    let aside = root.join("_transom/aside/sha256");
    std::fs::create_dir_all(&aside).unwrap();
    std::fs::rename(
        root.join(format!("blobs/sha256/{}/{hex}/data", &hex[..2])),
        aside.join(hex),
    )
    .unwrap();
    client.ask("GET", &format!("/v2/a/blobs/{digest}")).expect(404);
    collect(serving.registry.store(), None, false);
    assert_eq!(
        client
            .ask("GET", &format!("/v2/a/blobs/{digest}"))
            .expect(200)
            .body,
        b"aside"
    );
}

/// Pushes an image, looks at it, and deletes it now and then. Of three layers, one is new, and two are everybody's.
fn push_pull_delete(client: &mut Client, name: &str, number: u32) {
    let layer = match number % 3 {
        0 => format!("layer {name} {number}"),
        _ => format!("layer {}", number % 5),
    };
    let tag = format!("t{}", number % 3);
    let manifest = loop {
        let manifest = image(client, name, &layer, "");
        let pushed = put_manifest(client, name, &tag, MANIFEST, &manifest);
        match pushed.status {
            201 => break manifest,
            // On a machine where a push takes as long as the grace period, it is to be done again; nothing is lost by that.
            _ => assert_eq!(pushed.code(), "MANIFEST_BLOB_UNKNOWN"),
        }
    };
    let got = client
        .ask("GET", &format!("/v2/{name}/manifests/{tag}"))
        .expect(200);
    assert_eq!(got.body, manifest.as_bytes());
    for content in ["{}", &layer] {
        let blob = client.ask("GET", &format!("/v2/{name}/blobs/{}", sha256(content.as_bytes())));
        assert_eq!(blob.expect(200).body, content.as_bytes());
    }
    if number.is_multiple_of(2) {
        let deleted = client.ask(
            "DELETE",
            &format!("/v2/{name}/manifests/{}", sha256(manifest.as_bytes())),
        );
        deleted.expect(202);
    }
}

/// How long the hammer strikes where much too little happens. Then the test fails.
const SLOWEST: Duration = Duration::from_secs(300);

/// How long the hammer strikes: `TRANSOM_HAMMER_SECONDS`, or little.
fn hammering() -> Duration {
    let seconds = std::env::var("TRANSOM_HAMMER_SECONDS").ok();
    Duration::from_secs(seconds.map_or(12, |seconds| seconds.parse().unwrap()))
}

#[test]
fn nothing_is_lost_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let files = || Arc::new(Filesystem::open(folder.path(), 25).unwrap()) as Arc<dyn StorageDriver>;
    hammer([files(), files()], Duration::from_millis(2_000), 20);
}

/// The same where each look at an object is a request, and nothing is locked but by names.
#[test]
fn nothing_is_lost_in_a_bucket_either() {
    let Some(moto) = Moto::start() else {
        return;
    };
    moto.make_bucket("bucket");
    let bucket = || Factory::builtin().open(&s3(&moto)).unwrap();
    hammer([bucket(), bucket()], Duration::from_millis(4_000), 4);
}

fn s3(moto: &Moto) -> serde_json::Map<String, serde_json::Value> {
    let mut parameters = moto.parameters("bucket", "root");
    parameters.insert("driver".to_owned(), "s3".into());
    parameters
}

/// Two instances, both of which collect all the time, and clients, each with a repository of its own, so that it knows what must be
/// there; the blobs are everybody's. With a grace period of a moment, links and bytes come and go all the time.
fn hammer(drivers: [Arc<dyn StorageDriver>; 2], grace: Duration, least: u32) {
    let options = Options {
        grace,
        ..Options::default()
    };
    let settings = || Settings {
        redirect: false,
        ..Settings::default()
    };
    let instances = drivers.map(|driver| Serving::on(driver, options, settings()));
    let (stop, rounds) = (AtomicBool::new(false), AtomicU32::new(0));
    let deleted = AtomicU32::new(0);
    let enough = || rounds.load(Ordering::Relaxed) >= least && deleted.load(Ordering::Relaxed) > 0;
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|client| {
                let (instances, rounds, enough) = (&instances, &rounds, &enough);
                scope.spawn(move || strike(&instances[client % 2], client as u32, grace, rounds, enough))
            })
            .collect();
        for serving in &instances {
            let (stop, deleted) = (&stop, &deleted);
            scope.spawn(move || {
                let collection = Collection {
                    settle: Duration::from_millis(200),
                    untagged_after: Some(grace),
                    dry_run: false,
                };
                let runtime = Runtime::new().unwrap();
                while !stop.load(Ordering::Relaxed) {
                    let store = serving.registry.store();
                    let done = runtime.block_on(store.collect(&collection)).unwrap();
                    deleted.fetch_add(done.deleted_blobs as u32, Ordering::Relaxed);
                }
            });
        }
        let ended: Vec<_> = clients
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect();
        stop.store(true, Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok));
    });
    let (rounds, deleted) = (rounds.into_inner(), deleted.into_inner());
    println!("{rounds} rounds, {deleted} blobs were deleted");
    assert!(rounds >= least && deleted > 0, "{rounds} {deleted}");
    check_all(&instances[0]);
}

/// One client's rounds, until there are enough on a slow machine, too.
fn strike(serving: &Serving, client: u32, grace: Duration, rounds: &AtomicU32, enough: impl Fn() -> bool) {
    let mut connection = serving.client();
    let (name, begun) = (format!("r{client}"), Instant::now());
    let mut number = client;
    while begun.elapsed() < hammering() || (begun.elapsed() < SLOWEST && !enough()) {
        push_pull_delete(&mut connection, &name, number);
        rounds.fetch_add(1, Ordering::Relaxed);
        // Long pauses are what makes things old.
        if number.is_multiple_of(20) {
            std::thread::sleep(grace + Duration::from_millis(500));
        }
        number += 1;
    }
}

/// Everything that a tag leads to is there.
fn check_all(serving: &Serving) {
    let mut client = serving.client();
    for number in 0..4 {
        let tags = client
            .ask("GET", &format!("/v2/r{number}/tags/list"))
            .expect(200)
            .json();
        for tag in tags["tags"].as_array().unwrap() {
            let path = format!("/v2/r{number}/manifests/{}", tag.as_str().unwrap());
            let manifest = client.ask("GET", &path).expect(200).json();
            let layers = manifest["layers"].as_array().unwrap().iter();
            for part in layers.chain([&manifest["config"]]) {
                let digest = part["digest"].as_str().unwrap();
                let got = client
                    .ask("GET", &format!("/v2/r{number}/blobs/{digest}"))
                    .expect(200);
                assert_eq!(sha256(&got.body), digest);
            }
        }
    }
}
