//! The HTTP client of object stores, and of drivers that are plugins: `reqwest` over rustls with ring.

use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector};
use transom_tls::{Believe, authorities_of_machine, believing};

use crate::limits;

/// Makes the client by itself, as `reqwest` would take the process's TLS provider, which is not this crate's to set.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) skip_verify: bool,
    pub(super) user_agent: String,
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| object_store::Error::Generic {
            store: "HTTP",
            source,
        };
        let builder = client_builder(&self.user_agent, self.skip_verify);
        let client = builder.map_err(|error| failed(error.into()))?.build();
        Ok(HttpClient::new(client.map_err(|error| failed(error.into()))?))
    }
}

/// A client that trusts the certificates of the machine, takes no proxy from the environment, and gives up a connection that
/// does not come about or falls silent ([`limits::CONNECT`], [`limits::SILENCE`]).
///
/// # Errors
/// Those of the TLS library's set-up.
pub fn client_builder(user_agent: &str, skip_verify: bool) -> Result<reqwest::ClientBuilder, rustls::Error> {
    let tls = believing(match skip_verify {
        true => Believe::Anyone,
        false => Believe::Authorities(authorities_of_machine()),
    })?;
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls.with_no_client_auth())
        .user_agent(user_agent)
        .connect_timeout(limits::CONNECT)
        .read_timeout(limits::SILENCE)
        .no_proxy())
}
