//! A cache as it is configured, and what is asked of it.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use transom_registry::config::Config;
use transom_registry::run::Running;
use transom_storage::Factory;

use crate::client::Client;

/// A registry of a configuration that serves until it is dropped.
pub(super) struct Cache {
    pub(super) address: SocketAddr,
    operators: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<()>>,
    runtime: Runtime,
    folder: Option<TempDir>,
}

/// A configuration with more tables in it, and its files below a folder.
pub(super) fn config(folder: &Path, more: &str) -> Config {
    let storage = format!(
        "driver = \"filesystem\"\nrootdirectory = {:?}",
        folder.join("registry")
    );
    config_on(folder, &storage, more)
}

/// The same on another driver.
pub(super) fn config_on(folder: &Path, storage: &str, more: &str) -> Config {
    let state = folder.join("state");
    let text = format!(
        "state = {state:?}\n[storage]\n{storage}\n[http]\nlisten = \"127.0.0.1:0\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n{more}\n"
    );
    Config::parse(&text).unwrap_or_else(|mistake| panic!("{mistake}: {text}"))
}

/// `[[proxy]]` of a registry of this machine.
pub(super) fn proxy(prefix: &str, upstream: SocketAddr) -> String {
    format!("[[proxy]]\nprefix = \"{prefix}\"\nupstream = \"http://{upstream}\"\n")
}

pub(super) fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

impl Cache {
    /// On files in a new folder.
    pub(super) fn start(more: &str) -> Cache {
        Cache::again(tempfile::tempdir().unwrap(), more)
    }

    /// On files in a folder that may have some.
    pub(super) fn again(folder: TempDir, more: &str) -> Cache {
        let config = config(folder.path(), more);
        Cache::of(&config, folder)
    }

    pub(super) fn of(config: &Config, folder: TempDir) -> Cache {
        let runtime = runtime();
        let opening = async { Running::open(config, &Factory::builtin()).await };
        let running = runtime.block_on(opening).unwrap();
        let (address, operators) = (running.address().unwrap(), running.admin_address().unwrap());
        let (stop, stopped) = oneshot::channel();
        let serving = runtime.spawn(running.serve(async {
            let _ = stopped.await;
        }));
        Cache {
            address,
            operators,
            stop: Some(stop),
            serving: Some(serving),
            runtime,
            folder: Some(folder),
        }
    }

    pub(super) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Where the bytes of a blob are, or would be.
    pub(super) fn data(&self, digest: &str) -> std::path::PathBuf {
        data(self.folder.as_ref().unwrap().path(), digest)
    }

    /// Waits until a blob that was given is kept, too: who reads it does not wait for that. Its bytes.
    pub(super) fn kept(&self, digest: &str) -> Vec<u8> {
        let data = self.data(digest);
        for _ in 0..6_000 {
            if data.exists() {
                return std::fs::read(data).unwrap();
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("{digest} is not kept");
    }

    /// What was counted under a name with these labels; 0 if nothing was.
    pub(super) fn counted(&self, name: &str) -> u64 {
        let text = Client::connect(self.operators)
            .ask("GET", "/metrics")
            .expect(200)
            .body;
        let text = String::from_utf8(text).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0, |value| value.trim().parse().unwrap())
    }

    /// Stops, and waits until everything has ended; the folder is left.
    pub(super) fn stop(mut self) -> TempDir {
        drop(self.stop.take());
        if let Some(serving) = self.serving.take() {
            self.runtime.block_on(serving).unwrap();
        }
        self.folder.take().unwrap()
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        drop(self.stop.take());
    }
}

/// Where the bytes of a blob are, or would be, below a cache's folder.
pub(super) fn data(folder: &Path, digest: &str) -> std::path::PathBuf {
    let hex = digest.strip_prefix("sha256:").unwrap();
    let blobs = folder.join("registry/docker/registry/v2/blobs/sha256");
    blobs.join(&hex[..2]).join(hex).join("data")
}

/// Asks for something and reads what comes, also if it is cut: the status, the length that was announced, and the bytes.
pub(super) fn read(address: SocketAddr, path: &str, range: Option<&str>) -> (u16, usize, Vec<u8>) {
    use std::io::{BufRead, BufReader, Read, Write};
    let mut stream = TcpStream::connect(address).unwrap();
    let range = range
        .map(|range| format!("Range: {range}\r\n"))
        .unwrap_or_default();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{range}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let (mut status, mut length) = (0, 0);
    for line in reader.by_ref().lines() {
        let line = line.unwrap().to_ascii_lowercase();
        if let Some(rest) = line.strip_prefix("http/1.1 ") {
            status = rest[..3].parse().unwrap();
        }
        if let Some(rest) = line.strip_prefix("content-length: ") {
            length = rest.parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = Vec::new();
    // One that is cut ends with an error, or just ends.
    let _ = reader.read_to_end(&mut body);
    (status, length, body)
}
