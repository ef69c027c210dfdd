//! Ctrl-C: the first one asks the job to stop and clean up, the second one ends the program.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
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
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag unset, sets it and is delivered; the second one ends the process.
            signal_hook::flag::register_conditional_shutdown(signal, 128 + SIGINT, Arc::clone(&again))
                .map_err(failed)?;
            signal_hook::flag::register(signal, Arc::clone(&again)).map_err(failed)?;
        }
        let cancel = Cancel::new();
        let asked = cancel.clone();
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
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

    /// For loops that ask whether to go on.
    pub(crate) fn flow(&self) -> ControlFlow<()> {
        if self.is_requested() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}
