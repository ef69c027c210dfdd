//! One endpoint over HTTP.

use std::fmt;
use std::path::Path;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use transom_tls::{Believe, authorities_of_machine, believing};

use super::envelope::MEDIA_TYPE;
use super::limits;
use super::settings::Settings;
use crate::settings::SetupError;

/// Where events are sent.
pub(super) struct Target {
    client: Client,
    url: Url,
    headers: HeaderMap,
}

impl fmt::Debug for Target {
    /// Without the URL and the header, which may have passwords in them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").finish_non_exhaustive()
    }
}

impl Target {
    pub(super) fn new(settings: &Settings) -> Result<Target, SetupError> {
        let wrong = |key: &str, problem: String| {
            let problem = format!("{:?}: {problem}", settings.name);
            SetupError::setting(format!("notifications.{key}"), problem)
        };
        let url = Url::parse(&settings.url).map_err(|error| wrong("url", error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("url", "it must begin with http:// or https://".to_owned()));
        }
        let tls = tls(settings.ca.as_deref()).map_err(|problem| wrong("ca", problem))?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(concat!("transom/", env!("CARGO_PKG_VERSION")))
            .timeout(settings.timeout.0)
            .redirect(Policy::none())
            .no_proxy()
            .build();
        Ok(Target {
            client: client.map_err(|error| wrong("url", error.to_string()))?,
            url,
            headers: headers(settings).map_err(|problem| wrong("headers", problem))?,
        })
    }

    /// Sends events. 2xx and 3xx mean that they were taken, as in docker-registry.
    pub(super) async fn send(&self, body: Bytes) -> Answer {
        let request = self
            .client
            .post(self.url.clone())
            .headers(self.headers.clone())
            .body(body);
        match request.send().await {
            Ok(mut response) => {
                let status = response.status();
                let mut read = 0;
                while read < limits::ANSWER_BYTES
                    && let Ok(Some(chunk)) = response.chunk().await
                {
                    read += chunk.len();
                }
                Answer::Status(status.as_u16())
            }
            // The URL may have a password in it.
            Err(error) => Answer::Failed(causes(&error.without_url())),
        }
    }
}

/// What an endpoint said.
#[derive(Debug)]
pub(super) enum Answer {
    Status(u16),
    Failed(String),
}

impl Answer {
    pub(super) fn taken(&self) -> bool {
        matches!(self, Answer::Status(200..=399))
    }

    /// The request was too large.
    pub(super) fn too_large(&self) -> bool {
        matches!(self, Answer::Status(413))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Status(status) => write!(f, "it answers {status}"),
            Answer::Failed(reason) => f.write_str(reason),
        }
    }
}

/// The client says what went wrong in the causes of its error only.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

fn headers(settings: &Settings) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    for (name, values) in &settings.headers {
        let name: HeaderName = name
            .parse()
            .map_err(|_| format!("{name:?} is not the name of a header"))?;
        for value in values.as_slice() {
            let value = HeaderValue::from_str(value);
            headers.append(
                &name,
                value.map_err(|_| format!("the value of {name} cannot be sent"))?,
            );
        }
    }
    Ok(headers)
}

fn tls(ca: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = authorities_of_machine();
    if let Some(path) = ca {
        let text = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        for certificate in CertificateDer::pem_slice_iter(&text) {
            let certificate = certificate.map_err(|error| format!("{}: {error:?}", path.display()))?;
            let added = roots.add(certificate);
            added.map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    let builder = believing(Believe::Authorities(roots)).map_err(|error| error.to_string())?;
    Ok(builder.with_no_client_auth())
}
