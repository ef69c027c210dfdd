//! What a storage driver is tested with natively: a host with a store in memory, keys that are not secret, and HTTP by a function.

mod memory;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::rc::Rc;

pub use self::memory::MemoryStore;
use crate::storage::{Http, Key, Keys, Request, Response, Sending, StorageError, Store};
use crate::{Config, ConfigValue};

/// Everything that a host would give to a storage driver.
///
/// ```
/// use transom_sdk::testing::{MemoryStore, TestHost};
///
/// let store = MemoryStore::new();
/// let host = TestHost::new().config("level", 3).secret("password", "hush").inner(store.clone());
/// // let driver: MyDriver = host.open().unwrap();
/// # let _ = host;
/// ```
#[derive(Clone)]
pub struct TestHost {
    pub(crate) config: Config,
    pub(crate) secrets: BTreeMap<String, String>,
    pub(crate) inner: Rc<dyn Store>,
    pub(crate) http: Rc<dyn Http>,
    pub(crate) keys: Rc<dyn Keys>,
}

impl fmt::Debug for TestHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestHost")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Default for TestHost {
    fn default() -> Self {
        Self::new()
    }
}

impl TestHost {
    /// No configuration, an empty store below, one master key, and no server.
    #[must_use]
    pub fn new() -> Self {
        let no_server = |request: &Request, _: &[u8]| -> Result<Response, StorageError> {
            Err(StorageError::Denied(format!("{} was not allowed", request.url)))
        };
        Self {
            config: Config::default(),
            secrets: BTreeMap::new(),
            inner: Rc::new(MemoryStore::new()),
            http: Rc::new(Served(Rc::new(no_server))),
            keys: Rc::new(TestKeys(vec![1])),
        }
    }

    /// Sets a configuration key. Unlike the host, this does not know the defaults in `plugin.toml`.
    #[must_use]
    pub fn config(mut self, key: &str, value: impl Into<ConfigValue>) -> Self {
        self.config.set(key, value);
        self
    }

    /// Gives a secret.
    #[must_use]
    pub fn secret(mut self, name: &str, secret: &str) -> Self {
        self.secrets.insert(name.to_owned(), secret.to_owned());
        self
    }

    /// The store that the driver stands on.
    #[must_use]
    pub fn inner(mut self, inner: impl Store + 'static) -> Self {
        self.inner = Rc::new(inner);
        self
    }

    /// Master keys, each by a number; the first one makes new keys.
    #[must_use]
    pub fn masters(mut self, masters: &[u8]) -> Self {
        self.keys = Rc::new(TestKeys(masters.to_vec()));
        self
    }

    /// Answers requests by a function of the request and its body.
    #[must_use]
    pub fn serve(
        mut self,
        server: impl Fn(&Request, &[u8]) -> Result<Response, StorageError> + 'static,
    ) -> Self {
        self.http = Rc::new(Served(Rc::new(server)));
        self
    }

    /// Opens a driver.
    ///
    /// # Errors
    ///
    /// Those of [`Driver::open`](crate::storage::Driver::open).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open<D: crate::storage::Driver>(&self) -> Result<D, crate::Error> {
        D::open(&crate::storage::Host { fake: self.clone() })
    }
}

thread_local! {
    static COUNTER: Cell<u64> = const { Cell::new(0) };
}

