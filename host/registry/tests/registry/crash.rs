//! A process killed at every point of a push and of a delete, and what the next one finds.
//!
//! The points are the steps of the filesystem driver; what a power cut takes besides is in `power`.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::runtime::Runtime;
use transom_oci::{Algorithm, Digest};
use transom_registry::manifest::Manifest;
use transom_registry::names::{Reference, RepositoryName, Tag};
use transom_registry::store::{ManifestPush, Referrers};
use transom_registry::{Error, Options, Store, index};
use transom_storage::filesystem::{self, Filesystem, FlushBy, Step};
use transom_storage::{Condition, StorageDriver, StoragePath};

use crate::serving::{MANIFEST, noise, sha256};

const ROOT: &str = "TRANSOM_REGISTRY_CRASH_ROOT";
const POINT: &str = "TRANSOM_REGISTRY_CRASH_POINT";
const DEED: &str = "TRANSOM_REGISTRY_CRASH_DEED";
const INDEX: &str = "TRANSOM_REGISTRY_CRASH_INDEX";
const DONE: &str = "TRANSOM_REGISTRY_CRASH_DONE";
const FLUSH: &str = "TRANSOM_REGISTRY_CRASH_FLUSH";

pub(crate) fn name() -> RepositoryName {
    RepositoryName::new("some/where").unwrap()
}

fn subject() -> Digest {
    Digest::of(Algorithm::Sha256, b"subject")
}

fn layer() -> Vec<u8> {
    noise(300_000, 11)
}

fn manifest() -> String {
    let (config, layer) = (sha256(b"{}"), sha256(&layer()));
    let subject = subject();
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"x/config","digest":"{config}","size":2}},"layers":[{{"mediaType":"x/layer","digest":"{layer}","size":300000}}],"subject":{{"mediaType":"{MANIFEST}","digest":"{subject}","size":7}}}}"#
    )
}

pub(crate) async fn push_blob(store: &Store, bytes: &[u8]) {
    let id = store.begin_upload(&name(), None).await.unwrap();
    let mut upload = store.open_upload(&name(), &id).await.unwrap();
    for chunk in bytes.chunks(100_000) {
        upload.append(chunk.to_vec().into()).await.unwrap();
    }
    upload
        .commit(&name(), &sha256(bytes).parse().unwrap())
        .await
        .unwrap();
}

/// Pushes an image; `done` is told what is acknowledged.
pub(crate) async fn push(store: &Store, done: impl Fn(&str)) {
    for blob in [&b"{}"[..], &layer()] {
        push_blob(store, blob).await;
        done(&sha256(blob));
    }
    let push = ManifestPush {
        digest: None,
        tags: &[Tag::new("latest").unwrap(), Tag::new("other").unwrap()],
        media_type: Some(MANIFEST),
        bytes: manifest().into(),
    };
    store.push_manifest(&name(), push).await.unwrap();
    done("tags");
}

async fn delete(store: &Store) -> Result<(), Error> {
    let digest = sha256(manifest().as_bytes()).parse().unwrap();
    store.delete_manifest(&name(), &digest).await.map(drop)
}

/// Runs in a process of its own: does the deed, and is killed at the point.
#[test]
#[ignore = "the process that the tests of this file kill"]
fn child() {
    let variable = |name| std::env::var(name).unwrap();
    let point: usize = variable(POINT).parse().unwrap();
    let flush = variable(FLUSH);
    let (passed, journaled) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (count, found) = (Arc::clone(&passed), Arc::clone(&journaled));
    let observer = Arc::new(move |step| {
        found.fetch_or(step == Step::JournalSynced, Ordering::SeqCst);
        if count.fetch_add(1, Ordering::SeqCst) + 1 == point {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        }
    });
    let options = filesystem::Options {
        flush: (flush == "folders").then_some(FlushBy::Folders),
        journal: flush == "journal",
        observer: Some(observer),
        ..filesystem::Options::default()
    };
    if flush == "journal" {
        passed.store(usize::MAX / 2, Ordering::SeqCst);
    }
    let driver = Arc::new(Filesystem::open_with(variable(ROOT), options).unwrap());
    let store = Store::new(Arc::clone(&driver) as _, Options::default());
    let only_writer = std::env::var(INDEX).ok();
    Runtime::new().unwrap().block_on(async {
        if flush == "journal" {
            // Its file is made when it is first wanted.
            while !journaled.load(Ordering::SeqCst) {
                let warm = StoragePath::new("/warm").unwrap();
                driver.put(&warm, Bytes::new(), Condition::Always).await.unwrap();
            }
            passed.store(0, Ordering::SeqCst);
        }
        if let Some(only_writer) = only_writer {
            use_index(&store, Path::new(&variable(ROOT)), &only_writer).await;
        }
        match variable(DEED).as_str() {
            "push" => push(&store, note).await,
            "delete" => delete(&store).await.unwrap(),
            deed => panic!("unknown deed {deed}"),
        }
    });
}

