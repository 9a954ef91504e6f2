//! DNS over TCP: takes connections, a bounded number overall and for each client, and answers what they ask.
//!
//! Start with [`serve`]. hickory's server takes as many connections as come, each worth some 14 KB; this module takes
//! them in its place and uses hickory's framing and messages. A connection has one question worked on at a time
//! (RFC 7766 lets a server do so) and ends after a time of silence.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base::Shutdown;
use futures::StreamExt;
use hickory_server::net::DnsStreamHandle;
use hickory_server::net::runtime::iocompat::AsyncIoTokioAsStd;
use hickory_server::net::tcp::TcpStream as DnsStream;
use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::SerialMessage;
use hickory_server::server::TimeoutStream;
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};

use super::handler::Handler;

/// Connections of all clients. With a message of the largest size half read on each, they hold 16 MiB.
pub(super) const CONNECTIONS: usize = 256;
/// Connections of one client.
pub(super) const CLIENT_CONNECTIONS: usize = 32;
const LIMITS: serving::Limits =
    serving::Limits { server: "cluster DNS", connections: CONNECTIONS, excess: serving::Excess::Closed };
/// How long a connection may go without a whole question.
const IDLE: Duration = Duration::from_secs(10);
/// Answers that may wait to be sent on one connection.
const ANSWERS: usize = 32;

/// Takes connections until `shutdown` starts; open ones end with it. Connections beyond the limits, and those of
/// addresses outside `clients`, are closed at once.
pub(super) async fn serve(listener: TcpListener, handler: Handler, clients: Vec<IpNet>, shutdown: &Shutdown) {
    let places = Arc::new(Places::default());
    let open = serving::accept(listener, LIMITS, shutdown, |socket, peer| {
        let ip = peer.ip().to_canonical();
        let place = match clients.iter().any(|range| range.contains(&ip)) {
            true => places.take(ip),
            false => None,
        };
        let handler = handler.clone();
        async move {
            match place {
                Some(_place) => converse(socket, peer, handler).await,
                None => {
                    tracing::debug!(client = %peer, "a DNS connection is closed: no client, or one with many")
                }
            }
        }
    });
    open.await.shutdown().await;
}

/// Answers the questions of one connection, one after the other, until its end or silence.
async fn converse(socket: TcpStream, peer: SocketAddr, handler: Handler) {
    let (questions, mut answers) =
        DnsStream::from_stream_with_buffer_size(AsyncIoTokioAsStd(socket), peer, ANSWERS);
    let mut questions = TimeoutStream::new(questions, IDLE);
    while let Some(question) = questions.next().await {
        match question {
            Ok(question) => {
                let Some(answer) = handler.answer(question.into_parts().0, peer, Protocol::Tcp).await else {
                    continue;
                };
                if let Err(error) = answers.send(SerialMessage::new(answer.bytes, peer)) {
                    return tracing::debug!(%error, client = %peer, "a DNS answer could not be sent");
                }
            }
            Err(error) => return tracing::debug!(%error, client = %peer, "a DNS connection ends"),
        }
    }
}

/// How many connections each client has.
#[derive(Default)]
struct Places {
    taken: Mutex<HashMap<IpAddr, usize>>,
}

impl Places {
    /// A place for one more connection of `client`, until it is dropped.
    fn take(self: &Arc<Self>, client: IpAddr) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(client).or_default();
        if *count == CLIENT_CONNECTIONS {
            return None;
        }
        *count += 1;
        Some(Place { places: Arc::clone(self), client })
    }
}

struct Place {
    places: Arc<Places>,
    client: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = taken.entry(self.client) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}
