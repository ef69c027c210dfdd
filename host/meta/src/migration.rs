//! How metadata that an older version of this program wrote becomes what this one reads.
//!
//! A store has one version for all of its keys and records. From each version to the next there is one [`Step`]; opening a
//! store runs the missing ones. A step may be interrupted: it begins again at the first record, and each of its changes
//! must therefore recognize what it has already changed.

use bytes::Bytes;

use crate::kv::{Condition, Durability, Kv, Outcome, Pair, Range, Transaction, Write};
use crate::record::{CounterRecord, decode, encode};
use crate::{Error, key, limits};

/// The first version there was.
const FIRST: u64 = 1;

/// The steps from the first version to this one. There is one version so far.
pub const STEPS: &[Step] = &[];

/// From one version to the next.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// What it does, for the log.
    pub name: &'static str,
    /// What to write for a key and its value; nothing if they stay. It must also take what it has written itself.
    ///
    /// The error says what is wrong with a record that cannot be changed.
    pub change: fn(&Pair) -> Result<Vec<Write>, String>,
}

/// Brings a store to the version that is reached by `steps`; a new one is given that version at once. Returns how many steps
/// were done.
///
/// # Errors
/// [`Error::Record`] if the version is not known, is missing, or if a record cannot be changed; [`Error::Kv`]. A version is
/// only written after all changes of its step, so that it can be tried again.
pub async fn run(kv: &dyn Kv, steps: &[Step]) -> Result<usize, Error> {
    let newest = FIRST + steps.len() as u64;
    let mut done = 0;
    loop {
        let (version, value) = version(kv).await?;
        let step = match version {
            Some(version) if version == newest => return Ok(done),
            Some(version) => version
                .checked_sub(FIRST)
                .and_then(|at| steps.get(usize::try_from(at).ok()?))
                .ok_or_else(|| unknown(version, newest))?,
            None => {
                mark(kv, value, newest).await?;
                continue;
            }
        };
        let next = version.unwrap_or_default() + 1;
        tracing::info!(step = step.name, version = next, "migrating the metadata");
        change(kv, step).await?;
        mark(kv, value, next).await?;
        done += 1;
    }
}

/// Whether a store has a version, which is then the newest one.
///
/// # Errors
/// [`Error::Record`] if it has a version that is not known or too old, [`Error::Kv`].
pub(crate) async fn is_current(kv: &dyn Kv) -> Result<bool, Error> {
    let newest = FIRST + STEPS.len() as u64;
    let Some(value) = kv.get(key::VERSION).await? else {
        return Ok(false);
    };
    match decode::<CounterRecord>(key::VERSION, &value)?.next {
        version if version == newest => Ok(true),
        version => Err(unknown(version, newest)),
    }
}

/// The version of a store, and its record; none if the store is new.
async fn version(kv: &dyn Kv) -> Result<(Option<u64>, Option<Bytes>), Error> {
    if let Some(value) = kv.get(key::VERSION).await? {
        let version = decode::<CounterRecord>(key::VERSION, &value)?.next;
        return Ok((Some(version), Some(value)));
    }
    if kv.range(&Range::prefix(""), 1).await?.is_empty() {
        return Ok((None, None));
    }
    Err(version_error(
        "the store holds records, but no version: it is not the metadata of this program, or it is damaged"
            .to_owned(),
    ))
}

/// Writes a version where `old` was. If another one was written meanwhile, the next look finds it.
async fn mark(kv: &dyn Kv, old: Option<Bytes>, version: u64) -> Result<(), Error> {
    let key = Bytes::from_static(key::VERSION);
    let transaction = Transaction {
        conditions: vec![Condition::Is {
            key: key.clone(),
            value: old,
        }],
        writes: vec![Write::Put {
            key,
            value: encode(&CounterRecord { next: version }),
        }],
        durability: Durability::Durable,
    };
    kv.commit(transaction).await?;
    Ok(())
}

async fn change(kv: &dyn Kv, step: &Step) -> Result<(), Error> {
    let mut range = Range::prefix("");
    loop {
        let pairs = kv.range(&range, limits::PAGE).await?;
        let Some(last) = pairs.last() else {
            return Ok(());
        };
        range = range.after(&last.key);
        let mut transaction = Transaction::default();
        for pair in pairs.into_iter().filter(|pair| pair.key != key::VERSION) {
            let writes = (step.change)(&pair).map_err(|reason| Error::Record {
                key: pair.key.escape_ascii().to_string(),
                reason: format!("{}: {reason}", step.name),
            })?;
            if !writes.is_empty() {
                transaction.writes.extend(writes);
                transaction.conditions.push(Condition::Is {
                    key: pair.key,
                    value: Some(pair.value),
                });
            }
        }
        if !transaction.writes.is_empty() && kv.commit(transaction).await? == Outcome::Conflict {
            return Err(version_error(
                "the store is changed by another process during a migration".to_owned(),
            ));
        }
    }
}

fn unknown(version: u64, newest: u64) -> Error {
    version_error(format!(
        "the metadata has version {version}, and this program knows versions {FIRST} to {newest}; use the program that wrote it, or a newer one"
    ))
}

fn version_error(reason: String) -> Error {
    Error::Record {
        key: "v".to_owned(),
        reason,
    }
}
