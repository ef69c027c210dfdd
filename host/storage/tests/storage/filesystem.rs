//! What only the filesystem driver promises: the root, docker-registry's layout, locks, and a kill at every step.

use std::fs;
use std::os::unix::fs::{FileExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde_json::json;
use transom_storage::filesystem::{Options, Step};
use transom_storage::{
    Condition, Error, Factory, Filesystem, Memory, Stamp, StorageDriver, StoragePath, WriteMode,
};

fn path(text: &str) -> StoragePath {
    StoragePath::new(text).unwrap()
}

fn open(folder: &Path) -> Filesystem {
    Filesystem::open(folder, 25).unwrap()
}

async fn put(driver: &dyn StorageDriver, at: &str, content: &[u8]) {
    let content = Bytes::copy_from_slice(content);
    driver.put(&path(at), content, Condition::Always).await.unwrap();
}

/// Every name below a folder, but for the driver's own folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(inside) = folders.pop() {
        for entry in fs::read_dir(&inside).unwrap().map(Result::unwrap) {
            let name = entry
                .path()
                .strip_prefix(folder)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
            if !name.starts_with("~transom") {
                names.push(name);
            }
        }
    }
    names.sort();
    names
}

#[tokio::test]
async fn content_is_a_file_at_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let driver = open(folder.path());
    put(&driver, "/docker/registry/v2/a", b"content").await;
    assert_eq!(
        fs::read(folder.path().join("docker/registry/v2/a")).unwrap(),
        b"content"
    );
    fs::create_dir_all(folder.path().join("docker/b")).unwrap();
    fs::write(folder.path().join("docker/b/link"), "sha256:1").unwrap();
    assert_eq!(
        driver.get(&path("/docker/b/link"), 100).await.unwrap(),
        "sha256:1"
    );
    // What is not committed has a name that no path leads to.
    let mut writer = driver
        .writer(&path("/docker/b/data"), WriteMode::Create)
        .await
        .unwrap();
    writer.write(Bytes::from_static(b"half")).await.unwrap();
    writer.close().await.unwrap();
    assert!(names(folder.path()).contains(&"docker/b/data~upload".to_owned()));
    let listed = driver.list(&path("/docker/b")).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(driver.list(&path("/")).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_upload_that_docker_registry_began_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("_uploads/1")).unwrap();
    fs::write(folder.path().join("_uploads/1/data"), "begun").unwrap();
    let driver = open(folder.path());
    let mut writer = driver
        .writer(&path("/_uploads/1/data"), WriteMode::Append)
        .await
        .unwrap();
    assert_eq!(writer.size(), 5);
    writer.write(Bytes::from_static(b" and ended")).await.unwrap();
    writer.commit_to(&path("/blob")).await.unwrap();
    assert_eq!(fs::read(folder.path().join("blob")).unwrap(), b"begun and ended");
}

#[tokio::test]
async fn no_link_leads_out_of_the_root() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let driver = open(folder.path());
    put(&driver, "/inside/content", b"x").await;
    symlink(outside.path(), folder.path().join("absolute")).unwrap();
    symlink("../../../../../../../../etc", folder.path().join("relative")).unwrap();
    symlink(outside.path().join("secret"), folder.path().join("file")).unwrap();
    symlink("inside", folder.path().join("link")).unwrap();
    for at in ["/absolute/secret", "/relative/passwd", "/file"] {
        let at = path(at);
        for result in [
            driver.get(&at, 1000).await.map(drop),
            driver.read(&at, 0).await.map(drop),
            driver.stat(&at).await.map(drop),
            driver.rename(&at, &path("/stolen")).await,
        ] {
            assert!(matches!(result, Err(Error::Denied { .. })), "{at}: {result:?}");
        }
    }
    for at in ["/absolute/new", "/relative/new"] {
        let at = path(at);
        let put = driver.put(&at, Bytes::new(), Condition::Always).await;
        assert!(matches!(put, Err(Error::Denied { .. })), "{put:?}");
        let writer = driver.writer(&at, WriteMode::Create).await;
        assert!(matches!(writer, Err(Error::Denied { .. })), "{writer:?}");
        let delete = driver.delete(&at).await;
        assert!(matches!(delete, Err(Error::Denied { .. })), "{delete:?}");
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    // One that stays inside is followed; one that does not is not shown, and what is removed is the link.
    assert_eq!(driver.get(&path("/link/content"), 9).await.unwrap(), "x");
    let listed = driver.list(&path("/")).await.unwrap();
    let listed: Vec<&str> = listed.iter().map(|entry| entry.path.name()).collect();
    assert_eq!(listed, ["inside", "link"]);
    driver.delete(&path("/absolute")).await.unwrap();
    assert!(outside.path().join("secret").exists());
}

