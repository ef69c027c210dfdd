//! The journal of the filesystem driver: what it spares, who keeps it from being used, kills and power cuts.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use transom_storage::filesystem::{FlushBy, Options, Step};
use transom_storage::{Condition, Error, Filesystem, Put, StorageDriver, StoragePath, WriteMode};

fn path(text: &str) -> StoragePath {
    StoragePath::new(text).unwrap()
}

fn content(at: &str, content: &[u8]) -> Put {
    Put {
        path: path(at),
        content: Bytes::copy_from_slice(content),
    }
}

async fn put(driver: &dyn StorageDriver, at: &str, bytes: &[u8]) {
    let Put { path, content } = content(at, bytes);
    driver.put(&path, content, Condition::Always).await.unwrap();
}

/// The steps that a driver reached.
#[derive(Clone, Default)]
struct Steps(Arc<Mutex<Vec<Step>>>);

impl Steps {
    fn take(&self) -> Vec<Step> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

fn open(folder: &Path, observer: impl Fn(Step) + Send + Sync + 'static) -> Filesystem {
    let options = Options {
        flush: Some(FlushBy::Filesystem),
        observer: Some(Arc::new(observer)),
        ..Options::default()
    };
    Filesystem::open_with(folder, options).unwrap()
}

fn noted(folder: &Path) -> (Filesystem, Steps) {
    let steps = Steps::default();
    let note = steps.clone();
    (open(folder, move |step| note.0.lock().unwrap().push(step)), steps)
}

/// Puts until the journal takes it: its file is made when it is first wanted, and every burst ends.
async fn put_by_journal(driver: &Filesystem, steps: &Steps, at: &str, bytes: &[u8]) {
    loop {
        steps.take();
        put(driver, at, bytes).await;
        if steps.take().contains(&Step::JournalSynced) {
            return;
        }
    }
}

/// What the driver keeps for itself.
fn own(folder: &Path) -> Vec<String> {
    let found = std::fs::read_dir(folder.join("~transom")).unwrap();
    found
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[tokio::test]
async fn a_small_change_waits_for_the_disk_once() {
    let folder = tempfile::tempdir().unwrap();
    let (driver, steps) = noted(folder.path());
    loop {
        put_by_journal(&driver, &steps, "/a/link", b"a").await;
        let mut writer = driver.writer(&path("/upload"), WriteMode::Create).await.unwrap();
        writer.write(Bytes::from_static(b"blob")).await.unwrap();
        let others = vec![content("/layers/ab/link", b"ab")];
        assert_eq!(
            writer.commit_with(&path("/blobs/ab/data"), others).await.unwrap(),
            []
        );
        let taken = steps.take();
        // A burst may have ended between the two.
        if taken.contains(&Step::JournalSynced) {
            let wanted = [
                Step::UploadWritten,
                Step::JournalWritten,
                Step::JournalSynced,
                Step::Renamed,
                Step::TemporaryWritten,
                Step::Renamed,
            ];
            assert_eq!(taken, wanted);
            break;
        }
    }
    assert_eq!(driver.get(&path("/blobs/ab/data"), 9).await.unwrap(), "blob");
    assert_eq!(driver.get(&path("/layers/ab/link"), 9).await.unwrap(), "ab");
    assert!(driver.stat(&path("/upload")).await.unwrap_err().is_not_found());
    // What is large, what has a condition and what removes goes without.
    put(&driver, "/large", &[7; 70_000]).await;
    let once = path("/once");
    let put_once = driver.put(&once, Bytes::from_static(b"x"), Condition::Absent);
    put_once.await.unwrap();
    driver.delete(&once).await.unwrap();
    assert!(!steps.take().contains(&Step::JournalSynced));
    drop(driver);
    // A thread that worked for it may be the last to let it go.
    while !own(folder.path()).is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_has_a_journal_in_company() {
    let folder = tempfile::tempdir().unwrap();
    let (one, steps) = noted(folder.path());
    put_by_journal(&one, &steps, "/a", b"1").await;
    let root = folder.path().to_path_buf();
    // The second waits until the first has nothing in its journal, and the first then leaves it alone.
    let other = tokio::task::spawn_blocking(move || noted(&root)).await.unwrap();
    for number in 0..20 {
        steps.take();
        put(&one, "/a", &[number]).await;
        put(&other.0, "/b", &[number]).await;
        assert!(!steps.take().contains(&Step::JournalSynced), "{number}");
    }
    assert!(!other.1.take().contains(&Step::JournalSynced));
    drop(other);
    put_by_journal(&one, &steps, "/a", b"2").await;
}

#[tokio::test]
async fn a_change_that_fails_is_told_and_not_made_by_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let (driver, steps) = noted(folder.path());
    put(&driver, "/folder/a", b"1").await;
    put_by_journal(&driver, &steps, "/other", b"1").await;
    let failed = driver
        .put(&path("/folder"), Bytes::from_static(b"x"), Condition::Always)
        .await;
    assert!(matches!(failed, Err(Error::IsFolder { .. })), "{failed:?}");
    let failed = driver
        .put(&path("/other/b"), Bytes::from_static(b"x"), Condition::Always)
        .await;
    assert!(matches!(failed, Err(Error::NotFolder { .. })), "{failed:?}");
    put_by_journal(&driver, &steps, "/other", b"2").await;
    assert_eq!(driver.get(&path("/folder/a"), 9).await.unwrap(), "1");
}

const ROOT: &str = "TRANSOM_JOURNAL_ROOT";
const STEP: &str = "TRANSOM_JOURNAL_STEP";

/// Runs in a process of its own: puts by the journal, and is killed when it comes to the step after the first of them.
#[tokio::test]
#[ignore = "the process that the tests of this file kill"]
async fn killed() {
    let (root, step) = (std::env::var(ROOT).unwrap(), std::env::var(STEP).unwrap());
    let steps = Steps::default();
    let (note, armed) = (steps.clone(), Arc::new(Mutex::new(false)));
    let gun = Arc::clone(&armed);
    let driver = open(Path::new(&root), move |reached| {
        note.0.lock().unwrap().push(reached);
        if *gun.lock().unwrap() && format!("{reached:?}") == step {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        }
    });
    put_by_journal(&driver, &steps, "/folder/content", b"old").await;
    *armed.lock().unwrap() = true;
    put_by_journal(&driver, &steps, "/folder/content", b"new").await;
}

#[tokio::test]
async fn a_kill_at_any_step_leaves_the_old_or_the_new() {
    for step in [
        Step::JournalWritten,
        Step::JournalSynced,
        Step::TemporaryWritten,
        Step::Renamed,
    ] {
        let folder = tempfile::tempdir().unwrap();
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "journal::killed", "--ignored"])
            .env(ROOT, folder.path())
            .env(STEP, format!("{step:?}"))
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.signal(), Some(9), "it did not come to {step:?}");
        // Another program has removed something since: that is not undone, as nothing was lost.
        std::fs::write(folder.path().join("folder/link"), "x").unwrap();
        let (driver, steps) = noted(folder.path());
        let found = driver.get(&path("/folder/content"), 9).await.unwrap();
        assert_eq!(
            found,
            if step < Step::Renamed { "old" } else { "new" },
            "{step:?}"
        );
        put_by_journal(&driver, &steps, "/folder/content", b"again").await;
        driver.delete(&path("/folder/content")).await.unwrap();
        assert!(
            own(folder.path())
                .iter()
                .filter(|name| name.starts_with("journal-"))
                .count()
                == 1
        );
    }
}

