//! What every key-value store must do: one suite that each of them runs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use tempfile::TempDir;
use transom_meta::kv::{
    self, Change, Condition, Durability, Kind, Kv, Outcome, Pair, Range, Stats, Transaction, Write,
};
use transom_meta::limits::KV_EVENTUAL_FLUSH;

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

pub(crate) fn bytes(text: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(text.as_ref())
}

pub(crate) fn put(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Write {
    Write::Put {
        key: bytes(key),
        value: bytes(value),
    }
}

pub(crate) fn delete(key: &str) -> Write {
    Write::Delete { key: bytes(key) }
}

pub(crate) fn is(key: &str, value: Option<&str>) -> Condition {
    Condition::Is {
        key: bytes(key),
        value: value.map(bytes),
    }
}

fn empty(prefix: &str) -> Condition {
    Condition::Empty {
        prefix: bytes(prefix),
    }
}

pub(crate) async fn commit(
    kv: &dyn Kv,
    conditions: impl Into<Vec<Condition>>,
    writes: impl Into<Vec<Write>>,
) -> Outcome {
    let transaction = Transaction {
        conditions: conditions.into(),
        writes: writes.into(),
        durability: Durability::Durable,
    };
    kv.commit(transaction).await.unwrap()
}

/// Everything in the store, read in small pages.
pub(crate) async fn everything(kv: &dyn Kv) -> BTreeMap<Bytes, Bytes> {
    let mut all = BTreeMap::new();
    let mut rest = Range::prefix("");
    loop {
        let page = kv.range(&rest, 7).await.unwrap();
        let Some(last) = page.last() else {
            return all;
        };
        rest = rest.after(&last.key);
        all.extend(page.into_iter().map(|pair| (pair.key, pair.value)));
    }
}

/// A folder, and the store in it.
struct Place {
    kind: Kind,
    dir: TempDir,
}

impl Place {
    fn new(kind: Kind) -> Place {
        let dir = tempfile::tempdir().unwrap();
        Place { kind, dir }
    }

    fn open(&self) -> Arc<dyn Kv> {
        open(self.kind, self.dir.path())
    }
}

pub(crate) fn open(kind: Kind, folder: &Path) -> Arc<dyn Kv> {
    kv::open(kind, folder).unwrap()
}

fn keys(pairs: &[Pair]) -> Vec<&str> {
    pairs
        .iter()
        .map(|pair| std::str::from_utf8(&pair.key).unwrap())
        .collect()
}

fn ranges_are_in_order_and_limited(place: &Place) {
    let kv = place.open();
    run(async {
        assert!(kv.range(&Range::prefix(""), 10).await.unwrap().is_empty());
        let writes = ["b", "a", "ab", "a\0", "c", "aa"].map(|key| put(key, key.to_uppercase()));
        commit(&*kv, [], writes).await;
        let all = kv.range(&Range::prefix(""), 10).await.unwrap();
        assert_eq!(keys(&all), ["a", "a\0", "aa", "ab", "b", "c"]);
        assert_eq!(all[3].value, "AB");
        let under_a = kv.range(&Range::prefix("a"), 10).await.unwrap();
        assert_eq!(keys(&under_a), ["a", "a\0", "aa", "ab"]);
        assert_eq!(
            keys(&kv.range(&Range::prefix("a"), 2).await.unwrap()),
            ["a", "a\0"]
        );
        assert!(kv.range(&Range::prefix("a"), 0).await.unwrap().is_empty());
        for (start, end) in [("b", "b"), ("c", "a")] {
            let (start, end) = (bytes(start), Some(bytes(end)));
            assert!(kv.range(&Range { start, end }, 9).await.unwrap().is_empty());
        }
        let (start, end) = (bytes("aa"), Some(bytes("c")));
        assert_eq!(
            keys(&kv.range(&Range { start, end }, 9).await.unwrap()),
            ["aa", "ab", "b"]
        );
        assert_eq!(kv.get(b"ab").await.unwrap(), Some(bytes("AB")));
        assert_eq!(kv.get(b"abc").await.unwrap(), None);
    });
}

fn pages_go_on_where_the_last_one_ended(place: &Place) {
    let kv = place.open();
    run(async {
        let names: Vec<String> = (0..100).map(|n| format!("p/{n:03}")).collect();
        let writes: Vec<Write> = names.iter().map(|name| put(name, "")).collect();
        commit(&*kv, [], writes).await;
        commit(&*kv, [], [put("o", ""), put("q", "")]).await;
        let mut rest = Range::prefix("p/");
        let mut found = Vec::new();
        loop {
            let page = kv.range(&rest, 9).await.unwrap();
            let Some(last) = page.last() else { break };
            rest = rest.after(&last.key);
            found.extend(keys(&page).into_iter().map(str::to_owned));
        }
        assert_eq!(found, names);
    });
}

fn keys_of_all_bytes_are_kept(place: &Place) {
    let kv = place.open();
    run(async {
        let long = vec![b'x'; 33_000];
        let odd: [&[u8]; 5] = [b"\0", b"\xff", b"\xff\xff", b"\xff\0", &long];
        let writes: Vec<Write> = odd.iter().map(|key| put(key, key)).collect();
        commit(&*kv, [], writes).await;
        for key in odd {
            assert_eq!(kv.get(key).await.unwrap(), Some(bytes(key)));
        }
        let last = kv.range(&Range::prefix(&b"\xff"[..]), 9).await.unwrap();
        let last: Vec<&[u8]> = last.iter().map(|pair| &pair.key[..]).collect();
        assert_eq!(last, [&b"\xff"[..], b"\xff\0", b"\xff\xff"]);
    });
}

fn conditions_are_checked(place: &Place) {
    let kv = place.open();
    run(async {
        let all_or_none = [
            (vec![is("a", None), empty("a"), empty("")], true),
            (vec![is("a", None)], false),
            (vec![is("a", Some("1"))], true),
            (vec![is("a", Some(""))], false),
            (vec![is("a", Some("1")), is("b", Some("1"))], false),
            (vec![empty("a")], false),
            (vec![empty("")], false),
            (vec![empty("aa"), empty("b")], true),
        ];
        for (number, (conditions, happens)) in all_or_none.into_iter().enumerate() {
            let before = everything(&*kv).await;
            let writes = [put("a", "1"), put("z", number.to_string())];
            let outcome = commit(&*kv, conditions.clone(), writes).await;
            assert_eq!(outcome == Outcome::Committed, happens, "{conditions:?}");
            assert_eq!(everything(&*kv).await == before, !happens, "{conditions:?}");
        }
        commit(&*kv, [], [delete("a"), delete("never there")]).await;
        assert_eq!(
            commit(&*kv, [is("a", None), empty("a")], []).await,
            Outcome::Committed
        );
    });
}

fn the_last_write_of_a_key_wins(place: &Place) {
    let kv = place.open();
    run(async {
        commit(
            &*kv,
            [],
            [put("a", "1"), put("a", "2"), delete("b"), put("b", "3")],
        )
        .await;
        assert_eq!(kv.get(b"a").await.unwrap(), Some(bytes("2")));
        assert_eq!(kv.get(b"b").await.unwrap(), Some(bytes("3")));
        commit(&*kv, [], [put("a", "4"), delete("a")]).await;
        assert_eq!(kv.get(b"a").await.unwrap(), None);
    });
}

fn watchers_see_commits_in_order(place: &Place) {
    let kv = place.open();
    run(async {
        commit(&*kv, [], [put("before", "")]).await;
        let mut watcher = kv.watch();
        commit(&*kv, [], [put("a", "1"), put("b", "2"), put("a", "3")]).await;
        commit(&*kv, [is("a", None)], [put("conflict", "")]).await;
        commit(&*kv, [], [delete("b")]).await;
        let change = |key: &str, value: Option<&str>| Change {
            key: bytes(key),
            value: value.map(bytes),
        };
        let expected = [
            change("a", Some("1")),
            change("b", Some("2")),
            change("a", Some("3")),
            change("b", None),
        ];
        for change in expected {
            assert_eq!(watcher.try_recv().unwrap(), change);
        }
        assert!(watcher.try_recv().is_err());
    });
}

async fn increment(kv: &dyn Kv, key: &'static [u8]) {
    loop {
        let value = kv.get(key).await.unwrap();
        let number = value
            .as_deref()
            .map_or(0, |value| u64::from_be_bytes(value.try_into().unwrap()));
        let condition = Condition::Is {
            key: Bytes::from_static(key),
            value,
        };
        if commit(kv, [condition], [put(key, (number + 1).to_be_bytes())]).await == Outcome::Committed {
            return;
        }
    }
}

fn concurrent_increments_lose_nothing(place: &Place) {
    const TASKS: u64 = 16;
    const EACH: u64 = 20;
    let kv = place.open();
    let mut watcher = kv.watch();
    run(async {
        let task = |kv: Arc<dyn Kv>| async move {
            for _ in 0..EACH {
                increment(&*kv, b"n").await;
            }
        };
        let tasks: Vec<_> = (0..TASKS).map(|_| tokio::spawn(task(kv.clone()))).collect();
        for task in tasks {
            task.await.unwrap();
        }
        let total = (TASKS * EACH).to_be_bytes();
        assert_eq!(kv.get(b"n").await.unwrap(), Some(bytes(total)));
        // Watchers saw every step, one after the other.
        for number in 1..=TASKS * EACH {
            let change = watcher.try_recv().unwrap();
            assert_eq!(change.value, Some(bytes(number.to_be_bytes())));
        }
        assert_eq!(kv.stats().transactions, TASKS * EACH);
    });
}

/// Those that share a flush see each other's writes.
fn one_of_many_makes_a_key(place: &Place) {
    let kv = place.open();
    run(async {
        for round in 0..20 {
            let key = format!("once/{round}");
            let attempt = |kv: Arc<dyn Kv>, key: String, odd: bool| async move {
                let condition = if odd { empty(&key) } else { is(&key, None) };
                commit(&*kv, [condition], [put(&key, "")]).await
            };
            let tasks: Vec<_> = (0..16)
                .map(|n| tokio::spawn(attempt(kv.clone(), key.clone(), n % 2 == 1)))
                .collect();
            let mut committed = 0;
            for task in tasks {
                committed += u32::from(task.await.unwrap() == Outcome::Committed);
            }
            assert_eq!(committed, 1);
        }
        let Stats {
            transactions,
            conflicts,
            ..
        } = kv.stats();
        assert_eq!((transactions, conflicts), (20, 300));
    });
}

fn large_things_are_kept(place: &Place) {
    let kv = place.open();
    run(async {
        let large = |n: u8| vec![n; 1_500_000];
        commit(&*kv, [], [put("large/1", large(1)), put("large/2", large(2))]).await;
        commit(&*kv, [], [put("large/1", large(3)), delete("large/2")]).await;
        let many: Vec<Write> = (0..5000).map(|n| put(format!("many/{n:04}"), [7; 100])).collect();
        commit(&*kv, [empty("many/")], many).await;
    });
    drop(kv);
    if place.kind == Kind::Memory {
        return;
    }
    let kv = place.open();
    run(async {
        assert_eq!(kv.get(b"large/1").await.unwrap(), Some(bytes([3; 1_500_000])));
        assert_eq!(kv.get(b"large/2").await.unwrap(), None);
        let many = kv.range(&Range::prefix("many/"), 10_000).await.unwrap();
        assert_eq!(many.len(), 5000);
        assert!(many.iter().all(|pair| pair.value == [7; 100][..]));
        assert!(kv.size().await.unwrap() > 1_500_000);
    });
}

fn what_may_be_lost_is_seen_at_once(place: &Place) {
    let kv = place.open();
    let eventual = |value: &str| Transaction {
        conditions: Vec::new(),
        writes: vec![put("used", value)],
        durability: Durability::Eventual,
    };
    run(async {
        // On a machine that stands still for a while, the store flushes by its clock.
        loop {
            commit(&*kv, [], [put("flushed", "")]).await;
            let (begin, flushes) = (std::time::Instant::now(), kv.stats().flushes);
            kv.commit(eventual("1")).await.unwrap();
            assert_eq!(kv.get(b"used").await.unwrap(), Some(bytes("1")));
            let flushed = kv.stats().flushes - flushes;
            if begin.elapsed() < KV_EVENTUAL_FLUSH {
                assert_eq!(flushed, 0);
                break;
            }
        }
        commit(&*kv, [is("used", Some("1"))], [put("a", "")]).await;
        kv.commit(eventual("2")).await.unwrap();
    });
    drop(kv);
    if place.kind != Kind::Memory {
        // Closing flushes.
        let kv = place.open();
        assert_eq!(run(kv.get(b"used")).unwrap(), Some(bytes("2")));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Commit(Transaction),
    Range(Range, usize),
    Reopen,
}

fn key() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(prop_oneof![Just(0), Just(b'a'), Just(255)], 0..4).prop_map(Bytes::from)
}

fn transaction() -> impl Strategy<Value = Transaction> {
    let value = || proptest::collection::vec(any::<u8>(), 0..3).prop_map(Bytes::from);
    let condition = prop_oneof![
        3 => (key(), proptest::option::of(value())).prop_map(|(key, value)| Condition::Is { key, value }),
        1 => key().prop_map(|prefix| Condition::Empty { prefix }),
    ];
    let write = prop_oneof![
        2 => (key(), value()).prop_map(|(key, value)| Write::Put { key, value }),
        1 => key().prop_map(|key| Write::Delete { key }),
    ];
    let durability = prop_oneof![Just(Durability::Durable), Just(Durability::Eventual)];
    let conditions = proptest::collection::vec(condition, 0..2);
    (conditions, proptest::collection::vec(write, 0..5), durability).prop_map(
        |(conditions, writes, durability)| Transaction {
            conditions,
            writes,
            durability,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => transaction().prop_map(Step::Commit),
        3 => (key(), proptest::option::of(key()), 0_usize..6)
            .prop_map(|(start, end, limit)| Step::Range(Range { start, end }, limit)),
        1 => Just(Step::Reopen),
    ]
}

type Model = BTreeMap<Bytes, Bytes>;

fn model_range(model: &Model, range: &Range, limit: usize) -> Vec<Pair> {
    let inside = |key: &Bytes| *key >= range.start && range.end.as_ref().is_none_or(|end| key < end);
    let pairs = model.iter().filter(|(key, _)| inside(key));
    pairs
        .take(limit)
        .map(|(key, value)| Pair {
            key: key.clone(),
            value: value.clone(),
        })
        .collect()
}

fn model_commit(model: &mut Model, transaction: &Transaction) -> Outcome {
    let holds = |condition: &Condition| match condition {
        Condition::Is { key, value } => model.get(key) == value.as_ref(),
        Condition::Empty { prefix } => !model.keys().any(|key| key.starts_with(prefix)),
    };
    if !transaction.conditions.iter().all(holds) {
        return Outcome::Conflict;
    }
    for write in &transaction.writes {
        match write.value() {
            Some(value) => model.insert(write.key().clone(), value.clone()),
            None => model.remove(write.key()),
        };
    }
    Outcome::Committed
}

fn it_behaves_like_a_sorted_map(place: &Place) {
    let mut config = ProptestConfig::with_cases(40);
    config.failure_persistence = None;
    proptest!(config, |(steps in proptest::collection::vec(step(), 1..40))| {
        let place = Place::new(place.kind);
        let mut kv = place.open();
        let mut model = Model::new();
        for step in steps {
            match step {
                Step::Commit(transaction) => {
                    let expected = model_commit(&mut model, &transaction);
                    prop_assert_eq!(run(kv.commit(transaction)).unwrap(), expected);
                }
                Step::Range(range, limit) => {
                    let found = run(kv.range(&range, limit)).unwrap();
                    prop_assert_eq!(found, model_range(&model, &range, limit));
                }
                Step::Reopen if place.kind == Kind::Memory => {}
                Step::Reopen => {
                    drop(kv);
                    kv = place.open();
                }
            }
            prop_assert_eq!(run(everything(&*kv)), model.clone());
        }
    });
}

macro_rules! suite {
    ($($test:ident),* $(,)?) => {
        mod memory { $(#[test] fn $test() { super::$test(&super::Place::new(super::Kind::Memory)); })* }
        mod sled { $(#[test] fn $test() { super::$test(&super::Place::new(super::Kind::Sled)); })* }
        mod redb { $(#[test] fn $test() { super::$test(&super::Place::new(super::Kind::Redb)); })* }
    };
}

suite!(
    ranges_are_in_order_and_limited,
    pages_go_on_where_the_last_one_ended,
    keys_of_all_bytes_are_kept,
    conditions_are_checked,
    the_last_write_of_a_key_wins,
    watchers_see_commits_in_order,
    concurrent_increments_lose_nothing,
    one_of_many_makes_a_key,
    large_things_are_kept,
    what_may_be_lost_is_seen_at_once,
    it_behaves_like_a_sorted_map,
);