#[tokio::test]
async fn a_pipe_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let driver = open(folder.path());
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    assert!(driver.get(&path("/pipe"), 1).await.unwrap_err().is_not_found());
    assert!(driver.list(&path("/")).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_writer_holds_its_path_also_against_other_drivers() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (open(folder.path()), open(folder.path()));
    let at = path("/a");
    let writer = one.writer(&at, WriteMode::Create).await.unwrap();
    for mode in [WriteMode::Create, WriteMode::Append] {
        assert!(matches!(other.writer(&at, mode).await, Err(Error::Busy { .. })));
    }
    writer.close().await.unwrap();
    other
        .writer(&at, WriteMode::Append)
        .await
        .unwrap()
        .commit()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_commit_after_a_delete_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let driver = open(folder.path());
    let mut writer = driver
        .writer(&path("/uploads/1/data"), WriteMode::Create)
        .await
        .unwrap();
    writer.write(Bytes::from_static(b"x")).await.unwrap();
    driver.delete(&path("/uploads/1")).await.unwrap();
    assert!(writer.commit_to(&path("/blob")).await.unwrap_err().is_not_found());
    assert!(driver.stat(&path("/blob")).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn the_steps_are_in_order_and_no_more_syncs_than_need_be() {
    let folder = tempfile::tempdir().unwrap();
    let seen = Arc::<Mutex<Vec<Step>>>::default();
    let note = Arc::clone(&seen);
    let options = Options {
        journal: false,
        observer: Some(Arc::new(move |step| note.lock().unwrap().push(step))),
        ..Options::default()
    };
    let driver = Filesystem::open_with(folder.path(), options).unwrap();
    put(&driver, "/folder/a", b"x").await;
    seen.lock().unwrap().clear();
    // What the file system is told besides is in `flush`.
    let taken = || {
        let mut taken = std::mem::take(&mut *seen.lock().unwrap());
        taken.retain(|&step| step != Step::FilesystemSynced);
        taken
    };
    put(&driver, "/folder/a", b"y").await;
    assert_eq!(
        taken(),
        [
            Step::TemporaryWritten,
            Step::TemporarySynced,
            Step::Renamed,
            Step::FolderSynced
        ]
    );
    let mut writer = driver
        .writer(&path("/folder/b"), WriteMode::Create)
        .await
        .unwrap();
    writer.write(Bytes::from_static(b"x")).await.unwrap();
    writer.commit_to(&path("/folder/c")).await.unwrap();
    assert_eq!(
        taken(),
        [
            Step::UploadWritten,
            Step::UploadSynced,
            Step::Renamed,
            Step::FolderSynced
        ]
    );
    driver
        .rename(&path("/folder/c"), &path("/folder/d"))
        .await
        .unwrap();
    assert_eq!(taken(), [Step::Renamed, Step::FolderSynced]);
    driver.delete(&path("/folder")).await.unwrap();
    assert_eq!(taken(), [Step::SetAside, Step::FolderSynced]);
}

const ROOT: &str = "TRANSOM_STORAGE_CRASH_ROOT";
const STEP: &str = "TRANSOM_STORAGE_CRASH_STEP";
const DEED: &str = "TRANSOM_STORAGE_CRASH_DEED";

/// Runs in a process of its own: does the deed, and is killed when it comes to the step.
#[tokio::test]
#[ignore = "the process that the tests of this file kill"]
async fn child() {
    let variable = |name| std::env::var(name).unwrap();
    let (step, root) = (variable(STEP), variable(ROOT));
    let observer = Arc::new(move |reached: Step| {
        if format!("{reached:?}") == step {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        }
    });
    let options = Options {
        journal: false,
        observer: Some(observer),
        ..Options::default()
    };
    let driver = Filesystem::open_with(root, options).unwrap();
    match variable(DEED).as_str() {
        "put" => put(&driver, "/folder/content", NEW).await,
        "delete" => driver.delete(&path("/folder")).await.unwrap(),
        deed => {
            let mut writer = driver
                .writer(&path("/folder/content"), WriteMode::Create)
                .await
                .unwrap();
            writer.write(Bytes::from_static(NEW)).await.unwrap();
            match deed {
                "commit" => writer.commit().await.unwrap(),
                _ => writer.close().await.unwrap(),
            }
        }
    }
}

const OLD: &[u8] = b"old content";
const NEW: &[u8] = b"the new content, which is longer";

#[tokio::test]
async fn a_kill_at_any_step_leaves_the_old_or_the_new() {
    let put = [
        Step::TemporaryWritten,
        Step::TemporarySynced,
        Step::Renamed,
        Step::FolderSynced,
    ];
    let commit = [
        Step::UploadWritten,
        Step::UploadSynced,
        Step::Renamed,
        Step::FolderSynced,
    ];
    let close = [Step::UploadWritten, Step::UploadSynced, Step::FolderSynced];
    let delete = [Step::SetAside, Step::FolderSynced];
    let deeds = [
        ("put", &put[..]),
        ("commit", &commit),
        ("close", &close),
        ("delete", &delete),
    ];
    for (deed, step) in deeds
        .iter()
        .flat_map(|(deed, steps)| steps.iter().map(move |step| (*deed, *step)))
    {
        let folder = tempfile::tempdir().unwrap();
        self::put(&open(folder.path()), "/folder/content", OLD).await;
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "filesystem::child", "--ignored"])
            .env(ROOT, folder.path())
            .env(DEED, deed)
            .env(STEP, format!("{step:?}"))
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.signal(), Some(9), "{deed} did not come to {step:?}");
        check_recovery(folder.path(), deed, step).await;
    }
}

