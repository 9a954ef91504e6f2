//! A client that speaks SPDY as kubectl does: bursts of frames, no windows.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::codec::{Decoder, Encoder, Framed};

use super::Failure;
use crate::spdy::frame::{Frame, FrameDecoder, FrameEncoder};
use crate::spdy::{FrameError, Headers};

#[derive(Default)]
struct Codec(FrameDecoder, FrameEncoder);

impl Decoder for Codec {
    type Item = Frame;
    type Error = FrameError;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        self.0.decode(src)
    }
}

impl Encoder<Frame> for Codec {
    type Error = FrameError;

    fn encode(&mut self, frame: Frame, dst: &mut BytesMut) -> Result<(), FrameError> {
        self.1.encode(frame, dst)
    }
}

/// What a stream said, and whether it ended.
pub type Said = BTreeMap<u32, (Vec<u8>, bool)>;

pub struct SpdyClient<T> {
    io: Framed<T, Codec>,
    next_id: u32,
    early: Said,
}

impl SpdyClient<TcpStream> {
    pub async fn upgrade(mut socket: TcpStream, url: &str, protocol: &str) -> Result<Self, Failure> {
        let path = url.splitn(4, '/').nth(3).unwrap_or_default();
        let request = format!(
            "POST /{path} HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: SPDY/3.1\r\n\
             x-stream-protocol-version: {protocol}\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).to_lowercase();
        assert!(head.starts_with("http/1.1 101"), "{head}");
        assert!(head.contains(&format!("x-stream-protocol-version: {protocol}")), "{head}");
        Ok(Self::over(socket))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> SpdyClient<T> {
    pub fn over(io: T) -> Self {
        Self { io: Framed::new(io, Codec::default()), next_id: 1, early: Said::new() }
    }

    async fn open(&mut self, headers: &[(&str, &str)]) -> Result<u32, Failure> {
        let id = self.next_id;
        self.next_id += 2;
        let headers = Headers(headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect());
        self.io.send(Frame::SynStream { id, fin: false, headers }).await?;
        loop {
            match self.io.next().await.ok_or("ended early")?? {
                Frame::SynReply { id: replied, .. } if replied == id => return Ok(id),
                Frame::Data { id, fin, bytes } => note(&mut self.early, id, fin, &bytes),
                other => return Err(format!("unexpected {other:?}").into()),
            }
        }
    }

    /// Opens the streams of a command, waiting for each answer; answers their ids by type.
    pub async fn open_all<'a>(&mut self, types: &[&'a str]) -> Result<BTreeMap<&'a str, u32>, Failure> {
        let mut ids = BTreeMap::new();
        for name in types {
            ids.insert(*name, self.open(&[("streamtype", name)]).await?);
        }
        Ok(ids)
    }

    /// Opens the error and data streams of one forwarded connection.
    pub async fn open_pair(&mut self, request: &str, port: &str) -> Result<(u32, u32), Failure> {
        let error = self.open(&[("streamtype", "error"), ("port", port), ("requestid", request)]).await?;
        let data = self.open(&[("streamtype", "data"), ("port", port), ("requestid", request)]).await?;
        Ok((error, data))
    }

    pub async fn data(&mut self, id: u32, bytes: &'static [u8], fin: bool) -> Result<(), Failure> {
        Ok(self.io.send(Frame::Data { id, fin, bytes: Bytes::from_static(bytes) }).await?)
    }

    /// Everything said until the server hangs up.
    pub async fn collect(mut self) -> Result<Said, Failure> {
        let mut said = std::mem::take(&mut self.early);
        while let Some(frame) = self.io.next().await {
            if let Frame::Data { id, fin, bytes } = frame? {
                note(&mut said, id, fin, &bytes);
            }
        }
        Ok(said)
    }

    /// Everything said until all of `streams` have ended.
    pub async fn collect_until_ended(&mut self, mut streams: BTreeSet<u32>) -> Result<Said, Failure> {
        let mut said = std::mem::take(&mut self.early);
        streams.retain(|id| !said.get(id).is_some_and(|(_, ended)| *ended));
        while !streams.is_empty() {
            if let Frame::Data { id, fin, bytes } = self.io.next().await.ok_or("ended early")?? {
                note(&mut said, id, fin, &bytes);
                if fin {
                    streams.remove(&id);
                }
            }
        }
        Ok(said)
    }
}

fn note(said: &mut Said, id: u32, fin: bool, bytes: &[u8]) {
    let (text, ended) = said.entry(id).or_default();
    text.extend(bytes);
    *ended |= fin;
}
