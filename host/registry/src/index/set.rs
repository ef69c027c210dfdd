//! A sorted set of names in few pairs: blocks of some hundred names, each under the greatest name that it may hold. So the block
//! of a name is the first at or after it, and a page is some reads, however many names there are.
//!
//! The last block has no greatest name; its key ends with [`END`]. Names have neither that byte nor a line feed.

use bytes::Bytes;
use transom_meta::kv::{Condition, Kv, KvError, Pair, Range, Write};

use super::{PAGE, is, key};
use crate::limits;

/// The end of the last block's key: greater than every name.
const END: &[u8] = &[u8::MAX];

/// Between two names of a block.
const BETWEEN: char = '\n';

/// A set below a prefix.
#[derive(Debug)]
pub(super) struct Set<'k> {
    pub(super) kv: &'k dyn Kv,
    pub(super) prefix: Bytes,
}

/// What changes a set, and what must still hold then.
#[derive(Debug, Default)]
pub(super) struct Edit {
    pub(super) conditions: Vec<Condition>,
    pub(super) writes: Vec<Write>,
}

impl Set<'_> {
    /// Names after `last` in their order, `most` of them at most.
    pub(super) async fn page(&self, last: Option<&str>, most: usize) -> Result<Vec<String>, KvError> {
        let mut names = Vec::new();
        let mut range = Range::prefix(self.prefix.clone());
        if let Some(last) = last {
            range.start = key(&[&self.prefix, last.as_bytes()]);
        }
        while names.len() < most {
            let blocks = (most - names.len()) / limits::INDEX_BLOCK_LEAST + 2;
            let blocks = self.kv.range(&range, blocks.min(PAGE)).await?;
            let Some(end) = blocks.last() else {
                break;
            };
            range = range.after(&end.key);
            for pair in &blocks {
                let wanted = names_of(&pair.value).filter(|name| last.is_none_or(|last| *name > last));
                let wanted = wanted.take(most - names.len());
                names.extend(wanted.map(str::to_owned));
            }
        }
        Ok(names)
    }

    /// What makes the set hold exactly these names, which are in order.
    pub(super) async fn replace(&self, names: &[&str]) -> Result<Vec<Write>, KvError> {
        let (mut writes, mut rest, mut ended) = (Vec::new(), names, false);
        let mut range = Range::prefix(self.prefix.clone());
        loop {
            let blocks = self.kv.range(&range, PAGE).await?;
            let Some(end) = blocks.last() else {
                break;
            };
            range = range.after(&end.key);
            for pair in blocks {
                let bound = pair.key.slice(self.prefix.len()..);
                let (here, after) = rest.split_at(rest.partition_point(|name| name.as_bytes() <= &bound[..]));
                (rest, ended) = (after, bound == END);
                if pair.value != joined(here) {
                    self.write(here, &bound, &mut writes);
                }
            }
        }
        if !ended {
            self.write(rest, END, &mut writes);
        }
        Ok(writes)
    }

    /// What puts a name in or takes it out; nothing if it is there, or not there, already.
    pub(super) async fn set(&self, name: &str, present: bool) -> Result<Edit, KvError> {
        let mut range = Range::prefix(self.prefix.clone());
        range.start = key(&[&self.prefix, name.as_bytes()]);
        let found = self.kv.range(&range, 1).await?.pop();
        let none = || Pair {
            key: key(&[&self.prefix, END]),
            value: Bytes::new(),
        };
        let there = found.is_some();
        let block = found.unwrap_or_else(none);
        let mut names: Vec<&str> = names_of(&block.value).collect();
        match (names.binary_search(&name), present) {
            (Err(place), true) => names.insert(place, name),
            (Ok(place), false) => drop(names.remove(place)),
            _ => return Ok(Edit::default()),
        }
        let condition = is(&block.key, there.then_some(&block.value));
        let mut writes = Vec::new();
        let bound = block.key.slice(self.prefix.len()..);
        self.write(&names, &bound, &mut writes);
        Ok(Edit {
            conditions: vec![condition],
            writes,
        })
    }

    /// Writes the names of one block, as several if they are too many.
    fn write(&self, names: &[&str], bound: &[u8], writes: &mut Vec<Write>) {
        let key = |bound: &[u8]| key(&[&self.prefix, bound]);
        if names.is_empty() && bound != END {
            writes.push(Write::Delete { key: key(bound) });
            return;
        }
        let (split, mut rest) = (names.len() > limits::INDEX_BLOCK, names);
        while split && rest.len() > limits::INDEX_BLOCK_FILL {
            let (block, after) = rest.split_at(limits::INDEX_BLOCK_FILL);
            rest = after;
            writes.push(Write::Put {
                key: key(block[block.len() - 1].as_bytes()),
                value: joined(block),
            });
        }
        writes.push(Write::Put {
            key: key(bound),
            value: joined(rest),
        });
    }
}

