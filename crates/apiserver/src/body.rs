//! Bodies of responses ([`Body`]) and of requests ([`RequestBody`], [`read`]).
//!
//! Lists and watches consist of shared pieces (the cache's own bytes). Callers in the same process get the
//! pieces unchanged; for a socket [`Gathered`] copies small pieces into frames while they are sent:
//! a whole list is never copied, and an event is copied only when it is sent.

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
///
/// What callers of the same process can rely on, so that they can keep the cache's bytes without a copy:
/// - Each piece is a frame of its own, never split and never joined with another.
/// - A watch's event in JSON is exactly three frames, whatever is watched: head, object, tail. The head is
///   `{"type":"TYPE","object":` with one of `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` and `ERROR`; the
///   object is its JSON without spaces around; the tail is `}` and a newline. In a watch of objects without
///   managed fields ([`client::managed_fields`]) whose version is the stored one, the object of an `ADDED` or
///   `MODIFIED` event shares its allocation with the watch cache.
/// - A list of whole objects is its head, the objects with a comma between each two, and its tail. An object is one
///   piece or several; they share their allocations with the watch cache.
///
/// - An object alone is its JSON, without the newline that ends it on a socket.
///
/// An answer laid out for people (`pretty`) has one frame.
#[derive(Default)]
pub enum Body {
    #[default]
    Empty,
    Full(Bytes),
    /// An object's shared bytes, and the newline that ends them.
    Line(Bytes),
    /// Pieces that follow each other.
    Pieces(VecDeque<Bytes>),
    /// Pieces that come as things happen; an error ends the connection.
    Events(Chunks),
    /// An unbounded stream of frames; an error ends the connection.
    Stream(Chunks),
}

/// What ends an answer in JSON, as Go's encoder has it.
const NEWLINE: &[u8] = b"\n";

/// Pieces that come over time, and what is dropped when no more can come.
pub struct Chunks {
    stream: BoxStream<'static, Result<Bytes, BoxError>>,
    held: Option<Box<dyn Send>>,
}

impl Chunks {
    fn of(stream: impl futures::Stream<Item = Result<Bytes, BoxError>> + Send + 'static) -> Self {
        Self { stream: Box::pin(stream), held: None }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        self.stream.as_mut().poll_next(cx)
    }
}

impl Body {
    pub fn stream<S>(stream: S) -> Self
    where
        S: futures::Stream<Item = Result<Bytes, BoxError>> + Send + 'static,
    {
        Self::Stream(Chunks::of(stream))
    }

    /// The same for a caller of the process: an object's shared bytes alone.
    pub(crate) fn in_process(self) -> Self {
        match self {
            Self::Line(bytes) => Self::Full(bytes),
            other => other,
        }
    }

    /// Keeps a value, beside those kept before, as long as a stream may go on; with any other body it is dropped at once.
    pub(crate) fn hold(&mut self, value: impl Send + 'static) {
        if let Self::Events(chunks) | Self::Stream(chunks) = self {
            chunks.held = Some(Box::new((value, chunks.held.take())));
        }
    }

