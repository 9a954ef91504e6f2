//! [`Connector`]: a TLS connection to a webhook, made when the client has none that is free.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustix::net::sockopt;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::callee::Callee;
use super::failure::{self, Unconnected};
use super::resolve::Resolve;

/// How long a machine may be silent before a connection to it ends.
const PEER_PATIENCE: Duration = Duration::from_secs(30);

/// Connects to one webhook. A Service's endpoint is chosen anew for each connection.
#[derive(Clone)]
pub(super) struct Connector {
    pub callee: Arc<Callee>,
    pub resolve: Arc<dyn Resolve>,
    pub tls: Arc<ClientConfig>,
}

impl Connector {
    async fn connect(self) -> Result<Stream, Unconnected> {
        let (host, port) = match &self.callee.service {
            Some(service) => service.resolved(&*self.resolve).map_err(Unconnected)?,
            None => (self.callee.host.clone(), self.callee.port),
        };
        connect(&host, port, &self.callee.host, self.tls).await
    }
}

/// Connects to an address, where a server of this name has to answer.
pub(crate) async fn connect(
    host: &str,
    port: u16,
    name: &str,
    tls: Arc<ClientConfig>,
) -> Result<Stream, Unconnected> {
    let dialled = TcpStream::connect((host, port)).await;
    let socket = dialled.map_err(|error| Unconnected(failure::dialling(host, port, &error)))?;
    socket.set_nodelay(true).map_err(|error| Unconnected(error.to_string()))?;
    end_when_silent(&socket).map_err(|error| Unconnected(error.to_string()))?;
    let name = ServerName::try_from(name.to_owned())
        .map_err(|error| Unconnected(format!("{name:?} is no name of a server: {error}")))?;
    let shaken = TlsConnector::from(tls).connect(name, socket).await;
    let stream = shaken.map_err(|error| Unconnected(failure::handshake(&error)))?;
    Ok(Stream(TokioIo::new(stream)))
}

/// Has the kernel end the connection when the machine behind it is gone: probes while nothing is on its way, and the same
/// patience for what is.
fn end_when_silent(socket: &TcpStream) -> Result<(), rustix::io::Errno> {
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, PEER_PATIENCE / 2)?;
    sockopt::set_tcp_keepintvl(socket, PEER_PATIENCE / 6)?;
    sockopt::set_tcp_keepcnt(socket, 3)?;
    let milliseconds = u32::try_from(PEER_PATIENCE.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(socket, milliseconds)
}

impl tower::Service<Uri> for Connector {
    type Response = Stream;
    type Error = Unconnected;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Unconnected>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Unconnected>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}

/// A connection.
pub(crate) struct Stream(TokioIo<TlsStream<TcpStream>>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