/// Notes what was acknowledged where the parent finds it.
fn note(done: &str) {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(std::env::var(DONE).unwrap());
    writeln!(file.unwrap(), "{done}").unwrap();
}

/// Has a child do the deed up to a point; the store as the next process finds it, or nothing if it was done before that.
fn crash(root: &Path, deed: &str, point: usize) -> Option<Store> {
    kill(root, deed, point, "", &root.join("done")).map(|_| open(root))
}

/// The same with an index.
fn crash_with(root: &Path, deed: &str, point: usize, only_writer: &str) -> Option<Store> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(INDEX, only_writer);
    killed(command, root, deed, point, "", &root.join("done")).map(|_| open(root))
}

/// Has a child do the deed up to a point: what was acknowledged before it, or nothing if the deed was done before that.
pub(crate) fn kill(root: &Path, deed: &str, point: usize, flush: &str, noted: &Path) -> Option<Vec<String>> {
    let command = Command::new(std::env::current_exe().unwrap());
    killed(command, root, deed, point, flush, noted)
}

fn killed(
    mut command: Command,
    root: &Path,
    deed: &str,
    point: usize,
    flush: &str,
    noted: &Path,
) -> Option<Vec<String>> {
    let status = command
        .args(["--exact", "crash::child", "--ignored"])
        .env(ROOT, root)
        .env(DEED, deed)
        .env(POINT, point.to_string())
        .env(DONE, noted)
        .env(FLUSH, flush)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    if status.success() {
        return None;
    }
    assert_eq!(status.signal(), Some(9), "{deed} failed before point {point}");
    let noted = std::fs::read_to_string(noted).unwrap_or_default();
    Some(noted.lines().map(str::to_owned).collect())
}

pub(crate) fn open(root: &Path) -> Store {
    let driver = Filesystem::open(root, 25).unwrap();
    Store::new(Arc::new(driver), Options::default())
}

/// What a tag leads to is there, whole, with all that it needs.
pub(crate) async fn check_tags(store: &Store) -> usize {
    let tags = match store.tags(&name(), None, usize::MAX).await {
        Ok(page) => page.items,
        Err(Error::RepositoryUnknown(_)) => return 0,
        Err(error) => panic!("{error}"),
    };
    let mut led = 0;
    for tag in &tags {
        let reference = Reference::Tag(Tag::new(tag).unwrap());
        let stored = match store.manifest(&name(), &reference).await {
            Ok(stored) => stored,
            // The folder of a tag that does not point at anything yet.
            Err(Error::ManifestUnknown { .. }) => continue,
            Err(error) => panic!("{tag}: {error}"),
        };
        assert_eq!(stored.bytes, manifest().as_bytes());
        for needed in Manifest::read(&stored.bytes).unwrap().needed() {
            let (blob, reader) = store.open_blob(&name(), needed.digest()).await.unwrap();
            let bytes = reader.collect("", blob.size).await.unwrap();
            assert_eq!(sha256(&bytes), needed.digest().as_str());
        }
        led += 1;
    }
    led
}

async fn referrers(store: &Store) -> usize {
    let subject = subject();
    let asked = Referrers {
        subject: &subject,
        artifact_type: None,
        last: None,
        most: 10,
    };
    store.referrers(&name(), asked).await.unwrap().items.len()
}

