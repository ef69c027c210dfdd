//! How often the filesystem driver waits for the disk: changes that are made together, and clients that come together.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use transom_storage::decorators::cache::Cache;
use transom_storage::decorators::faults::{Fault, Faults, faulty};
use transom_storage::decorators::metrics::{Counters, observed};
use transom_storage::decorators::{Action, limit, read_only, trace};
use transom_storage::filesystem::{FlushBy, Options, Step};
use transom_storage::{Condition, Error, Filesystem, Memory, Put, StorageDriver, StoragePath, WriteMode};

const BOTH: [FlushBy; 2] = [FlushBy::Filesystem, FlushBy::Folders];

fn path(text: &str) -> StoragePath {
    StoragePath::new(text).unwrap()
}

fn content(at: &str) -> Put {
    Put {
        path: path(at),
        content: Bytes::copy_from_slice(at.as_bytes()),
    }
}

async fn put(driver: &dyn StorageDriver, at: &str) -> Result<(), Error> {
    let Put { path, content } = content(at);
    driver.put(&path, content, Condition::Always).await
}

/// The steps that a driver reached.
type Steps = Arc<Mutex<Vec<Step>>>;

fn noted(folder: &Path, flush: FlushBy) -> (Filesystem, Steps) {
    let steps = Steps::default();
    let note = Arc::clone(&steps);
    let options = Options {
        flush: Some(flush),
        journal: false,
        observer: Some(Arc::new(move |step| note.lock().unwrap().push(step))),
        ..Options::default()
    };
    (Filesystem::open_with(folder, options).unwrap(), steps)
}

fn count(steps: &Steps, step: Step) -> usize {
    steps
        .lock()
        .unwrap()
        .iter()
        .filter(|&&found| found == step)
        .count()
}

#[tokio::test]
async fn a_blob_and_its_link_wait_for_the_disk_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (driver, steps) = noted(folder.path(), FlushBy::Filesystem);
    let mut writer = driver.writer(&path("/upload"), WriteMode::Create).await.unwrap();
    writer.write(Bytes::from_static(b"blob")).await.unwrap();
    let others = vec![content("/layers/ab/link")];
    let left = writer.commit_with(&path("/blobs/ab/data"), others).await.unwrap();
    assert_eq!(left, []);
    let wanted = [
        Step::UploadWritten,
        Step::TemporaryWritten,
        Step::FilesystemSynced,
        Step::UploadSynced,
        Step::Renamed,
        Step::TemporarySynced,
        Step::Renamed,
        Step::FilesystemSynced,
        Step::FolderSynced,
    ];
    // The link is written before anything waits.
    assert_eq!(*steps.lock().unwrap(), wanted);
    assert_eq!(driver.get(&path("/blobs/ab/data"), 9).await.unwrap(), "blob");
    assert_eq!(
        driver.get(&path("/layers/ab/link"), 99).await.unwrap(),
        "/layers/ab/link"
    );
}

#[tokio::test]
async fn contents_that_are_put_together_cost_what_one_costs() {
    for flush in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let (driver, steps) = noted(folder.path(), flush);
        let groups = vec![
            vec![content("/a/b/c"), content("/a/d")],
            vec![],
            vec![content("/e/f")],
        ];
        driver.put_all(groups).await.unwrap();
        for at in ["/a/b/c", "/a/d", "/e/f"] {
            assert_eq!(driver.get(&path(at), 9).await.unwrap(), at);
        }
        assert_eq!(count(&steps, Step::FolderSynced), 1, "{flush:?}");
        let whole = if flush == FlushBy::Filesystem { 2 } else { 0 };
        assert_eq!(count(&steps, Step::FilesystemSynced), whole);
        let renamed = steps
            .lock()
            .unwrap()
            .iter()
            .position(|&step| step == Step::Renamed);
        let synced = steps
            .lock()
            .unwrap()
            .iter()
            .rposition(|&step| step == Step::TemporarySynced);
        assert!(
            synced < renamed,
            "everything is on the disk before anything has a name"
        );
        let before = steps.lock().unwrap().len();
        driver.put_all(vec![Vec::new()]).await.unwrap();
        assert_eq!(steps.lock().unwrap().len(), before, "nothing needs no trip");
    }
}

