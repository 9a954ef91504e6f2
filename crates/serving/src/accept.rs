//! The loop that accepts connections: one task for each, never more than the limit, until the stop.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base::Shutdown;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// The pause after a failure to accept (out of file descriptors), so as not to spin.
const PAUSE: Duration = Duration::from_millis(50);

/// The source of connections.
pub trait Listener: Send + Sync {
    type Socket: Send;
    /// Who connects, for log lines.
    type Peer: Send + std::fmt::Debug;

    /// Waits for a connection. Cancellation safe.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Socket, Self::Peer)>> + Send;
}

impl Listener for TcpListener {
    type Socket = TcpStream;
    type Peer = SocketAddr;

    /// Messages on the connection are sent at once, however short they are.
    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (socket, peer) = TcpListener::accept(self).await?;
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "small messages of a connection may be delayed");
        }
        Ok((socket, peer))
    }
}

impl Listener for UnixListener {
    type Socket = UnixStream;
    type Peer = tokio::net::unix::SocketAddr;

    async fn accept(&self) -> io::Result<(UnixStream, Self::Peer)> {
        UnixListener::accept(self).await
    }
}

/// The limits of a server.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The server's name in log lines.
    pub server: &'static str,
    /// Connections at a time.
    pub connections: usize,
    /// What happens to one more.
    pub excess: Excess,
}

/// What happens to a connection beyond the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// It is closed at once.
    Closed,
    /// It waits in the kernel's queue until another one ends.
    Waits,
}

/// Accepts until `shutdown` starts and runs `converse` for each connection. Returns the connections that are
/// still open, with the listener closed: dropping them ends them.
///
/// A connection that panics ends alone. Not cancellation safe: open connections end with the future.
pub async fn accept<L: Listener, C>(
    listener: L,
    limits: Limits,
    shutdown: &Shutdown,
    mut converse: impl FnMut(L::Socket, L::Peer) -> C,
) -> JoinSet<()>
where
    C: Future<Output = ()> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    // Whether the last connection was one too many: a flood is one warning, however long it is.
    let mut flooded = false;
    loop {
        let next = async {
            let slot = match limits.excess {
                Excess::Closed => None,
                Excess::Waits => Arc::clone(&slots).acquire_owned().await.ok(),
            };
            (slot, listener.accept().await)
        };
        let (reserved, accepted) = tokio::select! {
            () = shutdown.started() => return connections,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            next = next => next,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(server = limits.server, %error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Some(slot) = reserved.or_else(|| Arc::clone(&slots).try_acquire_owned().ok()) else {
            match flooded {
                false => tracing::warn!(
                    server = limits.server,
                    ?peer,
                    limit = limits.connections,
                    "too many connections; this one and further ones are closed"
                ),
                true => {
                    tracing::debug!(server = limits.server, ?peer, "too many connections; this one is closed")
                }
            }
            flooded = true;
            continue;
        };
        flooded = false;
        let conversation = converse(socket, peer);
        connections.spawn(async move {
            conversation.await;
            drop(slot);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Echoes one byte at a time; `!` panics.
    async fn echo(mut socket: TcpStream) {
        while let Ok(byte) = socket.read_u8().await {
            assert_ne!(byte, b'!', "asked to panic");
            if socket.write_u8(byte).await.is_err() {
                return;
            }
        }
    }

    async fn start(connections: usize, excess: Excess) -> (SocketAddr, Shutdown, JoinSet<usize>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let (address, shutdown) = (listener.local_addr().expect("bound"), Shutdown::new());
        let stop = shutdown.clone();
        let mut served = JoinSet::new();
        served.spawn(async move {
            let limits = Limits { server: "echo", connections, excess };
            accept(listener, limits, &stop, |socket, _| echo(socket)).await.len()
        });
        (address, shutdown, served)
    }

    async fn ended<T: 'static>(mut served: JoinSet<T>) -> Result<T, tokio::task::JoinError> {
        served.join_next().await.expect("one task")
    }

    async fn says(socket: &mut TcpStream, byte: u8) -> Option<u8> {
        socket.write_u8(byte).await.ok()?;
        socket.read_u8().await.ok()
    }

    #[tokio::test]
    async fn one_connection_more_than_the_limit_is_closed_and_a_place_is_free_again_afterwards() {
        let (address, shutdown, served) = start(1, Excess::Closed).await;
        let mut first = TcpStream::connect(address).await.expect("connected");
        assert_eq!(says(&mut first, b'a').await, Some(b'a'));
        let mut second = TcpStream::connect(address).await.expect("connected");
        assert_eq!(says(&mut second, b'a').await, None);
        assert_eq!(says(&mut first, b'b').await, Some(b'b'));
        // Its place is free once the server has noticed; a connection before that is closed as the second was.
        assert_eq!(says(&mut first, b'!').await, None);
        while says(&mut TcpStream::connect(address).await.expect("connected"), b'c').await.is_none() {}
        shutdown.start();
        ended(served).await.expect("a conversation's panic is not the loop's");
    }

    #[tokio::test]
    async fn one_connection_more_than_the_limit_waits_where_the_server_says_so() {
        let (address, shutdown, served) = start(1, Excess::Waits).await;
        let mut first = TcpStream::connect(address).await.expect("connected");
        assert_eq!(says(&mut first, b'a').await, Some(b'a'));
        let mut second = TcpStream::connect(address).await.expect("connected");
        second.write_u8(b'b').await.expect("the kernel takes it");
        assert_eq!(says(&mut first, b'c').await, Some(b'c'), "the first is served meanwhile");
        drop(first);
        assert_eq!(second.read_u8().await.ok(), Some(b'b'));
        shutdown.start();
        assert_eq!(ended(served).await.expect("it ends"), 1);
    }

    #[tokio::test]
    async fn the_stop_hands_over_what_is_open() {
        let (address, shutdown, served) = start(8, Excess::Closed).await;
        let mut open = TcpStream::connect(address).await.expect("connected");
        assert_eq!(says(&mut open, b'a').await, Some(b'a'));
        shutdown.start();
        assert_eq!(ended(served).await.expect("it ends"), 1);
        assert!(TcpStream::connect(address).await.is_err(), "nothing listens any more");
        assert_eq!(says(&mut open, b'b').await, None, "dropped connections end");
    }

    #[tokio::test]
    async fn unix_sockets_are_served_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let (listener, shutdown) = (UnixListener::bind(&path).expect("bound"), Shutdown::new());
        let stop = shutdown.clone();
        let mut served = JoinSet::new();
        served.spawn(async move {
            let limits = Limits { server: "greeter", connections: 1, excess: Excess::Closed };
            let greet = |mut socket: UnixStream, _| async move {
                socket.write_u8(b'h').await.expect("written");
            };
            drop(accept(listener, limits, &stop, greet).await);
        });
        assert_eq!(UnixStream::connect(&path).await.expect("connected").read_u8().await.ok(), Some(b'h'));
        shutdown.start();
        ended(served).await.expect("it ends");
    }
}
