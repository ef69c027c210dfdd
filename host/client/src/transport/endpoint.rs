//! A host with its credentials: requests that follow redirects, log in, and are tried again.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::{Request, Url};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::upload::{Fault, Part};
use super::wire::{Flow, Trouble, Wire, without_secrets};
use super::{Answer, Upload, retry::Backoff, status};
use crate::auth::authorizer::Authorizer;
use crate::auth::challenge::Challenge;
use crate::auth::scope::Scopes;
use crate::hosts::{Host, Scheme};
use crate::{Error, limits};

/// A request to a host.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
    pub(crate) scopes: Scopes,
    /// What is asked for, for errors: `manifest 1.2 of library/debian`.
    pub(crate) what: String,
}

/// The body of a request.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    Empty,
    Bytes(Bytes),
    /// Bytes of something, from an offset on.
    Part {
        source: Arc<dyn Upload>,
        offset: u64,
        length: u64,
    },
}

impl Call {
    pub(crate) fn new(method: Method, url: Url, scopes: Scopes, what: impl Into<String>) -> Call {
        Call {
            method,
            url,
            headers: HeaderMap::new(),
            payload: Payload::Empty,
            scopes,
            what: what.into(),
        }
    }

    pub(crate) fn header(mut self, name: http::HeaderName, value: HeaderValue) -> Call {
        self.headers.append(name, value);
        self
    }

    pub(crate) fn payload(mut self, payload: Payload) -> Call {
        self.payload = payload;
        self
    }
}

/// A host that is spoken with.
#[derive(Debug)]
pub(crate) struct Endpoint {
    host: Host,
    wire: Wire,
    auth: Authorizer,
    base: OnceCell<Url>,
    shunned: Mutex<Option<Instant>>,
}

impl Endpoint {
    pub(crate) fn new(host: Host, wire: Wire, auth: Authorizer) -> Endpoint {
        Endpoint {
            host,
            wire,
            auth,
            base: OnceCell::new(),
            shunned: Mutex::default(),
        }
    }

    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    /// The host, for errors.
    pub(crate) fn label(&self) -> &str {
        self.wire.label()
    }

    pub(crate) fn backoff(&self) -> Backoff {
        self.wire.retry().start()
    }

