//! Random sequences of operations, on the store and on a model in memory at once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;

use proptest::prelude::*;
use transom_content::{Error, IngestOptions, Store, Writer};
use transom_oci::{Algorithm, Digest};

use crate::helpers::{blobs, get, noise, sha256, statuses};

const REFS: [&str; 3] = ["a", "b", "default/3/c"];

#[derive(Debug, Clone)]
enum Op {
    Open {
        slot: usize,
        total: Option<u64>,
    },
    Write {
        slot: usize,
        seed: u64,
        length: usize,
    },
    WriteAt {
        slot: usize,
        offset: u64,
    },
    Truncate {
        slot: usize,
    },
    Close {
        slot: usize,
    },
    Commit {
        slot: usize,
        wrong_size: bool,
        wrong_digest: bool,
        algorithm: Algorithm,
    },
    Abort {
        slot: usize,
    },
    Delete {
        nth: usize,
    },
    Reopen,
    Sweep,
}

fn op() -> impl Strategy<Value = Op> {
    let slot = 0..REFS.len();
    let algorithm = prop::sample::select(Algorithm::ALL.to_vec());
    prop_oneof![
        4 => (slot.clone(), prop::option::of(1_u64..3)).prop_map(|(slot, total)| Op::Open { slot, total }),
        6 => (slot.clone(), 0_u64..3, 0_usize..40_000).prop_map(|(slot, seed, length)| Op::Write { slot, seed, length }),
        1 => (slot.clone(), 0_u64..3).prop_map(|(slot, offset)| Op::WriteAt { slot, offset }),
        1 => slot.clone().prop_map(|slot| Op::Truncate { slot }),
        2 => slot.clone().prop_map(|slot| Op::Close { slot }),
        4 => (slot.clone(), prop::bool::weighted(0.2), prop::bool::weighted(0.2), algorithm)
            .prop_map(|(slot, wrong_size, wrong_digest, algorithm)| Op::Commit { slot, wrong_size, wrong_digest, algorithm }),
        2 => slot.prop_map(|slot| Op::Abort { slot }),
        1 => (0_usize..4).prop_map(|nth| Op::Delete { nth }),
        1 => Just(Op::Reopen),
        1 => Just(Op::Sweep),
    ]
}

#[derive(Debug, Default)]
struct Ingest {
    bytes: Vec<u8>,
    total: Option<u64>,
}

#[derive(Default)]
struct Model {
    blobs: BTreeMap<Digest, Vec<u8>>,
    ingests: BTreeMap<usize, Ingest>,
}

struct Run {
    open: fn(PathBuf) -> Result<Store, Error>,
    store: Store,
    writers: BTreeMap<usize, Writer>,
    model: Model,
}

impl Run {
    fn step(&mut self, op: &Op) {
        match *op {
            Op::Open { slot, total } => self.open(slot, total),
            Op::Write { slot, seed, length } => {
                let Some(writer) = self.writers.get_mut(&slot) else {
                    return;
                };
                let bytes = noise(seed, length);
                let result = writer.write(&bytes);
                match self.model.ingests.get_mut(&slot) {
                    Some(ingest) => {
                        result.unwrap();
                        ingest.bytes.extend(&bytes);
                    }
                    None => assert!(matches!(result, Err(Error::Aborted { .. })), "{result:?}"),
                }
            }
            Op::WriteAt { slot, offset } => {
                let (Some(writer), Some(ingest)) =
                    (self.writers.get_mut(&slot), self.model.ingests.get_mut(&slot))
                else {
                    return;
                };
                let current = ingest.bytes.len() as u64;
                match writer.write_at(offset, b"at") {
                    Ok(()) => {
                        assert_eq!(offset, current);
                        ingest.bytes.extend(b"at");
                    }
                    Err(e) => assert!(
                        matches!(e, Error::OutOfRange { current: c, .. } if c == current && c != offset)
                    ),
                }
            }
            Op::Truncate { slot } => {
                let (Some(writer), Some(ingest)) =
                    (self.writers.get_mut(&slot), self.model.ingests.get_mut(&slot))
                else {
                    return;
                };
                writer.truncate(0).unwrap();
                ingest.bytes.clear();
            }
            Op::Close { slot } => {
                let Some(writer) = self.writers.remove(&slot) else {
                    return;
                };
                assert_eq!(writer.close().is_ok(), self.model.ingests.contains_key(&slot));
            }
            Op::Commit {
                slot,
                wrong_size,
                wrong_digest,
                algorithm,
            } => {
                self.commit(slot, wrong_size, wrong_digest, algorithm);
            }
            Op::Abort { slot } => {
                let result = self.store.abort(REFS[slot]);
                assert_eq!(
                    result.is_ok(),
                    self.model.ingests.remove(&slot).is_some(),
                    "{result:?}"
                );
            }
            Op::Delete { nth } => {
                let Some(digest) = self.model.blobs.keys().nth(nth).cloned() else {
                    return;
                };
                self.store.delete(&digest).unwrap();
                assert!(matches!(self.store.delete(&digest), Err(Error::NotFound { .. })));
                self.model.blobs.remove(&digest);
            }
            Op::Reopen => {
                self.writers.clear();
                self.store = (self.open)(self.store.root().to_path_buf()).unwrap();
            }
            Op::Sweep => {
                let report = self.store.sweep(std::time::Duration::ZERO).unwrap();
                assert_eq!(
                    (report.removed, report.kept, report.sealed),
                    (0, 0, 0),
                    "{report:?}"
                );
            }
        }
    }

