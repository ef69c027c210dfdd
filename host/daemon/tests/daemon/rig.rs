//! A daemon in this process on a socket of its own, and clients for it.

use std::path::{Path, PathBuf};

use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status};
use transom_meta::kv::Kind;
use transomd::config::Config;
use transomd::metrics::Metrics;
use transomd::notify::Notify;
use transomd::places::Places;
use transomd::reload::Reloading;
use transomd::rpc::Builder;
use transomd::shutdown::Shutdown;
use transomd::traces::Traces;
use transomd::{Daemon, Failure};

/// A running daemon. It is told to stop when this is dropped.
pub(crate) struct Rig {
    pub(crate) folder: TempDir,
    pub(crate) channel: Channel,
    /// The services without a socket.
    pub(crate) services: transomd::rpc::Services,
    pub(crate) plugins: transomd::plugins::Live,
    pub(crate) metrics: Option<std::net::SocketAddr>,
    pub(crate) registry: Option<std::net::SocketAddr>,
    pub(crate) shutdown: Shutdown,
    pub(crate) served: Option<JoinHandle<Result<(), Failure>>>,
}

impl Rig {
    pub(crate) async fn start() -> Rig {
        Rig::with(|_| {}).await
    }

    pub(crate) async fn proxy() -> Rig {
        Rig::with(|config| config.proxy_backend = true).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Rig {
        Rig::reloading(change, Reloading::default()).await
    }

    /// The same with a configuration that can be read again.
    pub(crate) async fn reloading(change: impl FnOnce(&mut Config), reloading: Reloading) -> Rig {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = config(folder.path());
        change(&mut config);
        let socket = config.socket_path();
        let shutdown = Shutdown::default();
        let daemon = Daemon::open_with(config, shutdown.clone(), reloading)
            .await
            .expect("the daemon opens");
        let metrics = daemon.metrics_address();
        let registry = daemon.registry_address();
        let services = daemon.services();
        let plugins = daemon.plugins().clone();
        let served = tokio::spawn(async move { daemon.serve(&Notify::default()).await });
        Rig {
            folder,
            services,
            plugins,
            channel: channel(&socket).await,
            metrics,
            registry,
            shutdown,
            served: Some(served),
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        config(self.folder.path()).socket_path()
    }

    /// What is counted, where `config.metrics` is set.
    pub(crate) async fn metrics_text(&self) -> String {
        let address = self.metrics.expect("metrics are served");
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let request = b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("text");
        answer
    }

    /// Stops, and waits for the end.
    pub(crate) async fn stop(mut self) -> TempDir {
        // What is kept here keeps the stores open.
        let nothing = config(self.folder.path());
        self.plugins = transomd::plugins::Live::new(&nothing, &Metrics::default(), Reloading::default());
        let traces = Traces::new(&nothing.traces, "").expect("none is sent");
        self.services = Builder::default().build(Metrics::default(), traces);
        self.shutdown.begin();
        let served = self.served.take().expect("a rig is stopped once");
        served
            .await
            .expect("the server does not panic")
            .expect("the server ends well");
        std::mem::replace(&mut self.folder, tempfile::tempdir().expect("a temporary folder"))
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

/// A configuration in a folder, that keeps its records in memory.
pub(crate) fn config(folder: &Path) -> Config {
    let mut config = Config::defaults(&Places {
        config: folder.join("config.toml"),
        root: folder.join("root"),
        state: folder.join("state"),
    });
    config.metadata.store = Kind::Memory;
    config
}

/// A connection that is there.
pub(crate) async fn channel(socket: &Path) -> Channel {
    let socket = socket.to_path_buf();
    let connect = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    endpoint
        .connect_with_connector(connect)
        .await
        .expect("the daemon answers")
}

/// A request in a namespace.
pub(crate) fn of<T>(namespace: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let value = namespace.parse().expect("a header's value");
    request.metadata_mut().insert("containerd-namespace", value);
    request
}

/// A request in the namespace `default`.
pub(crate) fn here<T>(message: T) -> Request<T> {
    of("default", message)
}

/// A request with a lease.
pub(crate) fn leased<T>(lease: &str, message: T) -> Request<T> {
    let mut request = here(message);
    let value = lease.parse().expect("a header's value");
    request.metadata_mut().insert("containerd-lease", value);
    request
}

/// Code and text of what must fail.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String) {
    let status = result.expect_err("this is refused");
    (status.code(), status.message().to_owned())
}

/// The digest of bytes.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    transom_oci::Digest::of(transom_oci::Algorithm::Sha256, bytes).to_string()
}
