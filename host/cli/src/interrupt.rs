//! Ctrl-C: the first one asks the job to stop and clean up, the second one ends the program.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::Notify;
use transom_layer::cancel::Cancel;

use crate::failure::Failure;

/// The request to stop that a signal makes.
#[derive(Debug)]
pub(crate) struct Interrupt {
    cancel: Cancel,
}

impl Interrupt {
    pub(crate) fn install() -> Result<Interrupt, Failure> {
        let failed = |error: std::io::Error| Failure::io("cannot watch for signals", &error);
        let again = Arc::new(AtomicBool::new(false));
        // Before anything else that catches them: a signal that only the others see would be lost.
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag unset, sets it and is delivered; the second one ends the process.
            signal_hook::flag::register_conditional_shutdown(signal, 128 + SIGINT, Arc::clone(&again))
                .map_err(failed)?;
            signal_hook::flag::register(signal, Arc::clone(&again)).map_err(failed)?;
        }
        let cancel = Cancel::new();
        let asked = cancel.clone();
        std::thread::spawn(move || {
            if signals.forever().next().is_some() {
                asked.cancel();
            }
        });
        Ok(Interrupt { cancel })
    }

    pub(crate) fn cancel(&self) -> Cancel {
        self.cancel.clone()
    }

    pub(crate) fn is_requested(&self) -> bool {
        self.cancel.is_requested()
    }

    /// Comes when the job is asked to stop.
    pub(crate) async fn requested(&self) {
        let asked = Arc::new(Notify::new());
        let asking = Arc::clone(&asked);
        let _hook = self.cancel.on_cancel(move || asking.notify_one());
        asked.notified().await;
    }

    /// Stdin, the reading of which ends with an error once the job is asked to stop. To be called once.
    pub(crate) fn stdin(&self) -> Stdin {
        let (sender, blocks) = sync_channel(1);
        std::thread::spawn(move || read_ahead(&mut io::stdin().lock(), &sender));
        Stdin {
            blocks,
            current: Vec::new(),
            at: 0,
            cancel: self.cancel(),
        }
    }

    /// For loops that ask whether to go on.
    pub(crate) fn flow(&self) -> ControlFlow<()> {
        if self.is_requested() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

/// Bytes read from stdin at a time.
const BLOCK: usize = 256 << 10;
/// How late the request to stop may be seen.
const LOOK: Duration = Duration::from_millis(50);

/// Stdin, read by a thread of its own: who is at the other end may give nothing for hours, and the system takes up a read
/// again that a signal interrupted.
#[derive(Debug)]
pub(crate) struct Stdin {
    blocks: Receiver<io::Result<Vec<u8>>>,
    current: Vec<u8>,
    at: usize,
    cancel: Cancel,
}

/// Passes on what comes, until the end, an error, or nobody wants it.
fn read_ahead(input: &mut impl Read, blocks: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut block = vec![0; BLOCK];
        let read = input.read(&mut block);
        let last = match &read {
            Ok(count) => *count == 0,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => true,
        };
        let passed = blocks.send(read.map(|count| {
            block.truncate(count);
            block
        }));
        if last || passed.is_err() {
            return;
        }
    }
}

impl Read for Stdin {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.current.len() {
            match self.blocks.recv_timeout(LOOK) {
                Ok(block) => (self.current, self.at) = (block?, 0),
                Err(RecvTimeoutError::Timeout) if self.cancel.is_requested() => {
                    return Err(io::Error::other("interrupted"));
                }
                Err(RecvTimeoutError::Timeout) => continue,
                // The end was reached before.
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
            }
            if self.current.is_empty() {
                return Ok(0);
            }
        }
        let count = into.len().min(self.current.len() - self.at);
        into[..count].copy_from_slice(&self.current[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}