    /// Asks this host last for a while.
    pub(crate) fn shun(&self) {
        *self.shunned.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + limits::SHUN);
    }

    pub(crate) fn is_shunned(&self) -> bool {
        let until = *self.shunned.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// The address of something of the API: `path` without the slash before it, such as `library/debian/tags/list`.
    pub(crate) async fn url(&self, path: &str, query: &[(&str, &str)]) -> Result<Url, Error> {
        let mut url = self.base().await?.clone();
        url.set_path(&format!("{}/{path}", self.host.path));
        for (name, value) in query {
            url.query_pairs_mut().append_pair(name, value);
        }
        if let Some(registry) = &self.host.mirror_of {
            url.query_pairs_mut().append_pair("ns", registry);
        }
        Ok(url)
    }

    /// Scheme and host; the first time, it may have to be found out.
    async fn base(&self) -> Result<&Url, Error> {
        let find = || async {
            let address = |scheme: &str| {
                Url::parse(&format!("{scheme}://{}", self.host.authority)).map_err(|error| Error::Setup {
                    host: self.host.authority.clone(),
                    reason: error.to_string(),
                })
            };
            match self.host.scheme {
                Scheme::Https => address("https"),
                Scheme::Http => address("http"),
                Scheme::Either => {
                    let mut probe = address("https")?;
                    probe.set_path(&format!("{}/", self.host.path));
                    if self.wire.speaks_tls(&probe).await? {
                        address("https")
                    } else {
                        address("http")
                    }
                }
            }
        };
        self.base.get_or_try_init(find).await
    }

    /// The address that an answer names, from the address that was asked. A registry behind a proxy that ends TLS does not
    /// know of it, and names itself in the clear.
    pub(crate) async fn location(&self, asked: &Url, text: &str) -> Result<Url, Error> {
        let base = self.base().await?;
        let mut url = asked.join(text).map_err(|_| Error::Protocol {
            host: self.label().to_owned(),
            reason: "it names a place that is no address".to_owned(),
        })?;
        if url.host_str() == base.host_str() && base.scheme() == "https" && url.scheme() == "http" {
            // Fails for no pair of these two.
            let _ = url.set_scheme("https");
            if url.port() == Some(80) {
                let _ = url.set_port(base.port());
            }
        }
        Ok(url)
    }

    /// Sends a request until there is an answer that is no failure to try again, and gives it if its status is wanted.
    pub(crate) async fn send(&self, call: &Call, wanted: &[StatusCode]) -> Result<Answer, Error> {
        let mut backoff = self.backoff();
        loop {
            match self.once(call, wanted).await {
                Ok(answer) => return Ok(answer),
                Err(trouble) => backoff.wait(trouble).await?,
            }
        }
    }

    /// Sends a request once, or more often to log in.
    pub(crate) async fn once(&self, call: &Call, wanted: &[StatusCode]) -> Result<Answer, Trouble> {
        let base = self
            .base()
            .await
            .map_err(|error| Trouble::Again { error, after: None })?;
        let secure = base.scheme() == "https";
        let mut scopes = call.scopes.clone();
        let mut refused = 0;
        loop {
            let shown = self.auth.header(&self.wire, &scopes, &call.what).await;
            let shown = shown.map_err(Trouble::Never)?;
            let (answer, foreign) = self.follow(call, base, shown.as_ref()).await?;
            if wanted.contains(&answer.status()) {
                return Ok(answer);
            }
            if answer.status() != StatusCode::UNAUTHORIZED || foreign {
                return Err(status::trouble(&call.what, answer).await);
            }
            refused += 1;
            let challenge = Challenge::read(answer.headers());
            let said = status::trouble(&call.what, answer).await;
            if refused > limits::LOGINS || shown.is_none() && refused > 1 {
                return Err(Trouble::Never(self.advise(said.into_error())));
            }
            scopes = scopes.with(&challenge.scopes);
            self.auth
                .refused(&challenge, &scopes, shown.as_ref(), secure)
                .await
                .map_err(|reason| Trouble::Never(self.unauthorized(call, reason)))?;
        }
    }

    fn unauthorized(&self, call: &Call, reason: String) -> Error {
        Error::Unauthorized {
            host: self.label().to_owned(),
            what: call.what.clone(),
            reason,
        }
    }

    /// Adds to the registry's refusal what can be done about it.
    fn advise(&self, error: Error) -> Error {
        let Error::Unauthorized { host, what, reason } = error else {
            return error;
        };
        let said = if reason.is_empty() {
            String::new()
        } else {
            format!("{reason}; ")
        };
        let login = self.auth.host();
        Error::Unauthorized {
            host,
            what,
            reason: format!("{said}transom registry login {login}"),
        }
    }

    /// Follows redirects. Whatever is meant for this host alone goes to no other, and not back from one either.
    async fn follow(
        &self,
        call: &Call,
        base: &Url,
        shown: Option<&HeaderValue>,
    ) -> Result<(Answer, bool), Trouble> {
        let mut url = call.url.clone();
        let mut foreign = url.origin() != base.origin();
        for _ in 0..=limits::REDIRECTS {
            let (request, flow, fault) = self.request(call, &url, shown.filter(|_| !foreign), foreign);
            let sent = self.wire.send(foreign, request, flow.as_ref()).await;
            let response = sent.map_err(|trouble| unreadable(fault, trouble))?;
            let answer = Answer::new(response, self.wire.stall());
            if !follows(call, answer.status()) {
                return Ok((answer, foreign));
            }
            let Some(next) = answer.header(LOCATION).and_then(|text| url.join(text).ok()) else {
                return Err(self.lost("it redirects without saying where to"));
            };
            let downgrade = url.scheme() == "https" && next.scheme() != "https" && !self.host.skip_verify;
            if downgrade || !matches!(next.scheme(), "http" | "https") {
                let to = without_secrets(&next);
                return Err(self.lost(&format!("it redirects from https to {to}")));
            }
            foreign |= next.origin() != base.origin();
            url = next;
        }
        Err(self.lost(&format!("more than {} redirects", limits::REDIRECTS)))
    }

    fn lost(&self, reason: &str) -> Trouble {
        Trouble::Never(Error::Protocol {
            host: self.label().to_owned(),
            reason: reason.to_owned(),
        })
    }

    fn request(
        &self,
        call: &Call,
        url: &Url,
        shown: Option<&HeaderValue>,
        foreign: bool,
    ) -> (Request, Option<Arc<Flow>>, Option<Fault>) {
        let mut request = Request::new(call.method.clone(), url.clone());
        let headers = request.headers_mut();
        if !foreign {
            headers.extend(self.host.headers.clone());
        }
        for (name, value) in &call.headers {
            headers.append(name, value.clone());
        }
        if let Some(shown) = shown {
            headers.insert(AUTHORIZATION, shown.clone());
        }
        match &call.payload {
            Payload::Empty => {
                // Some servers want it said.
                if matches!(call.method, Method::POST | Method::PUT | Method::PATCH) {
                    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
                }
                (request, None, None)
            }
            Payload::Bytes(bytes) => {
                *request.body_mut() = Some(bytes.clone().into());
                (request, None, None)
            }
            Payload::Part {
                source,
                offset,
                length,
            } => {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(*length));
                let (part, flow, fault) = Part::start(Arc::clone(source), *offset, *length);
                *request.body_mut() = Some(reqwest::Body::wrap(part));
                (request, Some(flow), Some(fault))
            }
        }
    }
}

/// If what was to be sent could not be read, that is the error.
fn unreadable(fault: Option<Fault>, trouble: Trouble) -> Trouble {
    let source = fault.and_then(|fault| fault.lock().unwrap_or_else(PoisonError::into_inner).take());
    match source {
        Some(source) => Trouble::Never(Error::Source { source }),
        None => trouble,
    }
}

/// Whether an answer sends us elsewhere. After 303 (and, by custom, 301 and 302) only questions are asked again.
fn follows(call: &Call, status: StatusCode) -> bool {
    let question = matches!(call.method, Method::GET | Method::HEAD);
    match status {
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => question,
        _ => false,
    }
}
