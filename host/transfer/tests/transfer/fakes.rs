//! Snapshots that are nowhere, and an applier that only reads layers: to see what an unpacker asks of them, and when.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use tokio::sync::watch;
use transom_meta::kv::Pending;
use transom_meta::snapshots::{Info, Kind};
use transom_meta::{Caller, Class, Error, Labels, Metadata};
use transom_oci::{Algorithm, Digest, media_type};
use transom_sys::Mount;
use transom_transfer::unpack::{Applied, Applier, ApplyError, Authorizer, Layer, Sealed, Snapshots};

/// Snapshots by key.
#[derive(Debug, Default)]
pub(crate) struct FakeSnapshots {
    pub(crate) all: Mutex<BTreeMap<String, Info>>,
    /// What was done, in order.
    pub(crate) log: Mutex<Vec<String>>,
    pub(crate) rebase: bool,
}

impl FakeSnapshots {
    pub(crate) fn names(&self, kind: Kind) -> Vec<String> {
        let all = self.all.lock().unwrap();
        let named = all.values().filter(|info| info.kind == kind);
        named.map(|info| info.name.clone()).collect()
    }

    pub(crate) fn get(&self, name: &str) -> Info {
        self.all.lock().unwrap()[name].clone()
    }

    fn log(&self, what: String) {
        self.log.lock().unwrap().push(what);
    }

    fn prepare_now(&self, key: &str, parent: &str, labels: Labels) -> Result<Vec<Mount>, Error> {
        self.log(format!("prepare {parent}"));
        let mut all = self.all.lock().unwrap();
        let wanted = labels.get("containerd.io/snapshot.ref");
        if let Some(taken) = [Some(key), wanted.map(String::as_str)]
            .into_iter()
            .flatten()
            .find(|name| all.contains_key(*name))
        {
            return Err(Error::AlreadyExists {
                object: taken.to_owned(),
            });
        }
        if !parent.is_empty() && !all.contains_key(parent) {
            return Err(Error::NotFound {
                object: parent.to_owned(),
            });
        }
        all.insert(key.to_owned(), info(Kind::Active, key, parent, labels));
        let bind = parent.is_empty();
        Ok(vec![Mount {
            kind: if bind { "bind" } else { "overlay" }.to_owned(),
            source: format!("/snapshots/{key}"),
            target: String::new(),
            options: vec!["rw".to_owned(), "rbind".to_owned()],
        }])
    }

    fn commit_now(&self, name: &str, key: &str, parent: &str, labels: Labels) -> Result<(), Error> {
        self.log(format!("commit {name} {parent}"));
        let mut all = self.all.lock().unwrap();
        if all.contains_key(name) {
            return Err(Error::AlreadyExists {
                object: name.to_owned(),
            });
        }
        if !parent.is_empty() && all.get(parent).is_none_or(|info| info.kind != Kind::Committed) {
            return Err(Error::NotFound {
                object: parent.to_owned(),
            });
        }
        let active = all.remove(key).ok_or_else(|| Error::NotFound {
            object: key.to_owned(),
        })?;
        let parent = if parent.is_empty() { &active.parent } else { parent };
        all.insert(name.to_owned(), info(Kind::Committed, name, parent, labels));
        Ok(())
    }
}

fn info(kind: Kind, name: &str, parent: &str, labels: Labels) -> Info {
    Info {
        kind,
        name: name.to_owned(),
        parent: parent.to_owned(),
        labels,
        created: SystemTime::now(),
        updated: SystemTime::now(),
    }
}

impl Snapshots for FakeSnapshots {
    fn capabilities(&self, snapshotter: &str) -> Option<Vec<String>> {
        let rebase = self.rebase.then(|| "rebase".to_owned());
        (snapshotter == "overlayfs").then(|| rebase.into_iter().collect())
    }

    fn prepare<'a>(
        &'a self,
        _: &'a Caller,
        _: &'a str,
        key: &'a str,
        parent: &'a str,
        labels: Labels,
    ) -> Pending<'a, Result<Vec<Mount>, Error>> {
        Box::pin(async move { self.prepare_now(key, parent, labels) })
    }

    fn commit<'a>(
        &'a self,
        _: &'a Caller,
        _: &'a str,
        name: &'a str,
        key: &'a str,
        parent: &'a str,
        labels: Labels,
    ) -> Pending<'a, Result<(), Error>> {
        Box::pin(async move { self.commit_now(name, key, parent, labels) })
    }

    fn stat<'a>(&'a self, _: &'a Caller, _: &'a str, key: &'a str) -> Pending<'a, Result<Info, Error>> {
        let found = self.all.lock().unwrap().get(key).cloned();
        Box::pin(async move {
            found.ok_or_else(|| Error::NotFound {
                object: key.to_owned(),
            })
        })
    }

    fn remove<'a>(&'a self, _: &'a Caller, _: &'a str, key: &'a str) -> Pending<'a, Result<(), Error>> {
        self.log("remove".to_owned());
        let removed = self.all.lock().unwrap().remove(key);
        Box::pin(async move {
            removed.map(|_| ()).ok_or_else(|| Error::NotFound {
                object: key.to_owned(),
            })
        })
    }
}

