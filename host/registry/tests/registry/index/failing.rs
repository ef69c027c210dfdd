//! A store of keys that fails when it is told to, and what becomes of the lists then.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::broadcast;
use transom_meta::kv::memory::Memory as MemoryKv;
use transom_meta::kv::{Change, Kv, KvError, Outcome, Pair, Pending, Range, Stats, Transaction};
use transom_registry::index::List;

use super::stamped::Stamped;
use super::{answered, catalog, listed, push, walking, with};

#[derive(Debug, Default)]
struct Failing {
    inner: MemoryKv,
    /// What is answered to each write.
    writes: Mutex<Option<KvError>>,
    /// What is answered to each read.
    reads: Mutex<Option<KvError>>,
}

impl Failing {
    fn or<T: Send + 'static>(error: &Mutex<Option<KvError>>) -> Option<Pending<'static, Result<T, KvError>>> {
        let error = error.lock().unwrap().clone()?;
        Some(Box::pin(std::future::ready(Err(error))))
    }
}

impl Kv for Failing {
    fn name(&self) -> &'static str {
        "failing"
    }

    fn get<'a>(&'a self, key: &'a [u8]) -> Pending<'a, Result<Option<Bytes>, KvError>> {
        Failing::or(&self.reads).unwrap_or_else(|| self.inner.get(key))
    }

    fn range<'a>(&'a self, range: &'a Range, limit: usize) -> Pending<'a, Result<Vec<Pair>, KvError>> {
        Failing::or(&self.reads).unwrap_or_else(|| self.inner.range(range, limit))
    }

    fn commit(&self, transaction: Transaction) -> Pending<'_, Result<Outcome, KvError>> {
        Failing::or(&self.writes).unwrap_or_else(|| self.inner.commit(transaction))
    }

    fn watch(&self) -> broadcast::Receiver<Change> {
        self.inner.watch()
    }

    fn size(&self) -> Pending<'_, Result<u64, KvError>> {
        self.inner.size()
    }

    fn stats(&self) -> Stats {
        self.inner.stats()
    }
}

fn stopped() -> KvError {
    KvError::Stopped {
        reason: "the disk is gone".to_owned(),
    }
}

/// Pushes while the index fails, and compares before and after it is well again.
async fn push_beside(only_writer: bool, reads: Option<KvError>, writes: Option<KvError>, given_up: bool) {
    let driver = Stamped::new(!only_writer);
    let kv = Arc::new(Failing::default());
    let store = with(
        Arc::new(driver.clone()),
        Arc::clone(&kv) as Arc<dyn Kv>,
        only_writer,
    );
    let walking = walking(Arc::new(driver));
    push(&store, "a", &["one"], 1).await.unwrap();
    store.build_index().await.unwrap();
    assert_eq!(listed(&store, "a", None, 9).await.0, ["one"]);
    assert_eq!(answered(&store, List::Tags), 1);
    *kv.reads.lock().unwrap() = reads;
    *kv.writes.lock().unwrap() = writes;
    push(&store, "a", &["two"], 2).await.unwrap();
    push(&store, "b", &["one"], 1).await.unwrap();
    for well in [false, true] {
        if well {
            *kv.reads.lock().unwrap() = None;
            *kv.writes.lock().unwrap() = None;
        }
        for name in ["a", "b"] {
            assert_eq!(
                listed(&store, name, None, 9).await,
                listed(&walking, name, None, 9).await
            );
        }
        assert_eq!(catalog(&store, None, 9).await.0, ["a", "b"]);
        store.build_index().await.unwrap();
    }
    assert_eq!(store.index().is_none(), given_up);
}

#[tokio::test]
async fn lists_are_right_while_the_index_cannot_be_read_or_written() {
    for only_writer in [false, true] {
        push_beside(only_writer, None, Some(KvError::NoSpace), false).await;
        push_beside(only_writer, None, Some(stopped()), true).await;
        push_beside(only_writer, Some(stopped()), None, true).await;
        push_beside(only_writer, Some(stopped()), Some(stopped()), true).await;
    }
}
