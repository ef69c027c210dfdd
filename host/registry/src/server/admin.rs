//! The listener for operators: `GET /metrics`, `GET /health`, `GET` and `PUT /read-only`, `POST /reindex`.
//!
//! Whoever reaches it is an operator: it asks nobody who they are, and belongs on an address that only operators reach.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry as Counters;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::http::Registry;
use crate::limits;

/// What operators see and do.
#[derive(Clone, Debug)]
pub struct Admin {
    registry: Registry,
    counters: Arc<Counters>,
}

type Answer = Response<Full<Bytes>>;

impl Admin {
    /// For a registry, with all that is counted.
    #[must_use]
    pub fn new(registry: Registry, counters: Arc<Counters>) -> Admin {
        Admin { registry, counters }
    }

    /// Serves until it is dropped.
    pub async fn serve(self, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(limits::ADMIN_CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let admin = self.clone();
                    tokio::spawn(async move {
                        admin.connection(stream).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an operator's connection");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn connection(self, stream: TcpStream) {
        let service = service_fn(move |request| {
            let admin = self.clone();
            async move { Ok::<_, Infallible>(admin.answer(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits::HEAD_PATIENCE)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = connection.await {
            tracing::debug!(%error, "an operator's connection failed");
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/metrics") => self.metrics(),
            // docker-registry's path too, so that probes go on.
            (&Method::GET, "/health" | "/debug/health") => self.health().await,
            (&Method::GET, "/read-only") => self.read_only(),
            (&Method::PUT, "/read-only") => self.set_read_only(request).await,
            (&Method::POST, "/reindex") => self.reindex(),
            (_, "/reindex") => only("POST"),
            (_, "/metrics" | "/health" | "/debug/health") => only("GET"),
            (_, "/read-only") => only("GET, PUT"),
            _ => {
                let message = "there are /metrics, /health, /read-only and /reindex";
                document(StatusCode::NOT_FOUND, &json!({ "error": message }))
            }
        }
    }

    fn metrics(&self) -> Answer {
        let mut text = String::new();
        let written = prometheus_client::encoding::text::encode(&mut text, &self.counters);
        if let Err(error) = written {
            let error = json!({ "error": error.to_string() });
            return document(StatusCode::INTERNAL_SERVER_ERROR, &error);
        }
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        let mut response = Response::new(text.into());
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        response
    }

    /// What is not well, by name; nothing if all is.
    async fn health(&self) -> Answer {
        let asked = self.registry.store().check();
        let problem = match tokio::time::timeout(limits::HEALTH_PATIENCE, asked).await {
            Ok(Ok(())) => return document(StatusCode::OK, &json!({})),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it does not answer".to_owned(),
        };
        document(StatusCode::SERVICE_UNAVAILABLE, &json!({ "storage": problem }))
    }

    fn read_only(&self) -> Answer {
        document(
            StatusCode::OK,
            &json!({ "read_only": self.registry.is_read_only() }),
        )
    }

    async fn set_read_only(&self, request: Request<Incoming>) -> Answer {
        let body = Limited::new(request.into_body(), limits::ADMIN_BODY)
            .collect()
            .await;
        let wanted = body.ok().and_then(|body| {
            let document: Value = serde_json::from_slice(&body.to_bytes()).ok()?;
            document.get("read_only").unwrap_or(&document).as_bool()
        });
        let Some(wanted) = wanted else {
            let message = "send {\"read_only\": true} or {\"read_only\": false}";
            return document(StatusCode::BAD_REQUEST, &json!({ "error": message }));
        };
        self.registry.set_read_only(wanted);
        tracing::info!(read_only = wanted, "an operator has changed what can be done");
        self.read_only()
    }

    /// Has the index built anew; lists walk the storage until it is.
    fn reindex(&self) -> Answer {
        let store = self.registry.store();
        if store.index().is_none() {
            let message = "there is no index";
            return document(StatusCode::NOT_FOUND, &json!({ "error": message }));
        }
        store.rebuild_index();
        document(StatusCode::ACCEPTED, &json!({ "reindex": "begun" }))
    }
}

fn document(status: StatusCode, document: &Value) -> Answer {
    let mut response = Response::new(format!("{document}\n").into());
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

fn only(methods: &'static str) -> Answer {
    let message = format!("this path takes {methods} only");
    let mut response = document(StatusCode::METHOD_NOT_ALLOWED, &json!({ "error": message }));
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(methods));
    response
}