/// Reads layers and gives their diffIDs.
#[derive(Debug)]
pub(crate) struct FakeApplier {
    pub(crate) metadata: watch::Sender<Option<Metadata>>,
    /// How many may go on.
    pub(crate) open: watch::Sender<usize>,
    pub(crate) begun: watch::Sender<usize>,
    pub(crate) at_once: AtomicUsize,
    pub(crate) most: AtomicUsize,
    /// How many layers were read while they arrived.
    pub(crate) along: AtomicUsize,
    /// Whether those fail.
    pub(crate) fails_along: Mutex<bool>,
    /// How many have failed.
    pub(crate) failed_along: watch::Sender<usize>,
    pub(crate) mounts: Mutex<Vec<Mount>>,
    /// A layer that cannot be applied, and may not be used.
    pub(crate) fails: Mutex<Option<Digest>>,
    /// The layers that others had applied, and somebody wanted to use.
    pub(crate) asked: Mutex<Vec<Digest>>,
}

impl FakeApplier {
    /// One that lets so many through before it waits.
    pub(crate) fn new(open: usize) -> Arc<FakeApplier> {
        Arc::new(FakeApplier {
            metadata: watch::Sender::new(None),
            open: watch::Sender::new(open),
            begun: watch::Sender::new(0),
            at_once: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            along: AtomicUsize::new(0),
            fails_along: Mutex::default(),
            failed_along: watch::Sender::new(0),
            mounts: Mutex::default(),
            fails: Mutex::default(),
            asked: Mutex::default(),
        })
    }

    async fn apply_now(&self, layer: Layer<'_>) -> Result<Applied, ApplyError> {
        let failed = |text: &str| ApplyError {
            class: Class::Unknown,
            text: text.to_owned(),
        };
        self.mounts.lock().unwrap().extend_from_slice(layer.mounts);
        let at_once = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(at_once, Ordering::SeqCst);
        let mut number = 0;
        self.begun.send_modify(|begun| {
            *begun += 1;
            number = *begun;
        });
        let (cancelled, stop) = tokio::sync::oneshot::channel::<()>();
        let cancelled = Mutex::new(Some(cancelled));
        let _hook = layer
            .cancel
            .on_cancel(move || drop(cancelled.lock().unwrap().take()));
        let mut open = self.open.subscribe();
        let stopped = tokio::select! {
            _ = open.wait_for(|open| *open >= number) => false,
            _ = stop => true,
        };
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        if stopped {
            return Err(failed("stopped"));
        }
        if self.fails.lock().unwrap().as_ref() == Some(&layer.descriptor.digest) {
            return Err(failed("a bad layer"));
        }
        let metadata = self.metadata.borrow().clone().unwrap();
        let blob: Box<dyn Read + Send> = match layer.along {
            Some(along) => {
                self.along.fetch_add(1, Ordering::SeqCst);
                if *self.fails_along.lock().unwrap() {
                    self.failed_along.send_modify(|failed| *failed += 1);
                    return Err(failed("a name that is too long"));
                }
                Box::new(along.reader(layer.cancel))
            }
            None => {
                let digest = &layer.descriptor.digest;
                let blob = metadata.content_reader(layer.caller, digest).await;
                Box::new(blob.map_err(|error| failed(&error.to_string()))?)
            }
        };
        let plain = layer.descriptor.media_type == media_type::DOCKER_LAYER;
        let tar = tokio::task::spawn_blocking(move || tar_of(blob, plain)).await;
        let tar = tar.map_err(|error| failed(&error.to_string()))?;
        layer.read.store(layer.descriptor.size, Ordering::Relaxed);
        let tar = tar.map_err(|error| failed(&error.to_string()))?;
        Ok(Applied {
            diff_id: Digest::of(Algorithm::Sha256, &tar),
            made: Vec::new(),
        })
    }
}

/// The plain tar, when the blob was read to its end.
fn tar_of(mut blob: Box<dyn Read + Send>, plain: bool) -> std::io::Result<Vec<u8>> {
    let mut tar = Vec::new();
    if plain {
        blob.read_to_end(&mut tar)?;
        return Ok(tar);
    }
    let decoded = flate2::read::GzDecoder::new(&mut blob).read_to_end(&mut tar);
    // What does not decompress may be a damaged blob: that shows at its end.
    std::io::copy(&mut blob, &mut std::io::sink())?;
    decoded.map(|_| tar)
}

impl Applier for FakeApplier {
    fn apply<'a>(&'a self, layer: Layer<'a>) -> Pending<'a, Result<Applied, ApplyError>> {
        Box::pin(self.apply_now(layer))
    }
}

impl Authorizer for FakeApplier {
    fn authorize<'a>(&'a self, layer: Sealed<'a>) -> Pending<'a, Result<(), ApplyError>> {
        let digest = &layer.descriptor.digest;
        self.asked.lock().unwrap().push(digest.clone());
        let denied = self.fails.lock().unwrap().as_ref() == Some(digest);
        Box::pin(async move {
            match denied {
                false => Ok(()),
                true => Err(ApplyError {
                    class: Class::PermissionDenied,
                    text: "no key".to_owned(),
                }),
            }
        })
    }
}