    pub(crate) fn events<S>(stream: S) -> Self
    where
        S: futures::Stream<Item = Result<Bytes, BoxError>> + Send + 'static,
    {
        Self::Events(Chunks::of(stream))
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
            Self::Line(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Full(Bytes::from_static(NEWLINE));
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Pieces(pieces) => Poll::Ready(pieces.pop_front().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Events(chunks) | Self::Stream(chunks) => chunks.poll_next(cx).map_ok(Frame::data),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Pieces(pieces) => pieces.is_empty(),
            Self::Line(_) | Self::Events(_) | Self::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Line(bytes) => SizeHint::with_exact((bytes.len() + NEWLINE.len()) as u64),
            Self::Pieces(pieces) => SizeHint::with_exact(pieces.iter().map(|p| p.len() as u64).sum()),
            Self::Events(_) | Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// A body on its way to a socket: small pieces share a frame.
pub(crate) struct Gathered {
    body: Body,
    /// Events that have come and are not sent yet.
    waiting: VecDeque<Bytes>,
    /// How the events ended.
    end: Option<Result<(), BoxError>>,
}

impl Gathered {
    pub(crate) fn new(body: Body) -> Self {
        Self { body, waiting: VecDeque::new(), end: None }
    }
}

impl http_body::Body for Gathered {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { body, waiting, end } = &mut *self;
        match body {
            Body::Line(bytes) if bytes.len() < FRAME_BYTES => {
                let mut line = BytesMut::with_capacity(bytes.len() + NEWLINE.len());
                line.extend_from_slice(bytes);
                line.extend_from_slice(NEWLINE);
                *body = Body::Empty;
                Poll::Ready(Some(Ok(Frame::data(line.freeze()))))
            }
            Body::Pieces(pieces) => Poll::Ready(next_frame(pieces).map(|bytes| Ok(Frame::data(bytes)))),
            Body::Events(events) => {
                // What is there already goes in one frame; what comes later does not hold it up.
                let mut bytes: usize = waiting.iter().map(Bytes::len).sum();
                while bytes < FRAME_BYTES && end.is_none() {
                    match events.poll_next(cx) {
                        Poll::Ready(Some(Ok(piece))) => {
                            bytes += piece.len();
                            waiting.push_back(piece);
                        }
                        Poll::Ready(Some(Err(error))) => *end = Some(Err(error)),
                        Poll::Ready(None) => *end = Some(Ok(())),
                        Poll::Pending if waiting.is_empty() => return Poll::Pending,
                        Poll::Pending => break,
                    }
                }
                if let Some(frame) = next_frame(waiting) {
                    return Poll::Ready(Some(Ok(Frame::data(frame))));
                }
                match end.replace(Ok(())) {
                    Some(Err(error)) => Poll::Ready(Some(Err(error))),
                    _ => Poll::Ready(None),
                }
            }
            other => Pin::new(other).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Takes pieces from the front: one large piece as it is, or small ones together.
pub(crate) fn next_frame(pieces: &mut VecDeque<Bytes>) -> Option<Bytes> {
    let mut together = 0;
    let mut bytes = 0;
    for piece in &*pieces {
        if together > 0 && bytes + piece.len() > FRAME_BYTES {
            break;
        }
        together += 1;
        bytes += piece.len();
    }
    if together <= 1 {
        return pieces.pop_front();
    }
    let mut frame = BytesMut::with_capacity(bytes);
    pieces.drain(..together).for_each(|piece| frame.extend_from_slice(&piece));
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
    use futures::StreamExt;

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

    async fn frames<B>(body: B) -> Vec<Result<Bytes, String>>
    where
        B: http_body::Body<Data = Bytes, Error = BoxError> + Unpin,
    {
        let mut body = body;
        let mut frames = Vec::new();
        while let Some(frame) = body.frame().await {
            frames.push(frame.map(|f| f.into_data().unwrap()).map_err(|e| e.to_string()));
        }
        frames
    }

    /// Events of which the last comes after a pause, then an error.
    fn events() -> Body {
        let now = ["head", "object", "tail"].map(|piece| Ok(Bytes::from(piece)));
        let later = async {
            tokio::task::yield_now().await;
            Ok(Bytes::from("later"))
        };
        let end = [Err("torn".into())];
        Body::events(
            futures::stream::iter(now).chain(futures::stream::once(later)).chain(futures::stream::iter(end)),
        )
    }

    #[tokio::test]
    async fn pieces_stay_apart_in_the_process_and_share_frames_on_a_socket() {
        let object = Bytes::from(vec![b'x'; 100]);
        let pieces: VecDeque<Bytes> = [Bytes::from("["), object.clone(), Bytes::from("]")].into();
        let apart = frames(Body::Pieces(pieces.clone())).await;
        assert_eq!(apart.len(), 3);
        assert_eq!(apart[1].as_ref().unwrap().as_ptr(), object.as_ptr());
        let together = frames(Gathered::new(Body::Pieces(pieces))).await;
        assert_eq!(together.iter().map(|f| f.as_ref().unwrap().len()).collect::<Vec<_>>(), [102]);

        let texts = |frames: Vec<Result<Bytes, String>>| -> Vec<String> {
            let text = |frame: Result<Bytes, String>| match frame {
                Ok(bytes) => String::from_utf8(bytes.into()).unwrap(),
                Err(error) => format!("error: {error}"),
            };
            frames.into_iter().map(text).collect()
        };
        assert_eq!(texts(frames(events()).await), ["head", "object", "tail", "later", "error: torn"]);
        let gathered = texts(frames(Gathered::new(events())).await);
        assert_eq!(gathered, ["headobjecttail", "later", "error: torn"]);
    }

    #[tokio::test]
    async fn an_objects_bytes_are_not_copied_in_the_process_and_end_with_a_newline() {
        let object = Bytes::from(vec![b'x'; 100]);
        let apart = frames(Body::Line(object.clone()).in_process()).await;
        assert_eq!(apart.len(), 1);
        assert_eq!(apart[0].as_ref().unwrap().as_ptr(), object.as_ptr());
        let plain = frames(Body::Line(object.clone())).await;
        assert_eq!(plain.iter().map(|f| f.as_ref().unwrap().len()).collect::<Vec<_>>(), [100, 1]);
        assert_eq!(http_body::Body::size_hint(&Body::Line(object.clone())).exact(), Some(101));
        let together = frames(Gathered::new(Body::Line(object))).await;
        assert_eq!(together.iter().map(|f| f.as_ref().unwrap().len()).collect::<Vec<_>>(), [101]);
    }

    #[tokio::test]
    async fn a_long_run_of_events_goes_in_frames_of_a_bounded_size() {
        let piece = Bytes::from(vec![b'x'; 1000]);
        let many = futures::stream::iter(std::iter::repeat_n(piece, 200).map(Ok));
        let sizes: Vec<usize> = frames(Gathered::new(Body::events(many)))
            .await
            .iter()
            .map(|f| f.as_ref().unwrap().len())
            .collect();
        assert_eq!(sizes, [65_000, 65_000, 65_000, 5_000]);
    }

    #[tokio::test]
    async fn bodies_over_the_limit_are_refused() {
        assert_eq!(read(full(b"12345"), 5).await.unwrap(), Bytes::from("12345"));
        let error = read(full(b"123456"), 5).await.unwrap_err();
        assert_eq!((error.code(), error.message.as_str()), (413, "Request entity too large: limit is 5"));
    }
}
