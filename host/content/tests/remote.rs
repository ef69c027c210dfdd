//! A store whose blobs are kept elsewhere.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::SystemTime;

use transom_content::remote::Listed;
use transom_content::{Error, Info, IngestOptions, Remote, Store};
use transom_oci::Digest;

use crate::helpers::{blobs, folder, get, noise, open, put, sha256, statuses};

/// Blobs in memory.
#[derive(Debug, Default)]
struct Fake {
    blobs: Mutex<BTreeMap<Digest, Vec<u8>>>,
    reads: AtomicUsize,
    refuses: AtomicBool,
    /// Reached by each read before it gives bytes, and passed when the test says so.
    gate: Option<Barrier>,
}

impl Fake {
    fn has(&self, digest: &Digest) -> bool {
        self.blobs.lock().unwrap().contains_key(digest)
    }
}

fn info(digest: &Digest, bytes: &[u8]) -> Info {
    Info {
        digest: digest.clone(),
        size: bytes.len() as u64,
        created: SystemTime::UNIX_EPOCH,
        updated: SystemTime::UNIX_EPOCH,
    }
}

impl Remote for Fake {
    fn name(&self) -> String {
        "fake".to_owned()
    }

    fn info(&self, digest: &Digest) -> io::Result<Option<Info>> {
        let blobs = self.blobs.lock().unwrap();
        Ok(blobs.get(digest).map(|bytes| info(digest, bytes)))
    }

    fn read(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let bytes = self.blobs.lock().unwrap().get(digest).cloned();
        if let Some(gate) = &self.gate {
            gate.wait();
            gate.wait();
        }
        let bytes = bytes.ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Cursor::new(bytes)))
    }

    fn put(&self, digest: &Digest, size: u64, content: &mut dyn Read) -> io::Result<()> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        assert_eq!(bytes.len() as u64, size);
        self.blobs.lock().unwrap().insert(digest.clone(), bytes);
        Ok(())
    }

    fn delete(&self, digest: &Digest) -> io::Result<bool> {
        Ok(self.blobs.lock().unwrap().remove(digest).is_some())
    }

    fn walk(&self) -> io::Result<Listed> {
        let blobs = self.blobs.lock().unwrap();
        let all: Vec<_> = blobs
            .iter()
            .map(|(digest, bytes)| Ok(info(digest, bytes)))
            .collect();
        Ok(Box::new(all.into_iter()))
    }
}

fn on(root: &Path, fake: &Arc<Fake>, copies: u64) -> Store {
    let remote: Arc<dyn Remote> = Arc::clone(fake) as Arc<dyn Remote>;
    Store::open_on(root, remote, copies).unwrap()
}

fn copies(store: &Store) -> usize {
    match std::fs::read_dir(store.root().join("blobs/sha256")) {
        Ok(entries) => entries.count(),
        Err(_) => 0,
    }
}

#[test]
fn what_is_committed_is_on_the_remote_and_comes_back_from_it() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), Arc::<Fake>::default());
    let store = on(dir.path(), &fake, 1 << 30);
    let contents = [noise(1, 5_000), noise(2, 300_000)];
    for (number, bytes) in contents.iter().enumerate() {
        let digest = put(&store, &format!("r{number}"), bytes).unwrap().digest;
        assert!(fake.has(&digest));
        assert!(matches!(
            put(&store, "again", bytes),
            Err(Error::AlreadyExists { .. })
        ));
    }
    // Somebody throws all copies away, and another daemon comes.
    std::fs::remove_dir_all(dir.path().join("blobs")).unwrap();
    let store = on(dir.path(), &fake, 1 << 30);
    assert_eq!(blobs(&store).len(), 2);
    for bytes in &contents {
        let digest = sha256(bytes);
        assert_eq!(store.info(&digest).unwrap().size, bytes.len() as u64);
        assert!(store.reader_at_once(&digest).is_none());
        assert_eq!(get(&store, &digest), *bytes);
        assert_eq!(get(&store, &digest), *bytes);
    }
    assert_eq!(fake.reads.load(Ordering::SeqCst), 2);
    // One that is there only is not written again.
    std::fs::remove_dir_all(dir.path().join("blobs")).unwrap();
    let options = IngestOptions {
        total: None,
        expected: Some(sha256(&contents[0])),
    };
    assert!(matches!(
        store.ingest("new", options),
        Err(Error::AlreadyExists { .. })
    ));
    for bytes in &contents {
        let digest = sha256(bytes);
        store.delete(&digest).unwrap();
        assert!(matches!(store.delete(&digest), Err(Error::NotFound { .. })));
        assert!(matches!(store.reader(&digest), Err(Error::NotFound { .. })));
    }
    assert!(blobs(&store).is_empty() && !fake.has(&sha256(&contents[0])));
}

