//! A SPDY connection: streams the peer opens, multiplexed over one byte stream.
//!
//! Owns the driver, the only reader and writer of frames. The driver stops reading while a stream's buffer is
//! full: a stream whose user does not read blocks the other streams, as in the clients' own library,
//! which has no windows. Never opens a stream itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures::StreamExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::codec::{Encoder, FramedRead};

use super::error::FrameError;
use super::frame::{Frame, FrameDecoder, FrameEncoder, ResetReason};
use super::headers::Headers;
use super::stream::{Abandoned, Arrival, Stream};

/// Frames waiting to be written.
pub(super) const OUT_QUEUE_FRAMES: usize = 16;
/// Frames a stream buffers before the connection waits for its reader.
pub(super) const STREAM_QUEUE_FRAMES: usize = 16;
/// Bytes gathered for one write.
const WRITE_BATCH_BYTES: usize = 64 << 10;
/// How long the peer has to close the connection after the last frame.
const LINGER: Duration = Duration::from_secs(5);

/// The limits of one connection.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Streams open at a time; more are refused one by one.
    pub streams: usize,
}

/// The user's end of a connection. The driver closes the connection once this end and all streams are dropped.
pub struct Connection {
    incoming: mpsc::Receiver<Stream>,
}

impl Connection {
    /// The next stream the peer opens, or nothing once the connection has ended. Cancel safe.
    pub async fn next_stream(&mut self) -> Option<Stream> {
        self.incoming.recv().await
    }
}

/// Starts SPDY over `io`; the future is the driver and ends with the connection.
pub fn accept<T>(io: T, limits: Limits) -> (Connection, impl Future<Output = Result<(), FrameError>>)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (opened, incoming) = mpsc::channel(1);
    let (frames, to_write) = mpsc::channel(OUT_QUEUE_FRAMES);
    let (abandoned, to_reset) = mpsc::unbounded_channel();
    let demux = Demux {
        streams: HashMap::new(),
        last_id: 0,
        slots: Arc::new(Semaphore::new(limits.streams)),
        opened,
        frames: frames.downgrade(),
        abandoned: abandoned.downgrade(),
    };
    let driver = drive(io, demux, Mux { to_write, to_reset }, (frames, abandoned));
    (Connection { incoming }, driver)
}

type Senders = (mpsc::Sender<Frame>, mpsc::UnboundedSender<Abandoned>);

async fn drive<T>(io: T, mut demux: Demux, mut mux: Mux, senders: Senders) -> Result<(), FrameError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (reader, mut writer) = tokio::io::split(io);
    let mut frames = FramedRead::new(reader, FrameDecoder::default());
    // These keep the queues open until the user's end is dropped; streams have their own.
    let opened = demux.opened.clone();
    let user_left = async move {
        opened.closed().await;
        drop(senders);
    };
    let ended = {
        let reading = demux.read(&mut frames);
        let writing = async {
            let ((), written) = tokio::join!(user_left, mux.write(&mut writer));
            written
        };
        tokio::select! {
            read = reading => Some(read),
            written = writing => { written?; None }
        }
    };
    if let Some(read) = ended {
        return read;
    }
    // Closing with unread input would reset the connection and could destroy what was just sent.
    drop(demux);
    let mut rest = frames.into_inner();
    let mut sink = vec![0; 4096];
    let drain = async { while matches!(rest.read(&mut sink).await, Ok(n) if n > 0) {} };
    // The driver does not wait longer for the peer to close.
    drop(tokio::time::timeout(LINGER, drain).await);
    Ok(())
}

/// Passes each frame that arrives to its stream.
struct Demux {
    streams: HashMap<u32, mpsc::Sender<Arrival>>,
    last_id: u32,
    slots: Arc<Semaphore>,
    opened: mpsc::Sender<Stream>,
    frames: mpsc::WeakSender<Frame>,
    abandoned: mpsc::WeakUnboundedSender<Abandoned>,
}

