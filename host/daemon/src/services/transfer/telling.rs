//! A client is told what happens in its transfer, without that the transfer waits for it.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use prost::Message;
use prost_types::Any;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use transom_api::transfer_types as api;
use transom_api::types::Descriptor;
use transom_transfer::{Progress, ProgressSink};

use super::super::streaming::Pipe;
use crate::limits;

/// Events on their way to a client, if one wants them.
pub(super) struct Telling {
    sink: Arc<dyn ProgressSink>,
    task: Option<JoinHandle<()>>,
}

/// Takes events. How many there are is limited by what a transfer may have; those that a later one makes worthless are
/// forgotten while the client is slow.
struct Queue {
    events: mpsc::UnboundedSender<Progress>,
    /// How many wait.
    waiting: Arc<AtomicUsize>,
}

impl ProgressSink for Queue {
    fn tell(&self, progress: Progress) {
        if progress.passing() && self.waiting.load(Relaxed) >= limits::STREAM_QUEUE {
            return;
        }
        self.waiting.fetch_add(1, Relaxed);
        let _ = self.events.send(progress);
    }
}

impl Telling {
    pub(super) fn nobody() -> Telling {
        Telling {
            sink: Arc::new(()),
            task: None,
        }
    }

    pub(super) fn to(pipe: Pipe) -> Telling {
        let (events, mut queue) = mpsc::unbounded_channel();
        let waiting = Arc::<AtomicUsize>::default();
        let sink = Queue {
            events,
            waiting: Arc::clone(&waiting),
        };
        let task = tokio::spawn(async move {
            while let Some(event) = queue.recv().await {
                waiting.fetch_sub(1, Relaxed);
                if pipe.outgoing.send(Ok(message(event))).await.is_err() {
                    return;
                }
            }
            pipe.end(limits::LAST_EVENTS).await;
        });
        Telling {
            sink: Arc::new(sink),
            task: Some(task),
        }
    }

    pub(super) fn sink(&self) -> Arc<dyn ProgressSink> {
        Arc::clone(&self.sink)
    }

    /// Waits until the client has been sent all events, for some time: it looks at them after it has the answer to its request.
    pub(super) async fn finish(mut self) {
        self.sink = Arc::new(());
        if let Some(task) = &mut self.task {
            let _ = tokio::time::timeout(limits::LAST_EVENTS, task).await;
        }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

fn message(progress: Progress) -> Any {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let message = api::Progress {
        event: progress.event.into_owned(),
        name: progress.name,
        parents: progress.parents,
        progress: number(progress.progress),
        total: number(progress.total),
        desc: progress.descriptor.map(|descriptor| Descriptor {
            media_type: descriptor.media_type,
            digest: descriptor.digest.to_string(),
            size: number(descriptor.size),
            annotations: descriptor.annotations,
        }),
    };
    Any {
        type_url: "containerd.types.transfer.Progress".to_owned(),
        value: message.encode_to_vec(),
    }
}