#[test]
fn a_remote_that_refuses_keeps_the_ingest() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), Arc::<Fake>::default());
    let store = on(dir.path(), &fake, 1 << 30);
    for length in [100, 300_000] {
        let bytes = noise(3, length);
        let mut writer = open(&store, "r");
        writer.write(&bytes).unwrap();
        fake.refuses.store(true, Ordering::SeqCst);
        assert!(writer.commit(None, None).is_err());
        assert!(matches!(store.info(&sha256(&bytes)), Err(Error::NotFound { .. })));
        assert_eq!(statuses(&store)["r"].offset, length as u64);
        fake.refuses.store(false, Ordering::SeqCst);
        writer.commit(None, None).unwrap();
        assert_eq!(get(&store, &sha256(&bytes)), bytes);
        assert!(!folder(&store, "r").exists());
    }
}

#[test]
fn copies_that_nobody_reads_go_first() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), Arc::<Fake>::default());
    let store = on(dir.path(), &fake, 25_000);
    let contents: Vec<_> = (0..3).map(|seed| noise(seed, 10_000)).collect();
    put(&store, "0", &contents[0]).unwrap();
    put(&store, "1", &contents[1]).unwrap();
    get(&store, &sha256(&contents[0]));
    put(&store, "2", &contents[2]).unwrap();
    assert_eq!(copies(&store), 2);
    assert!(store.blob_path(&sha256(&contents[0])).exists());
    assert!(!store.blob_path(&sha256(&contents[1])).exists());
    // A reader goes on with a copy that is let go.
    let mut reader = store.reader(&sha256(&contents[0])).unwrap();
    let large = noise(9, 100_000);
    put(&store, "large", &large).unwrap();
    assert_eq!(copies(&store), 1);
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, contents[0]);
    for content in contents.iter().chain([&large]) {
        assert_eq!(get(&store, &sha256(content)), *content);
    }
}

#[test]
fn a_folder_that_was_alone_is_brought_to_the_remote_and_does_not_go_to_another() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), Arc::<Fake>::default());
    let store = Store::open(dir.path()).unwrap();
    let bytes = noise(4, 1_000);
    let digest = put(&store, "r", &bytes).unwrap().digest;
    let store = on(dir.path(), &fake, 0);
    assert!(fake.has(&digest));
    assert!(matches!(Store::open(dir.path()), Err(Error::OnRemote { has, .. }) if has == "fake"));
    assert_eq!(get(&store, &digest), bytes);
    std::fs::write(dir.path().join("remote"), "another").unwrap();
    let remote: Arc<dyn Remote> = fake;
    let refused = Store::open_on(dir.path(), remote, 0);
    assert!(
        matches!(&refused, Err(Error::OtherRemote { has, .. }) if has == "another"),
        "{refused:?}"
    );
}

#[test]
fn damage_on_the_remote_is_found_and_put_aside() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), Arc::<Fake>::default());
    let store = on(dir.path(), &fake, 1 << 20);
    let digest = sha256(b"hello");
    fake.blobs
        .lock()
        .unwrap()
        .insert(digest.clone(), b"hellx".to_vec());
    assert!(matches!(store.reader(&digest), Err(Error::Corrupt { .. })));
    assert_eq!(copies(&store), 0);
    let aside = store.set_aside(&digest).unwrap();
    assert_eq!(std::fs::read(aside).unwrap(), b"hellx");
    assert!(!fake.has(&digest));
    assert!(matches!(store.set_aside(&digest), Err(Error::NotFound { .. })));
}

#[test]
fn what_many_ask_for_is_fetched_once() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), Arc::<Fake>::default());
    let store = on(dir.path(), &fake, 1 << 30);
    let bytes = noise(5, 2_000_000);
    let digest = sha256(&bytes);
    fake.blobs.lock().unwrap().insert(digest.clone(), bytes.clone());
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert_eq!(get(&store, &digest), bytes));
        }
    });
    assert_eq!(fake.reads.load(Ordering::SeqCst), 1);
}

#[test]
fn what_is_deleted_while_it_is_fetched_gets_no_copy() {
    let fake = Arc::new(Fake {
        gate: Some(Barrier::new(2)),
        ..Fake::default()
    });
    let dir = tempfile::tempdir().unwrap();
    let store = on(dir.path(), &fake, 1 << 30);
    let bytes = noise(6, 1_000);
    let digest = sha256(&bytes);
    fake.blobs.lock().unwrap().insert(digest.clone(), bytes);
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| store.reader(&digest).err());
        let gate = fake.gate.as_ref().unwrap();
        gate.wait();
        store.delete(&digest).unwrap();
        gate.wait();
        let error = reading.join().unwrap();
        assert!(matches!(error, Some(Error::NotFound { .. })), "{error:?}");
    });
    assert_eq!(copies(&store), 0);
    assert!(matches!(store.info(&digest), Err(Error::NotFound { .. })));
}