/// A journalled file system on a loop device, mounted.
struct Disk {
    folder: tempfile::TempDir,
    place: std::path::PathBuf,
}

fn run(program: &str, arguments: &[&dyn AsRef<std::ffi::OsStr>]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program}: {status}");
}

impl Disk {
    fn make() -> Disk {
        let folder = tempfile::tempdir().unwrap();
        let (image, place) = (folder.path().join("image"), folder.path().join("disk"));
        std::fs::File::create(&image).unwrap().set_len(128 << 20).unwrap();
        std::fs::create_dir(&place).unwrap();
        run("mkfs.ext4", &[&"-q", &image]);
        let disk = Disk { folder, place };
        disk.mount();
        disk
    }

    fn mount(&self) {
        run(
            "mount",
            &[&"-o", &"loop", &self.folder.path().join("image"), &self.place],
        );
    }

    /// What a power cut does: nothing more comes to the disk, not even the file system's own journal.
    fn cut(&self) {
        let shutdown = "import fcntl, os, struct, sys\n\
                        fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";
        run("python3", &[&"-c", &shutdown, &self.place]);
    }

    fn unmount(&self) {
        run("umount", &[&self.place]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("-l")
            .arg(&self.place)
            .stderr(Stdio::null())
            .status();
    }
}

const CLIENTS: u32 = 6;

/// Runs in a process of its own: clients that change their own contents, and say what they begin and what is acknowledged, until
/// nothing goes on any more.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the process that the test of power cuts starts"]
async fn changing() {
    let options = Options {
        flush: Some(FlushBy::Filesystem),
        ..Options::default()
    };
    let driver = Filesystem::open_with(std::env::var(ROOT).unwrap(), options).unwrap();
    let seed = std::env::var(STEP).unwrap().parse::<u64>().unwrap();
    let clients = (0..CLIENTS).map(|client| tokio::spawn(change(driver.clone(), client, seed)));
    for client in clients.collect::<Vec<_>>() {
        let _ = client.await;
    }
}

async fn change(driver: Filesystem, client: u32, seed: u64) {
    let mut random = (seed << 8 | u64::from(client)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    for number in 0_u64.. {
        let name = format!("/client-{client}/{}/content", next(4));
        let at = path(&name);
        let kind = next(10);
        let length = if kind == 9 {
            80_000
        } else {
            1 + next(3_000) as usize
        };
        let (text, value) = (format!("{client}.{number}"), format!("{number}"));
        let mut bytes = format!("{text}:").into_bytes();
        bytes.resize(bytes.len() + length, b'x');
        let value = if kind < 2 { "-" } else { &value };
        say(&format!("begin {client} {name} {value}"));
        let done = match kind {
            0 | 1 => match driver.delete(&at).await {
                Err(error) if error.is_not_found() => Ok(()),
                other => other,
            },
            2..=4 => driver.put(&at, bytes.into(), Condition::Always).await,
            5 | 6 => driver.put_all(vec![vec![content(&name, &bytes)]]).await,
            _ => commit(&driver, &at, bytes, kind == 8).await,
        };
        match done {
            Ok(()) => say(&format!("done {client}")),
            Err(_) => return,
        }
    }
}

async fn commit(driver: &Filesystem, at: &StoragePath, bytes: Vec<u8>, with: bool) -> Result<(), Error> {
    let upload = path(&format!("{at}-upload/data"));
    let mut writer = driver.writer(&upload, WriteMode::Create).await?;
    writer.write(bytes.into()).await?;
    match with {
        true => writer.commit_with(at, Vec::new()).await.map(drop),
        false => writer.commit_to(at).await,
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "@{line}");
    let _ = out.flush();
}

/// What may be at each path: the last that was acknowledged, and what was under way.
#[derive(Default)]
struct Expected {
    acknowledged: HashMap<String, String>,
    begun: HashMap<String, (String, String)>,
    count: usize,
}

impl Expected {
    fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["begin", client, at, value] => {
                self.begun
                    .insert(client.to_owned(), (at.to_owned(), value.to_owned()));
            }
            ["done", client] => {
                let (at, value) = self.begun.remove(client).unwrap();
                self.acknowledged.insert(at, value);
                self.count += 1;
            }
            _ => panic!("{line}"),
        }
    }

