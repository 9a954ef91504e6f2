//! [`ResponseBody`]: what a client gets, frame by frame, trailers too; nothing is gathered.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};

use super::body::BoxError;
use super::endpoint::Lease;

/// What a client gets.
pub enum ResponseBody {
    /// A text of the proxy's own.
    Own(Full<Bytes>),
    /// Passed on from an endpoint.
    Relayed(Relayed),
}

/// See [`ResponseBody`].
pub struct Relayed {
    inner: Incoming,
    /// Given back at the end.
    lease: Option<Lease>,
    /// How long nothing may come, where there is a limit.
    patience: Option<Duration>,
    /// Runs while nothing comes.
    deadline: Option<Pin<Box<Sleep>>>,
}

/// The endpoint has stopped sending.
#[derive(Debug, thiserror::Error)]
#[error("the endpoint has sent nothing of the body for {0:?}")]
struct Stalled(Duration);

impl ResponseBody {
    pub(super) fn relayed(inner: Incoming, lease: Lease, patience: Option<Duration>) -> Self {
        let mut relayed = Relayed { inner, lease: Some(lease), patience, deadline: None };
        relayed.give_back_at_end();
        Self::Relayed(relayed)
    }

    pub(super) fn own(text: impl Into<Bytes>) -> Self {
        Self::Own(Full::new(text.into()))
    }
}

impl Relayed {
    /// Nothing comes now.
    fn limit(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(patience) = self.patience else { return Poll::Pending };
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(patience)));
        std::task::ready!(deadline.as_mut().poll(cx));
        self.lease.take();
        Poll::Ready(Some(Err(Stalled(patience).into())))
    }

    /// What the endpoint's connection has for the body. Asking for a frame may let the connection read on, so that there
    /// is one after all.
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        for _ in 0..2 {
            if let Some(lease) = &mut self.lease {
                lease.drive(cx);
            }
            let polled = Pin::new(&mut self.inner).poll_frame(cx);
            if polled.is_ready() {
                return polled;
            }
        }
        Poll::Pending
    }

    fn give_back_at_end(&mut self) {
        if self.inner.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            lease.give_back();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Own(own) => Pin::new(own).poll_frame(cx).map_err(|never| match never {}),
            Self::Relayed(relayed) => {
                let polled = relayed.next(cx);
                match &polled {
                    Poll::Pending => return relayed.limit(cx),
                    Poll::Ready(None) => drop(relayed.lease.take().map(Lease::give_back)),
                    Poll::Ready(Some(Err(_))) => drop(relayed.lease.take()),
                    Poll::Ready(Some(Ok(_))) => relayed.give_back_at_end(),
                }
                relayed.deadline = None;
                polled.map_err(Into::into)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(own) => own.is_end_stream(),
            Self::Relayed(relayed) => relayed.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(own) => own.size_hint(),
            Self::Relayed(relayed) => relayed.inner.size_hint(),
        }
    }
}
