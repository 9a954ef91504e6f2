//! Hands TCP connections to an address of this node on to a server elsewhere, byte for byte.
//!
//! A node without an API server beside it serves the API to its pods through a relay: TLS and authentication stay
//! between the two ends. Start with [`Relay`]. The relay never interprets the bytes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base::Shutdown;
use rustix::net::sockopt;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

/// A connection beyond them waits: a client of the API tries again at once where it is closed.
const LIMITS: serving::Limits =
    serving::Limits { server: "relay", connections: 1024, excess: serving::Excess::Waits };
/// For the server to take a connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// Silence after which the kernel asks whether the other end is there, and how often it asks again before it gives up.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_PROBES: u32 = 3;

/// A relay whose socket is open.
pub struct Relay {
    listener: TcpListener,
    /// `host:port`; the host's address is looked up for every connection.
    server: Arc<str>,
}

impl Relay {
    /// Takes the address; port 0 picks a free one. Connections wait until [`Relay::run`].
    ///
    /// # Errors
    /// When the address is taken or not this machine's.
    pub async fn bind(address: SocketAddr, server: &str) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, server: server.into() })
    }

    /// # Errors
    /// When the kernel does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Passes connections on until `shutdown` starts; open ones end with it.
    pub async fn run(self, shutdown: Shutdown) {
        let server = self.server;
        let open = serving::accept(self.listener, LIMITS, &shutdown, |near, _| pass(near, server.clone()));
        open.await.shutdown().await;
    }
}

/// Joins a connection with one to the server until both sides have ended. When one side ends early, its end is passed
/// on to the other.
async fn pass(mut near: TcpStream, server: Arc<str>) {
    let mut far = match tokio::time::timeout(PATIENCE, TcpStream::connect(&*server)).await {
        Ok(Ok(far)) => far,
        Ok(Err(error)) => return tracing::warn!(%error, %server, "a connection cannot be passed on"),
        Err(_) => {
            return tracing::warn!(%server, "a connection cannot be passed on: the server does not take it");
        }
    };
    for socket in [&near, &far] {
        if let Err(error) = tune(socket) {
            tracing::debug!(%error, "a connection passed on keeps the kernel's settings");
        }
    }
    if let Err(error) = copy_bidirectional(&mut near, &mut far).await {
        tracing::debug!(%error, "a connection passed on has broken");
    }
}

/// Sends at once, and has the kernel find out when an end has vanished: nobody here reads what passes and would miss it.
fn tune(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(socket, KEEPALIVE)?;
    Ok(sockopt::set_tcp_keepcnt(socket, KEEPALIVE_PROBES)?)
}

#[cfg(test)]
mod tests {
    use base::{Supervisor, TaskKind};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn relay_to(server: &str) -> (SocketAddr, Supervisor) {
        let relay = Relay::bind(([127, 0, 0, 1], 0).into(), server).await.expect("bound");
        let (address, supervisor) =
            (relay.local_addr().expect("an address"), Supervisor::new(Shutdown::new()));
        supervisor.spawn(TaskKind::Essential, "relay", relay.run(supervisor.shutdown().clone()));
        (address, supervisor)
    }

    async fn end(supervisor: Supervisor) {
        supervisor.shutdown().start();
        supervisor.drain(PATIENCE).await;
    }

    #[tokio::test]
    async fn bytes_and_ends_pass_both_ways() {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let (address, supervisor) = relay_to(&server.local_addr().expect("an address").to_string()).await;
        let mut near = TcpStream::connect(address).await.expect("taken");
        near.write_all(b"question").await.expect("sent");
        near.shutdown().await.expect("half closed");
        let (mut far, _) = server.accept().await.expect("passed on");
        let mut asked = String::new();
        far.read_to_string(&mut asked).await.expect("the near side's end arrives");
        far.write_all(b"answer").await.expect("sent");
        drop(far);
        let mut told = String::new();
        near.read_to_string(&mut told).await.expect("the far side's end arrives");
        assert_eq!((asked.as_str(), told.as_str()), ("question", "answer"));
        end(supervisor).await;
    }

    #[tokio::test]
    async fn without_the_server_a_connection_is_closed_and_the_next_one_taken() {
        let gone = TcpListener::bind("127.0.0.1:0").await.expect("bound").local_addr().expect("an address");
        let (address, supervisor) = relay_to(&gone.to_string()).await;
        for _ in 0..2 {
            let mut near = TcpStream::connect(address).await.expect("taken");
            assert_eq!(near.read(&mut [0; 1]).await.expect("closed in order"), 0);
        }
        end(supervisor).await;
    }
}
