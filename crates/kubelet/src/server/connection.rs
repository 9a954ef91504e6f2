//! Accepts connections and serves HTTP/1.1 on them, within limits.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base::Shutdown;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::access::Identity;
use super::{ServerDeps, Tls, routes};

const MAX_CONNECTIONS: usize = 2048;
/// For the handshake, and for the head of each request.
const PATIENCE: Duration = Duration::from_secs(10);
/// After a failure to accept (no file descriptors left), so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The node's API, bound to its address.
pub struct Server {
    listener: TcpListener,
    tls: Arc<Tls>,
    deps: Arc<ServerDeps>,
}

impl Server {
    /// Takes the address; port 0 picks a free one.
    ///
    /// # Errors
    /// When the address is taken or not this machine's.
    pub async fn bind(address: SocketAddr, tls: Arc<Tls>, deps: ServerDeps) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, tls, deps: Arc::new(deps) })
    }

    /// # Errors
    /// When the kernel does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown`; open connections end with it.
    pub async fn run(self, shutdown: Shutdown) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = shutdown.started() => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = self.listener.accept() => accepted,
            };
            let socket = match accepted {
                Ok((socket, _)) => socket,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection to the node's API");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(slot) = slots.clone().try_acquire_owned() else {
                tracing::warn!("too many connections to the node's API; one is closed");
                continue;
            };
            let (tls, deps) = (self.tls.clone(), self.deps.clone());
            connections.spawn(async move {
                let _slot = slot;
                serve(socket, &tls, deps).await;
            });
        }
        connections.shutdown().await;
    }
}

async fn serve(socket: TcpStream, tls: &Tls, deps: Arc<ServerDeps>) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let acceptor = TlsAcceptor::from(tls.current());
    let stream = match tokio::time::timeout(PATIENCE, acceptor.accept(socket)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => return tracing::debug!("TLS handshake took too long"),
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let identity = certificate.and_then(|c| Identity::of_certificate(c));
    let service = service_fn(|request| {
        let (deps, identity) = (deps.clone(), identity.clone());
        async move { Ok::<_, Infallible>(routes::answer(deps, identity, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to the node's API ended");
    }
}
