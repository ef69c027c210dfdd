//! Bars on a terminal: one for the layer at work, lines above it for those that are done.

mod blobs;

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::arguments::Progress;

pub(crate) use blobs::BlobBars;

/// How often a bar is drawn.
const REFRESH: Duration = Duration::from_millis(100);

/// Bars on stderr, or nothing.
#[derive(Debug)]
pub(crate) struct Bars {
    shown: bool,
}

impl Bars {
    pub(crate) fn new(how: Progress) -> Bars {
        let shown = match how {
            Progress::Auto => std::io::stderr().is_terminal(),
            Progress::Bar => true,
            Progress::None => false,
        };
        Bars { shown }
    }

    /// A bar of `total` bytes that follows a counter until it is dropped. A total of `None` is not known.
    pub(crate) fn follow(&self, label: &str, total: Option<u64>, counter: &Arc<AtomicU64>) -> Follower {
        if !self.shown {
            return Follower { stop: None };
        }
        let bar = match total {
            Some(total) => ProgressBar::new(total).with_style(style(
                "{msg} {wide_bar} {decimal_bytes} of {decimal_total_bytes}  {decimal_bytes_per_sec}  {eta}",
            )),
            None => ProgressBar::no_length()
                .with_style(style("{msg} {spinner} {decimal_bytes}  {decimal_bytes_per_sec}")),
        };
        bar.set_draw_target(ProgressDrawTarget::stderr());
        bar.set_message(label.to_owned());
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let counter = Arc::clone(counter);
        let thread = std::thread::spawn(move || {
            // A job shorter than one refresh never shows a bar.
            while let Err(std::sync::mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(REFRESH) {
                bar.set_position(counter.load(Ordering::Relaxed));
            }
            bar.finish_and_clear();
        });
        Follower {
            stop: Some((stop, thread)),
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A bar on its way; dropping it takes it off the terminal.
#[derive(Debug)]
pub(crate) struct Follower {
    stop: Option<(std::sync::mpsc::Sender<()>, std::thread::JoinHandle<()>)>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.stop.take() {
            drop(stop);
            drop(thread.join());
        }
    }
}
