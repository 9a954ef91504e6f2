//! The client's end of a SPDY connection: streams that this side opens.
//!
//! Owns the driver, as `connection` does for the server's end, and the numbers of the streams. Streams that the peer
//! opens are refused: Kubernetes' servers open none.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::codec::FramedRead;

use super::connection::{Mux, OUT_QUEUE_FRAMES, STREAM_QUEUE_FRAMES};
use super::error::FrameError;
use super::frame::{Frame, FrameDecoder, ResetReason};
use super::headers::Headers;
use super::stream::{Abandoned, Arrival, Stream, ended};

/// Streams that are open at a time.
const STREAMS: usize = 512;

/// Where the frames of each stream go.
#[derive(Default)]
struct Streams(Mutex<HashMap<u32, mpsc::Sender<Arrival>>>);

impl Streams {
    fn lock(&self) -> MutexGuard<'_, HashMap<u32, mpsc::Sender<Arrival>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens streams. The driver closes the connection once this and all streams are dropped.
pub struct Opener {
    /// The number of the next stream; held until its opening is on the way, because numbers rise.
    next: tokio::sync::Mutex<u32>,
    slots: Arc<Semaphore>,
    streams: Arc<Streams>,
    frames: mpsc::Sender<Frame>,
    abandoned: mpsc::UnboundedSender<Abandoned>,
}

impl Opener {
    /// Opens a stream, and waits while there are too many.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn open(&self, headers: Headers) -> io::Result<Stream> {
        let permit = Arc::clone(&self.slots).acquire_owned().await.map_err(|_| ended())?;
        let mut next = self.next.lock().await;
        let id = *next;
        *next = id.checked_add(2).ok_or_else(ended)?;
        let (arrive, arrivals) = mpsc::channel(STREAM_QUEUE_FRAMES);
        {
            let mut streams = self.streams.lock();
            streams.retain(|_, stream| !stream.is_closed());
            streams.insert(id, arrive);
        }
        let opening = Frame::SynStream { id, fin: false, headers: headers.clone() };
        self.frames.send(opening).await.map_err(|_| ended())?;
        Ok(Stream::new(id, headers, arrivals, self.frames.clone(), self.abandoned.clone(), permit))
    }
}

/// Starts SPDY over `io` as a client; the future is the driver and ends with the connection.
pub fn connect<T>(io: T) -> (Opener, impl Future<Output = Result<(), FrameError>>)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (frames, to_write) = mpsc::channel(OUT_QUEUE_FRAMES);
    let (abandoned, to_reset) = mpsc::unbounded_channel();
    let streams = Arc::new(Streams::default());
    let answers = frames.downgrade();
    let opener = Opener {
        next: tokio::sync::Mutex::new(1),
        slots: Arc::new(Semaphore::new(STREAMS)),
        streams: Arc::clone(&streams),
        frames,
        abandoned,
    };
    let driver = async move {
        let (reader, mut writer) = tokio::io::split(io);
        let mut frames = FramedRead::new(reader, FrameDecoder::default());
        let mut mux = Mux { to_write, to_reset };
        let ended = tokio::select! {
            read = receive(&mut frames, &streams, &answers) => read,
            written = mux.write(&mut writer) => written,
        };
        // Whoever still reads learns that the connection has ended.
        streams.lock().clear();
        ended
    };
    (opener, driver)
}

async fn receive<R: AsyncRead + Unpin>(
    frames: &mut FramedRead<R, FrameDecoder>,
    streams: &Streams,
    answers: &mpsc::WeakSender<Frame>,
) -> Result<(), FrameError> {
    let say = async |frame| {
        if let Some(frames) = answers.upgrade() {
            // A closed queue means that the connection is closing already.
            drop(frames.send(frame).await);
        }
    };
    while let Some(frame) = frames.next().await {
        match frame? {
            Frame::Data { id, fin, bytes } => {
                let Some(stream) = streams.lock().get(&id).cloned() else { continue };
                let mut gone = !bytes.is_empty() && stream.send(Arrival::Bytes(bytes)).await.is_err();
                if fin && !gone {
                    drop(stream.send(Arrival::Fin).await);
                    gone = true;
                }
                if gone {
                    streams.lock().remove(&id);
                }
            }
            Frame::Reset { id, .. } => drop(streams.lock().remove(&id)),
            Frame::SynStream { id, .. } => {
                say(Frame::Reset { id, reason: ResetReason::RefusedStream as u32 }).await;
            }
            Frame::Ping(id) if id % 2 == 0 => say(Frame::Ping(id)).await,
            Frame::Ping(_) | Frame::GoAway { .. } | Frame::SynReply { .. } | Frame::Ignored => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::{Limits, accept};
    use super::*;

    fn headers(name: &str) -> Headers {
        Headers(vec![("name".to_owned(), name.to_owned())])
    }

    #[tokio::test]
    async fn streams_are_opened_in_order_and_end_half_by_half() {
        let (near, far) = tokio::io::duplex(4096);
        let (mut server, served) = accept(far, Limits { streams: 10 });
        let (opener, driver) = connect(near);
        let serve = async {
            for expected in ["a", "b"] {
                let mut stream = server.next_stream().await.expect("a stream");
                assert_eq!(stream.header("name"), Some(expected));
                stream.accept().await.expect("accepted");
                let mut text = String::new();
                stream.read_to_string(&mut text).await.expect("read to its end");
                stream.write_all(text.to_uppercase().as_bytes()).await.expect("written");
                stream.shutdown().await.expect("closed");
            }
            drop(server);
        };
        let ask = async {
            for name in ["a", "b"] {
                let mut stream = opener.open(headers(name)).await.expect("opened");
                stream.write_all(b"hello").await.expect("written");
                stream.shutdown().await.expect("closed");
                let mut text = String::new();
                stream.read_to_string(&mut text).await.expect("read to its end");
                assert_eq!(text, "HELLO");
            }
            drop(opener);
        };
        let (served, driven, (), ()) = tokio::join!(served, driver, serve, ask);
        served.and(driven).expect("an end without a fault");
    }

    #[tokio::test]
    async fn streams_end_with_their_connection() {
        let (near, far) = tokio::io::duplex(4096);
        let (opener, driver) = connect(near);
        let ask = async {
            let mut stream = opener.open(headers("a")).await.expect("opened");
            drop(far);
            stream.read_u8().await.expect_err("the connection is gone").kind()
        };
        let (_, kind) = tokio::join!(driver, ask);
        assert_eq!(kind, io::ErrorKind::ConnectionReset);
    }
}
