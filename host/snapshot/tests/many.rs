//! A store with 10,000 snapshots.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use transom_meta::kv::memory::Memory;
use transom_meta::kv::{Change, Kv, KvError, Outcome, Pair, Pending, Range, Stats, Transaction};
use transom_meta::names::Labels;
use transom_meta::snapshots::Snapshotter as _;

use crate::helpers::{Which, run};

const SNAPSHOTS: usize = 10_000;

/// Counts what is read.
#[derive(Debug, Default)]
struct Counting {
    memory: Memory,
    gets: AtomicUsize,
    pairs: AtomicUsize,
}

impl Counting {
    /// Keys and pairs read since the last time.
    fn take(&self) -> (usize, usize) {
        (
            self.gets.swap(0, Ordering::SeqCst),
            self.pairs.swap(0, Ordering::SeqCst),
        )
    }
}

impl Kv for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn get<'a>(&'a self, key: &'a [u8]) -> Pending<'a, Result<Option<Bytes>, KvError>> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        self.memory.get(key)
    }

    fn range<'a>(&'a self, range: &'a Range, limit: usize) -> Pending<'a, Result<Vec<Pair>, KvError>> {
        Box::pin(async move {
            let pairs = self.memory.range(range, limit).await?;
            self.pairs.fetch_add(pairs.len(), Ordering::SeqCst);
            Ok(pairs)
        })
    }

    fn commit(&self, transaction: Transaction) -> Pending<'_, Result<Outcome, KvError>> {
        self.memory.commit(transaction)
    }

    fn watch(&self) -> broadcast::Receiver<Change> {
        self.memory.watch()
    }

    fn size(&self) -> Pending<'_, Result<u64, KvError>> {
        self.memory.size()
    }

    fn stats(&self) -> Stats {
        self.memory.stats()
    }
}

#[test]
fn each_call_reads_as_much_as_with_one_snapshot() {
    run(async || {
        let dir = tempfile::tempdir().unwrap();
        let counting = Arc::new(Counting::default());
        let kv: Arc<dyn Kv> = Arc::clone(&counting) as Arc<dyn Kv>;
        let local = Which::Native.open(&kv, dir.path(), None).await.unwrap();
        local.prepare("k", "", Labels::new()).await.unwrap();
        local.commit("base", "k", "", Labels::new()).await.unwrap();
        // Views of native have no folder: 10,000 of them cost little.
        let mut tasks = JoinSet::new();
        for task in 0..8 {
            let local = local.clone();
            tasks.spawn(async move {
                for number in (task..SNAPSHOTS).step_by(8) {
                    let key = format!("{number:05}");
                    local.view(&key, "base", Labels::new()).await.unwrap();
                }
            });
        }
        tasks.join_all().await;
        counting.take();

        let info = local.stat("04711").await.unwrap();
        assert_eq!(info.parent, "base");
        assert_eq!(counting.take(), (1, 0), "stat");
        local.mounts("04711").await.unwrap();
        assert_eq!(counting.take(), (1, 0), "mounts");
        local.usage("base").await.unwrap();
        assert_eq!(counting.take(), (1, 0), "usage");
        local.prepare("new", "base", Labels::new()).await.unwrap();
        assert_eq!(counting.take(), (2, 0), "prepare");
        local.commit("newer", "new", "", Labels::new()).await.unwrap();
        assert_eq!(counting.take(), (2, 0), "commit");
        // One child is enough to know that there are some.
        assert!(local.remove("base").await.is_err());
        assert_eq!(counting.take(), (1, 1), "remove");
        local.remove("04711").await.unwrap();
        assert_eq!(counting.take(), (1, 0), "remove");

        let page = local.list(Some("05000"), 100).await.unwrap();
        let names: Vec<_> = page.iter().map(|info| info.name.as_str()).collect();
        assert_eq!((names.len(), names[0], names[99]), (100, "05001", "05100"));
        assert_eq!(counting.take(), (0, 100), "list");

        // Opened again, each record is read once.
        let again = Which::Native.open(&kv, dir.path(), None).await.unwrap();
        let found = again.found();
        assert_eq!(found.snapshots, SNAPSHOTS as u64 + 1);
        assert!(found.garbage.is_empty() && found.remade.is_empty() && found.missing.is_empty());
        assert_eq!(counting.take().1, SNAPSHOTS + 1);
    });
}
