//! What a guest may use, as far as it was granted: its settings, the clock, random numbers; and how it waits for the host.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom, SystemRandom};
use tokio::runtime::Handle;
use transom_storage::{Error, StorageDriver};
use wasmtime::component::{Resource, ResourceTable};

use super::Inner;
use super::error::to_guest;
use super::grants::Grants;
use crate::config::Value;
use crate::error::Fault;
use crate::limits::DRIVER_RANDOM_MAX;
use crate::state::{State, Stop};
use crate::wit::storage_v0_1::{clock, random, settings, types};

/// What a guest that is a storage driver may use.
pub(crate) struct Powers {
    pub(super) grants: Arc<Grants>,
    pub(super) table: ResourceTable,
    /// Where the call comes from; none while the driver is opened, when nothing can be waited for.
    pub(super) runtime: Option<Handle>,
    /// Whether the manifest asks for each.
    pub(super) asks_for_inner: bool,
    pub(super) asks_for_http: bool,
    pub(super) asks_for_keys: bool,
    /// Made when the first request is sent.
    pub(super) client: Option<reqwest::Client>,
}

/// The name of a secret, which is the handle that a guest has of it.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "the generated module exports it again")]
pub struct SecretName(String);

/// An answer to a guest: the outer error ends it.
pub(super) type Told<T> = wasmtime::Result<Result<T, types::Error>>;

impl Powers {
    pub(super) fn new(grants: Arc<Grants>, plugin: &Inner) -> Powers {
        Powers {
            grants,
            table: ResourceTable::new(),
            runtime: None,
            asks_for_inner: plugin.asks_for("inner"),
            asks_for_http: plugin.asks_for("http"),
            asks_for_keys: plugin.asks_for("keys"),
            client: None,
        }
    }

    /// The same text without any secret that was granted.
    pub(crate) fn redact(&self, text: &str) -> String {
        self.grants.redact(text)
    }
}

impl State {
    /// The powers of a storage driver. Nothing else gets this far: its world has none of these imports.
    pub(super) fn powers(&mut self) -> wasmtime::Result<&mut Powers> {
        self.powers
            .as_deref_mut()
            .ok_or_else(|| wasmtime::Error::msg("only a storage driver that was opened can use this"))
    }

    /// Waits for something, as long as the call's time on the clock allows.
    pub(super) fn wait<T>(&mut self, what: impl Future<Output = T>) -> wasmtime::Result<T> {
        let runtime = self.powers()?.runtime.clone();
        let Some(runtime) = runtime else {
            return Err(wasmtime::Error::msg(
                "nothing that has to be waited for can be used while the driver is opened",
            ));
        };
        let (left, limit) = self.usage.wall();
        let waited = runtime.block_on(async { tokio::time::timeout(left, what).await });
        waited.map_err(|_| {
            self.stopped = Some(Stop::Fault(Fault::Wall { limit }));
            wasmtime::Error::msg("out of time")
        })
    }

    /// Asks the driver that the plugin stands on.
    pub(super) fn ask_inner<T, F>(&mut self, call: impl FnOnce(Arc<dyn StorageDriver>) -> F) -> Told<T>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let powers = self.powers()?;
        let inner = powers.grants.inner.clone().filter(|_| powers.asks_for_inner);
        let Some(inner) = inner else {
            return Ok(Err(refused(
                "use an inner driver",
                "inner",
                "inner = { driver = \"NAME\", … }",
            )));
        };
        Ok(self.wait(call(inner))?.map_err(to_guest))
    }
}

/// A refusal that says what is missing on either side.
pub(super) fn refused(what: &str, capability: &str, line: &str) -> types::Error {
    types::Error::Denied(format!(
        "the plugin may not {what}: its plugin.toml must have {capability:?} in capabilities, \
         and the driver's table {line}"
    ))
}

/// A point in time in the interface's form.
pub(super) fn instant(time: SystemTime) -> types::Instant {
    let (seconds, nanoseconds) = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (
            i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            after.subsec_nanos(),
        ),
        Err(before) => {
            let before = before.duration();
            let whole = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            match before.subsec_nanos() {
                0 => (-whole, 0),
                rest => (-whole - 1, 1_000_000_000 - rest),
            }
        }
    };
    types::Instant { seconds, nanoseconds }
}

impl settings::Host for State {
    fn config(&mut self) -> wasmtime::Result<Vec<(String, settings::Value)>> {
        let config = &self.powers()?.grants.config;
        let pair = |(key, value): (&String, &Value)| (key.clone(), value.into());
        Ok(config.iter().map(pair).collect())
    }

    fn secret_of(&mut self, name: String) -> wasmtime::Result<Option<Resource<SecretName>>> {
        let powers = self.powers()?;
        match powers.grants.secrets.contains_key(&name) {
            true => Ok(Some(powers.table.push(SecretName(name))?)),
            false => Ok(None),
        }
    }
}

impl settings::HostSecret for State {
    fn reveal(&mut self, secret: Resource<SecretName>) -> wasmtime::Result<String> {
        let powers = self.powers()?;
        let SecretName(name) = powers.table.get(&secret)?;
        let secret = powers.grants.secrets.get(name);
        Ok(secret
            .map(|secret| secret.reveal().to_owned())
            .unwrap_or_default())
    }

    fn drop(&mut self, secret: Resource<SecretName>) -> wasmtime::Result<()> {
        self.powers()?.table.delete(secret)?;
        Ok(())
    }
}

impl From<&Value> for settings::Value {
    fn from(value: &Value) -> Self {
        match value {
            Value::Boolean(value) => Self::Boolean(*value),
            Value::Integer(value) => Self::Integer(*value),
            Value::Number(value) => Self::Number(*value),
            Value::Text(value) => Self::Text(value.clone()),
            Value::Texts(value) => Self::Texts(value.clone()),
        }
    }
}

impl clock::Host for State {
    fn now(&mut self) -> wasmtime::Result<types::Instant> {
        Ok(instant(SystemTime::now()))
    }
}

impl random::Host for State {
    fn bytes(&mut self, count: u32) -> wasmtime::Result<Vec<u8>> {
        if count > DRIVER_RANDOM_MAX {
            return Err(wasmtime::Error::msg(format!("it asked for {count} random bytes")));
        }
        let mut bytes = vec![0; count as usize];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| wasmtime::Error::msg("the system gives no random numbers"))?;
        Ok(bytes)
    }
}
