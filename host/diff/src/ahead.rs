//! Layers that are unpacked while their blobs still arrive, before anybody asks for them.
//!
//! A client of containerd's API writes a layer, waits until it is committed, and then asks for it to be applied to a snapshot that
//! it has prepared. All that is needed for the second is there during the first, except for the place. So a layer is unpacked as it arrives,
//! into a folder beside the snapshots; when the client asks, what is in that folder is moved to where it belongs. Nothing
//! about the answer changes, only when the work is done: whatever goes wrong before the client asks is forgotten, and the layer is applied as if
//! nothing had been tried.
//!
//! Read in this order: this file (which layers there are, and who gets them), `work` (how one is unpacked), `tree` (how it gets to its
//! place).

mod tree;
mod work;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use transom_layer::apply::ApplyReport;
use transom_layer::buffer::Pool;
use transom_layer::cancel::Cancel;
use transom_layer::pump::LayerReport;
use transom_layer::workers::Workers;
use transom_oci::Digest;

use crate::limits::{AHEAD_KEPT, AHEAD_LAYERS};
use crate::walking::{LiveSettings, Settings};

pub(crate) use tree::Tree;
pub(crate) use work::is_built_in;

/// The layers that are, or have been, unpacked ahead. Clones are the same ones.
#[derive(Clone, Debug)]
pub struct Ahead {
    shared: Arc<Shared>,
}

/// How it has gone so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AheadStats {
    /// Layers that somebody asked for.
    pub used: u64,
    /// Layers that nobody asked for in time.
    pub unused: u64,
    /// Layers that could not be unpacked, or did not arrive whole.
    pub failed: u64,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    settings: LiveSettings,
    workers: Workers,
    pool: Pool,
    at_once: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    layers: BTreeMap<u64, Layer>,
    at_work: usize,
    /// The last layer that nobody asked for is longer ago than the last that somebody would have asked for.
    distrusted: bool,
    stats: AheadStats,
}

impl State {
    fn has_place(&self, at_once: usize) -> bool {
        !self.distrusted && self.at_work < at_once && self.layers.len() < AHEAD_LAYERS
    }
}

/// One layer.
#[derive(Debug)]
struct Layer {
    /// Known when its blob is whole.
    digest: Option<Digest>,
    settings: Arc<Settings>,
    path: PathBuf,
    /// What became of it, and when.
    done: Option<(Box<LayerReport<ApplyReport>>, Instant)>,
}

/// A layer that arrives. Dropping it throws the layer away.
#[derive(Debug)]
pub struct Guess {
    shared: Arc<Shared>,
    number: u64,
    cancel: Cancel,
    committed: bool,
}

