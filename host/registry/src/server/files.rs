//! A connection that sends files: where it is given bytes that stand for a part of a file, the kernel sends that part.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use crate::http::kernel::{Outgoing, stands_in};

/// A connection, and what it is to send of files.
pub(super) struct FileSender {
    stream: TcpStream,
    outgoing: Outgoing,
}

impl FileSender {
    pub(super) fn new(stream: TcpStream, outgoing: Outgoing) -> FileSender {
        FileSender { stream, outgoing }
    }

    fn poll_send(&self, context: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(context))?;
            let send = || self.outgoing.send(&self.stream, most);
            match self.stream.try_io(Interest::WRITABLE, send) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
        }
    }
}

impl AsyncRead for FileSender {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for FileSender {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match stands_in(bytes) {
            true => self.poll_send(context, bytes.len()),
            false => Pin::new(&mut self.stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let before = slices.iter().take_while(|slice| !stands_in(slice)).count();
        match slices.get(before) {
            Some(part) if slices[..before].iter().all(|slice| slice.is_empty()) => {
                self.poll_send(context, part.len())
            }
            _ => Pin::new(&mut self.stream).poll_write_vectored(context, &slices[..before]),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Everything was written by now. If a part was not, other bytes went out in its place, and this connection cannot go on.
        if !self.outgoing.is_empty() {
            return Poll::Ready(Err(io::Error::other("a part of a file was not sent")));
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::limits;

    /// Two ends of a connection.
    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(connecting, listener.accept());
        (client.unwrap(), accepted.unwrap().0)
    }

    #[tokio::test]
    async fn files_and_bytes_come_in_order_through_a_socket_that_fills_up() {
        let content: Vec<u8> = (0..3_000_000_u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8)
            .collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        let file = Arc::new(file);
        let outgoing = Outgoing::default();
        let (mut client, server) = pair().await;
        let mut server = FileSender::new(server, outgoing.clone());
        let sending = async {
            let mut wanted = Vec::new();
            let mut position = 0;
            for piece in content.chunks(limits::SENT_BY_KERNEL) {
                let part = outgoing.stand_in(&file, position, piece.len());
                let (head, tail) = (b"head".as_slice(), b"tail".as_slice());
                let mut left: Vec<&[u8]> = vec![head, &part[..], tail];
                while !left.is_empty() {
                    let slices: Vec<_> = left.iter().map(|bytes| io::IoSlice::new(bytes)).collect();
                    let mut written = server.write_vectored(&slices).await.unwrap();
                    while written > 0 {
                        let taken = written.min(left[0].len());
                        left[0] = &left[0][taken..];
                        written -= taken;
                        if left[0].is_empty() {
                            left.remove(0);
                        }
                    }
                }
                server.flush().await.unwrap();
                position += piece.len() as u64;
                wanted.extend([head, piece, tail].concat());
            }
            server.shutdown().await.unwrap();
            wanted
        };
        let mut came = Vec::new();
        let (wanted, read) = tokio::join!(sending, client.read_to_end(&mut came));
        read.unwrap();
        assert!(came == wanted);
    }

    #[tokio::test]
    async fn other_bytes_in_place_of_a_part_end_the_connection() {
        let outgoing = Outgoing::default();
        let (_client, server) = pair().await;
        let mut server = FileSender::new(server, outgoing.clone());
        let part = outgoing.stand_in(&Arc::new(tempfile::tempfile().unwrap()), 0, 10);
        let copied = part.to_vec();
        server.write_all(&copied).await.unwrap();
        server.flush().await.unwrap_err();
    }
}
