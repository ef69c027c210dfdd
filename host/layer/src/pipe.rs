//! The bounded pipes between stages: [`Output`] at one end, one or more [`Input`]s at the other.
//!
//! Chunks are shared, never copied: with two readers (hash and apply) both see the same memory. The writer waits
//! while any reader is [`PIPE_CHUNKS`](crate::limits::PIPE_CHUNKS) behind, so a layer's memory is bounded whatever
//! its size. An end that was not announced means that the writer failed: readers get [`StageError::Upstream`], never
//! a short stream that looks whole.

use std::io::{self, BufRead, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, Bytes, BytesMut};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::buffer::{Buffer, Pool};
use crate::cancel::Cancel;
use crate::limits::{OutputLimits, PIPE_CHUNKS, RATIO_FREE_BYTES};
use crate::stage::StageError;
use crate::tar::{ChunkSource, SourceError, TarSink};

enum Message {
    Chunk(Bytes),
    End,
}

/// What an [`Output`] checks before it passes a chunk on.
#[derive(Clone, Debug)]
pub struct Guard {
    /// The request to stop.
    pub cancel: Cancel,
    /// What the layer may put out.
    pub limits: OutputLimits,
    /// The blob's size in bytes, against which the ratio is held.
    pub blob_size: u64,
}

/// Somebody who reads a pipe, but has not begun to.
pub(crate) trait Start: Send + Sync {
    /// Begins, if that was not yet done.
    fn start(&self);
}

/// A pipe with `readers` reading ends, each of which sees every chunk.
pub fn pipe(readers: usize, guard: Guard, pool: Pool) -> (Output, Vec<Input>) {
    pipe_of(PIPE_CHUNKS, readers, guard, pool)
}

/// The same with room for so many chunks.
pub(crate) fn pipe_of(chunks: usize, readers: usize, guard: Guard, pool: Pool) -> (Output, Vec<Input>) {
    let (senders, inputs): (Vec<_>, Vec<_>) = (0..readers)
        .map(|_| {
            let (sender, receiver) = bounded(chunks);
            (sender, Input::new(receiver, guard.cancel.clone()))
        })
        .unzip();
    let output = Output {
        senders,
        starts: Vec::new(),
        guard,
        pool,
        partial: None,
        sent: Arc::default(),
    };
    (output, inputs)
}

/// The reading end of a pipe.
#[derive(Debug)]
pub struct Input {
    receiver: Receiver<Message>,
    cancel: Cancel,
    current: Bytes,
    ended: bool,
    received: u64,
}

impl Input {
    fn new(receiver: Receiver<Message>, cancel: Cancel) -> Input {
        Input {
            receiver,
            cancel,
            current: Bytes::new(),
            ended: false,
            received: 0,
        }
    }

    /// The next bytes, in whatever portion they come; `None` at the end.
    pub fn next_chunk(&mut self) -> Result<Option<Bytes>, StageError> {
        if self.current.has_remaining() {
            return Ok(Some(std::mem::take(&mut self.current)));
        }
        if self.ended {
            return Ok(None);
        }
        if self.cancel.is_requested() {
            return Err(StageError::Cancelled);
        }
        match self.receiver.recv() {
            Ok(Message::Chunk(chunk)) => {
                self.received += chunk.len() as u64;
                Ok(Some(chunk))
            }
            Ok(Message::End) => {
                self.ended = true;
                Ok(None)
            }
            Err(_) if self.cancel.is_requested() => Err(StageError::Cancelled),
            Err(_) => Err(StageError::Upstream),
        }
    }

    /// The next bytes, `max` at most; empty only at the end.
    pub fn read_up_to(&mut self, max: usize) -> Result<Bytes, StageError> {
        self.fill()?;
        let count = max.min(self.current.len());
        Ok(self.current.split_to(count))
    }

    /// The first `count` bytes without consuming them; fewer only if the stream is shorter.
    pub fn peek(&mut self, count: usize) -> Result<&[u8], StageError> {
        self.fill()?;
        while self.current.len() < count {
            let held = std::mem::take(&mut self.current);
            let Some(next) = self.next_chunk()? else {
                self.current = held;
                break;
            };
            let mut joined = BytesMut::with_capacity(held.len() + next.len());
            joined.extend_from_slice(&held);
            joined.extend_from_slice(&next);
            self.current = joined.freeze();
        }
        Ok(&self.current[..count.min(self.current.len())])
    }

    /// Bytes handed out so far.
    pub fn consumed(&self) -> u64 {
        self.received - self.current.len() as u64
    }

    /// Reads to the end and forgets what comes.
    pub fn drain(&mut self) -> Result<(), StageError> {
        while self.next_chunk()?.is_some() {}
        Ok(())
    }