impl Ahead {
    /// Unpacks into `folder`, which is made if need be (its parent is not), and must be on the file system of the snapshots. What an
    /// earlier process left there is removed in the background. `None` where whiteouts cannot be made: in a user namespace.
    ///
    /// # Errors
    /// The system's.
    pub fn open(folder: &Path, settings: impl Into<LiveSettings>) -> std::io::Result<Option<Ahead>> {
        use transom_sys::Sys as _;
        if transom_sys::Linux.in_user_namespace() {
            return Ok(None);
        }
        let workers = Workers::new();
        tree::open_folder(folder, &workers)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Some(Ahead {
            shared: Arc::new(Shared {
                folder: folder.to_path_buf(),
                settings: settings.into(),
                workers,
                pool: Pool::new(),
                // Each layer has two cores' worth of work, and those who send it want some too.
                at_once: cores.div_ceil(2),
                state: Mutex::default(),
                changed: Condvar::new(),
            }),
        }))
    }

    /// Threads and buffers, to be shared.
    pub(crate) fn machinery(&self) -> (Workers, Pool) {
        (self.shared.workers.clone(), self.shared.pool.clone())
    }

    /// Whether another layer would be begun, as far as that can be told without a look at it.
    #[must_use]
    pub fn has_place(&self) -> bool {
        self.shared.lock().has_place(self.shared.at_once)
    }

    /// Begins with a layer of so many bytes, of which `open` gives a reader; a read waits for bytes until it is cancelled, and the end is
    /// one only if the blob is whole. `None` if that should not be done now: too many are under way, the disk has
    /// too little room, layers pass through processors, or the last layer was unpacked for nothing. It may be asked again for the same layer.
    pub fn begin(&self, size: u64, open: impl FnOnce(&Cancel) -> Box<dyn Read + Send>) -> Option<Guess> {
        let shared = &self.shared;
        let settings = shared.settings.now();
        let steps = work::steps(&settings)?;
        if !work::has_room(&shared.folder, size) {
            return None;
        }
        let (cancel, path) = (Cancel::new(), shared.folder.join(crate::fresh()));
        let mut state = shared.lock();
        if !state.has_place(shared.at_once) {
            return None;
        }
        state.next += 1;
        state.at_work += 1;
        let number = state.next;
        let layer = Layer {
            digest: None,
            settings: Arc::clone(&settings),
            path: path.clone(),
            done: None,
        };
        state.layers.insert(number, layer);
        drop(state);
        let job = work::Job {
            blob: open(&cancel),
            size,
            path,
            settings,
            steps,
            cancel: cancel.clone(),
        };
        let ending = Ending {
            shared: Arc::clone(shared),
            number,
            done: Some(Err("the thread panicked".to_owned())),
        };
        shared.workers.run(move || {
            let done = job.run(&ending.shared.workers, &ending.shared.pool);
            ending.with(done);
        });
        Some(Guess {
            shared: Arc::clone(shared),
            number,
            cancel,
            committed: false,
        })
    }

    /// The layer of a blob, if it was begun, with these settings; waits for its end. Whoever asks has a use for layers that are unpacked
    /// ahead, even if this one was not.
    pub(crate) fn claim(&self, digest: &Digest, settings: &Arc<Settings>, cancel: &Cancel) -> Option<Tree> {
        let waiting = Arc::clone(&self.shared);
        let _hook = cancel.on_cancel(move || {
            // With the lock, or whoever is about to wait would miss it.
            let _state = waiting.lock();
            waiting.changed.notify_all();
        });
        let mut state = self.shared.lock();
        state.distrusted = false;
        let is_it = |layer: &Layer| layer.digest.as_ref() == Some(digest);
        let number = *state.layers.iter().find(|(_, layer)| is_it(layer))?.0;
        while state.layers.get(&number)?.done.is_none() && !cancel.is_requested() {
            let changed = self.shared.changed.wait(state);
            state = changed.unwrap_or_else(PoisonError::into_inner);
        }
        // Otherwise whoever asks has gone.
        state.layers.get(&number)?.done.as_ref()?;
        let layer = state.layers.remove(&number)?;
        let (report, _) = layer.done?;
        let tree = Tree::new(layer.path, report, self.shared.workers.clone());
        Arc::ptr_eq(&layer.settings, settings).then_some(tree)
    }

    /// A layer that was claimed is where it belongs.
    pub(crate) fn used(&self) {
        self.shared.lock().stats.used += 1;
    }

    /// Throws away what nobody has asked for in time. To be called now and then.
    pub fn tidy(&self) {
        self.tidy_at(Instant::now());
    }

    fn tidy_at(&self, now: Instant) {
        let mut state = self.shared.lock();
        let is_old = |layer: &Layer| {
            let done = layer.done.as_ref();
            done.is_some_and(|(_, since)| now.saturating_duration_since(*since) > AHEAD_KEPT)
        };
        let old: Vec<Layer> = state
            .layers
            .extract_if(.., |_, layer| is_old(layer))
            .map(|(_, layer)| layer)
            .collect();
        state.stats.unused += old.len() as u64;
        state.distrusted |= !old.is_empty();
        drop(state);
        for layer in old {
            tree::remove(layer.path, &self.shared.workers);
        }
    }

    /// How it has gone so far.
    #[must_use]
    pub fn stats(&self) -> AheadStats {
        self.shared.lock().stats
    }
}

impl Guess {
    /// The blob is whole, and this is its digest. To be called before the reader is told of the end.
    pub fn committed(mut self, digest: &Digest) {
        self.committed = true;
        if let Some(layer) = self.shared.lock().layers.get_mut(&self.number) {
            layer.digest = Some(digest.clone());
        }
    }
}

impl Drop for Guess {
    fn drop(&mut self) {
        if !self.committed {
            // It fails then, and whoever unpacks it tidies up.
            self.cancel.cancel();
        }
    }
}

/// Work on a layer, which ends however it ends.
struct Ending {
    shared: Arc<Shared>,
    number: u64,
    done: Option<Done>,
}

/// What became of a layer, or why nothing did.
type Done = Result<Box<LayerReport<ApplyReport>>, String>;