impl Demux {
    async fn read<R: AsyncRead + Unpin>(
        &mut self,
        frames: &mut FramedRead<R, FrameDecoder>,
    ) -> Result<(), FrameError> {
        while let Some(frame) = frames.next().await {
            match frame? {
                Frame::SynStream { id, fin, headers } => self.open(id, fin, headers).await?,
                Frame::Data { id, fin, bytes } => self.deliver(id, fin, bytes).await,
                Frame::Reset { id, .. } => drop(self.streams.remove(&id)),
                // Odd numbers are the peer's own; even ones would answer pings, and none is sent here.
                Frame::Ping(id) if id % 2 == 1 => self.say(Frame::Ping(id)).await,
                Frame::Ping(_) | Frame::GoAway { .. } | Frame::SynReply { .. } | Frame::Ignored => {}
            }
        }
        Ok(())
    }

    async fn open(&mut self, id: u32, fin: bool, headers: Headers) -> Result<(), FrameError> {
        if id.is_multiple_of(2) || id <= self.last_id {
            return Err(FrameError::Malformed("stream id"));
        }
        self.last_id = id;
        self.streams.retain(|_, stream| !stream.is_closed());
        let senders = (self.frames.upgrade(), self.abandoned.upgrade());
        let (Ok(permit), (Some(frames), Some(abandoned))) =
            (Arc::clone(&self.slots).try_acquire_owned(), senders)
        else {
            self.say(Frame::Reset { id, reason: ResetReason::RefusedStream as u32 }).await;
            return Ok(());
        };
        let (arrive, arrivals) = mpsc::channel(STREAM_QUEUE_FRAMES);
        let stream = Stream::new(id, headers, arrivals, frames, abandoned, permit);
        if fin {
            // A new queue has room, and its receiver exists.
            drop(arrive.try_send(Arrival::Fin));
        } else {
            self.streams.insert(id, arrive);
        }
        // Without a user the stream is dropped, and so reset.
        drop(self.opened.send(stream).await);
        Ok(())
    }

    async fn deliver(&mut self, id: u32, fin: bool, bytes: bytes::Bytes) {
        // Data may cross with the reset of its stream: it is dropped.
        let Some(stream) = self.streams.get(&id) else { return };
        let mut gone = !bytes.is_empty() && stream.send(Arrival::Bytes(bytes)).await.is_err();
        if fin && !gone {
            drop(stream.send(Arrival::Fin).await);
            gone = true;
        }
        if gone {
            self.streams.remove(&id);
        }
    }

    async fn say(&self, frame: Frame) {
        if let Some(frames) = self.frames.upgrade() {
            // A closed queue means that the connection is closing already.
            drop(frames.send(frame).await);
        }
    }
}

/// Writes the frames of the streams.
pub(super) struct Mux {
    pub to_write: mpsc::Receiver<Frame>,
    pub to_reset: mpsc::UnboundedReceiver<Abandoned>,
}

impl Mux {
    pub async fn write<W: AsyncWrite + Unpin>(&mut self, writer: &mut W) -> Result<(), FrameError> {
        let mut encoder = FrameEncoder::default();
        let mut batch = BytesMut::with_capacity(WRITE_BATCH_BYTES);
        loop {
            tokio::select! {
                biased;
                // Queued frames first: a reset must not overtake its stream's data.
                Some(frame) = self.to_write.recv() => encoder.encode(frame, &mut batch)?,
                Some(stream) = self.to_reset.recv() => {
                    let frame = Frame::Reset { id: stream.id, reason: stream.reason as u32 };
                    encoder.encode(frame, &mut batch)?;
                }
                else => break,
            }
            while batch.len() < WRITE_BATCH_BYTES {
                match self.to_write.try_recv() {
                    Ok(frame) => encoder.encode(frame, &mut batch)?,
                    Err(_) => break,
                }
            }
            writer.write_all_buf(&mut batch).await?;
            writer.flush().await?;
        }
        encoder.encode(Frame::GoAway { last_id: 0, reason: 0 }, &mut batch)?;
        writer.write_all_buf(&mut batch).await?;
        Ok(writer.shutdown().await?)
    }
}

#[cfg(test)]
mod tests;
