//! The body of a request that is read while it is sent.

use std::fmt;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;
use transom_content::Blob;

use super::wire::Flow;
use crate::limits;

/// Something that can be uploaded, from any byte on and more than once: an upload that was cut goes on where the registry
/// says that it stands.
pub trait Upload: Send + Sync + fmt::Debug {
    /// The bytes from `offset` on. Called on a thread that may block.
    ///
    /// # Errors
    /// What the system says.
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + Send>>;
}

impl Upload for Bytes {
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let at = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        Ok(Box::new(io::Cursor::new(self.slice(at..))))
    }
}

impl Upload for std::path::PathBuf {
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        use std::io::Seek;
        let mut file = std::fs::File::open(self)?;
        file.seek(io::SeekFrom::Start(offset))?;
        Ok(Box::new(file))
    }
}

/// An open blob; a file that nobody changes.
impl Upload for Arc<Blob> {
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(From {
            blob: Arc::clone(self),
            offset,
        }))
    }
}

/// A blob from a byte on.
#[derive(Debug)]
struct From {
    blob: Arc<Blob>,
    offset: u64,
}

impl Read for From {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.blob.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// Why a body ended early; the connection's error alone does not tell.
pub(crate) type Fault = Arc<Mutex<Option<io::Error>>>;

/// A part of an upload on its way.
#[derive(Debug)]
pub(crate) struct Part {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
    flow: Arc<Flow>,
    fault: Fault,
}

impl Part {
    /// Starts to read `length` bytes from `offset` on. The reader stops when the part is dropped.
    pub(crate) fn start(source: Arc<dyn Upload>, offset: u64, length: u64) -> (Part, Arc<Flow>, Fault) {
        let (sender, chunks) = mpsc::channel(2);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = read(&*source, offset, length, &sender) {
                drop(sender.blocking_send(Err(error)));
            }
        });
        let (flow, fault) = (Arc::<Flow>::default(), Fault::default());
        let part = Part {
            chunks,
            left: length,
            flow: Arc::clone(&flow),
            fault: Arc::clone(&fault),
        };
        (part, flow, fault)
    }
}

fn read(
    source: &dyn Upload,
    offset: u64,
    length: u64,
    sender: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let mut reader = source.open(offset)?.take(length);
    let mut left = length;
    while left > 0 {
        let want = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(limits::UPLOAD_CHUNK);
        let mut chunk = vec![0; want];
        let mut filled = 0;
        while filled < want {
            match reader.read(&mut chunk[filled..]) {
                Ok(0) => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "it is shorter than its size",
                    ));
                }
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        left -= filled as u64;
        if sender.blocking_send(Ok(chunk.into())).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

impl Body for Part {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let chunk = match self.chunks.poll_recv(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(chunk) => chunk,
        };
        match chunk {
            None => Poll::Ready(None),
            Some(Ok(chunk)) => {
                self.left = self.left.saturating_sub(chunk.len() as u64);
                self.flow.add(chunk.len() as u64);
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
            Some(Err(error)) => {
                let told = io::Error::new(error.kind(), "what is uploaded cannot be read");
                let mut fault = self
                    .fault
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                *fault = Some(error);
                drop(fault);
                Poll::Ready(Some(Err(told)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
