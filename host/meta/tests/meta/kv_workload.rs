//! A load whose every state can be told from a few counters, so that what a crash leaves can be checked to the last byte.
//!
//! Each task writes pairs of keys with its counter, and removes old pairs, all in one transaction. So the whole content of
//! a store follows from the tasks' counters: whatever a crash leaves must be such a content, and no counter may be behind
//! what was acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use transom_meta::kv::{Condition, Durability, Kv, Outcome, Transaction, Write};

use crate::kv::{bytes, everything};

/// Clients at work at the same time.
pub(crate) const TASKS: usize = 6;

/// Pairs that each of them keeps.
const KEPT: u64 = 40;

/// What was acknowledged to each task.
pub(crate) type Acknowledged = [u64; TASKS];

/// Numbers that look random, from a seed.
#[derive(Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % below
    }
}

/// Mostly small, some of several pages, few so large that a store may keep them apart.
fn value(task: usize, number: u64) -> Vec<u8> {
    let mut dice = Dice(1 + task as u64 + (number << 8));
    dice.roll(2);
    let length = match number % 101 {
        100 => 300_000,
        n if n % 23 == 22 => 20_000,
        _ => 20 + dice.roll(600),
    };
    (0..length).map(|_| dice.roll(256) as u8).collect()
}

fn counter_key(task: usize) -> Bytes {
    bytes(format!("count/{task}"))
}

/// Far apart in the order of keys, so that they lie in different pages.
fn pair(task: usize, number: u64) -> [Bytes; 2] {
    [
        bytes(format!("a/{task}/{number:08}")),
        bytes(format!("z/{:02}/{task}/{number:08}", number * 37 % 64)),
    ]
}

fn counter(value: Option<&Bytes>) -> u64 {
    value.map_or(0, |value| u64::from_be_bytes(value[..].try_into().unwrap()))
}

/// Brings a task's counter from `number - 1` to `number`.
fn transaction(task: usize, number: u64) -> Transaction {
    let count = |number: u64| Bytes::copy_from_slice(&number.to_be_bytes());
    let mut writes = vec![Write::Put {
        key: counter_key(task),
        value: count(number),
    }];
    let value = Bytes::from(value(task, number));
    for key in pair(task, number) {
        let value = value.clone();
        writes.push(Write::Put { key, value });
    }
    if number > KEPT {
        writes.extend(pair(task, number - KEPT).map(|key| Write::Delete { key }));
    }
    Transaction {
        conditions: vec![Condition::Is {
            key: counter_key(task),
            value: (number > 1).then(|| count(number - 1)),
        }],
        writes,
        durability: Durability::Durable,
    }
}

/// Works until it is ended, telling each transaction that was acknowledged.
pub(crate) async fn work(kv: Arc<dyn Kv>, task: usize, acknowledge: impl Fn(usize, u64)) {
    let found = kv.get(&counter_key(task)).await.unwrap();
    let mut number = counter(found.as_ref());
    loop {
        number += 1;
        let outcome = kv.commit(transaction(task, number)).await.unwrap();
        assert_eq!(outcome, Outcome::Committed);
        acknowledge(task, number);
        // What may be lost is between the others.
        let touch = Transaction {
            conditions: Vec::new(),
            writes: vec![Write::Put {
                key: bytes(format!("touched/{task}")),
                value: Bytes::copy_from_slice(&number.to_be_bytes()),
            }],
            durability: Durability::Eventual,
        };
        if number.is_multiple_of(7) {
            kv.commit(touch).await.unwrap();
        }
    }
}

/// The store holds exactly what its counters say, and they are not behind what was acknowledged. Returns the counters.
pub(crate) async fn check(kv: &dyn Kv, acknowledged: &Acknowledged) -> Result<Acknowledged, String> {
    let mut found = everything(kv).await;
    let mut counters = [0; TASKS];
    let mut expected = BTreeMap::new();
    for task in 0..TASKS {
        let number = counter(found.get(&counter_key(task)));
        if number < acknowledged[task] {
            let lost = acknowledged[task];
            return Err(format!("task {task} is at {number}, and {lost} was acknowledged"));
        }
        if number > 0 {
            expected.insert(counter_key(task), bytes(number.to_be_bytes()));
        }
        for kept in number.saturating_sub(KEPT) + 1..=number {
            let value = Bytes::from(value(task, kept));
            expected.extend(pair(task, kept).map(|key| (key, value.clone())));
        }
        let touched = found.remove(&bytes(format!("touched/{task}")));
        if counter(touched.as_ref()) > number {
            return Err(format!("task {task} was touched later than it was written"));
        }
        counters[task] = number;
    }
    compare(&found, &expected)?;
    Ok(counters)
}

fn compare(found: &BTreeMap<Bytes, Bytes>, expected: &BTreeMap<Bytes, Bytes>) -> Result<(), String> {
    for (key, value) in expected {
        match found.get(key) {
            None => return Err(format!("{key:?} is missing")),
            Some(other) if other != value => return Err(format!("{key:?} has another value")),
            Some(_) => {}
        }
    }
    let extra = found.keys().find(|key| !expected.contains_key(*key));
    extra.map_or(Ok(()), |key| Err(format!("{key:?} should not be there")))
}

#[test]
fn the_check_sees_what_is_wrong() {
    use transom_meta::kv::memory::Memory;
    let kv = Memory::new();
    crate::kv::run(async {
        for number in 1..=KEPT + 5 {
            kv.commit(transaction(0, number)).await.unwrap();
        }
        let done = [KEPT + 5, 0, 0, 0, 0, 0];
        assert_eq!(check(&kv, &done).await, Ok(done));
        let mut more = done;
        more[0] += 1;
        assert!(check(&kv, &more).await.unwrap_err().contains("was acknowledged"));
        let [_, half] = pair(0, KEPT);
        let (key, value) = (half.clone(), Bytes::from_static(b"torn"));
        for (write, text) in [
            (Write::Put { key, value }, "another value"),
            (Write::Delete { key: half }, "missing"),
        ] {
            let writes = vec![write];
            kv.commit(Transaction {
                writes,
                ..Transaction::default()
            })
            .await
            .unwrap();
            assert!(check(&kv, &done).await.unwrap_err().contains(text));
        }
    });
}
