//! What a driver may use, as far as its manifest asks and the operator grants: its settings, the driver that it stands on, HTTP,
//! keys, the clock, random numbers.

use std::fmt;
use std::io::{Read, Write};
use std::rc::Rc;

use serde::de::DeserializeOwned;

use super::{StorageError, Store};
use crate::{Config, Error, Instant};

/// What a driver may use. In a component it leads to the host, natively to a [`TestHost`](crate::testing::TestHost).
#[derive(Debug)]
pub struct Host {
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fake: crate::testing::TestHost,
}

impl Host {
    /// The configuration as a type of yours: a struct that derives `serde::Deserialize`, with one field for each key under
    /// `[config]` in `plugin.toml`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] naming the key that is missing or does not fit its field.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.raw_config().to()
    }

    /// The configuration as it came.
    #[must_use]
    pub fn raw_config(&self) -> Config {
        #[cfg(target_arch = "wasm32")]
        return crate::guest::driver::config();
        #[cfg(not(target_arch = "wasm32"))]
        self.fake.config.clone()
    }

    /// A secret that stands under `[secrets]` in `plugin.toml`, if the operator has given it.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<Secret> {
        #[cfg(target_arch = "wasm32")]
        return crate::guest::driver::secret(name).map(Secret);
        #[cfg(not(target_arch = "wasm32"))]
        self.fake.secrets.get(name).cloned().map(Secret)
    }

    /// The driver that this one stands on. It can be used once the driver is open.
    #[must_use]
    pub fn inner(&self) -> Rc<dyn Store> {
        #[cfg(target_arch = "wasm32")]
        return Rc::new(crate::guest::driver::HostStore);
        #[cfg(not(target_arch = "wasm32"))]
        Rc::clone(&self.fake.inner)
    }

    /// HTTP to the servers that the operator has allowed.
    #[must_use]
    pub fn http(&self) -> Rc<dyn Http> {
        #[cfg(target_arch = "wasm32")]
        return Rc::new(crate::guest::driver::HostHttp);
        #[cfg(not(target_arch = "wasm32"))]
        Rc::clone(&self.fake.http)
    }

    /// The keys that the host holds.
    #[must_use]
    pub fn keys(&self) -> Rc<dyn Keys> {
        #[cfg(target_arch = "wasm32")]
        return Rc::new(crate::guest::driver::HostKeys);
        #[cfg(not(target_arch = "wasm32"))]
        Rc::clone(&self.fake.keys)
    }
}

/// Random bytes that nobody can guess; at most 65536. Natively they only differ from call to call.
#[must_use]
pub fn random(count: usize) -> Vec<u8> {
    #[cfg(target_arch = "wasm32")]
    return crate::guest::driver::random(count);
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::different_bytes(count)
}

/// Now, by the host's clock.
#[must_use]
pub fn now() -> Instant {
    #[cfg(target_arch = "wasm32")]
    return crate::guest::driver::now();
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::now()
}

/// A secret. It is not shown.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Keys that never leave the host.
pub trait Keys {
    /// A new key for a context, such as a repository.
    ///
    /// # Errors
    ///
    /// [`StorageError::Denied`] without a grant.
    fn create(&self, context: &str) -> Result<Box<dyn Key>, StorageError>;

    /// The key of a token.
    ///
    /// # Errors
    ///
    /// [`StorageError::Denied`] if the host has not the master key that it was derived from.
    fn restore(&self, token: &[u8]) -> Result<Box<dyn Key>, StorageError>;

    /// Whether a token is of a key for this context.
    fn is_for(&self, token: &[u8], context: &str) -> bool;
}

/// A key for one content.
pub trait Key {
    /// What it was derived from, which is no secret: 72 bytes, to be kept with the content.
    fn token(&self) -> Vec<u8>;

    /// Encrypts a message of at most 1 MiB, which becomes 28 bytes longer. It opens with the same `associated` bytes only.
    ///
    /// # Errors
    ///
    /// Those of the host.
    fn seal(&self, associated: &[u8], message: &[u8]) -> Result<Vec<u8>, StorageError>;

    /// Decrypts a message.
    ///
    /// # Errors
    ///
    /// [`StorageError::Damaged`] if it is not what was sealed with this key and these `associated` bytes.
    fn open(&self, associated: &[u8], sealed: &[u8]) -> Result<Vec<u8>, StorageError>;
}

/// HTTP. An answer of any status is no error, and redirects are not followed.
pub trait Http {
    /// Sends a request with a body of at most 4 MiB.
    ///
    /// # Errors
    ///
    /// [`StorageError::Denied`] for a server that was not allowed, [`StorageError::Unavailable`] without an answer.
    fn send(&self, request: &Request, body: &[u8]) -> Result<Response, StorageError>;

    /// Begins a request of which the body follows, of a length that may be known.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Http::send).
    fn upload(&self, request: &Request, length: Option<u64>) -> Result<Box<dyn Sending>, StorageError>;
}

/// A request of which the body is being written. Dropping it breaks the request off.
pub trait Sending: Write {
    /// Ends the body and waits for the answer.
    ///
    /// # Errors
    ///
    /// Those of [`Http::send`].
    fn finish(self: Box<Self>) -> Result<Response, StorageError>;
}

/// A request, but for its body.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// The method, in capital letters.
    pub method: String,
    /// The whole URL.
    pub url: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
}

impl Request {
    /// A request without headers.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// An answer.
pub struct Response {
    /// Its status.
    pub status: u16,
    /// Its headers, with names in small letters.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Box<dyn Read>,
}

impl Response {
    /// The first value of a header, named in small letters.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}