async fn check_recovery(folder: &Path, deed: &str, step: Step) {
    let driver = open(folder);
    let at = path("/folder/content");
    let done = step >= Step::Renamed;
    match (deed, driver.get(&at, 1000).await) {
        ("delete", Err(error)) if error.is_not_found() => {}
        ("put" | "commit", Ok(found)) => assert_eq!(found, if done { NEW } else { OLD }, "{deed} {step:?}"),
        ("close", Ok(found)) => assert_eq!(found, OLD, "{deed} {step:?}"),
        (_, other) => panic!("{deed} {step:?}: {other:?}"),
    }
    if deed == "close" {
        let writer = driver.writer(&at, WriteMode::Append).await.unwrap();
        assert_eq!(writer.size(), NEW.len() as u64);
        writer.cancel().await.unwrap();
    }
    // The same path is free, whatever was left.
    let mut writer = driver.writer(&at, WriteMode::Create).await.unwrap();
    writer.write(Bytes::from_static(b"again")).await.unwrap();
    writer.commit().await.unwrap();
    assert_eq!(driver.get(&at, 1000).await.unwrap(), "again");
    // Folders that were being deleted are gone by the next start, and old temporary files by the one after an hour.
    let own = folder.join("~transom");
    for left in fs::read_dir(&own).into_iter().flatten().map(Result::unwrap) {
        assert!(
            left.file_type().unwrap().is_file(),
            "{deed} {step:?} left {left:?}"
        );
        let file = fs::File::open(left.path()).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    }
    drop(open(folder));
    let left = fs::read_dir(&own)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left
        .filter(|name| !name.to_string_lossy().starts_with("journal-"))
        .collect();
    assert!(left.is_empty(), "{deed} {step:?}: {left:?}");
}

#[tokio::test]
async fn a_full_disk_is_told_and_takes_nothing_away() {
    if !transom_tests::needs::require_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "none"])
        .arg(folder.path())
        .status();
    assert!(mounted.unwrap().success());
    let _mount = Mounted(folder.path());
    let driver = open(folder.path());
    put(&driver, "/old", OLD).await;
    let large = Bytes::from(vec![7; 2 << 20]);
    let put = driver.put(&path("/old"), large.clone(), Condition::Always).await;
    assert!(matches!(put, Err(Error::NoSpace { .. })), "{put:?}");
    assert_eq!(driver.get(&path("/old"), 100).await.unwrap(), OLD);
    let mut writer = driver.writer(&path("/new"), WriteMode::Create).await.unwrap();
    writer.write(Bytes::from_static(OLD)).await.unwrap();
    assert!(matches!(writer.write(large).await, Err(Error::NoSpace { .. })));
    assert_eq!(writer.size(), OLD.len() as u64);
    writer.write(Bytes::from_static(NEW)).await.unwrap();
    writer.commit().await.unwrap();
    assert_eq!(driver.get(&path("/new"), 100).await.unwrap(), [OLD, NEW].concat());
}

/// Unmounts at the end.
struct Mounted<'p>(&'p Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[tokio::test]
async fn a_reader_gives_its_file_until_it_is_read() {
    use tokio_stream::StreamExt;
    let folder = tempfile::tempdir().unwrap();
    let driver = open(folder.path());
    put(&driver, "/a", NEW).await;
    let part = driver.read(&path("/a"), 4).await.unwrap().into_file().unwrap();
    let mut bytes = vec![0; part.length as usize];
    part.file.read_exact_at(&mut bytes, part.offset).unwrap();
    assert_eq!(bytes, &NEW[4..]);
    let mut reader = driver.read(&path("/a"), 0).await.unwrap();
    reader.next().await.unwrap().unwrap();
    assert!(reader.into_file().is_err());
}

