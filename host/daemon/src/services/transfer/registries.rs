//! How registries are reached: the daemon's settings, and over them what a request says.

use std::sync::Arc;

use transom_client::auth::{CredentialSource, NoCredentials};
use transom_client::{Client, Hosts, Options};
use transom_transfer::{Registry, TransferError};

use super::super::streaming::Pipe;
use super::credentials::Asking;
use super::ends::RegistryEnd;
use crate::config::Transfer;
use crate::limits;

/// The registries, as far as the daemon knows how to reach them.
#[derive(Clone, Debug)]
pub struct Registries {
    options: Options,
    /// What all transfers share: how much is fetched at once, and what is on its way.
    client: Client,
}

impl Registries {
    /// Registries that are reached as configured.
    #[must_use]
    pub fn new(config: &Transfer) -> Registries {
        let options = Options {
            hosts: Hosts {
                folders: config.config_path.clone(),
                ..Hosts::default()
            },
            proxies: config.proxies.clone(),
            downloads: config.max_concurrent_downloads,
            memory: limits::FETCH_MEMORY,
            ..Options::default()
        };
        Registries {
            client: Client::new(options.clone()),
            options,
        }
    }

    /// An end of a transfer; who asks for it is asked for credentials over a stream, if there is one.
    pub(super) fn open(&self, end: RegistryEnd, pipe: Option<Pipe>) -> Result<Registry, TransferError> {
        let mut options = self.options.clone();
        options.hosts.plain_http = end.plain_http;
        options.hosts.headers = end.headers;
        if let Some(folder) = end.hosts_folder {
            options.hosts.folders = vec![folder];
        }
        let credentials: Arc<dyn CredentialSource> = match pipe {
            Some(pipe) => Arc::new(Asking::new(pipe, &end.name)),
            None => Arc::new(NoCredentials),
        };
        options.credentials = credentials;
        Registry::new(self.client.beside(options), &end.name)
    }
}