fn names_of(block: &Bytes) -> impl Iterator<Item = &str> {
    let text = std::str::from_utf8(block).unwrap_or_default();
    text.split(BETWEEN).filter(|name| !name.is_empty())
}

fn joined(names: &[&str]) -> Bytes {
    names.join(BETWEEN.encode_utf8(&mut [0])).into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;
    use transom_meta::kv::Transaction;
    use transom_meta::kv::memory::Memory;

    async fn commit(kv: &Memory, edit: Edit) {
        let transaction = Transaction {
            conditions: edit.conditions,
            writes: edit.writes,
            ..Transaction::default()
        };
        let outcome = kv.commit(transaction).await.unwrap();
        assert_eq!(outcome, transom_meta::kv::Outcome::Committed);
    }

    /// Names that need many blocks, in the order of a push, of a list or of neither.
    fn names(count: usize) -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec("[A-Za-z0-9_][a-z.-]{0,2}", 0..count)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_holds_what_was_put_in(
            first in names(2_000),
            then in prop::collection::vec(("[A-C][a-c.-]{0,3}", any::<bool>()), 0..1_500),
            last in "[A-Za-z]{1,2}",
            most in 0..2_000usize,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let kv = Memory::new();
                // What is beside it is none of it.
                for prefix in [&b"s\x00"[..], b"s\x02"] {
                    let other = Set { kv: &kv, prefix: Bytes::copy_from_slice(prefix) };
                    commit(&kv, other.set("B", true).await.unwrap()).await;
                }
                let set = Set { kv: &kv, prefix: Bytes::from_static(b"s\x01") };
                let mut model: BTreeSet<String> = first.into_iter().collect();
                let list: Vec<&str> = model.iter().map(String::as_str).collect();
                let writes = set.replace(&list).await.unwrap();
                commit(&kv, Edit { writes, ..Edit::default() }).await;
                prop_assert!(set.replace(&list).await.unwrap().is_empty());
                for (name, present) in then {
                    commit(&kv, set.set(&name, present).await.unwrap()).await;
                    match present {
                        true => drop(model.insert(name)),
                        false => drop(model.remove(&name)),
                    }
                }
                let all: Vec<String> = model.iter().cloned().collect();
                prop_assert_eq!(set.page(None, usize::MAX).await.unwrap(), all.clone());
                let after = all.iter().filter(|name| **name > last).take(most).cloned();
                prop_assert_eq!(set.page(Some(&last), most).await.unwrap(), after.collect::<Vec<_>>());
                for pair in kv.range(&Range::prefix(set.prefix.clone()), usize::MAX).await.unwrap() {
                    prop_assert!(names_of(&pair.value).count() <= limits::INDEX_BLOCK);
                }
                let few: Vec<&str> = all.iter().step_by(7).map(String::as_str).collect();
                let writes = set.replace(&few).await.unwrap();
                commit(&kv, Edit { writes, ..Edit::default() }).await;
                prop_assert_eq!(set.page(None, usize::MAX).await.unwrap(), few);
                Ok(())
            })?;
        }
    }
}
