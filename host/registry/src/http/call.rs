//! One request: who asks, may they, what is told afterwards.

use std::time::SystemTime;

use http::header::{AUTHORIZATION, HOST, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Response, request};
use transom_oci::{Descriptor, Digest};

use super::body::Body;
use super::incoming::Incoming;
use super::route::Route;
use super::{Inner, Peer, Query, text};
use crate::Error;
use crate::access::{Access, Action, Actor, Presented, Resource};
use crate::event::{self, Event, Target};
use crate::names::RepositoryName;
use crate::store::Store;

/// A request on its way.
#[derive(Debug)]
pub(super) struct Call<'r> {
    pub(super) registry: &'r Inner,
    pub(super) head: &'r request::Parts,
    pub(super) query: Query,
    pub(super) actor: Actor,
    peer: &'r Peer,
    id: &'r str,
}

/// What a handler gives.
pub(super) type Answer = Result<Response<Body>, Error>;

impl<'r> Call<'r> {
    pub(super) fn new(
        registry: &'r Inner,
        head: &'r request::Parts,
        peer: &'r Peer,
        id: &'r str,
    ) -> Call<'r> {
        Call {
            registry,
            head,
            query: Query::default(),
            actor: Actor::default(),
            peer,
            id,
        }
    }

    pub(super) fn store(&self) -> &Store {
        &self.registry.store
    }

    /// Does what is asked, if it may be.
    pub(super) async fn run(&mut self, route: Route, body: &mut Incoming) -> Answer {
        let method = &self.head.method;
        let known = route.methods();
        if !known.split(", ").any(|name| name == method.as_str()) {
            return Err(Error::MethodUnknown(known));
        }
        self.query = Query::read(self.head.uri.query())?;
        let route = self.mirrored(route);
        self.actor = self.admitted(&route).await?;
        self.check_writable(&route)?;
        let reads = matches!(*method, Method::GET | Method::HEAD);
        if !reads && self.registry.read_only.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(Error::ReadOnly);
        }
        match (&route, method) {
            (Route::Top, _) => Ok(Response::new(Body::empty())),
            (Route::Base, _) => Ok(self.base()),
            (Route::Catalog, _) => self.catalog().await,
            (Route::Tags(name), _) => self.tags(name).await,
            (Route::Referrers(name, digest), _) => self.referrers(name, digest).await,
            (Route::Manifest(name, reference), &Method::PUT) => {
                self.put_manifest(name, reference, body).await
            }
            (Route::Manifest(name, reference), &Method::DELETE) => {
                self.delete_manifest(name, reference).await
            }
            (Route::Manifest(name, reference), _) => self.manifest(name, reference).await,
            (Route::Blob(name, digest), &Method::DELETE) => self.delete_blob(name, digest).await,
            (Route::Blob(name, digest), &Method::HEAD) => self.blob_head(name, digest).await,
            (Route::Blob(name, digest), _) => self.blob(name, digest).await,
            (Route::Uploads(name), _) => self.begin_upload(name, body).await,
            (Route::Upload(name, id), &Method::PATCH) => self.append(name, id, body).await,
            (Route::Upload(name, id), &Method::PUT) => self.end_upload(name, id, body).await,
            (Route::Upload(name, id), &Method::DELETE) => self.cancel_upload(name, id).await,
            (Route::Upload(name, id), _) => self.upload_status(name, id).await,
        }
    }

    fn base(&self) -> Response<Body> {
        let mut response = Response::new(Body::bytes("{}"));
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(http::header::CONTENT_TYPE, json);
        response
    }

    async fn admitted(&self, route: &Route) -> Result<Actor, Error> {
        let actions: &[Action] = match self.head.method {
            Method::GET | Method::HEAD => &[Action::Pull],
            Method::DELETE => &[Action::Delete],
            _ => &[Action::Pull, Action::Push],
        };
        let wanted: Vec<Access> = match (route, route.repository()) {
            // That somebody is here can be known by everybody: load balancers ask.
            (Route::Top, _) => return Ok(Actor::default()),
            (Route::Catalog, _) => vec![Access {
                resource: Resource::Catalog,
                action: Action::Pull,
            }],
            (_, Some(name)) => {
                let access = |&action| Access::repository(name, action);
                actions.iter().map(access).collect()
            }
            (_, None) => Vec::new(),
        };
        self.check(&wanted).await
    }

    /// Asks the gate.
    pub(super) async fn check(&self, wanted: &[Access]) -> Result<Actor, Error> {
        let origin = self.origin();
        let authorization = self.head.headers.get(AUTHORIZATION);
        let presented = Presented {
            authorization: authorization.and_then(|value| value.to_str().ok()),
            certificate: self.peer.certificate.as_deref(),
            address: self.peer.address.ip(),
            origin: &origin,
        };
        let decision = self.registry.gate.check(&presented, wanted).await;
        decision.map_err(Error::Refused)
    }

    /// The scheme and host that the client calls us by.
    pub(super) fn origin(&self) -> String {
        match &self.registry.settings.origin {
            Some(origin) => origin.trim_end_matches('/').to_owned(),
            None => {
                let scheme = if self.peer.secure { "https" } else { "http" };
                format!("{scheme}://{}", self.host())
            }
        }
    }

    /// The name that the client calls us by.
    fn host(&self) -> String {
        match self.head.uri.authority() {
            Some(authority) => authority.to_string(),
            None => text(self.head, &HOST),
        }
    }

    /// Tells what has happened, before the client is told.
    pub(super) async fn tell(&self, action: event::Action, target: Target) {
        let request = event::Request {
            id: self.id.to_owned(),
            address: self.peer.address,
            host: self.host(),
            secure: self.peer.secure,
            method: self.head.method.to_string(),
            user_agent: text(self.head, &USER_AGENT),
        };
        let event = Event {
            at: SystemTime::now(),
            action,
            target,
            actor: self.actor.clone(),
            request,
        };
        self.registry.listener.record(event).await;
    }

    /// Whether the client has what is of this digest.
    pub(super) fn has_already(&self, digest: &Digest) -> bool {
        let lines = self.head.headers.get_all(http::header::IF_NONE_MATCH).iter();
        let mut tags = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','));
        tags.any(|tag| {
            let tag = tag.trim();
            let plain = tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"');
            plain == "*" || plain == digest.as_str()
        })
    }
}

/// Says where something is with scheme and host.
pub(super) fn make_absolute(headers: &mut HeaderMap, origin: &str) {
    let place = headers.get(LOCATION).and_then(|place| place.to_str().ok());
    if let Some(path) = place.filter(|place| place.starts_with('/'))
        && let Ok(place) = HeaderValue::from_str(&format!("{origin}{path}"))
    {
        headers.insert(LOCATION, place);
    }
}

/// Something with a digest, for an event.
pub(super) fn target(repository: &RepositoryName, digest: Option<&Digest>) -> Target {
    Target {
        repository: repository.clone(),
        from: None,
        digest: digest.cloned(),
        tag: None,
        media_type: None,
        size: None,
        references: Vec::<Descriptor>::new(),
    }
}