    fn open(&mut self, slot: usize, total: Option<u64>) {
        let result = self.store.ingest(
            REFS[slot],
            IngestOptions {
                total,
                expected: None,
            },
        );
        let aborted = !self.model.ingests.contains_key(&slot);
        if self.writers.contains_key(&slot) && !aborted {
            assert!(matches!(result, Err(Error::Locked { since: Some(_), .. })));
            return;
        }
        let writer = result.unwrap();
        let ingest = self.model.ingests.entry(slot).or_default();
        if total.is_some() && ingest.total.is_some() && total != ingest.total {
            ingest.bytes.clear();
        }
        ingest.total = total.or(ingest.total);
        assert_eq!(
            (writer.offset(), writer.status().total),
            (ingest.bytes.len() as u64, ingest.total)
        );
        assert_eq!(writer.digest(), sha256(&ingest.bytes));
        self.writers.insert(slot, writer);
    }

    fn commit(&mut self, slot: usize, wrong_size: bool, wrong_digest: bool, algorithm: Algorithm) {
        let Some(writer) = self.writers.get_mut(&slot) else {
            return;
        };
        let Some(ingest) = self.model.ingests.get(&slot) else {
            assert!(matches!(writer.commit(None, None), Err(Error::Aborted { .. })));
            return;
        };
        let size = ingest.bytes.len() as u64 + u64::from(wrong_size);
        let digest = Digest::of(algorithm, &ingest.bytes);
        let named = if wrong_digest {
            Digest::of(algorithm, b"other")
        } else {
            digest.clone()
        };
        let result = writer.commit(Some(size), Some(&named));
        if wrong_size {
            assert!(matches!(result, Err(Error::SizeMismatch { .. })), "{result:?}");
            return;
        }
        if wrong_digest {
            assert!(matches!(result, Err(Error::DigestMismatch { .. })), "{result:?}");
            return;
        }
        let bytes = self.model.ingests.remove(&slot).unwrap().bytes;
        if let Entry::Vacant(place) = self.model.blobs.entry(digest) {
            assert_eq!(result.unwrap().size, bytes.len() as u64);
            place.insert(bytes);
        } else {
            assert!(matches!(result, Err(Error::AlreadyExists { .. })), "{result:?}");
        }
        self.writers.remove(&slot);
    }

    /// The store is what the model is.
    fn compare(&self) {
        let sizes = self
            .model
            .blobs
            .iter()
            .map(|(digest, bytes)| (digest.clone(), bytes.len() as u64));
        assert_eq!(blobs(&self.store), sizes.collect());
        let listed = statuses(&self.store);
        let listed: BTreeMap<_, _> = listed
            .iter()
            .map(|(r, s)| (r.as_str(), (s.offset, s.total)))
            .collect();
        let expected = self.model.ingests.iter();
        let expected = expected.map(|(&slot, i)| (REFS[slot], (i.bytes.len() as u64, i.total)));
        assert_eq!(listed, expected.collect());
        for &slot in self.model.ingests.keys() {
            assert_eq!(self.store.status(REFS[slot]).unwrap().reference, REFS[slot]);
        }
    }
}

fn check(ops: &[Op], open: fn(PathBuf) -> Result<Store, Error>) {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run {
        open,
        store: open(dir.path().join("content")).unwrap(),
        writers: BTreeMap::new(),
        model: Model::default(),
    };
    for op in ops {
        run.step(op);
        run.compare();
    }
    for (digest, bytes) in &run.model.blobs {
        assert_eq!(get(&run.store, digest), *bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn the_store_is_what_the_model_is(ops in prop::collection::vec(op(), 1..60)) {
        check(&ops, Store::open);
    }

    #[test]
    fn a_store_that_is_alone_is_what_the_model_is(ops in prop::collection::vec(op(), 1..60)) {
        check(&ops, Store::open_alone);
    }
}
