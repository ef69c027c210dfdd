//! A daemon as the commands see it: Transom's or containerd's.
//!
//! Read in this order: [`target`] (which daemon and namespace), this file (the connection), [`blob`] (reading), [`upload`]
//! (writing), [`image`] (the tree of blobs of an image), [`snapshot`], [`mod@unpack`] (an image into snapshots), [`stream`] and
//! [`transfer`] (images in and out), [`registry`] (images from and to registries), [`plugins`], [`labels`], [`lease`], [`event`], [`time`].

pub(crate) mod blob;
pub(crate) mod event;
pub(crate) mod image;
pub(crate) mod labels;
pub(crate) mod lease;
pub(crate) mod plugins;
pub(crate) mod registry;
pub(crate) mod snapshot;
pub(crate) mod stream;
pub(crate) mod target;
pub(crate) mod time;
pub(crate) mod transfer;
pub(crate) mod unpack;
pub(crate) mod upload;

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Mutex;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};
use transom_api::{
    LEASE_HEADER, NAMESPACE_HEADER, content, diff, events, images, introspection, leases,
    limits as api_limits, namespaces, plugins as installed, snapshots, streaming, transfer as transfers,
    version,
};

use crate::failure::{Failure, Kind};
use crate::interrupt::Interrupt;
use crate::limits;

pub(crate) use labels::Labels;
pub(crate) use target::Target;

/// The label that keeps a blob or a snapshot for good; its value says since when.
pub(crate) const ROOT: &str = "containerd.io/gc.root";

type Link = InterceptedService<Channel, Headers>;

/// A connection to a daemon, and on whose behalf it is used.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    channel: Channel,
    headers: Headers,
}

/// What every request carries.
#[derive(Clone, Debug)]
pub(crate) struct Headers {
    namespace: MetadataValue<Ascii>,
    lease: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Headers {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        metadata.insert(NAMESPACE_HEADER, self.namespace.clone());
        if let Some(lease) = &self.lease {
            metadata.insert(LEASE_HEADER, lease.clone());
        }
        Ok(request)
    }
}

/// A method that gives a client of a service.
macro_rules! service {
    ($name:ident, $client:ty) => {
        pub(crate) fn $name(&self) -> $client {
            <$client>::new(InterceptedService::new(
                self.channel.clone(),
                self.headers.clone(),
            ))
            .max_decoding_message_size(api_limits::MESSAGE_BYTES)
            .max_encoding_message_size(api_limits::MESSAGE_BYTES)
        }
    };
}

impl Client {
    service!(content, content::content_client::ContentClient<Link>);
    service!(images, images::images_client::ImagesClient<Link>);
    service!(leases, leases::leases_client::LeasesClient<Link>);
    service!(namespaces, namespaces::namespaces_client::NamespacesClient<Link>);
    service!(events, events::events_client::EventsClient<Link>);
    service!(snapshots, snapshots::snapshots_client::SnapshotsClient<Link>);
    service!(diff, diff::diff_client::DiffClient<Link>);
    service!(streaming, streaming::streaming_client::StreamingClient<Link>);
    service!(transfers, transfers::transfer_client::TransferClient<Link>);
    service!(plugins, installed::plugins_client::PluginsClient<Link>);
    service!(version, version::version_client::VersionClient<Link>);
    service!(
        introspection,
        introspection::introspection_client::IntrospectionClient<Link>
    );

    /// The same connection, under a lease.
    pub(crate) fn leased(&self, lease: &str) -> Result<Client, Failure> {
        let mut client = self.clone();
        client.headers.lease = Some(header("lease", lease)?);
        Ok(client)
    }

    /// The namespace that is worked in.
    pub(crate) fn namespace(&self) -> &str {
        self.headers.namespace.to_str().unwrap_or_default()
    }

    async fn connect(target: &Target) -> Result<Client, Failure> {
        let headers = Headers {
            namespace: header("namespace", &target.namespace)?,
            lease: None,
        };
        let stream = UnixStream::connect(&target.address).await;
        let stream = stream.map_err(|error| unreachable(&target.address, &error))?;
        // One connection for one command: it is not made again.
        let stream = Mutex::new(Some(stream));
        let connector = tower::service_fn(move |_: Uri| {
            let stream = stream.lock().ok().and_then(|mut stream| stream.take());
            async {
                stream
                    .map(TokioIo::new)
                    .ok_or(io::Error::from(ErrorKind::ConnectionReset))
            }
        });
        // containerd's Go clients call themselves so on a unix socket.
        let channel = Endpoint::from_static("http://localhost")
            .initial_stream_window_size(limits::WINDOW.0)
            .initial_connection_window_size(limits::WINDOW.1)
            .max_frame_size(limits::FRAME_BYTES)
            .connect_with_connector(connector)
            .await
            .map_err(|error| Failure::unavailable(target.address.display(), &error))?;
        Ok(Client { channel, headers })
    }
}

/// Connects and does the work, which an interrupt ends.
pub(crate) fn run<T>(
    target: &Target,
    interrupt: &Interrupt,
    work: impl AsyncFnOnce(&Client) -> Result<T, Failure>,
) -> Result<T, Failure> {
    run_to_end(target, async |client| {
        tokio::select! {
            done = work(client) => done,
            () = interrupt.requested() => Err(Failure::interrupted()),
        }
    })
}

/// Connects and does the work, which looks for interrupts by itself.
pub(crate) fn run_to_end<T>(
    target: &Target,
    work: impl AsyncFnOnce(&Client) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("cannot start the client", &error))?;
    runtime.block_on(async { work(&Client::connect(target).await?).await })
}

fn header(what: &str, value: &str) -> Result<MetadataValue<Ascii>, Failure> {
    value
        .parse()
        .map_err(|_| Failure::usage(format!("{value:?} cannot be the name of a {what}")))
}

/// Why there is no connection, and what may help.
fn unreachable(address: &Path, error: &io::Error) -> Failure {
    let address = address.display();
    let hint = match error.kind() {
        ErrorKind::NotFound => {
            "no daemon has made this socket; start one with `transomd`, or name another's socket with --address \
             (containerd's is /run/containerd/containerd.sock), or a folder with --root to work without a daemon"
        }
        ErrorKind::ConnectionRefused => {
            "the daemon that made this socket has ended; start it again, Transom's with `transomd`"
        }
        ErrorKind::PermissionDenied => "root and those whom the daemon's configuration names may use it",
        _ => return Failure::new(Kind::Unavailable, format!("cannot connect to {address}: {error}")),
    };
    let kind = match error.kind() {
        ErrorKind::PermissionDenied => Kind::Refused,
        _ => Kind::Unavailable,
    };
    Failure::new(kind, format!("cannot connect to {address}: {error}: {hint}"))
}
