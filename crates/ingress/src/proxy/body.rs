//! [`RequestBody`]: what a client sends, on its way to an endpoint, frame by frame, trailers too; nothing is gathered.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep};

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The client has stopped sending.
#[derive(Debug, thiserror::Error)]
#[error("the client has sent nothing of the body for {0:?}")]
pub(super) struct Stalled(Duration);

/// Whether a request's body has been sent to its end.
#[derive(Debug, Default)]
pub(super) struct Sent {
    is_over: AtomicBool,
    wake: Notify,
}

impl Sent {
    fn over(&self) {
        self.is_over.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Waits for the end, for the one who waits. Cancellation safe.
    pub async fn ended(&self) {
        while !self.is_over() {
            self.wake.notified().await;
        }
    }
}

/// What a client sends.
pub(super) enum RequestBody {
    Empty,
    Sending(Box<Sending>),
}

pub(super) struct Sending {
    inner: Incoming,
    patience: Duration,
    /// Runs while nothing comes.
    deadline: Option<Pin<Box<Sleep>>>,
    sent: Arc<Sent>,
}

impl RequestBody {
    /// The body, and what says when all of it is sent; nothing for an empty one.
    pub fn new(inner: Incoming, patience: Duration) -> (Self, Option<Arc<Sent>>) {
        if inner.is_end_stream() {
            return (Self::Empty, None);
        }
        let sent: Arc<Sent> = Arc::default();
        let sending = Sending { inner, patience, deadline: None, sent: Arc::clone(&sent) };
        (Self::Sending(Box::new(sending)), Some(sent))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self::Sending(sending) = self.get_mut() else { return Poll::Ready(None) };
        match Pin::new(&mut sending.inner).poll_frame(cx) {
            Poll::Ready(frame) => {
                sending.deadline = None;
                if frame.is_none() || sending.inner.is_end_stream() {
                    sending.sent.over();
                }
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                let patience = sending.patience;
                let deadline = sending.deadline.get_or_insert_with(|| Box::pin(sleep(patience)));
                deadline.as_mut().poll(cx).map(|()| Some(Err(Stalled(patience).into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Sending(sending) => sending.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Sending(sending) => sending.inner.size_hint(),
        }
    }
}

/// When a wait for the head of a response ends: so long after the request has been sent.
pub(super) async fn response_deadline(sent: Option<&Sent>, patience: Duration) {
    if let Some(sent) = sent {
        sent.ended().await;
    }
    tokio::time::sleep_until(Instant::now() + patience).await;
}
