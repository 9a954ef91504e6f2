//! One SPDY stream: the headers of its opening, and bytes in both directions.
//!
//! Owns half-close: shutting down sends FIN, a FIN from the peer reads as the end. Dropping a stream
//! that was not shut down resets the stream. Never uses the socket: frames go to the connection's driver.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::PollSender;

use super::frame::{Frame, ResetReason};
use super::headers::Headers;

/// The most bytes one frame carries.
const CHUNK_BYTES: usize = 32 << 10;

/// What arrives on a stream.
#[derive(Debug)]
pub(super) enum Arrival {
    Bytes(Bytes),
    Fin,
}

/// A stream to be reset; the stream counts for the limit until the reset is written.
pub(super) struct Abandoned {
    pub id: u32,
    pub reason: ResetReason,
    pub _permit: Option<OwnedSemaphorePermit>,
}

/// A stream, whoever opened it.
pub struct Stream {
    id: u32,
    headers: Headers,
    arrivals: mpsc::Receiver<Arrival>,
    chunk: Bytes,
    read_ended: bool,
    frames: PollSender<Frame>,
    write_ended: bool,
    abandoned: mpsc::UnboundedSender<Abandoned>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Stream {
    pub(super) fn new(
        id: u32,
        headers: Headers,
        arrivals: mpsc::Receiver<Arrival>,
        frames: mpsc::Sender<Frame>,
        abandoned: mpsc::UnboundedSender<Abandoned>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            id,
            headers,
            arrivals,
            chunk: Bytes::new(),
            read_ended: false,
            frames: PollSender::new(frames),
            write_ended: false,
            abandoned,
            permit: Some(permit),
        }
    }

    pub fn id(&self) -> u32 {
        self.id
    }

    /// A header of the stream's opening, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// Accepts the stream. Errors: the connection has ended.
    pub async fn accept(&self) -> io::Result<()> {
        let reply = Frame::SynReply { id: self.id, headers: Headers::default() };
        match self.frames.get_ref() {
            Some(frames) => frames.send(reply).await.map_err(|_| ended()),
            None => Err(ended()),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.chunk.is_empty() && !self.read_ended {
            match ready!(self.arrivals.poll_recv(cx)) {
                Some(Arrival::Bytes(bytes)) => self.chunk = bytes,
                Some(Arrival::Fin) => self.read_ended = true,
                None => return Poll::Ready(Err(ended())),
            }
        }
        let n = self.chunk.len().min(buf.remaining());
        buf.put_slice(&self.chunk[..n]);
        self.chunk.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.write_ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        ready!(self.frames.poll_reserve(cx)).map_err(|_| ended())?;
        let n = buf.len().min(CHUNK_BYTES);
        let frame = Frame::Data { id: self.id, fin: false, bytes: Bytes::copy_from_slice(&buf[..n]) };
        self.frames.send_item(frame).map_err(|_| ended())?;
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.write_ended {
            ready!(self.frames.poll_reserve(cx)).map_err(|_| ended())?;
            let frame = Frame::Data { id: self.id, fin: true, bytes: Bytes::new() };
            self.frames.send_item(frame).map_err(|_| ended())?;
            self.write_ended = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.write_ended {
            let abandoned =
                Abandoned { id: self.id, reason: ResetReason::Cancel, _permit: self.permit.take() };
            // Without a driver the connection has ended, and so has the stream.
            drop(self.abandoned.send(abandoned));
        }
    }
}

pub(super) fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the stream was reset or its connection ended")
}
