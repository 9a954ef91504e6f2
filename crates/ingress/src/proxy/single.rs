//! [`Single`]: a connection of HTTP/1.1, moved by whoever has it.
//!
//! A request and its response cross no other task: who waits for the response, or for more of its body, does the
//! connection's reading and writing meanwhile. A connection without a request is not looked at; whether the endpoint has
//! closed it is found out before it takes the next one.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use tokio::sync::OwnedSemaphorePermit;

use super::body::RequestBody;

/// Reads and writes; ends with the connection.
pub(super) type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// See the module's documentation.
pub(super) struct Single {
    sender: http1::SendRequest<RequestBody>,
    /// `None` once the connection has ended, or has a task of its own.
    driver: Option<(OwnedSemaphorePermit, Driver)>,
}

impl Single {
    pub fn new(
        sender: http1::SendRequest<RequestBody>,
        driver: impl Future<Output = hyper::Result<()>> + Send + 'static,
        slot: OwnedSemaphorePermit,
    ) -> Self {
        Self { sender, driver: Some((slot, Box::pin(driver))) }
    }

    /// # Errors
    /// With the request, where nothing of it has been sent.
    pub async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        let Self { sender, driver } = self;
        let mut response = pin!(sender.try_send_request(request));
        poll_fn(|cx| {
            drive(driver, cx);
            response.as_mut().poll(cx)
        })
        .await
    }

    /// Waits until the last response is over. Returns whether another request can be sent.
    pub async fn ready(&mut self) -> bool {
        let Self { sender, driver } = self;
        poll_fn(|cx| {
            drive(driver, cx);
            match sender.is_closed() {
                true => Poll::Ready(false),
                false => sender.poll_ready(cx).map(|ready| ready.is_ok()),
            }
        })
        .await
    }

    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Reads and writes what can be read and written now.
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        drive(&mut self.driver, cx);
    }

    /// What moves the connection, to be moved elsewhere from now on.
    pub fn detach(&mut self) -> Option<(OwnedSemaphorePermit, Driver)> {
        self.driver.take()
    }
}

fn drive(driver: &mut Option<(OwnedSemaphorePermit, Driver)>, cx: &mut Context<'_>) {
    if let Some((_, running)) = driver
        && let Poll::Ready(ended) = running.as_mut().poll(cx)
    {
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection to an endpoint ended");
        }
        *driver = None;
    }
}
