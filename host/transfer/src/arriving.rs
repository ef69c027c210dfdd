//! A blob on its way: one writes it into an ingest, and others read it from there before it is whole.
//!
//! The bytes take the way through the ingest's file, so that neither waits for the other: the download does not stop while a
//! layer waits for its turn, what an earlier download left is read like what comes now, and nothing is held in memory. The
//! end is told to the readers only when the digest was found right; until then nothing that they made of it counts.

use std::io::{self, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use transom_client::fetch::Follow;
use transom_content::Partial;
use transom_layer::cancel::{Cancel, CancelHook};

/// A blob that is being written. Clones are the same blob.
#[derive(Clone, Debug)]
pub struct Arriving {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    partial: Partial,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    written: u64,
    end: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It has the digest that it should have.
    Whole,
    /// It was thrown away, or nobody writes it any more.
    Lost,
}

impl Arriving {
    /// A blob of which so many bytes are written.
    #[must_use]
    pub fn new(partial: Partial, written: u64) -> Arriving {
        let state = State { written, end: None };
        Arriving {
            shared: Arc::new(Shared {
                partial,
                state: Mutex::new(state),
                changed: Condvar::new(),
            }),
        }
    }

    /// So many bytes of it are written.
    pub fn written(&self, bytes: u64) {
        self.change(|state| state.written = bytes);
    }

    /// It is whole, and its digest right.
    pub fn whole(&self) {
        self.change(|state| state.end = state.end.or(Some(End::Whole)));
    }

    /// What was written does not count any more, unless it is whole.
    pub fn lost(&self) {
        self.change(|state| state.end = state.end.or(Some(End::Lost)));
    }

    /// Whether what was read of it does not count.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.shared.lock().end == Some(End::Lost)
    }

    /// Reads it from its start. Where nothing more is written yet, a read waits, until `cancel` is asked for.
    #[must_use]
    pub fn reader(&self, cancel: &Cancel) -> Along {
        let shared = Arc::clone(&self.shared);
        let hook = cancel.on_cancel(move || {
            // With the lock, or whoever is about to wait would miss it.
            let _state = shared.lock();
            shared.changed.notify_all();
        });
        Along {
            shared: Arc::clone(&self.shared),
            cancel: cancel.clone(),
            _hook: hook,
            at: 0,
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.lock());
        self.shared.changed.notify_all();
    }
}

impl Follow for Arriving {
    fn written(&self, bytes: u64) {
        Arriving::written(self, bytes);
    }

    fn whole(&self) {
        Arriving::whole(self);
    }

    fn lost(&self) {
        Arriving::lost(self);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads along. The end is one only if the blob is whole; otherwise it is an error.
#[derive(Debug)]
pub struct Along {
    shared: Arc<Shared>,
    cancel: Cancel,
    _hook: CancelHook,
    at: u64,
}

impl Along {
    /// Waits for bytes; how many there are. 0 is the end.
    fn ready(&self) -> io::Result<u64> {
        let mut state = self.shared.lock();
        loop {
            if state.end == Some(End::Lost) {
                return Err(io::Error::other("the blob was not fetched to its end"));
            }
            if state.written > self.at || state.end == Some(End::Whole) {
                return Ok(state.written.saturating_sub(self.at));
            }
            if self.cancel.is_requested() {
                return Err(io::Error::other("cancelled"));
            }
            state = self
                .shared
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Read for Along {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let ready = self.ready()?;
        let most = usize::try_from(ready).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = self.shared.partial.read_at(&mut buffer[..most], self.at)?;
        if read == 0 {
            // It was truncated since.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use transom_content::{IngestOptions, Store, Writer};

    fn begun(bytes: &[u8]) -> (tempfile::TempDir, Writer, Arriving) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("a store");
        let mut writer = store.ingest("a", IngestOptions::default()).expect("an ingest");
        writer.write(bytes).expect("room");
        let arriving = Arriving::new(
            writer.partial().expect("a file").expect("a folder"),
            writer.offset(),
        );
        (folder, writer, arriving)
    }

    fn read(arriving: &Arriving) -> std::thread::JoinHandle<(Vec<u8>, io::Result<usize>)> {
        let mut along = arriving.reader(&Cancel::new());
        std::thread::spawn(move || {
            let mut all = Vec::new();
            let end = along.read_to_end(&mut all);
            (all, end)
        })
    }

    #[test]
    fn what_was_there_and_what_comes_is_read_to_the_end() {
        let (_folder, mut writer, arriving) = begun(b"what was ");
        let reader = read(&arriving);
        for word in ["there, ", "and what ", "comes"] {
            writer.write(word.as_bytes()).expect("room");
            arriving.written(writer.offset());
        }
        writer.commit(None, None).expect("a commit");
        arriving.whole();
        let (all, end) = reader.join().expect("no panic");
        assert_eq!(end.expect("an end"), all.len());
        assert_eq!(all, b"what was there, and what comes");
        let (again, _) = read(&arriving).join().expect("no panic");
        assert_eq!(again, all, "a late reader sees the same");
    }

    #[test]
    fn a_blob_that_is_lost_has_no_end() {
        let (_folder, mut writer, arriving) = begun(b"some");
        let reader = read(&arriving);
        writer.truncate(0).expect("a truncation");
        arriving.lost();
        assert!(reader.join().expect("no panic").1.is_err());
        arriving.whole();
        assert!(arriving.is_lost(), "what is lost does not become whole");
        assert!(read(&arriving).join().expect("no panic").1.is_err());
    }

    #[test]
    fn who_waits_for_bytes_can_be_stopped() {
        let (_folder, _writer, arriving) = begun(b"some");
        let cancel = Cancel::new();
        let mut along = arriving.reader(&cancel);
        let reader = std::thread::spawn(move || along.read_to_end(&mut Vec::new()));
        cancel.cancel();
        assert!(reader.join().expect("no panic").is_err());
    }
}