impl Ending {
    fn with(mut self, done: Done) {
        self.done = Some(done);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            self.shared.ended(self.number, done);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One is done, or failed; that is nobody's business but a log's.
    fn ended(&self, number: u64, done: Done) {
        let mut state = self.lock();
        state.at_work -= 1;
        let failed = match done {
            Ok(report) => {
                if let Some(layer) = state.layers.get_mut(&number) {
                    layer.done = Some((report, Instant::now()));
                }
                None
            }
            Err(reason) => {
                tracing::debug!(reason, "a layer was not unpacked ahead");
                state.stats.failed += 1;
                state.layers.remove(&number)
            }
        };
        drop(state);
        self.changed.notify_all();
        if let Some(layer) = failed {
            tree::remove(layer.path, &self.workers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use transom_oci::Algorithm;

    /// An archive without entries.
    const EMPTY: [u8; 1024] = [0; 1024];

    fn digest() -> Digest {
        Digest::of(Algorithm::Sha256, &EMPTY)
    }

    fn opened(settings: &LiveSettings) -> Option<(tempfile::TempDir, Ahead)> {
        let folder = tempfile::tempdir().expect("a folder");
        let ahead = Ahead::open(&folder.path().join("ahead"), settings.clone()).expect("a folder");
        Some((folder, ahead?))
    }

    /// A layer that is there.
    fn unpacked(ahead: &Ahead) {
        let guess = ahead.begin(1024, |_| Box::new(&EMPTY[..]));
        guess.expect("there is a place").committed(&digest());
        while ahead
            .shared
            .lock()
            .layers
            .values()
            .any(|layer| layer.done.is_none())
        {
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_nobody_wants_goes_and_nothing_is_begun_until_somebody_would() {
        let settings = LiveSettings::default();
        let Some((_folder, ahead)) = opened(&settings) else {
            return;
        };
        unpacked(&ahead);
        let later = Instant::now() + AHEAD_KEPT + std::time::Duration::from_secs(1);
        ahead.tidy();
        assert_eq!(ahead.stats(), AheadStats::default(), "it is too early");
        ahead.tidy_at(later);
        assert_eq!(ahead.stats().unused, 1);
        let refused = ahead.begin(1024, |_| unreachable!("the last one was for nothing"));
        assert!(refused.is_none());
        let (cancel, now) = (Cancel::new(), settings.now());
        assert!(ahead.claim(&digest(), &now, &cancel).is_none(), "it is gone");
        unpacked(&ahead);
        assert!(ahead.claim(&digest(), &now, &cancel).is_some());
        assert!(
            ahead.claim(&digest(), &now, &cancel).is_none(),
            "it is given once"
        );
    }

    #[test]
    fn other_settings_want_another_layer() {
        let settings = LiveSettings::default();
        let Some((_folder, ahead)) = opened(&settings) else {
            return;
        };
        unpacked(&ahead);
        settings.replace(Settings::default());
        assert!(ahead.claim(&digest(), &settings.now(), &Cancel::new()).is_none());
        assert!(ahead.shared.lock().layers.is_empty());
    }

    #[test]
    fn who_waits_for_a_layer_can_be_stopped() {
        let settings = LiveSettings::default();
        let Some((_folder, ahead)) = opened(&settings) else {
            return;
        };
        let (mut blob, pipe) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let guess = ahead.begin(1024, |_| Box::new(pipe)).expect("there is a place");
        guess.committed(&digest());
        let (cancel, now) = (Cancel::new(), settings.now());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| ahead.claim(&digest(), &now, &cancel).is_some());
            cancel.cancel();
            assert!(!waiting.join().expect("no panic"));
        });
        std::io::Write::write_all(&mut blob, &EMPTY).expect("it is read");
        drop(blob);
        assert!(
            ahead.claim(&digest(), &now, &Cancel::new()).is_some(),
            "it is kept"
        );
    }
    #[test]
    fn one_that_fails_leaves_its_place_to_others() {
        struct Panics;
        impl Read for Panics {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                panic!("on purpose")
            }
        }
        let settings = LiveSettings::default();
        let Some((_folder, ahead)) = opened(&settings) else {
            return;
        };
        for failed in 1..=3 {
            let guess = ahead.begin(1024, |_| Box::new(Panics));
            guess.expect("there is a place").committed(&digest());
            while ahead.stats().failed < failed {
                std::thread::yield_now();
            }
        }
        assert!(ahead.shared.lock().layers.is_empty());
        let refused = ahead.begin(u64::MAX, |_| unreachable!("no disk has room for it"));
        assert!(refused.is_none());
    }
}
