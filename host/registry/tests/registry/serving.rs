//! A registry that serves on a port of this machine.

use std::net::SocketAddr;
use std::sync::Arc;

use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use transom_oci::{Algorithm, Digest};
use transom_registry::access::Open;
use transom_registry::event::Nobody;
use transom_registry::metrics::Metrics;
use transom_registry::server::Server;
use transom_registry::{Index, Options, Registry, Settings, Store};
use transom_storage::StorageDriver;
use transom_storage::filesystem::Filesystem;
use transom_storage::memory::Memory;

use crate::client::{Answer, Client};

/// A registry that serves until it is dropped.
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    pub(crate) registry: Registry,
    metrics: Metrics,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<()>>,
    runtime: Runtime,
    folder: Option<TempDir>,
}

impl Serving {
    pub(crate) fn on(driver: Arc<dyn StorageDriver>, options: Options, settings: Settings) -> Serving {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (store, metrics) = (Store::new(driver, options), Metrics::default());
        let registry = Registry::new(store, Arc::new(Open), Arc::new(Nobody), settings, metrics.clone());
        let listening = Server::listen(registry.clone(), ([127, 0, 0, 1], 0).into(), None);
        let server = runtime.block_on(listening).unwrap();
        let address = server.address().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = runtime.spawn(server.serve(async {
            let _ = stopped.await;
        }));
        Serving {
            address,
            registry,
            metrics,
            stop: Some(stop),
            serving: Some(serving),
            runtime,
            folder: None,
        }
    }

    pub(crate) fn memory() -> Serving {
        Serving::on(
            Arc::new(Memory::default()),
            Options::default(),
            Settings::default(),
        )
    }

    pub(crate) fn files() -> Serving {
        let folder = tempfile::tempdir().unwrap();
        let driver = Filesystem::open(folder.path(), 25).unwrap();
        let mut serving = Serving::on(Arc::new(driver), Options::default(), Settings::default());
        serving.folder = Some(folder);
        serving
    }

    /// The same with an index.
    fn indexed(self, only_writer: bool) -> Serving {
        let index = Index::new(Arc::new(transom_meta::kv::memory::Memory::new()), only_writer);
        self.registry.store().use_index(index);
        self
    }

    /// One on each driver that a test must hold on, with and without an index.
    pub(crate) fn each() -> [Serving; 4] {
        [
            Serving::memory(),
            Serving::files(),
            Serving::memory().indexed(true),
            Serving::files().indexed(false),
        ]
    }

    /// Everything that was counted, as Prometheus reads it.
    pub(crate) fn counted(&self) -> String {
        let (mut counters, mut text) = (prometheus_client::registry::Registry::default(), String::new());
        self.metrics.register(&mut counters);
        prometheus_client::encoding::text::encode(&mut text, &counters).unwrap();
        text
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// The folder of the files, of one that has files.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.as_ref().unwrap().path()
    }

    /// Ends the process, as far as content can tell, and begins another one on the same folder.
    pub(crate) fn restart(&mut self) {
        let driver = Filesystem::open(self.folder(), 25).unwrap();
        let mut next = Serving::on(Arc::new(driver), Options::default(), Settings::default());
        next.folder = self.folder.take();
        *self = next;
    }

    /// Stops, and waits until everything has ended.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(serving) = self.serving.take() {
            self.runtime.block_on(serving).unwrap();
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.stop.take());
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Digest::of(Algorithm::Sha256, bytes).to_string()
}

/// Bytes that look like nothing, the same each time.
pub(crate) fn noise(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..length).map(next).collect()
}

/// Pushes a blob by `POST` and `PUT`; gives its digest.
pub(crate) fn push_blob(client: &mut Client, name: &str, bytes: &[u8]) -> String {
    let digest = sha256(bytes);
    let begun = client
        .ask("POST", &format!("/v2/{name}/blobs/uploads/"))
        .expect(202);
    let place = format!("{}?digest={digest}", begun.location());
    client.send("PUT", &place, &[], Some(bytes)).expect(201);
    digest
}

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// An image of one layer with `content` in it, whose blobs are pushed; its manifest.
pub(crate) fn image(client: &mut Client, name: &str, content: &str, extra: &str) -> String {
    let config = push_blob(client, name, b"{}");
    let layer = push_blob(client, name, content.as_bytes());
    let size = content.len();
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":2}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{layer}","size":{size}}}]{extra}}}"#
    )
}

pub(crate) fn put_manifest(
    client: &mut Client,
    name: &str,
    reference: &str,
    kind: &str,
    manifest: &str,
) -> Answer {
    let path = format!("/v2/{name}/manifests/{reference}");
    client.send("PUT", &path, &[("Content-Type", kind)], Some(manifest.as_bytes()))
}
