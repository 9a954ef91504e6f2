use tokio::io::DuplexStream;
use tokio_util::codec::Framed;

use super::*;

/// A peer that speaks frames; both directions on one codec.
struct Peer {
    io: Framed<DuplexStream, PeerCodec>,
}

#[derive(Default)]
struct PeerCodec(FrameDecoder, FrameEncoder);

impl tokio_util::codec::Decoder for PeerCodec {
    type Item = Frame;
    type Error = FrameError;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        self.0.decode(src)
    }
}

impl Encoder<Frame> for PeerCodec {
    type Error = FrameError;

    fn encode(&mut self, frame: Frame, dst: &mut BytesMut) -> Result<(), FrameError> {
        self.1.encode(frame, dst)
    }
}

impl Peer {
    async fn send(&mut self, frame: Frame) -> Result<(), FrameError> {
        futures::SinkExt::send(&mut self.io, frame).await
    }

    async fn syn(&mut self, id: u32) -> Result<(), FrameError> {
        self.send(Frame::SynStream { id, fin: false, headers: Headers(vec![("n".into(), id.to_string())]) })
            .await
    }

    async fn data(&mut self, id: u32, bytes: &'static [u8], fin: bool) -> Result<(), FrameError> {
        self.send(Frame::Data { id, fin, bytes: bytes.into() }).await
    }

    async fn receive(&mut self) -> Option<Result<Frame, FrameError>> {
        self.io.next().await
    }
}

fn pair(streams: usize) -> (Peer, Connection, impl Future<Output = Result<(), FrameError>>) {
    let (ours, theirs) = tokio::io::duplex(4096);
    let (connection, driver) = accept(ours, Limits { streams });
    (Peer { io: Framed::new(theirs, PeerCodec::default()) }, connection, driver)
}

#[tokio::test]
async fn a_stream_echoes_and_closes_half_by_half() -> Result<(), FrameError> {
    let (mut peer, mut connection, driver) = pair(10);
    let user = async {
        let mut stream = connection.next_stream().await.ok_or(FrameError::Malformed("no stream"))?;
        assert_eq!(stream.header("n"), Some("1"));
        stream.accept().await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        stream.write_all(text.as_bytes()).await?;
        stream.shutdown().await?;
        drop((stream, connection));
        Ok::<_, FrameError>(())
    };
    let client = async {
        peer.send(Frame::Ping(7)).await?;
        peer.syn(1).await?;
        peer.data(1, b"he", false).await?;
        peer.data(1, b"llo", true).await?;
        let mut seen = Vec::new();
        while let Some(frame) = peer.receive().await {
            seen.push(frame?);
        }
        drop(peer);
        Ok::<_, FrameError>(seen)
    };
    let (user, seen, driven) = tokio::join!(user, client, driver);
    user?;
    driven?;
    let data = |bytes: &'static [u8], fin| Frame::Data { id: 1, fin, bytes: bytes.into() };
    assert_eq!(
        seen?,
        [
            Frame::Ping(7),
            Frame::SynReply { id: 1, headers: Headers::default() },
            data(b"hello", false),
            data(b"", true),
            Frame::GoAway { last_id: 0, reason: 0 },
        ]
    );
    Ok(())
}

#[tokio::test]
async fn streams_over_the_limit_are_refused_and_a_dropped_one_is_reset() -> Result<(), FrameError> {
    let (mut peer, mut connection, driver) = pair(1);
    let test = async {
        peer.syn(1).await?;
        let first = connection.next_stream().await;
        peer.syn(3).await?;
        assert_eq!(peer.receive().await.transpose()?, Some(Frame::Reset { id: 3, reason: 3 }));
        drop(first);
        assert_eq!(peer.receive().await.transpose()?, Some(Frame::Reset { id: 1, reason: 5 }));
        peer.data(1, b"late", false).await?;
        peer.syn(5).await?;
        let mut third = connection.next_stream().await.ok_or(FrameError::Malformed("no stream"))?;
        assert_eq!(third.id(), 5);
        // The peer's reset is no clean end.
        peer.send(Frame::Reset { id: 5, reason: 5 }).await?;
        assert!(third.read_u8().await.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset));
        drop((peer, third, connection));
        Ok::<_, FrameError>(())
    };
    let (tested, driven) = tokio::join!(test, driver);
    tested?;
    // The peer hung up while there was still something to say.
    drop(driven);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_rests_stops_the_writer() -> Result<(), FrameError> {
    let (mut peer, mut connection, driver) = pair(2);
    let test = async {
        peer.syn(1).await?;
        let mut stream = connection.next_stream().await.ok_or(FrameError::Malformed("no stream"))?;
        static CHUNK: [u8; 8192] = [7; 8192];
        let mut sent = 0;
        while let Ok(result) =
            tokio::time::timeout(Duration::from_millis(50), peer.data(1, &CHUNK, false)).await
        {
            result?;
            sent += 1;
            assert!(sent < 100, "what nobody reads must not pile up");
        }
        let mut buffer = vec![0; CHUNK.len() * sent];
        stream.read_exact(&mut buffer).await?;
        Ok::<_, FrameError>(())
    };
    tokio::select! {
        tested = test => tested,
        driven = driver => driven.and(Err(FrameError::Malformed("the driver ended early"))),
    }
}

#[tokio::test]
async fn stream_ids_must_rise() -> Result<(), FrameError> {
    for ids in [[3, 1], [1, 1], [1, 2]] {
        let (mut peer, mut connection, driver) = pair(10);
        let client = async {
            for id in ids {
                peer.syn(id).await?;
            }
            Ok::<_, FrameError>(peer)
        };
        let user = async { while connection.next_stream().await.is_some() {} };
        let (driven, client, ()) = tokio::join!(driver, client, user);
        assert!(matches!(driven, Err(FrameError::Malformed(_))));
        client?;
    }
    Ok(())
}
