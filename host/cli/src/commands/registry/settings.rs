//! From flags, environment and the usual folders to a client's settings.

use std::env;
use std::path::PathBuf;
use std::sync::Arc;

use transom_client::auth::{CredentialSource, Credentials, Fixed, Sources};
use transom_client::{Client, Hosts, Options, Proxies, Retry, Secret};

use super::credentials;
use crate::arguments::Registries;
use crate::failure::Failure;

/// Where hosts are configured if nobody says otherwise.
const FOLDERS: [&str; 3] = [
    "/etc/transom/certs.d",
    "/etc/containerd/certs.d",
    "/etc/docker/certs.d",
];

/// How often a request is sent at most.
const TRIES: u32 = 3;

pub(crate) fn client(flags: &Registries, registry: &str) -> Result<Client, Failure> {
    Ok(Client::new(options(flags, registry)?))
}

/// The settings; `--user` is for this registry alone.
pub(crate) fn options(flags: &Registries, registry: &str) -> Result<Options, Failure> {
    let mut sources: Vec<Arc<dyn CredentialSource>> = Vec::new();
    if let Some(user) = &flags.user {
        let (username, password) = user.split_once(':').unwrap_or((user, ""));
        sources.push(Arc::new(Fixed {
            host: registry.to_owned(),
            credentials: Credentials::Password {
                username: username.to_owned(),
                password: Secret::new(password),
            },
        }));
    }
    for config in credentials::files(flags.authfile.as_deref())? {
        sources.push(Arc::new(config));
    }
    let folders = if flags.hosts_dir.is_empty() {
        FOLDERS.map(PathBuf::from).to_vec()
    } else {
        flags.hosts_dir.clone()
    };
    Ok(Options {
        hosts: Hosts {
            folders,
            plain_http: flags.plain_http,
            skip_verify: flags.skip_verify,
            ..Hosts::default()
        },
        credentials: Arc::new(Sources(sources)),
        proxies: Proxies::of(|name| env::var(name).ok()),
        // Somebody is waiting, and can try again by himself.
        retry: Retry {
            tries: TRIES,
            ..Retry::default()
        },
        ..Options::default()
    })
}
