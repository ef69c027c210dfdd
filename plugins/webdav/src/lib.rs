//! A storage driver that keeps content on a WebDAV server.
//!
//! Read `server` (requests, and what answers mean), `listing` (the XML of PROPFIND), `date`, `store` (the calls of a driver).
//! Uploads that are closed and gone on with are the SDK's [`Transform`]: WebDAV cannot append.

mod date;
mod listing;
mod server;
mod store;

use std::rc::Rc;

use transom_sdk::Error;
use transom_sdk::storage::{Driver, DriverInfo, Host, Plain, Transform};

use server::Server;
use store::Dav;

/// The driver. See `plugin.toml`.
#[derive(Debug)]
pub struct WebDav(Transform<Plain>);

#[derive(serde::Deserialize)]
struct Config {
    url: String,
    username: Option<String>,
}

impl Driver for WebDav {
    fn describe() -> DriverInfo {
        DriverInfo::new("webdav", env!("CARGO_PKG_VERSION"))
    }

    fn open(host: &Host) -> Result<Self, Error> {
        let config: Config = host.config()?;
        let wrong = |key: &str, message: &str| Error::Config {
            key: key.to_owned(),
            message: message.to_owned(),
        };
        let secret = |name| host.secret(name);
        let authorization = match (&config.username, secret("password"), secret("token")) {
            (None, None, None) => None,
            (None, None, Some(token)) => Some(format!("Bearer {}", token.reveal())),
            (Some(user), Some(password), None) => Some(server::basic(user, password.reveal())),
            (None, Some(_), _) => return Err(wrong("username", "a password needs a user")),
            (Some(_), None, None) => return Err(wrong("password", "a user needs a password")),
            (Some(_), _, Some(_)) => return Err(wrong("token", "it is either a user or a token")),
        };
        let server = Server::new(host.http(), &config.url, authorization)
            .ok_or_else(|| wrong("url", "it must be a URL such as https://dav.example.com/images"))?;
        Ok(WebDav(Transform::new(Rc::new(Dav::new(server)), Plain)))
    }
}

transom_sdk::delegate_store!(WebDav);
transom_sdk::register_driver!(WebDav);