#[tokio::test]
async fn what_is_written_can_be_read_at_once_and_whatever_becomes_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let driver = open(folder.path());
    let read = |file: &std::fs::File, length: usize| {
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    };
    let mut writer = driver.writer(&path("/a"), WriteMode::Create).await.unwrap();
    let file = writer.file().unwrap();
    for part in [&NEW[..4], &NEW[4..]] {
        writer.write(part.into()).await.unwrap();
        let written = writer.size() as usize;
        assert_eq!(read(&file, written), &NEW[..written]);
    }
    writer.commit_to(&path("/b")).await.unwrap();
    assert_eq!(read(&file, NEW.len()), NEW);
    let mut writer = driver.writer(&path("/c"), WriteMode::Create).await.unwrap();
    let file = writer.file().unwrap();
    writer.write(NEW.into()).await.unwrap();
    writer.cancel().await.unwrap();
    assert_eq!(read(&file, NEW.len()), NEW);
}

/// The stamp of a folder, as soon as its last change is long enough ago.
async fn stamp(driver: &Filesystem, at: &str) -> Stamp {
    loop {
        if let [Some(stamp)] = &driver.stamps(&[path(at)]).await.unwrap()[..] {
            return stamp.clone();
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn every_change_of_a_folder_changes_its_stamp() {
    let folder = tempfile::tempdir().unwrap();
    let (driver, other) = (open(folder.path()), open(folder.path()));
    put(&driver, "/tags/a/link", b"x").await;
    put(&driver, "/tags/b/link", b"x").await;
    put(&driver, "/other/b", b"x").await;
    if driver.stamps(&[path("/tags")]).await.unwrap() == [None] && !local(folder.path()) {
        eprintln!("skipped: the folder for temporary files is on a file system that has no stamps");
        return;
    }
    let first = stamp(&driver, "/tags").await;
    // Drivers that stand on it hand the stamps on.
    let root = folder.path().to_str().unwrap();
    let files = json!({"driver": "filesystem", "rootdirectory": root});
    let stack = json!({"driver": "limit", "maxconcurrency": 8, "inner": {"driver": "cache", "inner": files}});
    let stack = Factory::builtin().open(stack.as_object().unwrap()).unwrap();
    assert_eq!(
        stack.stamps(&[path("/tags")]).await.unwrap(),
        [Some(first.clone())]
    );
    assert!(stack.stamps(&[]).await.unwrap().is_empty());
    assert_eq!(stamp(&other, "/tags").await, first);
    // What is deeper, or elsewhere, is none of it.
    put(&driver, "/tags/a/link", b"y").await;
    put(&driver, "/other/c", b"x").await;
    assert_eq!(stamp(&driver, "/tags").await, first);

    let mut known = vec![first];
    other.delete(&path("/tags/b")).await.unwrap();
    known.push(stamp(&driver, "/tags").await);
    put(&other, "/tags/b/link", b"x").await;
    known.push(stamp(&driver, "/tags").await);
    fs::rename(folder.path().join("tags/b"), folder.path().join("tags/c")).unwrap();
    known.push(stamp(&driver, "/tags").await);
    fs::create_dir(folder.path().join("new")).unwrap();
    fs::rename(folder.path().join("tags"), folder.path().join("old")).unwrap();
    fs::rename(folder.path().join("new"), folder.path().join("tags")).unwrap();
    known.push(stamp(&driver, "/tags").await);
    for (at, stamp) in known.iter().enumerate() {
        assert!(!known[..at].contains(stamp), "{at} of {known:?}");
    }
    let nothing = [path("/none"), path("/other/b"), path("/tags")];
    let stamps = driver.stamps(&nothing).await.unwrap();
    assert_eq!((stamps.len(), &stamps[..2]), (3, &[None, None][..]));
    // Just changed, it may change again unseen.
    put(&driver, "/tags/d/link", b"x").await;
    assert_ne!(
        driver.stamps(&[path("/tags")]).await.unwrap()[0],
        known.last().cloned()
    );
    assert!(
        Memory::default()
            .stamps(&nothing)
            .await
            .unwrap()
            .iter()
            .all(Option::is_none)
    );
}

/// Whether a folder is on a file system that has stamps: one that shows the parts of a second.
fn local(folder: &Path) -> bool {
    let kind = rustix::fs::statfs(folder).unwrap().f_type;
    [0xef53, 0x0102_1994, 0x794c_7630, 0x5846_5342].contains(&kind)
}
