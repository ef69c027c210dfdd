//! One host over HTTP.
//!
//! Read in this order: [`retry`] (when to try again), [`tls`] (whom to believe), [`wire`] (one request, one answer), [`status`]
//! (what an answer means), [`answer`] (its body, with an end), [`upload`] (a request's body), [`endpoint`] (a host with its
//! credentials, redirects and tries).

pub(crate) mod answer;
pub(crate) mod endpoint;
pub mod retry;
pub(crate) mod status;
pub(crate) mod tls;
pub(crate) mod upload;
pub(crate) mod wire;

pub(crate) use answer::Answer;
pub(crate) use endpoint::{Call, Endpoint, Payload};
pub use retry::Retry;
pub use upload::Upload;

use std::time::Duration;

use crate::{Secret, limits};

/// How long things may take. A whole answer may take as long as it likes.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Making a connection, TLS included.
    pub connect: Duration,
    /// Nothing coming or going.
    pub stall: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect: limits::CONNECT,
            stall: limits::STALL,
        }
    }
}

/// The proxies of a machine, as `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` name them. They are given, not looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For hosts that are spoken with in the clear.
    pub http: Option<Secret>,
    /// For hosts that are spoken with over TLS.
    pub https: Option<Secret>,
    /// Hosts that are reached without: names, domains, addresses, networks, separated by commas.
    pub none: Option<String>,
}

impl Proxies {
    /// Those that an environment names, as curl and Go read it: `http_proxy` in small letters only, which a web server does not set
    /// for its programs.
    #[must_use]
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Proxies {
        let first = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| variable(name).filter(|value| !value.is_empty()))
        };
        Proxies {
            http: first(&["http_proxy"]).map(Secret::new),
            https: first(&["https_proxy", "HTTPS_PROXY"]).map(Secret::new),
            none: first(&["no_proxy", "NO_PROXY"]),
        }
    }
}
