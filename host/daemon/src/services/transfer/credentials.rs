//! Whoever asks for a transfer is asked for credentials: one question at a time on a stream, as containerd does it.

use std::fmt;

use prost::Message;
use prost_types::Any;
use tokio::sync::Mutex;
use transom_api::transfer_types::{AuthRequest, AuthResponse, AuthType};
use transom_client::auth::credentials::{Asked, Found};
use transom_client::auth::{CredentialSource, Credentials};
use transom_client::{Error, Secret};

use super::super::streaming::Pipe;
use crate::limits;

/// A client that knows credentials.
pub(super) struct Asking {
    pipe: Mutex<Pipe>,
    /// The image that it is about.
    reference: String,
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking")
            .field("reference", &self.reference)
            .finish_non_exhaustive()
    }
}

impl Asking {
    pub(super) fn new(pipe: Pipe, reference: &str) -> Asking {
        Asking {
            pipe: Mutex::new(pipe),
            reference: reference.to_owned(),
        }
    }

    async fn ask(&self, asked: Asked<'_>) -> Result<Credentials, String> {
        let mut pipe = self.pipe.lock().await;
        let request = AuthRequest {
            // As docker's files and containerd's clients know it.
            host: match asked.host {
                "docker.io" => "registry-1.docker.io".to_owned(),
                host => host.to_owned(),
            },
            reference: self.reference.clone(),
            wwwauthenticate: asked.challenges.to_vec(),
        };
        let request = Any {
            type_url: "containerd.types.transfer.AuthRequest".to_owned(),
            value: request.encode_to_vec(),
        };
        let sent = pipe.outgoing.send(Ok(request)).await;
        sent.map_err(|_| "it has closed the stream".to_owned())?;
        let answer = tokio::time::timeout(limits::CREDENTIALS, pipe.incoming.message()).await;
        let answer = answer.map_err(|_| format!("no answer in {:?}", limits::CREDENTIALS))?;
        let answer = answer.map_err(|status| status.message().to_owned())?;
        let answer = answer.ok_or("it has closed the stream")?;
        let name = answer.type_url.rsplit('/').next().unwrap_or_default();
        if name != "containerd.types.transfer.AuthResponse" {
            return Err(format!("it has answered with a {name:?}"));
        }
        let answer = AuthResponse::decode(answer.value.as_slice());
        Ok(read(answer.map_err(|_| "its answer cannot be read".to_owned())?))
    }
}

impl CredentialSource for Asking {
    fn credentials<'a>(&'a self, asked: Asked<'a>) -> Found<'a> {
        Box::pin(async move {
            self.ask(asked).await.map_err(|reason| Error::Helper {
                program: "of the client that asked for the transfer".to_owned(),
                reason,
            })
        })
    }
}

fn read(answer: AuthResponse) -> Credentials {
    let kind = answer.auth_type();
    let secret = Secret::new(answer.secret);
    match kind {
        // A client that has none sends an empty token.
        _ if secret.expose().is_empty() && answer.username.is_empty() => Credentials::Anonymous,
        AuthType::None => Credentials::Anonymous,
        AuthType::Credentials => Credentials::Password {
            username: answer.username,
            password: secret,
        },
        AuthType::Refresh => Credentials::IdentityToken(secret),
        AuthType::Header => Credentials::Header(secret),
    }
}
