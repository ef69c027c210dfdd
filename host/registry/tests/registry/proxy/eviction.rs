//! What nobody uses goes after its time, and what somebody uses stays.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime::Runtime;
use transom_registry::names::{Reference, RepositoryName};
use transom_registry::proxy::{Metrics, Proxies};
use transom_registry::settings::parse;
use transom_registry::source::{Content, Source};
use transom_registry::store::{Collection, Evicted};
use transom_registry::{Error, Options, Store};
use transom_storage::filesystem::Filesystem;

use super::rig::runtime;
use crate::serving::{MANIFEST, Serving, image, push_blob, put_manifest, sha256};

const HOUR: Duration = Duration::from_secs(3600);

/// Makes everything below a folder three days old.
fn age(folder: &Path) {
    let then = SystemTime::now() - 72 * HOUR;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => age(&path),
            false => fs::File::open(path).unwrap().set_modified(then).unwrap(),
        }
    }
}

/// A cache on a folder, without a server before it.
struct Cache {
    folder: tempfile::TempDir,
    store: Store,
    proxies: Proxies,
    runtime: Runtime,
}

impl Cache {
    fn of(upstream: &Serving, ttl: &str) -> Cache {
        let folder = tempfile::tempdir().unwrap();
        let driver = Filesystem::open(folder.path(), 25).unwrap();
        let store = Store::new(Arc::new(driver), Options::default());
        let settings = format!(
            "prefix = \"hub\"\nupstream = \"http://{}\"\nttl = \"{ttl}\"\n",
            upstream.address
        );
        let settings = [parse(&settings).unwrap()];
        let proxies = Proxies::new(&settings, store.clone(), None, Metrics::default()).unwrap();
        Cache {
            folder,
            store,
            proxies,
            runtime: runtime(),
        }
    }

    fn tag(&self, name: &str) -> Result<(), Error> {
        let (name, reference) = (
            RepositoryName::new(name).unwrap(),
            "v1".parse::<Reference>().unwrap(),
        );
        let found = self.runtime.block_on(self.proxies.manifest(&name, &reference));
        found.map(drop)
    }

    /// Has a blob, whole; says whether it was here already.
    fn blob(&self, name: &str, content: &[u8]) -> bool {
        let (name, digest) = (
            RepositoryName::new(name).unwrap(),
            sha256(content).parse().unwrap(),
        );
        self.runtime.block_on(async {
            match self.proxies.blob(&name, &digest).await.unwrap() {
                Content::Stored => true,
                Content::Elsewhere(coming) => {
                    let bytes = coming.read(0).await.unwrap().collect("", 1_000).await.unwrap();
                    assert_eq!(bytes, content);
                    // Until it is in the store.
                    while !matches!(self.proxies.blob(&name, &digest).await.unwrap(), Content::Stored) {
                        tokio::task::yield_now().await;
                    }
                    false
                }
            }
        })
    }

    fn evict(&self) -> Evicted {
        self.runtime.block_on(self.proxies.evict()).unwrap()
    }

    fn has_bytes(&self, content: &[u8]) -> bool {
        let digest = sha256(content);
        let hex = digest.strip_prefix("sha256:").unwrap();
        let blobs = self.folder.path().join("docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data").exists()
    }
}

#[test]
fn what_nobody_uses_goes_and_comes_again() {
    let upstream = Serving::memory();
    let mut client = upstream.client();
    let manifest = image(&mut client, "app", "used", "");
    put_manifest(&mut client, "app", "v1", MANIFEST, &manifest).expect(201);
    let manifest = image(&mut client, "old", "unused", "");
    put_manifest(&mut client, "old", "v1", MANIFEST, &manifest).expect(201);
    let cache = Cache::of(&upstream, "48h");
    for (name, content) in [("hub/app", "used"), ("hub/old", "unused")] {
        cache.tag(name).unwrap();
        assert!(!cache.blob(name, content.as_bytes()));
    }
    // Our own, which nobody forgets.
    let own = RepositoryName::new("own").unwrap();
    cache.runtime.block_on(async {
        let digest = sha256(b"own").parse().unwrap();
        let mut upload = cache
            .store
            .new_upload(&own, transom_oci::Algorithm::Sha256)
            .await
            .unwrap();
        upload.append(b"own".as_slice().into()).await.unwrap();
        upload.commit(&own, &digest).await.unwrap();
    });
    assert_eq!(cache.evict(), Evicted::default());
    age(cache.folder.path());
    cache.tag("hub/app").unwrap();
    assert!(cache.blob("hub/app", b"used"));
    let evicted = Evicted {
        manifests: 1,
        blobs: 1,
    };
    assert_eq!(cache.evict(), evicted);
    assert_eq!(cache.evict(), Evicted::default());
    assert!(cache.blob("hub/app", b"used"));
    let collection = Collection {
        settle: Duration::ZERO,
        untagged_after: None,
        dry_run: false,
    };
    let collected = cache.runtime.block_on(cache.store.collect(&collection)).unwrap();
    // The manifest and the layer of the one that nobody used, and what is our own and in no manifest.
    assert_eq!(collected.deleted_blobs, 3);
    assert!(!cache.has_bytes(b"unused") && cache.has_bytes(b"used"));
    assert!(!cache.blob("hub/old", b"unused"));
    cache.tag("hub/old").unwrap();
}

#[test]
fn nothing_goes_when_that_is_configured() {
    let upstream = Serving::memory();
    push_blob(&mut upstream.client(), "app", b"kept");
    let cache = Cache::of(&upstream, "0");
    assert!(!cache.blob("hub/app", b"kept"));
    age(cache.folder.path());
    assert_eq!(cache.evict(), Evicted::default());
    assert!(cache.blob("hub/app", b"kept"));
}

#[test]
fn nothing_of_a_login_is_in_what_is_printed_for_debugging() {
    let upstream = Serving::memory();
    let folder = tempfile::tempdir().unwrap();
    let driver = Filesystem::open(folder.path(), 25).unwrap();
    let store = Store::new(Arc::new(driver), Options::default());
    let text = format!(
        "prefix = \"\"\nupstream = \"http://{}\"\nusername = \"me\"\npassword = \"s3cret\"\n",
        upstream.address
    );
    let settings = [parse(&text).unwrap()];
    let proxies = Proxies::new(&settings, store, None, Metrics::default()).unwrap();
    let shown = format!("{settings:?} {proxies:?}");
    assert!(shown.contains("me") && !shown.contains("s3cret"), "{shown}");
}