/// Holds the first call up until it is let go.
#[derive(Default)]
struct Gate {
    held: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Gate {
    fn hold(&self) {
        let mut state = self.held.lock().unwrap();
        state.0 = true;
        self.changed.notify_all();
        drop(self.changed.wait_while(state, |state| !state.1).unwrap());
    }

    fn wait_for_held(&self) {
        let state = self.held.lock().unwrap();
        drop(self.changed.wait_while(state, |state| !state.0).unwrap());
    }

    fn let_go(&self) {
        self.held.lock().unwrap().1 = true;
        self.changed.notify_all();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_come_meanwhile_share_the_next_trip() {
    const OTHERS: usize = 20;
    for flush in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let (gate, steps) = (Arc::<Gate>::default(), Steps::default());
        let (held, note) = (Arc::clone(&gate), Arc::clone(&steps));
        let observer = Arc::new(move |step| {
            note.lock().unwrap().push(step);
            if step == Step::FolderSynced && count(&note, step) == 1 {
                held.hold();
            }
        });
        let options = Options {
            flush: Some(flush),
            journal: false,
            observer: Some(observer),
            ..Options::default()
        };
        let driver = Filesystem::open_with(folder.path(), options).unwrap();
        let spawned = |at: String| {
            let driver = driver.clone();
            tokio::spawn(async move { driver.delete(&path(&at)).await })
        };
        for number in 0..=OTHERS {
            std::fs::create_dir(folder.path().join(format!("f-{number}"))).unwrap();
            std::fs::write(folder.path().join(format!("f-{number}/content")), "x").unwrap();
        }
        let first = spawned("/f-0/content".to_owned());
        let waiting = Arc::clone(&gate);
        let held = tokio::task::spawn_blocking(move || waiting.wait_for_held());
        held.await.unwrap();
        let others: Vec<_> = (1..=OTHERS)
            .map(|number| spawned(format!("/f-{number}/content")))
            .collect();
        // Each has changed its folder, and can only wait.
        let gone = |number| !folder.path().join(format!("f-{number}/content")).exists();
        while !(1..=OTHERS).all(gone) {
            tokio::task::yield_now().await;
        }
        gate.let_go();
        for task in others.into_iter().chain([first]) {
            task.await.unwrap().unwrap();
        }
        let trips = count(&steps, Step::FolderSynced);
        assert!(
            (2..=3).contains(&trips),
            "{flush:?}: {trips} trips for {OTHERS} clients"
        );
    }
}

#[tokio::test]
async fn a_trip_that_fails_is_told_and_is_not_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_path_buf();
    let options = Options {
        flush: Some(FlushBy::Folders),
        // The folder cannot be opened any more: links lead in a circle.
        observer: Some(Arc::new(move |step| {
            if step == Step::Renamed && root.join("a/b").is_dir() {
                std::fs::rename(root.join("a/b"), root.join("away")).unwrap();
                std::os::unix::fs::symlink("b", root.join("a/b")).unwrap();
            }
        })),
        ..Options::default()
    };
    let driver = Filesystem::open_with(folder.path(), options).unwrap();
    let failed = put(&driver, "/a/b/c").await;
    assert!(matches!(failed, Err(Error::Denied { .. })), "{failed:?}");
    put(&driver, "/elsewhere/d").await.unwrap();
}

#[tokio::test]
async fn a_folder_that_is_gone_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_path_buf();
    let options = Options {
        flush: Some(FlushBy::Folders),
        observer: Some(Arc::new(move |step| {
            if step == Step::Renamed {
                std::fs::remove_dir_all(root.join("a")).unwrap();
            }
        })),
        ..Options::default()
    };
    let driver = Filesystem::open_with(folder.path(), options).unwrap();
    put(&driver, "/a/b/c").await.unwrap();
}

