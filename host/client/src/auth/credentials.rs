//! Where credentials come from.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::{Error, Secret};

/// What a client may show a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing.
    Anonymous,
    /// A user's name and password; for tokens too.
    Password {
        /// The name.
        username: String,
        /// The password, or what stands for it.
        password: Secret,
    },
    /// A refresh token, docker's `identitytoken`: new tokens are had for it.
    IdentityToken(Secret),
    /// A token that is shown as it is, docker's `registrytoken`.
    RegistryToken(Secret),
    /// A whole `Authorization` header.
    Header(Secret),
}

/// For what credentials are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The host that wants them, with its port; `docker.io` for all hosts of that registry.
    pub host: &'a str,
    /// The repository, without the host; empty if it is about the host as a whole.
    pub repository: &'a str,
    /// The `WWW-Authenticate` headers.
    pub challenges: &'a [String],
}

/// Credentials to wait for.
pub type Found<'a> = Pin<Box<dyn Future<Output = Result<Credentials, Error>> + Send + 'a>>;

/// Something that knows credentials. It is asked when a registry wants them, not before.
pub trait CredentialSource: Send + Sync + fmt::Debug {
    /// The credentials for a host; [`Credentials::Anonymous`] if it knows none.
    fn credentials<'a>(&'a self, asked: Asked<'a>) -> Found<'a>;
}

/// Knows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCredentials;

impl CredentialSource for NoCredentials {
    fn credentials<'a>(&'a self, _: Asked<'a>) -> Found<'a> {
        Box::pin(async { Ok(Credentials::Anonymous) })
    }
}

/// Credentials for one host, such as those of a command line.
#[derive(Clone, Debug)]
pub struct Fixed {
    /// The only host that gets them, as it is written in the names of images.
    pub host: String,
    /// What it gets.
    pub credentials: Credentials,
}

impl CredentialSource for Fixed {
    fn credentials<'a>(&'a self, asked: Asked<'a>) -> Found<'a> {
        let credentials = if asked.host == self.host {
            self.credentials.clone()
        } else {
            Credentials::Anonymous
        };
        Box::pin(async { Ok(credentials) })
    }
}

/// Several sources; the first that knows something decides.
#[derive(Clone, Debug, Default)]
pub struct Sources(pub Vec<Arc<dyn CredentialSource>>);

impl CredentialSource for Sources {
    fn credentials<'a>(&'a self, asked: Asked<'a>) -> Found<'a> {
        Box::pin(async move {
            for source in &self.0 {
                match source.credentials(asked).await? {
                    Credentials::Anonymous => {}
                    found => return Ok(found),
                }
            }
            Ok(Credentials::Anonymous)
        })
    }
}