#[test]
fn a_push_that_was_killed_is_done_again() {
    let runtime = Runtime::new().unwrap();
    let mut points = 0;
    loop {
        let folder = tempfile::tempdir().unwrap();
        let Some(store) = crash(folder.path(), "push", points + 1) else {
            break;
        };
        points += 1;
        runtime.block_on(async {
            check_tags(&store).await;
            push(&store, |_| {}).await;
            assert_eq!(
                (check_tags(&store).await, referrers(&store).await),
                (2, 1),
                "point {points}"
            );
        });
    }
    assert!(points > 30, "{points}");
}

#[test]
fn a_delete_that_was_killed_is_done_again() {
    let runtime = Runtime::new().unwrap();
    let mut points = 0;
    loop {
        let folder = tempfile::tempdir().unwrap();
        runtime.block_on(push(&open(folder.path()), |_| {}));
        let Some(store) = crash(folder.path(), "delete", points + 1) else {
            break;
        };
        points += 1;
        runtime.block_on(async {
            check_tags(&store).await;
            match delete(&store).await {
                Ok(()) | Err(Error::ManifestUnknown { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            assert_eq!(
                (check_tags(&store).await, referrers(&store).await),
                (0, 0),
                "point {points}"
            );
            // And nothing is in the way of the same push.
            push(&store, |_| {}).await;
            assert_eq!((check_tags(&store).await, referrers(&store).await), (2, 1));
        });
    }
    assert!(points >= 4, "{points}");
}

/// Gives a store the index that is kept beside it, built as far as it was not.
async fn use_index(store: &Store, root: &Path, only_writer: &str) {
    let settings = index::Settings {
        folder: Some(root.join("~index")),
        only_writer: only_writer == "only",
        ..index::Settings::default()
    };
    let place = index::Place::find(&settings, None, &serde_json::Map::new()).unwrap();
    store.use_index(place.unwrap().open().await.unwrap());
    store.build_index().await.unwrap();
}

/// Every list, from the index or not.
async fn lists(store: &Store) -> (Vec<String>, Vec<String>, usize) {
    let tags = match store.tags(&name(), None, 100).await {
        Ok(page) => page.items,
        Err(Error::RepositoryUnknown(_)) => vec!["none".to_owned()],
        Err(error) => panic!("{error}"),
    };
    let catalog = store.catalog(None, 100).await.unwrap();
    (tags, catalog.items, referrers(store).await)
}

/// Kills a process with an index at some points of a deed; what it kept must fit whatever the driver has.
fn killed_with_an_index(deed: &str, only_writer: &str, points: impl Iterator<Item = usize>) {
    let runtime = Runtime::new().unwrap();
    for point in points {
        let folder = tempfile::tempdir().unwrap();
        if deed == "delete" {
            runtime.block_on(async {
                let store = open(folder.path());
                use_index(&store, folder.path(), only_writer).await;
                push(&store, |_| {}).await;
            });
        }
        if crash_with(folder.path(), deed, point, only_writer).is_none() {
            assert!(point > 4, "{deed} has only {point} points");
            break;
        }
        runtime.block_on(async {
            let (walking, indexed) = (open(folder.path()), open(folder.path()));
            use_index(&indexed, folder.path(), only_writer).await;
            let (found, wanted) = (lists(&indexed).await, lists(&walking).await);
            assert_eq!(
                (&found.0, &found.1),
                (&wanted.0, &wanted.1),
                "{deed}, point {point}"
            );
            // A manifest whose link is deleted, and which is there itself, is one that a docker-registry could have taken.
            assert!(found.2 >= wanted.2, "{deed}, point {point}");
            assert!(indexed.compare_index().await.unwrap().good());
            // It goes on as if nothing had been.
            push(&indexed, |_| {}).await;
            assert_eq!(
                lists(&indexed).await,
                lists(&walking).await,
                "{deed}, point {point}"
            );
            assert!(indexed.index().is_some());
        });
    }
}

#[test]
fn an_index_fits_after_a_push_that_was_killed() {
    // A push has many points, and every process takes its time.
    killed_with_an_index("push", "only", (1..).step_by(4));
    killed_with_an_index("push", "several", (3..).step_by(4));
}

#[test]
fn an_index_fits_after_a_delete_that_was_killed() {
    killed_with_an_index("delete", "only", 1..);
    killed_with_an_index("delete", "several", 1..);
}
