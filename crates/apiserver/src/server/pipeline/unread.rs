//! The rest of a request's body that a client still sends after the response is decided.
//!
//! Many clients write the whole body before they read. Such a client may lose a response that arrives earlier, such
//! as a refusal that needed no body; so the rest of the body is read first, within limits.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::oneshot;

use crate::body::{BoxError, RequestBody};

/// More than this is not taken in; the client is cut short then.
const LIMIT_BYTES: usize = 1024 * 1024;
/// A client that sends no faster is cut short too.
const PATIENCE: Duration = Duration::from_secs(1);

/// A body that is handed back when nobody reads it to its end.
struct Watched {
    body: RequestBody,
    back: Option<oneshot::Sender<RequestBody>>,
}

/// Where the unread rest of a body arrives once the body is dropped.
pub(super) struct Unread(oneshot::Receiver<RequestBody>);

/// Puts a watch on a request's body. `None` where there is nothing to read, or the client waits to be
/// told to send (`Expect`).
pub(super) fn watch(headers: &HeaderMap, body: RequestBody) -> (RequestBody, Option<Unread>) {
    if http_body::Body::is_end_stream(&body) || headers.contains_key(http::header::EXPECT) {
        return (body, None);
    }
    let (back, unread) = oneshot::channel();
    (Watched { body, back: Some(back) }.boxed_unsync(), Some(Unread(unread)))
}

impl Unread {
    /// Takes in what is left of the body and forgets it. At once done where it was read to its end, or
    /// somebody still reads it.
    pub(super) async fn discard(mut self) {
        let Ok(mut body) = self.0.try_recv() else { return };
        let mut taken = 0;
        let all = async {
            while let Some(Ok(frame)) = body.frame().await {
                taken += frame.data_ref().map_or(0, Bytes::len);
                if taken > LIMIT_BYTES {
                    break;
                }
            }
        };
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            tracing::debug!("a client is slow to send what nobody reads");
        }
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(None | Some(Err(_))) = polled {
            self.back = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(back) = self.back.take()
            && !http_body::Body::is_end_stream(&self.body)
        {
            // Refused when the answer is out already: nobody waits for the rest then.
            drop(back.send(std::mem::take(&mut self.body)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::{StreamExt, stream};
    use http_body_util::StreamBody;

    use super::*;

    /// A body of `frames` kilobytes and a count of those that were taken.
    fn body(frames: usize) -> (RequestBody, Arc<AtomicUsize>) {
        let taken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&taken);
        let frames = stream::iter(0..frames).map(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok::<_, BoxError>(Frame::data(Bytes::from_static(&[0; 1024])))
        });
        (StreamBody::new(frames).boxed_unsync(), taken)
    }

    #[tokio::test]
    async fn what_nobody_reads_is_taken_in_within_bounds() {
        for (frames, expect) in [(3, 3), (5000, LIMIT_BYTES / 1024 + 1)] {
            let (unread, taken) = body(frames);
            let (unread, rest) = watch(&HeaderMap::new(), unread);
            drop(unread);
            rest.expect("there is a body").discard().await;
            assert_eq!(taken.load(Ordering::Relaxed), expect);
        }
    }

    #[tokio::test]
    async fn what_is_read_or_still_being_read_is_left_alone() {
        let (whole, _) = body(2);
        let (whole, rest) = watch(&HeaderMap::new(), whole);
        assert_eq!(whole.collect().await.unwrap().to_bytes().len(), 2048);
        rest.expect("there is a body").discard().await;
        let (kept, taken) = body(2);
        let (_kept, rest) = watch(&HeaderMap::new(), kept);
        rest.expect("there is a body").discard().await;
        assert_eq!(taken.load(Ordering::Relaxed), 0);
    }
}
