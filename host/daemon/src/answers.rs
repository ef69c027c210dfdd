//! Answers of many messages: a task that makes them, a bounded queue, and an end that the client can tell from a failure.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{self, Context, Poll};

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::Instrument;

/// What the client is sent, one by one.
pub type Answers<T> = ReceiverStream<Result<T, Status>>;

/// Where the task puts the messages.
pub type Sink<T> = mpsc::Sender<Result<T, Status>>;

/// Runs `work` in a task. `ahead` messages are made before the client has taken the last one. An error of `work`, or its panic,
/// is the last message.
pub fn answers<T, W, F>(ahead: usize, work: W) -> Answers<T>
where
    T: Send + 'static,
    W: FnOnce(Sink<T>) -> F,
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    let (sink, messages) = mpsc::channel(ahead.max(1));
    let work = Caught(Box::pin(work(sink.clone())));
    let task = async move {
        if let Err(status) = work.await {
            let _ = sink.send(Err(status)).await;
        }
    };
    tokio::spawn(task.in_current_span());
    ReceiverStream::new(messages)
}

/// An answer of at most one message, which is there already.
pub fn ready<T>(message: Option<T>) -> Answers<T> {
    let (sink, messages) = mpsc::channel(1);
    if let Some(message) = message {
        // The queue is empty, so this finds room.
        let _ = sink.try_send(Ok(message));
    }
    ReceiverStream::new(messages)
}

/// Sends a message. `false` if the client has gone.
pub async fn send<T>(sink: &Sink<T>, message: T) -> bool {
    sink.send(Ok(message)).await.is_ok()
}

/// A future whose panic becomes a status.
struct Caught<F>(Pin<Box<F>>);

impl<F: Future<Output = Result<(), Status>>> Future for Caught<F> {
    type Output = Result<(), Status>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(cx))) {
            Ok(polled) => Poll::Ready(task::ready!(polled)),
            Err(panic) => Poll::Ready(Err(panicked(&*panic))),
        }
    }
}

/// The status of a request that panicked; the log has why.
#[must_use]
pub fn panicked(panic: &(dyn Any + Send)) -> Status {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let panic = text.unwrap_or("of another type");
    tracing::error!(panic, "a request failed inside the daemon; please report it");
    Status::internal("the request failed inside the daemon, whose log says why: internal")
}

/// The status of a blocking task that ended without an answer.
#[must_use]
pub fn lost(error: tokio::task::JoinError) -> Status {
    match error.try_into_panic() {
        Ok(panic) => panicked(&*panic),
        Err(_) => Status::unavailable("the daemon is stopping: unavailable"),
    }
}