#[tokio::test]
async fn a_trip_that_panics_is_a_failure_and_not_the_last() {
    for flush in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let steps = Steps::default();
        let observer = Arc::new(move |step| {
            steps.lock().unwrap().push(step);
            let first = step == Step::FolderSynced && count(&steps, step) == 1;
            assert!(!first, "as if");
        });
        let options = Options {
            flush: Some(flush),
            journal: false,
            observer: Some(observer),
            ..Options::default()
        };
        let driver = Filesystem::open_with(folder.path(), options).unwrap();
        let failed = put(&driver, "/a").await;
        assert!(matches!(failed, Err(Error::Other { .. })), "{failed:?}");
        put(&driver, "/a").await.unwrap();
    }
}

#[tokio::test]
async fn decorators_pass_it_on_as_one_call() {
    let folder = tempfile::tempdir().unwrap();
    let (driver, steps) = noted(folder.path(), FlushBy::Folders);
    let (faults, counters) = (Arc::<Faults>::default(), Arc::<Counters>::default());
    let driver = faulty(Arc::new(driver), Arc::clone(&faults));
    let driver = trace::traced(limit::limited(driver, 2));
    let driver = observed(driver, Arc::clone(&counters) as _);
    let driver: Arc<dyn StorageDriver> = Arc::new(Cache::new(driver, Default::default()));
    assert!(driver.get(&path("/a"), 9).await.unwrap_err().is_not_found());
    let groups = vec![vec![content("/a")], vec![content("/b")]];
    driver.put_all(groups.clone()).await.unwrap();
    assert_eq!(driver.get(&path("/a"), 9).await.unwrap(), "/a");
    assert_eq!(count(&steps, Step::FolderSynced), 1);
    assert_eq!(counters.count(Action::PutAll).calls, 1);
    assert_eq!(counters.written(), 4);
    let writer = driver.writer(&path("/c"), WriteMode::Create).await.unwrap();
    let left = writer.commit_with(&path("/d"), vec![content("/a/e")]).await;
    // `/a` is no folder.
    assert!(matches!(left, Err(Error::NotFolder { .. })), "{left:?}");
    faults.fail(Action::PutAll, Fault::NoSpace, 1);
    let failed = driver.put_all(groups.clone()).await;
    assert!(matches!(failed, Err(Error::NoSpace { .. })));
    let denied = read_only::read_only(driver);
    assert!(matches!(denied.put_all(groups).await, Err(Error::Denied { .. })));
}

#[tokio::test]
async fn where_it_is_not_better_it_is_a_call_for_each() {
    let faults = Arc::<Faults>::default();
    let driver = faulty(Arc::new(Memory::default()), Arc::clone(&faults));
    let groups = vec![vec![content("/a"), content("/b")], vec![content("/c")]];
    driver.put_all(groups.clone()).await.unwrap();
    assert_eq!(faults.calls(), 3);
    // One that fails keeps the groups after it from being set, and not its neighbours.
    faults.fail(Action::Put, Fault::NoSpace, 1);
    driver.delete(&path("/b")).await.unwrap();
    driver.delete(&path("/c")).await.unwrap();
    assert!(driver.put_all(groups).await.is_err());
    assert_eq!(driver.get(&path("/b"), 9).await.unwrap(), "/b");
    assert!(driver.get(&path("/c"), 9).await.unwrap_err().is_not_found());
    let writer = driver.writer(&path("/d"), WriteMode::Create).await.unwrap();
    let others = vec![content("/e")];
    let left = writer.commit_with(&path("/d"), others.clone()).await.unwrap();
    assert_eq!(left, others);
}