/// Bytes that differ from call to call, the same in each run of a test.
pub(crate) fn different_bytes(count: usize) -> Vec<u8> {
    let number = COUNTER.with(|counter| {
        counter.set(counter.get() + 1);
        counter.get()
    });
    (0..count)
        .map(|at| mix(&[&number.to_le_bytes(), &at.to_le_bytes()]) as u8)
        .collect()
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn now() -> crate::Instant {
    use std::time::{SystemTime, UNIX_EPOCH};
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    crate::Instant {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanoseconds: since.subsec_nanos(),
    }
}

/// FNV-1a over all pieces: good enough to notice what tests change.
fn mix(pieces: &[&[u8]]) -> u64 {
    let mut mixed: u64 = 0xcbf2_9ce4_8422_2325;
    for piece in pieces {
        for byte in piece.iter().chain(&(piece.len() as u64).to_le_bytes()) {
            mixed = (mixed ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
    mixed ^ (mixed >> 29)
}

/// Keys with the sizes and the errors of the host's, and no secrecy at all.
struct TestKeys(Vec<u8>);

struct TestKey(Vec<u8>);

impl Keys for TestKeys {
    fn create(&self, context: &str) -> Result<Box<dyn Key>, StorageError> {
        let Some(master) = self.0.first() else {
            return Err(StorageError::Denied("no key was granted".to_owned()));
        };
        let mut token = vec![*master; 8];
        token.extend(mix(&[context.as_bytes()]).to_le_bytes().repeat(4));
        token.extend(different_bytes(32));
        Ok(Box::new(TestKey(token)))
    }

    fn restore(&self, token: &[u8]) -> Result<Box<dyn Key>, StorageError> {
        if token.len() != 72 {
            return Err(StorageError::damaged("this is no token of a key"));
        }
        match self.0.contains(&token[0]) {
            true => Ok(Box::new(TestKey(token.to_vec()))),
            false => Err(StorageError::Denied("no master key is the one".to_owned())),
        }
    }

    fn is_for(&self, token: &[u8], context: &str) -> bool {
        token.get(8..40) == Some(&mix(&[context.as_bytes()]).to_le_bytes().repeat(4))
    }
}

impl TestKey {
    fn apply(&self, nonce: &[u8], message: &[u8]) -> Vec<u8> {
        let pad = mix(&[&self.0, nonce]);
        message.iter().map(|byte| byte ^ pad as u8).collect()
    }

    fn tag(&self, nonce: &[u8], associated: &[u8], message: &[u8]) -> Vec<u8> {
        mix(&[&self.0, nonce, associated, message])
            .to_le_bytes()
            .repeat(2)
    }
}

impl Key for TestKey {
    fn token(&self) -> Vec<u8> {
        self.0.clone()
    }

    fn seal(&self, associated: &[u8], message: &[u8]) -> Result<Vec<u8>, StorageError> {
        let nonce = different_bytes(12);
        let sealed = self.apply(&nonce, message);
        let tag = self.tag(&nonce, associated, message);
        Ok([nonce, sealed, tag].concat())
    }

    fn open(&self, associated: &[u8], sealed: &[u8]) -> Result<Vec<u8>, StorageError> {
        let damaged = || StorageError::damaged("it is not what was encrypted");
        let (nonce, rest) = sealed.split_at_checked(12).ok_or_else(damaged)?;
        let length = rest.len().checked_sub(16).ok_or_else(damaged)?;
        let message = self.apply(nonce, &rest[..length]);
        match self.tag(nonce, associated, &message) == rest[length..] {
            true => Ok(message),
            false => Err(damaged()),
        }
    }
}

type Server = Rc<dyn Fn(&Request, &[u8]) -> Result<Response, StorageError>>;

/// A server that is a function.
struct Served(Server);

impl Http for Served {
    fn send(&self, request: &Request, body: &[u8]) -> Result<Response, StorageError> {
        (self.0)(request, body)
    }

    fn upload(&self, request: &Request, _: Option<u64>) -> Result<Box<dyn Sending>, StorageError> {
        Ok(Box::new(Collected {
            request: request.clone(),
            body: Vec::new(),
            answer: Rc::clone(&self.0),
        }))
    }
}

/// A request of which the body is collected.
struct Collected {
    request: Request,
    body: Vec<u8>,
    answer: Server,
}

impl Write for Collected {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.body.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sending for Collected {
    fn finish(self: Box<Self>) -> Result<Response, StorageError> {
        (self.answer)(&self.request, &self.body)
    }
}
