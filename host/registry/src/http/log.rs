//! The end of a request: a line in the access log, and the figures.

use std::net::SocketAddr;
use std::time::Instant;

use http::{Method, StatusCode};

use crate::metrics::Metrics;

/// The target of access lines, by which a subscriber tells them from others.
pub const ACCESS: &str = "transom_registry::access";

/// What is told when the last byte of an answer is sent, or none can be any more. Dropping it tells.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) metrics: Metrics,
    pub(crate) begun: Instant,
    pub(crate) id: String,
    pub(crate) client: SocketAddr,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) route: &'static str,
    pub(crate) status: StatusCode,
    pub(crate) actor: Option<String>,
    pub(crate) agent: String,
    pub(crate) length: u64,
    pub(crate) sent: u64,
}

impl Ending {
    /// So many bytes were handed to the connection.
    pub(crate) fn sent(&mut self, bytes: u64) {
        self.sent += bytes;
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let took = self.begun.elapsed();
        self.metrics
            .ended(self.route, &self.method, self.status, took, self.sent);
        let complete = self.sent == self.length;
        tracing::info!(
            target: ACCESS,
            id = self.id,
            client = %self.client,
            actor = self.actor.as_deref().unwrap_or("-"),
            method = %self.method,
            path = self.path,
            status = self.status.as_u16(),
            bytes = self.sent,
            complete,
            micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            agent = self.agent,
            "request"
        );
    }
}
