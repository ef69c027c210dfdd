//! One connection to a daemon.

use std::path::Path;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;
use transom_api::content::content_client::ContentClient;
use transom_api::diff::diff_client::DiffClient;
use transom_api::images::images_client::ImagesClient;
use transom_api::leases::leases_client::LeasesClient;
use transom_api::snapshots::snapshots_client::SnapshotsClient;
use transom_api::version::version_client::VersionClient;
use transom_api::{LEASE_HEADER, NAMESPACE_HEADER};

use crate::Error;

/// The largest message either side may send; the daemons' own limit.
const MESSAGE_BYTES: usize = 16 << 20;

/// The largest frame that a daemon may send, as `transom` has it. containerd sends 16 KiB to everybody.
const FRAME_BYTES: u32 = 1 << 20;

/// The namespace that is loaded.
const NAMESPACE: &str = "load";

/// The lease that keeps what is made.
pub(crate) const LEASE: &str = "load";

/// The services of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    channel: Channel,
}

impl Client {
    pub(crate) async fn connect(socket: &Path) -> Result<Client, Error> {
        let socket = socket.to_path_buf();
        let connector = service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        // The address is not used, but has to be one.
        let endpoint = Endpoint::from_static("http://localhost").max_frame_size(FRAME_BYTES);
        let channel = endpoint.connect_with_connector(connector).await?;
        Ok(Client { channel })
    }

    pub(crate) fn content(&self) -> ContentClient<Channel> {
        ContentClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES)
            .max_encoding_message_size(MESSAGE_BYTES)
    }

    pub(crate) fn images(&self) -> ImagesClient<Channel> {
        ImagesClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES)
    }

    pub(crate) fn leases(&self) -> LeasesClient<Channel> {
        LeasesClient::new(self.channel.clone())
    }

    pub(crate) fn snapshots(&self) -> SnapshotsClient<Channel> {
        SnapshotsClient::new(self.channel.clone())
    }

    pub(crate) fn diff(&self) -> DiffClient<Channel> {
        DiffClient::new(self.channel.clone())
    }

    pub(crate) fn version(&self) -> VersionClient<Channel> {
        VersionClient::new(self.channel.clone())
    }
}

/// A request in the namespace.
pub(crate) fn within<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let namespace = MetadataValue::from_static(NAMESPACE);
    request.metadata_mut().insert(NAMESPACE_HEADER, namespace);
    request
}

/// A request in the namespace, under the lease.
pub(crate) fn leased<T>(message: T) -> Request<T> {
    let mut request = within(message);
    let lease = MetadataValue::from_static(LEASE);
    request.metadata_mut().insert(LEASE_HEADER, lease);
    request
}