    async fn check(&self, driver: &Filesystem, round: u64) {
        for (at, value) in &self.acknowledged {
            let found = match driver.get(&path(at), 1 << 20).await {
                Ok(bytes) => {
                    let text = std::str::from_utf8(&bytes).unwrap();
                    let (name, rest) = text.split_once(':').unwrap();
                    assert!(
                        rest.bytes().all(|byte| byte == b'x') && !rest.is_empty(),
                        "{at} is torn"
                    );
                    name.split_once('.').unwrap().1.to_owned()
                }
                Err(error) if error.is_not_found() => "-".to_owned(),
                Err(error) => panic!("{at}: {error}"),
            };
            let under_way = self
                .begun
                .values()
                .any(|(path, begun)| path == at && *begun == found);
            assert!(
                found == *value || under_way,
                "round {round}: {at} is {found}, acknowledged was {value}"
            );
        }
    }
}

fn start(place: &Path, seed: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "journal::changing", "--ignored", "--nocapture"])
        .env(ROOT, place)
        .env(STEP, seed.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn a_power_cut_takes_nothing_that_was_acknowledged() {
    if !transom_tests::needs::require_root() {
        return;
    }
    let disk = Disk::make();
    let place = disk.place.join("storage");
    let mut expected = Expected::default();
    for round in 0..8_u64 {
        let mut child = start(&place, round);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let lines = lines
            .map(Result::unwrap)
            .filter_map(|line| line.split_once('@').map(|(_, line)| line.to_owned()));
        let until = expected.count + 300 + 70 * round as usize;
        for line in lines {
            let before = expected.count;
            expected.hear(&line);
            if before < until && expected.count == until {
                disk.cut();
            }
        }
        // Its calls fail, and it ends by itself.
        child.wait().unwrap();
        assert!(expected.count >= until);
        disk.unmount();
        disk.mount();
        let driver = Filesystem::open(&place, 25).unwrap();
        expected.check(&driver, round).await;
        drop(driver);
        // What was under way has happened or not; the next round begins with what there is.
        for (at, _) in std::mem::take(&mut expected.begun).into_values() {
            expected.acknowledged.remove(&at);
        }
    }
}
