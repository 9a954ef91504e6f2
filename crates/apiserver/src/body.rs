//! Bodies of responses ([`Body`]) and of requests ([`RequestBody`], [`read`]).
//!
//! A list's body is made of shared pieces (the cache's own bytes) that are gathered into frames
//! while it is sent: no copy of the whole list is ever made.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;

/// Any error of the layers below.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request, whatever transport it came by.
pub type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

/// Small pieces are gathered into frames of about this size.
const FRAME_BYTES: usize = 64 * 1024;

/// The body of a response.
#[derive(Default)]
pub enum Body {
    #[default]
    Empty,
    Full(Bytes),
    /// Pieces that follow each other.
    Pieces(VecDeque<Bytes>),
    /// An unbounded stream; an error ends the connection.
    Stream(BoxStream<'static, Result<Bytes, BoxError>>),
}

impl Body {
    pub fn stream<S>(stream: S) -> Self
    where
        S: futures::Stream<Item = Result<Bytes, BoxError>> + Send + 'static,
    {
        Self::Stream(Box::pin(stream))
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self::Full(bytes.into())
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Pieces(pieces) => Poll::Ready(next_frame(pieces).map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(stream) => stream.as_mut().poll_next(cx).map_ok(Frame::data),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Pieces(pieces) => pieces.is_empty(),
            Self::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Pieces(pieces) => SizeHint::with_exact(pieces.iter().map(|p| p.len() as u64).sum()),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// Takes pieces from the front: one large piece as it is, or small ones together.
pub(crate) fn next_frame(pieces: &mut VecDeque<Bytes>) -> Option<Bytes> {
    let first = pieces.pop_front()?;
    if first.len() >= FRAME_BYTES || pieces.is_empty() {
        return Some(first);
    }
    let mut frame = BytesMut::with_capacity(FRAME_BYTES);
    frame.extend_from_slice(&first);
    while let Some(next) = pieces.front() {
        if frame.len() + next.len() > FRAME_BYTES {
            break;
        }
        frame.extend_from_slice(next);
        pieces.pop_front();
    }
    Some(frame.freeze())
}

/// Reads a whole request body of at most `limit_bytes`.
///
/// # Errors
/// 413 when it is larger, 400 when the client stops sending.
pub async fn read(mut body: RequestBody, limit_bytes: usize) -> Result<Bytes, api::Error> {
    let too_large = || {
        api::Error::new(
            api::Reason::RequestEntityTooLarge,
            format!("Request entity too large: limit is {limit_bytes}"),
        )
    };
    if http_body::Body::size_hint(&body).lower() > limit_bytes as u64 {
        return Err(too_large());
    }
    // Most bodies are one frame, which is handed on as it is.
    let mut whole = Bytes::new();
    let mut gathered = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|e| api::Error::bad_request(format!("the request body could not be read: {e}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + gathered.len() + data.len() > limit_bytes {
            return Err(too_large());
        }
        if whole.is_empty() && gathered.is_empty() {
            whole = data;
        } else {
            gathered.extend_from_slice(&std::mem::take(&mut whole));
            gathered.extend_from_slice(&data);
        }
    }
    Ok(if gathered.is_empty() { whole } else { gathered.freeze() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(bytes: &'static [u8]) -> RequestBody {
        http_body_util::Full::new(Bytes::from_static(bytes)).map_err(|e| match e {}).boxed_unsync()
    }

    #[tokio::test]
    async fn small_pieces_share_a_frame_and_large_ones_stay_whole() {
        let large = Bytes::from(vec![b'x'; FRAME_BYTES]);
        let mut pieces: VecDeque<Bytes> = [Bytes::from("a"), Bytes::from("b"), large.clone()].into();
        assert_eq!(http_body::Body::size_hint(&Body::Pieces(pieces.clone())).exact(), Some(65538));
        assert_eq!(next_frame(&mut pieces).as_deref(), Some(&b"ab"[..]));
        let got = next_frame(&mut pieces).unwrap();
        assert_eq!(got.as_ptr(), large.as_ptr());
        assert!(next_frame(&mut pieces).is_none());
    }

    #[tokio::test]
    async fn bodies_over_the_limit_are_refused() {
        assert_eq!(read(full(b"12345"), 5).await.unwrap(), Bytes::from("12345"));
        let error = read(full(b"123456"), 5).await.unwrap_err();
        assert_eq!((error.code(), error.message.as_str()), (413, "Request entity too large: limit is 5"));
    }
}