    fn fill(&mut self) -> Result<(), StageError> {
        while self.current.is_empty() {
            match self.next_chunk()? {
                Some(chunk) => self.current = chunk,
                None => break,
            }
        }
        Ok(())
    }
}

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.fill()?;
        let count = into.len().min(self.current.len());
        into[..count].copy_from_slice(&self.current[..count]);
        self.current.advance(count);
        Ok(count)
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.fill()?;
        Ok(&self.current)
    }

    fn consume(&mut self, count: usize) {
        self.current.advance(count);
    }
}

impl ChunkSource for Input {
    fn next_chunk(&mut self) -> Result<Option<Bytes>, SourceError> {
        Input::next_chunk(self).map_err(SourceError::new)
    }
}

/// The writing end of a pipe.
pub struct Output {
    senders: Vec<Sender<Message>>,
    starts: Vec<Arc<dyn Start>>,
    guard: Guard,
    pool: Pool,
    partial: Option<Buffer>,
    sent: Arc<AtomicU64>,
}

impl Output {
    /// Passes a chunk on without copying it, after whatever was written before.
    pub fn send(&mut self, chunk: Bytes) -> Result<(), StageError> {
        self.send_partial()?;
        self.pass(chunk)
    }

    /// Lets `fill` write straight into the next chunk until it is full or `fill` returns 0, which means the end of
    /// its data. Returns whether the end was reached. This is how a decoder writes without a copy.
    pub fn fill_chunk(&mut self, mut fill: impl FnMut(&mut [u8]) -> io::Result<usize>) -> io::Result<bool> {
        let mut buffer = self.partial.take().unwrap_or_else(|| self.pool.take());
        while !buffer.is_full() {
            let count = match fill(buffer.spare()) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if count == 0 {
                self.partial = Some(buffer);
                self.send_partial()?;
                return Ok(true);
            }
            buffer.advance(count);
        }
        self.pass(buffer.freeze())?;
        Ok(false)
    }

    /// Lets `fill` write straight into the next chunk, once, and answers how much it did. The chunk is passed on when it is
    /// full, so that all but the last have [`CHUNK_BYTES`](crate::limits::CHUNK_BYTES) whatever the pieces were.
    pub fn fill_once(&mut self, fill: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
        let mut buffer = self.partial.take().unwrap_or_else(|| self.pool.take());
        let filled = fill(buffer.spare());
        buffer.advance(*filled.as_ref().unwrap_or(&0));
        if buffer.is_full() {
            self.pass(buffer.freeze())?;
        } else {
            self.partial = Some(buffer);
        }
        filled
    }

    /// Starts these readers when the pipe is full; before that they need not be at work.
    pub(crate) fn start_when_full(&mut self, starts: Vec<Arc<dyn Start>>) {
        self.starts = starts;
    }

