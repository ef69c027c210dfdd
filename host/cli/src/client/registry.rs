//! Registries, where the daemon speaks with them itself; and `local`, where this program does and hands over blobs.

pub(crate) mod local;

use std::path::PathBuf;
use std::sync::Arc;

use transom_api::introspection::PluginsRequest;
use transom_api::transfer_types::{
    AuthRequest, AuthResponse, AuthType, OciRegistry, Progress, RegistryResolver,
};
use transom_client::Secret;
use transom_client::auth::{Asked, CredentialSource, Credentials};

use super::Client;
use super::stream::Pipe;
use super::transfer::{packed, unpacked};
use crate::failure::Failure;

/// How the daemon shall reach a registry.
#[derive(Debug)]
pub(crate) struct Reach {
    /// The image.
    pub(crate) name: String,
    pub(crate) credentials: Arc<dyn CredentialSource>,
    /// A folder with the hosts of registries, instead of the daemon's own.
    pub(crate) hosts_dir: Option<PathBuf>,
    pub(crate) plain_http: bool,
}

/// Which way an image goes.
#[derive(Debug)]
pub(crate) enum Way {
    Pull(transom_api::transfer_types::ImageStore),
    Push(transom_api::transfer_types::ImageStore),
}

impl Client {
    /// Whether the daemon can speak with registries itself.
    pub(crate) async fn has_transfers(&self) -> Result<bool, Failure> {
        let request = PluginsRequest {
            filters: vec!["type==io.containerd.transfer.v1".to_owned()],
        };
        let parts = self.introspection().plugins(request).await?.into_inner().plugins;
        Ok(parts.iter().any(|part| part.init_err.is_none()))
    }

    /// Lets the daemon move an image, answers when it asks for credentials, and hands on what it says meanwhile.
    pub(crate) async fn move_image(
        &self,
        reach: &Reach,
        way: Way,
        said: impl FnMut(Progress),
    ) -> Result<(), Failure> {
        let asking = self.pipe("credentials").await?;
        let registry = packed(&OciRegistry {
            reference: reach.name.clone(),
            resolver: Some(RegistryResolver {
                auth_stream: asking.id.clone(),
                host_dir: reach
                    .hosts_dir
                    .as_ref()
                    .map(|folder| folder.display().to_string())
                    .unwrap_or_default(),
                default_scheme: if reach.plain_http { "http" } else { "" }.to_owned(),
                ..RegistryResolver::default()
            }),
        });
        let (source, destination) = match way {
            Way::Pull(store) => (registry, packed(&store)),
            Way::Push(store) => (packed(&store), registry),
        };
        let transfer = self.transfer(source, destination, said);
        let answering = answer(asking, &*reach.credentials);
        tokio::select! {
            done = transfer => done,
            // It never ends but with an error: the daemon closes the stream with the transfer.
            failed = answering => Err(failed),
        }
    }
}

/// Answers questions for credentials until there are no more; then waits for ever.
async fn answer(mut asking: Pipe, credentials: &dyn CredentialSource) -> Failure {
    loop {
        let Some(question) = asking.next().await else {
            return std::future::pending().await;
        };
        let question = match unpacked::<AuthRequest>(&question) {
            Ok(question) => question,
            Err(failure) => return failure,
        };
        let host = match question.host.as_str() {
            "registry-1.docker.io" => "docker.io",
            host => host,
        };
        let asked = Asked {
            host,
            repository: "",
            challenges: &question.wwwauthenticate,
        };
        match credentials.credentials(asked).await {
            Ok(found) => asking.reply(packed(&response(&found))).await,
            Err(error) => return error.into(),
        }
    }
}

fn response(found: &Credentials) -> AuthResponse {
    let of = |kind: AuthType, username: &str, secret: &str| AuthResponse {
        auth_type: kind.into(),
        username: username.to_owned(),
        secret: secret.to_owned(),
        ..AuthResponse::default()
    };
    match found {
        Credentials::Anonymous => of(AuthType::None, "", ""),
        Credentials::Password { username, password } => {
            of(AuthType::Credentials, username, password.expose())
        }
        Credentials::IdentityToken(token) => of(AuthType::Refresh, "", token.expose()),
        Credentials::RegistryToken(token) => {
            let header = Secret::new(format!("Bearer {}", token.expose()));
            of(AuthType::Header, "", header.expose())
        }
        Credentials::Header(header) => of(AuthType::Header, "", header.expose()),
    }
}
