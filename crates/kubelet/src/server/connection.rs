//! Takes connections and serves HTTP/1.1 on them, within limits.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base::Shutdown;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serving::ServerTls;
use tokio::net::{TcpListener, TcpStream};

use super::{ServerDeps, access, routes};

const LIMITS: serving::Limits =
    serving::Limits { server: "node API", connections: 2048, excess: serving::Excess::Closed };
/// For the handshake, and for the head of each request.
const PATIENCE: Duration = Duration::from_secs(10);

/// The node's API, bound to its address.
pub struct Server {
    listener: TcpListener,
    tls: Arc<ServerTls>,
    deps: Arc<ServerDeps>,
}

impl Server {
    /// Takes the address; port 0 picks a free one.
    ///
    /// # Errors
    /// When the address is taken or not this machine's.
    pub async fn bind(address: SocketAddr, tls: Arc<ServerTls>, deps: ServerDeps) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, tls, deps: Arc::new(deps) })
    }

    /// # Errors
    /// When the kernel does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown`; open connections end with it.
    pub async fn run(self, shutdown: Shutdown) {
        let (tls, deps) = (self.tls, self.deps);
        let converse = |socket, _| serve(socket, Arc::clone(&tls), Arc::clone(&deps));
        serving::accept(self.listener, LIMITS, &shutdown, converse).await.shutdown().await;
    }
}

async fn serve(socket: TcpStream, tls: Arc<ServerTls>, deps: Arc<ServerDeps>) {
    let Some(stream) = tls.handshake(socket, PATIENCE).await else { return };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let identity = certificate.and_then(|c| access::of_certificate(c));
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