    /// A counter of the bytes passed on, for progress; it can be read while the stage runs.
    pub fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.sent)
    }

    /// Announces the end. Only the pump calls it, when the stage has returned without an error.
    pub(crate) fn finish(mut self) -> Result<(), StageError> {
        self.send_partial()?;
        (0..self.senders.len()).try_for_each(|reader| self.give(reader, Message::End))
    }

    fn send_partial(&mut self) -> Result<(), StageError> {
        match self.partial.take() {
            Some(buffer) if !buffer.is_empty() => self.pass(buffer.freeze()),
            _ => Ok(()),
        }
    }

    fn pass(&mut self, chunk: Bytes) -> Result<(), StageError> {
        if chunk.is_empty() {
            return Ok(());
        }
        if self.guard.cancel.is_requested() {
            return Err(StageError::Cancelled);
        }
        let sent = self.sent.load(Ordering::Relaxed) + chunk.len() as u64;
        self.guard.check(sent)?;
        if let Some(last) = self.senders.len().checked_sub(1) {
            (0..last).try_for_each(|reader| self.give(reader, Message::Chunk(chunk.clone())))?;
            self.give(last, Message::Chunk(chunk))?;
        }
        self.sent.store(sent, Ordering::Relaxed);
        Ok(())
    }

    /// Waits while there is no room; then nobody may sleep who could make some.
    fn give(&mut self, reader: usize, message: Message) -> Result<(), StageError> {
        match self.senders[reader].try_send(message) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(message)) => {
                self.starts.drain(..).for_each(|reader| reader.start());
                self.senders[reader].send(message).map_err(|_| self.closed())
            }
            Err(TrySendError::Disconnected(_)) => Err(self.closed()),
        }
    }

    fn closed(&self) -> StageError {
        if self.guard.cancel.is_requested() {
            StageError::Cancelled
        } else {
            StageError::Downstream
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut buffer = self.partial.take().unwrap_or_else(|| self.pool.take());
        let count = buffer.fill_from(bytes);
        if buffer.is_full() {
            self.pass(buffer.freeze())?;
        } else {
            self.partial = Some(buffer);
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(self.send_partial()?)
    }
}

impl TarSink for Output {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn fill(&mut self, fill: &mut dyn FnMut(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
        self.fill_once(fill)
    }
}

impl Guard {
    fn check(&self, sent: u64) -> Result<(), StageError> {
        if sent > self.limits.bytes {
            return Err(StageError::OutputLimit {
                limit: self.limits.bytes,
            });
        }
        let allowed = self.limits.ratio.saturating_mul(self.blob_size);
        if sent > RATIO_FREE_BYTES && sent > allowed {
            return Err(StageError::RatioLimit {
                limit: self.limits.ratio,
                output: sent,
                blob: self.blob_size,
            });
        }
        Ok(())
    }
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output")
            .field("readers", &self.senders.len())
            .field("sent", &self.sent)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Message::Chunk(chunk) => write!(f, "Chunk({} bytes)", chunk.len()),
            Message::End => f.write_str("End"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        Guard {
            cancel: Cancel::new(),
            limits: OutputLimits::default(),
            blob_size: 1,
        }
    }

    fn one(guard: Guard) -> (Output, Input) {
        let (output, mut inputs) = pipe(1, guard, Pool::new());
        (output, inputs.remove(0))
    }

    #[test]
    fn every_reader_sees_the_same_memory() {
        let (mut output, mut inputs) = pipe(2, guard(), Pool::new());
        output.write_all(b"abc").unwrap();
        output.send(Bytes::from_static(b"def")).unwrap();
        output.finish().unwrap();
        let mut addresses = Vec::new();
        for input in &mut inputs {
            let first = input.next_chunk().unwrap().unwrap();
            assert_eq!(&first[..], b"abc");
            addresses.push(first.as_ptr());
            let mut rest = String::new();
            input.read_to_string(&mut rest).unwrap();
            assert_eq!((rest.as_str(), input.consumed()), ("def", 6));
        }
        assert_eq!(addresses[0], addresses[1]);
    }

    #[test]
    fn an_end_that_was_not_announced_is_a_failure() {
        let (mut output, mut input) = one(guard());
        output.write_all(b"half").unwrap();
        output.flush().unwrap();
        drop(output);
        assert_eq!(input.read_up_to(2).unwrap(), "ha");
        assert_eq!(
            input.peek(9).map(<[u8]>::to_vec).unwrap_err().to_string(),
            StageError::Upstream.to_string()
        );
    }

    #[test]
    fn a_reader_that_left_stops_the_writer() {
        let (mut output, input) = one(guard());
        drop(input);
        assert!(matches!(
            output.send(Bytes::from_static(b"x")),
            Err(StageError::Downstream)
        ));
    }

    #[test]
    fn peek_joins_chunks_and_consumes_nothing() {
        let (mut output, mut input) = one(guard());
        for chunk in [&b"a"[..], b"b", b"cd"] {
            output.send(Bytes::from_static(chunk)).unwrap();
        }
        output.finish().unwrap();
        assert_eq!(input.peek(3).unwrap(), b"abc");
        assert_eq!(input.peek(8).unwrap(), b"abcd");
        assert_eq!(input.consumed(), 0);
        assert_eq!(input.next_chunk().unwrap().unwrap(), "abcd");
        assert!(input.next_chunk().unwrap().is_none() && input.peek(1).unwrap().is_empty());
    }

    #[test]
    fn limits_hold_for_size_and_ratio() {
        let limits = OutputLimits { bytes: 10, ratio: 2 };
        let (mut output, _input) = one(Guard { limits, ..guard() });
        output.send(Bytes::from_static(b"0123456789")).unwrap();
        assert!(matches!(
            output.send(Bytes::from_static(b"x")),
            Err(StageError::OutputLimit { limit: 10 })
        ));
        let guard = Guard {
            blob_size: RATIO_FREE_BYTES / 2,
            ..guard()
        };
        assert!(guard.check(2 * RATIO_FREE_BYTES).is_ok());
        let guard = Guard {
            blob_size: 10,
            ..guard
        };
        assert!(guard.check(RATIO_FREE_BYTES).is_ok());
        assert!(matches!(
            guard.check(RATIO_FREE_BYTES + 1),
            Err(StageError::RatioLimit { .. })
        ));
    }

    #[test]
    fn cancelling_ends_both_ends() {
        let (mut output, mut input) = one(guard());
        output.guard.cancel.cancel();
        assert!(matches!(
            output.send(Bytes::from_static(b"x")),
            Err(StageError::Cancelled)
        ));
        assert!(matches!(input.next_chunk(), Err(StageError::Cancelled)));
    }
}
