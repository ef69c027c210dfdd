//! The body of an answer: text, parts of a file, parts of what a driver streams, in any order.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio_stream::Stream;
use transom_storage::Reader;

use super::file::FilePart;
use super::kernel::Outgoing;
use super::log::Ending;
use crate::Error;

/// Opens a part when it is its turn.
pub(super) type Opening = Pin<Box<dyn Future<Output = Result<Reader, Error>> + Send>>;

/// The body of an answer. Its length is known from the beginning.
#[derive(Default)]
pub struct Body {
    segments: VecDeque<Segment>,
    left: u64,
    ending: Option<Ending>,
    kernel: Option<Outgoing>,
}

enum Segment {
    Bytes(Bytes),
    File(FilePart),
    Stream { reader: Reader, left: u64 },
    Later { opening: Opening, length: u64 },
}

impl Body {
    /// No bytes.
    #[must_use]
    pub fn empty() -> Body {
        Body::default()
    }

    /// Bytes that are there.
    #[must_use]
    pub fn bytes(bytes: impl Into<Bytes>) -> Body {
        let mut body = Body::empty();
        body.push_bytes(bytes);
        body
    }

    pub(super) fn push_bytes(&mut self, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        if !bytes.is_empty() {
            self.left += bytes.len() as u64;
            self.segments.push_back(Segment::Bytes(bytes));
        }
    }

    /// The first bytes of a reader, `length` of them.
    pub(super) fn push_reader(&mut self, reader: Reader, length: u64) {
        self.left += length;
        self.segments.push_back(Segment::of(reader, length));
    }

    /// The same, of a reader that is opened when everything before it is sent.
    pub(super) fn push_later(&mut self, opening: Opening, length: u64) {
        self.left += length;
        self.segments.push_back(Segment::Later { opening, length });
    }

    /// The same, of a file that is open.
    pub(super) fn push_file(&mut self, part: FilePart) {
        self.left += part.left();
        self.segments.push_back(Segment::File(part));
    }

    /// How many bytes are still to be sent.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Says what is done when all is sent, or nothing more can be.
    pub(super) fn ends(&mut self, ending: Ending) {
        self.ending = Some(ending);
    }

    /// Has the kernel send what is in files, on a connection that knows how.
    pub(crate) fn send_files_by(&mut self, kernel: Outgoing) {
        self.kernel = Some(kernel);
    }

    fn poll_segment(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        while let Some(segment) = self.segments.front_mut() {
            let chunk = match segment {
                Segment::Bytes(bytes) => Some(Ok(std::mem::take(bytes))).filter(|_| self.left > 0),
                Segment::File(part) => ready!(part.poll(self.kernel.as_ref(), context)),
                Segment::Stream { reader, left } => ready!(poll_reader(reader, left, context)),
                Segment::Later { opening, length } => {
                    let length = *length;
                    match ready!(opening.as_mut().poll(context)) {
                        Ok(reader) => {
                            *segment = Segment::of(reader, length);
                            continue;
                        }
                        Err(error) => Some(Err(io::Error::other(error))),
                    }
                }
            };
            match chunk {
                Some(Ok(bytes)) if bytes.is_empty() => {}
                Some(chunk) => return Poll::Ready(Some(chunk)),
                None => {}
            }
            self.segments.pop_front();
        }
        Poll::Ready(None)
    }
}

impl Segment {
    fn of(reader: Reader, length: u64) -> Segment {
        match reader.into_file() {
            Ok(file) => Segment::File(FilePart::new(file.file.into(), file.offset, length)),
            Err(reader) => Segment::Stream { reader, left: length },
        }
    }
}

fn poll_reader(
    reader: &mut Reader,
    left: &mut u64,
    context: &mut Context<'_>,
) -> Poll<Option<io::Result<Bytes>>> {
    if *left == 0 {
        return Poll::Ready(None);
    }
    Poll::Ready(match ready!(Pin::new(reader).poll_next(context)) {
        Some(Ok(mut chunk)) => {
            chunk.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= chunk.len() as u64;
            Some(Ok(chunk))
        }
        Some(Err(error)) => Some(Err(io::Error::other(error))),
        None => Some(Err(io::ErrorKind::UnexpectedEof.into())),
    })
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let chunk = ready!(self.poll_segment(context));
        Poll::Ready(chunk.map(|chunk| match chunk {
            Ok(bytes) => {
                let length = bytes.len() as u64;
                self.left = self.left.saturating_sub(length);
                if let Some(ending) = &mut self.ending {
                    ending.sent(length);
                }
                Ok(Frame::data(bytes))
            }
            Err(error) => {
                tracing::warn!(%error, "an answer broke off");
                self.segments.clear();
                Err(error)
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}
